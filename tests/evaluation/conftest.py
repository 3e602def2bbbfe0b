"""Twelve small pictures and a small network for the evaluation tests."""

import pytest

from RobustART.data import array_dataset
from RobustART.models import create_model
from tests.conftest import make_picture

SIZE = {"input_size": 32, "resize": 32, "mean": [0.5] * 3, "std": [0.25] * 3}


@pytest.fixture
def data():
    return array_dataset([make_picture(i, 32, 32) for i in range(12)], [i % 3 for i in range(12)])


@pytest.fixture
def model(own_model):
    return create_model(f"{own_model}:build", preprocessing=SIZE)
