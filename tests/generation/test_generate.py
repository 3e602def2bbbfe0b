"""Generated data sets: the numbers of an evaluation on the fly, whatever the model's preprocessing, subset and folders."""

import dataclasses
import json
import os
import re

import numpy as np
import pytest
from PIL import Image

from RobustART.benchmarks import Layout, build_benchmark, clean_view
from RobustART.cli import main
from RobustART.cli.generate import LAYOUTS
from RobustART.core.imaging import decode, encode_jpeg
from RobustART.core.imaging.video import read_video
from RobustART.core.options import option_defaults
from RobustART.core.seeding import numpy_generator
from RobustART.data import array_dataset, create_dataset
from RobustART.data.imagenet import imagenet_wnids
from RobustART.errors import ConfigError, DataError, UnknownNameError
from RobustART.evaluation import BENCHMARKS, Cell, Pass, evaluate
from RobustART.generation.generate import generate
from RobustART.generation.layouts import build_layout
from RobustART.models import create_model
from RobustART.noise import corrupt, perturb
from tests.conftest import make_picture, own_benchmark, save_photo

SIZE = {"input_size": 32, "resize": 37, "mean": [0.5] * 3, "std": [0.25] * 3}
SMALL = {"size": 32, "progress": False}
C = {"corruptions": ["gaussian_noise", "pixelate", "frost"], "severities": [1, 4]}
S = {"decoders": ["pil", "ffmpeg"], "resizes": ["pil-box", "opencv-nearest"]}
RECORDED = ("label", "prediction", "confidence", "label_rank", "extra")


@pytest.fixture
def photos(class_folders):
    return create_dataset(root_dir=class_folders)


@pytest.fixture
def model(own_model):
    def build(**preprocessing):
        return create_model(f"{own_model}:build", classes=1000, scale=60.0, preprocessing={**SIZE, **preprocessing})

    return build


def records(folder, benchmark):
    lines = (folder / "results" / f"{benchmark}.jsonl").read_text().splitlines()[1:]
    return [{key: value for key, value in json.loads(line).items() if key in RECORDED} for line in lines]


def compare(tmp_path, model, photos, benchmark, options, *, seed=0, limit=None, quality=None, read=None):
    """Generates, evaluates the files and on the fly, and returns the report of the files when both are the same."""
    generate(benchmark, photos, tmp_path / "set", options=options, model=model, seed=seed, limit=limit, progress=False)
    settings = {"seed": seed, "batch_size": 8, "progress": False}
    fly = {**options, **({"jpeg_quality": quality} if quality else {})}
    made = evaluate(model, photos, {benchmark: fly}, output_dir=tmp_path / "fly", limit=limit, **settings)
    stored = {**options, "root_dir": str(tmp_path / "set"), **(read or {})}
    report = evaluate(model, None, {benchmark: stored}, output_dir=tmp_path / "files", **settings)
    for key in ("metrics", "tables"):
        assert report.data["benchmarks"][benchmark][key] == made.data["benchmarks"][benchmark][key]
    assert records(tmp_path / "files", benchmark) == records(tmp_path / "fly", benchmark)  # so the pixels are the same
    confidences = [tuple(row["confidence"]) for row in records(tmp_path / "fly", benchmark)]
    assert len(set(confidences)) == len(confidences)
    return report


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_imagenet_c_from_files_is_imagenet_c_on_the_fly(tmp_path, photos, model, interpolation):
    network = model(interpolation=interpolation)
    report = compare(tmp_path, network, photos, "imagenet_c", C, seed=3, quality=85)
    origin = "imagenet_c is read from files that were generated from 6 of the 6 images of val with seed 3"
    assert [text for text in report.data["warnings"] if not text.startswith("clean")] == [origin]
    table = report.data["benchmarks"]["imagenet_c"]["tables"]
    stored = {**C, "root_dir": str(tmp_path / "set"), "meta": str(tmp_path / "set" / "meta" / "all.json")}
    listed = evaluate(network, None, {"imagenet_c": stored}, output_dir=tmp_path / "meta", seed=3, progress=False)
    assert listed.data["benchmarks"]["imagenet_c"]["tables"] == table


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_imagenet_s_from_files_is_imagenet_s_on_the_fly(tmp_path, photos, model, interpolation):
    report = compare(tmp_path, model(interpolation=interpolation, resize=50), photos, "imagenet_s", S)
    assert not [text for text in report.data["warnings"] if "on the fly" in text]
    assert (tmp_path / "set" / "pil_pil-box.txt").read_text().splitlines()[0].startswith("pil/pil-box/n")
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert manifest["preprocessing"] == {"input_size": 32}


