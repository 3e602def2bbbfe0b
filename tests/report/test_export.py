"""Tables of runs: tidy, LaTeX, Markdown; what is marked as the best."""

import csv
import io
import json
import shutil
import sys

import numpy as np
import pytest

from RobustART.cli import main
from RobustART.core.tables import STYLES
from RobustART.core.tidy import HEAD
from RobustART.errors import ConfigError
from RobustART.metrics import compare
from RobustART.report import Report, report_of_files, results_folder, write_report
from RobustART.report.board_runs import read_runs
from RobustART.report.export import runs_table
from RobustART.report.numbers import numbers_by_name
from tests.metrics.test_comparison import FIRST, run


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def reported(folder):
    """A run's folder with the report of its result files."""
    results = results_folder(folder)
    write_report(results, report_of_files(results))
    return str(folder)


def ranks(right, n=60):
    return [[0 if i < right else 1] for i in range(n)]


def stated(n):
    data = [{"name": "photos", "fingerprint": "f", "images": n, "subset": None, "label_set": None, "classes": 1000}]
    return {
        "data": data,
        "preprocessing": {
            "input_size": 9,
            "resize": 9,
            "interpolation": "bilinear",
            "crop_mode": "center",
            "mean": [0.5],
            "std": [0.5],
        },
    }


@pytest.fixture
def pair(tmp_path):
    """Two runs that differ clearly: 50 and 20 of 60 images."""
    return [
        reported(run(tmp_path / name, ranks(right), source=f"timm:{name}", **stated(60)))
        for name, right in (("good", 50), ("bad_one", 20))
    ]


