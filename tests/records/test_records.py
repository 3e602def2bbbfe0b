"""Result files: committed block by block, resumed, merged, and never mixed."""

import dataclasses
import json
import zlib

import pytest

from RobustART.errors import ConfigError, RecordError
from RobustART.records.header import BEFORE
from RobustART.records.journal import Journal, difference
from RobustART.records.lines import FORMAT, Line, config_hash, is_result_file, read_lines, read_records
from RobustART.records.sealing import seal, unsealed
from tests.conftest import as_format_1, changed, sealed

BLOCKS = [[(0, 0), (0, 1)], [(0, 2), (0, 3)], [(0, 4)]]


def header(seed=0, ids=5):
    model = {"source": "timm:a", "arguments": {}, "weights": "abc"}
    conditions = {"seed": seed, "model": model, "options": {}, "attacks": {}}
    places = [{}, {"corruption": "fog", "severity": 1}]
    passes = [{"name": "", "cells": ["clean", "fog/1"], "coordinates": places, "ids": ids}]
    return {
        "format": FORMAT,
        "benchmark": "x",
        "hash": config_hash(conditions),
        "conditions": conditions,
        "passes": passes,
    }


def line(image_id, confidence=0.5):
    return Line(0, image_id, f"{image_id}é.jpg", 3, "ab", [3, 1], [confidence, 0.25], [0, 2])


def write(path, blocks, rank=0, seed=0):
    journal = Journal(path, header(seed), BLOCKS, rank)
    if rank == 0:
        journal.compact()
    journal.open()
    for block in blocks:
        journal.append([line(image_id) for _, image_id in BLOCKS[block]])
    journal.close()
    return journal


def test_whole_file_reads_back(tmp_path):
    path = tmp_path / "x.jsonl"
    write(path, [0, 1, 2])
    records = read_records(path)
    (table,) = records.passes
    assert table.ids.tolist() == [0, 1, 2, 3, 4]
    assert table.files[2] == "2é.jpg"
    assert table.prediction.tolist() == [[3, 1]] * 5
    assert table.correct.tolist() == [[True, False]] * 5
    assert table.cell("fog/1") == 1
    assert table.coordinates == ({}, {"corruption": "fog", "severity": 1})
    with pytest.raises(RecordError, match="no cell 'snow/1'; they have clean, fog/1"):
        table.cell("snow/1")


def test_ranks_merge_to_the_same_bytes_as_one_process(tmp_path):
    write(tmp_path / "one.jsonl", [0, 1, 2])
    two = tmp_path / "two.jsonl"
    write(two, [2, 0])
    write(two, [1], rank=1)
    Journal(two, header(), BLOCKS).compact()
    assert two.read_bytes() == (tmp_path / "one.jsonl").read_bytes()
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["one.jsonl", "two.jsonl"]


def test_cut_off_line_and_its_block_are_dropped(tmp_path):
    path = tmp_path / "x.jsonl"
    write(path, [0, 1])
    text = path.read_bytes()
    for cut in (1, 10, len(line(3).dump().encode()) + 5):
        path.write_bytes(text[:-cut])
        journal = Journal(path, header(), BLOCKS)
        assert journal.done() == {0}
        journal.compact()
        assert path.read_bytes().count(b"\n") == 3
        assert text.startswith(path.read_bytes())


def test_damage_elsewhere_is_an_error(tmp_path):
    path = tmp_path / "x.jsonl"
    write(path, [0, 1])
    rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join([rows[0], rows[1][:20] + "\n", *rows[2:]]))
    with pytest.raises(RecordError, match=r"line 2 of .*x\.jsonl has no checksum at its end"):
        Journal(path, header(), BLOCKS).done()
    path.write_text("".join([rows[0], seal(rows[1][:20] + "}"), *rows[2:]]))
    with pytest.raises(RecordError, match=r"line 2 of .*x\.jsonl is not a record"):
        Journal(path, header(), BLOCKS).done()


def progress(first, stage="apgd_ce"):
    """A line of progress, as plain data."""
    lists = {key: [] for key in ("ran", "finished", "forward", "backward")}
    return {"progress": "fog/1", "stage": stage, **lists, "scores": {}, "flags": {}, "pass": 0, "first": first}


def test_each_line_ends_with_its_checksum(tmp_path):
    path = tmp_path / "x.jsonl"
    journal = write(path, [0])
    journal.open()
    journal.note(progress(2))
    journal.close()
    for text in path.read_text().splitlines():
        body, crc = text.removesuffix("}").rsplit(', "crc": ', 1)
        assert zlib.crc32(f"{body}}}".encode()) == int(crc)
        assert "crc" not in json.loads(body + "}")


