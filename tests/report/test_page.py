"""``report.html``: its numbers are those of ``report.json``, it loads nothing, and nothing in it can come alive."""

import base64
import copy
import io
import json
import logging
import re
import sys

import pytest
from PIL import Image

from RobustART.benchmarks import BENCHMARKS
from RobustART.benchmarks.adversarial import strongest
from RobustART.data import array_dataset
from RobustART.evaluation import evaluate
from RobustART.report.context import noise_families
from RobustART.report.page import render
from tests.conftest import make_picture
from tests.report.conftest import PREPROCESSING, Tiny, read_page, shown, table


def renamed(report, **names):
    """Returns a report some of whose benchmarks have other names."""
    data = copy.deepcopy(report)
    for holder in (data["benchmarks"], data["timing"]["benchmarks"]):
        for name, other in names.items():
            holder[other] = holder.pop(name)
    return data


def test_a_benchmark_that_is_not_imported_is_named_with_its_numbers(report):
    text = render(renamed(report, imagenet_c="mine", imagenet_s="ours"))
    page = read_page(text)
    (warnings,) = page.find("aside", class_="warnings")
    notes = [item.text for item in warnings.find("li")][-2:]
    for name, note in zip(("mine", "ours"), notes, strict=True):
        assert note.startswith(f"The benchmark {name} is not imported")
        assert "--import MODULE" in note
    rows = {(name, cells[0].text): cells for name, cells in table(page, "Headline numbers")}
    estimate = report["benchmarks"]["imagenet_c"]["metrics"]["mean_error_of_these_cells"]
    cells = rows["mine", "mean_error_of_these_cells"]  # without an arrow
    assert f"{cells[1].text} {cells[2].text}" == shown(estimate)
    assert [row for row, _ in table(page, "mine: top1")] == ["gaussian_noise", "pixelate", "fog"]
    assert "is not imported" not in render(report)


@pytest.fixture
def page(run_folder):
    return read_page((run_folder / "results" / "report.html").read_text(encoding="utf-8"))


def test_the_summary_is_that_of_the_report(page, report):
    rows = {(name, cells[0].text): cells for name, cells in table(page, "Headline numbers")}
    count = 0
    for name, entry in report["benchmarks"].items():
        for metric, estimate in entry["metrics"].items():
            (cells,) = [cells for (of, label), cells in rows.items() if of == name and re.match(rf"{metric}\b", label)]
            assert f"{cells[1].text} {cells[2].text}".strip() == shown(estimate)
            value = cells[1].attributes.get("data-value")
            assert (None if value is None else float(value)) == estimate["value"]
            assert cells[3].text == str(estimate["n"])
            count += 1
    assert len(rows) == count + 4  # the strongest attack of each norm and radius
    robust = report["benchmarks"]["adversarial"]["tables"]["robust_accuracy"]
    lowest = min(robust["fgsm"]["4/255"], robust["autoattack_linf"]["4/255"], key=lambda e: e["value"])
    (cells,) = [cells for (_, label), cells in rows.items() if "Linf 4/255" in label]
    assert cells[1].text == f"{lowest['value']:.2f}"


def test_every_table_is_that_of_the_report(page, report):
    captions = {
        ("imagenet_c", "top1"): "Top-1 accuracy", ("imagenet_s", "systems"): "Accuracy, and the mean pixel",
        ("adversarial", "robust_accuracy"): "robust accuracy", ("adversarial", "AR"): "AR (%)",
        ("adversarial", "WCAR"): "WCAR (%)",
    }  # fmt: skip
    compared = 0
    for (name, key), caption in captions.items():
        expected = report["benchmarks"][name]["tables"][key]
        rows = table(page, caption)
        assert sorted(row for row, _ in rows) == sorted(expected)
        for row, cells in rows:
            if name == "adversarial":  # a table for each norm
                columns = list(expected[row])
            else:
                columns = list(dict.fromkeys(column for entry in expected.values() for column in entry))
            for column, cell in zip(columns, cells, strict=True):
                if column in expected[row]:
                    assert cell.text == shown(expected[row][column])
                    assert float(cell.attributes["data-value"]) == expected[row][column]["value"]
                    compared += 1
                else:
                    assert cell.text == ""
    assert compared > 25


