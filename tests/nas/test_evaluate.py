"""From training to the analysis by the command line, on digits: one row for each sub-network, however the work was done."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

from RobustART.cli import main
from RobustART.config.loader import load_config
from RobustART.core.distributed import Placement
from RobustART.data import sklearn_digits
from RobustART.errors import ConfigError
from RobustART.models import create_model
from RobustART.nas.evaluation import Share, Statistics, parse_shard
from RobustART.training import cls_solver
from tests.conftest import solver_environ
from tests.nas.conftest import CONFIG
from tests.nas.test_sandwich import flags
from tests.nas.test_spaces import SMALL

EVALUATION = """
evaluation:
  device: cpu
  workers: 0
  batch_size: 25
  limit: 50
  benchmarks: {clean: {}, adversarial: {attacks: [fgsm], eps: [8/255]}}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a config, a checkpoint after 14 steps, and a list of five sub-networks."""
    folder = tmp_path_factory.mktemp("nas")
    config = folder / "config.yaml"
    config.write_text(CONFIG.replace("batch_size: 128", "batch_size: 192") + EVALUATION)
    short = flags("lr_scheduler.kwargs.max_epoch=2", "evaluation=null", "data.test=null")
    assert cls_solver.main(["--config", str(config), *short]) == 0
    sample = ["--count", "5", "--seed", "3", "--macs", "20K-200K", "-o", str(folder / "subnets.jsonl")]
    assert main(["nas", "sample", "--config", str(config), *sample]) == 0
    return folder


def command(folder, output, *more, subnets="subnets.jsonl"):
    files = ["--config", f"{folder}/config.yaml", "--subnets", f"{folder}/{subnets}", "-o", str(output)]
    return [
        "nas",
        "evaluate",
        *files,
        "--weights",
        f"{folder}/checkpoints/ckpt.pth.tar",
        "--bn-images",
        "200",
        "--quiet",
        *more,
    ]


@pytest.fixture(scope="module")
def whole(trained):
    """The results of one process."""
    output = trained / "whole"
    assert main(command(trained, output)) == 0
    return output


def contents(folder):
    return {name: (folder / name).read_bytes() for name in ("rows.jsonl", "rows.csv", "conditions.json")}


def test_rows_are_what_an_ordinary_evaluation_says(trained, whole, capsys):
    """Of the last sub-network: a standalone model with its statistics in its weights."""
    rows = [json.loads(line) for line in (whole / "rows.jsonl").read_text().splitlines()]
    wanted = [json.loads(line) for line in (trained / "subnets.jsonl").read_text().splitlines()][1:]
    assert [row["id"] for row in rows[1:]] == [row["id"] for row in wanted]
    assert all({**row, **own} == row for row, own in zip(rows[1:], wanted, strict=True))
    last = rows[-1]
    config = load_config(trained / "config.yaml", [])
    supernet = create_model(config.model.type, weights=f"{trained}/checkpoints/ckpt.pth.tar", **config.model.kwargs)
    alone = supernet.network.subnet(last["encoding"])
    size = last["encoding"]["input_size"]
    one = create_model(
        config.model.type, encoding=last["encoding"], preprocessing={"input_size": size, "resize": size, "mean": [0.5], "std": [0.5]},
        **config.model.kwargs,
    )  # fmt: skip
    one.network.load_state_dict(alone.state_dict())
    Statistics(sklearn_digits(split="train", size=16), 200, 0, 0).measure(one, torch.device("cpu"))
    torch.save(one.network.state_dict(), trained / "alone.pth")
    values = {
        "model.weights": "alone.pth", "model.kwargs.encoding": json.dumps(last["encoding"]), "output_dir": "alone",
        "model.preprocessing.input_size": size, "model.preprocessing.resize": size,
    }  # fmt: skip
    overrides = flags(*(f"{key}={value}" for key, value in values.items()))
    assert main(["evaluate", "--config", str(trained / "config.yaml"), "--evaluate", *overrides]) == 0
    report = json.loads((trained / "alone" / "results" / "report.json").read_text())
    assert report["model"]["weights"] == last["weights"]
    assert report["benchmarks"]["clean"]["metrics"]["top1"]["value"] == last["numbers"]["clean"]["top1"]
    assert (
        report["benchmarks"]["adversarial"]["tables"]["robust_accuracy"]["fgsm"]["8/255"]["value"]
        == last["numbers"]["adversarial"]["fgsm 8/255"]
    )
    assert (report["model"]["parameters"]) == last["parameters"]


def test_shards_and_processes_write_the_same_rows(trained, whole, tmp_path, monkeypatch, capsys):
    assert main(command(trained, tmp_path, "--shard", "1/2")) == 0
    assert "the rows are written when all are" in capsys.readouterr().out
    assert not (tmp_path / "rows.jsonl").exists()
    for name, value in {"WORLD_SIZE": "2", "LOCAL_RANK": "0", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    assert main(command(trained, tmp_path, "--shard", "0/2")) == 0
    monkeypatch.setenv("RANK", "1")
    assert main(command(trained, tmp_path, "--shard", "0/2")) == 0
    assert contents(tmp_path) == contents(whole)


def test_a_killed_run_goes_on(trained, whole, tmp_path):
    """Killed by SIGKILL after its first row; then what a kill within a sub-network leaves: half a line, no row."""
    process = subprocess.Popen(
        [sys.executable, "-m", "RobustART.cli", *command(trained, tmp_path)], env=solver_environ()
    )
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None and not list(tmp_path.glob("subnets/*/row.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in tmp_path.glob("subnets/*/row.json")}
    assert 0 < len(done) < 5
    assert main(command(trained, tmp_path)) == 0
    assert contents(tmp_path) == contents(whole)
    assert all(path.stat().st_mtime_ns == at for path, at in done.items())
    place = next(iter(done)).parent
    (place / "row.json").unlink()
    records = place / "results" / "clean.jsonl"
    records.write_bytes(records.read_bytes()[:-40])
    (tmp_path / "rows.jsonl").unlink()
    assert main(command(trained, tmp_path)) == 0
    assert contents(tmp_path) == contents(whole)


def test_results_of_another_run_are_refused(trained, whole, tmp_path, capsys):
    for more, message in (
        (["--bn-images", "100"], "statistics.images: 200 -> 100"),
        (["--set", "evaluation.limit=40"], r"data\[0\].images: 50 -> 40"),
        (["--set", "evaluation.seed=1"], "seed: 0 -> 1"),
        (["--shard", "2/2"], "--shard must be 0/N to N-1/N"),
        (["--set", "evaluation.benchmarks=null"], "evaluation.benchmarks is empty"),
        (["--set", "data.train=null"], "data.train is missing"),
        (["--set", "model.kwargs.widths=[0.5, 1.0]"], "another space than the model: widths differ"),
        (
            ["--set", "model={type: resnet18, kwargs: {}}"],
            "must be a supernet, .*got 'resnet18'",
        ),
    ):
        assert main(command(trained, whole, *more)) == 2, more
        assert re.search(message, capsys.readouterr().err), more
    row = next(whole.glob("subnets/*/row.json"))
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    (copy / row.relative_to(whole)).write_text("{")
    assert main(command(trained, copy)) == 2
    assert "delete it, and the same command writes it again" in capsys.readouterr().err


def test_statistics_by_hand():
    """The mean over batches of the first layer's means and unbiased variances; what was there before does not count."""
    digits = sklearn_digits(split="train", size=24)
    model = create_model("nas:resnet", preprocessing={"resize": 24}, **SMALL)
    statistics = Statistics(digits, 300, 0, 0)
    assert statistics.conditions()["images"] == 300
    for value in model.network.buffers():
        if value.is_floating_point():
            nn.init.normal_(value)
    statistics.measure(model, torch.device("cpu"))
    means, variances = [], []
    with torch.no_grad():
        for ids in (statistics.ids[:100], statistics.ids[100:200], statistics.ids[200:]):
            images = torch.stack([torch.from_numpy(digits.images[i]).permute(2, 0, 1) / 255 for i in ids])
            maps = model.network.stem.conv(model.normalize(images))
            means.append(maps.mean((0, 2, 3)))
            variances.append(maps.var((0, 2, 3)))
    torch.testing.assert_close(model.network.stem.norm.running_mean, torch.stack(means).mean(0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        model.network.stem.norm.running_var, torch.stack(variances).mean(0), rtol=1e-4, atol=1e-4
    )
    with pytest.raises(ConfigError, match="take from 1 to the 1347 images of sklearn_digits_train"):
        Statistics(digits, 2000, 0, 0)


def test_shares_cover_the_list_once():
    numbers = list(range(11))
    sizes = (3, 2)  # the parts may be worked on by different numbers of processes
    shares = [
        parse_shard(f"{i}/2").within(Placement(rank, size)) for i, size in enumerate(sizes) for rank in range(size)
    ]
    found = [number for share in shares for number in numbers[share.index :: share.of]]
    assert sorted(found) == numbers
    assert parse_shard("0/1") == Share()


def test_sampling_by_name_of_the_space(tmp_path, capsys):
    path = tmp_path / "subnets.jsonl"
    arguments = ["nas", "sample", "--space", "mobilenet_v3", "--count", "40", "--seed", "0", "-o", str(path)]
    assert main([*arguments, "--macs", "100M-600M"]) == 0
    first = path.read_bytes()
    assert main([*arguments, "--macs", "100M-600M"]) == 0
    assert path.read_bytes() == first
    assert "40 sub-networks of 1" in capsys.readouterr().out
    for more, message in (
        (["--macs", "2G-3G"], "there are none from 2G to 3G: mobilenet_v3 has networks from 24.63M to 750.9M"),
        (["--macs", "600-100"], "must begin with its lower bound"),
        (["--set", "width=[1]"], "unknown option 'width'"),
    ):
        assert main([*arguments, *more]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_from_the_supernet_to_what_matters(tmp_path, capsys):
    """The whole study: the supernet is trained, 1,200 are drawn, 40 evaluated under PGD, and the input size matters."""
    config = tmp_path / "config.yaml"
    attacks = "adversarial: {attacks: [pgd_linf], eps: [8/255]}"
    config.write_text(
        (CONFIG + EVALUATION).replace("max_epoch: 3", "max_epoch: 15").replace("limit: 50", "limit: 100")
        .replace("adversarial: {attacks: [fgsm], eps: [8/255]}", attacks)
    )  # fmt: skip
    assert cls_solver.main(["--config", str(config), "--quiet"]) == 0
    every, some, results = tmp_path / "every.jsonl", tmp_path / "some.jsonl", tmp_path / "nas"
    assert main(["nas", "sample", "--config", str(config), "--count", "1200", "-o", str(every)]) == 0
    lines = every.read_text().splitlines(keepends=True)
    assert len({json.loads(line)["id"] for line in lines[1:]}) == 1200
    some.write_text("".join(lines[:41]))
    weights = str(tmp_path / "checkpoints" / "ckpt.pth.tar")
    arguments = ["--config", str(config), "--subnets", str(some), "--weights", weights, "-o", str(results), "--quiet"]
    assert main(["nas", "evaluate", *arguments]) == 0
    page, data = tmp_path / "analysis.html", tmp_path / "analysis.json"
    assert main(["nas", "analyse", str(results), "-o", str(page), "-o", str(data)]) == 0
    rows = [json.loads(line) for line in (results / "rows.jsonl").read_text().splitlines()][1:]
    assert len(rows) == 40
    assert min(row["numbers"]["clean"]["top1"] for row in rows) > 60
    found = {(row["benchmark"], row["name"]): row["correlations"] for row in json.loads(data.read_text())["spearman"]}
    assert len(found["adversarial", "pgd_linf 8/255"]) == 7
    assert found["adversarial", "pgd_linf 8/255"]["kernel"]["value"] > 0
    assert page.stat().st_size > 100_000
