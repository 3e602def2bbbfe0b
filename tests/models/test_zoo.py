"""The table of architectures: its numbers, its names, and what they build."""

import ast
import csv
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from RobustART.cli import main
from RobustART.data import create_dataset
from RobustART.errors import ConfigError, ModelError, UnknownNameError
from RobustART.evaluation import evaluate
from RobustART.models import Preprocessing, create_model
from RobustART.models.architectures import aliases, architectures, select
from RobustART.models.kwargs import row_arguments
from RobustART.models.macs import count_macs
from RobustART.models.meta import meta_device
from tests.conftest import ROOT
from tests.models.counting import count_parameters

TABLE = architectures()
BENCHMARK = [row.name for row in TABLE.values() if row.set == "benchmark"]
SMALL = {
    "resnet": "resnet18", "resnext": "resnext50_32x4d", "wide_resnet": "wide_resnet50_2", "densenet": "densenet121",
    "shufflenetv2": "shufflenet_v2_x0_5", "mobilenet_v2": "mobilenet_v2_x0_5", "mobilenet_v3": "mobilenet_v3_large_x0_35",
    "regnetx": "regnetx_200m", "regnety": "regnety_200m", "repvgg": "repvgg_A0", "efficientnet": "efficientnet_b0",
    "vit": "vit_small_convstem", "deit": "deit_tiny_b16_224", "mlp_mixer": "mixer_b16_224", "alexnet": "alexnet",
    "swin": "swin_tiny", "convnext": "convnext_tiny_convstem", "convnextv2": "convnextv2_atto",
}  # fmt: skip
"""A small member of each family."""
SIDES = {"vit": 32, "deit": 32, "mlp_mixer": 32, "swin": 112, "alexnet": 64}
"""Side of the smallest useful images; 64 otherwise."""


def on_meta(name, **kwargs):
    with meta_device():
        return create_model(name, **kwargs)


def test_the_table_holds_the_44():
    assert len(BENCHMARK) == 44
    families = [TABLE[name].family for name in BENCHMARK]
    assert {family: families.count(family) for family in families} == {
        "resnet": 5, "resnext": 2, "wide_resnet": 2, "densenet": 3, "shufflenetv2": 4, "mobilenet_v2": 4, "mobilenet_v3": 5,
        "regnetx": 5, "repvgg": 2, "efficientnet": 5, "vit": 2, "deit": 3, "mlp_mixer": 2,
    }  # fmt: skip
    assert not set(aliases()) & set(TABLE)
    assert all(row.note for row in TABLE.values() if row.builder.startswith("robustart:"))


def check_numbers(name):
    """Seven classes on the meta device; parameters and MACs are corrected for the 993 rows that the head lacks."""
    row, model, shapes = TABLE[name], on_meta(name, num_classes=7), []
    model.register_forward_hook(lambda *args: shapes.append(args[-1].shape))
    macs = count_macs(model, row.input_size)
    head = next(module for module in reversed(list(model.modules())) if isinstance(module, nn.Linear))
    assert shapes == [(1, 7)]
    assert head.out_features == 7
    parameters = count_parameters(model) + 993 * (head.in_features + 1)
    assert parameters / 1e6 == pytest.approx(row.params_millions, rel=0.005)
    assert (macs + 993 * head.in_features) / 1e6 == pytest.approx(row.macs_millions, rel=0.02)
    assert model.preprocessing == Preprocessing(row.input_size, row.resize, "bilinear")


@pytest.mark.parametrize("name", BENCHMARK)
def test_parameters_macs_and_classes_of_the_44(name):
    check_numbers(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n, row in TABLE.items() if row.set != "benchmark" and row.family != "clip"])
def test_parameters_macs_and_classes_of_the_others(name):
    check_numbers(name)


def test_a_thousand_classes_by_default():
    assert count_parameters(on_meta("resnet50")) == 25_557_032
    assert count_parameters(on_meta("repvgg_A0")) == 9_108_968  # Ding et al. 2021: 9.11 M in training


