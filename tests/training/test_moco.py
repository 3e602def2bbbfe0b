"""Pre-training without labels: its steps by a plain loop, across a kill and two processes; then fine-tuning."""

import copy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from RobustART.config.training import MocoConfig
from RobustART.core.distributed import World
from RobustART.errors import ConfigError
from RobustART.models import create_model, wrap_model
from RobustART.training.augment.mixing import Mixing
from RobustART.training.checkpoint import read_checkpoint
from RobustART.training.cls_solver import main
from RobustART.training.loading import Batch
from RobustART.training.objectives.moco import Moco, find_head, replace_head
from RobustART.training.objectives.objective import ObjectiveContext
from RobustART.training.parallel import Parallel
from tests.conftest import ROOT, solver_environ
from tests.training.conftest import NETWORK
from tests.training.test_training import assert_equal, flags, lines

MOCO = [
    "data.test=null", "training.moco={dim: 16, queue: 512, momentum: 0.9}", "data.train.transforms={type: MOCOV2}",
    "training.save_freq=5", "saver.val_freq=1000",
]  # fmt: skip
SETTINGS = MocoConfig(dim=6, queue=20, momentum=0.7, temperature=0.5)
CROPS = "[{type: random_crop, kwargs: {padding: 1}}, {type: color_jitter, kwargs: {brightness: 0.4, contrast: 0.4}}]"
SMALL = {"input_size": 8, "resize": 8, "mean": (0.5,), "std": (0.5,)}


def train(config, *overrides):
    return main(["--config", str(config), "--quiet", *flags(*overrides)])


def weights(folder):
    return read_checkpoint(folder / "checkpoints" / "ckpt.pth.tar")["model"]


def small_model():
    scope: dict = {}
    exec(NETWORK, scope)
    torch.manual_seed(0)
    return wrap_model(scope["build"](), SMALL)


def test_steps_by_a_plain_loop():
    """As the paper's algorithm 1 has it, with a queue that wraps round and a batch in two portions."""
    model = small_model()
    assert replace_head(model, SETTINGS, seed=0) == "8"
    assert [tuple(value.shape) for value in model.network[8].state_dict().values()] == [
        (256, 256),
        (256,),
        (6, 256),
        (6,),
    ]
    context = ObjectiveContext(6, 0.0, Mixing(), 0, torch.device("cpu"), Path())
    ours = Moco(context, model, Parallel(World("cpu", {})), SETTINGS).train()
    query, key = copy.deepcopy(model).train(), copy.deepcopy(model).train()
    queue = []
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.1) for each in (model, query)]
    generator = torch.Generator().manual_seed(0)
    for step in range(1, 5):
        images = torch.rand(8, 2, 3, 8, 8, generator=generator)
        labels = torch.zeros(8, dtype=torch.int64)
        new = []
        for optimizer in optimizers:
            optimizer.zero_grad()
        for part in Batch(images, labels, labels, step).split(2):
            loss, numbers = ours(model.train(), part, np.random.default_rng(0))
            (loss / 2).backward()
            q = F.normalize(query(part.images[:, 0]))
            with torch.no_grad():
                k = F.normalize(key(part.images[:, 1]))
            logits = (
                torch.stack([torch.stack([q[i] @ k[i], *(q[i] @ other for other in queue)]) for i in range(4)]) / 0.5
            )
            wanted = -logits.log_softmax(1)[:, 0].mean()
            (wanted / 2).backward()
            assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
            assert numbers["contrastive_accuracy"] == (logits.argmax(1) == 0).float().mean() * 100
            new += list(k)
        for optimizer in optimizers:
            optimizer.step()
        ours.after_step(model, step)
        queue = [*queue, *new][-20:]  # the oldest go
        with torch.no_grad():
            for own, trained in zip(key.parameters(), query.parameters(), strict=True):
                own.mul_(0.7).add_(trained, alpha=0.3)
        count = int(ours.count)
        assert count == 8 * step
        kept = ours.keys[:count] if count < 20 else ours.keys.roll(-count, 0)
        assert torch.allclose(kept, torch.stack(queue), atol=1e-5)
        for own, other in zip(ours.encoder.parameters(), key.parameters(), strict=True):
            assert torch.allclose(own, other, atol=1e-5)
    assert not any(parameter.requires_grad for parameter in ours.encoder.parameters())


