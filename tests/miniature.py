"""All data that the experiments name, in the published layouts, with a few small pictures each."""

import io
from pathlib import Path

from PIL import Image

from RobustART.benchmarks.imagenet_o import imagenet_o_classes
from RobustART.benchmarks.photos import imagenet_a_classes
from RobustART.data.imagenet import imagenet_wnids
from RobustART.noise.corruptions import CORRUPTIONS
from tests.conftest import make_picture

CLASSES = 6
"""Classes of each set."""


def picture(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(make_picture(seed)).save(buffer, "JPEG")
    return buffer.getvalue()


def make_data(root: Path, *, corrupted: bool = False) -> Path:
    """Writes the miniature and returns its folder.

    Args:
        root: the folder.
        corrupted: whether to write the 95 folders of ImageNet-C too.
    """
    wnids = imagenet_wnids()
    both = [i for i in imagenet_a_classes() if i in imagenet_o_classes()][: CLASSES // 2]
    known = [*both, *(i for i in imagenet_a_classes() if i not in both)][:CLASSES]
    unknown = [*both, *(i for i in imagenet_o_classes() if i not in both)][:CLASSES]
    every = sorted({*known, *unknown})
    folders = {"imagenet/train": every, "imagenet/val": every, "imagenet-a": known, "imagenet-o": unknown}
    if corrupted:
        folders |= {f"imagenet-c/{name}/{severity}": known[:2] for name in CORRUPTIONS for severity in range(1, 6)}
    seed = 0
    for folder, labels in folders.items():
        for label in labels:
            for number in range(2):
                name = f"ILSVRC2012_val_{label:04d}{number:04d}.JPEG"
                path = root / folder / wnids[label] / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(picture(seed))
                seed += 1
    lists = root / "imagenet21k"
    lists.mkdir()
    for number in range(8):
        (lists / f"{number}.JPEG").write_bytes(picture(seed + number))
    for split in ("train", "val"):
        lines = "".join(f"{number}.JPEG {number * 3000}\n" for number in range(8) if number < 6)
        (lists / f"meta_{split}_cleaned.txt").write_text(lines)
    return root
