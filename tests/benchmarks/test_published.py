"""Published corruption sets read from files: labels, preprocessing, what is missing, and counts that differ."""

import json

import numpy as np
import pytest
from PIL import Image

from RobustART.benchmarks import build_benchmark
from RobustART.core.imaging import decode, encode_jpeg
from RobustART.data.imagenet import imagenet_wnids
from RobustART.errors import ConfigError, DataError, RecordError, UnknownNameError
from RobustART.evaluation import evaluate
from RobustART.metrics import ImageNetCEvaluator
from RobustART.models import create_model
from RobustART.noise import corrupt
from RobustART.records.lines import read_records
from tests.conftest import make_picture
from tests.sets import NOTHING, SIZE, corruption_folders, save, write_meta

CELLS = [(name, level) for name in ("pixelate", "contrast") for level in (1, 3)]
OPTIONS = {"corruptions": ["pixelate", "contrast"], "severities": [1, 3]}


@pytest.fixture
def model(own_model):
    return create_model(f"{own_model}:build", classes=1000, preprocessing=SIZE)


@pytest.fixture
def corrupted(tmp_path):
    return corruption_folders(tmp_path / "imagenet-c", CELLS, make=corrupt)


def test_imagenet_c_is_one_record_an_image_with_imagenets_labels(tmp_path, corrupted, model):
    options = {**OPTIONS, "root_dir": str(corrupted)}
    report = evaluate(model, NOTHING, {"imagenet_c": options}, output_dir=tmp_path, batch_size=5, progress=False)
    table = read_records(tmp_path / "results" / "imagenet_c.jsonl").passes[0]
    assert table.cells == ("pixelate/1", "pixelate/3", "contrast/1", "contrast/3")
    assert sorted(set(table.labels.tolist())) == [0, 243, 999]
    assert all("/photo_" in file for file in table.files)
    part = build_benchmark("imagenet_c", NOTHING, options).passes[0]
    sample = part.dataset.sample(2, part.prepare(model.preprocessing).apply)
    for cell in part.cells:
        stored = decode((corrupted / cell.name / part.dataset.files[2]).read_bytes())
        assert np.array_equal(cell.view(sample, None), stored)
    entry = report.data["benchmarks"]["imagenet_c"]
    assert entry["options"]["preprocess"] == "crop"
    assert entry["options"]["backend"] is None
    assert entry["data"][0]["preprocessing"] == {"crop_mode": "none"}
    assert report.data["warnings"] == ["ImageNet-C has 6 images of 3 classes here; the published set has 50000 of 1000"]


def test_resize256_enlarges_and_is_on_record(tmp_path, corrupted, model):
    views = {}
    for name in ("crop", "resize256", "model"):
        part = build_benchmark("imagenet_c", NOTHING, {**OPTIONS, "root_dir": corrupted, "preprocess": name}).passes[0]
        sample = part.dataset.sample(0, part.prepare(model.preprocessing).apply)
        views[name] = part.cells[0].view(sample, None)
    stored = Image.fromarray(views["crop"])
    large = np.array(stored.resize((256, 256), Image.Resampling.BILINEAR))
    assert np.array_equal(views["resize256"], large[112:144, 112:144])
    larger = np.array(stored.resize((36, 36), Image.Resampling.BILINEAR))
    assert np.array_equal(views["model"], larger[2:34, 2:34])
    with pytest.raises(
        ConfigError, match="imagenet_c: preprocess must be one of 'crop', 'resize256', 'model', got 'zoom'"
    ):
        build_benchmark("imagenet_c", NOTHING, {"root_dir": corrupted, "preprocess": "zoom"})


def test_cropping_needs_pictures_of_the_models_size(tmp_path, corrupted, own_model):
    large = create_model(f"{own_model}:build", classes=1000, preprocessing={**SIZE, "input_size": 48, "resize": 48})
    with pytest.raises(
        DataError, match=r"pixelate/1/n\d+/photo_\d.JPEG: the image is 32 x 32, smaller than .* 48, and"
    ):
        evaluate(
            large, NOTHING, {"imagenet_c": {**OPTIONS, "root_dir": corrupted}}, output_dir=tmp_path, progress=False
        )


def test_folders_of_the_tar_files_are_found(corrupted):
    (corrupted / "digital").mkdir()
    for name in ("pixelate", "contrast"):
        (corrupted / name).rename(corrupted / "digital" / name)
    part = build_benchmark("imagenet_c", NOTHING, {**OPTIONS, "root_dir": corrupted}).passes[0]
    assert part.dataset.folders["pixelate/1"] == "digital/pixelate/1"
    assert part.cells[0].name == "pixelate/1"


def test_meta_of_the_original_says_which_files_and_labels(tmp_path, corrupted):
    meta = write_meta(
        corrupted, tmp_path / "meta", CELLS, kept=lambda name, level, file: "photo_5" not in file, label=lambda _: 7
    )
    images = build_benchmark("imagenet_c", NOTHING, {**OPTIONS, "root_dir": corrupted, "meta": meta}).passes[0].dataset
    assert len(images) == 5
    assert set(images.labels) == {7}