def test_tidy_csv_has_every_number_of_the_report_once(run_folder, report, capsys):
    assert main(["table", str(run_folder), "--format", "csv"]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert tuple(rows[0]) == HEAD
    count = sum(
        len(entry["metrics"]) + sum(len(line) for table in entry["tables"].values() for line in table.values())
        for entry in report["benchmarks"].values()
    )
    assert len(rows) == len({(r["benchmark"], r["metric"], r["row"], r["column"]) for r in rows}) == count
    for row in rows:
        entry = report["benchmarks"][row["benchmark"]]
        found = (
            entry["tables"][row["metric"]][row["row"]][row["column"]] if row["row"] else entry["metrics"][row["metric"]]
        )
        assert [row[key] for key in ("value", "low", "high")] == [
            "" if found[key] is None else str(found[key]) for key in ("value", "low", "high")
        ]
        assert (row["n"], row["reason"]) == (str(found["n"]), found.get("reason", ""))
        assert row["not_trustworthy"] == "; ".join(found.get("not_trustworthy", ()))


def test_the_best_is_bold_where_the_paired_test_says_so(pair, tmp_path, capsys):
    assert main(["table", *pair, "--format", "latex", "--columns", "clean.top1"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("\\begin{tabular}{lr}\n\\toprule\nrun & clean top1 \\\\\n\\midrule\n")
    assert "timm:good & \\textbf{83.33} \\\\" in text
    assert "timm:bad\\_one & 33.33 \\\\" in text
    near = reported(run(tmp_path / "near", ranks(52), source="timm:near", **stated(60)))
    text = runs_table(read_runs([pair[0], near]), "markdown", names=["clean.top1"])
    assert "| timm:near | 86.67 |" in text  # better by two images, which is chance
    assert "**" not in text
    assert main(["table", *pair, near, "--format", "markdown", "--intervals"]) == 0
    assert "**" not in capsys.readouterr().out  # clearly better than one of two


def test_without_result_files_nothing_is_bold_and_the_reason_is_named(pair, tmp_path):
    (tmp_path / "bad_one" / "results" / "clean.jsonl").unlink()
    text = runs_table(read_runs(pair))
    assert "*" not in text.partition("\nnote:")[0]
    assert "note: no run is marked as the best in clean, because there is no paired test:" in text


def test_other_conditions_have_another_column(pair, tmp_path, capsys):
    other = reported(run(tmp_path / "other", FIRST, **stated(8)))
    assert main(["table", *pair, other, "--columns", "clean.top1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["run", "clean", "top1", "[A]", "clean", "top1", "[B]"]
    assert lines[4].split() == ["timm:a", "-", "75.00"]
    assert any(line.startswith("note: clean [B], timm:a: not comparable with A, ") for line in lines)


def test_a_doubtful_number_is_no_value(make_run):
    def doubt(data):
        data["benchmarks"]["clean"]["metrics"]["top1"]["not_trustworthy"] = ["answers depend on chance"]

    text = runs_table(read_runs([make_run("a", doubt), make_run("b")]), names=["clean.top1"])
    assert text.splitlines()[2].split()[-1] == "-"
    assert "clean top1: answers depend on chance; the number was" in text


def test_tables_of_one_run(run_folder, report, capsys):
    own = Report(report)
    text = own.table("imagenet_c", style="latex")
    assert text.count("\\begin{tabular}") == 1 + len(report["benchmarks"]["imagenet_c"]["tables"])
    assert "gaussian\\_noise & " in text
    value = report["benchmarks"]["imagenet_c"]["tables"]["top1"]["fog"]["3"]["value"]
    named = own.table(names=["imagenet_c.top1[fog 3]"], style="markdown")
    assert f"| imagenet_c.top1[fog 3] | {value:.2f} | [" in named
    assert main(["table", str(run_folder)]) == 0
    assert capsys.readouterr().out == own.table()


def test_the_strongest_attack_has_a_name(report):
    numbers = numbers_by_name(report)
    table = report["benchmarks"]["adversarial"]["tables"]["robust_accuracy"]
    values = [row["4/255"]["value"] for row in table.values() if "4/255" in row]
    assert numbers["adversarial.robust_accuracy[Linf 4/255]"].estimate["value"] == min(values)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--columns", "clean.top2"], "there is no number 'clean.top2'; did you mean 'clean.top"),
        (["--columns", "imagenet.mCE"], "the benchmarks are clean, imagenet_c"),
        (["--format", "parquet"], "--format parquet needs -o FILE"),
        (["--difference", "--columns", "clean.top1"], "leave out --columns or --difference"),
    ],
)
def test_errors(run_folder, flags, message, capsys):
    assert main(["table", str(run_folder), *flags]) == 2
    assert message in capsys.readouterr().err


def test_a_file_of_another_kind_is_not_replaced(run_folder, tmp_path, capsys):
    for style in ("text", "markdown", "latex", "csv"):
        path = tmp_path / f"table.{style}"
        for _ in range(2):
            assert main(["table", str(run_folder), "--format", style, "-o", str(path)]) == 0
        path.write_text("my notes\n")
        assert main(["table", str(run_folder), "--format", style, "-o", str(path)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_differences(pair, capsys):
    assert main(["table", *pair, "--difference", "--format", "csv"]) == 0
    top1 = rows_of(capsys.readouterr().out)[0]
    assert top1["run"] == f"{pair[1]} - {pair[0]}"
    assert float(top1["value"]) == -50
    assert float(top1["low"]) < -50 < float(top1["high"])
    assert main(["table", *pair, "--difference", "--format", "latex"]) == 0
    assert "top1 & 83.33 & 33.33 & -50.00 [" in capsys.readouterr().out


def test_differences_of_cells_keep_row_and_column(run_folder, tmp_path):
    shutil.copytree(run_folder, tmp_path / "copy")
    rows = compare(run_folder, tmp_path / "copy").rows()
    cell = next(row for row in rows if row["metric"] == "robust_accuracy" and row["row"] == "fgsm")
    assert (cell["column"], cell["value"]) == ("1/255", 0)


@pytest.mark.parametrize("module", ["pandas", "pyarrow.parquet"])
def test_a_missing_library_is_one_line(report, run_folder, tmp_path, monkeypatch, capsys, module):
    monkeypatch.setitem(sys.modules, module, None)
    message = f"pip install {module.partition('.')[0]}"
    if module == "pandas":
        with pytest.raises(ConfigError, match=message):
            Report(report).to_pandas()
    else:
        assert main(["table", str(run_folder), "--format", "parquet", "-o", str(tmp_path / "x.parquet")]) == 2
        assert message in capsys.readouterr().err


def test_pandas(report):
    pytest.importorskip("pandas")
    frame = Report(report).to_pandas("clean")
    assert tuple(frame.columns) == HEAD
    assert frame.value.dtype == np.float64
    assert frame.set_index("metric").value["top1"] == report["benchmarks"]["clean"]["metrics"]["top1"]["value"]


def test_parquet(report, run_folder, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "x.parquet"
    assert main(["table", str(run_folder), "--format", "parquet", "-o", str(path)]) == 0
    found = parquet.read_table(path).to_pylist()
    assert tuple(found[0]) == HEAD
    assert found[0]["value"] == report["benchmarks"]["clean"]["metrics"]["top1"]["value"]


def test_cells_are_escaped():
    text = STYLES["latex"].cell("a_b & 5% <x> \\ {y}")
    assert text == r"a\_b \& 5\% \textless{}x\textgreater{} \textbackslash{} \{y\}"
    assert json.dumps(STYLES["html"].cell("<b>")) == '"&lt;b&gt;"'
