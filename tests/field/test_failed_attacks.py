"""Failed attacks look like robust models: each kind has a sign, in the records and beside the number in every output."""

import functools
import json

import numpy as np
import pytest
import torch
from torch import nn

from RobustART.data import array_dataset
from RobustART.evaluation import evaluate
from RobustART.metrics import AdvRobustEvaluator
from RobustART.metrics.comparison import compare
from RobustART.metrics.robustness import attack_warnings
from RobustART.metrics.spec import face
from RobustART.metrics.trust import cell_signs
from RobustART.noise.attacks import ATTACKS, AttackLog, check_model
from RobustART.noise.attacks.costs import forward_passes
from RobustART.noise.attacks.stages import stages_of
from RobustART.records.journal import Journal
from RobustART.records.lines import read_records
from RobustART.report.board import ranking
from RobustART.report.board_runs import read_runs
from RobustART.report.columns import all_columns, headlines
from RobustART.report.context import key_numbers
from tests.noise.attacks import make_judges

COUNT = 40
SIZE = {"mean": [0.0] * 3, "std": [1.0] * 3, "input_size": 8, "resize": 8}
BY_FOOLBOX = {"pgd_linf": {"backend": "foolbox"}}
SHORT = {"apgd_ce": {"steps": 10}, "apgd_t": {"steps": 5, "n_targets": 2}, "fab_t": {"steps": 5, "n_targets": 2}}
ATTACKED = {"attacks": ["fgsm", "pgd_linf", BY_FOOLBOX], "eps": [0.1]}
CELLS = ("fgsm", "pgd_linf", "foolbox.pgd_linf")


class Net(nn.Module):
    """A judge of digits with a disturbance before or behind it."""

    def __init__(self, judge="plain", before=lambda x: x, behind=lambda z, _: z):
        super().__init__()
        self.judge, self.before, self.behind = make_judges.load(judge), before, behind

    def forward(self, x):
        x = x[:, :1]
        return self.behind(self.judge(self.before(x)), x)


def backwards(gradient):
    """Returns an identity whose gradient is a function of the true one."""

    class Identity(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, given):
            return gradient(given)

    return Identity.apply


MASKED = {
    "round": (lambda x: torch.round(x * 16) / 16, None, "zero_gradients"),
    "zeroed": (lambda x: x.detach() + 0 * x, None, "zero_gradients"),
    "nan": (None, lambda z, x: z + 0 * torch.sqrt(x.flatten(1) * 0).sum(1, keepdim=True), "nan_gradients"),
    "probabilities": (None, lambda z, _: z.softmax(1), "probabilities"),
    "constant": (backwards(torch.ones_like), None, "constant_gradients"),
    "random": (backwards(torch.randn_like), None, "wrong_gradients"),
}
WORDS = {
    "zero_gradients": "zero gradients", "nan_gradients": "NaN gradients", "probabilities": "outputs are probabilities",
    "constant_gradients": "constant gradients", "wrong_gradients": "gradients do not lead uphill",
}  # fmt: skip


def net(name):
    before, behind, _ = MASKED[name]
    return Net(before=before or (lambda x: x), behind=behind or (lambda z, _: z))


