"""Models that draw random numbers while they predict: seeded numbers, their spread, and ways to attack them."""

import json
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from RobustART.core.sources import _file_digest as source_digest
from RobustART.data import array_dataset
from RobustART.errors import ConfigError, RecordError
from RobustART.evaluation import evaluate
from RobustART.evaluation.scoring import score_answers
from RobustART.metrics.repeats import spreads
from RobustART.metrics.runs import check_comparable
from RobustART.noise.attacks import pgd_linf
from RobustART.records.comparability import board_conditions
from RobustART.records.lines import read_records
from tests.noise.attacks import make_judges

BENCHMARKS = {"adversarial": {"attacks": [{"pgd_linf": {"steps": 3}}, "fgsm"], "eps": [8 / 255]}}


@pytest.fixture
def digits():
    """Twelve held-out digits."""
    images, labels = (value[1400:1412] for value in make_judges.digits())
    pixels = (images * 255).round().byte().permute(0, 2, 3, 1).expand(-1, -1, -1, 3)
    return array_dataset(list(pixels.numpy()), labels.tolist())


@pytest.fixture
def judge():
    """A network for them."""
    return make_judges.load("plain")


@pytest.fixture
def unwritten(monkeypatch):
    """No report, which takes longer than these runs."""
    monkeypatch.setattr("RobustART.evaluation.run.write_report", lambda *_: None)


class Dropping(nn.Module):
    """A classifier with dropout in ``forward``, in evaluation mode too, and noise from the generators beside torch's."""

    def __init__(self, inner, calls=-1, share=0.3):
        super().__init__()
        self.inner, self.calls, self.share = inner, calls, share

    def forward(self, images):
        self.calls -= 1
        if self.calls == 0:
            raise KeyboardInterrupt
        shift = 0.1 * (random.random() - np.random.rand())
        return self.inner(functional.dropout(images.mean(1, keepdim=True) + shift, self.share, training=True))


class Once(Dropping):
    """The same network without random numbers."""

    def forward(self, images):
        return self.inner(images.mean(1, keepdim=True))


def run(folder, model, data, benchmarks=BENCHMARKS, **options):
    settings = {"input_size": 8, "resize": 8, "mean": [0] * 3, "std": [1] * 3}
    return evaluate(
        model, data, benchmarks, output_dir=folder, batch_size=4, progress=False, preprocessing=settings, **options
    )


def lines(folder, name="adversarial"):
    return (folder / "results" / f"{name}.jsonl").read_bytes().splitlines(keepends=True)


@pytest.mark.usefixtures("unwritten")
def test_a_rerun_gives_the_same_numbers_and_another_seed_others(tmp_path, digits, judge):
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        torch.manual_seed(len(name))
        random.seed(len(name))
        run(tmp_path / name, Dropping(judge), digits, seed=seed)
    assert lines(tmp_path / "one") == lines(tmp_path / "two")
    confidence = [[json.loads(line)["confidence"] for line in lines(tmp_path / name)[1:]] for name in ("one", "other")]
    assert confidence[0] != confidence[1]


def test_the_generators_of_the_caller_are_as_before(tmp_path, digits, judge):
    torch.manual_seed(5)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    run(tmp_path, Dropping(judge), digits)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]


@pytest.mark.usefixtures("unwritten")
def test_a_resumed_run_and_another_order_of_the_blocks_give_the_same_numbers(tmp_path, digits, judge):
    """Two processes share the blocks; each asks the model in another order than one process does."""
    run(tmp_path / "whole", Dropping(judge), digits)
    whole = lines(tmp_path / "whole")
    half = tmp_path / "half" / "results"
    half.mkdir(parents=True)
    (half / "adversarial.jsonl").write_bytes(b"".join([*whole[:5], *whole[9:]]))  # without the second block of three
    run(tmp_path / "half", Dropping(judge), digits)
    assert lines(tmp_path / "half") == whole
    for calls in (5, 12):
        folder = tmp_path / f"killed {calls}"
        with pytest.raises(KeyboardInterrupt):
            run(folder, Dropping(judge, calls), digits)
        run(folder, Dropping(judge), digits)
        assert lines(folder) == whole


def test_an_attack_on_a_random_model_repeats(judge):
    images, labels = (value[1400:1412] for value in make_judges.digits())
    found = []
    for state in (1, 2):
        torch.manual_seed(state)
        random.seed(state)
        found.append(pgd_linf(Dropping(judge), images, labels, eps=0.1, steps=3))
    assert torch.equal(*found)


