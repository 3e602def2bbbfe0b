"""Other photos: ImageNet-A, -O, -R, -V2 and -Sketch from their folders."""

import numpy as np
import pytest
from PIL import Image

from RobustART.benchmarks import build_benchmark
from RobustART.benchmarks.imagenet_o import imagenet_o_classes
from RobustART.benchmarks.photos import imagenet_a_classes, imagenet_r_classes
from RobustART.core.imaging import decode
from RobustART.data import array_dataset, create_dataset
from RobustART.data.imagenet import imagenet_wnids
from RobustART.errors import ConfigError, DataError, RecordError, UnknownNameError
from RobustART.evaluation import evaluate
from RobustART.metrics import ImageNetEvaluator, ImageNetOEvaluator
from RobustART.models import create_model
from RobustART.records.lines import read_records
from tests.conftest import make_picture
from tests.sets import NOTHING, SIZE, save, wnid_folder


@pytest.fixture
def model(own_model):
    return create_model(f"{own_model}:build", classes=1000, preprocessing=SIZE)


def test_imagenet_r_is_masked_by_its_200_classes(tmp_path, model):
    inside = imagenet_r_classes()
    assert len(inside) == 200
    assert set(inside) not in (set(imagenet_a_classes()), set(imagenet_o_classes()))
    some = inside[:3]
    root = wnid_folder(tmp_path / "imagenet-r", some)
    seen = set()
    for masked in (True, False):
        folder = tmp_path / str(masked)
        options = {"root_dir": str(root), "masked": masked}
        report = evaluate(model, NOTHING, {"imagenet_r": options}, output_dir=folder, progress=False)
        table = read_records(folder / "results" / "imagenet_r.jsonl").passes[0]
        assert table.labels.tolist() == list(some)
        assert (set(table.prediction.flatten().tolist()) <= set(inside)) == masked
        seen |= set(table.prediction.flatten().tolist()) if masked else set()
        again = ImageNetEvaluator().eval(folder / "results" / "imagenet_r.jsonl")
        assert again["top1"] == pytest.approx(report.metric("imagenet_r", "top1"))
    assert not seen <= set(some)  # the mask is that of the set, not of the folders that are there
    assert "the published set has 30000 of 200" in report.data["warnings"][0]
    outside = next(i for i in range(1000) if i not in inside)
    wnid_folder(root, [outside])
    with pytest.raises(DataError, match=rf"of its 4 folders these are of none of them: {imagenet_wnids()[outside]} \("):
        build_benchmark("imagenet_r", NOTHING, {"root_dir": str(root)})


SETS = {
    "imagenet_a": (imagenet_a_classes, "imagenet-a.tar"),
    "imagenet_o": (imagenet_o_classes, "imagenet-o.tar"),
    "imagenet_r": (imagenet_r_classes, "imagenet-r.tar"),
    "imagenet_sketch": (lambda: range(1000), "HaohanWang/ImageNet-Sketch"),
    "imagenet_v2": (lambda: range(1000), "vaishaal/ImageNetV2"),
}


@pytest.mark.parametrize("name", SETS)
def test_a_folder_that_is_not_the_set_is_told_apart(tmp_path, name):
    """None, empty, the one above, one within, one with a stranger, one whose folders are empty."""
    classes, source = SETS[name]
    some = [imagenet_wnids()[label] for label in list(classes())[:2]]
    root = wnid_folder(tmp_path / "sets" / "right", list(classes())[:2])
    for folder, message in (
        (tmp_path / "sets" / "none", "there is no such folder; .*sets holds the folder right"),
        (tmp_path / "sets", "it holds the folder right .is .*sets/right meant"),
        (root / some[0], "it holds the file 0.png"),
    ):
        with pytest.raises(DataError, match=f"expected .*, but {message}.*{source}"):
            build_benchmark(name, NOTHING, {"root_dir": str(folder)})
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=f"but it is empty.*{source}"):
        build_benchmark(name, NOTHING, {"root_dir": str(tmp_path / "empty")})
    (tmp_path / "hollow" / some[0]).mkdir(parents=True)
    with pytest.raises(DataError, match=f"hold no images.*{source}"):
        build_benchmark(name, NOTHING, {"root_dir": str(tmp_path / "hollow")})
    save(root / "n99999999" / "x.png", make_picture(0))
    with pytest.raises(DataError, match=f"n99999999.*{source}"):
        build_benchmark(name, NOTHING, {"root_dir": str(root)})