def run_forward_and_backward(name, seed=0, **kwargs):
    family = TABLE[aliases().get(name, name)].family
    side = SIDES.get(family, 64)
    sized = {"preprocessing": {"input_size": side}} if family in ("vit", "deit", "mlp_mixer", "swin") else {}
    torch.manual_seed(3)
    before = torch.get_rng_state()
    model = create_model(name, num_classes=5, seed=seed, **sized, **kwargs)
    assert torch.equal(torch.get_rng_state(), before)
    assert not model.training
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1)).requires_grad_()
    logits = model(images)
    assert logits.shape == (2, 5)
    assert torch.isfinite(logits).all()
    logits.sum().backward()
    assert images.grad.abs().sum() > 0
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)
    return model, images.detach(), logits.detach(), sized


def check(name):
    """Forward, backward, normalisation inside, seeds, and a state dict that gives the same network again."""
    model, images, logits, sized = run_forward_and_backward(name)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    same, other = (create_model(name, num_classes=5, seed=seed, **sized) for seed in (0, 4))
    with torch.inference_mode():
        torch.testing.assert_close(model.network((images - mean) / std), logits)
        assert torch.equal(same(images), logits)
        assert not torch.equal(other(images), logits)
        same.network.load_state_dict(other.network.state_dict())
        assert torch.equal(same(images), other(images))


LARGE = ("wide_resnet", "mlp_mixer", "alexnet", "swin", "convnext", "vit", "regnety")
"""Families whose smallest member is large, or that is like another's."""


@pytest.mark.parametrize("family", [family for family in SMALL if family not in LARGE])
def test_one_small_member_of_each_family(family):
    check(SMALL[family])


@pytest.mark.slow
@pytest.mark.parametrize("name", dict.fromkeys([*BENCHMARK, *(SMALL[family] for family in LARGE)]))
def test_every_member(name):
    check(name)


@pytest.mark.parametrize(
    ("original", "kwargs", "name"),
    [
        ("resnet50_official", {"bn": {"use_sync_bn": False, "kwargs": {"group_size": 8}}}, "resnet50"),
        ("vit_b16_224", {"drop_path": 0.0, "dropout": 0.0, "attention_dropout": 0.0, "qkv_bias": True,
                         "representation_size": 768}, "vit_base_patch16_224"),
        ("vit_b32_224", {"representation_size": 768}, "vit_base_patch32_224"),
        ("deit_tiny_b16_224", {"drop_path": 0.0, "dropout": 0.0, "attention_dropout": 0.0, "qkv_bias": True},
         "deit_tiny_patch16_224"),
        ("mixer_b16_224", {"drop_path": 0.0, "drop_path_rate": 0.0}, "mixer_B16_224"),
        ("mobilenet_v2", {"scale": 0.75}, "mobilenet_v2_x0_75"),
        ("mobilenet_v3", {"scale": 0.35, "dropout": 0.0, "mode": "large"}, "mobilenet_v3_large_x0_35"),
        ("efficientnet_b0_nodrop", {}, "efficientnet_b0"),
        ("efficientnet_b2", {"override_params": {"num_classes": 1000, "dropout_rate": 0.5}}, "efficientnet_b2"),
        ("repvgg_A0", {"deploy": False}, "repvgg_A0"),
        ("shufflenetv2_2.0", {}, "shufflenet_v2_x2_0"),
        ("swin_base", {}, "swin_base_224"),
        ("convnext_base_cvst", {"drop_path_rate": 0.0}, "convnext_base_convstem"),
    ],
)  # fmt: skip
def test_the_originals_names_build_the_same(original, kwargs, name):
    shapes = [
        {key: value.shape for key, value in model.state_dict().items()}
        for model in (on_meta(original, num_classes=None, **kwargs), on_meta(name))
    ]
    assert shapes[0] == shapes[1]


