"""The allocator: commands tune it, importing the package does not, and it can be left alone."""

import subprocess
import sys

import pytest

import RobustART
from RobustART.core import memory
from RobustART.errors import ConfigError
from tests.conftest import solver_environ

FAULTS = """
import resource, sys
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        b"x" * (40 << 20)  # always mapped by default
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
import RobustART, RobustART.core.memory
plain = faults()
print(RobustART.tune_memory())
faults()
print(faults() < plain / 4)
"""


@pytest.mark.skipif(not memory._is_glibc(), reason="another C library")
@pytest.mark.parametrize(
    ("environ", "tuned"), [({}, "True"), ({memory.SWITCH: "default"}, "False"), ({"MALLOC_ARENA_MAX": "2"}, "False")]
)
def test_buffers_are_kept_when_the_allocator_is_tuned(environ, tuned):
    environ = {**solver_environ(), **environ}
    out = subprocess.run([sys.executable, "-c", FAULTS], env=environ, capture_output=True, text=True, check=True)
    assert out.stdout.split() == [tuned, tuned]


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: pytest.fail("the library was opened"))
    for answer in (ValueError, OSError, AttributeError):
        monkeypatch.setattr(memory.os, "confstr", lambda name, answer=answer: (_ for _ in ()).throw(answer))
        assert RobustART.tune_memory() is False
    monkeypatch.setattr(memory.os, "confstr", lambda name: None)  # musl
    assert RobustART.tune_memory() is False


def test_versions_that_take_smaller_thresholds(monkeypatch):
    asked = []

    class Library:
        @staticmethod
        def mallopt(parameter, value):
            asked.append((parameter, value))
            return int(value <= 2**25 or parameter == -1)

    for name in [name for name in memory.os.environ if name.startswith(("MALLOC_", "GLIBC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(memory.os, "confstr", lambda name: "glibc 2.31")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: Library)
    assert memory.tune_memory() is True
    assert asked == [(-3, 2**30), (-3, 2**25), (-1, 2**31 - 1)]


def test_the_switch_has_two_values(monkeypatch):
    monkeypatch.setenv(memory.SWITCH, "off")
    with pytest.raises(ConfigError, match="ROBUSTART_MALLOC must be tuned or default, got 'off'"):
        memory.tune_memory()


def test_commands_tune_it_and_calls_from_python_do_not(monkeypatch):
    from RobustART.cli import parser
    from RobustART.training import cls_solver

    asked = []
    for module, words in ((parser, ["list", "attacks"]), (cls_solver, ["--config", "none.yaml"])):
        monkeypatch.setattr(module, "tune_memory", lambda name=module.__name__: asked.append(name))
        module.main(words)
        assert asked == []
        monkeypatch.setattr(sys, "argv", ["command", *words])
        module.main()
        assert asked.pop() == module.__name__
