"""Reading and scoring the records of a full ImageNet-C run, beside the original's lines of 1,000 scores.

    python speed/metrics.py                  # 50,000 images x 95 cells, synthetic, in a temporary folder
    python speed/metrics.py --images 2000 --no-table

Owed: under 60 s and under 4 GB on two cores. Each reading runs in a process of its own, whose peak memory is the system's
figure. The original's format would be too large to write in full: its rates are measured on a subset and carried over to
all lines. The table goes to ``speed/results/metrics_cpu.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from RobustART.benchmarks.imagenet_c import summarize as imagenet_c
from RobustART.benchmarks.stored import grade_coordinates
from RobustART.metrics.baselines import alexnet_corruption_errors
from RobustART.metrics.comparison import compare, dump
from RobustART.metrics.corruption import GROUPS
from RobustART.metrics.evaluators import ImageNetCEvaluator
from RobustART.metrics.reading import read_result
from RobustART.metrics.resampling import RESAMPLES
from RobustART.original import results as formats
from RobustART.records.header import FORMAT, conditions_hash
from RobustART.records.sealing import seal

CELLS = [f"{name}/{severity}" for name in alexnet_corruption_errors() for severity in range(1, 6)]
RESULTS = Path(__file__).parent / "results"


def write_ours(path: Path, images: int, seed: int) -> None:
    """Writes a result file of random verdicts: images are hard or easy in all cells, cells are harder by severity."""
    rng = np.random.default_rng(seed)
    rates = np.array([1 - error for errors in alexnet_corruption_errors().values() for error in errors])
    difficulty = np.random.default_rng(0).random((images, 1))
    header = {
        "format": FORMAT, "benchmark": "imagenet_c", "versions": {},
        "conditions": {
            "benchmark": "imagenet_c", "options": {"preprocess": "crop"}, "attacks": {}, "seed": 0,
            "model": {"source": f"synthetic:{seed}", "arguments": {}, "weights": str(seed)},
        },
        "passes": [{"name": "", "cells": CELLS, "coordinates": list(map(grade_coordinates, CELLS)), "ids": images}],
    }  # fmt: skip
    header["hash"] = conditions_hash(header["conditions"])
    with open(path, "w", encoding="utf-8") as file:
        file.write(seal(json.dumps(header)))
        for i in range(images):
            right = 0.7 * difficulty[i] + 0.3 * rng.random(len(CELLS)) < rates
            label = i % 1000
            ranks = np.where(right, 0, rng.integers(1, 1000, len(CELLS)))
            others = (label + rng.integers(1, 1000, len(CELLS))) % 1000
            line = {
                "id": i, "file": f"n{label:08d}/ILSVRC2012_val_{i + 1:08d}.JPEG", "label": label, "digest": f"{i:016x}",
                "prediction": np.where(right, label, others).tolist(),
                "confidence": rng.random(len(CELLS)).round(8).tolist(), "label_rank": ranks.tolist(),
            }  # fmt: skip
            file.write(seal(json.dumps(line)))


def write_original(folder: Path, images: int, cells: list[str]) -> None:
    """Writes the original's files of some cells: a softmax of 1,000 classes with 8 decimals in each line."""
    rng = np.random.default_rng(1)
    groups = {name: group for group, names in GROUPS.items() for name in names}
    for cell in cells:
        name, _, severity = cell.partition("/")
        with open(folder / f"{groups[name]}-{name}-{severity}-results.txt.all", "w", encoding="utf-8") as file:
            for i in range(images):
                logits = np.exp(3 * rng.normal(size=1000))
                scores = (logits / logits.sum()).round(8)
                line = {
                    "filename": f"{cell}/n{i % 1000:08d}/ILSVRC2012_val_{i + 1:08d}.JPEG", "image_id": i,
                    "prediction": int(scores.argmax()), "label": i % 1000, "score": scores.tolist(),
                }  # fmt: skip
                file.write(json.dumps(line) + "\n")


