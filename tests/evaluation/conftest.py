"""Twelve small pictures and a small network for the evaluation tests."""

import numpy as np
import pytest
from PIL import Image

from RobustART.data import array_dataset
from RobustART.data.imagenet import imagenet_wnids
from RobustART.models import create_model
from tests.conftest import make_picture

SIZE = {"input_size": 32, "resize": 32, "mean": [0.5] * 3, "std": [0.25] * 3}


@pytest.fixture
def data():
    return array_dataset([make_picture(i, 32, 32) for i in range(12)], [i % 3 for i in range(12)])


@pytest.fixture
def model(own_model):
    return create_model(f"{own_model}:build", preprocessing=SIZE)


@pytest.fixture
def class_folders(tmp_path):
    """Six photos of three classes of ImageNet in folders named by WordNet id; one has another suffix."""
    for i in range(6):
        file = f"ILSVRC2012_val_{i:08d}.{'png' if i else 'JPEG'}"
        save_photo(tmp_path / "val" / imagenet_wnids()[(5, 77, 300)[i % 3]] / file, i)
    return tmp_path / "val"


def save_photo(path, seed):
    """Saves a picture with texture, 50 x 60, so that corruptions and JPEG show."""
    noise = np.random.default_rng(seed).integers(-40, 41, (50, 60, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((make_picture(seed, 50, 60) + noise).clip(0, 255).astype(np.uint8)).save(path)
