"""Runs beside each other: known differences, and what is refused."""

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from RobustART.cli import main
from RobustART.errors import RecordError
from RobustART.metrics import compare
from RobustART.metrics.comparison import _number
from RobustART.metrics.corruption import SCORED
from RobustART.metrics.detection import unknown_images
from RobustART.metrics.systems import systems
from tests.metrics.conftest import write_records

DATA = [{"name": "photos", "fingerprint": "f", "images": 8, "subset": None, "label_set": None, "classes": 1000}]
PREPROCESSING = {"input_size": 224, "resize": 256, "mean": [0.5], "std": [0.5]}


def run(folder, ranks, *, source="timm:a", benchmark="clean", cells=("clean",), edit=None, **conditions):
    """The folder of a run with one result file."""
    stated = {
        "model": {"source": source, "arguments": {}, "weights": source}, "data": DATA, "preprocessing": PREPROCESSING,
        "batch_size": 4, "device": "cpu", **conditions,
    }  # fmt: skip
    path = folder / "results" / f"{benchmark}.jsonl"
    more = {"confidence": np.full(np.shape(ranks), 0.5)}
    write_records(path, benchmark, [("", cells, ranks, more)], conditions=stated)
    if edit:
        path.write_text(path.read_text().replace(*edit))
    return folder


FIRST = [[0], [0], [0], [0], [0], [0], [1], [1]]
SECOND = [[0], [1], [1], [1], [1], [1], [0], [1]]


def test_lost_and_won_images_by_hand(tmp_path):
    """Right on images 0-5 and on 0 and 6: five lost, one won."""
    found = compare(run(tmp_path / "a", FIRST), run(tmp_path / "b", SECOND, source="timm:b"))
    (numbers,) = found.numbers["clean"]
    number = numbers["top1"]
    assert (number.first.value, number.second.value, number.difference.value) == (75, 25, -50)
    assert number.difference.low < -50 < number.difference.high
    assert (number.lost, number.won) == ((1, 2, 3, 4, 5), (6,))
    assert number.p == pytest.approx(binomtest(1, 6).pvalue)
    assert number.p_holm == pytest.approx(2 * number.p)  # top1 and top5
    assert numbers["top5"].difference.value == 0
    plain = json.loads(json.dumps(found.to_plain(), allow_nan=False))
    assert plain["benchmarks"]["clean"][0]["top1"]["lost"] == [1, 2, 3, 4, 5]
    assert plain["changed_images"]["clean"]["6"] == {"file": "6.png", "label": 0}
    assert "7" not in plain["changed_images"]["clean"]
    text = found.markdown(first=2)
    assert "- B: timm:b (weights timm:b)" in text
    assert "| top1 | 75.00 | 25.00 | -50.00 [" in text
    assert "- top1, lost 5: 1.png, 2.png, and 3 more" in text
    assert "- top1, won 1: 6.png" in text


def test_each_is_held_against_the_first(tmp_path):
    runs = [run(tmp_path / name, ranks) for name, ranks in (("a", FIRST), ("b", SECOND), ("c", FIRST))]
    found = compare(*runs)
    assert [numbers["top1"].difference.value for numbers in found.numbers["clean"]] == [-50, 0]
    same = found.numbers["clean"][1]["top1"]
    assert (same.lost, same.won, same.p) == ((), (), 1)
    assert "## clean: A and C" in found.markdown()


