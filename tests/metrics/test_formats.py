"""The original's files that contradict themselves, or are none: an error that names file and line, never a number."""

import json
from pathlib import Path

import numpy as np
import pytest

from RobustART.benchmarks.photos import imagenet_a_classes
from RobustART.errors import ConfigError, RecordError
from RobustART.metrics import (
    AdvRobustEvaluator,
    ImageNetAEvaluator,
    ImageNetCEvaluator,
    ImageNetEvaluator,
    ImageNetOEvaluator,
    ImageNetPEvaluator,
    ImageNetSEvaluator,
    WorstCaseAdvRobustEvaluator,
)
from RobustART.original.results.files import result_files
from RobustART.original.results.scores import read_verdicts
from tests.metrics.conftest import score_lines, verdict_lines, write_records

NESTED = "[" * 5000 + "]" * 5000
"""JSON that is nested more deeply than a parser goes."""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            b'{"label": 0, "score": [0.2, 0.8], "prediction": 0}',
            "has the prediction 0, but the highest score is that of 1",
        ),
        (b'{"label": 0, "score": [0.2, 0.8], "prediction": -1}', "has the prediction -1, but"),
        (b'{"label": 0, "score": [0.2, 0.8], "prediction": 2}', "has the prediction 2, but"),
        (b'{"label": 0, "score": [0.2, 0.8], "prediction": true}', "has the prediction True, but"),
        (b'{"label": 0, "score": [0.2, 0.8], "prediction": [1]}', r"has the prediction \[1\], but"),
        (b'{"label": -1, "score": [0.2, 0.8]}', "needs 'score' .* and 'label', a class from 0, got"),
        (b'{"label": -1, "prediction": -1}', "needs 'score' .* and 'label', a class from 0, got"),
        (b'{"label": 0, "prediction": -1}', "needs 'score' "),
        (b'{"label": 0, "prediction": true}', "needs 'score' "),
        (b'{"label": 1e30, "prediction": 1}', "needs 'score' "),
        (b'{"label": 0, "score": [true, 0.5]}', r"needs 'score', a list of numbers, got \[True, 0.5\]"),
        (b'{"label": 0, "score": {"0": 1}}', "needs 'score', a list of numbers, got"),
        (b'{"label": 0, "score": 1}', "needs 'score', a list of numbers, got 1"),
        (b'{"label": 0, "score": []}', "needs 'score'"),
        (b'{"label": 0, "score": [1, 2], "filename": null}', "needs 'filename', a string or an integer, got None"),
        (b'{"label": 0, "score": [1, 2], "image_id": [1]}', r"needs 'image_id', a string or an integer, got \[1\]"),
        (b'{"label": 0, "score": [1e999, 2]}', "has a score that is not a finite number"),
        (f'{{"label": {10**30}, "prediction": 1}}'.encode(), "needs 'score' .* and 'label', a class from 0, got"),
        (f'{{"label": 0, "prediction": {10**30}}}'.encode(), "needs 'score' "),
        (f'{{"label": 0, "score": [1, {10**400}]}}'.encode(), "has a score that is too large"),
        (f'{{"label": 0, "score": [1, {"1" * 5000}]}}'.encode(), "(is not JSON|has a score that is too large)"),
        (NESTED.encode(), "(is not JSON|must be a JSON object)"),
        (b'{"label": 0, "score": [1, 2], "filename": "\xff"}', "is not UTF-8: invalid start byte at byte"),
    ],
)
def test_a_line_that_is_none_or_contradicts_itself(tmp_path, line, message):
    (tmp_path / "r").write_bytes(
        b'{"label": 1, "prediction": 1}\n' * ("score" not in line.decode("latin1")) + line + b"\n"
    )
    with pytest.raises(RecordError, match=f"line [12] of .*r .*{message}"):
        ImageNetEvaluator(topk=(1,)).eval(tmp_path / "r")


def test_a_byte_order_mark_is_no_part_of_a_line(tmp_path):
    (tmp_path / "r").write_bytes(b'\xef\xbb\xbf{"label": 1, "prediction": 1}\n{"label": 1, "prediction": 0}\n')
    assert read_verdicts(tmp_path / "r").prediction.tolist() == [1, 0]


