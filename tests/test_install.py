"""What ``pip install .`` carries: every module and data file, and the requirements."""

import subprocess
import sys
import zipfile

from tests.conftest import ROOT


def test_wheel_carries_every_file(tmp_path):
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
    ]
    source = tmp_path / "source"
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in names:  # a copy, so that no build folder is left in the checkout
        if (ROOT / name).is_file() and name.startswith(
            ("RobustART/", "setup.py", "pyproject", "requirements", "README")
        ):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([*command, str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        carried = set(archive.namelist())
        metadata = archive.read(next(n for n in carried if n.endswith("METADATA"))).decode()
        scripts = archive.read(next(n for n in carried if n.endswith("entry_points.txt"))).decode()
    wanted = {name for name in names if name.startswith("RobustART/") and (ROOT / name).is_file()}
    assert wanted <= carried, wanted - carried
    assert "RobustART/py.typed" in carried
    for requirement in (ROOT / "requirements.txt").read_text().split():
        assert f"Requires-Dist: {requirement}" in metadata
    assert "robustart = RobustART.cli:main" in scripts
