"""CLIP as a classifier, with a small randomly initialised network of open_clip's."""

import json
import logging

import pytest
import torch
from torch.nn import functional

from RobustART.errors import ConfigError, ModelError, WeightsError
from RobustART.models import create_model, load_weights, read_state_dict
from RobustART.models.macs import count_macs
from RobustART.models.meta import meta_device
from tests.models.counting import count_parameters

CLASSES = ["tench", "goldfish", "great white shark"]
TINY = {
    "embed_dim": 16, "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}  # fmt: skip


@pytest.fixture
def open_clip(tmp_path):
    library = pytest.importorskip("open_clip")
    (tmp_path / "tiny-clip.json").write_text(json.dumps(TINY))
    library.add_model_config(tmp_path)
    return library


def tiny(seed=0, **kwargs):
    return create_model("clip_vit_l_14", architecture="tiny-clip", seed=seed, **kwargs)


def zero_shot(seed=0, **kwargs):
    return tiny(seed, class_names=CLASSES, **kwargs)


def test_zero_shot_logits_are_cosines_of_images_and_mean_texts(open_clip):
    texts = ["a photo of a {}.", "a drawing of the {}"]
    model = zero_shot(templates=texts)
    images = torch.rand(2, 3, 32, 32)
    inner = model.network.clip
    with torch.inference_mode():
        logits = model(images)
        tokens = open_clip.get_tokenizer("tiny-clip")
        directions = []
        for name in CLASSES:
            both = functional.normalize(inner.encode_text(tokens([text.format(name) for text in texts])), dim=-1)
            directions.append(functional.normalize(both.mean(0), dim=0))
        seen = functional.normalize(inner.encode_image(model.normalize(images)), dim=-1)
        expected = inner.logit_scale.exp() * seen @ torch.stack(directions).T
    torch.testing.assert_close(logits, expected)
    assert model.preprocessing.interpolation == "bicubic"
    assert model.preprocessing.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))
    assert (model.preprocessing.input_size, model.preprocessing.resize) == (32, 32)


def test_gradients_reach_the_images_after_an_evaluation(open_clip):
    model = zero_shot()
    with torch.inference_mode():
        model(torch.rand(1, 3, 32, 32))
    images = torch.rand(1, 3, 32, 32, requires_grad=True)
    model(images).sum().backward()
    assert images.grad.abs().sum() > 0
    assert model.network.clip.visual.conv1.weight.grad is not None
    assert model.network.clip.text_projection.grad is None


def test_default_classes_are_imagenets(open_clip):
    model = tiny(templates=["{}"])
    assert model.network.tokens.shape[:2] == (1000, 1)
    assert tiny(class_names=CLASSES, templates="openai").network.tokens.shape[1] == 80
    assert zero_shot().network.tokens.shape[1] == 7


def test_weights_of_two_towers_change_the_classes_too(open_clip, tmp_path):
    one, other = zero_shot(), zero_shot(seed=1)
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        assert not torch.allclose(one(images), other(images))
    state = {**other.network.clip.state_dict(), "input_resolution": torch.tensor(32)}
    torch.save(state, tmp_path / "clip.pt")
    load_weights(one.network, tmp_path / "clip.pt")
    with torch.inference_mode():
        torch.testing.assert_close(one(images), other(images), rtol=0, atol=0)
    torch.save(other.network.clip.visual.state_dict(), tmp_path / "visual.pt")
    with pytest.raises(WeightsError, match=r"missing weights: clip.positional_embedding, clip.text_projection"):
        load_weights(one.network, tmp_path / "visual.pt")


def test_a_linear_head(open_clip, tmp_path):
    model = tiny(head="linear", num_classes=5)
    images = torch.rand(2, 3, 32, 32)
    assert model(images).shape == (2, 5)
    other = zero_shot(seed=3).network.clip
    torch.save(other.visual.state_dict(), tmp_path / "visual.pt")
    assert "head.weight" in load_weights(model.network, tmp_path / "visual.pt", strict=False)[0]
    torch.testing.assert_close(model.network.visual(images), other.visual(images))
    torch.save(tiny(head="linear", num_classes=5, seed=4).network.state_dict(), tmp_path / "whole.pt")
    assert load_weights(model.network, tmp_path / "whole.pt") == []
    assert load_weights(tiny(head="linear", num_classes=5).network, tmp_path / "whole.pt") == []


def test_size_on_the_meta_device(open_clip):
    with meta_device():
        model = create_model("clip_vit_l_14", templates=["{}"])
    assert count_parameters(model.network.clip.visual) == 303_966_208  # as published with the weights
    assert count_parameters(model) / 1e6 == pytest.approx(427.62, rel=0.005)
    assert count_macs(model, 224) / 1e9 == pytest.approx(77.77, rel=0.02)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"head": "none"}, "head must be one of zero_shot, linear, got 'none'"),
        ({"num_classes": 7}, "num_classes is 7, but there are 1000 class names; set class_names"),
        ({"templates": "many"}, "templates must be simple, openai or a list"),
        ({"templates": ["a photo"]}, "must be a string with one {}, got"),
        ({"head": "linear", "class_names": CLASSES}, "a linear head has no prompts"),
        ({"architecture": "no-clip"}, "open_clip knows no architecture 'no-clip'"),
        ({"depth": 2}, "does not take one of the arguments"),
    ],
)
def test_wrong_arguments(open_clip, kwargs, message):
    with pytest.raises(ModelError, match=message):
        create_model("clip_vit_l_14", **{"architecture": "tiny-clip", **kwargs})


def test_no_network_and_no_package_are_clear_errors(open_clip, monkeypatch, caplog):
    def offline(*args, **kwargs):
        logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 1s")
        raise RuntimeError("Failed to download weights")

    monkeypatch.setattr("open_clip.create_model", offline)
    with pytest.raises(
        ModelError,
        match="^CLIP's weights 'openai' could not be fetched .RuntimeError: Failed to download weights.. Without",
    ) as caught:
        create_model("clip_vit_l_14", weights="pretrained")
    assert str(caught.value).count("could not be fetched") == 1
    assert "Retrying" not in caplog.text
    assert logging.getLogger("huggingface_hub").isEnabledFor(logging.WARNING)
    monkeypatch.setitem(__import__("sys").modules, "open_clip", None)
    with pytest.raises(ConfigError, match="pip install open_clip_torch"):
        create_model("clip_vit_l_14", weights="pretrained")


def test_a_torchscript_archive_is_told(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "clip.pt")
    with pytest.raises(WeightsError, match=r"clip.pt is a TorchScript archive, .* Save the state dict alone"):
        read_state_dict(tmp_path / "clip.pt")
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "plain.pt")
    assert set(read_state_dict(tmp_path / "plain.pt")) == {"weight", "bias"}