@pytest.mark.parametrize(("benchmark", "options", "quality"), [("imagenet_c", C, 85), ("imagenet_s", S, None)])
def test_a_subset_has_the_draws_of_an_evaluation_of_that_subset(tmp_path, photos, model, benchmark, options, quality):
    compare(tmp_path, model(), photos, benchmark, options, seed=1, limit=3, quality=quality)
    assert [json.loads(line)["id"] for line in (tmp_path / "set" / "photos.jsonl").open()] != [0, 1, 2]


def test_names_that_sort_otherwise_in_the_published_layout(tmp_path, model):
    """``sub/x`` becomes ``sub_x``, which stands behind ``sub-a``; and a suffix that is cut off sorted too."""
    wnid = imagenet_wnids()[7]
    for i, name in enumerate(("sub/x.png", "sub-a.png", "b.png", "b.a.png")):
        save_photo(tmp_path / "val" / wnid / name, i)
    photos = create_dataset(root_dir=tmp_path / "val")
    compare(tmp_path, model(), photos, "imagenet_c", C, quality=85)
    stored = sorted(p.name for p in (tmp_path / "set" / "frost" / "1" / wnid).iterdir())
    assert stored == ["b.JPEG", "b.a.JPEG", "sub-a.JPEG", "sub_x.JPEG"]
    assert photos.files == tuple(f"{wnid}/{name}" for name in ("b.a.png", "b.png", "sub/x.png", "sub-a.png"))
    images = build_benchmark("imagenet_c", None, {**C, "root_dir": tmp_path / "set"}).passes[0].dataset
    assert images.files == tuple(f"{wnid}/{name}.JPEG" for name in ("b.a", "b", "sub_x", "sub-a"))


def test_labels_are_those_of_the_photos_where_folders_do_not_tell(tmp_path, photo_folder, own_model):
    """Of three classes, a subset has two; read by their folders, class_2 would be 1."""
    photos = create_dataset(root_dir=photo_folder).select([0, 1, 8, 9])
    assert photos.labels == (0, 0, 2, 2)
    network = create_model(f"{own_model}:build", preprocessing=SIZE)
    compare(tmp_path, network, photos, "imagenet_c", {"corruptions": "fog", "severities": 2}, quality=85)


def test_a_file_is_the_corrupted_crop_at_quality_85(tmp_path, class_folders, photos):
    generate("imagenet_c", photos, tmp_path / "c", options={"corruptions": "frost", "severities": 2}, **SMALL)
    name = f"{imagenet_wnids()[77]}/ILSVRC2012_val_00000001"
    photo = decode((class_folders / f"{name}.png").read_bytes())
    small = np.array(Image.fromarray(photo).resize((44, 37), Image.Resampling.BILINEAR))[2:34, 6:38]
    want = encode_jpeg(corrupt(small, "frost", 2, numpy_generator(0, 2, "frost/2")), 85)
    assert (tmp_path / "c" / "frost" / "2" / f"{name}.JPEG").read_bytes() == want


