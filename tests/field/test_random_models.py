"""Models that draw random numbers while they predict: seeded numbers, their spread, and ways to attack them."""

import json
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from RobustART.evaluation import evaluate
from RobustART.noise.attacks import pgd_linf

BENCHMARKS = {"adversarial": {"attacks": [{"pgd_linf": {"steps": 3}}, "fgsm"], "eps": [1 / 255]}}


@pytest.fixture
def unwritten(monkeypatch):
    """No report, which takes longer than these runs."""
    monkeypatch.setattr("RobustART.evaluation.run.write_report", lambda *_: None)


class Dropping(nn.Module):
    """A classifier with dropout in ``forward``, in evaluation mode too, and noise from the generators beside torch's."""

    def __init__(self, inner, calls=-1, share=0.2):
        super().__init__()
        self.inner, self.calls, self.share, self.preprocessing = inner, calls, share, inner.preprocessing

    def forward(self, images):
        self.calls -= 1
        if self.calls == 0:
            raise KeyboardInterrupt
        shift = 0.1 * random.random() + 0.1 * np.random.rand()
        return self.inner.network(functional.dropout(images + shift, self.share, training=True))


def run(folder, model, data, benchmarks=BENCHMARKS, **options):
    return evaluate(model, data, benchmarks, output_dir=folder, batch_size=4, progress=False, **options)


def lines(folder, name="adversarial"):
    return (folder / "results" / f"{name}.jsonl").read_bytes().splitlines(keepends=True)


@pytest.mark.usefixtures("unwritten")
def test_a_rerun_gives_the_same_numbers_and_another_seed_others(tmp_path, data, model):
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        torch.manual_seed(len(name))
        random.seed(len(name))
        run(tmp_path / name, Dropping(model), data, seed=seed)
    assert lines(tmp_path / "one") == lines(tmp_path / "two")
    confidence = [[json.loads(line)["confidence"] for line in lines(tmp_path / name)[1:]] for name in ("one", "other")]
    assert confidence[0] != confidence[1]


def test_the_generators_of_the_caller_are_as_before(tmp_path, data, model):
    torch.manual_seed(5)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    run(tmp_path, Dropping(model), data)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]


@pytest.mark.usefixtures("unwritten")
def test_a_resumed_run_and_another_order_of_the_blocks_give_the_same_numbers(tmp_path, data, model):
    """Two processes share the blocks; each asks the model in another order than one process does."""
    run(tmp_path / "whole", Dropping(model), data)
    whole = lines(tmp_path / "whole")
    half = tmp_path / "half" / "results"
    half.mkdir(parents=True)
    (half / "adversarial.jsonl").write_bytes(b"".join([*whole[:5], *whole[9:]]))  # without the second block of three
    run(tmp_path / "half", Dropping(model), data)
    assert lines(tmp_path / "half") == whole
    for calls in (5, 12):
        folder = tmp_path / f"killed {calls}"
        with pytest.raises(KeyboardInterrupt):
            run(folder, Dropping(model, calls), data)
        run(folder, Dropping(model), data)
        assert lines(folder) == whole


def test_an_attack_on_a_random_model_repeats(data, model):
    images = torch.stack([torch.from_numpy(image) for image in data.images]).permute(0, 3, 1, 2) / 255
    labels = torch.tensor(data.labels)
    found = []
    for state in (1, 2):
        torch.manual_seed(state)
        random.seed(state)
        found.append(pgd_linf(Dropping(model), images, labels, eps=2 / 255, steps=3))
    assert torch.equal(*found)
