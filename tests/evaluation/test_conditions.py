"""What belongs to a result's conditions, and files that are taken up again, refused or cannot be written."""

import json

import pytest
import torch
from torch import nn

from RobustART.benchmarks import build_benchmark, clean_view
from RobustART.data import array_dataset, create_dataset
from RobustART.errors import ConfigError, RecordError
from RobustART.evaluation import Cell, Pass, evaluate
from RobustART.evaluation.engine import grid
from RobustART.models import create_model
from RobustART.records.sealing import unsealed
from tests.conftest import SIZE, as_format_1, make_picture, own_benchmark


def rows(folder, benchmark):
    return [json.loads(line) for line in (folder / "results" / f"{benchmark}.jsonl").read_text().splitlines()[1:]]


@pytest.mark.parametrize(
    ("change", "named"),
    [({"seed": 1}, "seed: 0 -> 1"), ({"batch_size": 5}, "batch_size: 4 -> 5"), ({"limit": 6}, "subset: null ->")],
)
def test_other_conditions_are_refused(tmp_path, data, model, change, named):
    settings = {"batch_size": 4, "progress": False}
    evaluate(model, data, {"clean": {}}, output_dir=tmp_path, **settings)
    with pytest.raises(RecordError, match=f"another config: its hash is .* this run's is .*{named}"):
        evaluate(model, data, {"clean": {}}, output_dir=tmp_path, **{**settings, **change})
    changed = create_model(model.source, scale=9.0, preprocessing=SIZE)
    with pytest.raises(RecordError, match=r"model\.weights: "):
        evaluate(changed, data, {"clean": {}}, output_dir=tmp_path, **settings)


@pytest.mark.parametrize("lines", [None, 9])
def test_a_run_of_format_1_is_resumed(tmp_path, data, model, lines):
    """Whole or cut off, it ends in the file and the report that this version would have written."""
    wanted = {"clean": {}, "imagenet_c": {"corruptions": ["fog"]}, "adversarial": {"attacks": ["fgsm"]}}
    settings = {"output_dir": tmp_path, "batch_size": 4, "progress": False}
    before = evaluate(model, data, wanted, **settings).data["benchmarks"]
    paths = [tmp_path / "results" / f"{name}.jsonl" for name in wanted]
    whole = [path.read_bytes() for path in paths]
    for path in paths:
        path.write_text("".join(as_format_1(path.read_text()).splitlines(keepends=True)[:lines]))
    for name in ("report.json", "run.json"):  # or their timing would be taken
        (tmp_path / "results" / name).unlink()
    again = evaluate(model, data, wanted, **settings).data
    assert [path.read_bytes() for path in paths] == whole
    assert again["benchmarks"] == before
    assert again["timing"]["images_computed"] == (0 if lines is None else 3 * 4)


def test_full_disk_stops_the_run(tmp_path, data, model, monkeypatch):
    from RobustART.records.journal import Journal

    write, calls = Journal._write, []

    def full(self, lines):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        write(self, lines)

    monkeypatch.setattr(Journal, "_write", full)
    with pytest.raises(RecordError, match="No space left on device. The records written before are kept"):
        evaluate(model, data, {"clean": {}}, output_dir=tmp_path, batch_size=4, progress=False)
    assert len(rows(tmp_path, "clean")) == 4


def test_output_that_cannot_be_written(tmp_path, data, model):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="output_dir .*file cannot be written"):
        evaluate(model, data, {"clean": {}}, output_dir=tmp_path / "file", progress=False)


def test_half_precision_is_for_images_that_are_not_attacked(tmp_path, data, model):
    wanted = {"clean": {}, "adversarial": {"attacks": ["fgsm"], "eps": [0]}}
    evaluate(model, data, wanted, output_dir=tmp_path, amp="bf16", progress=False)
    half, full = rows(tmp_path, "clean"), rows(tmp_path, "adversarial")
    assert [row["confidence"][0] for row in half] != [row["confidence"][0] for row in full]
    assert [row["confidence"][0] for row in half] == pytest.approx([row["confidence"][0] for row in full], abs=0.05)
    header = json.loads((tmp_path / "results" / "adversarial.jsonl").read_text().splitlines()[0])
    assert header["conditions"]["precision"] == "float32"
    assert all(row["prediction"][0] == row["prediction"][1] for row in full)


@pytest.mark.parametrize("change", ["contents", "exif", "argument", "layer"])
def test_what_the_numbers_depend_on_belongs_to_the_conditions(tmp_path, photo_folder, own_model, change):
    settings = {"output_dir": tmp_path, "batch_size": 4, "progress": False}
    evaluate(
        create_model(f"{own_model}:build", preprocessing=SIZE),
        create_dataset(root_dir=photo_folder),
        {"clean": {}},
        **settings,
    )
    before = (tmp_path / "results" / "clean.jsonl").read_bytes()
    model = create_model(f"{own_model}:build", preprocessing=SIZE, **({"scale": 8} if change == "argument" else {}))
    photos = create_dataset(root_dir=photo_folder, exif_orientation=change == "exif")
    named = r"data\[0\]\.fingerprint"
    if change == "contents":
        from PIL import Image

        Image.fromarray(make_picture(99)).save(photo_folder / photos.files[0])
        named = r"class_0/00\.png is not the image that .*clean\.jsonl was made from"
    if change == "argument":
        named = r'model\.arguments: \{\} -> |model\.arguments\.scale: null -> "8"'
    if change == "layer":
        model.network.network[1] = nn.LeakyReLU()  # the same weights
        named = r"model\.weights: "
    with pytest.raises(RecordError, match=named):
        evaluate(model, photos, {"clean": {}}, **settings)
    assert (tmp_path / "results" / "clean.jsonl").read_bytes() == before


