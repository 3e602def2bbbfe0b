"""What a config may say, as text and as a JSON Schema, and with all defaults filled in."""

import dataclasses
import functools
import json

import jsonschema
import pytest
import yaml

from RobustART.cli.parser import main
from RobustART.config.filled import filled
from RobustART.config.json_schema import config_schema
from RobustART.config.listing import schema_lines
from RobustART.config.loader import load_config, read_raw
from RobustART.config.schema import Config, EvaluationConfig
from RobustART.core.declarations import builder_of, options_of, sections_in
from RobustART.core.manual import manual, summary
from RobustART.core.options import build, to_plain
from RobustART.errors import ConfigError
from RobustART.metrics.spec import BENCHMARKS
from RobustART.noise.attacks import ATTACKS
from RobustART.training.objectives.objective import OBJECTIVES
from tests.conftest import ROOT

CONFIGS = sorted(
    path
    for path in (ROOT / "exprs").rglob("*.yaml")
    if "benchmarks" in str(read_raw(path)) or "optimizer" in read_raw(path)
)


@functools.cache
def validator():
    return jsonschema.Draft202012Validator(config_schema(Config))


def faults(data):
    return [error.message for error in validator().iter_errors(json.loads(json.dumps(data)))]


@pytest.fixture(scope="module")
def lines():
    return list(schema_lines(Config))


def test_every_key_of_a_config_has_its_description():
    def check(cls):
        texts = manual(cls)
        for name, option in options_of(cls).items():
            assert texts[name][0].isupper() or texts[name].startswith("``"), (cls, name)
            assert texts[name].endswith("."), (cls, name)
            for section in sections_in(option.hint):
                check(section)

    check(Config)
    assert manual(Config)["model"] == "The classifier."


def test_every_option_of_a_benchmark_is_described():
    for name, spec in BENCHMARKS.items():
        assert set(options_of(spec.build)) <= set(manual(spec.build)), name
        assert summary(spec.build), name


def test_the_listing_has_every_key_and_name(lines):
    keys = [line.strip().split(":")[0] for line in lines]
    assert set(options_of(Config)) <= set(keys)
    for entries in (BENCHMARKS, ATTACKS):
        for name, entry in entries.items():
            assert name in keys
            assert {*options_of(builder_of(entry))} - {"eps", "seeds", "log", "targeted"} <= set(keys), name
    text = "\n".join(lines)
    assert (
        "  severities: severities, from 1 (weakest) to 5. [one entry or a list of them (an integer from 1 to 5 each); default [1, 2, 3, 4, 5]]"
        in text
    )
    assert "  root_dir: folder ``imagenet-a`` with one folder for each WordNet id. [a string; required]" in text
    assert "    steps: gradient steps. [" in text
    assert "evaluation.benchmarks.adversarial.attacks, evaluation.benchmarks.transfer.attacks:" in lines


def test_a_part_of_the_listing():
    part = list(schema_lines(Config, "evaluation.benchmarks.imagenet_c"))
    assert part[0].startswith("imagenet_c: Returns ImageNet-C")
    assert [line.strip().split(":")[0] for line in part[1:4]] == ["corruptions", "severities", "jpeg_quality"]
    assert "  every: " in "\n".join(schema_lines(Config, "training.swa"))
    with pytest.raises(ConfigError, match=r"unknown key training\.sawa; did you mean 'swa'\? Allowed: seed, "):
        list(schema_lines(Config, "training.sawa"))


