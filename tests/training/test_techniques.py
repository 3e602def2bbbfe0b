"""Distillation, AugMix's loss, kurtosis, RepVGG's deploy form, and a new head: each by config, each seen to act."""

import importlib
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import kurtosis as scipy_kurtosis

from RobustART.training.checkpoint import read_checkpoint
from RobustART.training.cls_solver import main
from RobustART.training.objectives.techniques import distance, jensen_shannon, kurtosis
from tests.training.test_training import flags, lines

SHORT = ["data.test=null", "lr_scheduler.kwargs.max_epoch=3"]
VIEWS = "[{type: views, kwargs: {transforms: [[], [{type: aug_mix}], [{type: aug_mix}]]}}]"


def last(folder):
    return lines(folder)[-1]


def train(config, *overrides):
    return main(["--config", str(config), "--quiet", *flags(*SHORT, *overrides)])


def test_distillation_from_a_trained_teacher(digits, tmp_path, capsys):
    """A student that sees no label learns the teacher's predictions."""
    (module,) = {path.stem for path in tmp_path.glob("network_*.py")}
    assert train(digits, "output_dir=teacher", "model.kwargs.width=16") == 0
    pre = "{input_size: 8, resize: 8, mean: [0.5], std: [0.5]}"
    teacher = f'{{type: "{module}:build", kwargs: {{width: 16}}, weights: teacher/checkpoints/ckpt.pth.tar, preprocessing: {pre}}}'
    student = f"training.objective={{type: distillation, kwargs: {{teacher: {teacher}, alpha: 1.0}}}}"
    assert train(digits, "output_dir=student", student, "model.kwargs.width=4", "lr_scheduler.kwargs.max_epoch=6") == 0
    rows = lines(tmp_path / "student")
    assert rows[-1]["distillation"] < rows[0]["distillation"] / 4
    assert rows[-1]["accuracy"] > 85
    assert rows[-1]["loss"] == pytest.approx(rows[-1]["distillation"])
    state = read_checkpoint(tmp_path / "student" / "checkpoints" / "ckpt.pth.tar")
    assert not state["objective"]
    for kwargs, message in (
        ("{}", "training.objective.kwargs.teacher is missing"),
        ("{teacher: {type: resnet18}}", "teacher must be {type: ..., weights: ...}"),
        (f"{{teacher: {teacher}, alpha: 2}}", "training.objective.kwargs.alpha must be a number from 0 to 1, got 2"),
        (f"{{teacher: {teacher.replace('16}', '16, classes: 12}')}}}", "does not fit the model"),
    ):
        capsys.readouterr()
        assert train(digits, "output_dir=other", f"training.objective={{type: distillation, kwargs: {kwargs}}}") == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ("{TEACHER, alpha: .nan}", "training.objective.kwargs.alpha must be a number from 0 to 1, got nan"),
        (
            "{TEACHER, alpha: x}",
            "training.objective.kwargs.alpha must be a number from 0 to 1 (such as 0.1, 1e-4 or 8/255), got 'x'",
        ),
        (
            "{TEACHER, temperature: .inf}",
            "training.objective.kwargs.temperature must be a number above 0 and at most 1000, got inf",
        ),
        ("{TEACHER, temperature: 0}", "training.objective.kwargs.temperature must be a number above 0"),
        ("{TEACHER, alfa: 1}", "unknown option 'alfa' of training.objective 'distillation'; did you mean 'alpha'"),
        ("{teacher: resnet18}", "kwargs.teacher must be a mapping of keys to values, got 'resnet18'"),
        ("{teacher: {type: resnet55, weights: w.pth}}", "kwargs.teacher: unknown model 'resnet55'"),
        ("{teacher: {type: 5, weights: w.pth}}", "kwargs.teacher: type must be a string, got 5"),
        (
            "{teacher: {type: 'MODULE:build', weights: w.pth, strict: 3}}",
            "kwargs.teacher: strict must be true or false",
        ),
        ("{teacher: {type: 'MODULE:build', weights: none.pth}}", "kwargs.teacher: there is no weights file none.pth"),
        (
            "{teacher: {type: 'MODULE:build', weights: w.pth, kwargs: {widthh: 4}}}",
            "kwargs.teacher: model 'MODULE:build' does not take",
        ),
        ("{teacher: {type: 'MODULE:build', weights: w.pth, kwargs: {width: 4}}}", "kwargs.teacher: "),
        (
            "{teacher: {type: 'MODULE:build', weights: w.pth, preprocessing: {size: 8}}}",
            "kwargs.teacher: unknown key preprocessing.size",
        ),
    ],
)
def test_check_builds_the_teacher(digits, tmp_path, capsys, kwargs, message):
    (module,) = {path.stem for path in tmp_path.glob("network_*.py")}
    torch.save(importlib.import_module(module).build().state_dict(), tmp_path / "w.pth")
    kwargs = kwargs.replace("TEACHER", "teacher: {type: 'MODULE:build', weights: w.pth}").replace("MODULE", module)
    objective = f"training.objective={{type: distillation, kwargs: {kwargs}}}"
    assert main(["--config", str(digits), "--check", "--set", objective]) == 2
    assert message.replace("MODULE", module) in capsys.readouterr().err


