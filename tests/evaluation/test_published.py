"""Published data sets read from files: labels, preprocessing, what is missing, and counts that differ."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from RobustART.data import array_dataset, create_dataset
from RobustART.data.imagenet import imagenet_wnids
from RobustART.errors import ConfigError, DataError, RecordError, UnknownNameError
from RobustART.evaluation import evaluate
from RobustART.evaluation.benchmarks import build_benchmark
from RobustART.imaging import decode, encode_jpeg
from RobustART.metrics import ImageNetCEvaluator, ImageNetEvaluator, ImageNetOEvaluator
from RobustART.metrics.baselines import imagenet_a_classes, imagenet_o_classes
from RobustART.models import create_model
from RobustART.noise import corrupt
from RobustART.records import read_records
from tests.conftest import make_picture

SIZE = {"input_size": 32, "resize": 36, "mean": [0.5] * 3, "std": [0.25] * 3}
NOTHING = array_dataset([make_picture(0, 32, 32)], [0], "nothing")
CELLS = [(name, level) for name in ("pixelate", "contrast") for level in (1, 3)]
OPTIONS = {"corruptions": ["pixelate", "contrast"], "severities": [1, 3]}
LABELS = (999, 0, 243)


@pytest.fixture
def model(own_model):
    return create_model(f"{own_model}:build", classes=1000, preprocessing=SIZE)


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)


@pytest.fixture
def corrupted(tmp_path):
    """ImageNet-C's layout, 32 x 32, 6 photos of 3 classes."""
    root = tmp_path / "imagenet-c"
    for name, level in CELLS:
        for i in range(6):
            image = corrupt(make_picture(i, 32, 32), name, level)
            path = root / name / str(level) / imagenet_wnids()[LABELS[i % 3]] / f"photo_{i}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_jpeg(image, 85))
    return root


def wnid_folder(root, labels, size=40, start=0):
    for i, label in enumerate(labels):
        save(root / imagenet_wnids()[label] / f"{i}.png", make_picture(start + i, size, size))
    return root


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
    with pytest.raises(ConfigError, match="imagenet_c.preprocess must be one of crop, resize256, model, got 'zoom'"):
        build_benchmark("imagenet_c", NOTHING, {"root_dir": corrupted, "preprocess": "zoom"})


