"""Evaluations and trainings ended at random moments, by SIGKILL, SIGTERM and SIGINT: the same command then ends with the
same files, byte for byte.

ROBUSTART_KILLS is the number of kills of each (3 by default), ROBUSTART_MUTATION_SEED the seed of their moments.
"""

import os
import signal
import time

import numpy as np
import pytest

from tests.field.commands import Command, arguments

SEED = int(os.environ.get("ROBUSTART_MUTATION_SEED", "14"))
KILLS = int(os.environ.get("ROBUSTART_KILLS", "3"))
SIGNALS = {signal.SIGTERM: 143, signal.SIGKILL: -9, signal.SIGINT: 130}
TRAINING = """
optimizer: {type: SGD, kwargs: {momentum: 0.9}}
lr_scheduler: {type: Step, kwargs: {base_lr: 0.01, lr_steps: [], lr_mults: [], warmup_lr: 0.01, warmup_steps: 0, max_iter: 12}}
saver: {val_freq: 2}
training: {device: cpu, seed: 1}
"""


@pytest.fixture(params=["evaluation", "training"])
def config(request, small_config):
    """The small config, for an evaluation or for a training with an evaluation at its end."""
    if request.param == "training":
        text = small_config.read_text()
        data = "batch_size: 4, num_workers: 1, train: {root_dir: photos, transforms: {type: STANDARD}}, test:"
        text = text.replace("data: {test:", f"data: {{{data}").replace("adversarial: {eps: [1/255, 8/255]}", "")
        small_config.write_text(text + TRAINING)
    return small_config


def files(folder):
    """Returns the results of a run, without what says how long it took."""
    found = {path.name: path.read_bytes() for path in (folder / "results").glob("*.jsonl")}
    assert found
    return found


def test_killed_runs_end_with_the_same_files(config, tmp_path):
    rng = np.random.default_rng([SEED, *config.read_bytes()[-3:]])
    slow = {"SECONDS_PER_BATCH": "0.001"}
    begun = time.monotonic()
    whole = Command(arguments(config, tmp_path / "whole"), tmp_path / "whole.log", **slow)
    assert whole.end() == 0, whole.text
    seconds = time.monotonic() - begun
    folder, log = tmp_path / "killed", tmp_path / "killed.log"
    count = 0
    while count < KILLS:
        number = list(SIGNALS)[rng.integers(3)] if KILLS > 3 else list(SIGNALS)[count]
        after = float(rng.uniform(0.1, 1)) * seconds
        run = Command(arguments(config, folder), log, **slow)
        if not run.ends_within(after):
            run.send(number)
        status = run.end()
        what = f"{number.name} after {after:.2f} s of seed {SEED}: {run.text}"
        assert status in (0, SIGNALS[number], -number), what
        assert "Traceback" not in run.text, what
        count += 1
        if status == 0:
            assert files(folder) == files(tmp_path / "whole"), what
            folder = tmp_path / f"killed_{count}"
    last = Command(arguments(config, folder), log, **slow)
    assert last.end() == 0, last.text
    assert files(folder) == files(tmp_path / "whole"), f"seed {SEED}"