@pytest.fixture(scope="module")
def digits():
    images, labels = (value[1400 : 1400 + COUNT] for value in make_judges.digits())
    pixels = (images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
    return array_dataset(list(pixels), labels.tolist(), "digits")


def attacked(model, data, folder, options=ATTACKED, **more):
    return evaluate(
        model,
        data,
        {"adversarial": options},
        output_dir=folder,
        batch_size=16,
        progress=False,
        preprocessing=SIZE,
        **more,
    )


def robust(report):
    return report.data["benchmarks"]["adversarial"]["tables"]["robust_accuracy"]


@pytest.mark.parametrize("name", MASKED)
def test_a_masked_gradient_has_its_sign_in_every_attack(tmp_path, digits, name):
    sign = MASKED[name][2]
    report = attacked(net(name), digits, tmp_path)
    for cell in CELLS:
        (estimate,) = robust(report)[cell].values()
        assert estimate["value"] > 30  # the truth is 0, or that of the net without its disturbance
        assert WORDS[sign] in estimate["not_trustworthy"]
    header = read_records(tmp_path / "results" / "adversarial.jsonl").header
    assert sign in header["signs"]["model"]
    assert any(f"not trustworthy: the model: {sign}: " in warning for warning in report.data["warnings"])


@pytest.mark.parametrize("name", ["nan", "zeroed"])
def test_signs_of_single_images_are_in_the_records(tmp_path, digits, name):
    sign = MASKED[name][2]
    attacked(net(name), digits, tmp_path)
    table = read_records(tmp_path / "results" / "adversarial.jsonl").passes[0]
    tried = table.correct[:, 0]
    for cell in table.cells[1:]:
        assert [sign in row.get(cell, {}) for row in table.flags] == tried.tolist()
        assert (table.backward[tried, table.cell(cell)] > 0).all()


@pytest.mark.parametrize("judge", ["plain", "robust"])
@pytest.mark.parametrize("options", [
    {"attacks": ["fgsm", "pgd_linf", "mim_linf", BY_FOOLBOX], "eps": [0.02, 0.1, 0.15]},
    {"attacks": ["pgd_l2"], "eps": [0.3, 1.0]},
    {"attacks": ["fgsm", "pgd_linf", {"autoattack_linf": {"stage_options": {**SHORT, "square": {"steps": 100}}}}], "eps": [0.1]},
])  # fmt: skip
def test_no_false_alarm(tmp_path, digits, judge, options):
    report = attacked(Net(judge), digits, tmp_path, options)
    assert not any("not trustworthy" in warning for warning in report.data["warnings"])
    assert "not_trustworthy" not in json.dumps(report.data)
    records = read_records(tmp_path / "results" / "adversarial.jsonl")
    assert "signs" not in records.header
    assert not any(records.passes[0].flags)


def test_saturated_networks_are_no_false_alarm():
    """Their loss is zero in float32, but their gradient leads uphill."""
    images, labels = (value[1400:1408] for value in make_judges.digits())
    for scale in (1e-3, 1.0, 8.0):
        judge = make_judges.load("plain")
        with torch.no_grad():
            judge[-1].weight.mul_(scale)
            judge[-1].bias.mul_(scale)
        assert check_model(judge, images, labels) == {}
        assert check_model(judge.double(), images.double(), labels) == {}
    assert check_model(make_judges.load("robust").bfloat16(), images, labels) == {}


def test_a_number_with_a_sign_represents_nothing(tmp_path, digits):
    folders = {name: tmp_path / name for name in ("round", "plain")}
    for name, folder in folders.items():
        model = net("round") if name == "round" else Net()
        report = attacked(model, digits, folder, {"attacks": ["fgsm", "pgd_linf"], "eps": [0.1]})
        if name == "round":
            masked = report
    assert masked.data["benchmarks"]["adversarial"]["metrics"]["clean_accuracy"]["value"] == 100
    ((_, headline),) = key_numbers(masked.data)
    assert headline.estimate["value"] is None
    assert headline.estimate["reason"].startswith("zero gradients")
    entry = masked.data["benchmarks"]["adversarial"]
    assert all(axis.estimate["value"] is None for axis in face("adversarial").spokes(entry))
    for text in (masked.text(), masked.markdown()):
        assert "(not trustworthy: zero gradients" in text
    page = (folders["round"] / "results" / "report.html").read_text()
    assert "not trustworthy: zero gradients" in page
    scores = AdvRobustEvaluator().eval(str(folders["round"] / "results" / "adversarial.jsonl"))
    assert "(not trustworthy: zero gradients" in str(scores)
    assert "(not trustworthy: zero gradients" in compare(folders["plain"], folders["round"]).markdown()
    runs = read_runs([folders["round"], folders["plain"]])
    order, first = ranking(runs, headlines(runs, all_columns(runs)))
    assert first is not None
    assert order[0] == 1
    assert first.value(0) is None


def test_cells_of_one_run_are_compared(tmp_path, digits):
    """Signs that follow from the records: steps that leave more images, and radii."""
    attacked(Net(), digits, tmp_path, {"attacks": ["fgsm", "pgd_linf"], "eps": [0.05, 0.2]})
    records = read_records(tmp_path / "results" / "adversarial.jsonl")
    (table,) = records.passes
    assert cell_signs(records) == {}
    cells = {cell: table.cell(cell) for cell in table.cells}
    more, less = cells[table.cells[2]], cells[table.cells[1]]
    assert {table.coordinates[i]["attack"] for i in (more, less)} == {"fgsm"}

    def left(column, count):
        table.label_rank[:, column] = 1
        table.label_rank[:count, column] = 0

    for column, count in ((less, 20), (more, 26), (cells[table.cells[3]], 26), (cells[table.cells[4]], 10)):
        left(column, count)
    assert cell_signs(records) == {}  # a few images are chance
    (warning,) = attack_warnings(records)
    assert warning.endswith("FGSM is not monotone, because its one step may overshoot")
    left(more, 27)
    assert {cell: set(signs) for cell, signs in cell_signs(records).items()} == {table.cells[2]: {"radius"}}
    (warning,) = attack_warnings(records)
    assert "radius: a larger radius leaves more images" in warning
    assert "FGSM is not monotone" in warning
    left(more, 26)
    left(cells[table.cells[3]], 27)
    found = {cell: set(signs) for cell, signs in cell_signs(records).items()}
    assert found == {table.cells[1]: {"more_steps"}, table.cells[3]: {"more_steps"}}


def test_the_probe_is_recorded_and_counted(tmp_path, digits):
    report = attacked(net("round"), digits, tmp_path, {"attacks": ["fgsm"], "eps": [0.15]})
    table = read_records(tmp_path / "results" / "adversarial.jsonl").passes[0]
    ((name, tried),) = {
        name: [row[name] for row in table.probes if name in row] for row in table.probes for name in row
    }.items()
    left = int(table.correct[:, 1].sum())
    assert 0 < len(tried) <= min(64, left)
    assert sum(row["broken"] for row in tried) > 0
    entry = report.data["benchmarks"]["adversarial"]
    assert entry["passes"][name] == {"forward": sum(row["forward"] for row in tried), "backward": 0}
    assert entry["cost"]["forward"] == COUNT + sum(passes["forward"] for passes in entry["passes"].values())
    assert any("one step leaves such images of any network" in warning for warning in report.data["warnings"])
    steps = attacked(net("round"), digits, tmp_path / "steps", {"attacks": [{"pgd_linf": {"steps": 2}}], "eps": [0.15]})
    assert any("gradient_free" in warning for warning in steps.data["warnings"])
    free = attacked(
        net("round"), digits, tmp_path / "free", {"attacks": ["fgsm", {"square": {"steps": 20}}], "eps": [0.15]}
    )
    assert list(free.data["benchmarks"]["adversarial"]["passes"]) == [*robust_cells(free)]


def test_a_probe_survives_a_kill(tmp_path, digits, monkeypatch):
    """Killed right after it was committed, it is not run again, and the file is that of the whole run."""
    options = {"attacks": ["fgsm"], "eps": [0.15]}
    attacked(net("round"), digits, tmp_path / "whole", options)
    note, probed = Journal.note, []

    def dies(self, entry):
        note(self, entry)
        if entry["progress"].startswith("square"):
            probed.append(entry["first"])
            if len(probed) == 1:
                raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "note", dies)
    with pytest.raises(KeyboardInterrupt):
        attacked(net("round"), digits, tmp_path / "killed", options)
    attacked(net("round"), digits, tmp_path / "killed", options)
    assert len(probed) == len(set(probed)) == 3
    files = [tmp_path / name / "results" / "adversarial.jsonl" for name in ("whole", "killed")]
    assert files[0].read_bytes() == files[1].read_bytes()


