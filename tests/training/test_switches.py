"""The original's switches for published sets, in its own configs."""

import json

import numpy as np
import pytest
from PIL import Image

from RobustART.data.imagenet import imagenet_wnids
from RobustART.imaging.video import write_video
from RobustART.metrics.baselines import imagenet_a_classes, imagenet_o_classes
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
