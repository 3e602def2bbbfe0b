"""Numbers that misled who is not an expert: each is right now, has a reason instead of a value, or a note beside it."""

import functools
import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import rankdata
from torch import nn

from RobustART.cli import main as robustart
from RobustART.data import array_dataset, create_dataset
from RobustART.data.imagenet import imagenet_wnids
from RobustART.evaluation import evaluate
from RobustART.evaluation.picture import GAP, LABEL, MARK, TILE, Tile, _layout
from RobustART.metrics.calibration import calibration
from RobustART.metrics.comparison import compare
from RobustART.metrics.correlation import spearman
from RobustART.metrics.evaluators import ImageNetCEvaluator, ImageNetEvaluator
from RobustART.metrics.reading import read_result
from RobustART.metrics.spec import summarize
from RobustART.models import create_model, wrap_model
from RobustART.models.macs import count_macs
from RobustART.models.provenance import technique_of
from RobustART.nas.page import Analysis
from RobustART.records.header import conditions_hash
from RobustART.records.sealing import unsealed
from RobustART.report.board import ranking, ranks, render_board
from RobustART.report.board_files import board_data
from RobustART.report.board_runs import read_runs
from RobustART.report.build import report_of_files
from RobustART.report.columns import all_columns, headlines
from RobustART.training.cls_solver import main as solver
from tests.conftest import as_format_1, make_picture, sealed
from tests.report.conftest import read_page
from tests.training.conftest import CONFIG, NETWORK

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
    for name in ("mCE", "relative_mCE"):
        assert numbers[name]["value"] is None
        assert "ImageNet's 1,000 classes" in numbers[name]["reason"]
    assert "mCE_19" not in numbers
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
    assert "mCE            undefined (it divides by AlexNet's errors" in capsys.readouterr().out
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


def test_correlations_of_sub_networks_are_corrected_for_their_number():
    rng = np.random.default_rng(4)
    header = {"conditions": "0" * 16, "space": {"name": "resnet"}, "statistics": {"images": 100}}
    rows = [
        {
            "id": f"{i:012x}", "parameters": 1000 + i, "macs": 10 + i, "factors": {"depth": i},
            "numbers": {"clean": {"planted": float(i), **{f"noise{k}": rng.random() for k in range(60)}}},
        }
        for i in range(30)
    ]  # fmt: skip
    found = Analysis.of(header, rows, functools.partial(spearman, resamples=200))
    every = [(n.name, e) for n in found.numbers for e in n.correlations.values()]
    assert (found.tests, len(every)) == (183, 183)
    assert any(e["low"] * e["high"] > 0 for name, e in every if name != "planted")  # a single interval excludes 0
    text = found.markdown()
    assert len(re.findall(r"\*\*-?[01]\.\d\d \[", text)) == 3  # the planted ones alone
    assert "after Holm's method for all 183 tests" in text
    assert json.loads(found.json())["tests"] == 183


@pytest.mark.parametrize("n", [6, 40])
def test_p_values_of_rank_correlations(n):
    generator = np.random.default_rng(n)
    x, y = generator.random((2, n))
    ranks = [(values - values.mean()) / values.std() for values in map(rankdata, (x, y))]
    orders = np.argsort(generator.random((40_000, n)), axis=1)
    shuffled = np.abs((ranks[0][orders] * ranks[1]).mean(1))
    drawn = (shuffled >= abs((ranks[0] * ranks[1]).mean()) - 1e-12).mean()
    assert spearman(x, y, resamples=10)["p"] == pytest.approx(drawn, abs=0.01)  # four standard errors of a seeded draw


def test_the_picture_tells_right_from_wrong_without_colour():
    def drawn(right):
        page = _layout([Tile("clean", "", np.full((32, 32, 3), 200, np.uint8), "cat", 0.5, right)])
        return np.array(page.convert("L")) < 160

    right, wrong = drawn(True), drawn(False)
    top = [page[GAP, LABEL : LABEL + TILE].mean() for page in (right, wrong)]
    assert top[0] == 1
    assert 0.4 < top[1] < 0.7
    marks = [page[GAP + TILE + 5 :][:MARK, LABEL : LABEL + MARK] for page in (right, wrong)]
    assert (marks[0] != marks[1]).any()
    assert marks[1][1, 1]  # a cross has a stroke in each corner
    assert not marks[0][1, 1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folders of a network trained plainly and by PGD, of one config; their evaluation comes later."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "network_of_techniques.py").write_text(NETWORK)
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(module="network_of_techniques"))
    short = ["lr_scheduler.kwargs.max_epoch=2", "data.train.kwargs.split=test", "data.test=null"]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        for name, more in (("plain", ["ema={enable: true}"]), ("pgd", ["training.adversary={type: pgd, steps: 1}"])):
            sets = [word for text in (*short, f"output_dir={name}", *more) for word in ("--set", text)]
            assert solver(["--config", str(config), "--quiet", *sets]) == 0
        yield folder