@pytest.mark.parametrize(("number", "place"), [(0, "the header of"), (2, "line 3 of"), (5, "line 6 of")])
def test_a_changed_character_is_noticed_and_its_line_is_named(tmp_path, number, place):
    path = tmp_path / "x.jsonl"
    write(path, [0, 1])
    with open(path, "a") as file:
        file.write(sealed(progress(4)))
    rows = path.read_text().splitlines(keepends=True)
    old, new = {0: ('"seed": 0', '"seed": 1'), 2: ('"label": 3', '"label": 8'), 5: ("apgd_ce", "apgd_cf")}[number]
    assert old in rows[number]
    rows[number] = rows[number].replace(old, new)
    path.write_text("".join(rows))
    message = f"{place} .*x.jsonl does not match the checksum at its end: the line was changed or damaged"
    for read in (read_records, read_lines, lambda path: Journal(path, header(), BLOCKS).done()):
        with pytest.raises(RecordError, match=message):
            read(path)


def test_any_byte_that_changes_is_noticed(tmp_path):
    path = tmp_path / "x.jsonl"
    write(path, [0, 1, 2])
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(RecordError, match=r"x\.jsonl"):
            read_records(path)
    path.write_bytes(whole.replace(b"records/2", b"records/1", 1))
    with pytest.raises(RecordError, match="the header of .* does not match the checksum at its end"):
        read_records(path)


def test_a_file_of_format_1_reads_as_one_of_format_2(tmp_path):
    path = tmp_path / "x.jsonl"
    write(path, [0, 1, 2])
    now = read_records(path)
    path.write_text(as_format_1(path.read_text()))
    assert "crc" not in path.read_text()
    before = read_records(path)
    assert before.header["format"] == BEFORE
    assert before.passes[0].coordinates == ({}, {})
    for key in ("ids", "labels", "prediction", "confidence", "label_rank"):
        assert (getattr(before.passes[0], key) == getattr(now.passes[0], key)).all()
    assert before.passes[0].files == now.passes[0].files


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_file_of_format_1_is_resumed_and_rewritten(tmp_path, ends):
    write(tmp_path / "whole.jsonl", [0, 1, 2])
    path = tmp_path / "x.jsonl"
    journal = write(path, [0])
    journal.open()
    journal.note(progress(4))
    journal.close()
    write(path, [1], rank=1)
    for part in journal.parts():
        part.write_text(as_format_1(part.read_text()), newline=ends)
    resumed = Journal(path, header(), BLOCKS)
    assert resumed.done() == {0, 1}
    assert resumed.stages((0, 4), "fog/1") == [progress(4)]
    assert resumed.untidy
    resumed.compact()
    expected = (tmp_path / "whole.jsonl").read_text().splitlines(keepends=True)[:-1]
    assert path.read_text().splitlines(keepends=True) == [*expected, sealed(progress(4))]
    resumed.open()
    resumed.append([line(4)])
    resumed.close()
    resumed.compact()
    assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["whole.jsonl", "x.jsonl"]


def test_a_whole_file_of_format_1_is_untidy(tmp_path):
    path = tmp_path / "x.jsonl"
    write(path, [0, 1, 2])
    whole = path.read_bytes()
    path.write_text(as_format_1(path.read_text()))
    journal = Journal(path, header(), BLOCKS)
    assert journal.done() == {0, 1, 2}
    assert journal.untidy
    journal.compact()
    assert path.read_bytes() == whole


def test_killed_while_writing_the_header(tmp_path):
    path = tmp_path / "x.jsonl"
    path.with_name("x.jsonl.rank1").write_text('{"format": "robusta')
    path.write_text("")
    assert Journal(path, header(), BLOCKS).done() == set()


def test_other_config_is_refused_with_both_hashes(tmp_path):
    path = tmp_path / "x.jsonl"
    write(path, [0, 1, 2])
    before = path.read_bytes()
    with pytest.raises(RecordError) as caught:
        Journal(path, header(seed=1), BLOCKS).done()
    message = str(caught.value)
    assert header(0)["hash"] in message
    assert header(1)["hash"] in message
    assert "seed: 0 -> 1" in message
    assert path.read_bytes() == before