def test_cropping_needs_pictures_of_the_models_size(tmp_path, corrupted, own_model):
    large = create_model(f"{own_model}:build", classes=1000, preprocessing={**SIZE, "input_size": 48, "resize": 48})
    with pytest.raises(
        DataError, match=r"pixelate/1/n\d+/photo_\d.JPEG: the picture is 32 x 32, smaller than .* 48, and"
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


def write_meta(root, folder, kept=lambda name, level, file: True, label=lambda wnid: imagenet_wnids().index(wnid)):
    groups = {"digital": {}}
    for name, level in CELLS:
        files = sorted(p.relative_to(root).as_posix() for p in (root / name / str(level)).rglob("*.JPEG"))
        rows = [{"filename": f, "label": label(f.split("/")[2])} for f in files if kept(name, level, f)]
        path = folder / f"{name}-{level}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        groups["digital"].setdefault(name, {})[str(level)] = path.name
    (folder / "all.json").write_text(json.dumps(groups))
    return str(folder / "all.json")


def test_meta_of_the_original_says_which_files_and_labels(tmp_path, corrupted):
    meta = write_meta(
        corrupted, tmp_path / "meta", kept=lambda name, level, file: "photo_5" not in file, label=lambda _: 7
    )
    images = build_benchmark("imagenet_c", NOTHING, {**OPTIONS, "root_dir": corrupted, "meta": meta}).passes[0].dataset
    assert len(images) == 5
    assert set(images.labels) == {7}


def test_meta_that_is_not_whole_is_refused(tmp_path, corrupted):
    meta = write_meta(corrupted, tmp_path / "m", kept=lambda name, level, file: (level, "photo_5" in file) != (3, True))
    options = {**OPTIONS, "root_dir": corrupted, "meta": meta}
    with pytest.raises(
        DataError, match="the same images and labels in every list, but .*photo_5.JPEG is not there in that"
    ):
        build_benchmark("imagenet_c", NOTHING, options)
    with pytest.raises(
        DataError, match=r"fog/1 in .*all.json, but it names other cells \(corruptions: contrast, pixelate\)"
    ):
        build_benchmark("imagenet_c", NOTHING, {**options, "corruptions": "fog", "severities": 1})
    (tmp_path / "m" / "all.json").write_text("[1]")
    with pytest.raises(DataError, match="must hold JSON"):
        build_benchmark("imagenet_c", NOTHING, options)


def test_what_is_missing_is_named(tmp_path, corrupted):
    with pytest.raises(
        DataError, match=r"looked for as .*nowhere, but there is no such folder. .*zenodo.org/record/2235448"
    ):
        build_benchmark("imagenet_c", NOTHING, {"root_dir": str(tmp_path / "nowhere")})
    with pytest.raises(
        DataError, match=r"95 folders such as .*, but 91 of them are not there \(found: contrast, pixelate\)"
    ):
        build_benchmark("imagenet_c", NOTHING, {"root_dir": corrupted})
    lost = next((corrupted / "contrast" / "3").rglob("photo_4.JPEG"))
    lost.unlink()
    with pytest.raises(DataError, match=r"contrast/3 has 5 and pixelate/1 6; n\d+/photo_4.JPEG is in only one of them"):
        build_benchmark("imagenet_c", NOTHING, {**OPTIONS, "root_dir": corrupted})
    with pytest.raises(ConfigError, match="files in root_dir are stored already"):
        build_benchmark("imagenet_c", NOTHING, {"root_dir": corrupted, "jpeg_quality": 85})
    with pytest.raises(ConfigError, match="name their folder in root_dir"):
        build_benchmark("imagenet_c", NOTHING, {"preprocess": "resize256"})
    with pytest.raises(UnknownNameError, match="unknown corruption 'fogg'"):
        build_benchmark("imagenet_c", NOTHING, {"root_dir": corrupted, "corruptions": "fogg"})


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
    assert result["mean_error"] == pytest.approx(100 - 100 * correct.mean())
    assert report.metric(name, "mean_error") == pytest.approx(result["mean_error"])
    with pytest.raises(DataError, match="of them are not there"):
        build_benchmark(name, NOTHING, {"root_dir": str(tmp_path / "set")})


def test_cifar_c(tmp_path, own_model):
    model = create_model(f"{own_model}:build", classes=10, preprocessing=SIZE)
    root = tmp_path / "CIFAR-10-C"
    root.mkdir()
    labels = np.arange(4) % 10
    np.save(root / "labels.npy", np.tile(labels, 5))
    pictures = {
        name: np.stack([make_picture(10 * s + i + len(name), 32, 32) for s in range(5) for i in range(4)])
        for name in ("fog", "snow")
    }
    for name, stack in pictures.items():
        np.save(root / f"{name}.npy", stack)
    options = {"root_dir": str(root), "corruptions": ["fog", "snow"], "severities": [2, 5]}
    part = build_benchmark("cifar_c", NOTHING, options).passes[0]
    sample = part.dataset.sample(3, part.prepare(model.preprocessing).apply)
    views = {cell.name: cell.view(sample, None) for cell in part.cells}
    assert np.array_equal(views["fog/2"], pictures["fog"][4 + 3])
    assert np.array_equal(views["snow/5"], pictures["snow"][16 + 3])
    assert part.dataset.labels == (0, 1, 2, 3)
    report = evaluate(model, NOTHING, {"cifar_c": options}, output_dir=tmp_path, workers=1, progress=False)
    assert report.metric("cifar_c", "mean_error") is not None
    assert "the published set has 10000" in report.data["warnings"][0]
    with pytest.raises(DataError, match=r"frost.npy, but 17 files are not there \(found: fog, labels, snow\)|17 files"):
        build_benchmark("cifar_c", NOTHING, {"root_dir": str(root)})
    np.save(root / "fog.npy", pictures["fog"][:7])
    with pytest.raises(DataError, match=r"uint8 \(20, H, W, 3\) in fog.npy, but it holds uint8 \(7, 32, 32, 3\)"):
        build_benchmark("cifar_c", NOTHING, options)


def test_imagenet_r_is_masked_by_its_own_folders(tmp_path, model):
    root = wnid_folder(tmp_path / "imagenet-r", [5, 9, 700])
    for masked in (True, False):
        folder = tmp_path / str(masked)
        options = {"root_dir": str(root), "masked": masked}
        report = evaluate(model, NOTHING, {"imagenet_r": options}, output_dir=folder, progress=False)
        table = read_records(folder / "results" / "imagenet_r.jsonl").passes[0]
        assert table.labels.tolist() == [5, 9, 700]
        assert (set(table.prediction.flatten().tolist()) <= {5, 9, 700}) == masked
        again = ImageNetEvaluator().eval(folder / "results" / "imagenet_r.jsonl")
        assert again["top1"] == pytest.approx(report.metric("imagenet_r", "top1"))
    assert "the published set has 30000 of 200" in report.data["warnings"][0]


def test_imagenet_v2_folders_are_numbers(tmp_path):
    for label in (10, 2, 999):
        save(tmp_path / "v2" / str(label) / "x.jpeg", make_picture(label % 50, 40, 40))
    images = build_benchmark("imagenet_v2", NOTHING, {"root_dir": str(tmp_path / "v2")}).passes[0].dataset
    assert images.labels == (2, 10, 999)
    assert images.files == ("2/x.jpeg", "10/x.jpeg", "999/x.jpeg")
    (tmp_path / "v2" / "odd").mkdir()
    with pytest.raises(DataError, match=r"ImageNet-V2 is looked for as .*\{0..999\}/\*, but it holds odd"):
        build_benchmark("imagenet_v2", NOTHING, {"root_dir": str(tmp_path / "v2")})


def test_imagenet_sketch_and_what_is_no_such_folder(tmp_path):
    root = wnid_folder(tmp_path / "sketch", [1, 2])
    benchmark = build_benchmark("imagenet_sketch", NOTHING, {"root_dir": str(root)})
    assert benchmark.passes[0].classes is None
    assert "the published set has 50889 of 1000" in benchmark.notes[0]
    save(tmp_path / "cats" / "cat" / "x.png", make_picture(0))
    with pytest.raises(DataError, match="ImageNet-Sketch is looked for .* but its folders are cat, ...."):
        build_benchmark("imagenet_sketch", NOTHING, {"root_dir": str(tmp_path / "cats")})
    with pytest.raises(ConfigError, match="imagenet_r.masked must be true or false"):
        build_benchmark("imagenet_r", NOTHING, {"root_dir": str(root), "masked": 1})


def test_imagenet_o_takes_the_known_half_by_class(tmp_path, model):
    inside = imagenet_o_classes()
    assert len(inside) == 200
    assert inside != imagenet_a_classes()
    outside = next(i for i in range(1000) if i not in inside)
    val = create_dataset(root_dir=wnid_folder(tmp_path / "val", [inside[0], outside, inside[3], inside[7]]))
    unknown = wnid_folder(tmp_path / "imagenet-o", [inside[1], inside[3]], start=20)
    report = evaluate(model, val, {"imagenet_o": {"root_dir": str(unknown)}}, output_dir=tmp_path, progress=False)
    records = read_records(tmp_path / "results" / "imagenet_o.jsonl")
    known, other = records.passes
    assert known.labels.tolist() == [inside[0], inside[3], inside[7]]
    assert other.labels.tolist() == [inside[1], inside[3]]
    assert set(known.prediction.flatten().tolist()) <= set(inside)
    result = ImageNetOEvaluator().eval(tmp_path / "results" / "imagenet_o.jsonl")
    from sklearn.metrics import average_precision_score

    scores = -np.concatenate([known.confidence[:, 0], other.confidence[:, 0]])
    assert result["aupr"] == pytest.approx(100 * average_precision_score([0, 0, 0, 1, 1], scores))
    assert result["chance_aupr"] == 40
    assert len(report.data["warnings"]) == 2
    assert "the published protocol has 10000" in report.data["warnings"][1]
    with pytest.raises(DataError, match="needs known photos.* no photos of them"):
        build_benchmark("imagenet_o", array_dataset([make_picture(0)], [outside]), {"root_dir": str(unknown)})
    wnid_folder(unknown, [outside])
    with pytest.raises(DataError, match=f"class {outside} is none of them"):
        build_benchmark("imagenet_o", val, {"root_dir": str(unknown)})


def test_imagenet_o_of_pixels_in_memory(model):
    inside = imagenet_o_classes()
    pictures = array_dataset(
        [make_picture(i, 32, 32) for i in range(3)], [inside[0], 999 if 999 not in inside else 998, inside[1]]
    )
    chosen = pictures.select([0, 2])
    assert chosen.labels == (inside[0], inside[1])
    assert np.array_equal(chosen.read(1), pictures.images[2])


def test_imagenet_o_from_the_originals_lists(tmp_path):
    (tmp_path / "o-part1-results.txt.rank0").write_text(
        '{"confidence": [0.9, 0.8], "correct": [1, 0], "num_correct": 1}\n'
    )
    (tmp_path / "o-part2-results.txt.rank0").write_text('{"confidence": [0.2], "correct": [0], "num_correct": 0}\n')
    parts = tmp_path / "o-part1-results.txt", tmp_path / "o-part2-results.txt"
    result = ImageNetOEvaluator().eval(*parts)
    assert (result["aupr"], result["auroc"], result["fpr95"]) == (100, 100, 0)
    with pytest.raises(RecordError, match=r"name both: eval\(part1, part2\)"):
        ImageNetOEvaluator().eval(parts[0])


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
    with pytest.raises(
        DataError, match=r"pil_opencv-area.txt, but that list is not there \(found: ffmpeg_pil-bilinear.txt, pil"
    ):
        build_benchmark("imagenet_s", photos, {"root_dir": str(root), "resizes": "opencv-area", "decoders": "pil"})
    np.save(next((root / "pil" / "pil-box").rglob("00.png.npy")), np.zeros((32, 32, 3)))
    with pytest.raises(DataError, match=r"00.png.npy: a stored picture must be uint8 \(H, W, 3\), got float64"):
        evaluate(
            model, photos, {"imagenet_s": {**options, "root_dir": str(root)}}, output_dir=tmp_path / "x", progress=False
        )


def test_chance_on_imagenet_a_is_no_sign_of_a_broken_run(tmp_path, model):
    """ResNet-50 gets none of it right."""
    root = wnid_folder(tmp_path / "a", imagenet_a_classes()[:12])
    report = evaluate(model, NOTHING, {"imagenet_a": {"root_dir": root}}, output_dir=tmp_path, progress=False)
    assert not any("at chance" in warning for warning in report.data["warnings"])


def test_counts_of_imagenet_a_are_checked(tmp_path):
    root = wnid_folder(tmp_path / "a", imagenet_a_classes()[:2])
    assert build_benchmark("imagenet_a", NOTHING, {"root_dir": str(root)}).notes == (
        "ImageNet-A has 2 images of 2 classes here; the published set has 7500 of 200",
    )
    with pytest.raises(DataError, match=r"there is no such folder.*imagenet-a.tar"):
        build_benchmark("imagenet_a", NOTHING, {"root_dir": "/nowhere/imagenet-a"})


def test_files_are_not_enlarged_to_black_borders():
    from RobustART.evaluation.benchmarks.published import stored_preprocessing
    from RobustART.preprocessing import Preprocessing

    adapt = stored_preprocessing("resize256", "imagenet_c")
    assert adapt(Preprocessing(input_size=240)).resize == 256
    with pytest.raises(ConfigError, match="resize256 makes 256 x 256 pixels, less than the model's input of 300"):
        adapt(Preprocessing(input_size=300, resize=342))
    with pytest.raises(ConfigError, match="preprocess must be one of"):
        stored_preprocessing(["crop"], "imagenet_c")


def test_options_that_files_cannot_have_are_refused(corrupted):
    with pytest.raises(ConfigError, match="backend is 'imagecorruptions', but files in root_dir are corrupted already"):
        build_benchmark("imagenet_c", NOTHING, {**OPTIONS, "root_dir": corrupted, "backend": "imagecorruptions"})
