"""Damaged files of every format before every evaluator: a number, or an error that says what is wrong; nothing else."""

import contextlib
import functools
import json
import warnings

import numpy as np
import pytest

from RobustART.benchmarks.imagenet_o import imagenet_o_classes
from RobustART.benchmarks.photos import imagenet_a_classes
from RobustART.errors import UserError
from RobustART.metrics import (
    AdvRobustEvaluator,
    ImageNetAEvaluator,
    ImageNetCEvaluator,
    ImageNetEvaluator,
    ImageNetOEvaluator,
    ImageNetPEvaluator,
    ImageNetSEvaluator,
    WorstCaseAdvRobustEvaluator,
    compare,
)
from RobustART.metrics.runs import read_run
from RobustART.metrics.spec import summarize
from RobustART.records.header import conditions_hash
from RobustART.records.sealing import seal, unsealed
from RobustART.verification.published_numbers import check_runs
from tests.metrics.conftest import ours, score_lines, verdict_lines

JUNK = [
    None, True, False, -1, 0, 1, 7, 1.5, -0.0, 1e308, 10**30, 10**400, float("nan"), float("-inf"), "", "x", "0", "\ud800",
    "\0", "../x", [], {}, [[]], [None], [1, 2], {"x": 1}, functools.reduce(lambda inner, _: [inner], range(300), 0),
]  # fmt: skip
"""Values that stand in files where others belong."""


def originals(folder):
    """The original's files of each format, by what they hold."""
    scores, wide = np.eye(3)[[0, 1, 1]], np.full((2, 1000), 1e-6)
    wide[:, [imagenet_a_classes()[3], imagenet_o_classes()[3]]] = 0.4
    confidences = json.dumps({"confidence": [0.9, 0.2, 0.5], "correct": [1, 0, 1], "num_correct": 2}) + "\n"
    lists = [folder / "a-results.txt.rank0", folder / "o-part2-results.txt.rank0"]
    videos = folder / "snow-results.txt.all"
    folder.mkdir()
    for path in lists:
        path.write_text(confidences)
    videos.write_text('{"predictions": [1, 2, 1, 1]}\n{"predictions": [1, 1, 1, 2]}\n')
    cells = [score_lines(folder / "c" / f"weather-fog-{s}-results.txt.all", scores, [0, 1, 2]) for s in (1, 2)]
    return {
        "scores": score_lines(folder / "results.txt.all", scores, [0, 1, 2]),
        "other scores": score_lines(folder / "clean.txt.all", scores, [0, 1, 2]),
        "wide": score_lines(folder / "wide", wide, [imagenet_a_classes()[3]] * 2),
        "verdicts": verdict_lines(folder / "none_0", [1, 0, 1]),
        "attacked": verdict_lines(folder / "fgsm_1", [1, 0, 0]),
        "known": lists[0], "unknown": lists[1], "videos": videos, "fog/1": cells[0], "fog/2": cells[1],
    }  # fmt: skip


def readings(own, other, path, sound):
    """Everything that a file may be given to, as calls: by itself, and beside others; ``sound`` is the file before."""
    yield from (
        functools.partial(evaluator().eval, path)
        for evaluator in (
            AdvRobustEvaluator, ImageNetAEvaluator, ImageNetCEvaluator, ImageNetEvaluator, ImageNetOEvaluator,
            ImageNetPEvaluator, ImageNetSEvaluator, WorstCaseAdvRobustEvaluator,
        )
    )  # fmt: skip
    yield lambda: ImageNetEvaluator(topk=(1,)).eval(path)
    yield lambda: ImageNetAEvaluator(masked=False).eval(path)
    if path in own.values():
        yield lambda: ImageNetCEvaluator().eval(own["imagenet_c"], clean=own["clean"])
        yield lambda: ImageNetPEvaluator().eval(own["imagenet_p"], baseline=path)
        yield lambda: summarize(read_run(path).records)
        yield lambda: compare(sound, path).markdown()
        yield lambda: check_runs([(read_run(path), None)])
    else:
        yield lambda: ImageNetCEvaluator().eval(path.parent)
        yield lambda: ImageNetCEvaluator().eval(other["fog/1"].parent, clean=path)
        yield lambda: ImageNetPEvaluator(difficulty=2).eval(other["videos"], baseline=path)
        yield lambda: ImageNetOEvaluator().eval(other["known"], path)
        yield lambda: ImageNetSEvaluator().eval([other["scores"], path])
        yield lambda: AdvRobustEvaluator().eval(other["verdicts"], path)
        yield lambda: WorstCaseAdvRobustEvaluator().eval(path, [other["verdicts"], other["attacked"]])