def test_repeats_and_gaps_are_refused(tmp_path):
    path = tmp_path / "x.jsonl"
    write(path, [0, 1])
    with pytest.raises(RecordError, match="has 4 of 5 images.*is unfinished"):
        read_records(path)
    with open(path, "a") as file:
        file.write(line(3, confidence=0.75).dump())
    with pytest.raises(RecordError, match="repeats image 3"):
        Journal(path, header(), BLOCKS).done()
    write(tmp_path / "y.jsonl", [0, 1, 2])
    (tmp_path / "y.jsonl.rank1").write_text(sealed(header()) + line(3, confidence=0.75).dump())
    with pytest.raises(RecordError, match="differ in image 3"):
        Journal(tmp_path / "y.jsonl", header(), BLOCKS).done()


def test_foreign_image_is_refused(tmp_path):
    path = tmp_path / "x.jsonl"
    write(path, [0])
    with open(path, "a") as file:
        file.write(line(77).dump())
    with pytest.raises(RecordError, match="has image 77, which this run does not evaluate"):
        Journal(path, header(), BLOCKS).done()


def test_full_disk_keeps_what_was_recorded(tmp_path, monkeypatch):
    path = tmp_path / "x.jsonl"
    journal = write(path, [0])
    before = path.read_bytes()
    journal.open()

    class Full:
        """A file on a disk that fills up in the middle of a write."""

        def __init__(self, file):
            self.file, self.calls = file, 0

        def write(self, data):
            self.calls += 1
            if self.calls > 1:
                raise OSError(28, "No space left on device")
            return self.file.write(bytes(data[:7]))

        def __getattr__(self, name):
            return getattr(self.file, name)

    journal._file = Full(journal._file)
    with pytest.raises(RecordError, match="No space left on device.*written before are kept"):
        journal.append([line(2), line(3)])
    journal.close()
    assert path.read_bytes() == before


def test_what_is_a_result_file(tmp_path):
    write(tmp_path / "x.jsonl", [0])
    assert is_result_file(tmp_path / "x.jsonl")
    (tmp_path / "a.txt").write_text('{"filename": "a", "score": [1]}\n')
    assert not is_result_file(tmp_path / "a.txt")
    with pytest.raises(RecordError, match="no result file"):
        read_records(tmp_path / "nothing.jsonl")
    with pytest.raises(RecordError, match="not a result file of this version"):
        read_records(tmp_path / "a.txt")


def test_difference_names_the_keys():
    assert difference({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": None}) == ["a.c: 2 -> 3"]


NESTED = "[" * 5000 + "]" * 5000
"""JSON that is nested more deeply than a parser goes."""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction": [3]}, "image 1 must have 2 entries in 'prediction', got 1"),
        ({"prediction": None}, "image 1 needs 'prediction', a list, got None"),
        ({"prediction": [3, 1.5]}, "image 1 needs 'prediction', a list of integers, got .3, 1.5."),
        ({"prediction": [3, True]}, "image 1 needs 'prediction', a list of integers, got .3, True."),
        ({"prediction": [3, 10**30]}, "image 1 has a number in 'prediction' that is too large"),
        ({"confidence": [0.5, 10**400]}, "image 1 has a number in 'confidence' that is too large"),
        ({"label_rank": [0, None]}, "image 1 needs 'label_rank', a list of integers"),
        (
            {"label_rank": [0, -1]},
            "image 1 has in the cell 'fog/1' .* label rank -1 .* a rank and a class must be at least 0",
        ),
        ({"prediction": [-3, 1], "label_rank": [1, 2]}, "image 1 has in the cell 'clean' the prediction -3"),
        ({"confidence": [float("nan"), 0.5]}, "image 1 has in the cell 'clean' .* a confidence must be from 0 to 1"),
        ({"confidence": [0.5, 1.5]}, "image 1 has in the cell 'fog/1' .* a confidence must be from 0 to 1"),
        (
            {"prediction": [4, 1]},
            "image 1 has in the cell 'clean' the prediction 4, .* rank 0 for the label 3: the pred",
        ),
        (
            {"label_rank": [0, 0]},
            "image 1 has in the cell 'fog/1' the prediction 1, .* rank 0 for the label 3: the pred",
        ),
        ({"label_rank": [2, 2]}, "the prediction must be the label if and only if the label rank is 0"),
        ({"label": None}, "image 1 needs 'label', an integer, got None"),
        ({"label": -1}, "image 1 needs 'label', an integer from 0 to"),
        ({"label": 10**30}, "image 1 needs 'label', an integer from 0 to"),
        ({"id": "1"}, "line 3 of .* needs 'id', an integer, got '1'"),
        ({"pass": 0.5}, "line 3 of .* needs 'pass', an integer, got 0.5"),
        ({"pass": 1}, "has a line of pass 1, but its header lists 1 passes"),
        ({"file": 1}, "image 1 needs 'file', a string, got 1"),
        ({"digest": None}, "image 1 needs 'digest', a string, got None"),
        ({"extra": {"zipf": [1, 2]}}, "image 1 has other entries than the previous images"),
        ({"extra": 5}, "image 1 needs 'extra', an object, got 5"),
        ({"progress": "fgsm"}, "line 3 of .* needs 'pass', an integer, got none"),
        (NESTED, "line 3 of .* is not a record"),
        ("[1]", "line 3 of .* is not a record"),
    ],
)
def test_damaged_values_name_their_image(tmp_path, change, message):
    path = tmp_path / "x.jsonl"
    write(path, [0, 1, 2])
    rows = path.read_text().splitlines(keepends=True)
    rows[2] = seal(change + "}") if isinstance(change, str) else changed(rows[2], **change)
    path.write_text("".join(rows))
    with pytest.raises(RecordError, match=message):
        read_records(path)
    rows = as_format_1("".join([*rows[:2], *rows[3:]])).splitlines(keepends=True)
    broken = change if isinstance(change, str) else json.dumps({**json.loads(rows[1]), "id": 1, **change})
    path.write_text("".join([*rows[:2], broken + "\n", *rows[2:]]))
    with pytest.raises(RecordError, match=message):
        read_records(path)


