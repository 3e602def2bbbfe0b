"""Every command and code block of README.md and CONTRIBUTING.md is run, in order, in a copy of this checkout.

Those of the quickstart have files of their own, test_quickstart.py and test_quickstart_training.py.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ROOT, make_picture, solver_environ
from tests.miniature import make_data

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(name):
    return [(language, text) for language, text in FENCE.findall((ROOT / name).read_text()) if language]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what belongs to the project, with the data its examples speak of and a stand-in for srun."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for i in range(8):
        path = folder / "photos" / ("day" if i % 2 else "night") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_picture(i, 80, 90)).save(path)
    from RobustART.benchmarks.photos import imagenet_a_classes
    from RobustART.data import create_dataset
    from RobustART.data.imagenet import imagenet_wnids

    photos = create_dataset("foolbox_photos")
    for file, label in zip(photos.files, photos.labels, strict=True):
        if label in imagenet_a_classes():
            path = folder / "imagenet-a" / imagenet_wnids()[label] / file
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(photos.root / file, path)
    make_data(folder / "data")
    tools = folder / "tools"
    tools.mkdir()
    pip = f'exec "{sys.executable}" -m pip "$@" --no-build-isolation --no-deps --target "{folder}/installed" --quiet'
    srun = """while [[ "$1" == -* || "$1" =~ ^[0-9]+$ ]]; do shift; done
for rank in 0 1; do
    SLURM_PROCID=$rank SLURM_NTASKS=2 SLURM_LOCALID=$rank SLURM_NODELIST=localhost SLURM_JOB_ID=$$ "$@" &
done
wait -n && wait -n"""
    for name, text in (("pip", pip), ("srun", srun), ("python", f'exec "{sys.executable}" "$@"')):
        (tools / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (tools / name).chmod((tools / name).stat().st_mode | stat.S_IXUSR)
    for name, module in (("torchrun", "torch.distributed.run"), ("robustart", "RobustART.cli")):
        (tools / name).write_text(f'#!/usr/bin/env bash\nexec "{sys.executable}" -m {module} "$@"\n')
        (tools / name).chmod((tools / name).stat().st_mode | stat.S_IXUSR)
    return folder


def run(checkout: Path, command: list[str], timeout: int = 600) -> str:
    path = os.pathsep.join([str(checkout / "tools"), os.environ["PATH"]])
    environ = solver_environ(PATH=path, PYTHONPATH=str(checkout), ROBUSTART_READY=sys.executable)
    environ["PYTEST_ADDOPTS"] = (
        "--collect-only -q -p no:cacheprovider"  # bash tests/run.sh, short of running them again
    )
    done = subprocess.run(
        command, cwd=checkout, env=environ, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_readme(checkout):
    printed = []
    for language, text in blocks("README.md"):
        name = re.match(r"# (\w+\.\w+)\n", text)
        if name:
            (checkout / name[1]).write_text(text)
        elif language == "bash":
            lines = [line for line in text.splitlines() if not re.search(r"quickstart/(run|train)\.sh", line)]
            printed += [run(checkout, ["bash", "-euo", "pipefail", "-c", line]) for line in lines]
        elif language == "python":
            printed.append(run(checkout, [sys.executable, "-c", text]))
        else:
            raise AssertionError(f"a block of {language!r} that no test runs:\n{text}")
    text = "\n".join(printed)
    assert "test_readme" in text  # what `bash tests/run.sh` would run
    assert re.search(r"^90\.0$", text, re.MULTILINE)
    assert re.search(r"^8$", text, re.MULTILINE)
    assert re.search(r"^aurra +\d", text, re.MULTILINE)
    assert re.search(r"^std_top1 +\d", text, re.MULTILINE)
    assert re.search(r"^mFP_of_these +\d", text, re.MULTILINE)
    assert re.search(r"^\(31, 224, 224, 3\)$", text, re.MULTILINE)
    assert (checkout / "installed" / "RobustART" / "metrics" / "alexnet_imagenet_c_error.csv").is_file()
    assert (checkout / "seed1" / "results" / "report.json").is_file()
    assert "Spearman" in (checkout / "nas.html").read_text()
    for experiment in ("robust_baseline_exp/resnet/resnet50", "exp/imagenet-a_o-loop/resnet50"):
        assert (checkout / "exprs" / experiment / "trial" / "results" / "report.json").is_file()
    assert r"\textbf" not in text  # the runs of other seeds are not comparable
    assert r"clean top1 [A] & clean top1 [B] & " in text
    assert 'failures="0"' in (checkout / "gate.xml").read_text()
    assert "<h1>Leaderboard</h1>" in (checkout / "board.html").read_text()
    assert re.search(r"^format: Version of this schema", text, re.MULTILINE)


def test_contributing(checkout):
    """Its files are written under the names they begin with, its commands are run."""
    printed = ""
    for _, text in blocks("CONTRIBUTING.md"):
        name = re.match(r"# (\w+\.\w+)\n", text)
        if name:
            (checkout / name[1]).write_text(text)
            if name[1] == "my_benchmark.py":
                assert len(text.splitlines()) <= 40
        elif "my_benchmark" in text:
            printed = run(checkout, ["bash", "-euo", "pipefail", "-c", text])
    assert re.search(r"^agreement +\d", printed, re.MULTILINE)
    assert re.search(r"^checker +\d", printed, re.MULTILINE)
    assert re.search(r"^random_corner_linf +\d", printed, re.MULTILINE)
    assert "agreement" in (checkout / "mine.html").read_text()


def test_contributing_shows_the_five(checkout):
    titles = re.findall(r"^## (.*)$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert titles[:5] == ["A model", "An attack", "A corruption", "A data set", "A benchmark"]


def test_launcher(checkout):
    assert "two processes here" in run(checkout, ["bash", "exprs/launch.sh", "--help"])
    out = run(
        checkout, ["bash", "exprs/launch.sh", "--slurm", "-n", "2", "--", "exprs/quickstart/config.yaml", "--check"]
    )
    assert out.count("tf_efficientnet_lite0") >= 1
    done = subprocess.run(["bash", "exprs/launch.sh"], cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no config given" in done.stderr
