"""The YAML loader: strict, safe, and able to read the original's files."""

import pytest

from RobustART.config.loader import load_config, without_defaults
from RobustART.config.schema import Config
from RobustART.core.options import build, parse_number, to_plain
from RobustART.errors import ConfigError

ORIGINAL = """
model:
    type: resnet50_official
    kwargs:
        num_classes: 1000
        bn: {use_sync_bn: False, kwargs: {}}
dist: {sync: False}
optimizer:
    type: SGD
    kwargs: {nesterov: True, momentum: 0.9, weight_decay: 0.0001}
lr_scheduler:
    type: CosineEpoch
    kwargs: {base_lr: 0.1, warmup_lr: 0.4, min_lr: 0.0, warmup_epoch: 2, max_epoch: 100}
label_smooth: 0.1
ema: {enable: True, kwargs: {decay: 0.9999}}
data:
    type: imagenet
    read_from: fs
    use_dali: True
    batch_size: 32
    num_workers: 4
    pin_memory: True
    input_size: 224
    test_resize: 256
    train:
        root_dir: /images/train/
        meta_file: /images/meta/train.txt
        image_reader: {type: pil}
        sampler: {type: distributed_iteration}
        transforms: {type: STANDARD}
    test:
        root_dir: /images/val/
        meta_file: /images/meta/val.txt
        image_reader: {type: pil}
        sampler: {type: distributed}
        transforms: {type: ONECROP}
        evaluator: {type: imagenet, kwargs: {topk: [1, 5]}}
        imagenet_a&o: False
saver:
    print_freq: 10
    val_freq: 5000
    save_many: False
    pretrain: {path: checkpoints/ckpt.pth.tar, ignore: {key: [optimizer, last_iter]}}
"""


@pytest.fixture
def load(tmp_path):
    def load(text, *overrides, name="config.yaml"):
        (tmp_path / name).write_text(text)
        return load_config(tmp_path / name, overrides)

    return load


def test_original_config_loads_as_it_is(load):
    config = load(ORIGINAL)
    assert config.model.type == "resnet50_official"
    assert config.optimizer.kwargs["weight_decay"] == 1e-4
    assert config.model.preprocessing.input_size == 224
    assert config.saver.pretrain.ignore.key == ["optimizer", "last_iter"]
    assert config.data.test.meta_file == "/images/meta/val.txt"


def test_numbers_as_people_write_them(load):
    text = "optimizer: {type: SGD, kwargs: {weight_decay: 1e-4, eps: 8/255, name: '1e-4'}}\nlabel_smooth: 1/10"
    config = load(text)
    assert config.optimizer.kwargs == {"weight_decay": 1e-4, "eps": 8 / 255, "name": "1e-4"}
    assert config.label_smooth == 0.1
    assert load("saver: {val_freq: 1e3}").saver.val_freq == 1000
    assert parse_number("0.5/255") == 0.5 / 255
    for bad in ("8/0", "eight", "", "1/2/3", "__import__('os')", True, None, "8 / 255 "):
        with pytest.raises(ConfigError, match="must be a number"):
            parse_number(bad, "eps")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("evaluation.sed=1", r"unknown key evaluation\.sed; did you mean 'seed'"),
        ("modol.type=x", "unknown key modol; did you mean 'model'"),
        ("evaluation.seed=a", r"evaluation\.seed must be an integer of 64 bits, got 'a'"),
        ("evaluation.seed=1.5", r"evaluation\.seed must be an integer of 64 bits, got 1\.5"),
        ("evaluation.seed=true", r"evaluation\.seed must be an integer of 64 bits, got True"),
        (
            "evaluation.amp=bf61",
            r"evaluation\.amp must be one of 'bf16', 'fp16' or null, got 'bf61'; did you mean 'bf16'",
        ),
        ("optimizer.type=SGDD", "did you mean 'SGD'"),
        ("dist.sync=1", r"dist\.sync must be true or false, got 1"),
        ("label_smooth=much", "label_smooth must be a number"),
        ("data.test=3", r"data\.test must be a mapping"),
        ("data.test.root_dir=[a]", r"data\.test\.root_dir must be a string or null"),
        ("evaluation", "--set takes key.key=value"),
        ("a..b=1", "--set takes key.key=value"),
        ("model.type=!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("model.preprocessing.mean=[0, x, 0]", r"model\.preprocessing\.mean\[1\] must be a number"),
    ],
)
def test_mistakes_are_named(load, override, message):
    with pytest.raises(ConfigError, match=message):
        load("model: {type: resnet50}\nevaluation: {benchmarks: {clean: {}}}", override)


def test_python_tags_run_nothing(load, tmp_path):
    with pytest.raises(ConfigError, match="constructor"):
        load(f"model: !!python/object/apply:os.mkdir ['{tmp_path}/made']")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {type: a}\nmodel: {type: b}", "'model' is there twice"),
        ("- a", "must be a mapping"),
        ("model: {", "not a plain YAML file"),
        ("model: {kwargs: {}}", r"model\.type is missing"),
        ("evaluation: {}", r"evaluation\.benchmarks is missing"),
        ("base: nothing.yaml", "base of .*: .*nothing.yaml cannot be read"),
        ("base: 3", "base in .* must be a file name"),
    ],
)
def test_broken_files(load, text, message):
    with pytest.raises(ConfigError, match=message):
        load(text)


def test_yaml_merge_keys_may_be_overridden_and_repeats_may_not(load):
    text = "eval_list: []\nlr_scheduler: &m {type: Cosine, kwargs: {decay: 1}}\noptimizer: {<<: *m, type: SGD}"
    config = load(text)
    assert config.optimizer.type == "SGD"
    assert config.optimizer.kwargs == {"decay": 1}
    with pytest.raises(ConfigError, match="'enable' is there twice"):
        load("lr_scheduler: &m {kwargs: {}}\nema: {<<: *m, enable: false, enable: true}")
    with pytest.raises(
        ConfigError, match=r"the number in line 1, column 15 must be a number, got '8/0', a division by zero"
    ):
        load("label_smooth: 8/0")


def test_base_files_are_merged_and_circles_refused(load, tmp_path):
    (tmp_path / "one.yaml").write_text("model: {type: resnet18, kwargs: {num_classes: 10}}\nlabel_smooth: 0.1")
    (tmp_path / "two.yaml").write_text("base: one.yaml\nmodel: {kwargs: {drop_rate: 0.2}}")
    config = load("base: [two.yaml]\nlabel_smooth: 0.2", "model.kwargs.num_classes=5")
    assert config.model.type == "resnet18"
    assert config.model.kwargs == {"num_classes": 5, "drop_rate": 0.2}
    assert config.label_smooth == 0.2
    (tmp_path / "one.yaml").write_text("base: two.yaml")
    with pytest.raises(ConfigError, match=r"circle: config\.yaml -> two\.yaml -> one\.yaml -> two\.yaml"):
        load("base: two.yaml")


def test_resolved_config_reads_back_as_the_same(load):
    config = load(ORIGINAL)
    assert build(Config, to_plain(config), "") == config
    assert build(Config, without_defaults(config), "") == config
    assert "switch_prob" not in without_defaults(config)
