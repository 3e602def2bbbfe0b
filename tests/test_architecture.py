"""The shape of the package: who may import whom, what an import costs, and what is named in one place alone."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, solver_environ

PACKAGE = ROOT / "RobustART"
FOUNDATION = {"errors", "registry", "core"}
RECORDED = FOUNDATION | {"records"}
NUMBERS = RECORDED | {"metrics"}
FACES = NUMBERS | {"benchmarks"}
PAGES = FACES | {"report"}
WORKSHOPS = {"data", "noise", "models"}
"""What makes images and networks. Everything here imports torch or may; the rooms of numbers and pages know none of it."""
RUNS = PAGES | WORKSHOPS | {"evaluation"}
MAY_IMPORT = {
    "errors": set(),
    "registry": {"errors"},
    "core": {"errors", "registry"},
    **dict.fromkeys(WORKSHOPS, FOUNDATION),
    "records": FOUNDATION,
    "metrics": RECORDED,
    "benchmarks": NUMBERS | WORKSHOPS,
    "report": FACES,
    "evaluation": PAGES | WORKSHOPS,
    "generation": RUNS,
    "verification": RUNS,
    "original": FACES | WORKSHOPS,
    "config": FOUNDATION | {"original"},
    "training": RUNS | {"config"},
    "nas": RUNS | {"config", "training"},
    "cli": RUNS | {"config", "generation", "nas", "original", "training", "verification"},
}
"""Rooms to the rooms that they may import. What a room below needs from above registers itself: see ``Registry``."""
ROOMS = sorted(path.stem for path in PACKAGE.iterdir() if path.name not in ("__init__.py", "__pycache__", "py.typed"))


def modules(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py")) or [PACKAGE / f"{room}.py"]


def imports(tree: ast.AST, *, in_functions: bool = True) -> Iterator[str]:
    """Yields the modules that are imported, not for type checkers alone; ``from a import b`` is a.b where that is a module.

    Args:
        tree: of a module.
        in_functions: also those that are imported when a function runs.
    """
    if isinstance(tree, ast.If) and "TYPE_CHECKING" in ast.unparse(tree.test):
        return
    if isinstance(tree, (ast.FunctionDef, ast.AsyncFunctionDef)) and not in_functions:
        return
    if isinstance(tree, ast.ImportFrom):
        inner = [f"{tree.module}.{alias.name}" for alias in tree.names]
        yield from (name if is_module(name) else str(tree.module) for name in inner)
    elif isinstance(tree, ast.Import):
        yield from (alias.name for alias in tree.names)
    for node in ast.iter_child_nodes(tree):
        yield from imports(node, in_functions=in_functions)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def room_of(name: str) -> str:
    """Returns the room of a module of this package; "" for others."""
    return name.split(".")[1] if name.startswith("RobustART.") else ""


def test_the_root_holds_two_modules():
    assert sorted(path.name for path in PACKAGE.glob("*.py")) == ["__init__.py", "errors.py", "registry.py"]
    assert sorted(MAY_IMPORT) == ROOMS


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_down(room):
    for path in modules(room):
        for name in imports(ast.parse(path.read_text())):
            other = room_of(name)
            if other in ROOMS and other != room:
                assert other in MAY_IMPORT[room], f"{path.relative_to(ROOT)} may not import {name}"


def test_no_module_imports_itself_by_way_of_others():
    graph = {}
    for room in ROOMS:
        for path in modules(room):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found = imports(ast.parse(path.read_text()), in_functions=False)
            graph[name] = {other for other in found if other.startswith("RobustART.")}
    graphlib.TopologicalSorter(graph).prepare()


def test_a_benchmark_imports_what_builds_it_when_it_is_built():
    for path in modules("benchmarks"):
        for name in imports(ast.parse(path.read_text()), in_functions=False):
            assert name.partition(".")[0] not in ("torch", "torchvision", "timm"), path
            assert room_of(name) not in WORKSHOPS, path


@pytest.mark.parametrize("room", ["records", "metrics", "benchmarks", "report"])
def test_numbers_and_pages_do_not_need_torch(room):
    code = f"import sys; import RobustART.{room}; print('torch' in sys.modules, 'timm' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], env=solver_environ(), capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "False"]


def test_the_command_line_does_not_need_torch():
    code = "import sys; from RobustART.cli.parser import parser; parser(); print('torch' in sys.modules, 'numpy' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], env=solver_environ(), capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "False"]


def test_the_package_itself_imports_nothing():
    code = "import sys; before = set(sys.modules); import RobustART; print(sorted(set(sys.modules) - before))"
    out = subprocess.run([sys.executable, "-c", code], env=solver_environ(), capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "['RobustART']"


def test_training_package_is_empty():
    """Importing the solver there would make ``python -m RobustART.training.cls_solver`` warn."""
    assert (PACKAGE / "training" / "__init__.py").read_text() == ""


HOMONYMS = {
    ("noise/attacks/log.py", "clean"),  # what breaks an image that is wrong before any attack
    ("records/lines.py", "clean"),  # the cell of an image without noise, by which the benchmark of such cells is called
    ("metrics/spec.py", "adversarial"),  # a kind of noise
    ("benchmarks/transfer.py", "adversarial"),  # the same
}
"""Literals that mean something else than the benchmark of that name."""


def test_a_benchmark_is_named_in_its_room_alone():
    """Each name is a literal in one file of the package: all other code looks a benchmark up."""
    from RobustART.benchmarks import BENCHMARKS

    places: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        place = str(path.relative_to(PACKAGE))
        for node in ast.walk(ast.parse(path.read_text())) if not place.startswith("original/") else ():
            known = isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in BENCHMARKS
            if known and (place, node.value) not in HOMONYMS:
                places.setdefault(node.value, set()).add(place)
    spread = {name: sorted(files) for name, files in places.items() if len(files) > 1}
    assert not spread
    assert set(places) == set(BENCHMARKS) - {"clean"}


def test_no_unsafe_calls():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                if path.name != "shipping.py":  # between processes of one run, as multiprocessing does
                    assert name not in ("pickle.load", "pickle.loads"), path
                assert name not in ("eval", "exec", "os.system", "yaml.unsafe_load"), path
                if name == "torch.load":
                    assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords), path
                assert not any(k.arg == "shell" for k in node.keywords), path
