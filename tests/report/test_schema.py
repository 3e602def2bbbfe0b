"""``report.json`` against its schema; jsonschema is the judge of our own reading of it."""

import copy
import json

import jsonschema
import pytest

from RobustART.cli import main
from RobustART.errors import RecordError
from RobustART.report import find_report, read_report
from RobustART.report.schema import faults, report_schema, schema_lines


def test_the_schema_is_one_and_every_key_is_explained():
    jsonschema.Draft202012Validator.check_schema(report_schema())

    def walk(schema):
        for part in [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]:
            assert part.get("description") or "$ref" in part, part
            walk(part)
        for key in ("items", "additionalProperties"):
            if key in schema:
                walk(schema[key])

    walk(report_schema())
    lines = list(schema_lines())
    assert any(line.strip().startswith("low: Lower end of the 95 % interval") for line in lines)


def test_a_real_report_is_as_the_schema_says(report):
    jsonschema.validate(report, report_schema())
    assert list(faults(report)) == []
    # Nothing stands in the report that the schema does not name.
    schema = report_schema()["properties"]
    assert set(report) == set(schema)
    for key in ("model", "conditions", "timing"):
        assert set(report[key]) == set(schema[key]["properties"]) - {"runtime"}  # absent where torch runs the module
    for entry in report["benchmarks"].values():
        assert set(entry) <= set(schema["benchmarks"]["additionalProperties"]["properties"])
    assert report["model"]["parameters"] == 3 * 8 * 9 + 8 + 32 * 3 + 3
    assert report["model"]["architecture"] == "Tiny"
    assert report["timing"]["images_computed"] == 48


FOUND = {"value": 80.0, "low": 70.0, "high": 90.0, "n": 12}


def remove(key):
    return lambda data: data["benchmarks"]["clean"]["metrics"]["top1"].pop(key)


def put(path, value):
    def change(data):
        *way, last = path
        for key in way:
            data = data[key]
        data[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.pop("timing"), r"timing is missing"),
        (remove("low"), r"benchmarks.clean.metrics.top1.low is missing"),
        (
            put(("benchmarks", "clean", "metrics", "top1", "value"), "90"),
            r"top1.value must be of the type number or null, got '90'",
        ),
        (put(("conditions", "seed"), True), r"conditions.seed must be of the type integer or null, got True"),
        (put(("conditions", "seed"), 0.5), r"conditions.seed must be of the type integer or null, got 0.5"),
        (put(("conditions", "data", 0), []), r"conditions.data\[0\] must be of the type object, got \[\]"),
        (put(("warnings",), ["a", 1]), r"warnings\[1\] must be of the type string, got 1"),
        (
            put(("benchmarks", "imagenet_c", "tables", "top1", "fog", "1"), None),
            r"top1.fog.1 must be of the type object, got None",
        ),
        (put(("benchmarks", "clean", "metrics", "top1", "n"), -1), r"clean.metrics.top1.n must be 0 or more, got -1"),
        (put(("model", "classes"), 0), r"model.classes must be 1 or more, got 0"),
        (put(("timing", "wall_seconds"), -0.5), r"timing.wall_seconds must be 0 or more, got -0.5"),
        (
            put(("conditions", "preprocessing", "input_size"), "224"),
            r"input_size must be of the type integer, got '224'",
        ),
        (
            put(("benchmarks", "adversarial", "attacks", "fgsm/1/255", "eps"), "1/255"),
            r"attacks.fgsm/1/255.eps must be of the type number, got '1/255'",
        ),
        (put(("format",), "robustart-report/0"), r"its format must be 'robustart-report/4', got 'robustart-report/0'"),
    ],
)
def test_damage_is_named_and_the_judge_agrees(tmp_path, report, change, message):
    data = copy.deepcopy(report)
    change(data)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, report_schema())
    assert list(faults(data))
    path = tmp_path / "report.json"
    path.write_text(json.dumps(data))
    with pytest.raises(RecordError, match=message) as caught:
        read_report(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            put(("benchmarks", "clean", "metrics", "top1"), FOUND | {"low": 95.0}),
            r"top1.low is 95, above its high of 90",
        ),
        (
            put(("benchmarks", "clean", "metrics", "top1"), FOUND | {"value": 95.0}),
            r"top1.value is 95, outside its interval",
        ),
        (
            put(("benchmarks", "clean", "metrics", "top1"), FOUND | {"value": 101.0, "high": 102.0}),
            r"benchmarks.clean.metrics.top1.value must be from 0 to 100, got 101",
        ),
        (
            put(("benchmarks", "imagenet_c", "metrics", "mCE"), FOUND | {"value": -1.0, "low": -2.0}),
            r"mCE.value must be from 0 up",
        ),
        (
            put(("benchmarks", "clean", "metrics", "top1"), FOUND | {"high": None}),
            r"top1.high is null, but the other end",
        ),
        (
            put(("benchmarks", "clean", "metrics", "top1"), FOUND | {"value": None}),
            r"top1.value is null, but it has an",
        ),
        (
            put(("benchmarks", "clean", "metrics", "top1", "value"), float("nan")),
            r"top1.value must be of .* number or null, got nan",
        ),
        (
            put(("benchmarks", "imagenet_c", "tables", "top1", "fog", "1"), FOUND | {"value": 120.0, "high": 130.0}),
            r"benchmarks.imagenet_c.tables.top1.fog.1.value must be from 0 to 100, got 120",
        ),
        (put(("conditions", "data", 0, "of"), 3), r"conditions.data\[0\].images is 12, more than the data set's 3"),
        (lambda data: data["timing"]["benchmarks"].pop("clean"), "timing.benchmarks lacks clean"),
        (
            lambda data: data["benchmarks"]["adversarial"]["attacks"].clear(),
            r"benchmarks.adversarial has the number .* of the cell fgsm/1/255, whose settings \S+attacks lacks",
        ),
    ],
)
def test_impossible_numbers_are_refused_where_they_are_read(tmp_path, report, capsys, change, message):
    data = copy.deepcopy(report)
    change(data)
    path = tmp_path / "report.json"
    path.write_text(json.dumps(data))
    with pytest.raises(RecordError, match=message):
        read_report(path)
    assert main(["leaderboard", str(tmp_path), "-o", str(tmp_path / "board.html")]) == 2
    assert str(path) in capsys.readouterr().err


def test_ratios_may_be_above_100_and_losses_below_0(tmp_path, report):
    metrics = report["benchmarks"]["imagenet_c"]["metrics"]
    metrics["mCE"] = FOUND | {"value": 120.0, "high": 130.0}
    metrics["relative_mCE"] = FOUND | {"value": -3.0, "low": -9.0}
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert read_report(tmp_path / "report.json") == report


def test_what_is_no_report(tmp_path, run_folder):
    assert find_report(run_folder) == find_report(run_folder / "results")
    with pytest.raises(RecordError, match=r"there is no folder .*nowhere"):
        find_report(tmp_path / "nowhere")
    with pytest.raises(RecordError, match=r"has no report: neither results/report.json nor report.json"):
        find_report(tmp_path)
    path = tmp_path / "report.json"
    for text, message in (
        ("{", "is not JSON"),
        ("[1]", r"must be of the type object, got \[1\]"),
        ('{"a": 1}', "got None"),
    ):
        path.write_text(text)
        with pytest.raises(RecordError, match=message):
            read_report(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(RecordError, match="is not JSON"):
        read_report(path)