def test_where_the_images_were_broken(page, report):
    entry = report["benchmarks"]["adversarial"]
    assert set(entry["tables"]["broken_by"]) <= {"autoattack_linf/1/255", "autoattack_linf/4/255"}
    assert entry["tables"]["broken_by"]
    for cell, cells in table(page, "The same in numbers"):
        values = [float(td.attributes["data-value"]) for td in cells]
        assert sum(values) == pytest.approx(100)
        assert values[0] == pytest.approx(100 - entry["metrics"]["clean_accuracy"]["value"])
        attack, _, radius = cell.partition("/")
        assert values[-1] == entry["tables"]["robust_accuracy"][attack][radius]["value"]


def test_the_conditions_are_all_there(page, report):
    facts = {name: cells[0].text for name, cells in table(page, "Model, data and run")}
    conditions = report["conditions"]
    assert facts["seed"] == str(conditions["seed"])
    assert facts["weights (fingerprint)"] == report["model"]["weights"]
    assert facts["images per second"] == f"{report['timing']['images_per_second']:,}"
    assert facts["preprocessing: mean"] == "0.5, 0.5, 0.5"
    versions = {name: cells[0].text for name, cells in table(page, "Versions")}
    assert versions == conditions["versions"]
    timed = {name: [cell.text for cell in cells] for name, cells in table(page, "Time and passes")}
    for name, entry in report["benchmarks"].items():
        timing, cost = report["timing"]["benchmarks"][name], entry["cost"]
        told = [f"{timing['wall_seconds']:,.1f} s", f"{timing['images_per_second']:,.1f}"]
        assert timed[name] == ["12", "all", *told, f"{cost['forward']:,}", f"{cost['backward']:,}"]
    attacks = {name: [cell.text for cell in cells] for name, cells in table(page, "Attacks")}
    for cell, cost in report["benchmarks"]["adversarial"]["passes"].items():
        assert attacks[f"adversarial: {cell}"][1:] == [f"{cost['forward']:,}", f"{cost['backward']:,}"]
    assert "version: custom" in attacks["adversarial: autoattack_linf/4/255"][0]
    hashes = [cells[-1].text for _, cells in table(page, "Benchmarks")]
    assert hashes == [entry["hash"] for entry in report["benchmarks"].values()]


def test_sections_are_those_of_what_was_measured(page, report):
    assert [section.attributes["aria-labelledby"] for section in page.find("section")] == [
        "summary", "families", "corruptions-imagenet-c", "adversarial", "stages", "system", "examples", "conditions",
    ]  # fmt: skip
    links = [a.attributes["href"] for a in page.find("nav")[0].find("a")]
    assert links == [f"#{heading.attributes['id']}" for s in page.find("section") for heading in s.find("h2")]
    alone = copy.deepcopy(report)
    alone["benchmarks"] = {"clean": alone["benchmarks"]["clean"]}
    few = read_page(render(alone))
    names = [section.attributes["aria-labelledby"] for section in few.find("section")]
    assert names == ["summary", "examples", "conditions"]
    assert few.find("svg") == []
    assert "There are no example images: " in few.find("section")[1].text


