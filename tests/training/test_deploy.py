"""RepVGG's two forms: equal outputs, and weights of one are not taken for the other's."""

import json

import pytest
import torch
from timm.layers import convert_sync_batchnorm

from RobustART.errors import ModelError, WeightsError
from RobustART.models import create_model
from RobustART.models.deploy import deploy_form
from RobustART.training.checkpoint import read_checkpoint
from RobustART.training.cls_solver import main
from tests.training.test_training import flags


def shaken(model):
    """Gives all BatchNorm layers statistics and weights as a training might."""
    generator = torch.Generator().manual_seed(0)
    for layer in model.modules():
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
            for value, low, high in (
                (layer.running_mean, -0.5, 0.5),
                (layer.running_var, 0.5, 2.0),
                (layer.weight.data, 0.3, 0.6),
                (layer.bias.data, -0.3, 0.3),
            ):
                value.uniform_(low, high, generator=generator)
    return model


@torch.no_grad()
def assert_same_outputs(one, other):
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)).double()
    wanted = one.double()(images)
    assert wanted.std() > 1e-3
    assert torch.allclose(other.double()(images), wanted, rtol=0, atol=1e-5 * wanted.abs().max().item())


def test_both_forms_give_the_same_outputs(tmp_path):
    trained = shaken(create_model("repvgg_a0", num_classes=7))
    torch.save(deploy_form(trained.network).state_dict(), tmp_path / "deploy.pth")
    torch.save(trained.network.state_dict(), tmp_path / "train.pth")
    deployed = create_model("repvgg_a0", num_classes=7, deploy=True, weights=str(tmp_path / "deploy.pth"))
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in deployed.modules())
    assert sum(p.numel() for p in deployed.parameters()) < sum(p.numel() for p in trained.parameters())
    assert deploy_form(deployed.network) is None
    assert "stem.conv_kxk.conv.weight" in trained.network.state_dict()  # left as it was
    assert deployed.arguments["deploy"] == "True"
    synchronised = convert_sync_batchnorm(create_model("repvgg_a0", num_classes=7).network)
    synchronised.load_state_dict(trained.network.state_dict())
    assert set(deploy_form(synchronised).state_dict()) == set(deployed.network.state_dict())
    assert_same_outputs(trained, deployed)
    again = create_model("repvgg_a0", num_classes=7, weights=str(tmp_path / "train.pth"), deploy=False)
    assert_same_outputs(trained, again)
    with pytest.raises(WeightsError, match=r"train.pth holds the training form .* the model is in its deploy form"):
        create_model("repvgg_a0", num_classes=7, deploy=True, weights=str(tmp_path / "train.pth"), strict=False)
    with pytest.raises(WeightsError, match=r"holds the deploy form .* say model.kwargs.deploy: true"):
        create_model("repvgg_a0", num_classes=7, weights=str(tmp_path / "deploy.pth"), strict=False)
    with pytest.raises(WeightsError, match=r"shapes differ: head.fc.weight"):
        create_model("repvgg_a0", num_classes=8, deploy=True, weights=str(tmp_path / "deploy.pth"))


def test_random_weights_are_the_same_in_both_forms():
    assert_same_outputs(
        create_model("repvgg_a0", num_classes=7, seed=3), create_model("repvgg_a0", num_classes=7, seed=3, deploy=True)
    )


def test_what_has_no_deploy_form():
    for deploy in (True, False):
        with pytest.raises(ModelError, match="'resnet18' has no deploy form"):
            create_model("resnet18", deploy=deploy)
    with pytest.raises(ModelError, match="deploy of 'repvgg_a0' must be true or false, got 'yes'"):
        create_model("repvgg_a0", deploy="yes")


def test_training_leaves_both_forms(digits, tmp_path):
    """Averages too; the deploy form is evaluated by its file, to the same verdicts."""
    short = [
        "model={type: repvgg_a0, kwargs: {num_classes: 10}, preprocessing: {input_size: 32, resize: 32}}",
        "data.train={kwargs: {test_fraction: 0.9}, transforms: [{type: resize, kwargs: {size: 32}}]}",
        "data.test.kwargs.test_fraction=0.05", "data.batch_size=64", "lr_scheduler.kwargs.max_epoch=2", "ema.enable=true",
        "evaluation={device: cpu, workers: 0, benchmarks: {clean: {}}}",
    ]  # fmt: skip
    assert main(["--config", str(digits), "--quiet", *flags(*short)]) == 0
    folder = tmp_path / "checkpoints"
    for name in ("ckpt", "ema"):
        names = read_checkpoint(folder / f"{name}_deploy.pth.tar")["model"]
        assert "stem.reparam_conv.weight" in names
        assert "stem.conv_kxk.conv.weight" in read_checkpoint(folder / f"{name}.pth.tar")["model"]
    deployed = ["model.kwargs.deploy=true", "model.weights=checkpoints/ckpt_deploy.pth.tar", "output_dir=deployed"]
    assert main(["--config", str(digits), "--quiet", "--evaluate", *flags(*short, *deployed)]) == 0
    results = [json.loads((tmp_path / name / "results" / "report.json").read_text()) for name in (".", "deployed")]
    lines = [(tmp_path / name / "results" / "clean.jsonl").read_text().splitlines()[1:] for name in (".", "deployed")]
    assert results[0]["benchmarks"]["clean"]["metrics"]["top1"] == results[1]["benchmarks"]["clean"]["metrics"]["top1"]
    predictions = [[json.loads(line)["prediction"] for line in each] for each in lines]
    assert predictions[0] == predictions[1]
    assert len(predictions[0]) > 10