def test_a_teacher_of_other_classes_or_of_another_size_is_refused_before_the_first_step(digits, tmp_path, capsys):
    (module,) = {path.stem for path in tmp_path.glob("network_*.py")}
    build = importlib.import_module(module).build
    torch.save(build(classes=12).state_dict(), tmp_path / "w.pth")
    (tmp_path / "wide.py").write_text(
        "from torch import nn\n\ndef build(): return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 10))\n"
    )
    torch.save(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 10)).state_dict(), tmp_path / "wide.pth")
    other = f"{{type: '{module}:build', weights: w.pth, kwargs: {{classes: 12}}}}"
    for teacher, message, checks in (
        (other, "kwargs.teacher: the teacher has 12 outputs, the model 10", False),
        (
            "{type: 'wide:build', weights: wide.pth}",
            "kwargs.teacher: the model fails on an image of shape (1, 3, 8, 8)",
            True,
        ),
    ):
        objective = f"training.objective={{type: distillation, kwargs: {{teacher: {teacher}}}}}"
        assert train(digits, objective) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "train.jsonl").exists()
        if checks:
            assert main(["--config", str(digits), "--check", "--set", objective]) == 2
            assert message in capsys.readouterr().err


def test_distance_by_its_formula():
    student, teacher = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0)).double()
    p, q = (F.softmax(value / 3, 1) for value in (teacher, student))
    assert distance(student, teacher, 3.0).item() == pytest.approx(
        9 * (p * (p / q).log()).sum(1).mean().item(), rel=1e-5
    )
    assert distance(teacher, teacher, 3.0).item() == pytest.approx(0, abs=1e-6)


def test_jensen_shannon_by_its_formula():
    logits = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    p = F.softmax(logits, 2)
    entropy = -(p * p.log()).sum(2).mean(0)
    mixture = p.mean(0)
    wanted = (-(mixture * mixture.log()).sum(1) - entropy).mean()
    assert jensen_shannon(logits).item() == pytest.approx(wanted.item(), rel=1e-5)
    far = torch.eye(3)[:, None] * 100  # three views, three sure predictions
    assert jensen_shannon(far).item() == pytest.approx(np.log(3), rel=1e-5)


