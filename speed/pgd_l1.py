"""How near ``pgd_l1`` comes to AutoAttack in L1: digits CNNs of several seeds and widths, robust and plain, at four radii.

    python speed/pgd_l1.py

Robust accuracy on 200 held-out digits, in per cent. The first two networks are those that the tests store; the others are
trained here. The table goes to ``speed/results/pgd_l1.md``. Takes ten minutes on a CPU.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from RobustART.noise.attacks import AttackLog, autoattack, pgd_l1
from tests.noise.attacks.make_judges import TRAINED_ON, digits, load, train

RESULTS = Path(__file__).parent / "results"
RADII = (1.0, 1.5, 2.0, 3.0)
OTHERS = ((16, 1), (16, 2), (8, 3), (32, 4), (64, 5))
"""Width and seed of the networks that are trained here."""
PLAIN_PGD = {"n_targets": 0, "phases": (1,)}
"""One try of PGD in the ball itself, for comparison."""


def networks() -> list[tuple[str, nn.Module]]:
    found: list[tuple[str, nn.Module]] = []
    for kind in ("robust", "plain"):
        found.append((f"{kind}, width 16, seed 0 (stored)", load(kind)))
        for width, seed in OTHERS:
            found.append(
                (f"{kind}, width {width}, seed {seed}", train(adversarial=kind == "robust", width=width, seed=seed))
            )
    return found


def run(attack: object, model: nn.Module, images: Tensor, labels: Tensor, **options: object) -> tuple[float, float]:
    """Returns the robust accuracy in per cent, and the backward passes per image."""
    log = AttackLog()
    attack(model, images, labels, log=log, **options)  # type: ignore[operator]
    passes = sum(int(spent.sum()) for spent in log.backward.values())
    return 100 * float(log.robust.float().mean()), passes / len(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    images, labels = (value[TRAINED_ON : TRAINED_ON + 200] for value in digits())
    lines = [
        "# pgd_l1 beside AutoAttack in L1",
        "",
        f"torch {torch.__version__}, 200 held-out digits. Robust accuracy in %; in brackets gradients per image.",
        "",
        "| network | eps | AutoAttack | pgd_l1 | difference | one plain try |",
        "|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    gaps = []
    for title, model in networks():
        for eps in RADII:
            bound, most = run(autoattack, model, images, labels, eps=eps, norm="L1", checks=False)
            ours, cost = run(pgd_l1, model, images, labels, eps=eps)
            plain, least = run(pgd_l1, model, images, labels, eps=eps, **PLAIN_PGD)
            gaps.append(ours - bound)
            lines.append(
                f"| {title} | {eps} | {bound:.1f} ({most:.0f}) | {ours:.1f} ({cost:.0f}) | **{gaps[-1]:+.1f}** | "
                f"{plain:.1f} ({least:.0f}) |"
            )
            print(lines[-1], flush=True)
    lines += ["", f"Difference: {sum(gaps) / len(gaps):.2f} points on average, {max(gaps):.1f} at most."]
    print(lines[-1])
    (RESULTS / "pgd_l1.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
