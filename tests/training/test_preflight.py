"""What ``--check`` finds without a run, and options that would change nothing."""

import importlib

import pytest
import torch

from RobustART.config.schema import Config
from RobustART.training.checkpoint import read_checkpoint
from RobustART.training.cls_solver import main
from RobustART.training.preflight import INCOMPATIBLE, ON

VIEWS = "{type: views, kwargs: {transforms: [[], []]}}"


def flags(*values):
    return [word for value in values for word in ("--set", value)]


def check(config, *overrides):
    return main(["--config", str(config), "--check", *flags(*overrides)])


def test_a_sound_config_passes(digits, tmp_path):
    assert check(digits) == 0
    assert check(digits, "training.train_only=['8']", "optimizer.pconfig={conv_b: {weight_decay: 0}}") == 0
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.kwargs.depth=3"], "depth"),
        (["model={type: resnet18, kwargs: {blocks: 3}}"], "blocks"),
        (["training.train_only=[head]"], "training.train_only: the network has no parameter under 'head'"),
        (["data.train.transforms=[{type: resize, kwargs: {size: 16}}]"], "of the model's input size, 3 x 8 x 8, but made"),
        ([f"data.train.transforms=[{VIEWS}]"], "2 views of each image, but training.objective takes one"),
        (["training.objective.type=jsd"], "training.objective 'jsd' needs several views of each image"),
        (
            ["training.moco={dim: 8, queue: 256}", "data.test=null", f"data.train.transforms=[{VIEWS}]", "label_smooth=0.1"],
            "label_smooth cannot be used with training.moco",
        ),
        (["training.moco={dim: 8, queue: 256}", "data.test=null"], "training.moco needs two views of each image"),
        (["training.accumulate=129"], "training.accumulate must be at most the images of a process and step, 128, got 129"),
        (
            ["ema={enable: true, kwargs: {inner_T: 34}}"],
            "ema.kwargs.inner_T is 34, but the training has 33 steps: no average is ever taken",
        ),
        (
            ["saver.pretrain={path: config.yaml, ignore: {key: [model]}}"],
            "saver.pretrain.ignore.key may not hold 'model'",
        ),
        (["saver.pretrain={path: none.pth.tar}"], "there is no weights file none.pth.tar"),
        (["saver.pretrain={path: whole.pth, ignore: {model: [fc]}}"], "the parameter 'fc' to be ignored is not in"),
        (["saver.pretrain={path: whole.pth}", "model.kwargs.width=4"], "does not fit the model"),
        (["saver.pretrain={path: whole.pth}"], "is of step 33, and the training has 33"),
        (["saver.pretrain={path: whole.pth, ignore: {key: [ema]}}"], "has no 'ema'; it has model, last_iter"),
        (["model.kwargs.classes=5"], "has the label 6, but the model has 5 outputs"),
        (["model={type: resnet18, kwargs: {num_classes: 5}}"], "has the label 6, but the model has 5 outputs"),
        (["model={type: 'torchvision:googlenet'}", "model.preprocessing.input_size=64", "data.train.transforms=[{type: resize, kwargs: {size: [64, 64]}}]"], "model.kwargs: {aux_logits: false}"),
        (["data.test.kwargs.split=tset"], "split must be one of 'train', 'test', 'all', got 'tset'; did you mean 'test'"),
        (
            ["training.objective={type: distillation, kwargs: {teacher: {type: resnet18, weights: none.pth}}}"],
            "there is no weights file none.pth",
        ),
    ],
)  # fmt: skip
def test_what_check_finds_the_run_finds_too(digits, tmp_path, capsys, overrides, message):
    (network,) = tmp_path.glob("network_*.py")
    state = importlib.import_module(network.stem).build().state_dict()
    torch.save({"model": state, "last_iter": 33}, tmp_path / "whole.pth")
    assert check(digits, *overrides) == 2
    found = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in found
    assert main(["--config", str(digits), "--quiet", *flags(*overrides)]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.pth.tar"))


def test_other_weights_are_another_training(digits, tmp_path, capsys):
    """The file that a training begins with has the same name, but holds other values when it is taken up again."""
    short = ["saver.val_freq=100", "training.save_freq=4", "data.test=null"]
    begun = ["saver.pretrain={path: begin.pth.tar, ignore: {key: [optimizer, last_iter]}}", "output_dir=second"]
    assert main(["--config", str(digits), "--quiet", *flags(*short)]) == 0
    state = read_checkpoint(tmp_path / "checkpoints" / "ckpt.pth.tar")
    torch.save({"model": state["model"]}, tmp_path / "begin.pth.tar")
    capsys.readouterr()
    assert main(["--config", str(digits), "--quiet", *flags(*short, *begun[:1], "output_dir=second")]) == 2
    said = capsys.readouterr().err
    assert "saver.pretrain.ignore.key" in said
    assert "it has model" in said
    begun[0] = "saver.pretrain={path: begin.pth.tar}"
    assert main(["--config", str(digits), "--quiet", *flags(*short, *begun)]) == 0
    assert main(["--config", str(digits), "--quiet", *flags(*short, *begun)]) == 0  # nothing is left to do
    name, values = next(iter(state["model"].items()))
    torch.save({"model": {**state["model"], name: values + 1}}, tmp_path / "begin.pth.tar")
    assert main(["--config", str(digits), "--quiet", *flags(*short, *begun)]) == 2
    assert "belongs to another training: weights.start: " in capsys.readouterr().err


def test_every_pair_of_incompatible_settings_has_a_reason():
    for setting, other, why in INCOMPATIBLE:
        assert {setting, other} <= set(ON)
        assert why
    reasons = {frozenset(row[:2]): row[2] for row in INCOMPATIBLE}
    assert len(reasons) == len(INCOMPATIBLE)
    assert "no classifier" in reasons[frozenset({"mixup and cutmix", "training.moco"})]
    assert not any(on(Config()) for name, on in ON.items() if name != "a model that is no supernet")


def test_a_training_is_refused_what_its_evaluation_is_not(digits, capsys):
    both = flags("training.train_only=['8']", "training.swa.enable=true")
    assert main(["--config", str(digits), *both]) == 2
    assert "training.swa cannot be used with training.train_only: it measures" in capsys.readouterr().err
    assert main(["--config", str(digits), "--evaluate", "--quiet", *both]) == 0
