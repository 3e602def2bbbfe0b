"""The sandwich rule: its loss by hand, one training whatever the interruptions and processes, and what cannot be."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from RobustART.models import create_model
from RobustART.nas.sandwich import Sandwich
from RobustART.training.augment.mixing import Mixing
from RobustART.training.checkpoint import read_checkpoint
from RobustART.training.cls_solver import main
from RobustART.training.loading import Batch
from RobustART.training.objectives.objective import ObjectiveContext
from tests.conftest import solver_environ
from tests.nas.test_spaces import SMALL


def flags(*overrides):
    return ["--quiet", *(word for value in overrides for word in ("--set", value))]


def rows(folder):
    found = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "images_per_second"} for row in found]


def objective(tmp_path, **options):
    return Sandwich(ObjectiveContext(10, 0.1, Mixing(), 7, torch.device("cpu"), tmp_path), **options)


@pytest.mark.parametrize("distill", [True, False])
def test_the_loss_by_hand(tmp_path, distill):
    """Each sub-network as a network of its own; the largest gets no gradient from what the others learn of it."""
    model = create_model("nas:resnet", **SMALL).train()
    sandwich = objective(tmp_path, random=2, distill=distill)
    images, labels = torch.rand(8, 3, 24, 24), torch.arange(8)
    loss, numbers = sandwich(model, Batch(images, labels, labels, 5), np.random.default_rng(0))
    encodings = sandwich.encodings(model.network.space, 5)
    assert encodings[:2] == [model.network.space.largest(), model.network.space.smallest()]
    assert len(encodings) == 4
    logits = []
    for encoding in encodings:
        size = encoding["input_size"]
        seen = F.interpolate(model.normalize(images), (size, size), mode="bilinear", antialias=True)
        logits.append(model.network.subnet(encoding).train()(seen))
    targets = torch.full((8, 10), 0.1 / 10).scatter_(1, labels[:, None], 0.9 + 0.1 / 10)
    wanted = -(targets * logits[0].log_softmax(1)).sum(1).mean()
    assert numbers["largest"].item() == pytest.approx(wanted.item(), rel=1e-5)
    for own in logits[1:]:
        teacher = logits[0].softmax(1) if distill else None
        apart = (
            (teacher * (teacher.log() - own.log_softmax(1))).sum(1)
            if distill
            else -(targets * own.log_softmax(1)).sum(1)
        )
        wanted = wanted + apart.mean()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_distillation_does_not_move_the_teacher(tmp_path):
    model = create_model("nas:resnet", **SMALL).train()
    logits = {}

    def keep(module, _, out):
        out.retain_grad()
        logits["all"] = out

    model.register_forward_hook(keep)
    labels = torch.arange(8)
    batch = Batch(torch.rand(8, 3, 24, 24), labels, labels, 1)
    loss, numbers = objective(tmp_path, random=0, distill=True)(model, batch, np.random.default_rng(0))
    loss.backward()
    p = logits["all"][0].softmax(1)
    targets = torch.full((8, 10), 0.01).scatter_(1, labels[:, None], 0.91)
    torch.testing.assert_close(logits["all"].grad[0], (p - targets).detach() / 8, rtol=1e-4, atol=1e-7)
    assert set(numbers) == {"largest", "smallest", "accuracy", "accuracy_smallest"}


def test_draws_depend_on_seed_and_step_alone(tmp_path):
    space = create_model("nas:resnet", **SMALL).network.space
    first, again = (objective(tmp_path, random=2, distill=True) for _ in range(2))
    assert first.encodings(space, 3) == again.encodings(space, 3)
    assert len({json.dumps(first.encodings(space, step)) for step in range(20)}) > 15


SHORT = (
    "lr_scheduler=null",
    "lr_scheduler={type: Cosine, kwargs: {base_lr: 0.02, warmup_lr: 0.1, warmup_steps: 2, max_iter: 6}}",
)


def test_goes_on_as_if_unbroken(config, tmp_path):
    """A run that ended after four steps of six goes on to the same weights as one that never stopped."""
    every = [
        *SHORT,
        "data.test=null",
        "data.batch_size=48",
        "ema={enable: true}",
        "training.accumulate=2",
        "training.save_freq=4",
    ]
    assert main(["--config", str(config), *flags("output_dir=whole", *every)]) == 0
    whole = read_checkpoint(tmp_path / "whole" / "checkpoints" / "ckpt.pth.tar")
    before = tmp_path / "whole" / "checkpoints" / "ckpt_before.pth.tar"
    assert read_checkpoint(before)["last_iter"] == 4
    assert main(["--config", str(config), *flags("output_dir=other", *every), "--recover", str(before)]) == 0
    again = read_checkpoint(tmp_path / "other" / "checkpoints" / "ckpt.pth.tar")
    for key, value in whole["model"].items():
        assert torch.equal(value, again["model"][key]), key
    assert rows(tmp_path / "other") == rows(tmp_path / "whole")[4:] != []


STEPS = """
import json
import sys

