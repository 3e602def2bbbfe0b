"""Every script of ``speed/`` runs, on a few small images and networks."""

import functools
import importlib
import sys

import pytest
import torch
from torch import nn

from RobustART.data import array_dataset
from RobustART.models import create_model
from RobustART.noise.attacks import autoattack
from tests.conftest import ROOT, make_picture

SCRIPTS = sorted({path.stem for path in (ROOT / "speed").glob("*.py")} - {"fresh", "runtime"})
"""Those that are run in one process; ``.ci/run`` starts the others with ``--smoke``."""


def photos(*_, **__):
    return array_dataset([make_picture(i, 40, 40) for i in range(2)], [0, 1], "photos")


def tiny(*_, **__):
    return create_model("resnet18", num_classes=2, preprocessing={"input_size": 32, "resize": 32})


def digits_model(*_):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()


def digits(*_):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(4, 1, 8, 8, generator=generator), torch.arange(4)


def answers(model, images, labels, *_):
    with torch.no_grad():
        return model(images).argmax(1) == labels


short = functools.partial(autoattack, version="custom", attacks=["apgd_ce"])
TINY = {"create_dataset": photos, "create_model": tiny, "digits_model": digits_model, "held_out": digits}
"""What takes the place of functions of these names in every script."""
OWN = {
    "training": {"create_model": create_model},
    "verdicts": {"autoattack": short, "official": answers, "DIGITS": (("Linf", 0.15),)},
    "pgd_l1": {
        "digits": digits,
        "autoattack": short,
        "networks": lambda: [("tiny", digits_model())],
        "RADII": (1.0,),
        "TRAINED_ON": 0,
    },
    "corruptions": {"SCORED": ("brightness",)},
}
ARGUMENTS = {
    "attacks": ["--rows", "pgd-digits-all-foolbox", "--repeats", "1", "--threads", "1"],
    "corruption_fidelity": ["--names", "brightness", "--seeds", "1"],
    "corruptions": ["--names", "brightness", "--images", "1", "--repeats", "1", "--end-to-end"],
    "engine": ["--images", "2", "--batch-size", "2", "--rounds", "1"],
    "metrics": ["--images", "20", "--original-images", "2"],
    "pgd_l1": [],
    "training": ["--steps", "1", "--batch", "2", "--images", "32"],
    "verdicts": ["--seeds", "1", "--threads", "1"],
}


@pytest.fixture
def script(request, tmp_path, monkeypatch):
    """A script as a module that writes into a temporary folder."""
    monkeypatch.syspath_prepend(str(ROOT / "speed"))
    threads = torch.get_num_threads()
    try:
        module = importlib.import_module(request.param)
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
    for name, value in {"RESULTS": tmp_path, **TINY, **OWN.get(request.param, {})}.items():
        if hasattr(module, name):
            monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(sys, "argv", [request.param, *ARGUMENTS[request.param]])
    yield module
    torch.set_num_threads(threads)
    for name in SCRIPTS:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("script", SCRIPTS, indirect=True)
def test_a_script_runs(script, monkeypatch, capsys):
    if script.__name__ == "training":
        monkeypatch.setattr(script, "memory", functools.partial(script.memory, early=1, late=2))
    if script.__name__ == "metrics":
        used = {"memory": 1.0, "processor": 1.0, "wall": 1.0, "slowest": 1.0}
        monkeypatch.setattr(script, "apart", lambda name, *at: {**script.task(name, list(map(str, at))), **used})
    before = {path: path.stat().st_mtime_ns for path in (ROOT / "speed" / "results").iterdir()}
    try:
        script.main()
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
    assert "|" in capsys.readouterr().out or script.__name__ == "engine"
    assert before == {path: path.stat().st_mtime_ns for path in (ROOT / "speed" / "results").iterdir()}
