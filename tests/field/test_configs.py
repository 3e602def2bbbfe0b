"""Hostile and damaged configs: each is one line on stderr and exit status 2, within seconds and little memory."""

import os
import time

import pytest

from RobustART.core.documents import MAX_BYTES, MAX_DEPTH, MAX_NODES, parse_yaml
from RobustART.core.files import parse_json
from RobustART.errors import ConfigError
from RobustART.training.cls_solver import main


def laughs(entry, levels=10):
    """Returns lines in which each names the one before nine times."""
    lines = [f"a0: &a0 {entry.format('x', *'x' * 8)}"]
    return "\n".join([*lines, *(f"a{i}: &a{i} {entry.format(*[f'*a{i - 1}'] * 9)}" for i in range(1, levels))])


LIST = "[{},{},{},{},{},{},{},{},{}]"
MAPPING = "{{a: {},b: {},c: {},d: {},e: {},f: {},g: {},h: {},i: {}}}"
BAD = {
    "laughs of lists": (laughs(LIST), "more than 20,000 values"),
    "laughs of mappings": (laughs(MAPPING), "more than 20,000 values"),
    "laughs of merges": (laughs("{{<<: [{},{},{},{},{},{},{},{},{}]}}").replace("x", "{}"), "more than 20,000 values"),
    "contains itself": ("a: &a [*a]", "the value 'a' contains itself"),
    "merges itself": ("a: &a {<<: *a}", "the value 'a' contains itself"),
    "brackets": ("output_dir: " + "[" * 1000 + "]" * 1000, "nested more than 64 levels"),
    "open brackets": ("output_dir: " + "[" * 100_000, "nested more than 64 levels"),
    "indents": ("\n".join(" " * i + "a:" for i in range(400)), "nested more than 64 levels"),
    "not an int": ("output_dir: !!int abc", "line 6, column 13: abc is not a valid int"),
    "not a float": ("output_dir: !!float abc", "abc is not a valid float"),
    "not a bool": ("output_dir: !!bool abc", "abc is not a valid bool"),
    "not a date": ("output_dir: !!timestamp abc", "abc is not a valid timestamp"),
    "not a list": ("output_dir: !!omap {a: 1}", "expected a sequence, but found mapping"),
    "an object": ("output_dir: !!python/object/apply:os.system [ls]", "could not determine a constructor for the tag"),
    "digits": ("output_dir: " + "9" * 5000, "is too large a number"),
    "hexadecimal": ("output_dir: 0x" + "f" * 5000, "is too large a number"),
    "sexagesimal": ("output_dir: " + ":".join(["59"] * 3000), "is too large a number"),
    "null character": ('output_dir: "a\\0b"', "a string has a null character"),
    "long": ("output_dir: " + "a" * MAX_BYTES, "bytes; at most 262,144 are read"),
    "many": ("output_dir: [" + "1," * (MAX_NODES + 1) + "]", "more than 20,000 values"),
    "two documents": ("---\na: 3", "found another document"),
    "unclosed": ('output_dir: "abc', "unexpected end of stream"),
    "control": ("output_dir: \x1b[31m", "special characters are not allowed"),
    "endless": ("base: /dev/zero", "it is a device, not a file"),
    "pipe": ("base: pipe", "it is a pipe, not a file"),
    "folder": ("base: photos", "it is a folder, not a file"),
    "missing": ("base: nothing", "nothing cannot be read: No such file"),
    "long name": ("base: " + "a" * 5000, "File name too long"),
    "kwargs": ("lr_scheduler: {type: Step, kwargs: 4}", "lr_scheduler"),
    "long folder": ("data: {train: {root_dir: " + "a" * 300 + "}}", None),
}


@pytest.fixture
def check(small_config, capsys):
    """Runs ``--check`` on the small config with further lines; returns its message and exit status."""
    os.mkfifo(small_config.parent / "pipe")
    plain = small_config.read_text().replace("adversarial: {eps: [1/255, 8/255]}", "")

    def run(lines):
        kept = "".join(f"{line}\n" for line in plain.splitlines() if not line.startswith("data") or "data" not in lines)
        kept = "model: {type: resnet18}\nevaluation:\n  device: cpu\n  benchmarks:\n    clean: {}\n" if lines else kept
        small_config.write_text(f"{kept}{lines}\n")
        begun = time.monotonic()
        status = main(["--config", str(small_config), "--check"])
        assert time.monotonic() - begun < 20  # of a slow machine; a second or less elsewhere
        return status, capsys.readouterr().err

    return run


@pytest.mark.parametrize("case", BAD)
def test_a_bad_config_is_one_line(check, case):
    lines, message = BAD[case]
    status, shown = check(lines)
    assert status == 2
    assert (shown[:7], shown.count("\n"), shown[-1]) == ("error: ", 1, "\n")
    assert message is None or message in shown


def test_limits_allow_what_is_meant():
    assert parse_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH, "x") is not None
    assert len(parse_yaml("[" + "1," * (MAX_NODES - 2) + "]", "x")) == MAX_NODES - 2
    assert parse_yaml("a: &a [1, 2]\nb: *a\nc: {<<: {d: 1e-4}, e: 8/255}", "x") == {
        "a": [1, 2],
        "b": [1, 2],
        "c": {"d": 1e-4, "e": 8 / 255},
    }


@pytest.mark.parametrize("date", ["2001-99-99", "2026-11-27", "2026-11-27 10:00:00"])
def test_a_date_is_a_string(date):
    assert parse_yaml(f"output_dir: {date}", "x") == {"output_dir": date}


def test_bases_that_multiply_are_refused(tmp_path, capsys):
    for i in range(20):
        (tmp_path / f"{i}.yaml").write_text(f"base: [{i + 1}.yaml, {i + 1}.yaml]")
    (tmp_path / "20.yaml").write_text("{}")
    assert main(["--config", str(tmp_path / "0.yaml"), "--check"]) == 2
    assert "has more than 64 base files" in capsys.readouterr().err


def test_values_of_set_pass_the_same_door(small_config, capsys):
    for value in ("!!int abc", "[" * 1000, "9" * 5000):
        assert main(["--config", str(small_config), "--check", "--set", f"output_dir={value}"]) == 2
        assert capsys.readouterr().err.startswith("error: the value of --set output_dir is not a plain YAML file")
    assert main(["--config", str(small_config), "--check", "--set", "a." * 1000 + "a=1"]) == 2


def test_json_is_limited():
    for text in ("[" * 100_000, "9" * 5000, "{"):
        with pytest.raises(ValueError):
            parse_json(text)


def test_parse_yaml_names_its_text():
    with pytest.raises(ConfigError, match="^the labels is not a plain YAML file in line 1, column 4: "):
        parse_yaml("a: *b", "the labels")