def test_lines_in_any_order_and_repeated_read_back_sorted(tmp_path):
    path = tmp_path / "x.jsonl"
    write(path, [0, 1, 2])
    rows = path.read_text().splitlines(keepends=True)
    whole = read_records(path).passes[0]
    path.write_text("".join([rows[0], rows[4], rows[1], rows[5], rows[3], rows[2], rows[4]]))
    table = read_records(path).passes[0]
    assert table.ids.tolist() == [0, 1, 2, 3, 4]
    assert table.files == whole.files
    assert table.digests == ("ab",) * 5
    assert (table.prediction == whole.prediction).all()
    path.write_text("".join([*rows, changed(rows[1], confidence=[0.25, 0.25])]))
    with pytest.raises(RecordError, match="line 7 of .* repeats image 0 of pass 0 with other values"):
        read_records(path)


ATTACKED = {"broken_by": ["clean", None], "forward": [0, 9], "backward": [0, 8]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({**ATTACKED, "broken_by": [1, None]}, "needs 'broken_by', a list of stage names or null, got .1, None."),
        ({**ATTACKED, "broken_by": None}, "needs 'broken_by', a list, got None"),
        ({**ATTACKED, "forward": [0]}, "must have 2 entries in 'forward', got 1"),
        ({**ATTACKED, "backward": [0, -1]}, "has a negative number of passes in 'backward'"),
        ({**ATTACKED, "flags": {"snow/1": {}}}, "needs 'flags', names with meanings for each of its cells"),
        ({**ATTACKED, "flags": {"fog/1": {"a": 1}}}, "needs 'flags', names with meanings for each of its cells"),
        ({"extra": {"zipf": 5}}, "in 'extra', needs 'zipf', a list, got 5"),
        ({"extra": {"zipf": [1]}}, "in 'extra', must have 2 entries in 'zipf', got 1"),
        ({"extra": {"zipf": ["a", "b"]}}, "image 0 needs in 'extra' 'zipf' finite numbers"),
        ({"extra": {"zipf": [[1, 2], [1]]}}, "image 0 needs in 'extra' 'zipf' finite numbers"),
        ({"extra": {"zipf": [float("inf"), 1]}}, "image 0 needs in 'extra' 'zipf' finite numbers"),
        ({"extra": {"zipf": [10**400, 1]}}, "image 0 needs in 'extra' 'zipf' finite numbers"),
    ],
)
def test_damaged_attacks_and_extra_numbers(tmp_path, change, message):
    path = tmp_path / "x.jsonl"
    path.write_text(sealed(header(ids=1)) + changed(line(0).dump(), **change))
    with pytest.raises(RecordError, match=message):
        read_records(path)


