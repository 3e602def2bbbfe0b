"""The original's switches for published sets, in its own configs."""

import json
import logging

import numpy as np
import pytest
from PIL import Image

from RobustART.benchmarks.imagenet_o import imagenet_o_classes
from RobustART.benchmarks.photos import imagenet_a_classes
from RobustART.core.imaging.video import write_video
from RobustART.data.imagenet import imagenet_wnids
from RobustART.metrics.stability import SCORED_PERTURBATIONS
from RobustART.noise.corruptions import CORRUPTIONS
from RobustART.training.cls_solver import main
from tests.conftest import make_picture


@pytest.fixture
def write(tmp_path, own_model):
    def write(test):
        (tmp_path / "config.yaml").write_text(
            f"""
model: {{type: "{own_model}:build", kwargs: {{classes: 1000}},
         preprocessing: {{input_size: 32, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}}}}
data: {{batch_size: 8, num_workers: 0, test: {{{test}}}}}
"""
        )
        return ["--config", str(tmp_path / "config.yaml"), "--evaluate", "--quiet"]

    return write


def photo(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(make_picture(seed, 32, 32)).save(path)


def report(folder):
    return json.loads((folder / "results" / "report.json").read_text())["benchmarks"]


def test_imagenet_c(tmp_path, write):
    for name in CORRUPTIONS:
        for level in range(1, 6):
            photo(tmp_path / "c" / name / str(level) / imagenet_wnids()[3] / "x.JPEG", level)
    test = "imagenet_c: True, root_dir: c, sampler: {type: distributed}, transforms: {type: ONECROP}, evaluator: {type: imagenetc}"
    assert main(write(test)) == 0
    entry = report(tmp_path)["imagenet_c"]
    assert list(report(tmp_path)) == ["imagenet_c"]
    assert set(entry["metrics"]) == {"mCE", "mean_error_15", "mCE_19", "mean_error_19"}
    assert entry["options"]["preprocess"] == "resize256"


def test_imagenet_p(tmp_path, write):
    for name in SCORED_PERTURBATIONS:
        path = tmp_path / "p" / name / imagenet_wnids()[3] / "x.mp4"
        path.parent.mkdir(parents=True)
        path.write_bytes(write_video([np.full((32, 32, 3), 90, np.uint8)] * 3))
    assert main(write("imagenet_p: True, root_dir: p, transforms: {type: JUSTNORM}")) == 0
    assert report(tmp_path)["imagenet_p"]["metrics"]["mFP"]["value"] == 0


def test_imagenet_a_and_o(tmp_path, write):
    for folder, label in (
        ("a", imagenet_a_classes()[0]),
        ("o", imagenet_o_classes()[0]),
        ("val", imagenet_o_classes()[0]),
    ):
        photo(tmp_path / folder / imagenet_wnids()[label] / "x.JPEG", label)
    test = '"imagenet_a&o": True, imagenet_val_root_dir: val, imagenet_a_root_dir: a, imagenet_o_root_dir: o, root_dir: val'
    assert main(write(test)) == 0
    assert list(report(tmp_path)) == ["imagenet_a", "imagenet_o"]


def test_published_sets_need_no_clean_images(tmp_path, write):
    photo(tmp_path / "r" / imagenet_wnids()[1] / "x.JPEG", 0)
    arguments = write("root_dir: r")
    config = tmp_path / "config.yaml"
    config.write_text(
        config.read_text().replace(", test: {root_dir: r}", "")
        + "evaluation: {benchmarks: {imagenet_r: {root_dir: r}}}\n"
    )
    assert main([*arguments, "--check"]) == 0
    assert main(arguments) == 0
    assert report(tmp_path)["imagenet_r"]["metrics"]["top1"]["n"] == 1


@pytest.fixture
def corrupted(tmp_path):
    for name in ("fog", "snow"):
        for level in (1, 2):
            for label in (3, 4):
                photo(tmp_path / "c" / name / str(level) / imagenet_wnids()[label] / "x.JPEG", level)
    return "imagenet_c: True, root_dir: c, transforms: {type: ONECROP}"


def few(*more):
    options = "corruptions: [fog], severities: [2]"
    return [
        "--set",
        f"evaluation.benchmarks.imagenet_c={{{', '.join([options, *more])}}}",
        "--set",
        "evaluation.batch_size=8",
    ]


def test_options_act_beside_the_switch(tmp_path, write, corrupted):
    arguments = write(corrupted)
    assert main([*arguments, *few()]) == 0
    entry = report(tmp_path)["imagenet_c"]
    assert entry["options"]["corruptions"] == ["fog"]
    assert entry["options"]["preprocess"] == "resize256"  # what the switch means stays
    assert entry["folders"] == {"root_dir": str(tmp_path / "c")}
    assert main([*arguments, *few("preprocess: crop"), "--fresh"]) == 0
    assert report(tmp_path)["imagenet_c"]["options"]["preprocess"] == "crop"
    assert main([*arguments, *few("root_dir: c")]) == 2  # the same folder: another preprocess than the records
    assert main([*arguments, *few("root_dir: c", "preprocess: crop")]) == 0


def test_settings_of_the_run_act_beside_a_switch(tmp_path, write, corrupted):
    """What is measured comes from the switch, so these need not name a benchmark."""
    for name in ("fog", "snow"):
        for level in (3, 4, 5):
            for label in (3, 4):
                photo(tmp_path / "c" / name / str(level) / imagenet_wnids()[label] / "x.JPEG", level)
    settings = ["evaluation.workers=1", "evaluation.batch_size=8", "evaluation.seed=1", "evaluation.limit=1"]
    one = ["--set", "evaluation.benchmarks.imagenet_c.corruptions=[fog, snow]"]
    assert main([*write(corrupted), *one, *(word for value in settings for word in ("--set", value))]) == 0
    assert json.loads((tmp_path / "results" / "report.json").read_text())["conditions"]["seed"] == 1
    photo(tmp_path / "val" / imagenet_wnids()[imagenet_o_classes()[0]] / "x.JPEG", 0)
    for folder, label in (("a", imagenet_a_classes()[1]), ("o", imagenet_o_classes()[1])):
        photo(tmp_path / folder / imagenet_wnids()[label] / "x.JPEG", 1)
    switch = '"imagenet_a&o": True, imagenet_val_root_dir: val, imagenet_a_root_dir: a, imagenet_o_root_dir: o'
    assert main([*write(switch), "--set", "evaluation.workers=1", "--fresh"]) == 0
    assert list(report(tmp_path)) == ["imagenet_a", "imagenet_o"]


def test_what_contradicts_the_switch_is_refused(write, corrupted, capsys):
    assert main([*write(corrupted), *few("root_dir: elsewhere")]) == 2
    assert "the switch of imagenet_c on and names" in capsys.readouterr().err
    assert main([*write(corrupted), *few("root_dir: null")]) == 2
    assert "imagenet_c.root_dir is None, but data.test has the switch" in capsys.readouterr().err
    assert main([*write(corrupted), *few("jpeg_quality: 85")]) == 2
    assert "files in root_dir are stored already" in capsys.readouterr().err


def test_false_takes_the_switch_out(tmp_path, write, capsys):
    photo(tmp_path / "val" / imagenet_wnids()[imagenet_o_classes()[0]] / "x.JPEG", 0)
    photo(tmp_path / "o" / imagenet_wnids()[imagenet_o_classes()[1]] / "x.JPEG", 1)
    switch = '"imagenet_a&o": True, imagenet_val_root_dir: val, imagenet_a_root_dir: a, imagenet_o_root_dir: o'
    arguments = [*write(switch), "--set", "evaluation.benchmarks.imagenet_a=false"]
    assert main(arguments) == 0
    assert list(report(tmp_path)) == ["imagenet_o"]
    assert main([*arguments, "--set", "evaluation.benchmarks.imagenet_o=false"]) == 2
    assert "there is nothing to evaluate" in capsys.readouterr().err


def test_the_decoder_reads_what_the_switch_names(tmp_path, write, corrupted, capsys):
    reader = "image_reader: {type: opencv, kwargs: {exif_orientation: true}}"
    assert main([*write(f"{corrupted}, {reader}"), *few()]) == 0
    options = report(tmp_path)["imagenet_c"]["options"]
    assert (options["decoder"], options["exif_orientation"]) == ("opencv", True)
    assert main([*write(corrupted), *few()]) == 2
    assert 'options.decoder: "opencv" -> "pil"' in capsys.readouterr().err
    path = tmp_path / "p" / "tilt" / imagenet_wnids()[3] / "x.mp4"
    path.parent.mkdir(parents=True)
    path.write_bytes(write_video([np.full((32, 32, 3), 90, np.uint8)] * 3))
    only = ["--set", "evaluation.benchmarks.imagenet_p.perturbations=tilt"]
    assert main([*write(f"imagenet_p: True, root_dir: p, {reader}"), *only]) == 2
    assert "none of these benchmarks reads images by it: imagenet_p; leave it out" in capsys.readouterr().err


def test_the_decoder_reads_all_pictures_of_a_run(tmp_path, write):
    photo(tmp_path / "val" / imagenet_wnids()[imagenet_o_classes()[0]] / "x.JPEG", 0)
    for folder in "oa":
        label = (imagenet_o_classes() if folder == "o" else imagenet_a_classes())[1]
        photo(tmp_path / folder / imagenet_wnids()[label] / "x.JPEG", 1)
    names = "imagenet_a: {root_dir: a}, imagenet_o: {root_dir: o}, imagenet_p: {perturbations: tilt}, clean: {}"
    arguments = write("root_dir: val, image_reader: {type: ffmpeg}")
    assert main([*arguments, "--set", f"evaluation={{benchmarks: {{{names}}}, workers: 0}}"]) == 0
    found = report(tmp_path)
    assert [found[name]["options"].get("decoder") for name in found] == ["ffmpeg", "ffmpeg", None, None]
    whole = {name: [row["fingerprint"] for row in entry["data"]] for name, entry in found.items()}
    assert (
        main([*write("root_dir: val"), "--fresh", "--set", f"evaluation={{benchmarks: {{{names}}}, workers: 0}}"]) == 0
    )
    for name, entry in report(tmp_path).items():
        assert not {row["fingerprint"] for row in entry["data"]} & set(whole[name])


def test_check_tries_limit_on_published_sets(write, corrupted, capsys):
    arguments = [*write(corrupted), *few(), "--check"]
    assert main([*arguments, "--set", "evaluation.limit=2"]) == 0
    assert main([*arguments, "--set", "evaluation.limit=3"]) == 2
    assert "limit must be an integer from 1 to 2, the number of images of ImageNet-C, got 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("evaluator: {type: imagenetp}", "evaluator.type must be 'imagenet', 'imagenetc' or absent, got 'imagenetp'"),
        ("evaluator: {type: imagenet, kwargs: {topk: 5}}", "evaluator.kwargs.topk must be [1, 5], got 5"),
        ("evaluator: {type: imagenet, kwargs: {topk: [[1]]}}", "evaluator.kwargs.topk must be [1, 5], got [[1]]"),
        ("evaluator: {type: imagenet, kwargs: {tpk: [1]}}", "evaluator.kwargs may hold topk: [1, 5] alone"),
        ("meta_file: 5", "data.test.meta_file must be a string, got 5"),
    ],
)
def test_values_that_cannot_be(write, corrupted, capsys, test, message):
    assert main([*write(f"{corrupted}, {test}"), "--check"]) == 2
    assert message in capsys.readouterr().err


def test_fields_that_say_nothing_to_a_switch_are_named(write, corrupted, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("RobustART"), "propagate", True)
    main([*write(f"{corrupted}, imagenet_a_root_dir: a, type: image_folder"), *few(), "--check"])
    assert "data.test.type is not used with a switch" in caplog.text
    assert "data.test.imagenet_a_root_dir is not used without the switch imagenet_a&o" in caplog.text