def test_a_score_over_many_cells_has_a_paired_interval(tmp_path):
    """Half of the images are hard for both; the second run is a little worse on all. Its own interval is wide."""
    rng = np.random.default_rng(0)
    cells = [f"{name}/{severity}" for name in SCORED for severity in range(1, 6)]
    base = np.repeat(rng.random((400, 1)) < 0.5, 75, axis=1)
    worse = base | (rng.random((400, 75)) < 0.03)
    files = [
        write_records(tmp_path / name, "imagenet_c", [("", cells, wrong.astype(int), {})])
        for name, wrong in (("a", base), ("b", worse))
    ]
    number = compare(*files).numbers["imagenet_c"][0]["mCE"]
    own = number.first.high - number.first.low
    assert number.difference.low > 0
    assert number.difference.high - number.difference.low < own / 5
    fog = compare(*files).numbers["imagenet_c"][0]["top1/fog/3"]
    assert len(fog.lost) == int((worse & ~base)[:, cells.index("fog/3")].sum())
    assert not fog.won


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, r"clean differs in seed: 0 -> 1"),
        ({"data": [{**DATA[0], "images": 6, "subset": "x"}]}, r"data\[0\]\.images: 8 -> 6; data\[0\]\.subset"),
        ({"attacks": {"fgsm": {"steps": 3}}}, r"attacks\.fgsm: null -> "),
        ({"options": {"masked": True}}, r"options\.masked: null -> true"),
        ({"options": {"root_dir": None}}, r'images: "as they are stored" -> "made on the fly"'),
        ({"models": {"b": {"weights": "1"}}}, r"models\.b"),
        ({"data": [{**DATA[0], "fingerprint": "g"}]}, r"on the same files, but the headers differ in .*fingerprint: "),
        ({"data": [{**DATA[0], "decoder": "opencv"}]}, r"data\[0\]\.decoder: null -> \"opencv\""),
        ({"edit": ('"digest": "3"', '"digest": "9"')}, r"image 3 \(3\.png\) has another content"),
        ({"edit": ('"3.png", "label": 0', '"3.png", "label": 2')}, r"image 3 \(3\.png\) has another label"),
        ({"edit": ("3.png", "x.png")}, r"image 3 \(3\.png\) has another file name"),
        ({"cells": ("stored",)}, r"cells\.clean: .* -> null; cells\.stored"),
    ],
)
def test_runs_that_are_not_comparable_are_refused_with_the_difference(tmp_path, change, message):
    first = run(tmp_path / "a", FIRST)
    with pytest.raises(RecordError, match=f"b cannot be compared with .*a: .*{message}"):
        compare(first, run(tmp_path / "b", SECOND, **change))


def test_other_ids_are_other_images(tmp_path):
    first = run(tmp_path / "a", FIRST)
    with pytest.raises(RecordError, match="on other images: 8 and 7, and only one run has image 7"):
        compare(first, run(tmp_path / "b", SECOND[:7]))


def test_what_may_differ_is_told(tmp_path):
    first = run(tmp_path / "a", FIRST, options={"root_dir": "/here"})
    second = run(
        tmp_path / "b", SECOND, batch_size=8, device="cuda", options={"root_dir": "/there"},
        preprocessing={**PREPROCESSING, "resize": 232, "mean": [0.4]}, data=[{**DATA[0], "name": "same"}],
    )  # fmt: skip
    run(tmp_path / "b", FIRST, benchmark="imagenet_r", preprocessing={**PREPROCESSING, "resize": 232, "mean": [0.4]})
    notes = "\n".join(compare(first, second).notes)
    assert "clean: batch_size: 4 -> 8" in notes
    assert 'clean: device: "cpu" -> "cuda"' in notes
    assert "clean: preprocessing.resize: 256 -> 232" in notes
    assert "mean" not in notes
    assert "imagenet_r is left out" in notes


def test_a_folder_of_two_models_is_no_run(tmp_path):
    first = run(tmp_path / "a", FIRST)
    run(tmp_path / "a", FIRST, benchmark="imagenet_r", source="timm:b")
    with pytest.raises(RecordError, match='are not of one model: model.source: "timm:a" -> "timm:b"; model.weights: '):
        compare(first, run(tmp_path / "b", SECOND))
    run(tmp_path / "a", FIRST, benchmark="imagenet_r", preprocessing={**PREPROCESSING, "input_size": 192})
    with pytest.raises(RecordError, match="are not of one model: preprocessing.input_size: 224 -> 192"):
        compare(first, run(tmp_path / "b", SECOND))


