"""Every option of every benchmark, given what it cannot mean: an error with a name, never a traceback."""

import math

import numpy as np
import pytest

from RobustART.benchmarks import BENCHMARKS, build_benchmark
from RobustART.benchmarks.imagenet_o import imagenet_o_classes
from RobustART.core.options import option_defaults
from RobustART.data import array_dataset
from RobustART.errors import UserError
from tests.conftest import make_picture
from tests.sets import every_benchmark

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
    return every_benchmark(tmp_path_factory.mktemp("sets"))


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
