"""Speed of training, side by side in one run: a step against a bare PyTorch loop, the loader against torchvision's.

    python speed/training.py [--steps 30] [--batch 32] [--images 256] [--no-table]

Both loops do the same maths (ResNet-18 at 64 x 64, SGD with momentum, label smoothing). Both loaders make the same pixels
(random resized crop to 224, flip) from the same JPEG files, in this process. Memory is that of 1,000 steps of the
solver, with all that has a state: EMA, SWA, mixup, gradient accumulation.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from PIL import Image
from torch import nn

from RobustART.config.training import TrainingConfig
from RobustART.core.distributed import World
from RobustART.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from RobustART.data import create_dataset
from RobustART.models import create_model
from RobustART.training.augment.mixing import Mixing
from RobustART.training.augment.transforms import TrainingView, create_transform
from RobustART.training.ema import Ema, Swa
from RobustART.training.loading import Batch, load_batches
from RobustART.training.loop import Training
from RobustART.training.objectives.objective import Plain
from RobustART.training.optim import create_optimizer
from RobustART.training.parallel import Parallel
from RobustART.training.sampling import Plan


def ours(batch: int) -> Callable[[], None]:
    model = create_model("resnet18", num_classes=100, preprocessing={"input_size": 64, "resize": 64})
    optimizer = create_optimizer(model, "SGD", lr=0.1, kwargs={"momentum": 0.9, "weight_decay": 1e-4})
    parallel = Parallel(World("cpu", {}))
    training = Training(model, Plain(100, 0.1), optimizer, lambda step: 0.1, 0.1, parallel, 10**9, TrainingConfig())
    images, labels = torch.randint(256, (batch, 3, 64, 64), dtype=torch.uint8), torch.randint(100, (batch,))

    def step() -> None:
        training.train_step(Batch(images, labels, labels, training.step + 1))
        training.check_loss("")

    return step


def bare(batch: int) -> Callable[[], None]:
    model = timm.create_model("resnet18", num_classes=100).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    images, labels = torch.randint(256, (batch, 3, 64, 64), dtype=torch.uint8), torch.randint(100, (batch,))
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss = criterion(model((images.float() / 255 - mean) / std), labels)
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def in_turns(first: Callable[[], None], second: Callable[[], None], rounds: int) -> tuple[float, float]:
    """Returns the median seconds of two functions called in turns, after two calls of each."""
    times: tuple[list[float], list[float]] = ([], [])
    for i in range(rounds + 2):
        for function, own in zip((first, second), times, strict=True):
            start = time.perf_counter()
            function()
            if i >= 2:
                own.append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def write_photos(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize(
            (500, 375), Image.Resampling.BICUBIC
        )
        noisy = np.clip(np.asarray(coarse) + rng.normal(0, 8, (375, 500, 3)), 0, 255).astype(np.uint8)
        path = folder / f"class_{i % 4}" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy).save(path, quality=90)


def our_loader(folder: Path, images: int) -> Callable[[], None]:
    dataset = create_dataset(root_dir=folder)
    view = TrainingView(create_transform({"type": "LINEAR"}, Preprocessing()), 224)
    plan = Plan(len(dataset), 32, steps=images // 32)

    def run() -> None:
        for batch in load_batches(dataset, view, plan, "distributed"):
            batch.to(torch.device("cpu"))

    return run


def torchvision_loader(folder: Path, images: int) -> Callable[[], None]:
    from torchvision import transforms as t

    transform = t.Compose(
        [t.RandomResizedCrop(224), t.RandomHorizontalFlip(), t.ToTensor(), t.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    )
    dataset = torchvision.datasets.ImageFolder(folder, transform)
    loader = torch.utils.data.DataLoader(dataset, batch_size=32, shuffle=True, drop_last=True)

    def run() -> None:
        for _ in loader:
            pass

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--no-table", action="store_true", help="print only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    step, reference = in_turns(ours(arguments.batch), bare(arguments.batch), arguments.steps)
    lines = [
        f"step of {arguments.batch} at 64 x 64 | {step * 1e3:.1f} ms | {reference * 1e3:.1f} ms | {reference / step:.3f}x"
    ]
    with tempfile.TemporaryDirectory() as name:
        write_photos(Path(name), arguments.images)
        first, second = in_turns(
            our_loader(Path(name), arguments.images), torchvision_loader(Path(name), arguments.images), 5
        )
    rates = [arguments.images / seconds for seconds in (first, second)]
    times = f"{rates[0]:.1f} a second | {rates[1]:.1f} a second"
    lines.append(f"JPEGs loaded, on one core | {times} | {rates[0] / rates[1]:.3f}x")
    early, late = memory()
    lines.append(f"memory after 100 steps, after 1,000 | {early:.1f} MiB, {late:.1f} MiB | | {late / early:.4f}x")
    print("\n".join(lines))
    if not arguments.no_table:
        write_table(lines, load)


def memory(steps: int = 1000) -> tuple[float, float]:
    """Returns the memory in MiB after 100 steps, and after all."""
    model = create_model("resnet18", num_classes=10, preprocessing={"input_size": 32, "resize": 32})
    settings = TrainingConfig(accumulate=2, clip_grad=1.0)
    optimizer = create_optimizer(model, "SGD", lr=0.01, kwargs={"momentum": 0.9})
    training = Training(
        model, Plain(10, 0.1, Mixing(0.2, 1.0, 0.5)), optimizer, lambda step: 0.01, 0.01, Parallel(World("cpu", {})),
        steps, settings, ema=Ema(model.network, decay=0.999), swa=Swa(model.network, first=1, every=10),
    )  # fmt: skip
    images, labels = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8), torch.randint(10, (4,))
    found = []
    for step in range(1, steps + 1):
        training.train_step(Batch(images, labels, labels, step))
        training.read_numbers()
        if step in (100, steps):
            gc.collect()
            found.append(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20)
    return found[0], found[1]


def write_table(lines: list[str], load: float) -> None:
    """Writes ``results/training_cpu.md``."""
    text = f"""# Training beside the reference

ResNet-18, SGD, label smoothing; loaders decode, crop to 224 and flip, bit-identical pixels. One thread of {os.cpu_count()}
cores, load before the measurement {load:.1f}, Python {platform.python_version()}, torch {torch.__version__}.
Medians of calls in turns. Written by `speed/training.py`.

| | ours | reference | ratio |
| --- | --- | --- | --- |
"""
    folder = Path(__file__).parent / "results"
    (folder / "training_cpu.md").write_text(text + "".join(f"| {line} |\n" for line in lines))


if __name__ == "__main__":
    main()