def test_other_benchmarks_have_their_tables(report):
    estimate = {"value": 12.5, "low": 1.0, "high": 40.0, "n": 8}
    nothing = {"value": None, "low": None, "high": None, "n": 0, "reason": "no image is right for both"}
    entry = {**report["benchmarks"]["clean"], "metrics": {"agreement": estimate}}
    report["benchmarks"] |= {
        "mirror": {**entry, "tables": {"by side": {"left": {"a": estimate}, "right": {"b": estimate}}}},
        "transfer": {**entry, "tables": {"transfer_success fgsm/8/255": {"model": {"b": nothing, "model": estimate}}}},
        "nothing": {**entry, "metrics": {}, "tables": {"empty": {}}},
    }
    for name in ("mirror", "transfer", "nothing"):
        report["timing"]["benchmarks"][name] = report["timing"]["benchmarks"]["clean"]
    page = read_page(render(report))
    assert [[cell.text for cell in cells] for _, cells in table(page, "mirror: by side")] == [
        ["12.50 [1.00, 40.00]", ""],
        ["", "12.50 [1.00, 40.00]"],
    ]
    ((name, cells),) = table(page, "fgsm/8/255 transfer success")
    assert (name, cells[0].text) == ("model", "undefined no image is right for both")


def test_errors_of_groups_and_corruptions_stand_with_the_heat_map(report):
    """Where a report has them, the radar takes a group's own number, with its interval."""
    tables = report["benchmarks"]["imagenet_c"]["tables"]
    error = {"value": 30.0, "low": 20.0, "high": 45.0, "n": 12}
    tables["group_errors"] = {"noise": {"mean error": error, "CE": {**error, "value": 80.5}}}
    tables["corruption_errors"] = {"fog": {"mean error": error}}
    axes = {name: estimate for name, _, estimate in noise_families(report)}
    assert axes["noise"] == {"value": 70.0, "low": 55.0, "high": 80.0, "n": 12}
    assert axes["weather"]["low"] is None
    page = read_page(render(report))
    ((name, cells),) = table(page, "errors by group")
    assert (name, [cell.text for cell in cells]) == ("noise", [shown(error), "80.50 [20.00, 45.00]"])
    assert not any("tables" in section.attributes["aria-labelledby"] for section in page.find("section"))


def test_rows_that_share_no_radius_are_tables_of_their_own(report):
    estimate = {"value": 12.5, "low": 1.0, "high": 40.0, "n": 8}
    rows = {"all 2 Linf attacks": {"1/255": estimate}, "all 3 attacks": {"Linf 1/255 + L2 0.1": estimate}}
    report["benchmarks"]["adversarial"]["tables"]["WCAR"] = rows
    found = [[cell.text for cell in cells] for _, cells in table(read_page(render(report)), "WCAR")]
    assert found == [["12.50 [1.00, 40.00]"], ["12.50 [1.00, 40.00]"]]


def test_only_percentages_are_marked_from_0_to_100(report):
    numbers = {"value": 2.5, "low": 1.0, "high": 4.0, "n": 8}
    report["benchmarks"]["imagenet_p"] = {
        **report["benchmarks"]["clean"],
        "metrics": {"mFP": numbers, "mean_T5D": numbers},
    }
    report["benchmarks"]["clean"]["metrics"] = {"top1": numbers}
    report["timing"]["benchmarks"]["imagenet_p"] = report["timing"]["benchmarks"]["clean"]
    cells = [cells for _, cells in table(read_page(render(report)), "Headline numbers")]
    marked = {own[0].text.split()[0]: bool(own[-1].find("span", class_="bar")) for own in cells}
    assert {name: marked[name] for name in ("top1", "mFP", "mean_T5D")} == {
        "top1": True,
        "mFP": True,
        "mean_T5D": False,
    }


@pytest.mark.parametrize(
    ("benchmark", "metric", "way"),
    [
        ("clean", "top1", "high"), ("imagenet_c", "mCE", "low"), ("imagenet_c", "mCE_19", "low"),
        ("imagenet_c", "relative_mCE", "low"), ("imagenet_c", "mean_error_15", "low"), ("imagenet_a", "ece", "low"),
        ("imagenet_c", "fog mean error", "low"), ("imagenet_s", "std_top1", "low"), ("imagenet_s", "worst_top1", "high"),
        ("imagenet_p", "mFP_of_these", "low"), ("imagenet_p", "mean_T5D", "low"), ("imagenet_p", "mean_zipf", "low"),
        ("imagenet_p", "mFR", "low"), ("imagenet_o", "aupr", "high"), ("imagenet_o", "chance_aupr", None),
        ("imagenet_o", "auroc", "high"), ("imagenet_o", "fpr95", "low"), ("imagenet_a", "aurra", "high"),
        ("imagenet_a", "rms_calibration_error", "low"), ("adversarial", "pgd_linf 8/255", "high"),
        ("adversarial", "AR/fgsm/8/255", "high"), ("adversarial", "clean_accuracy", "high"), ("clean", "score", None),
        ("transfer", "clean_accuracy other", "high"), ("transfer", "transfer_success fgsm/8/255/model/other", None),
    ],
)  # fmt: skip
def test_which_way_is_better(benchmark, metric, way):
    assert BENCHMARKS[benchmark].metric(metric).better == way