def test_killed_and_taken_up_again(digits, tmp_path):
    """A run that was stopped at step 20 of 33 has the end of one that was not, to the bit."""
    assert train(digits, *MOCO, "saver.save_many=true", "output_dir=whole") == 0
    shutil.copytree(tmp_path / "whole", tmp_path / "stopped")
    for path in (tmp_path / "stopped" / "checkpoints").iterdir():
        if int(path.name[5:-8]) > 20:
            path.unlink()
    assert train(digits, *MOCO, "saver.save_many=true", "output_dir=stopped") == 0
    ends = [tmp_path / name / "checkpoints" / "ckpt_33.pth.tar" for name in ("whole", "stopped")]
    whole, stopped = (read_checkpoint(path) for path in ends)
    assert_equal(whole, stopped)
    assert lines(tmp_path / "whole") == lines(tmp_path / "stopped")
    (state,) = whole["objective"]
    assert int(state["count"]) == 33 * 128
    assert {"keys", "encoder.network.0.weight", "encoder.network.8.2.bias"} <= set(state)
    assert set(lines(tmp_path / "whole")[0]) == {"step", "epoch", "loss", "contrastive_accuracy", "lr"}


SCRIPT = """
import sys
from pathlib import Path

import torch
import torch.nn.functional as F

from RobustART.core.distributed import World
from RobustART.models import wrap_model
from RobustART.training.loading import Batch
from RobustART.config.training import MocoConfig, TrainingConfig
from RobustART.training.loop import Training
from RobustART.training.augment.mixing import Mixing
from RobustART.training.objectives.moco import Moco, replace_head
from RobustART.training.objectives.objective import ObjectiveContext
from RobustART.training.optim import create_optimizer
from RobustART.training.parallel import Parallel

{network}

SETTINGS = MocoConfig(dim=6, queue=20, momentum=0.7, temperature=0.5)

with World("cpu") as world:
    torch.manual_seed(0)
    model = wrap_model(build(), dict(input_size=8, resize=8, mean=(0.5,), std=(0.5,)))
    replace_head(model, SETTINGS, seed=0)
    parallel = Parallel(world)
    context = ObjectiveContext(6, 0.0, Mixing(), 0, world.device, Path())
    objective = Moco(context, model, parallel, SETTINGS)
    optimizer = create_optimizer(model, "SGD", lr=0.1)
    training = Training(model, objective, optimizer, lambda step: 0.1, 0.1, parallel, 3, TrainingConfig())
    shares, seen = [], []
    objective.encoder.register_forward_pre_hook(lambda module, inputs: shares.append(inputs[0].clone()))
    for step in range(1, 4):
        images = torch.randint(256, (8, 2, 3, 8, 8), generator=torch.Generator().manual_seed(step), dtype=torch.uint8)
        mine = images[4 * world.rank :][:4]
        training.train_step(Batch(mine, torch.zeros(4, dtype=torch.int64), torch.arange(4), step))
        seen.append(mine[:, 1].float() / 255)
    found = {{"state": objective.state_dict(), "shares": shares, "seen": seen, "model": model.state_dict()}}
    torch.save({{**found, "saved": training.state_dict(), "numbers": training.read_numbers()}}, f"{{sys.argv[1]}}/{{world.rank}}.pt")
"""