def test_imagenet_p_holds_the_sequences(tmp_path, photos, model):
    options = {"perturbations": ["translate", "gaussian_noise"], "difficulty": 2}
    generate("imagenet_p", photos.select([1, 0]), tmp_path / "p", options=options, seed=5, **SMALL)
    folders = sorted(p.name for p in (tmp_path / "p").iterdir() if p.is_dir())
    assert folders == ["gaussian_noise_2", "translate"]
    photo = photos.sample(1, lambda image: image).image
    for folder in folders:
        path = tmp_path / "p" / folder / f"{photos.files[1].rpartition('.')[0]}.mp4"
        frames = perturb(photo, folder, size=32, rng=numpy_generator(5, 0, folder))
        assert np.abs(read_video(path.read_bytes()).astype(int) - frames).mean() < 8
    stored = {**options, "root_dir": str(tmp_path / "p")}
    report = evaluate(model(), None, {"imagenet_p": stored}, output_dir=tmp_path, progress=False)
    assert set(report.data["benchmarks"]["imagenet_p"]["tables"]["stability"]) == {"translate", "gaussian_noise"}
    assert report.data["warnings"][0].endswith("from 2 of the 2 images of val with seed 5")
    parts = build_benchmark("imagenet_p", None, stored).passes
    assert [part.dataset.files[0].partition(".")[0] for part in parts] == [photos.files[1].partition(".")[0]] * 2


def test_the_report_says_where_files_were_made_for_another_model(tmp_path, photos, model):
    options = {"corruptions": "fog", "severities": 2}
    generate("imagenet_c", photos, tmp_path / "c", options=options, size=40, interpolation="lanczos", progress=False)
    stored = {**options, "root_dir": str(tmp_path / "c")}
    report = evaluate(model(resize=46), None, {"imagenet_c": stored}, output_dir=tmp_path, progress=False)
    assert (
        f"imagenet_c in {tmp_path / 'c'} was generated with input_size 40, interpolation lanczos, but the model takes "
        "input_size 32, interpolation bilinear: its numbers are not those on the fly. To generate for a model, name it "
        "with --model"
    ) in report.data["warnings"]
    generate("imagenet_s", photos, tmp_path / "s", options=S, size=40, progress=False)
    notes = build_benchmark("imagenet_s", None, {**S, "root_dir": tmp_path / "s"}).notes_on(model().preprocessing)
    assert "was generated with input_size 40, but the model takes input_size 32:" in notes[0]


@pytest.mark.parametrize(
    ("benchmark", "options"),
    [
        ("imagenet_c", {"corruptions": "fog", "severities": 2}),
        ("imagenet_s", S),
        ("imagenet_p", {"perturbations": "translate"}),
    ],
)
def test_half_made_sets_are_not_read(tmp_path, photos, benchmark, options):
    root = tmp_path / "set"
    generate(benchmark, photos, root, options=options, **SMALL)
    stored = {**options, "root_dir": str(root)}
    assert build_benchmark(benchmark, None, stored).notes[0].startswith(f"{benchmark} is read from files that were gen")
    manifest = (root / "manifest.json").read_text()
    (root / "manifest.json").write_text(manifest.replace('"complete": true', '"complete": false'))
    again = f"noise generate --benchmark {benchmark} --out {root}"
    with pytest.raises(DataError, match=f"{root} is incomplete: .* Run the command that began it again, .*{again}"):
        build_benchmark(benchmark, None, stored)
    (root / "manifest.json").write_text(manifest)
    (root / "photos.jsonl").unlink()
    with pytest.raises(DataError, match=r"manifest.json and photos.jsonl beside it do not fit together"):
        build_benchmark(benchmark, None, stored)
    (root / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"manifest.json cannot be read"):
        build_benchmark(benchmark, None, stored)
    (root / "manifest.json").write_text('{"format": "robustart-generated/2"}')
    with pytest.raises(DataError, match="has the format 'robustart-generated/2'; this version reads"):
        build_benchmark(benchmark, None, stored)
    (root / "manifest.json").write_text('{"name": "of somebody else"}')
    assert not [note for note in build_benchmark(benchmark, None, stored).notes if "generated" in note]


