"""What is done to training pictures, and that it depends on nothing but the seed and the number of the draw."""

import math
import random

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as reference

from RobustART.core.preprocessing import Preprocessing
from RobustART.core.seeding import seed_generators
from RobustART.data import array_dataset, create_dataset
from RobustART.errors import ConfigError, DataError, UserError
from RobustART.training.augment.transforms import NAMED, TRANSFORMS, TrainingView, create_transform
from RobustART.training.loading import load_batches
from RobustART.training.sampling import Plan
from tests.conftest import make_picture as make_array


def make_picture(seed, *size):
    return Image.fromarray(make_array(seed, *size))


PRE = Preprocessing(24, 32)
GREY = Preprocessing(24, 32, mean=(0.449,), std=(0.226,))
NEEDED = {
    "random_rotation": {"degrees": 30},
    "adjust_gamma": {"gamma": 2.0},
    "timm_augment": {"config": "rand-m9-mstd0.5"},
    "normalize": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    "compose": {"transforms": [{"type": "random_horizontal_flip"}]},
    "views": {"transforms": [[], [{"type": "aug_mix"}]]},
}


def view(config, pre=PRE):
    return TrainingView(create_transform(config, pre), pre.input_size)


@pytest.mark.parametrize("name", sorted(NAMED))
def test_named_sets_work_at_the_models_size(name):
    picture = make_picture(0, 24, 24) if name == "JUSTNORM" else make_picture(0)
    torch.manual_seed(0)
    pre = GREY if "GRAYSCALE" in name else PRE
    made = view({"type": name}, pre)(picture, "x")
    assert made.dtype == torch.uint8
    views = (2,) if name.startswith(("MOCO", "SIMCLR")) else ()
    assert made.shape == (*views, 3, 24, 24)
    if views:
        assert not torch.equal(made[0], made[1])
    if "GRAYSCALE" in name:
        assert torch.equal(made[0], made[2])


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_every_transform_in_a_list(name):
    items = [{"type": "resize", "kwargs": {"size": [24, 24]}}, {"type": name, "kwargs": NEEDED.get(name, {})}]
    if name == "resize":
        items = [items[0]]
    seed_generators(1)
    made = view(items)(make_picture(0), "x")
    assert made.shape[-3:] == (3, 24, 24)
    seed_generators(1)
    assert torch.equal(made, view(items)(make_picture(0), "x"))


def test_standard_is_torchvisions_to_the_pixel():
    picture = make_picture(3, 80, 100)
    torch.manual_seed(5)
    ours = view({"type": "STANDARD"})(picture, "x")
    torch.manual_seed(5)
    theirs = reference.Compose([
        reference.RandomResizedCrop(24), reference.RandomHorizontalFlip(), reference.ColorJitter(0.2, 0.2, 0.2, 0.1),
        reference.PILToTensor(),
    ])  # fmt: skip
    assert torch.equal(ours, theirs(picture))


def test_erased_parts_have_the_models_mean():
    white = Image.new("RGB", (24, 24), "white")
    for item in (
        {"type": "cutout", "kwargs": {"prob": 1.0, "length": 8}},
        {"type": "RandomErasing", "kwargs": {"p": 1.0}},
    ):
        torch.manual_seed(0)
        made = view([item])(white, "x")
        assert {tuple(p) for p in made.flatten(1).T.tolist()} == {(255, 255, 255), (124, 116, 104)}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            [{"type": "random_erasing", "kwargs": {"value": "mena"}}],
            "value must be one of 'mean', 'random' or a number from 0 to 1",
        ),
        ([{"type": "random_horizontal_flip", "kwargs": {"p": 2.0}}], "refuses|from 0 to 1"),
        ([{"type": "auto_augment", "kwargs": {"policy": "imagnet"}}], "policy must be one of imagenet"),
        ([{"type": "timm_augment", "kwargs": {"config": "rnd-m9"}}], "timm does not know the policy 'rnd-m9'"),
        ([{"type": "to_grayscale", "kwargs": {"num_output_channels": 1}}], "three equal channels"),
        ([{"type": "views", "kwargs": {"transforms": []}}], "two or more lists"),
        ([{"typ": "flip"}], "each must be"),
        ("STANDARD", "must be {type: NAME}"),
        ({"type": "STANDARD", "kwargs": {"a": 1}}, "takes no kwargs"),
        ([{"type": "resize", "kwargs": {"interpolation": "cubic"}}], "interpolation must be one of"),
    ],
)
def test_what_cannot_be(config, message):
    with pytest.raises(UserError, match=message):
        create_transform(config, PRE)