def test_a_training_beside_its_results(tmp_path):
    """The folder of a training has a train.jsonl of its own, which is no result file."""
    first, second = run(tmp_path / "a", FIRST), run(tmp_path / "b", SECOND)
    (first / "train.jsonl").write_text('{"step": 1, "loss": 2.3}\n')
    assert compare(first, second).numbers["clean"][0]["top1"].first.value == 75


def test_nothing_to_compare(tmp_path):
    first = run(tmp_path / "a", FIRST)
    with pytest.raises(RecordError, match="needs two runs or more, got 1"):
        compare(first)
    with pytest.raises(RecordError, match="no benchmark in common: .*a has clean; .*b has imagenet_r"):
        compare(first, run(tmp_path / "b", FIRST, benchmark="imagenet_r"))
    with pytest.raises(RecordError, match="there is no run"):
        compare(first, tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordError, match="has no result files"):
        compare(first, tmp_path / "empty")


def test_a_run_is_not_compared_with_itself(tmp_path, monkeypatch, capsys):
    first = run(tmp_path / "a", FIRST)
    (tmp_path / "link").symlink_to(first)
    monkeypatch.chdir(tmp_path)
    own = (str(first), "a", "./a/../a", "link", "a/results", "a/results/clean.jsonl", "link/results/clean.jsonl")
    for second in own:
        assert main(["compare", str(first), second]) == 2
        assert f"error: {second} and {first} are the same run; name it once" in capsys.readouterr().err
    run(tmp_path / "b", FIRST)
    with pytest.raises(RecordError, match="link and a are the same run"):
        compare("a", "b", "link")
    assert main(["verify", "a", "link"]) == 2
    assert "link and a are the same run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("results/clean.jsonl", "", "clean.jsonl has an incomplete first line: the run is unfinished"),
        ("results/clean.jsonl", '{"format": "robustart-rec', "clean.jsonl has an incomplete first line"),
        (
            "results/clean.jsonl.rank1",
            "",
            r"results has only partial results \(\*.jsonl.rank\*\): the run is unfinished",
        ),
        ("train.jsonl", '{"step": 1}\n', r"it has a training \(train.jsonl\) without an evaluation"),
        ("one/results/clean.jsonl", "", "Its subfolders are runs: one; name these"),
        ("report.json", '{"format": "robustart-report/3"}\n', "This is a report; name the folder of its run"),
        ("scores.txt", "0 1 0.5\n", "The evaluators of RobustART.metrics score files of the original's formats"),
        ("x.jsonl", '{"format": "robustart-records/1"}\n', "header of .*x.jsonl needs 'benchmark', a string, got none"),
        (
            "x.jsonl",
            '{"format": "robustart-records/1", "benchmark": ["a"]}\n',
            "header of .*x.jsonl needs 'benchmark', a string, got",
        ),
        (
            "x.jsonl",
            '{"format": "robustart-records/1", "benchmark": "clean", "hash": "", "conditions": {"model": {}}}\n',
            "in 'conditions', in 'model', needs 'source', a string, got none",
        ),
    ],
)
def test_what_is_no_run_says_what_it_is(tmp_path, name, content, message):
    first = run(tmp_path / "a", FIRST)
    place = tmp_path / "other" / name
    place.parent.mkdir(parents=True)
    place.write_text(content)
    named = place if name in ("report.json", "scores.txt", "x.jsonl") else tmp_path / "other"
    with pytest.raises(RecordError, match=message):
        compare(first, named)


