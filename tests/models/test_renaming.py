"""Checkpoints of the original: its networks' names and shapes, written down here, fit the networks that are built here."""

import math

import pytest
import torch

from RobustART.errors import WeightsError
from RobustART.models import create_model, load_weights
from RobustART.models.meta import meta_device
from RobustART.models.renaming import rename


def parameters(name, *shape, bias=None):
    return {f"{name}.weight": shape} | ({f"{name}.bias": bias or shape[:1]} if bias is not False else {})


def norm(name, width, batch=True):
    shapes = parameters(name, width)
    if batch:
        shapes |= {f"{name}.running_mean": (width,), f"{name}.running_var": (width,), f"{name}.num_batches_tracked": ()}
    return shapes


def conv(name, *shape):
    return parameters(name, *shape, bias=False)


def vit(width, patch, representation=None):
    shapes = parameters("embedding", width, 3, patch, patch) | {"cls_token": (1, 1, width)}
    shapes |= {"pos_embedding": (1, (224 // patch) ** 2 + 1, width)}
    for i in range(12):
        at = f"transformer.encoders.encoder_{i}"
        shapes |= norm(f"{at}.norm1", width, False) | norm(f"{at}.norm2", width, False)
        shapes |= parameters(f"{at}.attention.to_qkv", 3 * width, width)
        shapes |= parameters(f"{at}.attention.to_out", width, width)
        shapes |= parameters(f"{at}.feedforward.mlp1", 4 * width, width)
        shapes |= parameters(f"{at}.feedforward.mlp2", width, 4 * width)
    shapes |= norm("transformer.encoder_norm", width, False)
    if representation:
        shapes |= parameters("pre_logits", representation, width)
    return shapes | parameters("head", 1000, representation or width)


def mixer(width, depth):
    shapes = parameters("patch_embed.proj", width, 3, 16, 16) | norm("norm", width, False)
    for i in range(depth):
        shapes |= norm(f"blocks.{i}.norm1", width, False) | norm(f"blocks.{i}.norm2", width, False)
        shapes |= parameters(f"blocks.{i}.token_mix.fc1", width // 2, 196)
        shapes |= parameters(f"blocks.{i}.token_mix.fc2", 196, width // 2)
        shapes |= parameters(f"blocks.{i}.channel_mix.fc1", 4 * width, width)
        shapes |= parameters(f"blocks.{i}.channel_mix.fc2", width, 4 * width)
    return shapes | parameters("head", 1000, width)


def regnet(widths, depths, group, squeeze=False):
    shapes, before = conv("stem.conv", 32, 3, 3, 3) | norm("stem.bn", 32), 32
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True), 1):
        for block in range(1, depth + 1):
            at = f"s{stage}.b{block}"
            if block == 1:
                shapes |= conv(f"{at}.proj", width, before, 1, 1) | norm(f"{at}.bn", width)
            shapes |= conv(f"{at}.f.a", width, before, 1, 1) | norm(f"{at}.f.a_bn", width)
            shapes |= conv(f"{at}.f.b", width, group, 3, 3) | norm(f"{at}.f.b_bn", width)
            shapes |= conv(f"{at}.f.c", width, width, 1, 1) | norm(f"{at}.f.c_bn", width)
            if squeeze:
                inner = round(before * 0.25)
                shapes |= parameters(f"{at}.f.se.f_ex.0", inner, width, 1, 1)
                shapes |= parameters(f"{at}.f.se.f_ex.2", width, inner, 1, 1)
            before = width
    return shapes | parameters("head.fc", 1000, before)


def repvgg(widths, depths):
    shapes, before = {}, 3
    blocks = [("stage0", widths[0])]
    for stage, (width, depth) in enumerate(zip(widths[1:], depths, strict=True), 1):
        blocks += [(f"stage{stage}.{i}", width) for i in range(depth)]
    for number, (at, width) in enumerate(blocks):
        if before == width and not at.endswith(".0") and number:
            shapes |= norm(f"{at}.rbr_identity", width)
        shapes |= conv(f"{at}.rbr_dense.conv", width, before, 3, 3) | norm(f"{at}.rbr_dense.bn", width)
        shapes |= conv(f"{at}.rbr_1x1.conv", width, before, 1, 1) | norm(f"{at}.rbr_1x1.bn", width)
        before = width
    return shapes | parameters("linear", 1000, before)


def efficientnet_b0():
    shapes = conv("stem.0", 32, 3, 3, 3) | norm("stem.1", 32)
    stages = ((1, 3, 1, 32, 16), (2, 3, 6, 16, 24), (2, 5, 6, 24, 40), (3, 3, 6, 40, 80), (3, 5, 6, 80, 112),
              (4, 5, 6, 112, 192), (1, 3, 6, 192, 320))  # fmt: skip
    number = 0
    for repeats, kernel, expand, before, width in stages:
        for _ in range(repeats):
            at, wide, k = f"blocks.{number}", before * expand, 0
            if expand != 1:
                shapes |= conv(f"{at}.in_conv.0", wide, before, 1, 1) | norm(f"{at}.in_conv.1", wide)
                k = 3
            shapes |= conv(f"{at}.in_conv.{k}", wide, 1, kernel, kernel) | norm(f"{at}.in_conv.{k + 1}", wide)
            shapes |= parameters(f"{at}.se_block.conv1", before // 4, wide, 1, 1)
            shapes |= parameters(f"{at}.se_block.conv2", wide, before // 4, 1, 1)
            shapes |= conv(f"{at}.out_conv.0", width, wide, 1, 1) | norm(f"{at}.out_conv.1", width)
            number, before = number + 1, width
    return shapes | conv("head.0", 1280, 320, 1, 1) | norm("head.1", 1280) | parameters("fc", 1000, 1280)


def mobilenet_v3_large_half():
    """Width x0.5: the rows of the paper's table with their channels halved and rounded to multiples of 8."""
    rows = ((3, 8, 8, 0), (3, 32, 16, 0), (3, 40, 16, 0), (5, 40, 24, 1), (5, 64, 24, 1), (5, 64, 24, 1), (3, 120, 40, 0),
            (3, 104, 40, 0), (3, 96, 40, 0), (3, 96, 40, 0), (3, 240, 56, 1), (3, 336, 56, 1), (5, 336, 80, 1),
            (5, 480, 80, 1), (5, 480, 80, 1))  # fmt: skip
    shapes, before = conv("features.0.0", 16, 3, 3, 3) | norm("features.0.1", 16), 16
    for number, (kernel, wide, width, squeeze) in enumerate(rows, 1):
        at, k = f"features.{number}.conv", 0
        if before != wide:
            shapes |= conv(f"{at}.0", wide, before, 1, 1) | norm(f"{at}.1", wide)
            k = 3
        shapes |= conv(f"{at}.{k}", wide, 1, kernel, kernel) | norm(f"{at}.{k + 1}", wide)
        if squeeze:
            shapes |= conv(f"{at}.{k + 2}.fc.0", wide // 4, wide) | conv(f"{at}.{k + 2}.fc.2", wide, wide // 4)
        shapes |= conv(f"{at}.{k + 4}", width, wide, 1, 1) | norm(f"{at}.{k + 5}", width)
        before = width
    shapes |= conv("features.16.0", 480, 80, 1, 1) | norm("features.16.1", 480)
    return shapes | parameters("features.18", 1280, 480, 1, 1) | parameters("classifier.1", 1000, 1280)


def swin_tiny():
    shapes = parameters("patch_embed.proj", 96, 3, 4, 4) | norm("patch_embed.norm", 96, False)
    for stage, (depth, heads) in enumerate(((2, 3), (2, 6), (6, 12), (2, 24))):
        width, side = 96 * 2**stage, 56 // 2**stage
        for block in range(depth):
            at = f"layers.{stage}.blocks.{block}"
            shapes |= norm(f"{at}.norm1", width, False) | norm(f"{at}.norm2", width, False)
            shapes |= {f"{at}.attn.relative_position_bias_table": (169, heads)}
            shapes |= {f"{at}.attn.relative_position_index": (49, 49)}
            if block % 2 and side > 7:
                shapes |= {f"{at}.attn_mask": ((side // 7) ** 2, 49, 49)}
            shapes |= parameters(f"{at}.attn.qkv", 3 * width, width) | parameters(f"{at}.attn.proj", width, width)
            shapes |= parameters(f"{at}.mlp.fc1", 4 * width, width) | parameters(f"{at}.mlp.fc2", width, 4 * width)
        if stage < 3:
            shapes |= conv(f"layers.{stage}.downsample.reduction", 2 * width, 4 * width)
            shapes |= norm(f"layers.{stage}.downsample.norm", 4 * width, False)
    return shapes | norm("norm", 768, False) | parameters("head", 1000, 768)


def convnextv2_atto():
    widths, shapes = (40, 80, 160, 320), {}
    for stage, (width, depth) in enumerate(zip(widths, (2, 2, 6, 2), strict=True)):
        at = f"downsample_layers.{stage}"
        if stage == 0:
            shapes |= parameters(f"{at}.0", width, 3, 4, 4) | norm(f"{at}.1", width, False)
        else:
            shapes |= norm(f"{at}.0", width // 2, False) | parameters(f"{at}.1", width, width // 2, 2, 2)
        for block in range(depth):
            at = f"stages.{stage}.{block}"
            shapes |= parameters(f"{at}.dwconv", width, 1, 7, 7) | norm(f"{at}.norm", width, False)
            shapes |= parameters(f"{at}.pwconv1", 4 * width, width) | parameters(f"{at}.pwconv2", width, 4 * width)
            shapes |= {f"{at}.grn.gamma": (1, 1, 1, 4 * width), f"{at}.grn.beta": (1, 1, 1, 4 * width)}
    return shapes | norm("norm", 320, False) | parameters("head", 1000, 320)


def resnet18():
    shapes, before = conv("conv1", 64, 3, 7, 7) | norm("bn1", 64), 64
    for layer, width in enumerate((64, 128, 256, 512), 1):
        for block in (0, 1):
            at = f"layer{layer}.{block}"
            shapes |= conv(f"{at}.conv1", width, before, 3, 3) | norm(f"{at}.bn1", width)
            shapes |= conv(f"{at}.conv2", width, width, 3, 3) | norm(f"{at}.bn2", width)
            if before != width:
                shapes |= conv(f"{at}.downsample.0", width, before, 1, 1) | norm(f"{at}.downsample.1", width)
            before = width
    return shapes | parameters("fc", 1000, 512)


ORIGINALS = {
    "vit_b16_224": lambda: vit(768, 16, 768),
    "vit_base_patch32_224": lambda: vit(768, 32, 768),
    "deit_small_b16_224": lambda: vit(384, 16),
    "mixer_b16_224": lambda: mixer(768, 12),
    "mixer_L16_224": lambda: mixer(1024, 24),
    "regnetx_400m": lambda: regnet((32, 64, 160, 384), (1, 2, 7, 12), 16),
    "regnety_400m": lambda: regnet((48, 104, 208, 440), (1, 3, 6, 6), 8, squeeze=True),
    "repvgg_A0": lambda: repvgg((48, 48, 96, 192, 1280), (2, 4, 14, 1)),
    "repvgg_B3": lambda: repvgg((64, 192, 384, 768, 2560), (4, 6, 16, 1)),
    "efficientnet_b0_nodrop": efficientnet_b0,
    "mobilenet_v3_large_x0_5": mobilenet_v3_large_half,
    "swin_tiny": swin_tiny,
    "convnextv2_atto": convnextv2_atto,
    "resnet18_official": resnet18,
}


@pytest.mark.parametrize("name", ORIGINALS)
def test_names_and_shapes_of_the_original_fit(name):
    with meta_device():
        network = create_model(name).network
        state = {key: torch.empty(shape) for key, shape in ORIGINALS[name]().items()}
    fitted = {key: value.shape for key, value in rename(state, network).items()}
    assert fitted == {key: value.shape for key, value in network.state_dict().items()}


@pytest.mark.parametrize(("name", "old", "new"), [
    ("convnext_tiny_cvst", "stem.stem.{}", "stem.{}"), ("vit_small_cvst", "patch_embed.proj.stem.{}", "patch_embed.proj.{}"),
])  # fmt: skip
def test_names_of_convolutional_stems(name, old, new):
    with meta_device():
        network = create_model(name).network
    own = network.state_dict()
    prefix = new.format("")
    state = {old.format(key[len(prefix) :]) if key.startswith(prefix) else key: value for key, value in own.items()}
    assert state.keys() != own.keys()
    assert rename(state, network).keys() == own.keys()


@pytest.mark.parametrize("name", ["densenet121", "shufflenet_v2_x1_0", "alexnet", "mobilenet_v2"])
def test_networks_that_the_original_took_from_torchvision_keep_its_names(name):
    """Its own copies of these have torchvision's names."""
    with meta_device():
        ours, theirs = create_model(name).network, create_model(f"torchvision:{name}").network
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}


def checkpoint(path, shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    state = {f"module.{key}": torch.randn(shape, generator=generator) * 0.02 for key, shape in shapes.items()}
    averaged = {"ema_state_dict": {key: value.clone() for key, value in state.items()}, "decay": 0.9999, "warmup": 1}
    torch.save({"model": state, "optimizer": {"state": {}, "param_groups": []}, "last_iter": 7, "ema": averaged}, path)
    return state


def test_a_checkpoint_of_the_original_computes_what_the_original_did(tmp_path, caplog):
    """The original's transformer, written out: pre-norm blocks, GELU by tanh, epsilon 1e-5."""
    state = checkpoint(tmp_path / "ckpt.pth.tar", vit(192, 16))
    model = create_model("deit_tiny_b16_224", weights=str(tmp_path / "ckpt.pth.tar"))
    assert model.notes == ()
    assert "also holds averaged weights under 'ema'" in caplog.text
    w = {key.removeprefix("module."): value for key, value in state.items()}
    images = torch.rand(2, 3, 224, 224)

    def layer_norm(x, at):
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * w[f"{at}.weight"] + w[f"{at}.bias"]

    def linear(x, at):
        return x @ w[f"{at}.weight"].T + w[f"{at}.bias"]

    with torch.inference_mode():
        normalised = model.normalize(images)
        patches = normalised.unfold(2, 16, 16).unfold(3, 16, 16).permute(0, 2, 3, 1, 4, 5).reshape(2, 196, 768)
        x = patches @ w["embedding.weight"].flatten(1).T + w["embedding.bias"]
        x = torch.cat([w["cls_token"].expand(2, 1, 192), x], 1) + w["pos_embedding"]
        for i in range(12):
            at = f"transformer.encoders.encoder_{i}"
            qkv = linear(layer_norm(x, f"{at}.norm1"), f"{at}.attention.to_qkv")
            query, key, value = qkv.view(2, 197, 3, 3, 64).permute(2, 0, 3, 1, 4)
            mixed = (query @ key.transpose(-2, -1) / 8).softmax(-1) @ value
            x = x + linear(mixed.transpose(1, 2).reshape(2, 197, 192), f"{at}.attention.to_out")
            y = linear(layer_norm(x, f"{at}.norm2"), f"{at}.feedforward.mlp1")
            y = 0.5 * y * (1 + torch.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y**3)))
            x = x + linear(y, f"{at}.feedforward.mlp2")
        logits = linear(layer_norm(x, "transformer.encoder_norm")[:, 0], "head")
        torch.testing.assert_close(model(images), logits, rtol=1e-4, atol=1e-5)


def test_linear_layers_of_squeeze_and_excitation_become_convolutions(tmp_path):
    state = checkpoint(tmp_path / "ckpt.pth.tar", mobilenet_v3_large_half())
    network = create_model("mobilenet_v3", scale=0.5, mode="large", weights=str(tmp_path / "ckpt.pth.tar")).network
    loaded = network.state_dict()["features.4.block.5.fc1.weight"]
    assert torch.equal(loaded[:, :, 0, 0], state["module.features.4.conv.5.fc.0.weight"])
    assert torch.equal(network.classifier[0].weight, state["module.features.18.weight"][:, :, 0, 0])


def test_files_that_do_not_fit_are_refused_with_the_list(tmp_path):
    path = str(tmp_path / "ckpt.pth.tar")
    checkpoint(path, vit(192, 16))
    with pytest.raises(WeightsError, match="weights of the original's transformer.*name the model deit_tiny_b16_224"):
        create_model("deit_tiny_patch16_224", weights=path)
    with pytest.raises(WeightsError, match=r"shapes differ: .*blocks.0.attn.qkv.weight: \(576, 192\) in the file"):
        create_model("deit_small_b16_224", weights=path)
    shapes = regnet((32, 64, 160, 384), (1, 2, 7, 12), 16)
    checkpoint(path, {**{k: v for k, v in shapes.items() if k != "s4.b12.f.c.weight"}, "s4.b12.f.d.weight": (1,)})
    with pytest.raises(
        WeightsError, match=r"missing weights: s4.b12.conv3.conv.weight; .*unexpected weights: s4.b12.f.d"
    ):
        create_model("regnetx_400m", weights=path)
    with pytest.raises(WeightsError, match=r"missing weights: conv1.weight.*unexpected weights: stem.conv.weight"):
        load_weights(create_model("resnet18").network, path)


def test_the_originals_names_may_be_ignored_too(tmp_path):
    path = tmp_path / "ckpt.pth.tar"
    small = torch.nn.Sequential(torch.nn.Flatten())
    small.fc, small.body = torch.nn.Linear(4, 3), torch.nn.Linear(4, 4)
    random = small.fc.weight.clone()
    checkpoint(path, {"fc.weight": (3, 4), "fc.bias": (3,), "body.weight": (4, 4), "body.bias": (4,)})
    assert load_weights(small, path, ignore=["module.fc.weight"])
    assert torch.equal(small.fc.weight, random)
    assert load_weights(small, path, ignore=["module.fc", "fc.bias"])
    with pytest.raises(WeightsError, match="'module.head.weight' to be ignored is not in"):
        load_weights(small, path, ignore=["module.head.weight"])
    checkpoint(path, repvgg((48, 48, 96, 192, 1280), (2, 4, 14, 1)))
    model = create_model("repvgg_A0", num_classes=7, weights=str(path), ignore=["module.linear.weight", "linear.bias"])
    assert model.network.head.fc.out_features == 7
    assert model.notes == ("left at their seeded random values by request: module.linear.weight, linear.bias",)


def test_the_originals_repvgg_in_the_other_form_is_told(tmp_path):
    path = tmp_path / "ckpt.pth.tar"
    shapes = repvgg((48, 48, 96, 192, 1280), (2, 4, 14, 1))
    checkpoint(path, shapes)
    with pytest.raises(WeightsError, match=r"holds the training form .* leave out deploy: true"):
        create_model("repvgg_A0", deploy=True, weights=str(path))
    fused = {key: shape for key, shape in shapes.items() if key.startswith("linear")}
    for key, shape in shapes.items():
        if key.endswith("rbr_dense.conv.weight"):
            fused |= parameters(key.replace("rbr_dense.conv.weight", "rbr_reparam"), *shape)
    checkpoint(path, fused)
    with pytest.raises(WeightsError, match=r"holds the deploy form .* say model.kwargs.deploy: true"):
        create_model("repvgg_A0", weights=str(path))
    create_model("repvgg_A0", deploy=True, weights=str(path))