def test_what_is_lost_of_a_generated_set_is_noted(tmp_path, photos):
    generate("imagenet_c", photos, tmp_path / "c", options=C, **SMALL)
    for lost in (tmp_path / "c").rglob("*00000003.JPEG"):
        lost.unlink()
    stored = {**C, "root_dir": tmp_path / "c"}
    notes = build_benchmark("imagenet_c", None, stored).notes
    assert notes[1:] == (f"{tmp_path / 'c'} has 5 images of the 6 that were generated",)
    for name in ("gaussian_noise", "pixelate", "frost"):
        for level in ("1", "4"):
            save_photo(tmp_path / "c" / name / level / imagenet_wnids()[3] / "mine.JPEG", 1)
    with pytest.raises(DataError, match=r"mine.JPEG of .* was not generated: it is not in .*photos.jsonl"):
        build_benchmark("imagenet_c", None, stored)


@pytest.mark.parametrize(
    ("benchmark", "arguments", "error", "message"),
    [
        (
            "imagenet_r",
            {},
            ConfigError,
            "imagenet_r cannot be generated; these can: imagenet_c, imagenet_p, imagenet_s",
        ),
        ("imagnet_s", {}, UnknownNameError, "unknown benchmark 'imagnet_s'; did you mean 'imagenet_s'"),
        (
            "imagenet_c",
            {"options": {"root_dir": "x"}},
            ConfigError,
            "unknown option 'root_dir' of generating imagenet_c",
        ),
        ("imagenet_c", {"options": {"jpeg_quality": 0}}, ConfigError, "jpeg_quality must be .* 1 to 100, got 0"),
        ("imagenet_c", {"options": {"jpeg_quality": None}}, ConfigError, "jpeg_quality must be .* got None"),
        (
            "imagenet_c",
            {"options": ["fog"]},
            ConfigError,
            "options of generating imagenet_c must be a mapping of keys to values, got",
        ),
        ("imagenet_c", {"options": {"corruptions": 3}}, ConfigError, "corruptions must be one entry or a list"),
        ("imagenet_c", {"options": {"severities": "2"}}, ConfigError, "severities must be one entry or a list"),
        ("imagenet_c", {"options": {"backend": ["x"]}}, ConfigError, "backend must be one of"),
        (
            "imagenet_s",
            {"options": {"jpeg_quality": 85}},
            ConfigError,
            "unknown option 'jpeg_quality' of generating im",
        ),
        (
            "imagenet_s",
            {"resize": 40},
            ConfigError,
            "imagenet_s has no option resize, got 40: it always resizes to 8/7",
        ),
        ("imagenet_p", {"resize": 40}, ConfigError, "imagenet_p has no option resize, got 40"),
        (
            "imagenet_p",
            {"interpolation": "bicubic"},
            ConfigError,
            "imagenet_p has no option interpolation, got 'bicubic'",
        ),
        ("imagenet_p", {"options": {"severities": [1]}}, ConfigError, "unknown option 'severities' of generating"),
        ("imagenet_p", {"options": {"perturbations": "twist"}}, UnknownNameError, "unknown perturbation 'twist'"),
        ("imagenet_p", {"options": {"perturbations": []}}, ConfigError, "at least one perturbation"),
        ("imagenet_p", {"options": {"perturbations": ["tilt", "tilt"]}}, ConfigError, "and none twice"),
        ("imagenet_p", {"options": {"difficulty": True}}, ConfigError, "difficulty must be one of 1, 2, 3, got True"),
        ("imagenet_c", {"size": "64"}, ConfigError, "size must be an integer from 1 up, got '64'"),
        ("imagenet_c", {"size": True}, ConfigError, "size must be an integer from 1 up, got True"),
        ("imagenet_c", {"resize": 0}, ConfigError, "resize must be an integer from 1 up, got 0"),
        (
            "imagenet_c",
            {"interpolation": "cubic"},
            ConfigError,
            "interpolation must be one of .*bicubic.*, got 'cubic'",
        ),
        ("imagenet_c", {"model": 3}, ConfigError, "model must be a name or a network, got 3"),
        ("imagenet_c", {"model": "resnet5"}, UnknownNameError, "unknown model 'resnet5'"),
        ("imagenet_c", {"seed": 1.5}, ConfigError, "seed must be an integer of 64 bits, got 1.5"),
        ("imagenet_c", {"limit": 7}, ConfigError, "limit must be an integer from 1 to 6"),
        ("imagenet_c", {"workers": -1}, ConfigError, "workers must be an integer from 0 up, got -1"),
        ("imagenet_c", {"dataset": "photos"}, ConfigError, "dataset must be an ImageDataset, .* got 'photos'"),
        ("imagenet_c", {"out": 3}, ConfigError, "out must be a folder, got 3"),
    ],
)
def test_mistakes_are_named(tmp_path, photos, benchmark, arguments, error, message):
    given = {"dataset": photos, "out": tmp_path / "r", "progress": False, **arguments}
    with pytest.raises(error, match=message):
        generate(benchmark, given.pop("dataset"), given.pop("out"), **given)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("x.png", "'x.png' of val is not in a class folder"),
        ("/a/x.png", "'/a/x.png' of val is not in a class folder"),
        ("../a/x.png", "'../a/x.png' of val is not in a class folder"),
        (
            os.fsdecode(b"a/\xe4.png"),
            r"'a/\\udce4.png' of val has bytes in its name that are not UTF-8, or a line break",
        ),
        ("a/x\ny.png", r"'a/x\\ny.png' of val has bytes in its name that are not UTF-8, or a line break"),
    ],
)
def test_names_that_cannot_be_stored(tmp_path, photos, file, message):
    odd = dataclasses.replace(photos, files=(file, *photos.files[1:]))
    with pytest.raises(DataError, match=message):
        generate("imagenet_s", odd, tmp_path / "r", **SMALL)
    assert not (tmp_path / "r").exists()