def test_the_originals_names_are_all_there():
    for original in (
        *(f"resnet{n}_official" for n in (18, 34, 50, 101, 152)), "vit_b16_224", "vit_b32_224", "mixer_b16_224",
        *(f"deit_{size}_b16_224" for size in ("tiny", "small", "base")), "mixer_L16_224", "mobilenet_v2", "mobilenet_v3",
        *(f"efficientnet_b{i}{drop}" for i in range(8) for drop in ("", "_nodrop")), "alexnet", "swin_tiny", "swin_small",
        *(f"regnet{x}_{m}m" for x in "xy" for m in (200, 400, 600, 800, 1600, 3200, 4000, 6400)),
        *(f"convnextv2_{s}" for s in ("atto", "femto", "pico", "nano", "tiny", "base", "large", "huge")),
        *(f"convnext_{s}{stem}" for s in ("tiny", "small", "base", "large") for stem in ("", "_cvst")),
        *(f"vit_{s}{stem}" for s in ("small", "base") for stem in ("", "_cvst")), "swin_base_224",
        "swin_large_224", "swin_base_384", "swin_large_384",
    ):  # fmt: skip
        assert original in TABLE or original in aliases(), original


def rates(model, kind):
    return {getattr(m, "p", getattr(m, "drop_prob", None)) for m in model.modules() if type(m).__name__ == kind}


def test_dropout_means_what_the_authors_meant():
    assert rates(on_meta("vit_b16_224", drop_path=0.2), "DropPath") == {0.2}  # the same in every block
    assert rates(on_meta("vit_b16_224"), "Dropout") == {0.0, 0.1}  # timm's before the head is never used
    quiet = on_meta("vit_base_patch16_224")
    assert rates(quiet, "DropPath") | rates(quiet, "Dropout") <= {0.0}
    assert 0.3 in rates(on_meta("mixer_b16_224", drop_path=0.3), "DropPath")
    assert rates(on_meta("mobilenet_v3"), "Dropout") == {0.8}
    assert rates(on_meta("mobilenet_v3", dropout=0.2, mode="large"), "Dropout") == {0.2}
    assert on_meta("efficientnet_b2").network.drop_rate == 0.3
    assert max(rates(on_meta("efficientnet_b2"), "DropPath")) > 0.25
    nodrop = on_meta("efficientnet_b2_nodrop")
    assert nodrop.network.drop_rate == 0
    assert not rates(nodrop, "DropPath")
    assert on_meta("efficientnet_b2", override_params={"drop_connect_rate": 0.0}).network.drop_rate == 0.3
    assert {
        m.drop_rate for m in on_meta("densenet121", drop_rate=0.25).modules() if type(m).__name__ == "DenseLayer"
    } == {0.25}


@pytest.mark.parametrize("mode", ["large", "small"])
def test_mobilenet_v3_of_any_width(mode):
    """The original's last convolution has 960 or 576 channels times the scale, rounded to a multiple of 8."""
    for scale in (0.05, 0.33, 0.5, 1.0, 1.4, 1.85):
        network = on_meta("mobilenet_v3", scale=scale, mode=mode).network
        wide = max(8, int({"large": 960, "small": 576}[mode] * scale + 4) // 8 * 8)
        wide += 8 if wide < 0.9 * {"large": 960, "small": 576}[mode] * scale else 0
        convolution = [part for part in network.features.modules() if isinstance(part, torch.nn.Conv2d)][-1]
        assert convolution.out_channels == network.features[-1][1].num_features == wide
        assert network.classifier[0].in_features == wide
    torch.manual_seed(0)
    network = create_model("mobilenet_v3", scale=0.35, mode=mode, num_classes=3)
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 3)


