"""Every option of every benchmark, given what it cannot mean: an error with a name, never a traceback."""

import math

import numpy as np
import pytest
import torch

from RobustART.benchmarks import BENCHMARKS, build_benchmark
from RobustART.benchmarks.imagenet_o import imagenet_o_classes
from RobustART.benchmarks.photos import imagenet_a_classes, imagenet_r_classes
from RobustART.core.options import option_defaults
from RobustART.data import array_dataset
from RobustART.errors import UserError
from tests.conftest import make_picture
from tests.sets import cifar_c, corruption_folders, save, videos, wnid_folder, write_meta

CELLS = [("fog", 1), ("snow", 1)]
WRONG = (
    5,
    "x",
    [],
    [None],
    [[]],
    {"a": 1},
    {},
    None,
    -1,
    0,
    1.5,
    math.nan,
    True,
    "a\0b",
    b"x",
    np.float64(2),
    object(),
)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """What each benchmark needs to be built, once; with files and, where that is possible, without."""
    root = tmp_path_factory.mktemp("sets")
    corruption_folders(root / "c", CELLS, count=3)
    corruption_folders(root / "bar", [("sparkles", 1)], count=3)
    corruption_folders(root / "3d", [("flash", 1)], count=3)
    cifar_c(root / "cifar")
    videos(root / "p", "snow", [make_picture(0, 32, 32)] * 3)
    for name, classes in (("a", imagenet_a_classes()), ("o", imagenet_o_classes()), ("r", imagenet_r_classes())):
        wnid_folder(root / name, classes[:2])
    wnid_folder(root / "sketch", [0, 1])
    save(root / "v2" / "3" / "x.jpeg", make_picture(0))
    for name in ("pil-bilinear", "pil-box"):
        save(root / "s" / "pil" / name / "x.png", make_picture(0))
        (root / "s" / f"pil_{name}.txt").write_text(f"pil/{name}/x.png 1\n")
    few = {"corruptions": ["fog", "snow"], "severities": [1]}
    system = {"decoders": ["pil"], "resizes": ["pil-box"]}
    return [
        ("clean", {}),
        ("imagenet_a", {"root_dir": root / "a"}),
        ("imagenet_o", {"root_dir": root / "o"}),
        ("imagenet_r", {"root_dir": root / "r"}),
        ("imagenet_sketch", {"root_dir": root / "sketch"}),
        ("imagenet_v2", {"root_dir": root / "v2"}),
        ("imagenet_c", few),
        ("imagenet_c", {**few, "root_dir": root / "c"}),
        ("imagenet_c", {**few, "root_dir": root / "c", "meta": write_meta(root / "c", root / "c" / "meta", CELLS)}),
        ("imagenet_c_bar", {"root_dir": root / "bar", "corruptions": ["sparkles"], "severities": [1]}),
        ("imagenet_3dcc", {"root_dir": root / "3d", "corruptions": ["flash"], "severities": [1]}),
        ("cifar_c", {**few, "root_dir": root / "cifar"}),
        ("imagenet_p", {"perturbations": ["snow"]}),
        ("imagenet_p", {"perturbations": ["snow"], "root_dir": root / "p"}),
        ("imagenet_s", system),
        ("imagenet_s", {**system, "root_dir": root / "s"}),
        ("adversarial", {"attacks": ["fgsm"]}),
        ("transfer", {"attacks": ["fgsm"], "models": {"other": torch.nn.Flatten()}}),
    ]


@pytest.fixture(scope="module")
def photos():
    labels = [imagenet_o_classes()[0], 1, 2]
    return array_dataset([make_picture(i, 32, 32) for i in range(3)], labels)


def test_every_benchmark_is_tried(places):
    assert {name for name, _ in places} == set(BENCHMARKS)


def test_an_option_of_a_wrong_type_is_an_error_of_the_users(places, photos):
    for name, options in places:
        build_benchmark(name, photos, options)
        for option in option_defaults(BENCHMARKS[name].build):
            for value in WRONG:
                try:
                    build_benchmark(name, photos, {**options, option: value})
                except UserError:
                    pass
                except Exception as error:
                    pytest.fail(f"{name}.{option}: {value!r} ended in {type(error).__name__}: {error}")


@pytest.mark.parametrize("value", [5, "x", [], None, {"a": 1}, [{"type": 5}], {"a": {"type": 5}}])
@pytest.mark.parametrize("key", ["type", "kwargs", "weights", "strict", "preprocessing"])
def test_further_models_of_wrong_types(photos, key, value):
    if (key, value) == ("weights", None):
        return  # none: random weights
    spec = {"type": "resnet18", "weights": "none.pth", key: value}
    with pytest.raises(UserError):
        build_benchmark("transfer", photos, {"models": {"other": spec}})


@pytest.mark.parametrize("value", [5, "x", [], [None], {"a": 1}, -1, math.nan, {5: 1}, {"fgsm": 5}, {"fgsm": {"a": 1}}])
def test_attacks_and_radii_of_wrong_types(photos, value):
    with pytest.raises(UserError):
        build_benchmark("adversarial", photos, {"attacks": [{"fgsm": {"stop": value}}]})
    for options in ({"attacks": [value]}, {"eps": {"fgsm": value}}, {"attacks": [{"pgd_linf": {"steps": value}}]}):
        try:
            build_benchmark("adversarial", photos, {"attacks": ["fgsm"], **options})
        except UserError:
            pass
