"""Made-up images: each another one, the same again, and refused arguments."""

import numpy as np
import pytest

from RobustART.data import create_dataset
from RobustART.errors import ConfigError


def test_every_image_is_another_and_stays_the_same():
    dataset = create_dataset("fake", kwargs={"images": 50, "classes": 7, "size": 40})
    pictures = [dataset.read(i) for i in range(50)]
    assert pictures[0].shape == (40, 40, 3)
    assert len({picture.tobytes() for picture in pictures}) == 50
    assert dataset.labels[:9] == (0, 1, 2, 3, 4, 5, 6, 0, 1)
    again = create_dataset("fake", kwargs={"images": 50, "classes": 7, "size": 40}).select([3, 20])
    assert np.array_equal(again.read(1), pictures[20])
    other = create_dataset("fake", kwargs={"images": 50, "size": 40, "seed": 1})
    assert not np.array_equal(other.read(0), pictures[0])


@pytest.mark.parametrize("kwargs", [{"images": 0}, {"classes": True}, {"size": 2.5}, {"seed": -1}])
def test_what_cannot_be(kwargs):
    with pytest.raises(ConfigError, match=rf"fake: {next(iter(kwargs))} must be an integer"):
        create_dataset("fake", kwargs=kwargs)