def test_a_checkpoint_of_another_size_is_told(tmp_path):
    """EfficientNets of the study are trained at 224 pixels, and at their own."""
    state = create_model("resnet18", num_classes=3).network.state_dict()
    conditions = {"data": {"input_size": 64, "test_resize": 73}, "model": {"preprocessing": {"input_size": None}}}
    torch.save({"model": state, "conditions": conditions}, tmp_path / "ckpt.pth.tar")
    path = str(tmp_path / "ckpt.pth.tar")
    told = "was trained with input_size 64, resize 73, but is used with input_size 224, resize 256"
    assert any(told in note for note in create_model("resnet18", num_classes=3, weights=path).notes)
    same = create_model("resnet18", num_classes=3, weights=path, preprocessing={"input_size": 64, "resize": 73})
    assert not any("was trained with" in note for note in same.notes)


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("resnet50_official", {"freeze_layer": True}, "does not take one of the arguments .*freeze_layer"),
        ("resnet50", {"bn": {"use_sync_bn": True}}, "asks for BatchNorm across processes, which belongs to a training"),
        ("resnet50", {"bn": {"sync": True}}, r"bn must be {use_sync_bn: bool, kwargs: {...}}, got"),
        ("resnet50", {"zero_init_residual": True, "zero_init_last": False}, "zero_init_residual is True, but zero_init_last"),
        ("resnet50", {"deploy": True}, "'resnet50' has no deploy form"),
        ("shufflenet_v2_x1_0", {"stages_repeats": [1, 1, 1]}, "does not take one of the arguments"),
        ("regnetx_400m", {"scale": 2.0}, "does not take one of the arguments .*'scale'"),
        ("mobilenet_v3", {"mode": "medium"}, "mode must be 'large' or 'small', got 'medium'"),
        ("mobilenet_v3", {"scale": "1.0"}, "scale must be a number above 0, got '1.0'"),
        ("mobilenet_v2_x0_5", {"weights": "pretrained"}, "no library has weights of 'mobilenet_v2_x0_5'"),
        ("timm:resnet50_mlp", {"weights": "pretrained"}, "timm has no pretrained weights of 'timm:resnet50_mlp'"),
        ("mobilenet_v3", {"round_nearest": 4}, "does not take one of .*It takes: "),
        ("vit_b16_224", {"classifier": "gap"}, "does not take one of the arguments .'classifier'"),
        ("vit_b16_224", {"image_size": 100}, "patches of 16; the input size must be a multiple, got 100"),
        ("vit_b16_224", {"image_size": 64, "preprocessing": {"input_size": 32}}, "img_size is 64, but .*input_size is 32"),
        ("efficientnet_b0", {"override_params": {"width": 2}}, "override_params may hold num_classes, dropout_rate"),
        ("mixer_b16_224", {"drop_path": 0.1, "drop_path_rate": 0.2}, "drop_path is 0.1, but drop_path_rate"),
        ("vit_base_patch16_224", {"weights": "pretrained"}, "no library has weights of 'vit_base_patch16_224' .*timm:NAME"),
        ("efficientnet_b0", {"num_classes": 7, "override_params": {"num_classes": 5}}, "num_classes is 7, but override_params"),
        ("efficientnet_b0", {"override_params": {"num_classes": "5"}}, "num_classes must be an integer above 0, got '5'"),
        ("resnet50", {"foo": None}, "foo is None, which timm ignores"),
        ("mixer_b16_224", {"foo": None}, "foo is None, which timm ignores"),
        ("resnet50", {"scriptable": True}, "'scriptable' is not an argument .* plain classifier"),
        ("timm:resnet50", {"features_only": True}, "'features_only' is not an argument .* plain classifier"),
        ("resnet50", {"pretrained_cfg": {"file": "x.pth"}}, "'pretrained_cfg' is not an argument .* a file, beside the name"),
        ("torchvision:resnet18", {"num_classes": "10"}, "num_classes must be an integer above 0, got '10'"),
        ("shufflenet_v2_x0_5", {"num_classes": -5}, "num_classes must be an integer above 0, got -5"),
        ("timm:resnet18", {"num_classes": True}, "num_classes must be an integer above 0, got True"),
        ("timm:resnet18", {"in_chans": 1}, "in_chans must be 3"),
        ("timm:resnet18", {"global_pool": "zz"}, "cannot be built with the arguments .*zz.*Invalid pool type"),
        ("timm:resnet18.zz", {}, "cannot be built with .*Invalid pretrained tag"),
        ("mobilenet_v2", {"scale": -1}, "scale must be a number above 0, got -1"),
        ("vit_b16_224", {"drop_path": 1.5}, "drop_path must be a probability from 0 to below 1, got 1.5"),
        ("vit_b16_224", {"img_size": "64"}, "img_size must be an integer above 0, got '64'"),
        ("mobilenet_v3", {"dropout": 2}, "dropout must be a probability"),
        ("mobilenet_v3_large_x0_5", {"scale": 1.0}, "is the network with scale 0.5, got 1.0"),
        ("mobilenet_v2_x1_0", {"scale": 0.5}, "is the network with width_mult 1.0, got 0.5"),
        ("mixer_B16_224", {"shape": "l16_224"}, "is the network with shape 'b16_224', got 'l16_224'"),
        ("convnext_base_convstem", {"size": "tiny"}, "is the network with size 'base', got 'tiny'"),
        ("vit_b16_224", {"shape": "huge"}, "is the network with shape 'base', got 'huge'"),
        ("vit_base_patch16_224", {"representation_size": None}, "is the network with representation_size 768"),
        ("deit_tiny_patch16_224", {"patch_size": 32}, "whose patch_size is settled"),
        ("vit_b16_224", {"depth": 2}, "whose depth is settled"),
        ("deit_tiny_b16_224", {"widths": 2}, "It takes: shape, patch_size, num_classes, representation_size, dropout"),
        ("robustart:vit_tiny_patch16_224", {}, "unknown model 'robustart:vit_tiny_patch16_224'"),
        ("resnet50", {"bn": {"use_sync_bn": False, "kwargs": {"eps": 1}}}, "bn.kwargs may hold group_size and var_mode"),
        ("shufflenet_v2_x0_5", {"num_classes": 10, "weights": "pretrained"}, "cannot be built with its pretrained weights and"),
        ("repvgg_B2g2", {}, "original's model 'repvgg_B2g2' is not built here: neither timm nor torchvision .* repvgg_B2g4"),
        ("shufflenet_v2_scale", {"scale": 1}, "is not built here: torchvision builds four widths"),
        ("new_deit_small_patch16_224", {}, "is not built here: .* deit_small_b16_224"),
        ("resnet50_offical", {}, "unknown model 'resnet50_offical'; did you mean 'resnet50_official'"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(name, kwargs, message):
    with pytest.raises((ModelError, UnknownNameError), match=message):
        on_meta(name, **kwargs)


def test_sources_and_library_names():
    assert on_meta("resnet50").source == "timm:resnet50"
    assert on_meta("mobilenet_v2_x0_5").source == "robustart:mobilenet_v2_x0_5"
    assert on_meta("robustart:vit_b16_224").source == "robustart:vit_b16_224"
    assert on_meta("timm:deit_tiny_patch16_224").preprocessing.interpolation == "bicubic"  # timm's own
    plain = on_meta("timm:resnet18").network
    assert plain.state_dict().keys() == on_meta("resnet18").network.state_dict().keys()
    assert not create_model("resnet18", num_classes=2).network.layer1[0].bn2.weight.eq(0).any()


def test_a_librarys_weights_come_with_its_own_network(monkeypatch):
    import timm

    asked, build = [], timm.create_model
    monkeypatch.setattr("timm.create_model", lambda name, **kwargs: asked.append((name, kwargs)) or build(name))
    model = create_model("resnet18", weights="pretrained")
    assert asked == [("resnet18", {"pretrained": True})]
    assert model.preprocessing.input_size == 288


def test_an_entry_of_a_librarys_weights(monkeypatch):
    import timm
    import torchvision

    asked, build, get = [], timm.create_model, torchvision.models.get_model
    monkeypatch.setattr("timm.create_model", lambda name, **kwargs: asked.append((name, kwargs)) or build(name))
    monkeypatch.setattr("torchvision.models.get_model", lambda name, weights: asked.append(str(weights)) or get(name))
    for entry, resize in ((":IMAGENET1K_V1", 256), (":IMAGENET1K_V2", 232), ("", 232)):
        with meta_device():
            assert create_model("torchvision:resnet50", weights=f"pretrained{entry}").preprocessing.resize == resize
    assert asked == [f"ResNet50_Weights.IMAGENET1K_V{i}" for i in (1, 2, 2)]
    for name, entry in (("resnet50", ":tv_in1k"), ("timm:resnet50.tv_in1k", "")):
        model = on_meta(name, weights=f"pretrained{entry}")
        assert (asked[-1], model.source) == (("resnet50.tv_in1k", {"pretrained": True}), "timm:resnet50.tv_in1k")
        assert model.preprocessing.resize == 256
    for name, weights, message in (
        ("torchvision:resnet50", "pretrained:IMAGENET1K_V3", "no pretrained weights 'IMAGENET1K_V3'.*V2'. known: IMAGENET1K_V1, "),
        ("resnet50", "pretrained:zz", "no pretrained weights 'zz'; known: a1_in1k, "),
        ("timm:resnet50.a1_in1k", "pretrained:tv_in1k", "names its weights itself"),
        ("resnet50", "pretrained:", "name no entry"),
        ("vit_base_patch16_224", "pretrained:augreg_in1k", "no library has weights"),
        ("clip_vit_l_14", "pretrained:openai", "has one entry of weights, its argument source"),
    ):  # fmt: skip
        with pytest.raises(ModelError, match=message):
            on_meta(name, weights=weights)


def test_transformers_are_built_for_the_size_of_the_images():
    model = create_model("deit_tiny_patch16_224", num_classes=3, preprocessing={"input_size": 64, "resize": 64})
    assert model.preprocessing.input_size == 64
    with torch.inference_mode():
        assert model(torch.rand(1, 3, 64, 64)).shape == (1, 3)
    assert on_meta("vit_b32_224", image_size=96).preprocessing.input_size == 96


def test_attacks_and_views_have_the_size_of_the_network(tmp_path):
    """A vision transformer for 32 x 32 pixels, by the original's name, under the whole evaluation."""
    images = np.random.default_rng(0).integers(0, 256, (6, 40, 52, 3), dtype=np.uint8)
    for i, image in enumerate(images):
        (tmp_path / "photos" / str(i % 2)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "photos" / str(i % 2) / f"{i}.png")
    kwargs = {"num_classes": 2, "bn": {"use_sync_bn": False, "kwargs": {}}, "drop_path": 0.0}
    model = create_model("deit_tiny_b16_224", preprocessing={"input_size": 32, "resize": 36}, **kwargs)
    attacks = {"attacks": ["fgsm"], "eps": [8 / 255]}
    data = create_dataset(root_dir=tmp_path / "photos")
    report = evaluate(
        model, data, {"clean": {}, "adversarial": attacks}, output_dir=tmp_path / "run", batch_size=3, progress=False
    )
    assert report.data["conditions"]["preprocessing"]["input_size"] == 32
    assert report.data["model"]["source"] == "robustart:deit_tiny_b16_224"
    rows = [json.loads(line) for line in (tmp_path / "run/results/adversarial.jsonl").read_text().splitlines()[1:]]
    assert sorted(row["id"] for row in rows) == list(range(6))


def test_macs_of_layers_by_hand():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 16, 5, padding=2, groups=4), nn.Flatten(2),
        nn.Linear(16, 10), nn.Flatten(), nn.Linear(160, 7),
    )  # fmt: skip
    expected = 8 * 16 * 27 + 16 * 16 * 2 * 25 + 16 * 10 * 16 + 160 * 7
    assert count_macs(network, 8) == expected
    assert count_parameters(network) == 8 * 27 + 8 + 16 + 16 * 2 * 25 + 16 + 16 * 10 + 10 + 160 * 7 + 7
    assert network.training
    assert not any(parameter.is_meta for parameter in network.parameters())


