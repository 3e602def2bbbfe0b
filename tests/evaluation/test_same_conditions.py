"""Runs that are the same have the same hash, however their options are spelled and wherever their data lie."""

import json
import shutil

import pytest

from RobustART.benchmarks import build_benchmark
from RobustART.data import array_dataset, create_dataset
from RobustART.errors import RecordError
from RobustART.evaluation import evaluate
from RobustART.models import create_model
from tests.conftest import make_picture
from tests.sets import SIZE, corruption_folders, write_meta

CELLS = [("pixelate", 1), ("pixelate", 2)]


def header(folder, benchmark):
    return json.loads((folder / "results" / f"{benchmark}.jsonl").read_text().splitlines()[0])


@pytest.mark.parametrize(
    ("name", "spellings"),
    [
        ("imagenet_c", [{"corruptions": "fog", "severities": 1}, {"corruptions": ("fog",), "severities": range(1, 2)}]),
        ("imagenet_c", [{"corruptions": ["fog"]}, {"corruptions": "fog", "severities": (1, 2, 3, 4, 5)}]),
        ("imagenet_s", [{"resizes": "pil-box", "decoders": "pil"}, {"resizes": ["pil-box"], "decoders": []}]),
        ("imagenet_p", [{"perturbations": "tilt"}, {"perturbations": ["tilt"], "root_dir": None}]),
        (
            "adversarial",
            [
                {"attacks": "fgsm", "eps": "8/255"},
                {"attacks": [{"fgsm": None}], "eps": [8 / 255]},
                {"attacks": {"fgsm": {}}, "eps": 8 / 255},
            ],
        ),
        (
            "adversarial",
            [
                {"attacks": {"pgd_linf": {"step_size": "2/255"}}, "eps": {"Linf": 0}},
                {"attacks": [{"pgd_linf": {"step_size": 2 / 255}}], "eps": {"Linf": [0.0]}},
            ],
        ),
    ],
)
def test_spelling_is_no_condition(name, spellings):
    photos = array_dataset([make_picture(0, 32, 32)], [0])
    built = [json.dumps(build_benchmark(name, photos, options).options) for options in spellings]
    assert built == [built[0]] * len(built)


def test_where_published_files_lie_is_no_condition(tmp_path, own_model, monkeypatch):
    model = create_model(f"{own_model}:build", classes=1000, preprocessing=SIZE)
    corruption_folders(tmp_path / "here" / "c", CELLS)
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    monkeypatch.chdir(tmp_path / "there")
    hashes, folders = [], []
    for root in (f"{tmp_path}/here/c", "c", f"{tmp_path}/there/c/", tmp_path / "there" / "c"):
        options = {"root_dir": root, "corruptions": "pixelate", "severities": [1, 2]}
        report = evaluate(model, None, {"imagenet_c": options}, output_dir=tmp_path, progress=False)
        entry = report.data["benchmarks"]["imagenet_c"]
        hashes.append(entry["hash"])
        folders.append(entry["folders"])
        assert "root_dir" not in entry["options"]
        assert str(tmp_path) not in (tmp_path / "results" / "imagenet_c.jsonl").read_text()
    assert len(set(hashes)) == 1
    assert folders[0] == {"root_dir": f"{tmp_path}/here/c"}
    assert report.data["timing"]["images_computed"] == 0  # the second run took the records of the first
    with pytest.raises(RecordError, match="another config"):
        evaluate(model, None, {"imagenet_c": {**options, "severities": 1}}, output_dir=tmp_path, progress=False)


def test_the_name_of_the_folder_of_photos_is_no_condition(tmp_path, photo_folder, own_model, monkeypatch):
    model = create_model(f"{own_model}:build", preprocessing=SIZE)
    shutil.copytree(photo_folder, tmp_path / "val")
    monkeypatch.chdir(photo_folder)
    for i, root in enumerate((photo_folder, tmp_path / "val", ".")):
        photos = create_dataset(root_dir=root)
        evaluate(model, photos, {"clean": {}}, output_dir=tmp_path / str(i), progress=False)
    headers = [header(tmp_path / str(i), "clean") for i in range(3)]
    assert len({one["hash"] for one in headers}) == 1
    assert [one["conditions"]["data"][0]["name"] for one in headers] == ["photos", "val", "photos"]
    (tmp_path / "val" / "class_0" / "00.png").rename(tmp_path / "val" / "class_0" / "99.png")
    with pytest.raises(RecordError, match=r"data\[0\]\.fingerprint"):
        evaluate(model, create_dataset(root_dir=tmp_path / "val"), {"clean": {}}, output_dir=tmp_path / "1")


def test_lists_of_all_files_are_no_other_condition(tmp_path, own_model):
    model = create_model(f"{own_model}:build", classes=1000, preprocessing=SIZE)
    corruption_folders(tmp_path / "c", CELLS)
    options = {"root_dir": str(tmp_path / "c"), "corruptions": "pixelate", "severities": [1, 2]}
    hashes = []
    for meta in (None, write_meta(tmp_path / "c", tmp_path / "meta", CELLS)):
        benchmarks = {"imagenet_c": {**options, "meta": meta}}
        evaluate(model, None, benchmarks, output_dir=tmp_path, progress=False)
        hashes.append(header(tmp_path, "imagenet_c")["hash"])
    assert len(set(hashes)) == 1


def test_files_and_images_made_on_the_fly_are_told_apart(tmp_path):
    corruption_folders(tmp_path / "c", CELLS)
    photos = array_dataset([make_picture(0, 32, 32)], [0])
    options = {"corruptions": "pixelate", "severities": [1, 2]}
    made = build_benchmark("imagenet_c", photos, options).options
    stored = build_benchmark("imagenet_c", photos, {**options, "root_dir": str(tmp_path / "c")}).options
    assert made != stored
    assert (made["root_dir"], made["backend"], stored["backend"]) == (None, "robustart", None)
    assert (set(made) - set(stored), set(stored) - set(made)) == (
        {"root_dir"},
        {"preprocess", "decoder", "exif_orientation"},
    )


def test_where_weights_lie_is_no_condition(own_model):
    photos = array_dataset([make_picture(0, 32, 32)], [0])
    spec = {"type": f"{own_model}:build", "weights": None}
    options = build_benchmark("transfer", photos, {"models": {"other": spec}}).options
    assert options["models"] == {"other": {"type": f"{own_model}:build"}}
