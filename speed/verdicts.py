"""AutoAttack's verdicts beside the official ones: three seeds, 200 held-out digits, three norms, two networks.

    python speed/verdicts.py
    python speed/verdicts.py --photos       # EfficientNet-Lite0 on 20 photos at 0.5/255; an hour on a CPU

A seed moves the official result too, so means over seeds are compared: ours should not be above the official mean by more
than 0.5 points, and images on which neither side changes its mind over the seeds should agree. The table goes to
``speed/results/verdicts_<device>.md``. Needs ``pip install pyautoattack``.
"""

from __future__ import annotations

import argparse
import time
import warnings

import torch
from attacks import RESULTS, digits_model, held_out, lite0, photos
from torch import Tensor, nn

from RobustART.core.seeding import image_seeds
from RobustART.noise.attacks import AttackLog, autoattack

DIGITS = (("Linf", 0.15), ("L2", 0.8), ("L1", 2.0))


def official(model: nn.Module, images: Tensor, labels: Tensor, norm: str, eps: float, seed: int) -> Tensor:
    from pyautoattack import AutoAttack

    attack = AutoAttack(model, norm=norm, eps=eps, seed=seed, device=str(images.device))
    return attack.run_standard_evaluation(images, labels, batch_size=len(images))[1] == labels


def ours(model: nn.Module, images: Tensor, labels: Tensor, norm: str, eps: float, seed: int) -> Tensor:
    log = AttackLog()
    seeds = image_seeds(seed, range(len(images)), "verdicts")
    autoattack(model, images, labels, eps=eps, norm=norm, seeds=seeds, log=log)
    return log.robust.to(labels.device)


def compare(title: str, model: nn.Module, images: Tensor, labels: Tensor, norm: str, eps: float, seeds: int) -> str:
    theirs, mine, times = [], [], [0.0, 0.0]
    for seed in range(seeds):
        for place, (side, verdicts) in enumerate(((official, theirs), (ours, mine))):
            start = time.perf_counter()
            verdicts.append(side(model, images, labels, norm, eps, seed))
            times[place] += time.perf_counter() - start
    a, b = torch.stack(theirs), torch.stack(mine)
    steady = (a == a[0]).all(0) & (b == b[0]).all(0)
    share = [" ".join(f"{100 * float(row.float().mean()):.1f}" for row in table) for table in (a, b)]
    mean = [100 * float(table.float().mean()) for table in (a, b)]
    return (
        f"| {title} | {share[0]} | {share[1]} | {mean[0]:.2f} | {mean[1]:.2f} | **{mean[1] - mean[0]:+.2f}** | "
        f"{int(steady.sum())} of {len(labels)} | {100 * float((a[0] == b[0])[steady].float().mean()):.1f} | "
        f"{100 * float((a == b).float().mean()):.1f} | {times[0]:.0f} / {times[1]:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--photos", action="store_true", help="the photos at 0.5/255 with one seed, instead of digits")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    path = RESULTS / f"verdicts_{device.type}{'_photos' if arguments.photos else ''}.md"
    lines = [
        f"# AutoAttack's verdicts beside pyautoattack's on {device.type}",
        "",
        f"torch {torch.__version__}. Robust accuracy in % by seed. Steady: no change over the seeds on either side.",
        "",
        "| images | official | ours | mean | our mean | ours - official | steady | agree there % | agree % | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    cases: list[tuple[str, nn.Module, tuple[Tensor, Tensor], str, float, int]] = []
    if arguments.photos:
        cases.append(("20 photos, EfficientNet-Lite0, Linf 0.5/255", lite0(), photos(), "Linf", 0.5 / 255, 1))
    else:
        for norm, eps in DIGITS:
            for adversarial in (True, False):
                kind = "adversarially trained" if adversarial else "plain"
                title = f"200 digits, {kind} CNN, {norm} {eps}"
                cases.append((title, digits_model(adversarial, 16), held_out(), norm, eps, arguments.seeds))
    for title, model, (images, labels), norm, eps, seeds in cases:
        lines.append(compare(title, model.to(device), images.to(device), labels.to(device), norm, eps, seeds))
        print(lines[-1], flush=True)
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
