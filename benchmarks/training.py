"""Speed of training, side by side in one run: a step against a bare PyTorch loop, the loader against torchvision's.

    python benchmarks/training.py [--steps 30] [--batch 32] [--images 256]

Both loops do the same maths (ResNet-18 at 64 x 64, SGD with momentum, label smoothing). Both loaders make the same pixels
(random resized crop to 224, flip) from the same JPEG files, in this process.
"""

from __future__ import annotations

import argparse
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

from RobustART.data import create_dataset
from RobustART.distributed import World
from RobustART.models import create_model
from RobustART.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from RobustART.training.loading import Batch, load_batches
from RobustART.training.loop import LoopSettings, Training
from RobustART.training.objective import Plain
from RobustART.training.optim import create_optimizer
from RobustART.training.parallel import Parallel
from RobustART.training.sampling import Plan
from RobustART.training.transforms import TrainingView, create_transform


def ours(batch: int) -> Callable[[], None]:
    model = create_model("resnet18", num_classes=100, preprocessing={"input_size": 64, "resize": 64})
    optimizer = create_optimizer(model, "SGD", lr=0.1, kwargs={"momentum": 0.9, "weight_decay": 1e-4})
    settings = LoopSettings(steps=10**9)
    training = Training(model, Plain(100, 0.1), optimizer, lambda step: 0.1, 0.1, Parallel(World("cpu", {})), settings)
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
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    step, reference = in_turns(ours(arguments.batch), bare(arguments.batch), arguments.steps)
    ratio = f"ours {step * 1e3:.1f} ms, bare loop {reference * 1e3:.1f} ms, {reference / step:.3f}x"
    print(f"step of {arguments.batch} at 64 x 64: {ratio}")
    with tempfile.TemporaryDirectory() as name:
        write_photos(Path(name), arguments.images)
        first, second = in_turns(
            our_loader(Path(name), arguments.images), torchvision_loader(Path(name), arguments.images), 5
        )
    rates = [arguments.images / seconds for seconds in (first, second)]
    print(
        f"loader: ours {rates[0]:.1f} img/s, torchvision's ImageFolder {rates[1]:.1f} img/s, {rates[0] / rates[1]:.3f}x"
    )


if __name__ == "__main__":
    main()