import torch

from RobustART.core.distributed import World
from RobustART.models import create_model
from RobustART.training.loading import Batch
from RobustART.config.training import TrainingConfig
from RobustART.training.loop import Training
from RobustART.training.augment.mixing import Mixing
from RobustART.training.objectives.objective import ObjectiveContext
from RobustART.training.optim import create_optimizer
from RobustART.training.parallel import Parallel
from RobustART.nas.sandwich import Sandwich


def train(world, sync):
    model = create_model("nas:resnet", **json.loads(sys.argv[2]))
    sandwich = Sandwich(ObjectiveContext(10, 0.0, Mixing(), 0, world.device, None), 2, True)
    optimizer = create_optimizer(model, "SGD", lr=0.1, kwargs={"momentum": 0.9})
    training = Training(model, sandwich, optimizer, lambda step: 0.1, 0.1, Parallel(world), 3, TrainingConfig(accumulate=2), sync=sync)
    for step in (1, 2, 3):
        generator = torch.Generator().manual_seed(10 * step + world.rank)
        images = torch.randint(256, (8, 3, 24, 24), generator=generator, dtype=torch.uint8)
        labels = torch.randint(10, (8,), generator=generator)
        training.train_step(Batch(images, labels, labels, step))
    return model.network.state_dict()


with World("cpu") as world:
    torch.save([train(world, sync) for sync in (False, True)], f"{sys.argv[1]}/{world.rank}.pt")
"""


def test_two_processes_keep_the_same_weights(tmp_path):
    """DistributedDataParallel gets a gradient for every weight, in portions too, and averages them as ``sync`` does."""
    script = tmp_path / "steps.py"
    script.write_text(STEPS)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [sys.executable, *torchrun, str(script), str(tmp_path), json.dumps(SMALL)]
    done = subprocess.run(command, env=solver_environ(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    start = create_model("nas:resnet", **SMALL).network.state_dict()
    for key, value in first[0].items():
        assert torch.equal(value, second[0][key]), key
        torch.testing.assert_close(value, first[1][key], rtol=1e-4, atol=1e-5)
        assert not torch.equal(value, start[key]), key


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["model={type: resnet18}"],
            "'supernet' cannot be used with a model that is no supernet: set model: {type: nas:resnet}",
        ),
        (
            ["training.compile=true"],
            "training.compile cannot be used with a supernet: it is another network at every step",
        ),
        (["training.sync_bn=true"], "training.sync_bn cannot be used with a supernet: its smaller networks"),
        (
            ["training.objective.kwargs={random: -1}"],
            "training.objective.kwargs.random must be an integer from 0 up, got -1",
        ),
        (["training.objective.kwargs={sandwich: 1}"], "unknown option 'sandwich'"),
        (["training.adversary={type: pgd}"], "training.adversary cannot be used with training.objective"),
        (
            ["model.preprocessing.input_size=12", "data.train.kwargs.size=12"],
            "images have 12 pixels, the largest network takes 16",
        ),
        (["model.kwargs.widths=[1, 0.5]"], "widths must be numbers above 0 in ascending order"),
    ],
)
def test_what_cannot_be_is_refused(config, capsys, overrides, message):
    at_start = [] if "images have" in message else ["--check"]
    assert main(["--config", str(config), *flags(*overrides), *at_start]) == 2
    assert re.search(message, capsys.readouterr().err)
