"""How soon a command answers: what is named and how it is spelt is known without torch."""

import subprocess
import sys

import pytest

from RobustART.cli import listing, stored
from RobustART.cli.parser import main
from RobustART.models import model_libraries
from tests.conftest import solver_environ


@pytest.mark.parametrize("name", sorted([*listing.REGISTRIES, "schema"]))
def test_texts_that_are_shipped_are_those_of_the_source(name):
    lines = (stored.FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    again = 'python -c "from RobustART.cli.stored import write; write()"'
    assert lines == list(stored.texts()[name]), f"run {again}"


def test_names_and_options_do_not_need_torch():
    code = (
        "import sys; from RobustART.cli import main\n"
        "for words in (['list', 'attacks'], ['list', 'corruptions'], ['models', 'resnet'], ['schema']): assert main(words) == 0\n"
        "print([name for name in ('torch', 'timm', 'numpy') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], env=solver_environ(), capture_output=True, text=True, check=True)
    assert "\npgd_linf  Projected gradient descent" in out.stdout
    assert out.stdout.splitlines()[-1] == "[]"


def test_the_solver_refuses_flags_before_torch():
    code = "import runpy, sys; sys.argv[1:] = ['--confg', 'x']\ntry: runpy.run_module('RobustART.training.cls_solver', run_name='__main__')\nfinally: print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], env=solver_environ(), capture_output=True, text=True)
    assert (out.returncode, out.stdout) == (2, "False\n"), out.stderr
    assert "--config" in out.stderr


def test_a_users_entries_are_listed(tmp_path, monkeypatch, capsys):
    (tmp_path / "my_start.py").write_text(
        "from RobustART.noise import CORRUPTIONS\n"
        "@CORRUPTIONS.register('of_mine')\ndef of_mine(image, severity, rng):\n    '''Returns mine.'''\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert main(["list", "corruptions", "--import", "my_start"]) == 0
        assert capsys.readouterr().out.endswith("of_mine  Returns mine.\n")
    finally:
        from RobustART.noise import CORRUPTIONS

        CORRUPTIONS.remove("of_mine")


def test_plugins_of_packages_are_listed(monkeypatch):
    monkeypatch.delitem(sys.modules, "numpy")
    assert "pgd_linf" not in "".join(stored.stored("corruptions", lambda: ["mine"]))
    assert len(list(stored.stored("corruptions", lambda: ["mine"]))) == 19
    monkeypatch.setattr(stored.importlib.metadata, "entry_points", lambda group: [group])
    assert list(stored.stored("corruptions", lambda: ["mine"])) == ["mine"]


def test_names_of_timm_are_found_in_its_source(monkeypatch):
    import timm

    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "timm")
        assert all(map(model_libraries._timm_has, ("resnet50", "tf_efficientnet_lite0.in1k")))
        assert "timm" not in sys.modules
    assert sys.modules["timm"] is timm
    assert not any(map(model_libraries._timm_has, ("_cfg", "no_such")))