def task(name: str, places: list[str]) -> dict[str, float]:
    """Does one reading in this process; returns seconds by step, and numbers that show what came out."""
    start = time.perf_counter()
    if name == "ours":
        records = read_result(places[0])
        middle = time.perf_counter()
        summary = imagenet_c(records)
        end = time.perf_counter()
        mce = summary.metrics["mCE"]
        found = {"read": middle - start, "score": end - middle, "mCE": mce.value, "low": mce.low, "high": mce.high}
        return {**found, "numbers": len(summary.flat("").metrics)}
    if name == "compare":
        size = len(dump(compare(*places)))
        return {"compare": time.perf_counter() - start, "bytes": size}
    verdicts = [formats.read_verdicts(path) for path in formats.corruption_files(places[0]).values()]
    middle = time.perf_counter()
    ImageNetCEvaluator().eval(places[0])
    return {"read": middle - start, "lines": sum(len(v.labels) for v in verdicts)}


def apart(name: str, *places: Path, rounds: int = 3) -> dict[str, float]:
    """Runs a task in processes of its own and returns the fastest; adds its seconds, the start of Python included."""
    command = [sys.executable, __file__, "--task", name, *map(str, places)]
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found.append({**json.loads(done.stdout), "wall": time.perf_counter() - start})
    return min(found, key=lambda run: run["wall"]) | {"slowest": max(run["wall"] for run in found)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=50000, help="images of the run")
    parser.add_argument("--original-images", type=int, default=1000, help="images of the original's subset")
    parser.add_argument("--no-table", action="store_true", help="print only")
    parser.add_argument("--task", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        found = task(arguments.task[0], arguments.task[1:])
        used = resource.getrusage(resource.RUSAGE_SELF)
        found |= {"memory": used.ru_maxrss / 1e6, "processor": used.ru_utime + used.ru_stime}
        print(json.dumps(found))
        return
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = [folder / "a.jsonl", folder / "b.jsonl"]
        for seed, file in enumerate(files):
            write_ours(file, arguments.images, seed + 1)
        size = files[0].stat().st_size
        ours, both = apart("ours", files[0]), apart("compare", *files)
        original = folder / "original"
        original.mkdir()
        cells = CELLS[:3]
        write_original(original, arguments.original_images, cells)
        original_size = sum(path.stat().st_size for path in original.iterdir())
        theirs = apart("original", original)
    lines = arguments.images * len(CELLS)
    share = lines / theirs["lines"]
    rate = theirs["lines"] / theirs["read"]
    rows = [
        ("", "result file of ours", "the original's lines of 1,000 scores"),
        ("---", "---", "---"),
        (
            "size", f"{size / 1e9:.3f} GB, measured",
            f"**{original_size * share / 1e9:.0f} GB**, carried over from {theirs['lines']:,} lines of "
            f"{original_size / theirs['lines'] / 1e3:.1f} kB",
        ),
        (
            "reading", f"{ours['read']:.1f} s ({lines / ours['read'] / 1e6:.2f} million verdicts a second)",
            f"{lines / rate / 60:.0f} min, carried over ({rate:.0f} lines a second, by our reader)",
        ),
        ("scoring, with intervals", f"{ours['score']:.1f} s", "the same"),
        ("whole process", f"**{ours['wall']:.1f} s** (slowest of 3: {ours['slowest']:.1f} s; owed: 60 s)", ""),
        ("its processor time", f"{ours['processor']:.1f} s", ""),
        (
            "peak memory", f"**{ours['memory']:.2f} GB** (owed: 4 GB)",
            f"{theirs['memory']:.2f} GB (a line is let go when it is ranked)",
        ),
    ]  # fmt: skip
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    text = f"""# Reading and scoring an ImageNet-C run

{arguments.images:,} images x {len(CELLS)} cells = {lines:,} verdicts, synthetic. {os.cpu_count()} cores, load before the
measurement {load:.1f}, Python {platform.python_version()}, numpy {np.__version__}. Intervals: {RESAMPLES} resamples of the
images, shared by all {ours["numbers"]} numbers. Fastest of 3. Written by `speed/metrics.py`.

{table}

mCE of these verdicts: {ours["mCE"]:.2f} [{ours["low"]:.2f}, {ours["high"]:.2f}]. `robustart compare` of two such files,
with the ids of all images that changed ({both["bytes"] / 1e6:.0f} MB of JSON): {both["wall"]:.1f} s,
{both["memory"]:.2f} GB.
"""
    print(text)
    if not arguments.no_table:
        (RESULTS / "metrics_cpu.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