def test_example_images_are_the_recorded_ones(page, run_folder):
    told = json.loads((run_folder / "results" / "pictures" / "captions.json").read_text())["tiles"]
    lines = (run_folder / "results" / "clean.jsonl").read_text().splitlines()[1:]
    clean = next(tile for tile in told if tile["row"] == "clean")
    assert clean["confidence"] in [json.loads(line)["confidence"][0] for line in lines]
    assert {tile["row"] for tile in told} >= {"clean", "fog", "pixelate", "fgsm", "autoattack_linf"}
    items = page.find("ul", class_="tiles")
    shown_tiles = [item for strip in items for item in strip.find("li")]
    assert len(shown_tiles) == len(told)
    for image, tile in zip(page.find("img"), told, strict=True):
        stored = (run_folder / "results" / "pictures" / tile["file"]).read_bytes()
        kind, _, content = image.attributes["src"].partition(",")
        assert kind == "data:image/jpeg;base64"
        assert base64.b64decode(content) == stored
        assert image.attributes["alt"]
        with Image.open(io.BytesIO(stored)) as opened:
            assert opened.size == (120, 120)
    first = shown_tiles[0]
    assert clean["prediction"] in first.text
    assert f"{100 * clean['confidence']:.1f}" in first.text
    assert ("(correct)" if clean["right"] else "(wrong)") in first.text


