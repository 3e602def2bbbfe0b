"""A user's own functions: imported from a config or a command, and known by their source in the conditions."""

import json

import pytest

from RobustART.cli import main as robustart
from RobustART.training.cls_solver import main
from tests.conftest import run_solver

NOISE = '''
import numpy as np
from RobustART.noise import CORRUPTIONS


@CORRUPTIONS.register("{name}")
def darken(image, severity, rng):
    """Darkens an image."""
    return (image * (1 - {strength} * severity)).astype(np.uint8)
'''
BENCHMARK = '''
"""How often an image and its mirror image get the same class."""
import numpy as np
from RobustART.benchmarks import Benchmark, BenchmarkSpec, Cell, MetricSpec, Pass, add_benchmark, clean_view
from RobustART.metrics import Summary
from RobustART.metrics.estimates import accuracy


def mirrored_view(sample, rng):
    return np.ascontiguousarray(sample.crop[:, ::-1])


def build(dataset):
    return Benchmark(SPEC, (Pass(dataset, (Cell("clean", clean_view), Cell("mirrored", mirrored_view))),))


def summarize(records):
    prediction = records.passes[0].prediction
    return Summary({{"agreement": accuracy(prediction[:, 0] == prediction[:, 1])}})


METRICS = (MetricSpec("agreement", "How often both get the same class.", "high", headline=True),)
SPEC = add_benchmark(BenchmarkSpec("{name}", build, summarize, METRICS))
'''


def config_with(small_config, imports, benchmarks):
    text = small_config.read_text().partition("  benchmarks:")[0]
    small_config.write_text(f"imports: [{imports}]\n{text}  benchmarks: {benchmarks}\n")
    return small_config


def test_an_edited_corruption_is_other_conditions(small_config, tmp_path):
    """In processes of their own: loader processes that do not inherit the module would miss it."""
    (tmp_path / "my_noise.py").write_text(NOISE.format(name="darken", strength=0.1))
    config = config_with(small_config, "my_noise", "{imagenet_c: {corruptions: [darken], severities: [1, 5]}}")
    first = run_solver(config, "--set", "evaluation.workers=2")
    assert first.returncode == 0, first.stderr
    header = json.loads((tmp_path / "results" / "imagenet_c.jsonl").read_text().partition("\n")[0])
    assert list(header["conditions"]["sources"]) == ["my_noise"]
    (tmp_path / "my_noise.py").write_text(NOISE.format(name="darken", strength=0.11))
    again = run_solver(config)
    assert again.returncode == 2
    assert "Differences (file -> run): sources.my_noise: " in again.stderr


def test_a_benchmark_of_ones_own_from_config_to_leaderboard(small_config, tmp_path, capsys):
    (tmp_path / "my_mirror.py").write_text(BENCHMARK.format(name="mirror_of_a_user"))
    config = config_with(small_config, "my_mirror", "{mirror_of_a_user: {}}")
    assert main(["--config", str(config), "--quiet"]) == 0
    assert "agreement" in capsys.readouterr().out
    result = str(tmp_path / "results" / "mirror_of_a_user.jsonl")
    assert robustart(["score", result, "--import", "my_mirror"]) == 0
    assert "agreement" in capsys.readouterr().out
    board = tmp_path / "board.html"
    assert robustart(["leaderboard", str(tmp_path), "-o", str(board), "--import", "my_mirror"]) == 0
    assert "agreement" in board.read_text()


def test_a_result_file_of_a_benchmark_that_is_not_imported(small_config, tmp_path):
    (tmp_path / "my_other.py").write_text(BENCHMARK.format(name="other_of_a_user"))
    run = run_solver(config_with(small_config, "my_other", "{other_of_a_user: {}}"))
    assert run.returncode == 0, run.stderr
    from RobustART.errors import RecordError
    from RobustART.metrics.reading import read_result
    from RobustART.metrics.spec import summarize

    records = read_result(tmp_path / "results" / "other_of_a_user.jsonl")
    with pytest.raises(RecordError, match="benchmark 'other_of_a_user'; known: adversarial, .*--import MODULE"):
        summarize({"other_of_a_user": records})


@pytest.mark.parametrize(
    ("imports", "message"),
    [
        ("no_such_module_here", "imports: there is no module 'no_such_module_here'"),
        ("'os; print'", "imports must name modules, such as my_noise, got 'os; print'"),
    ],
)
def test_modules_that_cannot_be_imported(small_config, imports, message, capsys):
    assert main(["--config", str(config_with(small_config, imports, "{clean: {}}")), "--check"]) == 2
    assert message in capsys.readouterr().err