def test_outputs_never_replace_what_is_read_or_is_of_another_kind(tmp_path, capsys):
    first, second = run(tmp_path / "a", FIRST), run(tmp_path / "b", SECOND)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.jsonl")}

    def refused(*command):
        assert main([*command]) == 2
        assert {path: path.read_bytes() for path in tmp_path.rglob("*.jsonl")} == before
        return capsys.readouterr().err

    linked = tmp_path / "linked.json"
    linked.symlink_to(first / "results" / "clean.jsonl")
    assert "linked.json would overwrite" in refused("compare", str(first), str(second), "-o", str(linked))
    other = tmp_path / "notes.md"
    other.write_text("# Mine\n")
    message = refused("compare", str(first), str(second), "-o", str(other))
    assert "notes.md exists already and is not a comparison: it is not replaced" in message
    assert other.read_text() == "# Mine\n"
    new = str(tmp_path / "c.md")
    assert "-o and -o are the same file" in refused(
        "compare", str(first), str(second), "-o", new, "-o", f"{tmp_path}/./c.md"
    )
    (tmp_path / "d.md").mkdir()
    assert "is not a file" in refused("compare", str(first), str(second), "-o", str(tmp_path / "d.md"))
    assert "cannot write" in refused("compare", str(first), str(second), "-o", str(tmp_path / "no" / "c.md"))
    own = str(first / "results" / "clean.jsonl")
    assert f"-o {own} would overwrite {own}, which is an input" in refused("verify", str(first), "-o", own)
    assert "is not a list of checks" in refused("verify", "-o", str(other))
    for _ in range(2):  # an older one is replaced
        assert main(["compare", str(first), str(second), "-o", new, "-o", str(tmp_path / "c.json")]) == 0
        assert main(["verify", str(first), "-o", str(tmp_path / "checks.json")]) == 0


def test_undefined_numbers_have_no_difference_but_the_reason(tmp_path):
    cells = ("clean", "fgsm/8/255")
    wrong = run(tmp_path / "a", [[1, 1]] * 8, benchmark="adversarial", cells=cells)
    right = run(tmp_path / "b", [[0, 1]] * 8, benchmark="adversarial", cells=cells)
    found = compare(wrong, right)
    number = found.numbers["adversarial"][0]["AR/fgsm/8/255"]
    assert number.difference.value is None
    assert "undefined (adversarial robustness is undefined: no image" in found.markdown()


def test_command(tmp_path, capsys):
    first, second = run(tmp_path / "a", FIRST), run(tmp_path / "b", SECOND)
    outputs = [str(tmp_path / "c.json"), str(tmp_path / "c.md")]
    command = ["compare", str(first), str(second / "results" / "clean.jsonl")]
    assert main([*command, "-o", outputs[0], "-o", outputs[1], "--first", "1"]) == 0
    printed = capsys.readouterr().out
    assert (tmp_path / "c.md").read_text() == printed
    assert "lost 5: 1.png, and 4 more" in printed
    assert json.loads((tmp_path / "c.json").read_text())["format"] == "robustart-comparison/1"
    assert main([*command, "-o", "c.txt"]) == 2
    assert "ending in .json or .md, got c.txt" in capsys.readouterr().err
    assert main(["compare", str(first), str(run(tmp_path / "d", FIRST, seed=3))]) == 2
    assert "seed: 0 -> 3" in capsys.readouterr().err


@pytest.mark.parametrize("noise", [(0.98, 0.3), (0.98, 0.8)])
def test_differences_of_numbers_that_chance_moves_to_one_side_hold_the_truth(noise):
    """Two models whose systems are all right as often, the one's by the same images, the other's by others: the draws of the
    deviation lie above the truth by different amounts, and their plain difference holds 0 half of the time."""
    rng = np.random.default_rng(2)
    names, trials = [str(i) for i in range(13)], 100
    held = dict.fromkeys(("std_top1", "worst_top1", "mean_top1"), 0)
    for _ in range(trials):
        shared = rng.normal(size=(100, 1))
        first, second = (
            systems(names, own * shared + np.sqrt(1 - own**2) * rng.normal(size=(100, 13)) < 0.5244).metrics
            for own in noise
        )
        for name in held:
            found = _number(first[name], second[name], range(100)).difference
            held[name] += found.low <= 0 <= found.high
    assert min(held.values()) >= 0.9 * trials, held


def test_differences_on_few_images_of_one_kind_keep_their_width():
    """All told apart by both: of 20 unknown images more is not known than of one run alone."""
    one = unknown_images(np.linspace(0.8, 0.9, 1000), np.linspace(0.1, 0.2, 20)).metrics["aupr"]
    found = _number(one, one, range(1020)).difference
    assert found.high - found.low == pytest.approx(2 * (one.high - one.low), rel=0.01)