def test_augmix_with_its_loss(digits, tmp_path, capsys):
    """Predictions on the views come closer than they are without the divergence in the loss."""
    views = [f"data.train.transforms={VIEWS}", "training.objective.type=jsd"]
    views += ["data.train.kwargs.test_fraction=0.8", "data.batch_size=64", "lr_scheduler.kwargs.max_epoch=5"]
    assert train(digits, *views, "output_dir=jsd") == 0
    assert train(digits, *views, "output_dir=weak", "training.objective.kwargs={weight: 1e-6}") == 0
    ends = [np.mean([row["divergence"] for row in lines(tmp_path / name)[-5:]]) for name in ("jsd", "weak")]
    assert ends[0] < 0.7 * ends[1]
    losses = [row["loss"] for row in lines(tmp_path / "jsd")]
    assert losses[-1] < losses[0] / 2
    for overrides, message in (
        ([views[1]], "'jsd' needs several views"),
        ([*views, "mixup=0.2"], "mixup and cutmix must be off"),
        ([*views, "training.adversary={type: pgd}"], "training.adversary cannot be used with training.objective"),
        (
            [*views, "training.objective.kwargs={weight: 0}"],
            "training.objective.kwargs.weight must be a number above 0",
        ),
    ):
        capsys.readouterr()
        assert train(digits, *overrides, "output_dir=other") == 2
        assert message in capsys.readouterr().err


def test_kurtosis_of_weights_moves_to_its_target(digits, tmp_path):
    values = torch.randn(40, 7, generator=torch.Generator().manual_seed(0)) ** 3
    assert kurtosis(values).item() == pytest.approx(scipy_kurtosis(values.numpy().ravel(), fisher=False), rel=1e-4)
    assert kurtosis(torch.linspace(-1, 1, 10001)).item() == pytest.approx(1.8, rel=1e-3)
    for name, weight in (("with", 1.0), ("without", 0.0)):
        assert train(digits, f"kw_weight={weight}", f"output_dir={name}", "training.adversary={type: fast}") == 0
    found = {}
    for name in ("with", "without"):
        state = read_checkpoint(tmp_path / name / "checkpoints" / "ckpt.pth.tar")["model"]
        weights = [value for value in state.values() if value.ndim > 1]
        found[name] = np.mean([(kurtosis(value).item() - 1.8) ** 2 for value in weights])
    assert found["with"] < found["without"] / 4
    assert last(tmp_path / "with")["kurtosis"] < 0.1
    assert "kurtosis" not in json.dumps(last(tmp_path / "without"))


def test_kurtosis_cannot_be_negative(digits, capsys):
    assert train(digits, "kw_weight=-1") == 2
    assert "kw_weight must be a number from 0 up, got -1" in capsys.readouterr().err


def test_a_new_head_after_pretraining(digits, tmp_path, capsys):
    """Features are kept; the head of other classes is seeded anew, and only what is named is left out."""
    assert train(digits, "output_dir=first", "model.kwargs.classes=12", "ema={enable: true}") == 0
    before = read_checkpoint(tmp_path / "first" / "checkpoints" / "ckpt.pth.tar")["model"]
    path = "path: first/checkpoints/ckpt.pth.tar"
    ignore = "ignore: {key: [optimizer, last_iter, ema], model: [8.weight, 8.bias]}"
    cold = ["lr_scheduler.kwargs={base_lr: 1e-9, warmup_lr: 1e-9, max_epoch: 2}", "ema={enable: true}"]
    assert train(digits, "output_dir=second", f"saver.pretrain={{{path}, {ignore}}}", *cold) == 0
    after = read_checkpoint(tmp_path / "second" / "checkpoints" / "ckpt.pth.tar")["model"]
    assert torch.allclose(after["3.weight"], before["3.weight"], atol=1e-5)
    assert after["8.weight"].shape == (10, 256)
    assert lines(tmp_path / "second")[0]["step"] == 1
    warm = ["output_dir=third", f"saver.pretrain={{{path}, {ignore}}}"]
    assert train(digits, *warm, "lr_scheduler.kwargs.max_epoch=2") == 0
    assert lines(tmp_path / "third")[10]["accuracy"] > 90  # after an epoch
    capsys.readouterr()
    assert (
        train(digits, "output_dir=other", f"saver.pretrain={{{path}, ignore: {{key: [optimizer, last_iter, ema]}}}}")
        == 2
    )
    assert "shapes differ: 8.weight: (12, 256) in the file, (10, 256) in the model" in capsys.readouterr().err
