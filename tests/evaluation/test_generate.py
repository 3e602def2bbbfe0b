"""Generated data sets: the same numbers as on the fly, resumable, and refused where the settings are others."""

import json

import numpy as np
import pytest
from PIL import Image

from RobustART.cli import main
from RobustART.data import array_dataset, create_dataset
from RobustART.data.imagenet import imagenet_wnids
from RobustART.errors import ConfigError, DataError, UnknownNameError
from RobustART.evaluation import evaluate
from RobustART.evaluation.generate import generate
from RobustART.imaging import decode, encode_jpeg
from RobustART.imaging.video import read_video
from RobustART.models import create_model
from RobustART.noise import corrupt, perturb
from RobustART.seeding import numpy_generator
from tests.conftest import make_picture

SIZE = {"input_size": 32, "resize": 37, "mean": [0.5] * 3, "std": [0.25] * 3}
SMALL = {"size": 32, "progress": False}
NAMES = ["gaussian_noise", "pixelate", "frost"]


@pytest.fixture
def source(tmp_path):
    """Six photos of three classes of ImageNet; one has another suffix."""
    for i in range(6):
        path = (
            tmp_path
            / "val"
            / imagenet_wnids()[(5, 77, 300)[i % 3]]
            / f"ILSVRC2012_val_{i:08d}.{'png' if i else 'JPEG'}"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(i).integers(-40, 41, (50, 60, 3))
        Image.fromarray((make_picture(i, 50, 60) + noise).clip(0, 255).astype(np.uint8)).save(path)
    return tmp_path / "val"


@pytest.fixture
def model(own_model):
    return create_model(f"{own_model}:build", classes=1000, scale=60.0, preprocessing=SIZE)


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_imagenet_c_from_files_is_imagenet_c_on_the_fly(tmp_path, source, model):
    photos = create_dataset(root_dir=source)
    options = {"corruptions": NAMES, "severities": [1, 4]}
    generate("imagenet_c", photos, tmp_path / "c", options=options, seed=3, **SMALL)
    settings = {"seed": 3, "batch_size": 8, "progress": False}
    fly = evaluate(
        model, photos, {"imagenet_c": {**options, "jpeg_quality": 85}}, output_dir=tmp_path / "fly", **settings
    )
    for meta in (None, str(tmp_path / "c" / "meta" / "all.json")):
        stored = {**options, "root_dir": str(tmp_path / "c"), "meta": meta}
        files = evaluate(model, None, {"imagenet_c": stored}, output_dir=tmp_path / f"files{meta is None}", **settings)
        for key in ("metrics", "tables"):
            assert files.data["benchmarks"]["imagenet_c"][key] == fly.data["benchmarks"]["imagenet_c"][key]
    tables = [
        [json.loads(line) for line in (tmp_path / name / "results" / "imagenet_c.jsonl").read_text().splitlines()[1:]]
        for name in ("fly", "filesTrue")
    ]
    for one, other in zip(*tables, strict=True):
        assert one["confidence"] == other["confidence"]  # so the pixels were the same
    assert len({tuple(row["confidence"]) for row in tables[0]}) == 6


def test_a_file_is_the_corrupted_crop_at_quality_85(tmp_path, source):
    generate(
        "imagenet_c",
        create_dataset(root_dir=source),
        tmp_path / "c",
        options={"corruptions": "frost", "severities": 2},
        **SMALL,
    )
    name = f"{imagenet_wnids()[77]}/ILSVRC2012_val_00000001"
    photo = decode((source / f"{name}.png").read_bytes())
    small = np.array(Image.fromarray(photo).resize((44, 37), Image.Resampling.BILINEAR))[2:34, 6:38]
    want = encode_jpeg(corrupt(small, "frost", 2, numpy_generator(0, 2, "frost/2")), 85)
    assert (tmp_path / "c" / "frost" / "2" / f"{name}.JPEG").read_bytes() == want


def test_imagenet_s_from_files_is_imagenet_s_on_the_fly(tmp_path, source, model):
    photos = create_dataset(root_dir=source)
    options = {"decoders": ["pil", "ffmpeg"], "resizes": ["pil-box", "opencv-nearest"]}
    generate("imagenet_s", photos, tmp_path / "s", options=options, **SMALL)
    assert (tmp_path / "s" / "pil_pil-box.txt").read_text().splitlines()[0].startswith("pil/pil-box/n")
    reports = [
        evaluate(
            model, photos, {"imagenet_s": {**options, **more}}, output_dir=tmp_path / str(len(more)), progress=False
        )
        for more in ({}, {"root_dir": str(tmp_path / "s")})
    ]
    first, second = (report.data["benchmarks"]["imagenet_s"] for report in reports)
    assert first["metrics"] == second["metrics"]
    assert first["tables"] == second["tables"]


def test_imagenet_p_holds_the_sequences(tmp_path, source, model):
    options = {"perturbations": ["translate", "gaussian_noise"], "difficulty": 2}
    photos = create_dataset(root_dir=source).select([0, 1])
    generate("imagenet_p", photos, tmp_path / "p", options=options, **SMALL)
    assert sorted(p.name for p in (tmp_path / "p").iterdir()) == ["gaussian_noise_2", "manifest.json", "translate"]
    path = next((tmp_path / "p" / "translate").rglob("*.mp4"))
    photo = photos.sample(0, lambda image: image).image
    assert np.abs(read_video(path.read_bytes()).astype(int) - perturb(photo, "translate", size=32)).mean() < 8
    report = evaluate(
        model, None, {"imagenet_p": {**options, "root_dir": str(tmp_path / "p")}}, output_dir=tmp_path, progress=False
    )
    assert set(report.data["benchmarks"]["imagenet_p"]["tables"]["stability"]) == {"translate", "gaussian_noise"}


def test_what_is_missing_is_written_and_nothing_else(tmp_path, source, monkeypatch):
    photos = create_dataset(root_dir=source)
    options = {"corruptions": NAMES, "severities": 1}
    manifest = generate("imagenet_c", photos, tmp_path / "whole", options=options, workers=2, **SMALL)
    assert manifest["complete"]
    assert manifest["files"] == 18
    whole = contents(tmp_path / "whole")
    assert len(whole) == 18 + 3 + 2  # files, lists, meta, manifest
    one = generate("imagenet_c", photos, tmp_path / "one", options=options, **SMALL)
    assert one == manifest
    assert contents(tmp_path / "one") == whole
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "one").rglob("*.JPEG")}
    lost = sorted(times)[7]
    lost.unlink()
    (tmp_path / "one" / "manifest.json").write_text(
        json.dumps({**{k: v for k, v in one.items() if k != "versions"}, "complete": False})
    )
    generate("imagenet_c", photos, tmp_path / "one", options=options, **SMALL)
    assert contents(tmp_path / "one") == whole
    assert {p for p in times if p.stat().st_mtime_ns != times[p]} == {lost}


