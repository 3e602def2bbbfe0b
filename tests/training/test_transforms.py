"""What is done to training pictures, and that it depends on nothing but the seed and the number of the draw."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as reference

from RobustART.data import array_dataset, create_dataset
from RobustART.errors import DataError, UserError
from RobustART.preprocessing import Preprocessing
from RobustART.training.loading import load_batches, seed_generators
from RobustART.training.sampling import Plan
from RobustART.training.transforms import NAMED, TRANSFORMS, TrainingView, create_transform
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
        ([{"type": "random_erasing", "kwargs": {"value": "mena"}}], "value must be 'mean', 'random' or from 0 to 1"),
        ([{"type": "random_horizontal_flip", "kwargs": {"p": 2.0}}], "refuses|from 0 to 1"),
        ([{"type": "auto_augment", "kwargs": {"policy": "imagnet"}}], "policy must be one of imagenet"),
        ([{"type": "timm_augment", "kwargs": {"config": "rnd-m9"}}], "timm does not know the policy 'rnd-m9'"),
        ([{"type": "to_grayscale", "kwargs": {"num_output_channels": 1}}], "three equal channels"),
        ([{"type": "views", "kwargs": {"transforms": []}}], "two or more lists"),
        ([{"tpye": "flip"}], "each must be"),
        ("STANDARD", "must be {type: NAME}"),
        ({"type": "STANDARD", "kwargs": {"a": 1}}, "takes no kwargs"),
        ([{"type": "resize", "kwargs": {"interpolation": "cubic"}}], "interpolation must be one of"),
    ],
)
def test_what_cannot_be(config, message):
    with pytest.raises(UserError, match=message):
        create_transform(config, PRE)


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
            list(load_batches(data, view({"type": "STANDARD"}), Plan(12, 4, steps=3), "distributed", workers=workers))