def test_two_processes_share_one_queue(tmp_path):
    """Keys of both processes, in the images' order; each process encodes images of both."""
    script = tmp_path / "steps.py"
    script.write_text(SCRIPT.format(network=NETWORK))
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
        str(script),
        str(tmp_path),
    ]
    environ = solver_environ(PYTHONPATH=str(ROOT))
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert_equal(dict(first["state"]), dict(second["state"]))  # queue, count and key encoder
    assert_equal(dict(first["model"]), dict(second["model"]))
    assert first["numbers"] == second["numbers"]
    assert int(first["state"]["count"]) == 24
    assert len(first["saved"]["objective"]) == 1
    assert second["saved"] is None
    orders = []
    for step in range(3):
        together = torch.cat([first["seen"][step], second["seen"][step]])
        order = [next(i for i in range(8) if torch.equal(together[i], image))
                 for image in [*first["shares"][step], *second["shares"][step]]]  # fmt: skip
        assert sorted(order) == list(range(8))
        assert min(order[:4]) < 4 <= max(order[:4])  # BatchNorm sees images of both processes
        orders.append(order)
    assert orders[0] != orders[1]
    model = small_model()
    replace_head(model, SETTINGS, seed=0)  # the key encoder of the first step
    shares = [first["shares"][0], second["shares"][0]]
    keys = torch.cat([F.normalize(model.train()(share)) for share in shares])
    inverse = torch.tensor(orders[0]).argsort()
    assert torch.allclose(
        first["state"]["keys"][4:8], keys[inverse][4:], atol=1e-5
    )  # 0 to 3 were written over in step 3


def test_linear_and_full_fine_tuning(digits, tmp_path, capsys):
    """Linear: the backbone and its statistics stay as they are to the bit, and its features are better than random ones."""
    (module,) = tmp_path.glob("network_*.py")
    pooled = "nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width"
    module.write_text(module.read_text().replace("nn.Flatten(), nn.Linear(32 * width", pooled))
    views = f"[{{type: views, kwargs: {{transforms: [{CROPS}, {CROPS}]}}}}]"
    short = ["data.batch_size=64", "model.kwargs.width=16", "training.moco={dim: 32, momentum: 0.98, queue: 256}"]
    short += ["lr_scheduler.kwargs={max_epoch: 6, base_lr: 0.06, warmup_lr: 0.06, warmup_epoch: 0}"]
    short += [f"data.train.transforms={views}"]
    assert train(digits, *MOCO, *short, "output_dir=moco") == 0
    before = weights(tmp_path / "moco")
    start = "saver.pretrain={path: moco/checkpoints/ckpt.pth.tar, ignore: {key: [optimizer, last_iter], model: ['9']}}"
    linear = ["training.train_only=['9']", "evaluation={device: cpu, workers: 0, benchmarks: {clean: {}}}"]
    linear += [
        "lr_scheduler.kwargs={max_epoch: 5, base_lr: 0.5, warmup_lr: 0.5, warmup_epoch: 0}",
        "model.kwargs.width=16",
    ]
    assert train(digits, start, *linear, "output_dir=linear") == 0
    assert train(digits, *linear, "output_dir=random") == 0
    after = weights(tmp_path / "linear")
    backbone = [name for name in before if not name.startswith("9.")]
    assert "1.running_mean" in backbone
    assert_equal({name: after[name] for name in backbone}, {name: before[name] for name in backbone})
    assert not torch.equal(after["9.weight"], weights(tmp_path / "random")["9.weight"])
    assert lines(tmp_path / "linear")[0]["step"] == 1
    reports = [tmp_path / name / "results" / "clean.jsonl" for name in ("linear", "random")]
    accuracy = [lines(tmp_path / name)[-1]["validation"]["top1"] for name in ("linear", "random")]
    assert accuracy[0] > max(60, accuracy[1] + 20), accuracy
    rows = lines(tmp_path / "moco")
    assert rows[-1]["loss"] < rows[30]["loss"] - 1
    content = reports[0].read_bytes()
    assert "seeded random" not in (reports[0].parent / "report.md").read_text()
    assert main(["--config", str(digits), "--evaluate", "--quiet", *flags(start, *linear, "output_dir=linear")]) == 0
    assert reports[0].read_bytes() == content  # of the fine-tuned weights, not of those it began with
    assert train(digits, start, "output_dir=full", "lr_scheduler.kwargs.max_epoch=2", "model.kwargs.width=16") == 0
    assert not torch.equal(weights(tmp_path / "full")["0.weight"], before["0.weight"])
    capsys.readouterr()
    for overrides, message in (
        (["saver.pretrain={path: moco/checkpoints/ckpt.pth.tar}"], "2 missing weights: 9.weight, 9.bias"),
        ([start.replace("[optimizer, last_iter]", "[optimizer]"), "lr_scheduler.kwargs.max_epoch=13"],
         "leave it out with saver.pretrain.ignore: {key: [objective]}"),
        ([start.replace("[optimizer, last_iter]", "[optimizer, objective]")], "is of step 132, and the training has 33"),
        (["training.train_only=[fc]"], "the network has no parameter under 'fc'; its parts are 0, 1, 3, 4, 9"),
        (["training.train_only=[]"], "training.train_only must name what is trained"),
        (["training={train_only: ['9'], swa: {enable: true}}"], "training.swa cannot be used with training.train_only: it measures anew the statistics"),
    ):  # fmt: skip
        assert train(digits, *overrides, "model.kwargs.width=16", "output_dir=other") == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "data.test={type: sklearn_digits}",
            "data.test cannot be used with training.moco: training.moco learns without",
        ),
        ("evaluation={benchmarks: {clean: {}}}", "evaluation cannot be used with training.moco"),
        ("label_smooth=0.1", "label_smooth cannot be used with training.moco"),
        ("mixup=0.2", "mixup and cutmix cannot be used with training.moco"),
        ("training.adversary={type: pgd}", "training.adversary cannot be used with training.moco"),
        ("training.objective={type: jsd}", "training.objective cannot be used with training.moco"),
        ("training.swa.enable=true", "training.swa cannot be used with training.moco"),
        ("training.sync_bn=true", "training.sync_bn cannot be used with training.moco"),
        ("training.moco.queue=100", "training.moco.queue must be at least the images of a step, got 100"),
        ("training.moco.momentum=1", "training.moco.momentum must be a number from 0 to below 1, got 1"),
        ("training.moco.temperature=0", "training.moco.temperature must be a number above 0, got 0"),
        ("training.moco.dim=0", "training.moco.dim must be an integer from 1 up, got 0"),
        ("data.train.transforms={type: LINEAR}", "training.moco needs two views of each image"),
    ],
)
def test_what_cannot_be(digits, capsys, override, message):
    assert train(digits, *MOCO, override) == 2
    assert message in capsys.readouterr().err