def test_meta_that_is_not_whole_is_refused(tmp_path, corrupted):
    meta = write_meta(
        corrupted, tmp_path / "m", CELLS, kept=lambda name, level, file: (level, "photo_5" in file) != (3, True)
    )
    options = {**OPTIONS, "root_dir": corrupted, "meta": meta}
    with pytest.raises(
        DataError, match="the same images and labels in every list, but .*photo_5.JPEG is not there in that"
    ):
        build_benchmark("imagenet_c", NOTHING, options)
    with pytest.raises(
        DataError, match=r"fog/1 in .*all.json, but it has other cells \(corruptions: contrast, pixelate\)"
    ):
        build_benchmark("imagenet_c", NOTHING, {**options, "corruptions": "fog", "severities": 1})
    (tmp_path / "m" / "all.json").write_text("[1]")
    with pytest.raises(DataError, match="must be JSON"):
        build_benchmark("imagenet_c", NOTHING, options)


def test_what_is_missing_is_named(tmp_path, corrupted):
    with pytest.raises(
        DataError, match=r"expected .*nowhere, but there is no such folder; .* holds .*zenodo.org/record/2235448"
    ):
        build_benchmark("imagenet_c", NOTHING, {"root_dir": str(tmp_path / "nowhere")})
    with pytest.raises(
        DataError,
        match=r"91 of these 95 folders are not there, such as gaussian_noise/1: it holds the folders contrast, pix",
    ):
        build_benchmark("imagenet_c", NOTHING, {"root_dir": corrupted})
    lost = next((corrupted / "contrast" / "3").rglob("photo_4.JPEG"))
    lost.unlink()
    with pytest.raises(DataError, match=r"contrast/3 has 5 and pixelate/1 6; n\d+/photo_4.JPEG is in only one of them"):
        build_benchmark("imagenet_c", NOTHING, {**OPTIONS, "root_dir": corrupted})
    with pytest.raises(ConfigError, match="files in root_dir are stored already"):
        build_benchmark("imagenet_c", NOTHING, {"root_dir": corrupted, "jpeg_quality": 85})
    with pytest.raises(
        ConfigError,
        match="preprocess is 'resize256', but it applies to published files only, and imagenet_c.root_dir is not set",
    ):
        build_benchmark("imagenet_c", NOTHING, {"preprocess": "resize256"})
    with pytest.raises(UnknownNameError, match="unknown corruption 'fogg'"):
        build_benchmark("imagenet_c", NOTHING, {"root_dir": corrupted, "corruptions": "fogg"})


@pytest.mark.parametrize("again", [7, 8])
def test_a_path_that_is_listed_twice_is_refused(tmp_path, corrupted, again):
    meta = write_meta(corrupted, tmp_path / "m", CELLS, label=lambda _: 7)
    with open(tmp_path / "m" / "pixelate-3.jsonl", "a") as file:
        name = next((corrupted / "pixelate" / "3").rglob("photo_2.JPEG")).relative_to(corrupted).as_posix()
        file.write(json.dumps({"filename": name, "label": again}) + "\n")
    with pytest.raises(DataError, match=rf"pixelate/3.*photo_2.JPEG is listed twice, with the labels 7 and {again}"):
        build_benchmark("imagenet_c", NOTHING, {**OPTIONS, "root_dir": corrupted, "meta": meta})


def test_listed_files_must_be_there(tmp_path, corrupted):
    meta = write_meta(corrupted, tmp_path / "m", CELLS)
    next((corrupted / "contrast" / "1").rglob("photo_3.JPEG")).unlink()
    with pytest.raises(DataError, match=r"6 images that the list of contrast/1 names, but 1 .* such as .*photo_3.JPEG"):
        build_benchmark("imagenet_c", NOTHING, {**OPTIONS, "root_dir": corrupted, "meta": meta})


def test_a_stranger_among_the_classes_is_named(corrupted):
    """As many folders as a model has classes would shift all their numbers."""
    for name, level in CELLS:
        next((corrupted / name / str(level)).iterdir()).rename(corrupted / name / str(level) / "n00000001")
    with pytest.raises(DataError, match=r"WordNet ids of ImageNet-1k, but 1 of 3 are not: n00000001. .*zenodo"):
        build_benchmark("imagenet_c", NOTHING, {**OPTIONS, "root_dir": corrupted})


def test_hidden_files_are_no_pictures(corrupted):
    """Some systems lay ``._photo.JPEG`` beside a photo when they unpack a tar file."""
    folder = next((corrupted / "contrast" / "1").iterdir())
    (folder / "._photo_9.JPEG").write_bytes(b"not a picture")
    assert len(build_benchmark("imagenet_c", NOTHING, {**OPTIONS, "root_dir": corrupted}).passes[0].dataset) == 6