def technique_in(model, output, config=None):
    """The technique that the report of a model states, in every form."""
    data = array_dataset([make_picture(i, 8, 8) for i in range(4)], [0, 1, 2, 3])
    report = evaluate(model, data, {"clean": {}}, output_dir=output, config=config, progress=False)
    technique = report.data["model"]["technique"]
    line = f"technique: {technique}; input: 8 x 8; multiply-adds: "
    for text in (
        report.text(),
        (output / "results" / "report.md").read_text(),
        (output / "results" / "report.html").read_text(),
    ):
        assert line in text
    assert report.data["model"]["input_size"] == 8
    assert report.data["model"]["macs"] == count_macs(model.network, 8)
    assert report_of_files(output / "results").data["model"] == report.data["model"]
    assert board_data(read_runs([str(output)]))["runs"][0]["technique"] == technique
    return technique


def test_a_checkpoint_states_what_it_was_trained_with(trained, tmp_path):
    misleading = {"label_smooth": 0.1, "mixup": 0.2}
    for folder, file, expected in (
        ("plain", "ckpt", "plain"), ("plain", "ema", "plain, EMA"), ("pgd", "ckpt", "PGD adversarial training"),
    ):  # fmt: skip
        weights = trained / folder / "checkpoints" / f"{file}.pth.tar"
        own = {"preprocessing": {"input_size": 8, "resize": 8}}
        model = create_model("network_of_techniques:build", weights=str(weights), **own)
        assert technique_in(model, tmp_path / folder / file, misleading) == expected
        state = torch.load(weights, weights_only=True)
        facts = state["trained"]
        assert (facts["technique"], facts["architecture"]) == (expected, "network_of_techniques:build")
        bare = tmp_path / "bare.pth"
        torch.save(state["model"], bare)
        assert create_model("network_of_techniques:build", weights=str(bare), **own).technique == "not known"
        torch.save({**state, "trained": "x", "conditions": {"training": {"adversary": 3}}}, bare)
        assert create_model("network_of_techniques:build", weights=str(bare), **own).technique == "not known"
        if file == "ckpt":  # checkpoints of earlier versions state the conditions alone
            del state["trained"]
            torch.save(state, bare)
            assert create_model("network_of_techniques:build", weights=str(bare), **own).technique == expected


def test_a_training_that_began_with_weights_states_theirs(trained):
    start = trained / "pgd" / "checkpoints" / "ckpt.pth.tar"
    short = [
        "lr_scheduler.kwargs.max_epoch=2",
        "data.test=null",
        "output_dir=fine",
        f"model.weights={start}",
        "mixup=0.2",
    ]
    sets = [word for text in short for word in ("--set", text)]
    assert solver(["--config", str(trained / "config.yaml"), "--quiet", *sets]) == 0
    facts = torch.load(trained / "fine" / "checkpoints" / "ckpt.pth.tar", weights_only=True)["trained"]
    assert facts["technique"] == "mixup; weights before: PGD adversarial training"


def test_technique_of_weights_that_we_did_not_train(tmp_path):
    small = {"preprocessing": {"input_size": 8, "resize": 8}, "num_classes": 10}
    assert technique_in(create_model("timm:resnet10t", **small), tmp_path / "random") == "untrained"
    assert wrap_model(Means(2)).technique == "not known"
    torch.save(create_model("timm:resnet10t.c3_in1k", **small).network.state_dict(), tmp_path / "file.pth")
    foreign = create_model("timm:resnet10t.c3_in1k", weights=str(tmp_path / "file.pth"), **small)
    assert technique_in(foreign, tmp_path / "file", {"label_smooth": 0.1}) == "not known"


def test_a_network_that_cannot_be_counted_has_unknown_macs(tmp_path):
    class Numpy(Means):
        def forward(self, images):
            return self.head(torch.tensor(images.mean((2, 3)).numpy()))

    report = evaluate(
        Numpy(2), photos(tmp_path / "photos", ["cat", "dog"]), {"clean": {}}, output_dir=tmp_path, preprocessing=SMALL,
        progress=False,
    )  # fmt: skip
    assert report.data["model"]["macs"] is None
    assert "multiply-adds: not known" in report.text()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"training": {"objective": {"type": "plain"}}, "data": {"train": {"transforms": {"type": "STANDARD"}}}}, "plain"),
        ({"label_smooth": 0.1, "mixup": 0.2, "cutmix": 1.0, "kw_weight": 1.0}, "label smoothing, mixup, cutmix, kurtosis regularisation"),
        ({"training": {"adversary": {"type": "trades"}}}, "TRADES adversarial training"),
        ({"training": {"objective": {"type": "jsd"}}, "data": {"train": {"transforms": [{"type": "aug_mix"}]}}}, "AugMix's loss, aug_mix"),
        ({"training": {"moco": {"dim": 8}}, "data": {"train": {"transforms": {"type": "MOCOV2"}}}}, "MoCo v2"),
        ({"training": {"train_only": ["fc"]}}, "training of fc alone"),
    ],
)  # fmt: skip
def test_techniques(config, expected):
    assert technique_of({"training": {}, **config}) == expected
