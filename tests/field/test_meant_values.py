"""Values that cannot be meant: preprocessing and radii of images in [0, 255], labels that are no integers, odd networks."""

import json

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.transforms import Normalize

from RobustART.core.preprocessing import Preprocessing
from RobustART.data import array_dataset, create_dataset
from RobustART.errors import ConfigError, DataError, ModelError
from RobustART.evaluation import evaluate
from RobustART.models import create_model, wrap_model
from RobustART.noise import AddNoise
from RobustART.noise.attacks import pgd_l2, pgd_linf
from RobustART.training.cls_solver import main
from tests.conftest import SIZE, make_picture

PLAIN = {**SIZE, "mean": [0.0], "std": [1.0]}


# Preprocessing and radii.


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mean": [123.675, 116.28, 103.53]}, r"mean\[0\] must be a number from -1 to 1, .*by 255, got 123.675"),
        ({"mean": [0.5, 0.5, float("nan")]}, r"mean\[2\]"),
        ({"std": [58.395, 57.12, 57.375]}, r"std\[0\] must be a number above 0 and at most 10, .*by 255, got 58.395"),
        ({"std": [float("nan")] * 3}, r"std\[0\]"),
        ({"std": [0.2, 0, 0.2]}, r"std\[1\]"),
        ({"std": [-0.2] * 3}, r"std\[0\]"),
    ],
)
def test_mean_and_std_are_of_images_in_0_1(fields, message):
    with pytest.raises(ConfigError, match=f"preprocessing.{message}"):
        Preprocessing(**fields)
    with pytest.raises(ConfigError, match=message):
        wrap_model(nn.Flatten(), fields)


def test_a_radius_of_images_in_0_255_asks_for_the_other(model, data, small_config, capsys):
    message = "is 8, but in Linf .* is 8/255 meant"
    for eps in ([8], [1 / 255, 8], {"Linf": [8]}, {"fgsm": [8]}):
        with pytest.raises(ConfigError, match=message):
            evaluate(model, data, {"adversarial": {"attacks": ["fgsm"], "eps": eps}})
    with pytest.raises(ConfigError, match=message):
        evaluate(model, data, {"transfer": {"attacks": ["fgsm"], "eps": [8], "models": {"other": model}}})
    images, labels = torch.zeros(2, 3, 8, 8), torch.zeros(2, dtype=torch.long)
    with pytest.raises(ConfigError, match=message):
        pgd_linf(nn.Flatten(), images, labels, eps=8)
    with pytest.raises(ConfigError, match=message):
        pgd_linf(nn.Flatten(), images, labels, eps=torch.tensor([0.1, 8.0]))
    noise = AddNoise("pgd_linf")
    noise.set_config(model=model, eps=8)
    with pytest.raises(ConfigError, match=message):
        noise.add_noise(torch.zeros(2, 3, 32, 32), label=labels)
    assert main(["--config", str(small_config), "--check", "--set", "evaluation.benchmarks.adversarial.eps=[8]"]) == 2
    assert "is 8/255 meant" in capsys.readouterr().err
    assert pgd_l2(nn.Flatten(), images, labels, eps=8, steps=1).shape == images.shape
    assert pgd_linf(nn.Flatten(), images, labels, eps=1, steps=1).shape == images.shape


class Itself(nn.Module):
    """A network with its own mean and standard deviation, as those of RobustBench."""

    def __init__(self, mean, std, size=3, shape=(1, 3, 1, 1)):
        super().__init__()
        self.register_buffer(mean, torch.full(shape, 0.5))
        self.register_buffer(std, torch.full(shape, 0.25))
        self.head = nn.Sequential(nn.Flatten(), nn.LazyLinear(size))

    def forward(self, images):
        return self.head(images)


@pytest.mark.parametrize("names", [("mu", "sigma"), ("mean", "std"), ("mu", "std"), ("pixel_mean", "pixel_std")])
@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (3,), (1,)])
def test_a_network_that_normalises_itself_is_a_warning(names, shape, data, tmp_path):
    network = Itself(*names, shape=shape)
    network(torch.zeros(1, 3, 32, 32))
    report = evaluate(network, data, {"clean": {}}, preprocessing=SIZE, output_dir=tmp_path)
    assert [w for w in report.data["warnings"] if "mean: [0, 0, 0], std: [1, 1, 1]" in w]
    assert not any("normalise" in note for note in wrap_model(network, PLAIN).notes)


def test_a_first_layer_that_normalises_is_a_warning():
    network = nn.Sequential(Normalize([0.5] * 3, [0.25] * 3), nn.Flatten())
    assert any("in 0 (Normalize)" in note for note in wrap_model(network, SIZE).notes)
    for plain in (create_model("resnet18"), wrap_model(nn.Sequential(nn.BatchNorm2d(3), nn.Flatten()), SIZE)):
        assert not any("normalise" in note for note in plain.notes)