OUTSIDE = {
    "resize": {"size": [0, -1, 5000, 2.5, True, "8", [], [8, 8, 8], {"a": 1}, math.nan]},
    "center_crop": {"size": [0, math.inf]},
    "random_crop": {"size": [0, [8, -8]], "padding": [-1, [1, 2, 3], "1", math.inf, [math.nan], []]},
    "random_resized_crop": {
        "size": ["x"],
        "scale": [0.5, [0.5], [0.9, 0.5], [-1, 1], [math.nan, 1], [0.5, 1.5], ["a", "b"], None, [0, 1]],
        "ratio": [1, [0, 1], [2, 1], [1, math.inf], [], {}],
    },
    "random_horizontal_flip": {"p": [-0.1, 1.1, math.nan, True, "x", None]},
    "random_rotation": {"degrees": [-1, math.inf, math.nan, 1e39, [10, -10], "x", [1, 2, 3]]},
    "color_jitter": {"brightness": [-1, math.inf, "", "x", [2, 1]], "hue": [0.6, [-0.6, 0.1]], "p": [2]},
    "adjust_gamma": {"gamma": [-1, math.nan, "x", None, []], "gain": [-1, math.inf, 1e39]},
    "gaussian_blur": {"sigma": [-1, math.nan, [1], [2, 1], "x", None]},
    "cutout": {"n_holes": [0, -1, 10**30, 1.5], "length": [0, -1, 10**30], "prob": [7]},
    "random_erasing": {"p": [-1], "scale": [[0.5, 0.1], [0, 2], "x"], "ratio": [[1, 0]]},
    "rand_augment": {"num_ops": [-1, 10**9, None], "magnitude": [-1, 31, 9.5]},
    "aug_mix": {
        "severity": [0, 11], "mixture_width": [0, -1, 10**9], "chain_depth": [0, -2, 10**9],
        "alpha": [0, -1, math.nan, math.inf, None],
    },
}  # fmt: skip


@pytest.mark.parametrize(("name", "option"), [(name, option) for name in OUTSIDE for option in OUTSIDE[name]])
def test_an_option_outside_its_range_is_refused_by_name(name, option):
    for value in OUTSIDE[name][option]:
        kwargs = {**NEEDED.get(name, {}), option: value}
        with pytest.raises(ConfigError, match=rf"the transform {name} in .*: {option}(\[\d\])? must be .*, got "):
            create_transform([{"type": name, "kwargs": kwargs}], PRE)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("rand-mx", "the part 'mx', but in 'rand-...' a part must be one of m, n, p, mstd, mmax, inc and a number"),
        ("rand-q3", "the part 'q3'"),
        ("rand-m9-n1000000", "n must be an integer from 1 to 100, got 1000000"),
        ("rand-m9-n2.5", "n must be an integer"),
        ("rand-m9-p2", "p must be a number from 0 to 1, got 2"),
        ("rand-", "the part ''"),
        ("augmix-w0", "w must be an integer from 1 to 100, got 0"),
        ("original-m9", "the part 'm9'"),
        ("rand-m9-tnothing", "the part 'tnothing', .* or one of tweights, t3a, t3aw"),
        ("rnd-m9", "timm does not know the policy 'rnd-m9'"),
        ("", "timm does not know the policy ''"),
    ],
)
def test_no_part_of_timms_description_is_passed_over(policy, message):
    with pytest.raises(ConfigError, match=message):
        create_transform([{"type": "timm_augment", "kwargs": {"config": policy}}], PRE)


@pytest.mark.parametrize(
    "policy", ["rand-m9-n3-mstd0.5-inc1-mmax10-p0.5-tweights", "augmix-m5-w4-d2-a1.5-b1", "v0-mstd0.5"]
)
def test_timms_own_descriptions_are_known(policy):
    assert view([{"type": "timm_augment", "kwargs": {"config": policy}}])(make_picture(0, 24, 24), "x").shape[-1] == 24


def test_what_a_transform_raises_names_it_and_the_picture():
    """Only the picture shows that it is too small."""
    made = view([{"type": "compose", "kwargs": {"transforms": [{"type": "RandomCrop", "kwargs": {"size": 24}}]}}])
    with pytest.raises(ConfigError, match="RandomCrop with {'size': 24} fails on an image of 3 x 8 x 8: Required crop"):
        made(make_picture(0, 8, 8), "x")


LOADED = [
    {"type": "random_crop", "kwargs": {"padding": 2}},
    {"type": "timm_augment", "kwargs": {"config": "rand-m9-mstd1"}},
]


def batches(workers=0, first=1, repeats=1):
    data = array_dataset([make_array(i, 24, 24) for i in range(7)], list(range(7)))
    plan = Plan(7, batch_size=3, steps=6)
    return list(
        load_batches(data, view(LOADED), plan, "distributed_epoch", first=first, workers=workers, repeats=repeats)
    )


def test_batches_depend_on_seed_and_step_alone():
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    expected = torch.rand(2), random.random(), np.random.rand()
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    whole = batches()
    assert torch.equal(torch.rand(2), expected[0])
    assert (random.random(), np.random.rand()) == expected[1:]
    assert [batch.step for batch in whole] == list(range(1, 7))
    for other in (batches(workers=2), batches(first=1), whole[:3] + batches(first=4)):
        for a, b in zip(whole, other, strict=True):
            assert a.step == b.step
            assert all(torch.equal(*pair) for pair in ((a.images, b.images), (a.labels, b.labels), (a.seeds, b.seeds)))
    assert not torch.equal(whole[0].images, whole[3].images)
    twice = batches(repeats=2)
    assert torch.equal(twice[0].images, twice[1].images)
    assert torch.equal(twice[2].images, whole[1].images)


def test_broken_pictures_are_named(photo_folder):
    (photo_folder / "class_1" / "04.png").write_bytes(b"broken")
    data = create_dataset(root_dir=photo_folder)
    for workers in (0, 1):
        with pytest.raises(DataError, match=r"04.png cannot be decoded"):
            list(
                load_batches(
                    data, view({"type": "STANDARD"}), Plan(12, 4, steps=3), "distributed_epoch", workers=workers
                )
            )
