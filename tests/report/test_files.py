"""``robustart report``: the report of result files is the one that the run wrote, and says what only the run would know."""

import json
import shutil
import subprocess
import sys

import jsonschema
import pytest

from RobustART.cli import main
from RobustART.evaluation import evaluate
from RobustART.report import read_report
from RobustART.report.facts import read_facts
from RobustART.report.schema import report_schema
from tests.conftest import solver_environ
from tests.report.conftest import BENCHMARKS, PREPROCESSING, Tiny, read_page, table

FILES = ("report.html", "report.json", "report.md")


@pytest.fixture
def results(run_folder, tmp_path):
    """A copy of the results of a run without its report."""
    copied = shutil.copytree(run_folder / "results", tmp_path / "copy" / "results")
    for name in FILES:
        (copied / name).unlink()
    return copied


def edit(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def examples(results):
    page = read_page((results / "report.html").read_text(encoding="utf-8"))
    (section,) = page.find("section", **{"aria-labelledby": "examples"})
    return section


def test_it_is_the_report_of_the_run_byte_for_byte(run_folder, results):
    """Whatever the order of hashes and matplotlib's settings, and without torch."""
    code = (
        "import sys; from RobustART.cli import main; "
        f"status = main(['report', {str(results.parent)!r}]); print(status, 'torch' in sys.modules)"
    )
    environ = solver_environ(PYTHONHASHSEED="7", MPLBACKEND="pdf")
    done = subprocess.run([sys.executable, "-c", code], env=environ, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"Written to {results}: {', '.join(FILES)}", "0 False"]
    for path in (run_folder / "results").iterdir():
        if path.is_file():
            assert (results / path.name).read_bytes() == path.read_bytes(), path.name
    assert {path.name for path in results.iterdir()} == {path.name for path in (run_folder / "results").iterdir()}
    assert main(["report", str(results)]) == 0  # over an older report too


def test_help_loads_neither_templates_nor_plots():
    code = (
        "import sys, contextlib\nfrom RobustART.cli import main\nwith contextlib.suppress(SystemExit): main(['report', '--help'])\n"
        "print([name for name in ('jinja2', 'matplotlib', 'torch', 'tabulate', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=solver_environ(), check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_without_facts_it_says_what_is_missing(results, report, tmp_path):
    (results / "run.json").unlink()
    shutil.rmtree(results / "pictures")
    assert main(["report", str(results)]) == 0
    made = read_report(results / "report.json")
    jsonschema.validate(made, report_schema())
    assert {name: entry["metrics"] for name, entry in made["benchmarks"].items()} == {
        name: entry["metrics"] for name, entry in report["benchmarks"].items()
    }
    assert made["model"]["weights"] == report["model"]["weights"]
    known = [{key: row[key] for key in ("name", "images", "of")} for row in report["conditions"]["data"]]
    assert made["conditions"]["data"] == known
    assert [made["model"][key] for key in ("architecture", "parameters", "classes")] == [None] * 3
    assert made["timing"] is None
    assert "run.json is missing" in made["warnings"][0]
    assert "where labels come from" in made["warnings"][0]
    page = read_page((results / "report.html").read_text(encoding="utf-8"))
    facts = {name: cells[0].text for name, cells in table(page, "Model, data and run")}
    assert facts["architecture"] == facts["wall time"] == "unknown"
    assert "There are no example images: pictures/captions.json cannot be read: No such file" in examples(results).text
    assert "| clean |  |  |  |  |  |  |" in (results / "report.md").read_text()
    board = tmp_path / "board.html"
    assert main(["leaderboard", str(results), "-o", str(board), "--csv", str(tmp_path / "board.csv")]) == 0
    assert "not known" in board.read_text()


def test_a_report_from_before_keeps_what_it_states(run_folder, results):
    """Runs from before there was a run.json; so does a run that resumes one."""
    (results / "run.json").unlink()
    shutil.copy(run_folder / "results" / "report.json", results)
    assert main(["report", str(results)]) == 0
    for name in FILES:
        assert (results / name).read_bytes() == (run_folder / "results" / name).read_bytes(), name


def test_facts_of_other_records_are_not_used(results):
    edit(results / "run.json", lambda data: data["benchmarks"]["clean"].update(hash="0" * 16))
    assert main(["report", str(results)]) == 0
    assert "run.json belongs to other result files" in read_report(results / "report.json")["warnings"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.pop("notes"), "run.json is damaged: notes is missing"),
        (
            lambda data: data["model"].update(parameters="5"),
            "model.parameters must be of the type integer or null, got '5'",
        ),
        (lambda data: data["benchmarks"]["clean"].pop("data"), "benchmarks.clean.data is missing"),
        (lambda data: data.update(format="robustart-run/0"), "format must be 'robustart-run/1', got 'robustart-run/0'"),
        (
            lambda data: data["timing"]["benchmarks"].pop("clean"),
            "in their report, timing.benchmarks lacks clean",
        ),
    ],
)
def test_damaged_facts_are_named(results, capsys, change, message):
    edit(results / "run.json", change)
    assert main(["report", str(results)]) == 2
    assert message in capsys.readouterr().err
    assert not (results / "report.json").exists()


