"""Requirements on numbers: met, not met, and invalid."""

from xml.etree import ElementTree

import pytest

from RobustART.cli import main
from RobustART.errors import ConfigError
from RobustART.report.gate import check_requirements, read_requirement
from RobustART.report.numbers import numbers_by_name
from tests.metrics.test_comparison import run
from tests.report.test_export import ranks, reported, stated

TOP1 = "clean.top1"


@pytest.fixture
def place(tmp_path):
    """A run with 50 of 60 images correct: 83.33 [71.97, 90.69]."""
    return reported(run(tmp_path / "run", ranks(50), **stated(60)))


def gate(place, *requirements, flags=()):
    return main(["gate", place, *(part for one in requirements for part in ("--require", one)), *flags])


@pytest.mark.parametrize(
    ("requirement", "status", "sure"),
    [
        ("clean.top1 >= 83", 0, 1),
        ("clean.top1>=83.4", 1, 1),
        ("clean.top1 > 70", 0, 0),
        ("clean.top1 < 85", 0, 1),
        ("clean.top1 <= 91", 0, 0),
        ("clean.top1 >= 7e1", 0, 0),
    ],
)
def test_bounds_on_the_value_and_on_the_interval(place, requirement, status, sure):
    assert gate(place, requirement) == status
    assert gate(place, requirement, flags=["--sure"]) == sure


def test_junit(place, tmp_path, capsys):
    path = tmp_path / "gate.xml"
    for _ in range(2):
        assert gate(place, "clean.top1 >= 80", "clean.top1 >= 90", flags=["--junit", str(path)]) == 1
    out = capsys.readouterr().out
    assert "pass  clean.top1 >= 80  (83.33 [" in out
    assert "FAIL  clean.top1 >= 90  (83.33 [" in out
    suite = ElementTree.parse(path).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    good, bad = suite.findall("testcase")
    assert (good.get("classname"), good.get("name"), good.find("failure")) == ("clean", "clean.top1 >= 80", None)
    assert bad.find("failure").get("message") == "it is 83.33"


@pytest.mark.parametrize(
    ("requirement", "message"),
    [
        ("clean.top1 == 3", "a requirement is NAME SIGN NUMBER"),
        ("clean.top1 >= much", "a requirement is NAME SIGN NUMBER"),
        ("clean.top1 >=", "a requirement is NAME SIGN NUMBER"),
        (">= 3", "a requirement is NAME SIGN NUMBER"),
        ("clean.top1 >= nan", "a requirement is NAME SIGN NUMBER"),
        ("clean.topp1 >= 3", "there is no number 'clean.topp1'; did you mean 'clean.top1'?"),
        ("imagenet_c.mCE <= 70", "there is no number 'imagenet_c.mCE'"),
        ("clean.top1", "needs a bound"),
    ],
)
def test_a_bad_requirement_is_not_a_failure(place, requirement, message, capsys):
    assert gate(place, requirement) == 2
    assert message in capsys.readouterr().err


def test_without_requirements_nothing_is_checked(place, capsys):
    assert gate(place) == 2
    assert "there is nothing to check" in capsys.readouterr().err


def test_numbers_that_are_undefined_or_not_trustworthy_fail(report):
    top1 = report["benchmarks"]["clean"]["metrics"]["top1"]
    top1["not_trustworthy"] = ["answers depend on chance"]
    top5 = report["benchmarks"]["clean"]["metrics"]["top5"]
    assert top5["value"] is None
    found = check_requirements(report, [read_requirement("clean.top1 >= 0"), read_requirement("clean.top5 <= 100")])
    assert found[0].fault.startswith("answers depend on chance; the number was")
    assert found[1].fault == top5["reason"]


def test_the_strongest_attack_of_a_radius(report):
    table = report["benchmarks"]["adversarial"]["tables"]["robust_accuracy"]
    least = min(row["4/255"]["value"] for row in table.values() if "4/255" in row)
    name = "adversarial.robust_accuracy[Linf 4/255]"
    good, bad = (read_requirement(f"{name} {sign} {least}") for sign in (">=", ">"))
    assert [bool(found.fault) for found in check_requirements(report, [good, bad])] == [False, True]


def test_no_worse_than_a_baseline(place, tmp_path, capsys):
    worse = reported(run(tmp_path / "worse", ranks(48), **stated(60)))
    baseline = ["--baseline", place]
    assert gate(place, flags=["--baseline", worse]) == 0
    assert "pass  clean.top1, no worse than the baseline  (83.33 [" in capsys.readouterr().out
    assert gate(worse, flags=baseline) == 1
    assert "it is worse by 3.333" in capsys.readouterr().out
    assert gate(worse, TOP1, flags=[*baseline, "--margin", "3.4"]) == 0
    assert gate(worse, TOP1, flags=[*baseline, "--margin", "3.4", "--sure"]) == 1
    assert gate(worse, TOP1, flags=[*baseline, "--margin", "30", "--sure"]) == 0
    other = reported(run(tmp_path / "other", ranks(10, 20), **stated(20)))
    assert gate(other, flags=baseline) == 2  # other images
    assert gate(place, "clean.top1 > 3", flags=["--margin", "3"]) == 2


def test_lower_is_better(run_folder, report):
    from RobustART.metrics import compare

    comparison = compare(run_folder, _copy(run_folder))
    found = check_requirements(report, [], comparison)
    names = [outcome.requirement.name for outcome in found]
    assert "imagenet_c.mean_error_of_these_cells" in names
    assert "adversarial.robust_accuracy[fgsm 4/255]" in names
    assert "clean.top5" not in names  # undefined with three classes
    assert not any(outcome.fault for outcome in found)
    stage = next(name for name in numbers_by_name(report) if name.startswith("adversarial.broken_by["))
    with pytest.raises(ConfigError, match="which direction is better is unknown"):
        check_requirements(report, [read_requirement(stage)], comparison)


def _copy(folder):
    import shutil

    return shutil.copytree(folder, folder.parent / "copy_of_run", dirs_exist_ok=True)
