"""Adversarial training: every kind makes a network that stands where a plainly trained one falls, at its own cost alone."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from RobustART.models import Classifier, Preprocessing
from RobustART.noise.attacks import pgd_linf
from RobustART.training.augment.mixing import Mixing
from RobustART.training.checkpoint import read_checkpoint
from RobustART.training.cls_solver import main
from RobustART.training.loading import Batch
from RobustART.training.objectives.adversary import ADVERSARIES, divergence
from RobustART.training.objectives.objective import ObjectiveContext
from tests.conftest import run_solver
from tests.training.test_training import assert_equal, flags, lines

EPS = 0.1
KINDS = {
    "half": "{type: pgd, eps: 0.1, steps: 4, rel_stepsize: 0.4}",
    "only": "{type: pgd, mode: only, eps: 0.1, steps: 4, rel_stepsize: 0.4}",
    "L2": "{type: pgd, eps: 0.8, steps: 4, rel_stepsize: 0.4, norm: L2}",
    "trades": "{type: trades, eps: 0.1, steps: 4, rel_stepsize: 0.4}",
    "fast": "{type: fast, eps: 0.1}",
    "free": "{type: free, eps: 0.1, replays: 3}",
}
LONG = ["lr_scheduler.kwargs.max_epoch=6", "saver={print_freq: 100, val_freq: 100}", "data.test=null"]


class Counting(torch.nn.Module):
    """A network that counts the images it is asked about, by its mode."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, stride=2), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.Linear(36, 5)
        )
        self.asked = {True: [], False: []}

    def forward(self, images):
        self.asked[self.training].append(images.detach().clone())
        return self.layers(images)


def setting(**more):
    values = {"classes": 5, "label_smooth": 0.0, "mixing": Mixing(), "seed": 0, "device": torch.device("cpu")}
    return ObjectiveContext(**{**values, "folder": Path(), **more})


