"""Files in the 2021 project's format: translated into today's keys, each thing that cannot be honoured named."""

import copy
import json

import pytest
import yaml

from RobustART.config.loader import load_config
from RobustART.errors import ConfigError
from RobustART.original.upgrade import upgrade
from RobustART.training.cls_solver import main
from tests.conftest import ROOT

BASELINE = """
model: {type: resnet50_official, kwargs: {num_classes: 1000, bn: {use_sync_bn: False, kwargs: {}}}}
dist: {sync: False}
optimizer: {type: SGD, fp16_normal_bn: False, kwargs: {nesterov: True, momentum: 0.9, weight_decay: 0.0001}}
lr_scheduler: {type: CosineEpoch, kwargs: {base_lr: 0.1, warmup_lr: 0.4, min_lr: 0.0, warmup_epoch: 2, max_epoch: 100}}
lms: {enable: False, kwargs: {limit: 12}}
data:
  type: imagenet
  read_from: fs
  use_dali: False
  batch_size: 32
  persistent_workers: True
  input_size: 224
  test_resize: 256
  train: {root_dir: train, meta_file: train.txt, server: {ip: 1.2.3.4, port: 80}, sampler: {type: distributed},
          transforms: {type: STANDARD}}
  test: {root_dir: val, meta_file: val.txt, image_reader: {type: pil}, sampler: {type: distributed},
         transforms: {type: ONECROP}, evaluator: {type: imagenet, kwargs: {topk: [1, 5]}}}
saver: {print_freq: 10, pretrain: {path: ckpt.pth.tar}}
"""
LISTED = """[{type: Resize, kwargs: {size: [256, 256]}}, {type: CenterCrop, kwargs: {size: [224, 224]}}, {type: ToTensor},
  {type: Normalize, kwargs: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}}]"""


def baseline(**changes):
    """Returns the data of :data:`BASELINE`; ``data__test__root_dir=x`` sets a value inside it."""
    raw = yaml.safe_load(BASELINE)
    for place, value in changes.items():
        section = raw
        *path, key = place.split("__")
        for part in path:
            section = section.setdefault(part, {})
        section[key] = value
    return raw


def upgraded(**changes):
    config, warnings = upgrade(baseline(**changes))
    assert warnings == []
    return config


def test_only_todays_keys_are_left():
    raw = baseline()
    before = copy.deepcopy(raw)
    config, warnings = upgrade(raw)
    assert raw == before
    assert warnings == []
    assert config["model"] == {
        "type": "resnet50_official",
        "kwargs": {"num_classes": 1000},
        "preprocessing": {"input_size": 224, "resize": 256},
    }
    assert config["training"] == {"sync_bn": False}
    assert config["data"] == {
        "batch_size": 32,
        "train": {
            "root_dir": "train",
            "meta_file": "train.txt",
            "sampler": {"type": "distributed_epoch"},
            "transforms": {"type": "STANDARD"},
        },
        "test": {"root_dir": "val", "meta_file": "val.txt", "image_reader": {"type": "pil"}},
    }
    assert not {"lms", "mixup", "evaluation"} & set(config)
    assert upgrade(config) == (config, [])


def test_what_is_not_used_is_named():
    _, warnings = upgrade(
        baseline(data__use_dali=True, data__arch={"root_dir": "x"}, optimizer__fp16_normal_fc=True) | {"mixup": 1.0}
    )
    assert [warning.split(" is ")[0] for warning in warnings] == [
        "mixup: 1.0", "optimizer.fp16_normal_fc", "data.use_dali", "data.arch",
    ]  # fmt: skip


def test_mixup_is_off_from_one_up_in_its_files_alone():
    config, warnings = upgrade(baseline(mixup=1.0))
    assert config["mixup"] == 0
    assert "mixup: 1.0 is off, as in the original, whose file this is (data.type, data.read_from" in warnings[0]
    assert upgraded(mixup=0.2)["mixup"] == 0.2
    assert upgrade({"mixup": 1.0}) == ({"mixup": 1.0}, [])
    assert upgrade({"training": {"mixup_alpha": 1.0}})[0] == {"training": {}, "mixup": 1.0}


def test_sizes_and_limits():
    both = {"model__preprocessing": {"input_size": 224}, "data__test__limit_samples": 100}
    config = upgraded(**both)
    assert config["evaluation"] == {"limit": 100, "benchmarks": {"clean": {}}}
    assert upgraded(data__test__limit_samples=None).get("evaluation") is None
    with pytest.raises(
        ConfigError, match=r"preprocessing.input_size is 240, but data.input_size is 224; set one of them"
    ):
        upgrade(baseline(model__preprocessing={"input_size": 240}))
    with pytest.raises(
        ConfigError, match=r"evaluation.limit is 5, but data.test.limit_samples is 100; set one of them"
    ):
        upgrade(baseline(evaluation={"limit": 5}, data__test__limit_samples=100))
    listed = upgrade({"eval_list": ["a", "b"], "data": {"input_size": 64}})[0]
    assert listed == {"eval_list": ["a", "b"], "data": {}, "model": {"type": "a", "preprocessing": {"input_size": 64}}}


