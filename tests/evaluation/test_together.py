"""Numbers of a report that are made from two benchmarks of one run."""

import torch
from torch import nn

from RobustART.cli import main
from RobustART.data import array_dataset
from RobustART.evaluation import evaluate
from RobustART.metrics import ImageNetCEvaluator
from RobustART.metrics.corruption import SCORED
from tests.conftest import make_picture

SMALL = {"input_size": 32, "resize": 36}


def test_relative_mce_stands_in_the_report_where_clean_was_run_too(tmp_path, capsys):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, 1000))
    data = array_dataset([make_picture(i) for i in range(4)], [0, 1, 2, 0])
    benchmarks = {"imagenet_c": {"corruptions": list(SCORED)}, "clean": {}}
    report = evaluate(model, data, benchmarks, output_dir=tmp_path, preprocessing=SMALL, progress=False)
    value = report.metric("imagenet_c", "relative_mCE")
    results = tmp_path / "results"
    again = ImageNetCEvaluator().eval(results / "imagenet_c.jsonl", clean=results / "clean.jsonl")
    assert round(again["relative_mCE"], 10) == value
    assert main(["score", str(results / "imagenet_c.jsonl"), str(results / "clean.jsonl")]) == 0
    assert "relative_mCE" in capsys.readouterr().out
    assert main(["score", str(results / "imagenet_c.jsonl")]) == 0
    assert "relative_mCE" not in capsys.readouterr().out
    alone = evaluate(
        model, data, {"imagenet_c": benchmarks["imagenet_c"]}, output_dir=tmp_path, preprocessing=SMALL, progress=False
    )
    assert set(report.data["benchmarks"]["imagenet_c"]["metrics"]) - set(
        alone.data["benchmarks"]["imagenet_c"]["metrics"]
    ) == {"relative_mCE"}