def test_the_command_prints_json(capsys):
    assert main(["schema", "--json"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema == json.loads(json.dumps(config_schema(Config)))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["properties"]["evaluation"]["description"]
    assert main(["schema", "report", "--json"]) == 0
    assert "$defs" in json.loads(capsys.readouterr().out)
    assert main(["schema", "evaluation.seed"]) == 0
    assert "seed: Seed of all noise." in capsys.readouterr().out


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_schema_accepts_every_config_here(path):
    merged = read_raw(path)
    assert faults(merged) == []
    assert faults(yaml.safe_load(path.read_text())) == []  # as an editor sees it, with its base
    for section in ("evaluation", "data", "model"):
        if section in merged:
            assert faults({**merged, section: {**merged[section], "sed": 1}}), section


@pytest.mark.parametrize(
    ("benchmarks", "sound"),
    [
        ({"clean": {}, "imagenet_c": {"severities": 3, "corruptions": ["fog"]}, "imagenet_a": False}, True),
        ({"adversarial": {"attacks": ["fgsm", {"pgd_linf": {"steps": 3}}], "eps": {"Linf": ["8/255", 0.1]}}}, True),
        ({"adversarial": {"attacks": [{"pgd_linf": {"backend": "foolbox"}}]}}, True),
        ({"my_module:spec": {"anything": 1}}, True),
        ({"clena": {}}, False),
        ({"clean": {"x": 1}}, False),
        ({"imagenet_c": {"severities": [6]}}, False),
        ({"imagenet_c": {"corruptions": ["fogg"]}}, False),
        ({"adversarial": {"attacks": ["pgd_linff"]}}, False),
        ({"adversarial": {"attacks": [{"pgd_linf": {"stps": 3}}]}}, False),
        ({"adversarial": {"attacks": [{"pgd_linf": {"eps": 3}}]}}, False),
        ({"adversarial": {"eps": "x"}}, False),
    ],
)
def test_options_of_benchmarks_and_attacks_in_the_schema(benchmarks, sound):
    assert (faults({"evaluation": {"benchmarks": benchmarks}}) == []) == sound


@pytest.mark.parametrize(
    ("training", "sound"),
    [
        ({"adversary": {"type": "pgd", "eps": "8/255"}, "objective": {"type": "jsd", "kwargs": {"weight": 3}}}, True),
        ({"adversary": {"type": "pgd", "beta": 6}}, False),
        ({"objective": {"type": "jsd", "kwargs": {"weightt": 3}}}, False),
        ({"swa": {"start": 1.5}}, False),
    ],
)
def test_what_is_chosen_by_name_in_training_is_in_the_schema(training, sound):
    assert (faults({"training": training}) == []) == sound


def test_all_defaults_are_filled_in():
    options = {"attacks": ["fgsm", {"pgd_linf": {"steps": 3}}, {"pgd_l2": {"backend": "foolbox"}}]}
    benchmarks = {"clean": None, "adversarial": options, "imagenet_c": {"severities": [3]}, "imagenet_a": False}
    plain = filled(Config(evaluation=EvaluationConfig(benchmarks)))["evaluation"]["benchmarks"]
    assert plain["clean"] == {}
    assert plain["imagenet_a"] is False
    assert plain["imagenet_c"] == {
        **{name: to_plain(option.default) for name, option in options_of(BENCHMARKS["imagenet_c"].build).items()},
        "severities": [3],
    }
    attacks = {name: values for entry in plain["adversarial"]["attacks"] for name, values in entry.items()}
    assert plain["adversarial"]["stop"] == "first"
    assert plain["adversarial"]["eps"] is None
    assert attacks["fgsm"]["restarts"] == 1
    assert (attacks["pgd_linf"]["steps"], attacks["pgd_linf"]["random_start"]) == (3, True)
    assert attacks["pgd_l2"] == {"backend": "foolbox"}
    assert not {"stop", "eps", "seeds"} & set(attacks["fgsm"])


def test_what_check_prints_reads_back_as_the_same(tmp_path):
    text = (
        "training: {adversary: {type: trades}, objective: {type: plain}}\nema: {enable: true}\n"
        "evaluation: {benchmarks: {adversarial: {}, transfer: {models: {other: {type: resnet18}}}}}"
    )
    (tmp_path / "short.yaml").write_text(text)
    config = load_config(tmp_path / "short.yaml")
    plain = filled(config)
    (tmp_path / "long.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
    assert filled(load_config(tmp_path / "long.yaml")) == plain
    assert faults(plain) == []
    assert plain["training"]["adversary"]["beta"] == 6.0
    assert plain["ema"]["kwargs"]["decay"] == 0.999
    assert dataclasses.replace(build(Config, plain, ""), evaluation=None, ema=config.ema, training=config.training) == (
        dataclasses.replace(config, evaluation=None)
    )


OWN = '''
from typing import Annotated
from RobustART.core.ranges import Range
from RobustART.noise import ATTACKS
from RobustART.training.objectives.objective import OBJECTIVES, Plain


@ATTACKS.register("attack_of_a_user")
def attack(model, images, labels, *, eps, seeds=None, tries: Annotated[int, Range(1, 9)] = 3):
    """Changes nothing.

    Args:
        tries: how often it changes nothing.
    """
    return images.clone()


@OBJECTIVES.register("objective_of_a_user")
def objective(context, *, weight: float = 1.0):
    """Returns the plain objective."""
    return Plain(context.classes)
'''


def test_a_users_own_names_are_listed_and_checked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_names.py").write_text(OWN)
    try:
        path = "evaluation.benchmarks.adversarial.attacks.attack_of_a_user"
        assert main(["schema", path, "--import", "own_names"]) == 0
        listed = capsys.readouterr().out
        assert listed.startswith("attack_of_a_user: Changes nothing.")
        assert "  tries: how often it changes nothing. [an integer from 1 to 9; default 3]" in listed
        (tmp_path / "config.yaml").write_text(
            "imports: [own_names]\ntraining: {objective: {type: objective_of_a_user, kwargs: {weight: 1/2}}}"
        )
        assert load_config(tmp_path / "config.yaml").training.objective.kwargs == {"weight": 0.5}
        with pytest.raises(ConfigError, match="unknown option 'weights' of training.objective 'objective_of_a_user'"):
            load_config(tmp_path / "config.yaml", ["training.objective.kwargs.weights=2"])
    finally:
        ATTACKS.remove("attack_of_a_user")
        OBJECTIVES.remove("objective_of_a_user")
