"""Numbers that misled who is not an expert: each is right now, has a reason instead of a value, or a note beside it."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from RobustART.cli import main as robustart
from RobustART.data import create_dataset
from RobustART.data.imagenet import imagenet_wnids
from RobustART.evaluation import evaluate
from RobustART.metrics.calibration import calibration
from RobustART.metrics.comparison import compare
from RobustART.metrics.evaluators import ImageNetCEvaluator, ImageNetEvaluator
from RobustART.metrics.reading import read_result
from RobustART.metrics.spec import summarize
from RobustART.records.header import conditions_hash
from RobustART.records.sealing import unsealed
from RobustART.report.board import ranking, ranks, render_board
from RobustART.report.board_files import board_data
from RobustART.report.board_runs import read_runs
from RobustART.report.build import report_of_files
from RobustART.report.columns import all_columns, headlines
from tests.conftest import as_format_1, make_picture, sealed
from tests.report.conftest import read_page

SMALL = {"input_size": 32, "resize": 32}


class Means(nn.Module):
    """Seeded, untrained, and quick."""

    def __init__(self, classes, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.head = nn.Linear(3, classes)

    def forward(self, images):
        return self.head(images.mean((2, 3)))


def photos(root, folders, each=2):
    for number, folder in enumerate(folders):
        for i in range(each):
            path = root / folder / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(make_picture(number * each + i, 24, 24)).save(path)
    return create_dataset(root_dir=root)


def run(output, dataset, classes, benchmarks, seed=0, **preprocessing):
    return evaluate(
        Means(classes, seed), dataset, benchmarks, output_dir=output, preprocessing={**SMALL, **preprocessing},
        progress=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def own_photos(tmp_path_factory):
    """Results of a net of two classes at chance, on every corruption."""
    folder = tmp_path_factory.mktemp("own")
    run(folder / "run", photos(folder / "photos", ["cat", "dog"]), 2, {"clean": {}, "imagenet_c": {}})
    return folder / "run"


def numbers_of(report):
    return report.data["benchmarks"]["imagenet_c"]["metrics"]


def test_mce_is_of_imagenets_classes(own_photos, tmp_path, capsys):
    report = report_of_files(own_photos / "results")
    assert report.data == json.loads((own_photos / "results" / "report.json").read_text())
    numbers = numbers_of(report)
    for name in ("mCE", "relative_mCE", "mCE_19", "relative_mCE_19"):
        assert numbers[name]["value"] is None
        assert "ImageNet's 1,000 classes" in numbers[name]["reason"]
    assert numbers["mean_error_15"]["value"] is not None
    errors = report.data["benchmarks"]["imagenet_c"]["tables"]
    assert all(
        list(row) == ["mean error"] for name in ("corruption_errors", "group_errors") for row in errors[name].values()
    )
    runs = read_runs([str(own_photos)])
    _, first = ranking(runs, headlines(runs, all_columns(runs)))
    assert (first.metric, first.better) == ("mean_error_15", "low")
    page = (own_photos / "results" / "report.html").read_text()
    assert "<dt>imagenet_c: mean_error_15" in page
    assert "<dt>imagenet_c: mCE" not in page
    robustart(["score", str(own_photos / "results" / "imagenet_c.jsonl")])
    assert "mCE            undefined (AlexNet's errors" in capsys.readouterr().out
    shutil.copytree(own_photos, tmp_path / "copy")
    found = compare(own_photos, tmp_path / "copy").numbers["imagenet_c"][0]
    assert found["mCE"].difference.value is None
    assert found["mean_error_15"].difference.value == 0


def test_a_subset_of_imagenets_classes_has_mce_with_the_number_of_images(tmp_path):
    wnids = imagenet_wnids()
    dataset = photos(tmp_path / "photos", [wnids[0], wnids[217]])
    report = run(tmp_path / "run", dataset, 1000, {"imagenet_c": {}})
    assert numbers_of(report)["mCE"]["value"] is not None
    assert any(
        "mCE, relative mCE and CE of ImageNet-C are of 4 images here" in text for text in report.data["warnings"]
    )
    found = ImageNetCEvaluator().eval(tmp_path / "run" / "results" / "imagenet_c.jsonl")
    assert "note: mCE" in str(found)
    ordered = create_dataset(root_dir=tmp_path / "photos", classes="folder")
    assert numbers_of(run(tmp_path / "two", ordered, 2, {"imagenet_c": {}}))["mCE"]["value"] is None


def old(path, **arguments):
    """Removes what files of earlier versions do not state."""
    header, *lines = path.read_text().splitlines(keepends=True)
    header = json.loads(unsealed(header, "the header"))
    for row in header["conditions"]["data"]:
        del row["label_set"], row["classes"]
    header["conditions"]["model"]["arguments"] = arguments
    header["hash"] = conditions_hash(header["conditions"])
    path.write_text("".join([sealed(header), *lines]))
    return path


@pytest.mark.parametrize("format_1", [False, True])
def test_old_files_have_mce_if_the_classes_can_be_imagenets(own_photos, tmp_path, format_1):
    shutil.copytree(own_photos, tmp_path / "two")
    wnids = imagenet_wnids()
    run(tmp_path / "many", photos(tmp_path / "photos", [wnids[3]]), 1000, {"clean": {}, "imagenet_c": {}})
    for name, defined in (("two", False), ("many", True)):
        for benchmark in ("clean", "imagenet_c"):
            path = old(tmp_path / name / "results" / f"{benchmark}.jsonl")
            if format_1:
                path.write_text(as_format_1(path.read_text()))
        found = ImageNetCEvaluator().eval(path)
        assert (found.summary.metrics["mCE"].value is not None) is defined
    assert ImageNetEvaluator().eval(tmp_path / "two" / "results" / "clean.jsonl").summary.metrics["top5"].value is None
    shutil.copy(own_photos / "results" / "imagenet_c.jsonl", tmp_path)
    path = old(tmp_path / "imagenet_c.jsonl", num_classes="10")
    assert summarize({"imagenet_c": read_result(path)})["imagenet_c"].metrics["mCE"].value is None


def test_top5_needs_six_classes(tmp_path):
    for classes in (5, 6):
        dataset = photos(tmp_path / f"photos{classes}", [f"class_{i}" for i in range(classes)])
        top5 = run(tmp_path / f"run{classes}", dataset, classes, {"clean": {}}).data["benchmarks"]["clean"]["metrics"][
            "top5"
        ]
        assert (top5["value"] is None) is (classes == 5)
    assert "with 5 classes" in (tmp_path / "run5" / "results" / "report.md").read_text()


def test_calibration_errors_of_few_images_have_a_note():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 1500)
    correct = rng.random(1500) < confidence
    assert calibration(confidence, correct).notes == ()
    (note,) = calibration(confidence[:20], correct[:20]).notes
    assert "20 images: 1.33 in each of 15 bins, where chance alone makes up to 43 percentage points of ece" in note


def board_of(tmp_path, reports):
    """Runs of a leaderboard: (technique, mean error) of each."""
    folders = []
    for number, (technique, error) in enumerate(reports):
        found = json.loads((tmp_path / "run" / "results" / "report.json").read_text())
        found["model"]["technique"] = technique
        found["benchmarks"]["imagenet_c"]["metrics"]["mean_error_of_these_cells"]["value"] = error
        place = tmp_path / f"run{number}" / "results"
        place.mkdir(parents=True)
        (place / "report.json").write_text(json.dumps(found))
        folders.append(str(tmp_path / f"run{number}"))
    return read_runs(folders)


def test_the_number_on_the_board_is_the_rank(tmp_path):
    dataset = photos(tmp_path / "photos", ["cat", "dog"])
    run(tmp_path / "run", dataset, 2, {"imagenet_c": {"corruptions": ["fog"], "severities": [1]}})
    runs = board_of(tmp_path, [("plain", 30.0), ("untrained", 10.0), ("plain", 20.0), ("mixup", 20.0), ("plain", 40.0)])
    columns = all_columns(runs)
    order, first = ranking(runs, headlines(runs, columns))
    assert order == [2, 3, 0, 4, 1]
    assert ranks(runs, order, first) == [3, None, 1, 1, 4]
    assert [entry["rank"] for entry in board_data(runs)["runs"]] == [3, None, 1, 1, 4]
    page = read_page(render_board(runs, tmp_path))
    rows = {int(row.attributes["data-run"]): row.find("td") for row in page.find("tr") if "data-run" in row.attributes}
    assert [rows[number][0].text for number in range(5)] == ["3", "", "1", "1", "4"]
    best = {
        number for number, cells in rows.items() if any("best" in cell.attributes.get("class", "") for cell in cells)
    }
    assert best == {2, 3}


BOTH = {
    "clean": {}, "imagenet_c": {"corruptions": ["fog"], "severities": [1]},
    "adversarial": {"attacks": ["fgsm"], "eps": {"Linf": ["1/255"]}},
}  # fmt: skip


def test_models_are_compared_in_their_own_preprocessing(tmp_path, capsys):
    dataset = photos(tmp_path / "photos", ["cat", "dog"])
    run(tmp_path / "a", dataset, 2, BOTH)
    run(tmp_path / "b", dataset, 2, BOTH, seed=1, input_size=40, resize=48)
    places = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert robustart(["compare", *places, "-o", str(tmp_path / "both.json")]) == 0
    notes = json.loads((tmp_path / "both.json").read_text())["notes"]
    for benchmark in BOTH:
        note = f"{places[1]}, {benchmark}: preprocessing.input_size: 32 -> 40"
        assert note in notes
    assert f"- {note}\n" in capsys.readouterr().out
    evaluate(Means(2), dataset, BOTH, output_dir=tmp_path / "c", preprocessing=SMALL, seed=1, progress=False)
    photos(tmp_path / "photos", ["dog", "cat"])  # the same names, other images
    run(tmp_path / "d", dataset, 2, BOTH)
    for other, reason in (("c", "differs in seed"), ("d", "another content")):
        assert robustart(["compare", places[0], str(tmp_path / other)]) == 2
        assert reason in capsys.readouterr().err