def test_a_pretrained_network_is_not_evaluated(digits, tmp_path, capsys):
    assert train(digits, *MOCO, "lr_scheduler.kwargs.max_epoch=2") == 0
    evaluate = ["--config", str(digits), "--evaluate", "--quiet"]
    assert main([*evaluate, *flags(*MOCO)]) == 2
    assert "evaluation cannot be used with training.moco" in capsys.readouterr().err
    assert main(evaluate) == 2  # the same folder, without the key
    assert "the checkpoint does not fit the config's model" in capsys.readouterr().err
    weights = flags("model.weights=checkpoints/ckpt.pth.tar", "output_dir=other", "model.strict=false")
    assert main([*evaluate, *weights, *flags("model.kwargs.classes=10")]) == 0
    assert "2 missing weights: 8.weight, 8.bias" in (tmp_path / "other/results/report.md").read_text()


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("resnet18", "fc"), ("mobilenetv3_small_050", "classifier"), ("vit_tiny_patch16_224", "head"),
        ("torchvision:shufflenet_v2_x0_5", "fc"), ("repvgg_a0", "head.fc"),
    ],
)  # fmt: skip
def test_the_head_is_found(name, head):
    model = create_model(name, num_classes=7)
    assert find_head(model)[0] == head
    replace_head(model, MocoConfig(dim=5, mlp=False), seed=0)
    assert f"{head}.0.weight" in model.network.state_dict()
    assert model(torch.rand(1, 3, 224, 224)).shape == (1, 5)


def test_a_network_without_a_linear_head():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ConfigError, match="the outputs of this network are not those of a linear layer"):
        find_head(wrap_model(network, SMALL))