def test_several_answers_are_averaged_as_probabilities():
    answers = torch.tensor([[[4.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]])
    labels = torch.tensor([0, 0])
    prediction, confidence, rank, right = score_answers(answers, labels)
    mean = answers.double().softmax(-1).mean(1)
    assert prediction.tolist() == [0, 1]
    assert torch.allclose(confidence, mean.amax(1))
    assert rank.tolist() == [0, 1]
    assert right.tolist() == [0b01, 0b00]
    assert len(score_answers(answers[:, :1], labels)) == 3


def test_repeats_average_the_answers_and_give_their_spread(tmp_path, digits, judge):
    report = run(tmp_path, Dropping(judge), digits, repeats=6)
    records = read_records(tmp_path / "results" / "adversarial.jsonl")
    (table,) = records.passes
    assert records.header["conditions"]["repeats"] == 6
    assert 0 <= table.answers.min() < table.answers.max() < 2**6
    single = np.array([[number >> r & 1 for r in range(6)] for number in table.answers[:, 0].tolist()])
    accuracy = 100 * single.mean(0)
    assert len(set(accuracy)) > 1, "the answers differ"
    entry = report.data["benchmarks"]["adversarial"]
    assert entry["spread"].keys() == set(table.cells)
    assert entry["spread"] == spreads(records)
    assert entry["spread"]["clean"] == pytest.approx({
        "mean": accuracy.mean(), "std": accuracy.std(ddof=1), "lowest": accuracy.min(), "highest": accuracy.max(),
    })  # fmt: skip
    assert entry["cost"]["forward"] - sum(cost["forward"] for cost in entry["passes"].values()) == 6 * 12
    for text in (report.text(), report.markdown(), (tmp_path / "results" / "report.html").read_text()):
        assert "the mean of 6 answers. The accuracy of a single answer varies most in " in text
    unbroken = (table.label_rank[:, 1] == 0) | (table.label_rank[:, 0] > 0)
    assert not np.array_equal(table.answers[:, 0], table.answers[:, 1]), "attacked images are asked again"
    assert (table.answers[table.label_rank[:, 0] > 0, 1:] == table.answers[table.label_rank[:, 0] > 0, :1]).all()
    assert unbroken.any()


@pytest.mark.usefixtures("unwritten")
def test_repeats_are_a_condition(tmp_path, digits, judge):
    one = run(tmp_path / "one", Once(judge), digits, {"clean": {}})
    two = run(tmp_path / "two", Once(judge), digits, {"clean": {}}, repeats=2)
    assert board_conditions(one.data, "clean") != board_conditions(two.data, "clean")
    first, second = (read_records(tmp_path / name / "results" / "clean.jsonl") for name in ("one", "two"))
    assert (first.passes[0].prediction == second.passes[0].prediction).all()
    assert set(second.passes[0].answers[:, 0]) <= {0b00, 0b11}, "this model gives one answer only"
    assert first.passes[0].answers is None
    assert "repeats" not in first.header["conditions"]
    with pytest.raises(RecordError, match="repeats"):
        check_comparable(first, second, ("one", "two"))
    with pytest.raises(RecordError, match="repeats"):
        run(tmp_path / "one", Once(judge), digits, {"clean": {}}, repeats=2)
    with pytest.raises(ConfigError, match="repeats must be an integer from 1 to 62, got 63"):
        run(tmp_path / "three", Once(judge), digits, {"clean": {}}, repeats=63)


@pytest.mark.usefixtures("unwritten")
def test_a_killed_run_with_repeats_resumes(tmp_path, digits, judge):
    for name, calls in (("whole", -1), ("killed", 12)):
        if calls > 0:
            with pytest.raises(KeyboardInterrupt):
                run(tmp_path / name, Dropping(judge, calls), digits, repeats=2)
        run(tmp_path / name, Dropping(judge), digits, repeats=2)
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")


class Rounding(Once):
    """The same network on rounded images: its gradient is zero."""

    def forward(self, images):
        return super().forward(torch.round(images * 16) / 16)


SMOOTH = """
def smooth(model):
    return lambda images: model.network.inner(images.mean(1, keepdim=True))
"""


@pytest.mark.usefixtures("unwritten")
def test_a_replaced_gradient_shows_the_truth_about_rounding(tmp_path, digits, judge, monkeypatch):
    module = tmp_path / "replaced.py"
    module.write_text(SMOOTH)
    monkeypatch.syspath_prepend(tmp_path)

    def robust(name, model, attack, **options):
        benchmarks = {"adversarial": {"attacks": [{attack: options}], "eps": [3 / 16]}}
        report = run(tmp_path / name, model, digits, benchmarks)
        (row,) = report.data["benchmarks"]["adversarial"]["tables"]["robust_accuracy"].values()
        return next(iter(row.values()))["value"]

    truth = robust("plain", Once(judge), "fgsm")
    assert truth < 40
    assert robust("hidden", Rounding(judge), "pgd_linf") > 80
    named = {"backward": "replaced:smooth"}
    assert robust("named", Rounding(judge), "pgd_linf", **named) <= truth
    import replaced

    assert robust("given", Rounding(judge), "pgd_linf", backward=replaced.smooth) <= truth
    headers = [json.loads(lines(tmp_path / name)[0])["conditions"] for name in ("hidden", "named", "given")]
    digests = [header["sources"]["replaced"] for header in headers[1:]]
    assert digests[0] == digests[1]
    assert "sources" not in headers[0]
    assert headers[1]["attacks"] == headers[2]["attacks"]
    assert [attack["backward"] for attack in headers[1]["attacks"].values()] == ["replaced:smooth"]
    module.write_text(SMOOTH + "\n# edited\n")
    source_digest.cache_clear()
    with pytest.raises(RecordError, match=r"sources\.replaced"):
        robust("named", Rounding(judge), "pgd_linf", **named)