# Labels.


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1.7, 0, 1], "image 0 is 1.7$"),
        (np.array([0.0, 1.0, 2.0]), "image 0 is 0.0$"),
        (["0", "1", "2"], "image 0 is '0'$"),
        ([True, False, True], "image 0 is True$"),
        ([0, None, 1], "image 1 is None$"),
        (np.eye(3, dtype=int), r"image 0 is .*one-hot labels, pass the index of the 1, such as labels.argmax\(1\)"),
        (torch.eye(3), "one-hot"),
        ([[1, 0], [0, 1], [1, 0]], "one-hot"),
    ],
)
def test_labels_are_integers(labels, message):
    images = [make_picture(i, 32, 32) for i in range(3)]
    with pytest.raises(DataError, match=f"labels of arrays must be integers from 0.*{message}"):
        array_dataset(images, labels)


@pytest.mark.parametrize("labels", [[0, 1, 2], np.arange(3), np.arange(3, dtype=np.uint8), torch.arange(3), range(3)])
def test_integers_of_any_library_are_labels(labels):
    dataset = array_dataset([make_picture(i, 32, 32) for i in range(3)], labels)
    assert dataset.labels == (0, 1, 2)
    assert {type(label) for label in dataset.labels} == {int}


@pytest.mark.parametrize("label", ["1.7", "cat", "-1", "1e3", "9" * 30, "0x1"])
def test_labels_of_a_list_are_integers(tmp_path, label):
    (tmp_path / "list.txt").write_text(f"a.png 0\nb.png {label}\n")
    with pytest.raises(DataError, match=f"line 2 of .*list.txt: the label must be an integer from 0, got '?{label}'?"):
        create_dataset(meta_file=tmp_path / "list.txt")


@pytest.mark.parametrize("label", [1.7, "cat", [0, 1], None, -1, True])
def test_labels_of_json_lines_are_integers(tmp_path, label):
    (tmp_path / "list.txt").write_text(json.dumps({"filename": "a.png", "label": label}))
    with pytest.raises(DataError, match=r"line 1 of .*: the label must be an integer from 0, got"):
        create_dataset(meta_file=tmp_path / "list.txt")


def test_images_of_one_class_are_a_warning(model, tmp_path):
    images = [make_picture(i, 32, 32) for i in range(4)]
    report = evaluate(model, array_dataset(images, [0] * 4), {"clean": {}}, output_dir=tmp_path / "one")
    (warning,) = report.data["warnings"]
    assert warning.startswith("all 4 images of arrays have the label 0: a model that always answers this class")
    assert warning in (tmp_path / "one" / "results" / "report.md").read_text()
    for labels, count in (([0, 0, 0, 1], 4), ([0], 1)):
        some = array_dataset(images[:count], labels)
        assert evaluate(model, some, {"clean": {}}, output_dir=tmp_path / str(count)).data["warnings"] == []


# Networks of one logit, and of other types than float32.


@pytest.mark.parametrize("network", [nn.Linear(3072, 1), nn.Sequential(nn.Linear(3072, 1), nn.Flatten(0))])
def test_one_logit_names_the_form_of_two(network, data, tmp_path):
    with pytest.raises(ModelError, match=r"K of at least 2, got .*`torch.cat\(\[torch.zeros_like\(z\), z\], 1\)`"):
        evaluate(nn.Sequential(nn.Flatten(), network), data, {"clean": {}}, preprocessing=SIZE, output_dir=tmp_path)


def test_a_lazy_network_is_called_first():
    with pytest.raises(ModelError, match="lazy parameters without values; call it once"):
        wrap_model(nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), SIZE)


def test_the_form_of_two_logits_is_the_sigmoid():
    z = torch.linspace(-9, 9, 7)[:, None]
    softmax = torch.cat([torch.zeros_like(z), z], 1).softmax(1)
    assert torch.allclose(softmax, torch.cat([1 - z.sigmoid(), z.sigmoid()], 1), atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_of_other_types_are_taken(dtype, own_model, data, tmp_path):
    """evaluate cast nothing, so that such networks failed at their first layer."""

    def network():
        return create_model(f"{own_model}:build").network

    benchmarks = {"clean": {}, "adversarial": {"attacks": ["fgsm", "deepfool_l2"], "eps": None}}
    as_float = evaluate(network(), data, benchmarks, preprocessing=SIZE, output_dir=tmp_path / "float")
    report = evaluate(network().to(dtype), data, benchmarks, preprocessing=SIZE, output_dir=tmp_path / "other")
    name = str(dtype).removeprefix("torch.")
    for benchmark in benchmarks:
        assert report.data["benchmarks"][benchmark]["precision"] == name
        assert as_float.data["benchmarks"][benchmark]["precision"] == "float32"
    values = [r.data["benchmarks"]["adversarial"]["metrics"] for r in (as_float, report)]
    if dtype == torch.float64:
        assert values[0] == values[1]
    assert (
        evaluate(wrap_model(network(), SIZE).to(dtype), data, {"clean": {}}, output_dir=tmp_path / "whole") is not None
    )


def test_attacks_on_a_half_network_search_in_float32(own_model, data, tmp_path):
    """bf16 has steps of 1/256 below 1: images rounded to it are others than those that are judged."""
    network = wrap_model(create_model(f"{own_model}:build").network.to(torch.bfloat16), SIZE)
    seen = []
    network.normalize.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    evaluate(network, data, {"adversarial": {"attacks": ["fgsm"], "eps": [1 / 255]}}, output_dir=tmp_path)
    assert set(seen) == {torch.float32}
