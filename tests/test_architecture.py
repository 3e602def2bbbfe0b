"""The shape of the package: who may import whom, and what an import costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, solver_environ

PACKAGE = ROOT / "RobustART"
LAYERS = {"training": 4, "evaluation": 3, "models": 2, "data": 2, "noise": 2, "metrics": 2, "report": 2}
"""A module may import from lower layers and from its own folder; what is not named here is a leaf, layer 0."""


def layer(parts: tuple[str, ...]) -> tuple[int, str]:
    if parts in (("cli",), ("cli_nas",), ("cli_results",)):
        return 5, "cli"
    return LAYERS.get(parts[0], 0), parts[0] if parts[0] in LAYERS else "leaf"


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("RobustART"):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("RobustART")}
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    own, folder = layer(parts)
    for name in imports(path):
        target = tuple(name.split(".")[1:])
        if not target:
            continue
        other, other_folder = layer(target)
        assert other < own or other_folder == folder, f"{path} may not import {name}"


def test_config_stops_at_the_solver():
    for path in PACKAGE.rglob("*.py"):
        if imports(path) & {"RobustART.config.schema", "RobustART.config.schema.loader"}:
            assert path.parent.name == "training" or path.name in ("config_loader.py", "cli.py"), path


def test_training_package_is_empty():
    """Importing the solver there would make ``python -m RobustART.training.cls_solver`` warn."""
    assert (PACKAGE / "training" / "__init__.py").read_text() == ""


def test_metrics_do_not_need_torch():
    code = "import sys; from RobustART.metrics import ImageNetAEvaluator; print('torch' in sys.modules, 'timm' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], env=solver_environ(), capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "False"]


def test_the_package_itself_imports_nothing():
    code = "import sys; before = set(sys.modules); import RobustART; print(sorted(set(sys.modules) - before))"
    out = subprocess.run([sys.executable, "-c", code], env=solver_environ(), capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "['RobustART']"


def test_no_unsafe_calls():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in ("eval", "exec", "os.system", "pickle.load", "pickle.loads", "yaml.unsafe_load"), (
                    path
                )
                if name == "torch.load":
                    assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords), path
                assert not any(k.arg == "shell" for k in node.keywords), path