def test_each_process_keeps_to_its_part_of_the_list():
    ranked = {"type": "ranked_iteration"}
    raw = baseline(data__use_ranked=True)
    del raw["data"]["train"]["sampler"]
    assert upgrade(raw)[0]["data"]["train"]["sampler"] == ranked
    config = upgraded(data__train__sampler={"type": "ranked_iteration_dali"}, data__train__use_ranked=True)
    assert config["data"]["train"]["sampler"] == ranked
    with pytest.raises(
        ConfigError, match="data.use_ranked needs the sampler 'ranked_iteration', got 'distributed_epoch'"
    ):
        upgrade(baseline(data__use_ranked=True))


def test_synchronised_batchnorm():
    bn = {"use_sync_bn": True, "kwargs": {"var_mode": "L2"}}
    config = upgraded(model__kwargs={"bn": bn})
    assert config["training"]["sync_bn"] is True
    assert config["model"]["kwargs"] == {}
    with pytest.raises(ConfigError, match=r"training.sync_bn is False, but model.kwargs.bn.use_sync_bn is True"):
        upgrade(baseline(model__kwargs={"bn": bn}, training={"sync_bn": False}))
    with pytest.raises(ConfigError, match=r"group_size is 8, but statistics are taken over all processes"):
        upgrade(baseline(model__kwargs={"bn": {"use_sync_bn": True, "kwargs": {"group_size": 8}}}))


def test_made_up_images_only_where_no_real_ones_are_named():
    """Most of its files ship with ``fake`` beside the folders of its cluster."""
    with pytest.raises(
        ConfigError, match=r"means made-up images, but data.train.root_dir, .*data.test.root_dir.*read_from=fs"
    ):
        upgrade(baseline(data__read_from="fake"))
    with pytest.raises(ConfigError, match=r"but data.test.imagenet_a_root_dir name real ones"):
        upgrade({"data": {"read_from": "fake", "test": {"imagenet_a&o": True, "imagenet_a_root_dir": "a"}}})
    config, _ = upgrade({"data": {"read_from": "fake", "train": {"transforms": {"type": "STANDARD"}}, "test": {}}})
    assert config["data"] == {
        "train": {"type": "fake", "transforms": {"type": "STANDARD"}},
        "test": {"type": "fake"},
    }


@pytest.mark.parametrize("transforms", [LISTED, "{type: ONECROP}"])
def test_imagenet_s(transforms):
    raw = baseline(data__test__save_acc_var_neg=True, data__test__transforms=yaml.safe_load(transforms))
    config = upgrade(raw)[0]
    assert config["evaluation"] == {"benchmarks": {"imagenet_s": {}}}
    squashed = {"crop_mode": "squash"} if "Resize" in transforms else {}
    assert config["model"]["preprocessing"] == {"input_size": 224, "resize": 256, **squashed}
    assert config["data"]["test"] == {"root_dir": "val", "meta_file": "val.txt", "image_reader": {"type": "pil"}}


def test_a_list_of_test_transforms_is_a_preprocessing():
    half = [0.5, 0.5, 0.5]
    listed = [
        {"type": "resize", "kwargs": {"size": 72}},
        {"type": "center_crop", "kwargs": {"size": 64}},
        {"type": "normalize", "kwargs": {"mean": half, "std": half}},
    ]
    config = upgrade({"model": {"type": "x"}, "data": {"test": {"root_dir": "v", "transforms": listed}}})[0]
    assert config["model"]["preprocessing"] == {
        "input_size": 64, "resize": 72, "crop_mode": "center", "mean": half, "std": half,
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"input_size is 64, but data.input_size is 224; set one of them"):
        upgrade(baseline(data__test__transforms=listed))


SIZED = [{"type": "Resize", "kwargs": {"size": 256}}, {"type": "CenterCrop", "kwargs": {"size": 224}}]


@pytest.mark.parametrize(
    "transforms",
    [
        3, {"type": "STANDARD"}, [], [3], SIZED[:1], SIZED[::-1], [*SIZED, {"type": "ColorJitter"}],
        [{"type": "Resize", "kwargs": {"size": [256, 224]}}, SIZED[1]],
        [{"type": "Resize", "kwargs": {"size": 256, "mode": "pil"}}, SIZED[1]],
        [SIZED[0], {"type": "CenterCrop", "kwargs": {"size": "224"}}],
        [*SIZED, {"type": "Normalize", "kwargs": {"mean": [0.5]}}],
    ],
)  # fmt: skip
def test_other_test_transforms_are_refused(transforms):
    with pytest.raises(
        ConfigError, match=r"data.test.transforms must be {type: ONECROP}, a list of Resize, CenterCrop"
    ):
        upgrade(baseline(data__test__transforms=transforms))


