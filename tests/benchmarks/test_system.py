"""ImageNet-S in the engine: 13 cells, the reference's own crop, recorded pixel differences, and notes of vacuous cells."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from RobustART.benchmarks import build_benchmark
from RobustART.core.imaging import RESIZES
from RobustART.data import array_dataset, create_dataset
from RobustART.errors import ConfigError, DataError, RecordError, UnknownNameError
from RobustART.evaluation import evaluate
from RobustART.evaluation.picture import AMPLIFIED, difference
from RobustART.metrics import ImageNetSEvaluator
from RobustART.models import create_model
from RobustART.noise.system import system_noise
from RobustART.records.lines import read_records
from tests.conftest import changed, make_picture

SIZE = {"input_size": 32, "resize": 40, "mean": [0.5] * 3, "std": [0.25] * 3}


@pytest.fixture
def jpegs(tmp_path):
    folder = tmp_path / "jpegs"
    for i in range(6):
        path = folder / f"class_{i % 3}" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(i).integers(-30, 31, (70, 90, 3))
        Image.fromarray((make_picture(i, 70, 90) + noise).clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return create_dataset(root_dir=folder)


@pytest.fixture
def model(own_model):
    return create_model(f"{own_model}:build", preprocessing=SIZE)


def test_thirteen_cells_the_common_one_once(jpegs):
    part = build_benchmark("imagenet_s", jpegs).passes[0]
    names = [cell.name for cell in part.cells]
    assert names[:3] == ["pil/pil-bilinear", "opencv/pil-bilinear", "ffmpeg/pil-bilinear"]
    assert names[3:] == [f"pil/{name}" for name in RESIZES if name != "pil-bilinear"]
    assert len(names) == 13


def test_views_are_the_functions_and_differences_are_recorded(tmp_path, jpegs, model):
    report = evaluate(model, jpegs, {"imagenet_s": {}}, output_dir=tmp_path, batch_size=4, progress=False)
    table = read_records(tmp_path / "results" / "imagenet_s.jsonl").passes[0]
    pixels = table.extra["pixel_difference"]
    assert pixels.shape == (6, 13)
    for row, file in enumerate(jpegs.files):
        data = (jpegs.root / file).read_bytes()
        reference = system_noise(data, size=32).astype(int)
        for column, cell in enumerate(table.cells):
            decoder, _, resize = cell.partition("/")
            made = system_noise(data, decoder=decoder, resize=resize, size=32)
            assert pixels[row, column] == pytest.approx(np.abs(made - reference).mean(), abs=1e-8)
    assert (pixels[:, 0] == 0).all()
    assert (pixels[:, 3:].mean(axis=0) > 0.5).all()
    entry = report.data["benchmarks"]["imagenet_s"]
    accuracies = 100 * table.correct.mean(axis=0)
    assert entry["metrics"]["mean_top1"]["value"] == pytest.approx(accuracies.mean())
    assert entry["metrics"]["std_top1"]["value"] == pytest.approx(accuracies.std())
    assert entry["metrics"]["worst_top1"]["value"] == pytest.approx(accuracies.min())
    rows = entry["tables"]["systems"]
    assert rows["pil/opencv-area"]["difference (grey levels)"]["value"] == pytest.approx(
        pixels[:, table.cell("pil/opencv-area")].mean()
    )
    assert entry["data"][0]["preprocessing"] == {"resize": 37, "crop_mode": "squash"}
    again = ImageNetSEvaluator().eval(tmp_path / "results" / "imagenet_s.jsonl")
    assert dict(again) == pytest.approx({name: value["value"] for name, value in entry["metrics"].items()})


def test_pixels_in_memory_have_resizes_but_no_decoders(tmp_path, model):
    arrays = array_dataset([make_picture(i, 60, 50) for i in range(3)], [0, 1, 2])
    report = evaluate(model, arrays, {"imagenet_s": {"decoders": "pil"}}, output_dir=tmp_path, progress=False)
    assert len(report.data["benchmarks"]["imagenet_s"]["tables"]["systems"]) == 11
    with pytest.raises(DataError, match="was given as pixels; there is no file to decode in another way"):
        evaluate(model, arrays, {"imagenet_s": {}}, output_dir=tmp_path / "b", progress=False)


def test_a_vacuous_cell_is_named(tmp_path, model, photo_folder):
    """PNG files decode to the same pixels everywhere."""
    photos = create_dataset(root_dir=photo_folder)
    options = {"decoders": ["opencv", "ffmpeg"], "resizes": ["pil-box"]}
    report = evaluate(model, photos, {"imagenet_s": options}, output_dir=tmp_path, progress=False)
    assert report.data["warnings"] == [
        "imagenet_s: opencv/pil-bilinear, ffmpeg/pil-bilinear made the same pixels as pil/pil-bilinear for every image, so "
        "these cells measure nothing"
    ]
    assert "made the same pixels" in (tmp_path / "results" / "report.md").read_text()


def test_another_batch_size_records_the_same_differences(tmp_path, jpegs, model):
    tables = []
    for size in (1, 64):
        evaluate(model, jpegs, {"imagenet_s": {}}, output_dir=tmp_path / str(size), batch_size=size, progress=False)
        lines = (tmp_path / str(size) / "results" / "imagenet_s.jsonl").read_text().splitlines()[1:]
        tables.append([json.loads(line)["extra"] for line in lines])
    assert tables[0] == tables[1]


def test_differences_are_drawn_amplified():
    reference = np.full((2, 2, 3), 100, np.uint8)
    image = reference.copy()
    image[0, 0] = 103
    image[1, 1] = 60
    drawn = difference(image, reference)
    assert drawn[0, 0].tolist() == [128 + 3 * AMPLIFIED] * 3
    assert drawn[1, 1].tolist() == [0] * 3
    assert drawn[0, 1].tolist() == [128] * 3


def test_long_rows_are_thinned_but_not_those_of_differences(jpegs):
    import dataclasses

    from RobustART.benchmarks import clean_view
    from RobustART.evaluation import Cell
    from RobustART.evaluation.picture import shown_cells

    part = build_benchmark("imagenet_s", jpegs).passes[0]
    assert shown_cells(part) == part.cells
    cells = tuple(Cell(f"{name}/{i}", clean_view) for name, count in (("rotate", 31), ("fog", 5)) for i in range(count))
    names = [cell.name for cell in shown_cells(dataclasses.replace(part, cells=cells, reference=None))]
    assert names == [f"rotate/{i}" for i in (0, 8, 15, 22, 30)] + [f"fog/{i}" for i in range(5)]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"decoders": ["ffmpg"]}, UnknownNameError, "unknown decoder 'ffmpg'; did you mean 'ffmpeg'"),
        ({"resizes": "pil-bicubic"}, UnknownNameError, "unknown resize 'pil-bicubic'"),
        ({"decoders": ["pil"], "resizes": []}, ConfigError, "needs a decoder or a resize beside the reference"),
        ({"resizes": ["pil-box", "pil-box"]}, ConfigError, "imagenet_s.resizes names something twice"),
        ({"decoders": 3}, ConfigError, "imagenet_s: decoders must be one entry or a list"),
    ],
)
def test_mistakes_are_named(jpegs, options, error, message):
    with pytest.raises(error, match=message):
        build_benchmark("imagenet_s", jpegs, options)


def test_exif_rule_reaches_every_decoder(tmp_path, own_model):
    """All cells of a turned photo show it the same way, with and without ``exif_orientation``."""
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "p" / "a").mkdir(parents=True)
    picture = np.zeros((60, 60, 3), np.uint8)
    picture[:20] = 255
    Image.fromarray(picture).save(tmp_path / "p" / "a" / "x.jpg", exif=exif, quality=95)
    for turned in (False, True):
        photos = create_dataset(root_dir=tmp_path / "p", exif_orientation=turned)
        part = build_benchmark("imagenet_s", photos, {"resizes": ["opencv-area"]}).passes[0]
        sample = photos.sample(
            0, part.prepare(create_model(f"{own_model}:build", preprocessing=SIZE).preprocessing).apply
        )
        for cell in part.cells:
            view = cell.view(sample, np.random.default_rng(0)).astype(int)
            bright, dark = (view[:, -3:], view[:, :3]) if turned else (view[:3], view[-3:])
            assert bright.mean() > 240, (cell.name, turned)
            assert dark.mean() < 15, (cell.name, turned)


def test_a_run_that_was_cut_off_goes_on_to_the_same_file(tmp_path, jpegs, model):
    settings = {"output_dir": tmp_path, "batch_size": 13, "progress": False}
    evaluate(model, jpegs, {"imagenet_s": {}}, **settings)
    path = tmp_path / "results" / "imagenet_s.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    evaluate(model, jpegs, {"imagenet_s": {}}, **settings)
    assert path.read_bytes() == whole


def test_extra_numbers_must_be_one_for_each_cell(tmp_path, jpegs, model):
    evaluate(model, jpegs, {"imagenet_s": {}}, output_dir=tmp_path, progress=False)
    path = tmp_path / "results" / "imagenet_s.jsonl"
    header, first, *rest = path.read_text().splitlines(keepends=True)
    fewer = {"pixel_difference": json.loads(first)["extra"]["pixel_difference"][:-1]}
    path.write_text("".join([header, changed(first, extra=fewer), *rest]))
    with pytest.raises(RecordError, match="image 0, in 'extra', must have 13 entries in 'pixel_difference', got 12"):
        ImageNetSEvaluator().eval(path)


def test_imagenet_s_dumps(tmp_path, photo_folder, model):
    """What the original's generator leaves: arrays and one list for each decoder and resize."""
    from RobustART.noise.system import system_noise

    photos = dataclasses.replace(create_dataset(root_dir=photo_folder), class_names=None)
    root = tmp_path / "imagenet-s"
    cells = [("pil", "pil-bilinear"), ("ffmpeg", "pil-bilinear"), ("pil", "pil-box")]
    for decoder, resize in cells:
        rows = []
        for file, label in zip(photos.files, photos.labels, strict=True):
            path = root / decoder / resize / f"{file}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, system_noise(photos.root / file, decoder=decoder, resize=resize, size=32))
            rows.append(f"{decoder}/{resize}/{file}.npy {label}\n")
        (root / f"{decoder}_{resize}.txt").write_text("".join(rows))
    options = {"decoders": ["pil", "ffmpeg"], "resizes": "pil-box"}
    reports = [
        evaluate(model, photos, {"imagenet_s": more}, output_dir=tmp_path / str(i), progress=False).data["benchmarks"][
            "imagenet_s"
        ]
        for i, more in enumerate((options, {**options, "root_dir": str(root)}))
    ]
    assert reports[0]["metrics"] == reports[1]["metrics"]
    assert reports[0]["tables"] == reports[1]["tables"]
    stored = build_benchmark("imagenet_s", photos, {**options, "root_dir": str(root)})
    assert stored.notes == ("ImageNet-S has 12 images of 3 classes here; the published set has 50000 of 1000",)
    read = dataclasses.replace(photos, decoder="opencv")
    (note,) = build_benchmark("imagenet_s", read, options).notes
    assert note == "imagenet_s uses its own decoders; data.test.image_reader, opencv, has no effect on it"
    with pytest.raises(
        DataError, match=r"pil_opencv-area.txt, but the list is missing: it holds the folders .* files ffmpeg_pil"
    ):
        build_benchmark("imagenet_s", photos, {"root_dir": str(root), "resizes": "opencv-area", "decoders": "pil"})
    lost = next((root / "pil" / "pil-box").rglob("03.png.npy"))
    kept = lost.rename(tmp_path / "kept.npy")
    with pytest.raises(
        DataError, match=r"12 images that the list of pil/pil-box names, but 1 of them .* as .*03.png.npy"
    ):
        build_benchmark("imagenet_s", photos, {**options, "root_dir": str(root)})
    kept.rename(lost)
    np.save(next((root / "pil" / "pil-box").rglob("00.png.npy")), np.zeros((32, 32, 3)))
    with pytest.raises(DataError, match=r"00.png.npy: a stored image must be uint8 \(H, W, 3\), got float64"):
        evaluate(
            model, photos, {"imagenet_s": {**options, "root_dir": str(root)}}, output_dir=tmp_path / "x", progress=False
        )