def test_the_page_loads_nothing_and_says_so(page, run_folder):
    text = (run_folder / "results" / "report.html").read_text(encoding="utf-8")
    assert len(text) < 3_000_000
    (policy,) = page.find("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy.attributes["content"].startswith("default-src 'none'")
    for element in page.all():
        assert element.name not in ("link", "iframe", "object", "embed", "base")
        for name, value in element.attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href", "action", "data", "srcset", "poster"):
                assert value.startswith(("#", "data:image/")), (element.name, name, value[:80])
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert {link[:2] for link in re.findall(r"url\((..)", text)} <= {"#c", "#f", "#r", "#s"}
    identities = [e.attributes["id"] for e in page.all() if "id" in e.attributes]
    assert len(identities) == len(set(identities))


def test_the_page_is_made_for_every_reader(page):
    assert page.find("html")[0].attributes["lang"] == "en"
    for plot in page.find("svg", role="img"):
        assert len(plot.attributes["aria-label"]) > 20
    for found in page.find("table"):
        assert found.find("caption")[0].text
        assert all(head.attributes.get("scope") for head in found.find("th"))
    boxes = page.find("div", class_="scroll")
    assert all(box.attributes["tabindex"] == "0" and box.attributes["aria-label"] for box in boxes)
    style = page.find("style")[0].text
    assert "prefers-color-scheme: dark" in style
    for plot in page.find("svg"):
        for element in plot.all():
            assert not re.search(r"#[0-9a-f]{6}", element.attributes.get("style", "")), "a colour of its own"


EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>&amp;$x_{-->\x00\u202e"


def poison(value, keep=("format",)):
    """The same data with something dangerous at the end of every text."""
    if isinstance(value, dict):
        return {key: inner if key in keep else poison(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [poison(inner) for inner in value]
    return value + EVIL if isinstance(value, str) else value


def test_texts_stay_texts(report):
    report = poison(report)
    report["benchmarks"][EVIL] = copy.deepcopy(report["benchmarks"]["imagenet_c"])
    report["benchmarks"][EVIL]["metrics"][EVIL] = report["benchmarks"]["clean"]["metrics"]["top1"]
    report["timing"]["benchmarks"][EVIL] = report["timing"]["benchmarks"]["clean"]
    for entry in report["benchmarks"].values():
        entry["tables"] = {
            key: {row + EVIL: {f"{column}": e for column, e in cells.items()} for row, cells in rows.items()}
            for key, rows in entry["tables"].items()
        }
    adversarial = report["benchmarks"]["adversarial"]
    cells = {cell: cell.replace("/", f"{EVIL.replace('/', '')}/", 1) for cell in adversarial["attacks"]}
    adversarial["attacks"] = {cells[cell]: settings for cell, settings in adversarial["attacks"].items()}
    for key in ("robust_accuracy", "AR"):
        rows = adversarial["tables"][key]
        adversarial["tables"][key] = {row.replace(EVIL, EVIL.replace("/", "")): inner for row, inner in rows.items()}
    tile = {
        "row": EVIL,
        "column": EVIL,
        "prediction": EVIL,
        "confidence": 0.5,
        "right": False,
        "source": "data:" + EVIL,
    }
    page = read_page(render(report, [tile]))
    assert len(page.find("script")) == 1
    assert len(page.find("img")) == 1
    assert not any(name.startswith("on") for element in page.all() for name in element.attributes)
    seen = EVIL.replace("\x00", "\ufffd").replace("\u202e", "\ufffd")
    assert page.find("h1")[0].text.endswith(seen.strip())
    assert sum(seen in plot.text for plot in page.find("svg")) >= 2  # labels of matplotlib


def test_a_page_that_cannot_be_made_loses_nothing(tmp_path, monkeypatch, caplog):
    data = array_dataset([make_picture(i, 32, 32) for i in range(6)], [i % 3 for i in range(6)])
    how = {"output_dir": tmp_path, "preprocessing": PREPROCESSING, "progress": False}
    attack = {"adversarial": {"attacks": ["fgsm"], "eps": [0.01]}}
    evaluate(Tiny(), data, attack, **how)
    page = tmp_path / "results" / "report.html"
    assert page.is_file()
    with monkeypatch.context() as context, caplog.at_level(logging.WARNING):
        context.setitem(sys.modules, "matplotlib", None)
        report = evaluate(Tiny(), data, attack, **how)
    assert report.metric("adversarial", "clean_accuracy") is not None
    assert "report.html could not be written: " in caplog.text
    assert "pip install matplotlib" in caplog.text
    assert not page.exists()  # it would show other numbers than report.json one day
    assert (tmp_path / "results" / "report.json").is_file()
    page.mkdir()
    caplog.clear()
    evaluate(Tiny(), data, attack, **how)
    assert "report.html could not be written: Is a directory" in caplog.text


def test_families_of_noise(report):
    axes = {name: (what, estimate["value"]) for name, what, estimate in noise_families(report)}
    top1 = report["benchmarks"]["imagenet_c"]["tables"]["top1"]
    assert list(axes) == ["clean", "noise", "weather", "digital", "system", "Linf 1/255", "L2 0.1"]
    assert axes["noise"] == ("mean top-1 accuracy over 1 of 3 corruptions", top1["gaussian_noise"]["mean"]["value"])
    robust = report["benchmarks"]["adversarial"]["tables"]["robust_accuracy"]
    lowest = min(robust[attack]["1/255"]["value"] for attack in ("fgsm", "autoattack_linf"))
    assert axes["Linf 1/255"][1] == lowest
    found = strongest(report["benchmarks"]["adversarial"])
    assert [(norm, radius) for norm, radius, *_ in found] == [
        ("Linf", "1/255"), ("Linf", "4/255"), ("L2", "0.1"), ("L2", "1"),
    ]  # fmt: skip