def test_two_photos_of_one_name(tmp_path, class_folders, photos):
    first = class_folders / photos.files[0]
    first.with_suffix(".bmp").write_bytes(first.read_bytes())
    with pytest.raises(DataError, match="would both be written as"):
        generate("imagenet_c", create_dataset(root_dir=class_folders), tmp_path / "r")
    with pytest.raises(DataError, match="'000000' of arrays is not in a class folder"):
        generate("imagenet_c", array_dataset([make_picture(0)], [0]), tmp_path / "r")


@pytest.mark.parametrize("name", sorted(spec.name for spec in BENCHMARKS.values() if spec.layout))
def test_options_are_those_of_the_benchmark(name):
    """With the same defaults; only files have to have a quality."""
    benchmark, layout = (option_defaults(f) for f in (BENCHMARKS[name].build, BENCHMARKS[name].layout))
    differs = {key for key in layout if key not in benchmark or benchmark[key] != layout[key]}
    assert differs <= {"jpeg_quality"}
    (line,) = [line for line in LAYOUTS.splitlines() if line.startswith(f"  {name} ")]
    assert set(layout) <= set(re.findall(r"\w+", line))


def test_a_users_own_layout(tmp_path, photos, model):
    """Adding one is registering a function, as for the benchmark itself."""

    def mirrored(sample, rng):
        return np.ascontiguousarray(sample.crop[:, ::-1])

    def store(sample, rng, *, compression):
        path = tmp_path / "one.png"
        Image.fromarray(mirrored(sample, rng)).save(path, compress_level=compression)
        return path.read_bytes()

    def mirror_layout(dataset, *, compression=9):
        part = build_benchmark("mirror", dataset).passes[0]
        cells = {cell.name: lambda sample, rng: store(sample, rng, compression=compression) for cell in part.cells}
        return Layout(part.dataset, cells, ".png", ("pillow",))

    with own_benchmark("mirror", lambda dataset: (Pass(dataset, (Cell("mirrored", mirrored),)),), layout=mirror_layout):
        manifest = generate("mirror", photos, tmp_path / "m", **SMALL)
        assert manifest["options"] == {"compression": 9}
        assert build_layout("mirror", photos, {"compression": 1}).options == {"compression": 1}
        stored = create_dataset(root_dir=tmp_path / "m" / "mirrored")
        prepare = model(interpolation="bilinear").preprocessing.apply
        for i in range(6):
            expected = clean_view(photos.sample(i, prepare), None)[:, ::-1]
            assert np.array_equal(stored.sample(i, lambda image: image).image, expected)