@pytest.fixture
def model():
    return Classifier(Counting(), Preprocessing(8, 8, mean=(0.0,), std=(1.0,))).train()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (6, 3, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.randint(5, (6,), generator=generator)
    return Batch(images, labels, torch.arange(6), 1).to(torch.device("cpu"))


def robust_accuracy(folder):
    """Accuracy of a checkpoint on digits it was not trained on, under PGD of 20 steps."""
    import importlib

    from RobustART.data import sklearn_digits

    (module,) = {path.stem for path in folder.parent.glob("network_*.py")}
    model = Classifier(importlib.import_module(module).build(), Preprocessing(8, 8, mean=(0.5,), std=(0.5,)))
    model.network.load_state_dict(read_checkpoint(folder / "checkpoints" / "ckpt.pth.tar")["model"])
    data = sklearn_digits(split="test")
    images = torch.tensor(np.stack(data.images)).permute(0, 3, 1, 2).float().div(255)
    labels = torch.tensor(data.labels)
    attacked = pgd_linf(model.eval(), images, labels, eps=EPS)
    return float((model(attacked).argmax(1) == labels).float().mean() * 100)


def test_each_raises_robust_accuracy(digits, tmp_path):
    assert main(["--config", str(digits), "--quiet", *flags(*LONG, "output_dir=plain")]) == 0
    plain = robust_accuracy(tmp_path / "plain")
    found = {}
    for name, adversary in KINDS.items():
        extra = [*LONG, f"output_dir={name}", f"training.adversary={adversary}"]
        extra += ["lr_scheduler.kwargs.max_epoch=18"] if name == "free" else []
        assert main(["--config", str(digits), "--quiet", *flags(*extra)]) == 0
        found[name] = robust_accuracy(tmp_path / name)
    print(plain, found)
    assert all(value > plain + 20 for value in found.values()), (plain, found)


@pytest.mark.parametrize(
    ("adversary", "options", "attack", "learned"),
    [
        ("pgd", {"steps": 3}, 3, 2),
        ("pgd", {"steps": 3, "mode": "only"}, 3, 1),
        ("pgd", {"steps": 3, "norm": "L2", "random_start": False}, 3, 2),
        ("trades", {"steps": 3}, 4, 2),
        ("fast", {}, 1, 1),
        ("free", {}, 0, 1),
    ],
)
def test_an_attack_adds_no_pass_but_its_own(model, batch, adversary, options, attack, learned):
    """Passes of the attack are in evaluation mode; what is learned from is one pass in training mode."""
    objective = ADVERSARIES[adversary](setting(), **options)
    loss, numbers = objective(model, batch, np.random.default_rng(0))
    loss.backward()
    objective.after_backward(model)
    asked = model.network.asked
    assert [len(images) for images in asked[False]] == [len(batch)] * attack
    assert [len(images) for images in asked[True]] == [len(batch) * learned]
    assert model.training
    assert model.network.layers[1].training
    assert "robust_accuracy" in numbers
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_images_are_those_of_the_attack(model, batch):
    """To the bit what the evaluation's function makes with the seeds of the batch."""
    ADVERSARIES["pgd"](setting(), eps=0.05, steps=3)(model, batch, np.random.default_rng(0))
    (seen,) = model.network.asked[True]
    wanted = pgd_linf(model, batch.images, batch.labels, eps=0.05, steps=3, rel_stepsize=1 / 15, seeds=batch.seeds)
    assert torch.equal(seen[:6], batch.images)
    assert torch.equal(seen[6:], wanted)
    assert (seen[6:] - batch.images).abs().max() > 0.04


def test_blends_are_attacked_and_their_targets_go_with_them(model, batch):
    """With a blend that is a permutation, the attack is the one on the permuted images with their own labels."""
    objective = ADVERSARIES["pgd"](setting(mixing=Mixing(mixup=0.3)), mode="only", eps=0.05, steps=3)
    loss, numbers = objective(model, batch, np.random.default_rng(0))
    assert numbers == {}
    partners = torch.tensor([1, 2, 3, 4, 5, 0])
    objective.mixing = lambda images, targets, rng: (images[partners], targets[partners])
    model.network.asked[True].clear()
    loss, _ = objective(model, batch, np.random.default_rng(0))
    (seen,) = model.network.asked[True]
    wanted = pgd_linf(
        model, batch.images[partners], batch.labels[partners], eps=0.05, steps=3, rel_stepsize=1 / 15, seeds=batch.seeds
    )
    assert torch.allclose(seen, wanted, atol=1e-6)
    assert loss.item() == pytest.approx(F.cross_entropy(model(wanted), batch.labels[partners]).item(), rel=1e-4)


def test_trades_by_its_formula(model, batch):
    """Loss as the paper's code computes it, on the images that were attacked; they are farther apart than random ones."""
    objective = ADVERSARIES["trades"](setting(), beta=2.0, eps=0.1, steps=5)
    loss, _ = objective(model, batch, np.random.default_rng(0))
    (seen,) = model.network.asked[True]
    clean, robust = model(seen).chunk(2)
    kl = F.kl_div(F.log_softmax(robust, 1), F.softmax(clean, 1), reduction="batchmean")
    assert loss.item() == pytest.approx((F.cross_entropy(clean, batch.labels) + 2 * kl).item(), rel=1e-4)
    model.eval()
    noise = batch.images + 0.1 * torch.sign(torch.randn(batch.images.shape, generator=torch.Generator().manual_seed(0)))
    apart = [divergence(model(images.clamp(0, 1)), model(batch.images)).mean() for images in (seen[6:], noise)]
    assert apart[0] > 2 * apart[1]


def test_free_keeps_its_perturbation(model, batch):
    objective = ADVERSARIES["free"](setting(), eps=0.05, replays=3)
    assert objective.repeats == 3
    for _ in range(2):
        loss, _ = objective(model, batch, np.random.default_rng(0))
        (gradient,) = torch.autograd.grad(loss, objective._moved, retain_graph=True)
        loss.backward()
        before = objective.perturbation
        objective.after_backward(model)
        assert torch.equal(objective.perturbation, (before + 0.05 * gradient.sign()).clamp(-0.05, 0.05))
    other = ADVERSARIES["free"](setting(), eps=0.05, replays=3)
    other.load_state_dict(objective.state_dict())
    assert torch.equal(other.perturbation, objective.perturbation)
    assert objective.perturbation.abs().max() > 0


@pytest.mark.parametrize("name", ["half", "free"])
def test_taken_up_again(digits, tmp_path, name):
    """From a checkpoint inside an epoch, and for free inside the replays of a batch."""
    extra = ["data.test=null", "lr_scheduler.kwargs.max_epoch=2", "training.save_freq=5", "saver.save_many=true"]
    extra += [f"training.adversary={KINDS[name]}"]
    extra += ["mixup=0.2"] if name == "half" else []
    whole = flags(*extra, "output_dir=whole")
    assert main(["--config", str(digits), "--quiet", *whole]) == 0
    folder = tmp_path / "whole" / "checkpoints"
    last, rows = read_checkpoint(folder / "ckpt_22.pth.tar"), lines(tmp_path / "whole")
    for step in (10, 15, 20, 22):
        (folder / f"ckpt_{step}.pth.tar").unlink()
    assert main(["--config", str(digits), "--quiet", *whole]) == 0
    assert_equal(read_checkpoint(folder / "ckpt_22.pth.tar"), last)
    assert lines(tmp_path / "whole") == rows


def test_two_processes(digits, tmp_path):
    """Each attacks its own images, with the seeds that they have in one process; BatchNorm apart, the losses agree."""
    (network,) = tmp_path.glob("network_*.py")
    text = network.read_text().replace("nn.BatchNorm2d(width)", "nn.Identity()")
    network.write_text(text.replace("nn.BatchNorm2d(2 * width)", "nn.ReLU()"))
    extra = ["lr_scheduler.kwargs.max_epoch=2", "data.test=null", f"training.adversary={KINDS['half']}"]
    assert main(["--config", str(digits), "--quiet", *flags(*extra, "data.batch_size=64", "output_dir=one")]) == 0
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    two = run_solver(digits, *flags(*extra, "data.batch_size=32", "output_dir=two"), launcher=torchrun)
    assert two.returncode == 0, two.stderr
    losses = [[row["loss"] for row in lines(tmp_path / name)][:10] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize(
    ("adversary", "message"),
    [
        (
            "{type: pgdd}",
            "training.adversary.type: unknown adversary 'pgdd'; did you mean 'pgd'? Known: fast, free, pgd, trades",
        ),
        ("{type: pgd, eps: 0}", "training.adversary.eps must be a number above 0 and at most 3.4e+38, got 0"),
        ("{type: pgd, eps: 1e39}", "training.adversary.eps must be a number above 0 and at most 3.4e+38, got 1e+39"),
        ("{type: pgd, steps: 1e20}", "training.adversary.steps must be an integer from 1 to 1000000"),
        ("{type: pgd, steps: 0}", "training.adversary.steps must be an integer from 1"),
        ("{type: pgd, step_size: 0.1, rel_stepsize: 0.1}", "give one of step_size and rel_stepsize"),
        ("{type: pgd, beta: 6}", "unknown option 'beta' of training.adversary 'pgd'; Allowed: mode, eps"),
        ("{type: fast, norm: L2}", "unknown option 'norm' of training.adversary 'fast'"),
        (
            "{type: free, steps: 3}",
            "unknown option 'steps' of training.adversary 'free'; did you mean 'eps'? Allowed: eps, replays",
        ),
        ("{type: free, replays: 0}", "replays must be an integer from 1 up"),
        ("{type: trades, beta: -1}", "beta must be a number above 0 and at most 3.4e+38, got -1"),
        (
            "{type: trades, eps: 8/255, epz: 1}",
            "unknown option 'epz' of training.adversary 'trades'; did you mean 'eps'",
        ),
    ],
)
def test_what_cannot_be(digits, capsys, adversary, message):
    assert main(["--config", str(digits), "--check", "--set", f"training.adversary={adversary}"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("mixup=0.2", "mixup and cutmix must be off"),
        ("training.accumulate=2", "training.accumulate cannot be used with training.adversary 'free'"),
        ("data.train.transforms={type: SIMCLR}", "make 2 views of each image"),
    ],
)
def test_what_cannot_be_with_free(digits, capsys, override, message):
    assert main(["--config", str(digits), *flags("training.adversary={type: free}", override)]) == 2
    assert message in capsys.readouterr().err


def test_weights_that_have_come_apart_are_named_by_the_loop(digits, capsys):
    hot = ["lr_scheduler.kwargs={base_lr: 1e30, max_epoch: 3}", "training.adversary={type: pgd, steps: 2}"]
    assert main(["--config", str(digits), "--quiet", *flags(*hot)]) == 2
    assert "the loss is not finite at step" in capsys.readouterr().err


def test_numbers_are_logged(digits, tmp_path):
    extra = [
        "data.test=null",
        "lr_scheduler.kwargs.max_epoch=2",
        f"training.adversary={KINDS['trades']}",
        "training.amp=bf16",
    ]
    assert main(["--config", str(digits), "--quiet", *flags(*extra)]) == 0
    row = json.loads((tmp_path / "train.jsonl").read_text().splitlines()[-1])
    assert {"accuracy", "robust_accuracy", "divergence"} <= row.keys()
