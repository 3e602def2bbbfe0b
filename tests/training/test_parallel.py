"""Two processes make the step that one makes with the doubled batch."""

import subprocess
import sys

import pytest
import torch

from RobustART.core.distributed import World
from RobustART.errors import ConfigError
from RobustART.training.parallel import Parallel
from tests.conftest import ROOT, solver_environ

SCRIPT = """
import sys

import torch
from torch import nn

from RobustART.core.distributed import World
from RobustART.errors import TrainingError
from RobustART.models import Classifier, Preprocessing
from RobustART.training.loading import Batch
from RobustART.config.training import TrainingConfig
from RobustART.training.loop import Training
from RobustART.training.objectives.objective import Plain
from RobustART.training.optim import create_optimizer
from RobustART.training.parallel import Parallel


class Net(nn.Sequential):
    def forward(self, images):
        return super().forward(images.double())


class WithSpare(Net):
    # One layer is never used.

    def __init__(self, *layers):
        super().__init__(*layers)
        self.spare = nn.Linear(2, 2).double()

    def forward(self, images):
        for name, layer in self.named_children():
            images = layer(images.double()) if name != "spare" else images
        return images


def build(kind=Net):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4).eval(), nn.Tanh(), nn.Flatten(), nn.Linear(144, 5)
    net = kind(*layers).double()
    net[1].train = lambda mode=True: net[1]  # the statistics of a batch would be those of half of it
    return Classifier(net, Preprocessing(8, 8, mean=(0.5,), std=(0.5,)))


def step(world, sync, accumulate, kind=Net):
    model, parallel = build(kind), Parallel(world)
    settings, optimizer = TrainingConfig(accumulate=accumulate, clip_grad=1e9), create_optimizer(model, "SGD", lr=0.1)
    training = Training(model, Plain(5, 0.1), optimizer, lambda step: 0.1, 0.1, parallel, 1, settings, sync=sync)
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (8, 3, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.randint(5, (8,), generator=generator)
    mine = slice(world.rank * 8 // world.size, (world.rank + 1) * 8 // world.size)
    training.train_step(Batch(images[mine], labels[mine], labels[mine], 1))
    grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {"grads": grads, "numbers": training.read_numbers()}


with World("cpu") as world:
    results = {f"{sync} {n}": step(world, sync, n) for sync in (True, False) for n in (1, 3)}
    spare = step(world, True, 1, WithSpare)["grads"]
    try:
        refused = "" if step(world, False, 1, WithSpare) else ""
    except TrainingError as error:
        refused = str(error)
    torch.save({"spare": [name for name, grad in spare.items() if grad is None], "refused": refused}, f"{sys.argv[1]}/spare{world.size}.pt")
    torch.save(results, f"{sys.argv[1]}/{world.size}-{world.rank}.pt")
"""


def test_gradients_of_two_processes(tmp_path):
    script = tmp_path / "step.py"
    script.write_text(SCRIPT)
    environ = solver_environ(PYTHONPATH=str(ROOT))
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    for launcher in ([], torchrun):
        command = [sys.executable, *launcher, str(script), str(tmp_path)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr
    one, first, second = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("1-0", "2-0", "2-1"))
    whole = one["True 1"]
    assert len(one) == 4
    for results in (one, first, second):
        for result in results.values():
            for name, grad in whole["grads"].items():
                assert torch.allclose(result["grads"][name], grad, rtol=1e-6, atol=1e-9), name
                assert grad.abs().max() > 1e-3
            assert result["numbers"] == pytest.approx(whole["numbers"], rel=1e-6)

    # What no gradient reaches keeps none, alone and together, so that it does not decay; DDP would wait for it.
    alone, together = (torch.load(tmp_path / f"spare{size}.pt", weights_only=True) for size in (1, 2))
    assert alone["spare"] == together["spare"] == ["network.spare.weight", "network.spare.bias"]
    assert alone["refused"] == ""
    assert "no gradient reaches spare.weight, spare.bias: several processes need dist.sync" in together["refused"]


def test_synchronised_batchnorm_is_refused_on_cpus():
    parallel = Parallel(World("cpu", {}))
    net = torch.nn.Sequential(torch.nn.BatchNorm2d(3))
    assert parallel.sync_batchnorm(net) is net
    parallel.world.size = 2
    try:
        with pytest.raises(ConfigError, match="SyncBatchNorm needs GPUs; on CPUs set training.sync_bn: false"):
            parallel.sync_batchnorm(net)
    finally:
        parallel.world.size = 1


def test_synchronised_batchnorm_keeps_activations():
    """timm's BatchNorm layers hold an activation that torch's conversion would drop."""
    from timm.layers import BatchNormAct2d

    parallel = Parallel(World("cpu", {}))
    parallel.world.size, parallel.world.device = 2, torch.device("cuda")
    try:
        net = parallel.sync_batchnorm(torch.nn.Sequential(BatchNormAct2d(3), torch.nn.BatchNorm2d(3)))
    finally:
        parallel.world.size = 1
    assert all(isinstance(layer, torch.nn.SyncBatchNorm) for layer in net)
    assert isinstance(net[0].act, torch.nn.ReLU)