def test_command(tmp_path, class_folders, own_model, capsys):
    out = str(tmp_path / "c")
    command = ["noise", "generate", "--benchmark", "imagenet_c", "--source", str(class_folders), "--out", out]
    sets = ["--set", "corruptions=[fog]", "--set", "severities=[2]"]
    assert main([*command, *sets, "--size", "32", "--interpolation", "bicubic", "--limit", "3"]) == 0
    assert "3 files of 3 images" in capsys.readouterr().out
    assert len(list((tmp_path / "c" / "fog" / "2").rglob("*.JPEG"))) == 3
    manifest = json.loads((tmp_path / "c" / "manifest.json").read_text())
    wanted = {"input_size": 32, "resize": 37, "interpolation": "bicubic", "crop_mode": "center"}
    assert manifest["preprocessing"] == wanted
    assert main([*command, "--set", "corruptions"]) == 2
    assert "--set takes key=value" in capsys.readouterr().err
    assert main([*command[:-1], str(class_folders / "noisy")]) == 2
    assert "where it would be read as a class; use another folder" in capsys.readouterr().err
    assert not (class_folders / "noisy").exists()
    assert main([*command[:-1], str(tmp_path / "m"), *sets, "--model", f"{own_model}:build", "--resize", "230"]) == 0
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text())
    assert manifest["preprocessing"] == {**wanted, "input_size": 224, "resize": 230, "interpolation": "bilinear"}


def test_command_on_one_picture(tmp_path, class_folders, capsys):
    original, out = next(class_folders.rglob("*.png")), tmp_path / "x.png"
    picture = str(original)
    assert main(["noise", "imagenet-s", picture, "-o", str(out), "--set", "resize_type=opencv-area"]) == 0
    assert Image.open(out).size == (224, 224)
    before = original.read_bytes()
    (tmp_path / "notes.txt").write_text("mine")
    for wrong, message in (
        (picture, "would overwrite the image that is read"),
        (tmp_path / "notes.txt", "is no image"),
    ):
        assert main(["noise", "imagenet-s", picture, "-o", str(wrong), "--set", "resize_type=opencv-area"]) == 2
        assert message in capsys.readouterr().err
    assert original.read_bytes() == before
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert main(["noise", "imagenet-s", picture, "-o", str(out), "--set", "resize_type=opencv-nearest"]) == 0


def test_lists_of_a_generated_set_say_the_photos_classes_and_labels(tmp_path):
    for i, name in enumerate(("day", "day", "night")):
        save_photo(tmp_path / "mine" / name / f"{i}.png", i)
    mine = create_dataset(root_dir=tmp_path / "mine")
    generate("imagenet_s", mine, tmp_path / "s", options=S, **SMALL)
    generate("imagenet_c", mine, tmp_path / "c", options=C, **SMALL)
    stored = {**S, "root_dir": tmp_path / "s"}
    listed = {**C, "root_dir": tmp_path / "c", "meta": tmp_path / "c" / "meta" / "all.json"}
    for name, options in (("imagenet_s", stored), ("imagenet_c", listed)):
        dataset = build_benchmark(name, None, options).passes[0].dataset
        assert (dataset.class_names, dataset.labels) == (("day", "night"), (0, 0, 1))
    for path in (tmp_path / "s").glob("*.txt"):
        path.write_text(path.read_text().replace("npy 1", "npy 0"))
    with pytest.raises(DataError, match=r"night/2.png.npy of .* has the label 0 in a list, but 1 in .*photos.jsonl"):
        build_benchmark("imagenet_s", None, stored)


def test_a_set_generated_for_another_benchmark_is_refused(tmp_path, photos):
    generate("imagenet_c", photos, tmp_path / "c", options={"corruptions": "fog", "severities": 1}, **SMALL)
    with pytest.raises(DataError, match="was generated for imagenet_c, not for imagenet_c_bar"):
        build_benchmark("imagenet_c_bar", None, {"root_dir": tmp_path / "c", "corruptions": ["fog"], "severities": [1]})