def test_the_first_of_a_mask_may_be_the_prediction(tmp_path):
    inside = imagenet_a_classes()
    scores = np.full(1000, 1e-6)
    scores[0], scores[inside[3]] = 0.6, 0.3  # class 0 is not one of the 200
    for prediction in (0, inside[3]):
        (tmp_path / "a").write_text(
            json.dumps({"label": inside[3], "score": scores.tolist(), "prediction": prediction})
        )
        assert read_verdicts(tmp_path / "a", inside).prediction.tolist() == [inside[3]]
    (tmp_path / "a").write_text(json.dumps({"label": inside[3], "score": scores.tolist(), "prediction": inside[4]}))
    with pytest.raises(RecordError, match="but the highest score is that of 0"):
        ImageNetAEvaluator().eval(tmp_path / "a")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"confidence": [0.5, 1.5]}, "needs 'confidence', a list of numbers from 0 to 1, got 1.5 in it"),
        ({"confidence": [-0.5, 0.5]}, "needs 'confidence', a list of numbers from 0 to 1, got -0.5 in it"),
        ({"confidence": [float("nan"), 0.5]}, "needs 'confidence', a list of numbers from 0 to 1, got nan in it"),
        ({"confidence": ["0.5", 0.5]}, "needs 'confidence', a list of numbers from 0 to 1, got '0.5' in it"),
        ({"confidence": [10**400, 0.5]}, "needs 'confidence', a list of numbers from 0 to 1"),
        ({"confidence": 0.5}, "needs the lists 'confidence' and 'correct', got"),
        ({"correct": [2, 0]}, "needs 'correct', a list of 0 and 1, got 2 in it"),
        ({"correct": [0.5, 0]}, "needs 'correct', a list of 0 and 1, got 0.5 in it"),
        ({"correct": ["1", 0]}, "needs 'correct', a list of 0 and 1, got '1' in it"),
        ({"correct": [None, 0]}, "needs 'correct', a list of 0 and 1, got None in it"),
        ({"num_correct": 2}, "contradicts itself: 2 confidences, 2 in 'correct', of them 1 right, num_correct 2"),
        ({"num_correct": None}, "contradicts itself"),
        ({"correct": [1]}, "contradicts itself: 2 confidences, 1 in 'correct'"),
    ],
)
def test_lists_of_confidences(tmp_path, change, message):
    sound = {"confidence": [0.5, 0.6], "correct": [1, 0], "num_correct": 1}
    (tmp_path / "a").write_text(json.dumps(sound) + "\n" + json.dumps({**sound, **change}) + "\n")
    with pytest.raises(RecordError, match=f"line 2 of .*a {message}"):
        ImageNetAEvaluator().eval(tmp_path / "a")
    (tmp_path / "a").write_text(json.dumps({**sound, "correct": [True, False]}) + "\n")
    assert ImageNetAEvaluator().eval(tmp_path / "a")["top1"] == 50


@pytest.mark.parametrize("row", [[1, -1], [1, True], [1, 10**30], [1, 1.0], [1], 5, None])
def test_predictions_of_frames(tmp_path, row):
    (tmp_path / "snow-results.txt").write_text(json.dumps({"predictions": row}) + "\n")
    with pytest.raises(RecordError, match="line 1 of .* needs 'predictions', a list of the class of each frame, got"):
        ImageNetPEvaluator().eval(tmp_path / "snow-results.txt")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("weather-xyz-1", "is of the corruption 'xyz', which ImageNet-C does not have; Known: gaussian_noise"),
        ("weather-fogg-1", "'fogg', which ImageNet-C does not have; did you mean 'fog'"),
        ("blur-fog-1", "puts fog into the group 'blur', but it is one of 'weather'"),
        ("noise-speckle_noise-1", "puts speckle_noise into the group 'noise', but it is one of 'extra'"),
        ("weather-snow-9", r"must be named \{group\}-\{corruption\}-\{severity\}-results.txt, severity 1 to 5"),
    ],
)
def test_cells_that_imagenet_c_does_not_have(tmp_path, name, message):
    score_lines(tmp_path / f"{name}-results.txt.all", np.eye(3), [0, 1, 2])
    for files in (tmp_path, [tmp_path / f"{name}-results.txt"]):
        with pytest.raises(RecordError, match=message):
            ImageNetCEvaluator().eval(files)


