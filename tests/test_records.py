"""Result files: committed block by block, resumed, merged, and never mixed."""

import json

import pytest

from RobustART.errors import RecordError
from RobustART.journal import Journal, difference
from RobustART.records import FORMAT, Line, config_hash, is_result_file, read_records

BLOCKS = [[(0, 0), (0, 1)], [(0, 2), (0, 3)], [(0, 4)]]


def header(seed=0, ids=5):
    conditions = {"seed": seed, "model": {"weights": "abc"}}
    passes = [{"name": "", "cells": ["clean", "fog/1"], "ids": ids}]
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
    with pytest.raises(RecordError, match=r"line 2 of .*x\.jsonl is not a record"):
        Journal(path, header(), BLOCKS).done()


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
    with pytest.raises(RecordError, match="holds 4 of 5 images.*has not ended"):
        read_records(path)
    with open(path, "a") as file:
        file.write(line(3, confidence=0.75).dump())
    with pytest.raises(RecordError, match="repeats image 3"):
        Journal(path, header(), BLOCKS).done()
    write(tmp_path / "y.jsonl", [0, 1, 2])
    (tmp_path / "y.jsonl.rank1").write_text(json.dumps(header()) + "\n" + line(3, confidence=0.75).dump())
    with pytest.raises(RecordError, match="differ in image 3"):
        Journal(tmp_path / "y.jsonl", header(), BLOCKS).done()


def test_foreign_image_is_refused(tmp_path):
    path = tmp_path / "x.jsonl"
    write(path, [0])
    with open(path, "a") as file:
        file.write(line(77).dump())
    with pytest.raises(RecordError, match="holds image 77, which this run does not evaluate"):
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
    with pytest.raises(RecordError, match="No space left on device.*recorded before is kept"):
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction": [3]}, "image 1 does not have 2 entries in each list"),
        ({"prediction": [3, 1.5]}, "image 1 is damaged: TypeError"),
        ({"label_rank": [0, None]}, "image 1 is damaged: TypeError"),
        ({"label_rank": [0, -1]}, "image 1 has a confidence outside 0 to 1, or a rank below 0"),
        ({"confidence": [float("nan"), 0.5]}, "image 1 has a confidence outside"),
        ({"confidence": [1.5, 0.5]}, "image 1 has a confidence outside"),
        ({"label": None}, "image 1 is damaged"),
        ({"extra": {"zipf": [1, 2]}}, "image 1 holds other entries than the images before it"),
    ],
)
def test_damaged_values_name_their_image(tmp_path, change, message):
    path = tmp_path / "x.jsonl"
    write(path, [0, 1, 2])
    rows = path.read_text().splitlines()
    rows[2] = json.dumps({**json.loads(rows[2]), **change})
    path.write_text("\n".join(rows) + "\n")
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
    path.write_text("".join([*rows, rows[1].replace("0.5", "0.25")]))
    with pytest.raises(RecordError, match="line 7 of .* repeats image 0 of pass 0 with other values"):
        read_records(path)
