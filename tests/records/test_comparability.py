"""Which runs may stand beside each other: one rule for ``compare`` and for ``leaderboard``."""

import copy
import json

import pytest
from torch import nn

from RobustART.cli import main
from RobustART.core.preprocessing import Preprocessing
from RobustART.evaluation import evaluate
from RobustART.models import Classifier, create_model, wrap_model
from RobustART.records.comparability import board_conditions, paired_conditions
from RobustART.report.board_runs import read_runs
from RobustART.report.columns import all_columns, contrasts
from tests.report.conftest import PREPROCESSING, Tiny, photos  # noqa: F401 - a fixture

OWN = Preprocessing(**PREPROCESSING)
NOISE = {"clean": {}, "imagenet_c": {"corruptions": ["fog"], "severities": [1]}}


def stating(own, seed=1):
    """A network that states its own preprocessing."""
    network = Tiny(seed)
    network.preprocessing = own
    return network


@pytest.fixture
def run(tmp_path, photos):  # noqa: F811
    def make(name, network, **options):
        evaluate(network, photos, NOISE, output_dir=tmp_path / name, batch_size=12, progress=False, **options)
        return str(tmp_path / name)

    return make


def groups(*folders):
    """The runs of each set of conditions of each benchmark."""
    runs = read_runs(folders)
    found = {}
    for column in all_columns(runs):
        members = [number for number in range(len(runs)) if column.estimates[number] is not None]
        found.setdefault(column.benchmark, set()).add((column.letters, *members))
    return found


def test_other_seeds_and_overridden_preprocessing_are_not_ranked_together(run, capsys, tmp_path):
    """Another seed, and another interpolation than the model's own."""
    usual = run("usual", stating(OWN))
    seeded = run("seeded", stating(OWN, 2), seed=1)
    told = run("told", stating(OWN, 3), preprocessing={"interpolation": "bicubic"})
    assert groups(usual, seeded, told) == {name: {("A", 0), ("B", 1), ("C", 2)} for name in NOISE}
    (_, _, of_seed), (_, _, of_told) = contrasts(read_runs([usual, seeded, told]), "clean")[1:]
    assert of_seed == [("seed", 0, 1)]
    assert of_told == [("overridden preprocessing.interpolation", None, "bicubic")]
    assert main(["compare", usual, seeded]) == 2
    assert "differs in seed: 0 -> 1" in capsys.readouterr().err
    assert main(["compare", usual, told]) == 0  # image by image, with a note
    assert 'clean: preprocessing.interpolation: "bilinear" -> "bicubic"' in capsys.readouterr().out
    board = tmp_path / "board.html"
    assert main(["leaderboard", usual, seeded, told, "-o", str(board)]) == 0
    assert "may not be compared with the others (B); they differ in seed" in capsys.readouterr().out
    assert "seed: 1 (A: 0)" in board.read_text()
    assert "overridden preprocessing.interpolation: bicubic (A: nothing)" in board.read_text()


def test_models_with_preprocessing_of_their_own_stand_together(run):
    """Other weights, size and resize, each as its network states them: the point of a leaderboard."""
    one = run("one", stating(OWN))
    two = run("two", stating(Preprocessing(input_size=40, resize=44, interpolation="bicubic", mean=(0.4,) * 3), 2))
    unstated = run("three", Tiny(4), preprocessing=PREPROCESSING)
    assert groups(one, two, unstated) == {name: {("", 0, 1, 2)} for name in NOISE}
    assert main(["compare", one, two]) == 0
    assert main(["compare", one, unstated]) == 0


def header_and_report(folder):
    with open(folder / "results" / "imagenet_c.jsonl") as file:
        header = json.loads(file.readline())
    return header, json.loads((folder / "results" / "report.json").read_text())


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda stated: stated.update(seed=5), False),
        (lambda stated: stated["options"].update(backend="imagecorruptions"), False),
        (lambda stated: stated["options"].update(root_dir="/stored"), False),
        (lambda stated: stated["data"][0].update(images=3), False),
        (lambda stated: stated["data"][0].update(subset="1234"), False),
        (lambda stated: stated["data"][0].update(fingerprint="1234"), False),
        (lambda stated: stated["attacks"].update({"fgsm/1/255": {"eps": 1 / 255}}), False),
        (lambda stated: stated.update(models={"b": {"weights": "2"}}), False),
        (lambda stated: stated["options"].update(meta="/other"), True),
        (lambda stated: stated["data"][0].update(name="photos of mine"), True),
        (lambda stated: stated.update(precision="bf16"), True),
    ],
)
def test_both_ask_the_same(run, tmp_path, change, same):
    run("a", stating(OWN))
    header, report = header_and_report(tmp_path / "a")
    before = paired_conditions(header), board_conditions(report, "imagenet_c")
    header, report = copy.deepcopy((header, report))
    entry = report["benchmarks"]["imagenet_c"]
    entry["seed"] = report["conditions"]["seed"]
    for stated in (header["conditions"], entry):
        change(stated)
    report["conditions"]["seed"] = entry.pop("seed")
    assert (paired_conditions(header) == before[0]) is same
    assert (board_conditions(report, "imagenet_c") == before[1]) is same


def test_what_is_the_models_own():
    assert create_model("timm:resnet18", num_classes=2).overridden == {}
    told = create_model("timm:resnet18", num_classes=2, preprocessing={"interpolation": "nearest", "mean": [0.5] * 3})
    assert told.overridden == {"interpolation": "nearest"}
    assert wrap_model(told, {"resize": 300}).overridden == {"interpolation": "nearest", "resize": 300}
    assert wrap_model(told, {"interpolation": told.own.interpolation}).overridden == {}
    again = wrap_model(told, {"resize": 300})
    assert (again.source, again.arguments, again.notes) == (told.source, told.arguments, told.notes)
    larger = wrap_model(told, {"resize": 100})
    assert any("images get black borders" in note for note in larger.notes)
    assert wrap_model(larger, {"resize": 300}).notes == told.notes
    unstated = wrap_model(nn.Flatten(), {"input_size": 32})
    assert (unstated.own, unstated.overridden, wrap_model(unstated, {"resize": 40}).overridden) == (None, {}, {})
    assert Classifier(nn.Flatten(), OWN).overridden == {}