def robust_cells(report):
    return [f"{attack}/{radius}" for attack, row in robust(report).items() for radius in row]


def test_costs_are_bounds():
    images, labels = (value[1400:1410] for value in make_judges.digits())
    judge = make_judges.load("robust")
    for name in ("fgsm", "pgd_linf", "pgd_l1", "apgd_t", "fab", "square", "ddn_l2", "autoattack_linf"):
        short = {"steps": 5} if name != "fgsm" and not name.startswith("auto") else {}
        if name.startswith("auto"):
            short = {"stage_options": {stage: {"steps": 5} for stage in ("apgd_ce", "apgd_t", "fab_t", "square")}}
        attack = functools.partial(ATTACKS[name], eps=1e-3, **short)
        log = AttackLog()
        attack(judge, images, labels, log=log, **({"checks": False} if name.startswith("auto") else {}))
        spent = sum(log.forward.values()).max()
        assert 0 < spent <= forward_passes(attack) + 2 * len(stages_of(attack)), name


def test_a_replaced_gradient_is_an_answer(tmp_path, digits, monkeypatch):
    """The model has zero gradients, but the attack follows those of the network without the rounding."""
    (tmp_path / "without_rounding.py").write_text("def judge(model):\n    return lambda x: JUDGE(x[:, :1])\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import without_rounding

    without_rounding.JUDGE = make_judges.load("plain")
    options = {"attacks": [{"pgd_linf": {"backward": "without_rounding:judge"}}, "fgsm"], "eps": [0.1]}
    report = attacked(net("round"), digits, tmp_path / "run", options)
    (followed,), (masked,) = (robust(report)[name].values() for name in ("pgd_linf", "fgsm"))
    assert followed["value"] < masked["value"]
    assert "not_trustworthy" not in followed
    assert "zero gradients" in masked["not_trustworthy"]
