"""Views that are made in batches on a device: the same records as from the loader, whatever the blocks and processes."""

import functools

import numpy as np
import pytest
import torch

from RobustART.benchmarks import Batched, build_benchmark, clean_view
from RobustART.benchmarks.imagenet_c import corrupted_view, made_cells
from RobustART.errors import ConfigError
from RobustART.evaluation import Cell, Pass, evaluate
from RobustART.evaluation.blocks import shipped_views
from RobustART.noise.attacks import fgsm
from RobustART.records.lines import read_records
from tests.conftest import own_benchmark

PAIRS = [("gaussian_noise", 3), ("glass_blur", 1), ("shot_noise", 1), ("frost", 5), ("brightness", 2)]
"""Equal to the bit on both ways, and one that is not made in batches."""


def cells(device):
    view = functools.partial(corrupted_view, quality=None, backend="robustart")
    made = made_cells(PAIRS, view, device)
    return (
        Cell("clean", clean_view),
        *made,
        Cell(
            "fgsm/x",
            made[0].view,
            attack=functools.partial(fgsm, eps=0.02),
            view_key=made[0].name,
            batched=made[0].batched,
        ),
    )


@pytest.fixture
def run(tmp_path, data, model):
    """Evaluates the same cells, made by the loader or in batches, and returns the records."""

    def evaluated(device, folder, **options):
        with own_benchmark("both_ways", lambda dataset: (Pass(dataset, cells(device)),)):
            evaluate(model, data, {"both_ways": {}}, output_dir=tmp_path / folder, progress=False, seed=3, **options)
        return (tmp_path / folder / "results" / "both_ways.jsonl").read_text().splitlines()[1:]

    return evaluated


def test_records_are_those_of_the_loader(run):
    by_the_loader = run(None, "loader", batch_size=5)
    in_batches = run(torch.device("cpu"), "batches", batch_size=5)
    assert in_batches == by_the_loader
    assert run(torch.device("cpu"), "processes", batch_size=5, workers=2) == in_batches


def test_the_clean_crop_is_shipped_once():
    views, places = shipped_views(cells(torch.device("cpu"))[:-1])
    assert list(views) == ["clean", "glass_blur/1"]
    assert views["clean"] is clean_view
    assert places == [0, 0, 1, 0, 0, 0]
    views, places = shipped_views(cells(None)[:-1])
    assert places == list(range(6))


def test_a_batch_has_the_draws_of_its_images(run, monkeypatch):
    seen = []

    def change(images, *, rngs):
        seen.append([rng.integers(0, 2**40) for rng in rngs])
        return images

    batched = Batched(clean_view, "clean", change)
    monkeypatch.setitem(
        globals(), "cells", lambda device: (Cell("x", lambda sample, rng: sample.crop, batched=batched),)
    )
    run(None, "a", batch_size=12)
    run(None, "b", batch_size=5)
    assert seen[0] == [number for block in seen[1:] for number in block]
    assert len(set(seen[0])) == 12


def test_imagenet_c_on_a_gpu(data, monkeypatch):
    for device in ("gpu", "cuda:1", None, 0, ["cuda"]):
        with pytest.raises(ConfigError, match=r"device must be one of 'cpu', 'cuda', got"):
            build_benchmark("imagenet_c", data, {"device": device})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"imagenet_c\.device is cuda, but this machine has no GPU"):
        build_benchmark("imagenet_c", data, {"device": "cuda"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for options in ({"jpeg_quality": 85}, {"backend": "imagecorruptions"}):
        with pytest.raises(
            ConfigError, match=r"device is cuda, but backend: imagecorruptions and jpeg_quality need the CPU"
        ):
            build_benchmark("imagenet_c", data, {"device": "cuda", **options})
    with pytest.raises(ConfigError, match=r"device is 'cuda', but files in root_dir are corrupted already"):
        build_benchmark("imagenet_c", data, {"device": "cuda", "root_dir": "x"})
    built = build_benchmark("imagenet_c", data, {"device": "cuda"})
    assert built.options["device"] == "cuda"
    on_cpu = [cell.name for cell in built.passes[0].cells if cell.batched is None]
    assert on_cpu == [f"{name}/{s}" for name in ("glass_blur", "jpeg_compression", "spatter") for s in range(1, 6)]
    assert built.passes[0].cells[0].batched.change.keywords["device"].type == "cuda"
    assert not any(cell.batched for cell in build_benchmark("imagenet_c", data).passes[0].cells)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_an_evaluation_on_a_gpu_agrees(tmp_path, data, model):
    names = [name for name, _ in PAIRS]
    for device in ("cpu", "cuda"):
        options = {"imagenet_c": {"corruptions": names, "device": device}}
        evaluate(model, data, options, output_dir=tmp_path / device, batch_size=5, progress=False)
    first, second = (
        read_records(tmp_path / device / "results" / "imagenet_c.jsonl").passes[0] for device in ("cpu", "cuda")
    )
    assert np.abs(first.confidence - second.confidence).max() < 1e-4