def test_killed_in_the_middle_of_a_file_leaves_none_of_it(tmp_path, source, monkeypatch):
    import os

    photos = create_dataset(root_dir=source)
    options = {"corruptions": "pixelate", "severities": [1, 2]}
    replace, calls = os.replace, []

    def dies(old, new):
        calls.append(new)
        if len(calls) == 5:
            raise KeyboardInterrupt
        replace(old, new)

    monkeypatch.setattr("RobustART.evaluation.manifest.os.replace", dies)
    with pytest.raises(KeyboardInterrupt):
        generate("imagenet_c", photos, tmp_path / "c", options=options, **SMALL)
    monkeypatch.undo()
    assert json.loads((tmp_path / "c" / "manifest.json").read_text())["complete"] is False
    assert len(list((tmp_path / "c").rglob("*.JPEG"))) == 3
    assert generate("imagenet_c", photos, tmp_path / "c", options=options, **SMALL)["complete"]
    assert len(list((tmp_path / "c").rglob("*.JPEG"))) == 12


def test_other_settings_are_refused(tmp_path, source):
    photos = create_dataset(root_dir=source)
    options = {"corruptions": "pixelate", "severities": 1}
    generate("imagenet_c", photos, tmp_path / "c", options=options, **SMALL)
    for changed, message in (
        ({"seed": 1}, "seed: 0 -> 1"),
        ({"options": {**options, "jpeg_quality": 90}}, "options.jpeg_quality: 85 -> 90"),
        ({"size": 40}, "preprocessing.input_size: 32 -> 40"),
    ):
        with pytest.raises(ConfigError, match=f"data set of other settings: .*{message}"):
            generate("imagenet_c", photos, tmp_path / "c", **{"options": options, **SMALL, **changed})
    with pytest.raises(ConfigError, match="source.fingerprint"):
        generate("imagenet_c", photos.select([0]), tmp_path / "c", options=options, **SMALL)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(ConfigError, match="is not empty and has no manifest.json"):
        generate("imagenet_c", photos, tmp_path / "mine", options=options, **SMALL)


def test_mistakes_are_named(tmp_path, source):
    photos = create_dataset(root_dir=source)
    with pytest.raises(UnknownNameError, match="no data set can be generated for 'imagenet_r'; did you mean"):
        generate("imagenet_r", photos, tmp_path / "r")
    with pytest.raises(ConfigError, match="imagenet_c.root_dir is for reading files"):
        generate("imagenet_c", photos, tmp_path / "r", options={"root_dir": "x"})
    with pytest.raises(ConfigError, match="jpeg_quality must be a whole number from 1 to 100, got 0"):
        generate("imagenet_c", photos, tmp_path / "r", options={"jpeg_quality": 0})
    with pytest.raises(UnknownNameError, match="unknown perturbation 'twist'"):
        generate("imagenet_p", photos, tmp_path / "r", options={"perturbations": "twist"})
    with pytest.raises(ConfigError, match="unknown option 'severities' of imagenet_p"):
        generate("imagenet_p", photos, tmp_path / "r", options={"severities": [1]})
    with pytest.raises(ConfigError, match="workers must be"):
        generate("imagenet_p", photos, tmp_path / "r", workers=-1)
    with pytest.raises(DataError, match="000000 of arrays is in no class folder"):
        generate("imagenet_c", array_dataset([make_picture(0)], [0]), tmp_path / "r")
    first = source / photos.files[0]
    (first.with_suffix(".png")).write_bytes(first.read_bytes())
    with pytest.raises(DataError, match="would both be written as"):
        generate("imagenet_c", create_dataset(root_dir=source), tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_command(tmp_path, source, capsys):
    out = str(tmp_path / "c")
    command = ["noise", "generate", "--benchmark", "imagenet_c", "--source", str(source), "--out", out, "--size", "32"]
    assert main([*command, "--set", "corruptions=[fog]", "--set", "severities=[2]", "--limit", "3"]) == 0
    assert "3 files of 3 photos" in capsys.readouterr().out
    assert len(list((tmp_path / "c" / "fog" / "2").rglob("*.JPEG"))) == 3
    assert main([*command, "--set", "corruptions"]) == 2
    assert "--set takes key=value" in capsys.readouterr().err
    picture = str(next(source.rglob("*.png")))
    assert (
        main(["noise", "imagenet-s", picture, "-o", str(tmp_path / "x.png"), "--set", "resize_type=opencv-area"]) == 0
    )
    assert Image.open(tmp_path / "x.png").size == (224, 224)