def test_the_folder_that_is_meant_is_named(tmp_path, corrupted):
    for folder in (tmp_path, corrupted / "contrast"):
        with pytest.raises(DataError, match="4 of these 4 folders are not there, .* .is .*/imagenet-c meant"):
            build_benchmark("imagenet_c", NOTHING, {**OPTIONS, "root_dir": folder})
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="such as pixelate/1: it is empty"):
        build_benchmark("imagenet_c", NOTHING, {**OPTIONS, "root_dir": tmp_path / "empty"})
    for path in (corrupted / "contrast" / "3").rglob("*.JPEG"):
        path.unlink()
    with pytest.raises(
        DataError, match=r"images in .*contrast/3/\{wnid\}/, but it has no such files: it holds the folders n0"
    ):
        build_benchmark("imagenet_c", NOTHING, {**OPTIONS, "root_dir": corrupted})


def test_a_picture_that_cannot_be_read_is_named(tmp_path, corrupted, model):
    broken = next((corrupted / "contrast" / "3").rglob("photo_4.JPEG"))
    broken.write_bytes(broken.read_bytes()[:300])
    with pytest.raises(DataError, match=r"contrast/3/n\d+/photo_4.JPEG: .* cannot be decoded"):
        evaluate(model, None, {"imagenet_c": {**OPTIONS, "root_dir": corrupted}}, output_dir=tmp_path, progress=False)


def test_the_decoder_acts_on_stored_pictures(tmp_path, corrupted, model):
    options = {**OPTIONS, "root_dir": corrupted}
    views = {}
    for decoder in ("pil", "simplejpeg-fast"):
        part = build_benchmark("imagenet_c", NOTHING, {**options, "decoder": decoder}).passes[0]
        sample = part.dataset.sample(0, part.prepare(model.preprocessing).apply)
        views[decoder] = part.cells[1].view(sample, None)
        stored = (corrupted / "pixelate/3" / part.dataset.files[0]).read_bytes()
        assert np.array_equal(views[decoder], decode(stored, decoder=decoder))
    assert not np.array_equal(*views.values())
    for more in ({"decoder": "opencv"}, {"exif_orientation": True}, {"meta": "all.json"}):
        with pytest.raises(ConfigError, match=f"imagenet_c.{next(iter(more))} is .* applies to published files"):
            build_benchmark("imagenet_c", NOTHING, more)


def test_changed_files_are_noticed_when_a_run_goes_on(tmp_path, corrupted, model):
    settings = {"output_dir": tmp_path, "batch_size": 5, "progress": False}
    benchmarks = {"imagenet_c": {**OPTIONS, "root_dir": str(corrupted)}}
    evaluate(model, NOTHING, benchmarks, **settings)
    changed = next((corrupted / "contrast" / "3").rglob("photo_4.JPEG"))
    changed.write_bytes(encode_jpeg(make_picture(77, 32, 32), 85))
    with pytest.raises(RecordError, match=r"photo_4.JPEG is not the image that"):
        evaluate(model, NOTHING, benchmarks, **settings)


@pytest.mark.parametrize(("name", "corruption"), [("imagenet_c_bar", "sparkles"), ("imagenet_3dcc", "fog_3d")])
def test_other_corruption_folders(tmp_path, model, name, corruption):
    for level in (1, 2):
        for i in range(4):
            path = tmp_path / "set" / corruption / str(level) / imagenet_wnids()[i] / f"{i}.JPEG"
            save(path, make_picture(i + level, 32, 32))
    options = {"root_dir": str(tmp_path / "set"), "corruptions": corruption, "severities": [1, 2]}
    report = evaluate(model, NOTHING, {name: options}, output_dir=tmp_path, progress=False)
    result = ImageNetCEvaluator().eval(tmp_path / "results" / f"{name}.jsonl")
    correct = read_records(tmp_path / "results" / f"{name}.jsonl").passes[0].correct
    assert list(result) == ["mean_error_of_these_cells"]
    assert result["mean_error_of_these_cells"] == pytest.approx(100 - 100 * correct.mean())
    assert report.metric(name, "mean_error_of_these_cells") == pytest.approx(result["mean_error_of_these_cells"])
    with pytest.raises(DataError, match="folders are not there"):
        build_benchmark(name, NOTHING, {"root_dir": str(tmp_path / "set")})


def test_files_are_not_enlarged_to_black_borders():
    from RobustART.benchmarks.stored import PREPROCESSINGS
    from RobustART.core.preprocessing import Preprocessing

    adapt = PREPROCESSINGS["resize256"]
    assert adapt(Preprocessing(input_size=240)).resize == 256
    with pytest.raises(ConfigError, match="resize256 makes 256 x 256 pixels, less than the model's input of 300"):
        adapt(Preprocessing(input_size=300, resize=342))
    with pytest.raises(ConfigError, match=r"preprocess must be one of .*, got \['crop'\]"):
        build_benchmark("imagenet_c", NOTHING, {"root_dir": "x", "preprocess": ["crop"]})


def test_options_that_files_cannot_have_are_refused(corrupted):
    with pytest.raises(ConfigError, match="backend is 'imagecorruptions', but files in root_dir are corrupted already"):
        build_benchmark("imagenet_c", NOTHING, {**OPTIONS, "root_dir": corrupted, "backend": "imagecorruptions"})
