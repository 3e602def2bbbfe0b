"""Videos: the same frames give the same file, whatever was in memory before."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from RobustART.core.imaging.video import read_video, write_video
from RobustART.noise.perturbations import perturb
from tests.conftest import ROOT, make_picture

HOW = ({"crf": 20}, {"crf": 23, "tune": "grain"})
ENCODED = """
import hashlib, json, sys
import numpy as np
from RobustART.core.imaging.video import write_video

frames = np.load(sys.argv[1])
print(*(hashlib.sha256(write_video(frames, **how)).hexdigest() for how in json.loads(sys.argv[2])))
"""


@pytest.fixture(scope="module")
def frames():
    return perturb(make_picture(0, 80, 96), "rotate", size=64, rng=np.random.default_rng(0))


@pytest.mark.parametrize("how", HOW)
def test_the_same_frames_give_the_same_bytes(frames, how):
    """x264's AVX-512 code gave one of several files, at random."""
    rng, first, kept = np.random.default_rng(0), write_video(frames, **how), []
    for _ in range(9):
        kept = [rng.integers(0, 256, rng.integers(1, 400_000), dtype=np.uint8), *kept[:1]]  # other memory is free then
        assert write_video(frames, **how) == first
    assert read_video(first).shape == frames.shape


def test_processes_with_other_memory_write_the_same_bytes(frames, tmp_path):
    np.save(tmp_path / "frames.npy", frames)
    command = [sys.executable, "-c", ENCODED, str(tmp_path / "frames.npy"), json.dumps(HOW)]
    printed = {
        subprocess.run(
            command, env={**os.environ, "PYTHONPATH": str(ROOT), "MALLOC_PERTURB_": fill}, capture_output=True, text=True,
            check=True, timeout=300,
        ).stdout
        for fill in ("0", "85", "200")
    }  # fmt: skip
    assert len(printed) == 1
