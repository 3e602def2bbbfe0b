"""The verdict on an image depends on the image alone: batch sizes 1, 7 and 200, any order, and two processes."""

import subprocess
import sys

import torch

from RobustART.core.seeding import image_seeds
from RobustART.noise.attacks import AttackLog, autoattack
from tests.conftest import solver_environ

STAGES = {
    "apgd_ce": {"steps": 10}, "apgd_t": {"steps": 6, "n_targets": 3}, "fab_t": {"steps": 6, "n_targets": 3},
    "square": {"steps": 40},
}  # fmt: skip

WORKER = """
import sys
import torch
from tests.noise.attacks.test_independence import verdicts
rank, path = int(sys.argv[1]), sys.argv[2]
model, images, labels = torch.load(path, weights_only=False)
rows = torch.arange(rank, len(images), 2)
torch.save(verdicts(model, images, labels, rows, 7), f"{path}.{rank}")
"""


def verdicts(model, images, labels, rows, batch_size):
    """Which stage breaks each of the images ``rows``; they are attacked together, ``batch_size`` at once."""
    log = AttackLog()
    autoattack(
        model, images[rows], labels[rows], eps=0.12, seeds=image_seeds(5, rows.tolist(), "cell"), batch_size=batch_size,
        stage_options=STAGES, checks=False, log=log,
    )  # fmt: skip
    return dict(zip(rows.tolist(), log.broken_by, strict=True))


def test_batch_order_and_processes_make_no_difference(robust_model, digits, tmp_path):
    """A float64 model, so that the model's own rounding does not depend on the batch either."""
    import copy

    model = copy.deepcopy(robust_model).double()
    images, labels = digits[0][1400:1600].double(), digits[1][1400:1600]
    path = tmp_path / "case.pt"
    torch.save((model, images, labels), path)
    processes = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(rank), str(path)], env=solver_environ()) for rank in (0, 1)
    ]
    everything = torch.arange(200)
    whole = verdicts(model, images, labels, everything, 200)
    assert {"apgd_ce", None} <= set(whole.values())
    assert len(set(whole.values())) >= 4, "several stages have something to break"
    assert verdicts(model, images, labels, everything.flip(0), 7) == whole
    some = everything[::8]
    assert verdicts(model, images, labels, some, 1) == {row: whole[row] for row in some.tolist()}
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    halves = [torch.load(f"{path}.{rank}", weights_only=False) for rank in (0, 1)]
    assert halves[0] | halves[1] == whole