def test_classes_that_lack_are_named(tmp_path):
    classes = imagenet_a_classes()
    for label in classes[1:]:
        (tmp_path / "a" / imagenet_wnids()[label]).mkdir(parents=True)
        (tmp_path / "a" / imagenet_wnids()[label] / "x.jpg").touch()
    (note,) = build_benchmark("imagenet_a", NOTHING, {"root_dir": str(tmp_path / "a")}).notes
    assert note == (
        "ImageNet-A has 199 images of 199 classes here; the published set has 7500 of 200; none are of "
        f"{imagenet_wnids()[classes[0]]}"
    )


def test_a_picture_that_cannot_be_read_is_named(tmp_path, model):
    root = wnid_folder(tmp_path / "a", imagenet_a_classes()[:3])
    broken = root / imagenet_wnids()[imagenet_a_classes()[1]] / "1.png"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(DataError, match=rf"{broken.parent.name}/1.png cannot be decoded"):
        evaluate(model, None, {"imagenet_a": {"root_dir": str(root)}}, output_dir=tmp_path, progress=False)


@pytest.mark.parametrize("name", SETS)
def test_the_decoder_acts_on_every_set_of_photos(tmp_path, name):
    """A photo with an EXIF orientation, as JPEG: each decoder's own pixels, and turned where that is asked for."""
    label = next(iter(SETS[name][0]()))
    exif = Image.Exif()
    exif[0x0112] = 3
    picture = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    path = save(tmp_path / name / imagenet_wnids()[label] / "x.jpg", picture, exif=exif, quality=60)
    known = array_dataset([make_picture(0)], [label])
    hashes = set()
    for decoder in ("pil", "ffmpeg"):
        for turned in (False, True):
            options = {"root_dir": str(tmp_path / name), "decoder": decoder, "exif_orientation": turned}
            data = build_benchmark(name, known, options).passes[-1].dataset
            want = decode(path.read_bytes(), decoder=decoder, exif_orientation=turned)
            assert np.array_equal(data.sample(0, lambda image: image).crop, want)
            hashes.add(data.fingerprint([0]))
    assert len(hashes) == 4
    with pytest.raises(UnknownNameError, match="unknown decoder 'pill'; did you mean 'pil'"):
        build_benchmark(name, known, {"root_dir": str(tmp_path / name), "decoder": "pill"})


def test_imagenet_v2_folders_are_numbers(tmp_path):
    for label in (10, 2, 999):
        save(tmp_path / "v2" / str(label) / "x.jpeg", make_picture(label % 50, 40, 40))
    images = build_benchmark("imagenet_v2", NOTHING, {"root_dir": str(tmp_path / "v2")}).passes[0].dataset
    assert images.labels == (2, 10, 999)
    assert images.files == ("2/x.jpeg", "10/x.jpeg", "999/x.jpeg")
    (tmp_path / "v2" / "odd").mkdir()
    with pytest.raises(
        DataError,
        match=r"ImageNet-V2: expected .*\{0..999\}, but of its 4 folders these are not indices of classes: odd",
    ):
        build_benchmark("imagenet_v2", NOTHING, {"root_dir": str(tmp_path / "v2")})


def test_imagenet_sketch_and_what_is_no_such_folder(tmp_path):
    root = wnid_folder(tmp_path / "sketch", [1, 2])
    benchmark = build_benchmark("imagenet_sketch", NOTHING, {"root_dir": str(root)})
    assert benchmark.passes[0].classes is None
    assert "the published set has 50889 of 1000" in benchmark.notes[0]
    save(tmp_path / "cats" / "cat" / "x.png", make_picture(0))
    with pytest.raises(DataError, match="ImageNet-Sketch: expected .* but it holds the folder cat"):
        build_benchmark("imagenet_sketch", NOTHING, {"root_dir": str(tmp_path / "cats")})
    with pytest.raises(ConfigError, match="imagenet_r: masked must be true or false, got 1"):
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
    with pytest.raises(DataError, match="needs known images.* no images of them"):
        build_benchmark("imagenet_o", array_dataset([make_picture(0)], [outside]), {"root_dir": str(unknown)})
    wnid_folder(unknown, [outside])
    with pytest.raises(DataError, match=f"these are of none of them: {imagenet_wnids()[outside]}"):
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