def test_folders_without_results(results, tmp_path, capsys):
    def refused(folder):
        assert main(["report", str(folder)]) == 2
        return capsys.readouterr().err

    assert "there is no folder" in refused(tmp_path / "nowhere")
    assert "is a file; name the folder of its run" in refused(results / "clean.jsonl")
    (tmp_path / "empty").mkdir()
    assert "has no result files" in refused(tmp_path / "empty")
    whole = (results / "clean.jsonl").read_bytes()
    (results / "clean.jsonl").write_bytes(whole[: len(whole) // 2])
    assert "clean.jsonl has" in refused(results)
    (results / "clean.jsonl").write_bytes(whole)
    (results / "report.md").write_text("# My notes")
    assert "report.md exists already and is not a report" in refused(results)
    assert (results / "report.md").read_text() == "# My notes"


def test_only_benchmarks_of_the_last_run_are_reported(tmp_path, photos, capsys):
    """As the run itself does; result files of runs before are still there."""
    run = {"output_dir": tmp_path, "preprocessing": PREPROCESSING, "progress": False}
    evaluate(Tiny(), photos, {"clean": {}}, **run)
    report = evaluate(Tiny(), photos, {"imagenet_c": BENCHMARKS["imagenet_c"]}, **run)
    assert main(["report", str(tmp_path)]) == 0
    assert "Left out, because the last run did not include them: clean.jsonl" in capsys.readouterr().out
    assert read_report(tmp_path / "results" / "report.json") == report.data
    assert list(report.data["benchmarks"]) == ["imagenet_c"]


def test_a_damaged_run_json_does_not_hinder_the_run(tmp_path, photos):
    run = {"output_dir": tmp_path, "preprocessing": PREPROCESSING, "progress": False}
    evaluate(Tiny(), photos, {"clean": {}}, **run)
    first = read_facts(tmp_path / "results")
    (tmp_path / "results" / "run.json").write_text("{")
    (tmp_path / "results" / "report.json").unlink()
    evaluate(Tiny(), photos, {"clean": {}}, **run)
    again = read_facts(tmp_path / "results")
    assert again["timing"]["images_computed"] == 0
    assert {**again, "timing": 0} == {**first, "timing": 0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda data: data["tiles"][0].update(file="../secret.jpg"),
            "pictures/../secret.jpg is not a JPEG file of this folder",
        ),
        (lambda data: data["tiles"][0].update(file="captions.json"), "captions.json is not a JPEG file"),
        (lambda data: data["tiles"][0].update(file="none.jpg"), "none.jpg cannot be read: No such file"),
        (lambda data: data["tiles"][0].update(file="\0"), "cannot be read: embedded null"),
        (
            lambda data: data["tiles"][0].update(confidence="1"),
            r"tiles[0].confidence must be of the type number, got '1'",
        ),
        (lambda data: data["key"].pop(), "those in pictures are of other records"),
        (lambda data: data.pop("tiles"), "captions.json is damaged: tiles is missing"),
    ],
)
def test_images_that_cannot_be_shown_are_named(results, change, message):
    (results / "secret.jpg").write_bytes(b"\xff\xd8\xff secret")
    edit(results / "pictures" / "captions.json", change)
    assert main(["report", str(results)]) == 0
    assert message in examples(results).text
    assert examples(results).find("img") == []


def test_images_of_other_records_are_drawn_again(tmp_path, photos):
    run = {"output_dir": tmp_path, "preprocessing": PREPROCESSING, "progress": False}
    folder = tmp_path / "results" / "pictures"

    def tiles():
        named = [tile["file"] for tile in json.loads((folder / "captions.json").read_text())["tiles"]]
        assert sorted(path.name for path in folder.iterdir()) == sorted([*named, "captions.json"])
        return [tile["row"] for tile in json.loads((folder / "captions.json").read_text())["tiles"]]

    evaluate(Tiny(), photos, {"imagenet_c": {"corruptions": ["fog"], "severities": [1, 3]}}, **run)
    assert tiles() == ["fog", "fog"]
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    evaluate(Tiny(), photos, {"imagenet_c": {"corruptions": ["fog"], "severities": [1, 3]}}, **run)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    evaluate(Tiny(), photos, {"clean": {}}, **run)
    assert tiles() == ["clean"]


def test_result_files_that_state_little(tmp_path):
    """Made by others: the header has only what every reader relies on."""
    from tests.metrics.conftest import write_records

    ranks = [[0], [1], [0]]
    model = {"source": "theirs", "arguments": {}, "weights": "w"}
    stated = {"model": model, "seed": None, "data": []}
    write_records(tmp_path / "clean.jsonl", "clean", [("", ("clean",), ranks, {})], conditions=stated)
    assert main(["report", str(tmp_path)]) == 0
    report = read_report(tmp_path / "report.json")
    jsonschema.validate(report, report_schema())
    assert report["benchmarks"]["clean"]["metrics"]["top1"]["n"] == 3
    assert report["conditions"]["seed"] is None
    assert (tmp_path / "report.md").read_text().startswith("# theirs on unknown data, seed unknown")
    assert main(["leaderboard", str(tmp_path), "-o", str(tmp_path / "board.html")]) == 0
