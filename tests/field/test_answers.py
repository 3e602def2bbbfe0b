"""Answers that depend on chance or on the batch: asked before a run, stated in its records and beside every number."""

import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from RobustART.data import array_dataset
from RobustART.evaluation import evaluate
from RobustART.noise.attacks.flags import check_answers
from RobustART.records.lines import read_records
from tests.conftest import SIZE, make_picture

CLEAN = {"clean": {}}


@pytest.fixture
def photos():
    return array_dataset([make_picture(i, 32, 32) for i in range(12)], [i % 3 for i in range(12)])


class Convolution(nn.Module):
    """A small network with dropout that is never off, or with batch statistics."""

    def __init__(self, *, dropout=0.0, normalised=None, drawn=False, tuned=False):
        super().__init__()
        torch.manual_seed(0)
        self.dropout, self.drawn = dropout, drawn
        self.first, self.last = nn.Conv2d(3, 8, 3, stride=4), nn.Linear(8, 3)
        self.norm = nn.Identity() if normalised is None else nn.BatchNorm2d(8, track_running_stats=normalised)

    def forward(self, x):
        x = functional.relu(self.norm(self.first(x))).mean((2, 3))
        if self.drawn:
            x = x + float(np.random.default_rng(int(np.random.randint(1 << 30))).normal())
        return self.last(functional.dropout(x, self.dropout, training=True))


@pytest.mark.parametrize(("options", "sign", "words"), [
    ({"dropout": 0.5}, "randomized", "answers change when asked twice"),
    ({"drawn": True}, "randomized", "answers change when asked twice"),
    ({"normalised": False}, "batch_dependent", "answers depend on the batch"),
])  # fmt: skip
def test_answers_that_change(tmp_path, photos, options, sign, words):
    """Four runs give the same warning with the size of the change, and no number without its sign."""
    found = set()
    for name in ("a", "b"):
        report = evaluate(
            Convolution(**options), photos, CLEAN, output_dir=tmp_path / name, preprocessing=SIZE, progress=False
        )
        top1 = report.data["benchmarks"]["clean"]["metrics"]["top1"]
        assert top1["not_trustworthy"] == [words]
        (warning,) = (w for w in report.data["warnings"] if sign in w)
        found.add(warning)
        assert f"(not trustworthy: {words})" in report.text()
        assert list(read_records(tmp_path / name / "results" / "clean.jsonl").header["signs"]) == ["model"]
    (warning,) = found
    assert "predictions changed, logits moved by up to" in warning
    if sign == "randomized":
        for way in ("samples", "HopSkipJump", "evaluation.repeats"):
            assert way in warning


@pytest.mark.parametrize("options", [{}, {"normalised": True}])
def test_steady_answers_are_no_alarm(tmp_path, photos, options):
    report = evaluate(Convolution(**options), photos, CLEAN, output_dir=tmp_path, preprocessing=SIZE, progress=False)
    assert "not_trustworthy" not in json.dumps(report.data)
    assert "signs" not in read_records(tmp_path / "results" / "clean.jsonl").header


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_rounding_is_no_change(dtype):
    model = Convolution(normalised=True).eval().to(dtype)
    assert check_answers(model, torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))) == {}


def test_asking_disturbs_nothing(photos):
    """Neither the generators nor the model; and a network whose answers all tie is steady."""
    model = Convolution(dropout=0.5, normalised=True)
    before = (
        torch.get_rng_state(),
        np.random.get_state()[1].copy(),
        {k: v.clone() for k, v in model.state_dict().items()},
    )
    check_answers(model, torch.rand(8, 3, 32, 32))
    torch.manual_seed(0)
    first = check_answers(model, torch.full((8, 3, 32, 32), 0.5))
    torch.manual_seed(1)
    assert check_answers(model, torch.full((8, 3, 32, 32), 0.5)) == first
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert all(torch.equal(value, before[2][key]) for key, value in model.state_dict().items())
    assert model.training
    with torch.no_grad():
        for value in model.last.parameters():
            value.zero_()
    assert check_answers(model, torch.rand(8, 3, 32, 32)) == {}


def test_a_run_asks_once(tmp_path, photos):
    """Several benchmarks share the questions; what is recorded is not asked about again."""
    calls = []
    model = Convolution()
    model.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    benchmarks = {"clean": {}, "imagenet_c": {"corruptions": ["brightness"], "severities": [1]}}
    run = {"output_dir": tmp_path, "preprocessing": SIZE, "progress": False, "batch_size": 12}
    evaluate(model, photos, benchmarks, **run)
    assert calls.count(1) == 1 + 8 + calls[9 + 2 :].count(1)
    evaluated = len(calls)
    evaluate(model, photos, benchmarks, **run)
    assert len(calls) - evaluated <= 2 + 1  # the probe of the classes, and the example images


def test_averages_are_trusted_and_attacks_without_them_are_not(tmp_path, photos):
    attacks = [{"pgd_linf": {"steps": 3, "samples": 3}}, "fgsm"]
    report = evaluate(
        Convolution(dropout=0.5), photos, {"adversarial": {"attacks": attacks, "eps": [1e-3]}}, output_dir=tmp_path,
        preprocessing=SIZE, progress=False, repeats=5,
    )  # fmt: skip
    entry = report.data["benchmarks"]["adversarial"]
    assert "not_trustworthy" not in entry["metrics"]["clean_accuracy"]
    (averaged,), (single,) = (entry["tables"]["robust_accuracy"][name].values() for name in ("pgd_linf", "fgsm"))
    words = "answers change when asked twice"
    assert words in single["not_trustworthy"]
    assert words not in averaged.get("not_trustworthy", [])
    assert any("randomized" in warning for warning in report.data["warnings"])
