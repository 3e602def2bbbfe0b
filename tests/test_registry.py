"""Names to callables: unknown names, whatever their type, are errors that say what is known."""

import pytest

from RobustART.errors import UnknownNameError
from RobustART.registry import Registry


@pytest.fixture
def shapes():
    registry = Registry("shape")
    registry.add("circle", object())
    return registry


def test_names_are_taken_once(shapes):
    assert list(shapes) == ["circle"]
    with pytest.raises(ValueError, match="shape 'circle' is registered already"):
        shapes.add("circle", 1)


@pytest.mark.parametrize("name", [["circle"], {"circle": 1}, None, 5])
def test_what_is_no_name_is_unknown(shapes, name):
    assert name not in shapes
    with pytest.raises(UnknownNameError, match="unknown shape .*Known: circle"):
        shapes[name]
