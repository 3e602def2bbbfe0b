"""The analysis of rows: what was planted is found, and told as data, text and a page."""

import functools
import json
import re

import numpy as np
import pytest

from RobustART.cli import main
from RobustART.errors import RecordError
from RobustART.metrics.correlation import spearman
from RobustART.nas.page import Analysis, medians
from RobustART.nas.rows import read_rows, row_of, write_rows

HEADER = {"conditions": "0" * 16, "space": {"name": "resnet"}, "statistics": {"images": 100}}


def planted(count=60):
    """Rows in which one number rises with depth, one falls with the input size, one is noise, one is a constant."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        depth, size = int(rng.integers(4, 9)), int(rng.choice([16, 24, 32]))
        factors = {"depth": depth, "width": float(rng.random()), "kernel": 3, "expansion": 0.25, "resolution": size}
        numbers = {
            "clean": {"top1": 60.0 + depth + rng.random(), "top5": 100.0},
            "adversarial": {"pgd_linf 8/255": None if number < 3 else 90.0 - size, "AR<8>": float(rng.random())},
        }
        rows.append({"id": f"{number:012x}", "factors": factors, "parameters": 1000 * depth, "macs": 10 * depth * size**2, "numbers": numbers})  # fmt: skip
    return rows


def test_what_was_planted_is_found(tmp_path, capsys):
    write_rows(tmp_path, HEADER, planted())
    outputs = [tmp_path / f"analysis.{kind}" for kind in ("json", "md", "html")]
    assert main(["nas", "analyse", str(tmp_path), *(word for path in outputs for word in ("-o", str(path)))]) == 0
    data, markdown, page = json.loads(outputs[0].read_text()), outputs[1].read_text(), outputs[2].read_text()
    assert capsys.readouterr().out == markdown
    found = {(row["benchmark"], row["name"]): row for row in data["spearman"]}
    assert data["same"] == {"kernel": 3, "expansion": 0.25}
    assert data["subnets"] == 60
    top1 = found["clean", "top1"]
    assert top1["better"] == "high"
    assert top1["correlations"]["depth"]["low"] > 0.9
    assert top1["correlations"]["width"]["low"] < 0 < top1["correlations"]["width"]["high"]
    attacked = found["adversarial", "pgd_linf 8/255"]["correlations"]["resolution"]
    assert (attacked["value"], attacked["n"]) == (pytest.approx(-1), 57)
    assert found["clean", "top5"]["correlations"]["depth"]["reason"] == "all values are the same"
    assert re.search(r"\| pgd_linf 8/255 ↑ .*\*\*-1\.00 \[-1\.00, -1\.00\]\*\*", markdown)
    assert "kernel is 3 in all sub-networks" in markdown
    assert page.count('class="plot"') == 2 * 5
    assert "AR&lt;8&gt;" in page
    assert "AR<8" not in page


def test_a_row_holds_the_errors_of_corruptions_too():
    estimate = {"value": 30.0, "low": 20.0, "high": 40.0, "n": 10}
    tables = {"group_errors": {"noise": {"mean error": estimate, "CE": estimate}}, "corruption_errors": {"fog": {"mean error": estimate}}}  # fmt: skip
    entry = {"metrics": {"mCE": {**estimate, "value": None}}, "tables": tables}
    row = row_of({"id": "a"}, {"model": {"weights": "b"}, "benchmarks": {"imagenet_c": entry}})
    numbers = {"mCE": None, "noise mean error": 30.0, "fog mean error": 30.0}
    assert row == {"id": "a", "weights": "b", "numbers": {"imagenet_c": numbers}}


def test_medians_keep_equal_values_together():
    assert medians([(3, 1.0), (3, 2.0), (3, 9.0), (5, 4.0)]) == [(3, 2.0), (5, 4.0)]
    many = [(x // 3, float(y)) for y, x in enumerate(range(60))]
    found = medians(many)
    assert len(found) <= 8
    assert [x for x, _ in found] == sorted({x for x, _ in found})
    assert medians([*many, (19, 1000.0)])[:-1] == found[:-1]


def test_the_page_is_the_same_each_time():
    analyses = [Analysis.of(HEADER, planted(20), functools.partial(spearman, resamples=100)) for _ in range(2)]
    assert analyses[0].page() == analyses[1].page()


def test_rows_that_are_not_there_are_named(tmp_path, capsys):
    with pytest.raises(RecordError, match="robustart nas evaluate writes it"):
        read_rows(tmp_path)
    (tmp_path / "subnets" / "a").mkdir(parents=True)
    (tmp_path / "subnets" / "a" / "row.json").write_text("{}")
    with pytest.raises(RecordError, match=r"when every sub-network is evaluated \(1 so far\)"):
        read_rows(tmp_path)
    write_rows(tmp_path, HEADER, planted(4))
    assert main(["nas", "analyse", str(tmp_path)]) == 2
    assert "there are 4 sub-networks" in capsys.readouterr().err
    assert main(["nas", "analyse", str(tmp_path), "-o", "x.pdf"]) == 2
    assert "-o takes a file ending in .html, .md or .json" in capsys.readouterr().err
    (tmp_path / "rows.jsonl").write_text('{"format": "other"}\n')
    with pytest.raises(RecordError, match="not a file of rows"):
        read_rows(tmp_path)
