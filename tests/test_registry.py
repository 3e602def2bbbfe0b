"""Names to callables: unknown names, whatever their type, are errors that say what is known."""

import sys

import pytest

from RobustART.errors import ConfigError, UnknownNameError
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


def test_providers_are_imported_at_the_first_lookup_that_misses(tmp_path, monkeypatch):
    (tmp_path / "provider_of_things.py").write_text(
        "from tests.test_registry import THINGS\nTHINGS.add('late', 2)\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    THINGS.add("early", 1)
    assert THINGS["early"] == 1
    assert "provider_of_things" not in sys.modules
    assert "late" in THINGS
    assert list(THINGS) == ["early", "late"]


THINGS: Registry[int] = Registry("thing", ("provider_of_things",))


def test_a_path_is_an_entry(tmp_path, monkeypatch):
    (tmp_path / "own_things.py").write_text("seven = 7\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry: Registry[int] = Registry("thing")
    assert registry["own_things:seven"] == 7
    with pytest.raises(ConfigError, match="thing 'own_things:eight': the module own_things has no eight"):
        registry["own_things:eight"]
    with pytest.raises(ConfigError, match="there is no module 'no_such_module'"):
        registry["no_such_module:eight"]
    with pytest.raises(ConfigError, match="must be a known name or module:function"):
        registry["C:\\path:x"]


def test_an_error_inside_a_users_module_has_its_line(tmp_path, monkeypatch):
    (tmp_path / "needs_missing.py").write_text("import not_installed_anywhere\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    message = r"cannot be imported: ModuleNotFoundError: No module named 'not_installed_anywhere' \(.*g.py, line 1\)$"
    with pytest.raises(ConfigError, match=message):
        Registry("thing")["needs_missing:f"]


def test_entries_are_checked():
    def check(name, entry):
        if entry < 0:
            raise ConfigError(f"{name} is negative")

    registry: Registry[int] = Registry("thing", check=check)
    registry.add("one", 1)
    with pytest.raises(ConfigError, match="two is negative"):
        registry.add("two", -2)