def test_killed_before_the_merge(tmp_path, data, model):
    settings = {"output_dir": tmp_path, "batch_size": 4, "progress": False}
    evaluate(model, data, {"clean": {}}, **settings)
    path = tmp_path / "results" / "clean.jsonl"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5] + lines[9:]))
    path.with_name("clean.jsonl.rank1").write_bytes(b"".join([lines[0], *lines[5:9]]))
    evaluate(model, data, {"clean": {}}, **settings)
    assert path.read_bytes() == whole
    assert not path.with_name("clean.jsonl.rank1").exists()


def test_second_run_on_the_same_folder_is_refused(tmp_path, data, model):
    from RobustART.evaluation.checks import only_writer, prepare_output

    results = prepare_output(tmp_path)
    with only_writer(results), pytest.raises(RecordError, match="another run is writing to"):
        evaluate(model, data, {"clean": {}}, output_dir=tmp_path, progress=False)
    evaluate(model, data, {"clean": {}}, output_dir=tmp_path, progress=False)


def test_channels_last_is_what_the_record_says(tmp_path, data, model):
    evaluate(model, data, {"clean": {}}, output_dir=tmp_path / "last", channels_last=True, progress=False)
    convolution = model.network.network[0].weight
    assert convolution.is_contiguous(memory_format=torch.channels_last)
    evaluate(model, data, {"clean": {}}, output_dir=tmp_path / "first", progress=False)
    assert convolution.is_contiguous()
    pair = [rows(tmp_path / name, "clean") for name in ("last", "first")]
    assert [r["confidence"][0] for r in pair[0]] == pytest.approx([r["confidence"][0] for r in pair[1]], abs=1e-5)


def test_report_of_another_data_set_names_that(tmp_path, data, model):
    other = array_dataset(data.images[:5], [0] * 5, "others")

    with own_benchmark("others", lambda dataset: (Pass(other, (Cell("clean", clean_view),)),)):
        report = evaluate(model, data, {"others": {}}, output_dir=tmp_path, progress=False)
    assert "others: 5 images" in report.heading()
    assert "arrays" not in report.heading()


def test_full_disk_at_the_report(tmp_path, data, model, monkeypatch, caplog):
    import os

    replace = os.replace

    def full(source, target):
        if str(target).endswith("report.md"):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr("RobustART.core.files.os.replace", full)
    with pytest.raises(
        RecordError, match="cannot write .*report.md: No space left on device. The results are recorded"
    ):
        evaluate(model, data, {"clean": {}}, output_dir=tmp_path, progress=False)
    monkeypatch.undo()

    def broken(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("PIL.Image.Image.save", broken)
    report = evaluate(model, data, {"clean": {}}, output_dir=tmp_path, progress=False)
    assert report.metric("clean", "top1") is not None
    assert "noise.png could not be written: No space left" in caplog.text


def test_processes_agree_on_the_merge_though_process_0_has_begun_it(tmp_path, data, model):
    """Process 1 decides before the first barrier; behind it, process 0 may have merged the parts already."""
    from types import SimpleNamespace

    from RobustART.evaluation.engine import run_benchmark
    from RobustART.evaluation.settings import Settings
    from RobustART.records.journal import Journal

    evaluate(model, data, {"clean": {}}, output_dir=tmp_path, batch_size=4, progress=False)
    path = tmp_path / "results" / "clean.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5] + lines[9:]))
    path.with_name("clean.jsonl.rank1").write_bytes(b"".join([lines[0], *lines[5:9]]))
    header = json.loads(unsealed(lines[0].decode(), "the header"))
    benchmark = build_benchmark("clean", data)
    barriers = []

    def barrier():
        barriers.append(1)
        if len(barriers) in (1, 3):  # process 0 merges behind the first and, after the work, behind the third
            keys = [[(0, i) for i in block] for block in grid(range(12), benchmark.passes[0].cells, 4)]
            Journal(path, header, keys).compact()

    world = SimpleNamespace(rank=1, size=2, is_main=False, device=torch.device("cpu"), barrier=barrier)
    settings = Settings(batch_size=4, progress=False)
    run_benchmark({None: model}, benchmark, header, [list(range(12))], model.preprocessing, path, world, settings)
    assert len(barriers) == 4  # as many as process 0 waits at
    assert path.read_bytes() == b"".join(lines)