def test_macs_of_attention_are_counted_on_request():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(12, 3, batch_first=True)

        def forward(self, images):
            tokens = images.flatten(1).view(len(images), -1, 12)
            return self.attention(tokens, tokens, tokens)[0]

    assert count_macs(Attention(), 4) == 4 * 12 * 12 * 4  # four tokens; query, key, value and output
    assert count_macs(Attention(), 4, attention=True) == 4 * 12 * 12 * 4 + 2 * 4 * 4 * 12


def test_models_are_listed(capsys):
    assert main(["models", "--benchmark"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "44 architectures"
    assert lines[3].split()[:8] == ["resnet50", "benchmark", "resnet", "25.56", "4.09G", "224", "256", "timm:resnet50"]
    assert main(["models", "RESNET50_OFF*"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("resnet50 ")
    assert main(["models", "x0_5", "--family", "shufflenetv2", "--format", "csv", "--notes"]) == 0
    (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert (row["name"], row["MACs"], row["other names"]) == ("shufflenet_v2_x0_5", "40M", "shufflenetv2_0.5")
    assert main(["models", "--family", "vit", "--benchmark", "--format", "json"]) == 0
    assert [row["params_millions"] for row in json.loads(capsys.readouterr().out)] == [87.16, 88.82]
    assert main(["models", "repvgg_a*", "--library", "timm"]) == 0
    assert "repvgg_a2" in capsys.readouterr().out.split()
    assert main(["models", "repvgg_a*", "--library", "timm", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == ["repvgg_a0", "repvgg_a1", "repvgg_a2"]
    assert main(["models", "vgg11*", "--library", "torchvision", "--format", "csv"]) == 0
    assert capsys.readouterr().out.split() == ["name", "vgg11", "vgg11_bn"]
    for option in (["--family", "resnet"], ["--notes"], ["--benchmark"]):
        assert main(["models", "--library", "timm", *option]) == 2
        assert f"{option[0]} is for our own table" in capsys.readouterr().err


def test_other_names_mean_the_same_network():
    for row in TABLE.values():
        for original in row.originals:
            plain, _, text = original.rstrip(")").partition("(")
            if not text:
                assert plain == row.name or plain not in TABLE, original
                continue
            base, given = (
                TABLE[plain],
                {k: ast.literal_eval(v) if k != "mode" else v for k, v in re.findall(r"(\w+)=(\S+)", text)},
            )
            arguments = {**base.arguments, **row_arguments(base, plain, given)}
            default = {"width_mult": 1.0} if row.family == "mobilenet_v2" else {}
            assert (base.builder, arguments) == (row.builder, {**default, **row.arguments}), original


def test_wrong_choices_are_told(capsys):
    with pytest.raises(ConfigError, match="unknown family 'resnt'; did you mean 'resnet'"):
        select(family="resnt")
    with pytest.raises(ConfigError, match="fits the pattern 'swin' and the family 'vit' in: benchmark"):
        select("swin", family="vit", sets=("benchmark",))
    assert main(["models", "zzz"]) == 2
    assert "fits the pattern 'zzz'" in capsys.readouterr().err


def test_the_table_agrees_with_the_published_one():
    """Rows of the 44, as printed in the benchmark's description."""
    published = (ROOT / "tests" / "models" / "published_architectures.csv").read_text().splitlines()
    for row in csv.DictReader(published):
        ours = TABLE[row["name"]]
        assert (ours.family, ours.macs, ours.input_size) == (row["family"], row["macs"], int(row["input_size"]))
        assert ours.params_millions == float(row["params_millions"])
