"""``exprs/quickstart/train.sh``: the adversarially trained network stands where the plainly trained one falls."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT, solver_environ


def run_script(folder, *flags):
    """Runs the script on a copy of the configs; returns the two reports and what was printed."""
    done_before = shutil.ignore_patterns("results", "checkpoints", "events", "plain", "adversarial", "nas", "trial")
    shutil.copytree(ROOT / "exprs", folder / "exprs", ignore=done_before)
    command = ["bash", str(folder / "exprs" / "quickstart" / "train.sh"), "--quiet", *flags]
    environ = solver_environ(ROBUSTART_READY=sys.executable)
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    digits = folder / "exprs" / "quickstart" / "digits"
    assert "autoattack_linf/24/255" in (digits / "comparison.md").read_text()
    assert "<h1>Leaderboard</h1>" in (digits / "board.html").read_text()
    reports = [json.loads((digits / name / "results" / "report.json").read_text()) for name in ("plain", "adversarial")]
    return [report["benchmarks"] for report in reports], done.stdout


def under_attack(benchmarks):
    return benchmarks["adversarial"]["tables"]["robust_accuracy"]["autoattack_linf"]["24/255"]["value"]


def test_in_short(tmp_path):
    """Fewer epochs, images and queries of AutoAttack."""
    short = "{apgd_ce: {steps: 20}, apgd_t: {steps: 10}, fab_t: {steps: 2}, square: {steps: 50}}"
    attacks = f"[{{autoattack_linf: {{stage_options: {short}}}}}]"
    flags = ["lr_scheduler.kwargs.max_epoch=8", "saver.val_freq=1000", "evaluation.limit=60"]
    flags += ["evaluation.benchmarks.imagenet_c={corruptions: [gaussian_noise], severities: [5]}"]
    flags += [f"evaluation.benchmarks.adversarial={{attacks: {attacks}, eps: [24/255]}}"]
    (plain, adversarial), _ = run_script(tmp_path, *(word for flag in flags for word in ("--set", flag)))
    assert under_attack(adversarial) >= under_attack(plain) + 20
    assert plain["clean"]["metrics"]["top1"]["value"] > 90


@pytest.mark.slow
def test_as_the_readme_has_it(tmp_path):
    (plain, adversarial), printed = run_script(tmp_path)
    assert under_attack(adversarial) >= under_attack(plain) + 40
    assert under_attack(plain) < 10
    assert plain["clean"]["metrics"]["top1"]["value"] > 97
    assert adversarial["clean"]["metrics"]["top1"]["value"] > 93
    assert len(plain["imagenet_c"]["tables"]["top1"]) == 8
    assert "robust_accuracy/autoattack_linf/24/255" in printed