TWO = {"model_src": {"type": "resnet50_official"}, "model_tgt": {"type": "resnet50_official"}}


@pytest.mark.parametrize("keys", [["model_src"], ["model_tgt"], ["model_src", "model_tgt"]])
def test_two_models_are_another_config(keys):
    raw = baseline(saver__pretrain={"path_src": "a", "path_tgt": "b"})
    del raw["model"]
    with pytest.raises(ConfigError, match=f"{', '.join(keys)}, saver.pretrain.path_src") as caught:
        upgrade(raw | {key: TWO[key] for key in keys})
    named = [word for word in str(caught.value).replace(",", " ").split() if word.startswith("exprs/")]
    assert len(named) == 2
    benchmarks = [load_config(ROOT / name, data_root="/d").evaluation.benchmarks for name in named]
    assert ["adversarial" in benchmarks[0], "transfer" in benchmarks[1]] == [True, True]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lms": {"enable": True}}, "lms.enable: large-model support needs a private build"),
        ({"data__read_from": "mc"}, "data.read_from: 'mc' needs a server of the original's cluster"),
        ({"data__type": "multiclass"}, "several labels an image are not possible"),
        ({"data__type": "imagnet"}, "data.type must be 'imagenet', 'custom' or absent, got 'imagnet'"),
        ({"data__use_dali": "yes"}, "data.use_dali must be true or false, got 'yes'"),
        ({"data__test__imagenet_c": 1}, "data.test.imagenet_c must be true or false, got 1"),
        ({"data__test__sampler": {"type": "distributed_iteration"}}, "data.test.sampler.type must be 'distributed'"),
        ({"data__test__evaluator": {"type": "imagenetc"}}, "must be 'imagenet' or absent .'imagenetc' goes with"),
        ({"data__test__evaluator": {"type": "imagenet", "kwargs": 3}}, r"kwargs may hold topk: \[1, 5\] alone, got 3"),
        ({"data__train__limit_samples": 3}, "data.train.limit_samples belongs to data.test"),
        ({"data__train__imagenet_c": True}, "data.train.imagenet_c belongs to data.test"),
        ({"model__kwargs": {"bn": {"use_sync_bn": True, "kwargs": {"a": 1}}}}, "model.kwargs.bn must be"),
    ],
)
def test_values_that_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        upgrade(baseline(**changes))


@pytest.mark.parametrize(
    "raw",
    [
        {}, {"data": 3}, {"data": {"test": []}}, {"data": {"test": None, "train": "x"}}, {"model": 3, "saver": None},
        {"model": {"type": "a", "kwargs": 3}}, {"lms": None, "data": {"test": {"sampler": None}}},
        {"evaluation": 3, "data": {"test": {"imagenet_p": True, "root_dir": "x"}}},
        {"evaluation": {"benchmarks": 3}, "data": {"test": {"imagenet_p": True, "root_dir": "x"}}},
    ],
)  # fmt: skip
def test_what_is_malformed_is_left_to_the_schema(raw):
    assert isinstance(upgrade(raw), tuple)


def test_the_sweep_runs_as_the_file_stands(tmp_path, own_model, photo_folder):
    """Both switches of the loader, resize and crop in a list; the model and the sizes apart."""
    listed = LISTED.replace("256", "36").replace("224,", "32,").replace("[32, 224]", "[32, 32]")
    few = "imagenet_s: {decoders: [pil], resizes: [pil-bilinear, pil-nearest]}"
    (tmp_path / "s.yaml").write_text(
        f"""
model: {{type: "{own_model}:build", kwargs: {{classes: 3}}}}
data: {{type: imagenet, read_from: fs, use_dali: False, num_workers: 0, input_size: 32, test_resize: 36,
  test: {{save_acc_var_neg: True, root_dir: photos, sampler: {{type: distributed}}, limit_samples: 6, transforms: {listed},
         evaluator: {{type: imagenet, kwargs: {{topk: [1, 5]}}}}}}}}
"""
    )
    assert main(["--config", str(tmp_path / "s.yaml"), "--quiet", "--set", f"evaluation.benchmarks={{{few}}}"]) == 0
    report = json.loads((tmp_path / "results" / "report.json").read_text())
    assert list(report["benchmarks"]) == ["imagenet_s"]
    assert report["conditions"]["subset"].startswith("6 images")
