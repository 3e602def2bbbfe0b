"""Mixed, stale or damaged data: noticed by digests and checksums, never scored."""

import json
import shutil
import zipfile

import pytest
import torch
from PIL import Image

from RobustART.data import create_dataset
from RobustART.errors import DataError, RecordError, WeightsError
from RobustART.evaluation import evaluate
from RobustART.generation.generate import generate
from RobustART.models.weights import read_weights
from RobustART.records.lines import read_records
from RobustART.records.sealing import seal, unsealed
from tests.conftest import make_picture

BENCHMARKS = {"clean": {}, "imagenet_c": {"corruptions": ["pixelate"], "severities": [1]}}


def test_the_records_of_one_run_are_of_the_same_images(tmp_path, photo_folder, model, monkeypatch):
    data = create_dataset(root_dir=photo_folder)
    evaluate(model, data, {"clean": {}}, output_dir=tmp_path, progress=False)
    Image.fromarray(make_picture(99)).save(photo_folder / data.files[4])
    monkeypatch.setattr(
        "RobustART.evaluation.engine.check_images", lambda *_: None
    )  # as if this image was not read again
    with pytest.raises(RecordError, match=r"another image for clean than for imagenet_c.*clean\.jsonl has the digest"):
        evaluate(model, data, BENCHMARKS, output_dir=tmp_path, progress=False)


def test_the_records_of_one_folder_are_of_the_same_images(tmp_path, photo_folder, model):
    data = create_dataset(root_dir=photo_folder)
    corrupted = {"imagenet_c": BENCHMARKS["imagenet_c"]}
    for benchmarks in ({"clean": {}}, corrupted):
        evaluate(model, data, benchmarks, output_dir=tmp_path, progress=False)
    Image.fromarray(make_picture(99)).save(photo_folder / data.files[4])
    with pytest.raises(
        RecordError, match=rf"{data.files[4]} is another image .*clean\.jsonl has .*--fresh.* output_dir"
    ):
        evaluate(model, data, corrupted, output_dir=tmp_path, fresh=True, progress=False)
    evaluate(model, data, BENCHMARKS, output_dir=tmp_path, fresh=True, progress=False)
    evaluate(model, data, corrupted, output_dir=tmp_path, progress=False)


def test_exchanged_files_of_a_generated_set(tmp_path, photo_folder, model):
    out = tmp_path / "generated"
    options = {"corruptions": ["pixelate"], "severities": [1]}
    generate("imagenet_c", create_dataset(root_dir=photo_folder), out, options=options, size=32, progress=False)
    first, second, *_ = sorted((out / "pixelate" / "1").rglob("*.JPEG"))
    shutil.copy(second, first)
    stored = {"imagenet_c": {"root_dir": str(out), **options}}
    with pytest.raises(DataError, match=r"is not the file that was generated: its digest is \w+, recorded is \w+"):
        evaluate(model, None, stored, output_dir=tmp_path / "run", progress=False)


def test_a_damaged_manifest_is_no_missing_one(tmp_path, photo_folder, model):
    out = tmp_path / "generated"
    options = {"corruptions": ["pixelate"], "severities": [1]}
    generate("imagenet_c", create_dataset(root_dir=photo_folder), out, options=options, size=32, progress=False)
    (out / "manifest.json").write_text("[]")
    with pytest.raises(DataError, match="manifest.json is damaged: it must hold a JSON object"):
        evaluate(
            model, None, {"imagenet_c": {"root_dir": str(out), **options}}, output_dir=tmp_path / "x", progress=False
        )


def test_an_edited_header(tmp_path, data, model):
    evaluate(model, data, {"clean": {}}, output_dir=tmp_path, progress=False)
    path = tmp_path / "results" / "clean.jsonl"
    head, rest = path.read_text().split("\n", 1)
    header = json.loads(unsealed(head, "it"))
    header["conditions"]["seed"] = 5
    path.write_text(seal(json.dumps(header, ensure_ascii=False)) + rest)  # by someone who knows the checksum
    with pytest.raises(RecordError, match="was edited: the hash of its conditions is"):
        read_records(path)


@pytest.mark.parametrize("place", range(0, 100, 9))
def test_flipped_bits_of_a_result_file(tmp_path, data, model, place):
    evaluate(model, data, {"clean": {}}, output_dir=tmp_path, progress=False)
    path = tmp_path / "results" / "clean.jsonl"
    content = bytearray(path.read_bytes())
    content[len(content) * place // 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(RecordError):
        read_records(path)


def test_flipped_bits_of_weights(tmp_path):
    """torch.load reads tensors without looking at the archive's checksums."""
    path = tmp_path / "w.pth"
    torch.save({"weight": torch.arange(1000.0)}, path)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        data = max(archive.infolist(), key=lambda info: info.file_size)
    content[data.header_offset + 300] ^= 1
    path.write_bytes(content)
    torch.load(path, weights_only=True)
    with pytest.raises(WeightsError, match="is damaged: its part .* does not have its checksum"):
        read_weights(path)