def test_perturbations_that_imagenet_p_does_not_have(tmp_path):
    def line(name):
        (tmp_path / name).write_text('{"predictions": [1, 2, 1, 1, 2]}\n')
        return tmp_path / name

    with pytest.raises(
        RecordError, match="is of the perturbation 'foo', which ImageNet-P of difficulty 1 does not have"
    ):
        ImageNetPEvaluator().eval(line("foo-results.txt"))
    with pytest.raises(ConfigError, match="perturbation must be one of ImageNet-P's; did you mean 'snow'.* got 'snw'"):
        ImageNetPEvaluator().eval(line("mine"), "snw")
    with pytest.raises(ConfigError, match="perturbation must be one of ImageNet-P's, gaussian_noise, .* got 5"):
        ImageNetPEvaluator().eval(line("mine"), 5)
    # Noise of more difficulty has videos of its own, whose name says so.
    strong = line("gaussian_noise_2-results.txt")
    with pytest.raises(RecordError, match="'gaussian_noise_2', which ImageNet-P of difficulty 1 does not have"):
        ImageNetPEvaluator().eval(strong)
    assert list(ImageNetPEvaluator(difficulty=2).eval(strong).summary.tables["stability"]) == ["gaussian_noise"]
    both = line("gaussian_noise-results.txt").parent
    (both / "foo-results.txt").unlink()
    with pytest.raises(RecordError, match="are both of gaussian_noise"):
        ImageNetPEvaluator(difficulty=2).eval(both)


def test_arguments_that_cannot_mean_anything(tmp_path):
    for difficulty in (-1, 0, 4, "2", True, 1.0, None):
        with pytest.raises(ConfigError, match="difficulty must be 1, 2 or 3, got"):
            ImageNetPEvaluator(difficulty=difficulty)
    with pytest.raises(ConfigError, match="masked must be true or false, got 'no'"):
        ImageNetAEvaluator(masked="no")
    sound = verdict_lines(tmp_path / "clean", [1, 0])
    for value in (None, 5, b"clean", {}):
        for evaluator in (
            AdvRobustEvaluator, ImageNetAEvaluator, ImageNetCEvaluator, ImageNetEvaluator, ImageNetOEvaluator,
            ImageNetPEvaluator, ImageNetSEvaluator, WorstCaseAdvRobustEvaluator,
        ):  # fmt: skip
            with pytest.raises(ConfigError, match="a result file must be named by a string or a path, got"):
                evaluator().eval(value)
        for call in (
            lambda v: ImageNetCEvaluator().eval([v]), lambda v: ImageNetSEvaluator().eval([v, sound]),
            lambda v: WorstCaseAdvRobustEvaluator().eval(sound, [v]), lambda v: AdvRobustEvaluator().eval(sound, v or 0),
            lambda v: ImageNetOEvaluator().eval(v, sound),
        ):  # fmt: skip
            with pytest.raises(ConfigError, match="a result file must be named by a string or a path, got"):
                call(value)
    for value in (5, [], "clean"):
        with pytest.raises(ConfigError, match="attacked_files must be a list of result files, got"):
            WorstCaseAdvRobustEvaluator().eval(sound, value)


def test_names_of_files_are_no_patterns(tmp_path):
    """A name with brackets found other files, a superscript was a number, and an empty name had no folder."""
    score_lines(tmp_path / "a1.rank0", np.eye(3), [0, 1, 2])
    with pytest.raises(RecordError, match="there is no result file"):
        result_files(tmp_path / "a[1]")
    score_lines(tmp_path / "a[1].rank0", np.eye(3), [0, 1, 2])
    (tmp_path / "a[1].rank²").write_text("")
    assert [path.name for path in result_files(tmp_path / "a[1]")] == ["a[1].rank0"]
    for place in ("", ".", "/", Path("/nowhere/at/all")):
        with pytest.raises(RecordError, match="there is no result file"):
            result_files(place)


def test_a_file_of_ours_among_the_originals_is_named(tmp_path):
    ours = write_records(tmp_path / "ours", "clean", [("", ["clean"], [[0]], {})])
    with pytest.raises(
        RecordError, match="line 1 of .*ours begins a result file of ours, but one of the original's is"
    ):
        AdvRobustEvaluator().eval(verdict_lines(tmp_path / "clean", [1]), ours)