def walk(value, place=()):
    """Yields the places of all values in JSON data, the outer ones first."""
    yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value[:6]) if isinstance(value, list) else ()
    for key, part in inner:
        yield from walk(part, (*place, key))


def change(rng, text):
    """Returns a line of JSON with one value dropped, doubled, or replaced by another; sealed if it was."""
    whole = b'"crc": ' in text
    data = json.loads(unsealed(text.decode(), "the line") if whole else text)
    places = list(walk(data))
    place = places[rng.integers(len(places))]
    junk = JUNK[rng.integers(len(JUNK))]
    if not place:
        return json.dumps(junk)
    holder = data
    for key in place[:-1]:
        holder = holder[key]
    kind = rng.integers(4)
    if kind == 0:
        del holder[place[-1]]
    elif kind == 1 and isinstance(holder, list):
        holder.append(holder[place[-1]])
    else:
        holder[place[-1]] = junk
    if whole and place[0] == "conditions" and isinstance(data.get("conditions"), dict):
        with contextlib.suppress(TypeError):  # or the hash alone would be what is wrong
            data["hash"] = conditions_hash(data["conditions"])
    return seal(json.dumps(data)).removesuffix("\n") if whole else json.dumps(data)


def damage(rng, data):
    """Returns the bytes of a file with one thing wrong: a value, a line, or some bytes."""
    lines = data.splitlines(keepends=True)
    i, j = rng.integers(len(lines), size=2)
    kind = rng.integers(10)
    if kind < 6:
        i = 0 if rng.random() < 0.4 else i
        lines[i] = change(rng, lines[i]).encode() + b"\n"
    elif kind == 6:
        lines[i], lines[j] = lines[j], lines[i]
    elif kind == 7:
        lines[i:i] = [lines[j]] * int(rng.integers(3))
        lines = lines[: rng.integers(1, len(lines) + 1)]
    data = b"".join(lines)
    spot = int(rng.integers(len(data)))
    if kind == 8:
        return data[:spot]
    if kind == 9:
        return data[:spot] + bytes(rng.integers(0, 256, 1 + rng.integers(3), dtype=np.uint8)) + data[spot + 1 :]
    return data


def fuzz(folder, seed, rounds, version):
    """Damages files and reads them in every way; returns how often a number came out, and how often an error."""
    rng = np.random.default_rng(seed)
    own, other = ours(folder / "ours", version), originals(folder / "originals")
    files, sound = [*own.values(), *(other.values() if version == 1 else ())], folder / "sound"
    count = {"numbers": 0, "errors": 0, "silent": 0}
    for number in range(rounds):
        path = files[number % len(files)]
        before = path.read_bytes()
        sound.write_bytes(before)
        path.write_bytes(damage(rng, before))
        for reading in readings(own, other, path, sound):
            try:
                str(reading())
                count["numbers"] += 1
            except UserError as error:
                count["errors" if str(error) else "silent"] += 1
            except BaseException:
                (folder / "culprit").write_bytes(path.read_bytes())
                raise
        path.write_bytes(before)
    return count


@pytest.mark.parametrize("version", [1, 2])
def test_damaged_files_make_numbers_or_errors_that_say_why(tmp_path, version):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        count = fuzz(tmp_path, seed=0, rounds=150, version=version)
    assert count["errors"] > 500
    assert count["numbers"] > 50
    assert count["silent"] == 0


@pytest.mark.parametrize("version", [1, 2])
def test_what_is_damaged_is_sound_before(tmp_path, version):
    """Each file gives numbers to some evaluator."""
    own, other = ours(tmp_path / "ours", version), originals(tmp_path / "originals")
    for path in (*own.values(), *other.values()):
        good = 0
        for reading in readings(own, other, path, path):
            try:
                reading()
                good += 1
            except UserError:
                pass
        assert good, path
