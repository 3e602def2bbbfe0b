"""``exprs/quickstart/run.sh``, whole: the report that the README shows, and nothing twice."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT, solver_environ


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the scripts."""
    folder = tmp_path_factory.mktemp("quickstart")
    done_before = shutil.ignore_patterns("results", "checkpoints", "events", "plain", "adversarial", "nas", "trial")
    shutil.copytree(ROOT / "exprs", folder / "exprs", ignore=done_before)
    return folder


def run(folder):
    command = ["bash", str(folder / "exprs" / "quickstart" / "run.sh")]
    environ = solver_environ(ROBUSTART_READY=sys.executable)
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_report_is_the_one_the_readme_shows(folder):
    printed = run(folder)
    results = folder / "exprs" / "quickstart" / "results"
    report = json.loads((results / "report.json").read_text())
    benchmarks = report["benchmarks"]
    assert benchmarks["clean"]["metrics"]["top1"]["value"] == 90
    assert len(benchmarks["imagenet_c"]["tables"]["top1"]) == 19
    assert set(benchmarks["adversarial"]["tables"]["robust_accuracy"]) == {"fgsm", "pgd_linf"}
    assert benchmarks["adversarial"]["tables"]["robust_accuracy"]["pgd_linf"]["8/255"]["value"] == 0
    assert len(benchmarks["imagenet_s"]["tables"]["systems"]) == 13
    known = (
        "imagenet_s: opencv/pil-bilinear made the same",
        "mCE, relative mCE and CE of ImageNet-C are of 20 images",
        "adversarial: fgsm/8/255 leaves 3 images, the radius 2/255 2: FGSM",
    )
    assert all(warning.startswith(known) for warning in report["warnings"])
    assert "not_trustworthy" not in json.dumps(report)
    assert (results / "report.md").is_file()
    assert 10**5 < (results / "report.html").stat().st_size < 3 * 10**6
    picture = np.array(Image.open(results / "noise.png").convert("L"))
    assert min(picture.shape) > 1000
    assert "timm:tf_efficientnet_lite0 on foolbox_photos: 20 images, seed 0" in printed
    shown = (ROOT / "README.md").read_text()
    for name in ("mCE", "mean_error_15"):
        found = benchmarks["imagenet_c"]["metrics"][name]
        assert f"{found['value']:.2f}  [{found['low']:.2f}, {found['high']:.2f}]  20" in shown
    before = {path.name: path.stat().st_mtime_ns for path in results.iterdir() if path.suffix in (".jsonl", ".png")}
    assert len(before) == 5
    run(folder)
    assert before == {path.name: path.stat().st_mtime_ns for path in results.iterdir() if path.name in before}
