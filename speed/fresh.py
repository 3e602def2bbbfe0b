"""Measures commands in fresh processes, side by side: start-up, memory, AutoAttack, decoding and result lines.

    python speed/fresh.py                          # all rows
    python speed/fresh.py --rows start memory      # rows whose name begins so
    python speed/fresh.py --rows start --against ../before     # another checkout instead of this one with other settings
    python speed/fresh.py --smoke                  # one short row of each kind, once

The sides of a row run alternately, each in its own process; CPU seconds, the least of the repeats. Preparation (imports,
training the network) is not counted: the process prints what it measured. ``start`` rows, which need ``--against``, count
the whole process. Rows ``aa`` need ``pip install pyautoattack``; "tuned both" gives both sides the same allocator.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
DEFAULT, TUNED = {"ROBUSTART_MALLOC": "default"}, {"ROBUSTART_MALLOC": "tuned"}

PRELUDE = """
import resource, sys, time, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, {here!r})
import RobustART
getattr(RobustART, "tune_memory", int)()  # another checkout may lack it
import torch
torch.set_num_threads({threads})
def measured(work, repeats=1):
    best = float("inf")
    for _ in range(repeats):
        faults, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.process_time()
        work()
        best = min(best, time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print("measured", best, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults, peak, flush=True)
"""
FORWARD = """
import attacks
model = attacks.lite0()
images = torch.rand({batch}, 3, 224, 224)
def work():
    with torch.inference_mode():
        for _ in range({passes}):
            model(images)
work()
measured(work)
"""
AUTOATTACK = """
import contextlib, io, pathlib
import attacks
place = pathlib.Path({weights!r})
model = attacks.digits_model(True, 16) if not place.exists() else attacks.digits_network(16)
if place.exists():
    model.load_state_dict(torch.load(place))
torch.save(model.state_dict(), place)
images, labels = (value[:{images}] for value in attacks.held_out())
side = attacks.{side}
def work():
    with contextlib.redirect_stdout(io.StringIO()):
        side(model.eval(), images, labels)
if {prepare}:
    sys.exit()
measured(work)
"""
DECODE = """
import io
import numpy as np
from PIL import Image
from RobustART.core.imaging import decode, encode_jpeg
from RobustART.data import create_dataset
photos = [encode_jpeg(create_dataset("foolbox_photos").sample(i, lambda image: image).image, 90) for i in range({images})]
sides = {{"pillow": lambda data: np.array(Image.open(io.BytesIO(data)).convert("RGB")), "ours": decode}}
measured(lambda: [sides[{side!r}](data) for data in photos], repeats=5)
"""
LINES = """
import dataclasses, json
from RobustART.records.lines import Line
from RobustART.records.sealing import seal
line = Line(0, 1, "n01440764/a.jpg", 3, "0" * 16, list(range(95)), [0.12345678] * 95, [0] * 95)
def asdict():
    data = {{key: value for key, value in dataclasses.asdict(line).items() if value is not None}}
    data.pop("pass_index")
    return seal(json.dumps(data, ensure_ascii=False))
assert asdict() == line.dump()
measured(lambda: [{call}() for _ in range({count})], repeats=5)
"""


def run(words: list[str], environ: dict[str, str], folder: Path = ROOT) -> tuple[float, str]:
    """Runs Python with ``words``; returns the CPU seconds of the process and what it printed."""
    given = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", **environ}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *words], env=given, cwd=folder, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)[:300]}\n{done.stderr[-2000:]}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, done.stdout


def alternate(sides: dict[str, tuple[list[str], dict[str, str], Path]], repeats: int) -> dict[str, tuple[float, str]]:
    """Returns for each side its least seconds, and the page faults and the peak memory of that process, if it says so."""
    best: dict[str, tuple[float, str]] = {}
    for _ in range(repeats):
        for name, (words, environ, folder) in sides.items():
            seconds, out = run(words, environ, folder)
            more = ""
            for line in out.splitlines():
                if line.startswith("measured "):
                    _, text, faults, peak = line.split()
                    seconds, more = float(text), f"{int(faults):,} faults, peak {peak} MB"
            if name not in best or seconds < best[name][0]:
                best[name] = (seconds, more)
    return best


def starts(against: Path, folder: Path) -> dict[str, list[str]]:
    result = folder / "clean.jsonl"
    code = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from RobustART.records.header import conditions_hash
from RobustART.records.lines import FORMAT, Line
from RobustART.records.sealing import seal
import json, pathlib
model = {{"source": "timm:resnet18", "arguments": {{}}, "weights": "0" * 16}}
data = [{{"name": "photos", "fingerprint": "0" * 16, "images": 20, "subset": None}}]
conditions = {{"benchmark": "clean", "options": {{}}, "attacks": {{}}, "data": data, "model": model, "seed": 0}}
head = {{"format": FORMAT, "benchmark": "clean", "hash": conditions_hash(conditions), "conditions": conditions,
        "versions": {{}}, "passes": [{{"name": "", "cells": ["clean"], "ids": 20, "coordinates": [{{}}]}}]}}
lines = [Line(0, i, f"{{i}}.jpg", i, "0" * 16, [i], [0.5], [0]).dump() for i in range(20)]
pathlib.Path({str(result)!r}).write_text(seal(json.dumps(head)) + "".join(lines))
"""
    run(["-c", code], {})
    solver = ["-m", "RobustART.training.cls_solver"]
    commands = {
        "--help": ["--help"], "list attacks": ["list", "attacks"], "list benchmarks": ["list", "benchmarks"],
        "models": ["models"], "schema": ["schema"], "score": ["score", str(result)],
    }  # fmt: skip
    return {
        **{name: ["-m", "RobustART.cli", *words] for name, words in commands.items()},
        "cls_solver --help": [*solver, "--help"],
        "cls_solver --check": [*solver, "--config", str(ROOT / "exprs" / "quickstart" / "config.yaml"), "--check"],
    }


def rows(arguments: argparse.Namespace, folder: Path) -> dict[str, dict[str, tuple[list[str], dict[str, str], Path]]]:
    """Returns the rows: names to two sides, the other one first, each (words, environment, checkout)."""
    against, smoke = Path(arguments.against or ROOT).resolve(), arguments.smoke
    head = PRELUDE.format(here=str(HERE), threads=arguments.threads)

    def code(text: str, **values: object) -> list[str]:
        return ["-c", head + text.format(**values)]

    table = {}
    if arguments.against or smoke:
        for name, words in starts(against, folder).items():
            if not smoke or name == "models":
                table[f"start {name}"] = {"before": (words, {}, against), "ours": (words, {}, ROOT)}
    for batch in (1,) if smoke else (16, 64):
        words = code(FORWARD, batch=batch, passes=1 if smoke else 256 // batch)
        table[f"memory forward, EfficientNet-Lite0, batches of {batch}"] = {
            "default": (words, DEFAULT, ROOT), "tuned": (words, TUNED, ROOT),
        }  # fmt: skip
    weights, images = str(folder / "digits.pt"), 4 if smoke else 200
    theirs, ours = (
        code(AUTOATTACK, weights=weights, images=images, side=side, prepare=False)
        for side in ("official('Linf', 0.15)", "ours('Linf', 0.15)")
    )
    if not smoke:
        run(code(AUTOATTACK, weights=weights, images=images, side="ours('Linf', 0.15)", prepare=True), {})
        table["aa Linf, robust digits CNN, 200 images"] = {
            "pyautoattack": (theirs, DEFAULT, ROOT), "ours": (ours, TUNED, ROOT),
        }  # fmt: skip
        table["aa Linf, the same, tuned both"] = {"pyautoattack": (theirs, TUNED, ROOT), "ours": (ours, TUNED, ROOT)}
        table["aa Linf, the same, ours alone"] = {"default": (ours, DEFAULT, ROOT), "tuned": (ours, TUNED, ROOT)}
        if arguments.against:
            table["aa Linf, the same, before"] = {"before": (ours, TUNED, against), "ours": (ours, TUNED, ROOT)}
    table["decode photos"] = {
        side: (code(DECODE, images=2 if smoke else 20, side=side), TUNED, ROOT) for side in ("pillow", "ours")
    }
    table["lines of 95 cells, 1,000"] = {
        side: (code(LINES, call=call, count=10 if smoke else 1000), TUNED, ROOT)
        for side, call in (("asdict", "asdict"), ("ours", "line.dump"))
    }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="*", default=[""], help="beginnings of the names of the rows to run")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--against", metavar="DIR", help="another checkout, for rows before and after")
    parser.add_argument("--smoke", action="store_true", help="one short row of each kind, once")
    arguments = parser.parse_args()
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {arguments.threads} thread(s), fresh processes, CPU "
        f"seconds, best of {1 if arguments.smoke else arguments.repeats}\n"
    )
    print("| work | sides | first | second | ratio | pages and memory |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, sides in rows(arguments, Path(folder)).items():
            if name.startswith(tuple(arguments.rows)):
                found = alternate(sides, 1 if arguments.smoke else arguments.repeats)
                (first, one), (second, two) = found.values()
                more = f"{one}; {two}" if one else ""
                ratio = f"**{first / second:.2f}x**"
                print(f"| {name} | {' / '.join(sides)} | {first:.4g} | {second:.4g} | {ratio} | {more} |", flush=True)


if __name__ == "__main__":
    main()