def test_extra_numbers_name_the_image_that_has_others(tmp_path):
    path = tmp_path / "x.jsonl"
    rows = [changed(line(i).dump(), extra={"top5": [[1, 2]] * 2 if i < 2 else [[1]] * 2}) for i in range(3)]
    path.write_text("".join([sealed(header(ids=3)), *rows]))
    with pytest.raises(RecordError, match="image 2 needs in 'extra' 'top5' finite numbers of the other images' shape"):
        read_records(path)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("benchmark",), None, "needs 'benchmark', a string, got None"),
        (("hash",), 5, "needs 'hash', a string, got 5"),
        (("conditions",), ..., "needs 'conditions', an object, got none"),
        (("conditions", "model"), ..., "in 'conditions', needs 'model', an object, got none"),
        (("conditions", "model", "source"), 1, "in 'model', needs 'source', a string, got 1"),
        (("conditions", "options"), [], "needs 'options', an object, got .."),
        (("conditions", "attacks"), {"fgsm/1": 5}, "in 'attacks', 'fgsm/1' must be an object, got 5"),
        (("conditions", "attacks"), {"fgsm/1": {"norm": 5}}, "needs 'norm', a string, got 5"),
        (("conditions", "attacks"), {"fgsm/1": {"attacks": [5]}}, "needs 'attacks', a list of strings, got .5."),
        (("conditions", "models"), {"b": 1}, "in 'models', 'b' must be an object, got 1"),
        (("conditions", "data"), {"a": 1}, "needs 'data', a list"),
        (("conditions", "data"), [5], "in 'data', must have objects, got 5"),
        (("conditions", "preprocessing"), 5, "needs 'preprocessing', an object, got 5"),
        (("conditions", "options", "deep"), json.loads("[" * 60 + "]" * 60), "is nested more than 50 levels deep"),
        (("versions",), [], "needs 'versions', an object"),
        (("passes",), ..., "needs 'passes', a list, got none"),
        (("passes",), [], "needs at least one entry in 'passes'"),
        (("passes",), [5], "in 'passes'.0., must have an object, got 5"),
        (("passes", 0, "name"), 5, "in 'passes'.0., needs 'name', a string, got 5"),
        (("passes", 0, "cells"), [], "needs 'cells', a list of names, got .."),
        (("passes", 0, "cells"), ["clean", 5], "needs 'cells', a list of names, got"),
        (("passes", 0, "cells"), ["clean", "clean"], "names the cell 'clean' twice"),
        (("passes", 0, "coordinates"), [{}], "needs 'coordinates', an object for each of its cells, got"),
        (("passes", 0, "coordinates"), [{}, 5], "needs 'coordinates', an object for each of its cells, got"),
        (("passes", 0, "coordinates"), 5, "needs 'coordinates', a list, got 5"),
        (("passes", 0, "ids"), "5", "needs 'ids', an integer, got '5'"),
        (("passes", 0, "ids"), -1, "needs 'ids', the number of images, from 0, got -1"),
        (("passes", 0, "models"), {"clean": ["a"]}, "two entries that are names of models or null, got"),
        (
            ("passes", 0, "models"),
            {"snow/1": ["a", None]},
            "for one of its cells, two entries that are names of models",
        ),
    ],
)
def test_a_header_says_what_is_wrong_with_it(tmp_path, keys, value, message):
    path = tmp_path / "x.jsonl"
    write(path, [0, 1, 2])
    first, *rows = path.read_text().splitlines(keepends=True)
    damaged = json.loads(unsealed(first, "the header"))
    inner = damaged
    for key in keys[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    for text in (sealed(damaged), json.dumps({**damaged, "format": BEFORE}) + "\n"):
        path.write_text("".join([text, *rows]))
        assert is_result_file(path)
        with pytest.raises(RecordError, match=f"the header of .*{message}"):
            read_records(path)
        with pytest.raises(RecordError, match=message):
            Journal(path, header(), BLOCKS).done()


def test_two_passes_of_one_name_and_headers_of_other_versions(tmp_path):
    path = tmp_path / "x.jsonl"
    twice = header()
    path.write_text(sealed({**twice, "passes": twice["passes"] * 2}))
    with pytest.raises(RecordError, match="names a pass twice"):
        read_records(path)
    for version in ("robustart-records/0", "robustart-records/3"):
        path.write_text(sealed({**twice, "format": version}))
        assert is_result_file(path)
        with pytest.raises(RecordError, match="not a result file of this version"):
            read_records(path)
    path.write_text(NESTED + "\n")
    assert not is_result_file(path)
    for place in (None, 5, b"x"):
        with pytest.raises(ConfigError, match="a result file must be named by a string or a path, got"):
            read_records(place)


def test_a_line_is_its_fields():
    line = Line(
        1, 7, "a.jpg", 3, "0" * 16, [3, 4], [0.5, 0.25], [0, 2], flags={"fgsm": {"zero": "é"}}, extra={"x": [1, 2]}
    )
    data = {key: value for key, value in dataclasses.asdict(line).items() if value is not None}
    data["pass"] = data.pop("pass_index")
    assert line.dump() == seal(json.dumps(data, ensure_ascii=False))
