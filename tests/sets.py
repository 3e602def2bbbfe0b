"""Tiny published sets for tests, in their published layouts."""

import json

import numpy as np
import torch
from PIL import Image

from RobustART.benchmarks.imagenet_o import imagenet_o_classes
from RobustART.benchmarks.photos import imagenet_a_classes, imagenet_r_classes
from RobustART.core.imaging import encode_jpeg
from RobustART.core.imaging.video import write_video
from RobustART.data import array_dataset
from RobustART.data.imagenet import imagenet_wnids
from tests.conftest import make_picture

SIZE = {"input_size": 32, "resize": 36, "mean": [0.5] * 3, "std": [0.25] * 3}
NOTHING = array_dataset([make_picture(0, 32, 32)], [0], "nothing")
LABELS = (999, 0, 243)


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return path


def wnid_folder(root, labels, size=40, start=0):
    for i, label in enumerate(labels):
        save(root / imagenet_wnids()[label] / f"{i}.png", make_picture(start + i, size, size))
    return root


def corruption_folders(root, cells, count=6, make=lambda picture, name, level: picture):
    """ImageNet-C's layout, 32 x 32, photos of 3 classes."""
    for name, level in cells:
        for i in range(count):
            path = root / name / str(level) / imagenet_wnids()[LABELS[i % 3]] / f"photo_{i}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_jpeg(make(make_picture(i, 32, 32), name, level), 85))
    return root


def write_meta(
    root, folder, cells, kept=lambda name, level, file: True, label=lambda wnid: imagenet_wnids().index(wnid)
):
    groups = {"digital": {}}
    for name, level in cells:
        files = sorted(p.relative_to(root).as_posix() for p in (root / name / str(level)).rglob("*.JPEG"))
        rows = [{"filename": f, "label": label(f.split("/")[2])} for f in files if kept(name, level, f)]
        path = folder / f"{name}-{level}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        groups["digital"].setdefault(name, {})[str(level)] = path.name
    (folder / "all.json").write_text(json.dumps(groups))
    return str(folder / "all.json")


def cifar_c(root, names=("fog", "snow"), labels=(0, 1, 2, 3)):
    """CIFAR-10-C's layout; returns the pictures of each file."""
    root.mkdir(parents=True, exist_ok=True)
    np.save(root / "labels.npy", np.tile(np.array(labels), 5))
    pictures = {}
    for name in names:
        seeds = [10 * s + i + len(name) for s in range(5) for i in range(len(labels))]
        pictures[name] = np.stack([make_picture(seed, 32, 32) for seed in seeds])
        np.save(root / f"{name}.npy", pictures[name])
    return pictures


def videos(root, perturbation, *contents):
    """ImageNet-P's layout: one video of each class from 0."""
    for i, frames in enumerate(contents):
        path = root / perturbation / imagenet_wnids()[i] / f"video_{i}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(write_video(frames, crf=0))
    return root


def every_benchmark(root):
    """Returns each benchmark with options that it can be built from, with files and, where it has both ways, without."""
    cells = [("fog", 1), ("snow", 1)]
    corruption_folders(root / "c", cells, count=3)
    corruption_folders(root / "bar", [("sparkles", 1)], count=3)
    corruption_folders(root / "3d", [("flash", 1)], count=3)
    cifar_c(root / "cifar")
    videos(root / "p", "snow", [make_picture(0, 32, 32)] * 3)
    for name, classes in (("a", imagenet_a_classes()), ("o", imagenet_o_classes()), ("r", imagenet_r_classes())):
        wnid_folder(root / name, classes[:2])
    wnid_folder(root / "sketch", [0, 1])
    save(root / "v2" / "3" / "x.jpeg", make_picture(0))
    for name in ("pil-bilinear", "pil-box"):
        save(root / "s" / "pil" / name / "x.png", make_picture(0))
        (root / "s" / f"pil_{name}.txt").write_text(f"pil/{name}/x.png 1\n")
    few = {"corruptions": ["fog", "snow"], "severities": [1]}
    system = {"decoders": ["pil"], "resizes": ["pil-box"]}
    return [
        ("clean", {}),
        ("imagenet_a", {"root_dir": root / "a"}),
        ("imagenet_o", {"root_dir": root / "o"}),
        ("imagenet_r", {"root_dir": root / "r"}),
        ("imagenet_sketch", {"root_dir": root / "sketch"}),
        ("imagenet_v2", {"root_dir": root / "v2"}),
        ("imagenet_c", few),
        ("imagenet_c", {**few, "root_dir": root / "c"}),
        ("imagenet_c", {**few, "root_dir": root / "c", "meta": write_meta(root / "c", root / "c" / "meta", cells)}),
        ("imagenet_c_bar", {"root_dir": root / "bar", "corruptions": ["sparkles"], "severities": [1]}),
        ("imagenet_3dcc", {"root_dir": root / "3d", "corruptions": ["flash"], "severities": [1]}),
        ("cifar_c", {**few, "root_dir": root / "cifar"}),
        ("imagenet_p", {"perturbations": ["snow"]}),
        ("imagenet_p", {"perturbations": ["snow"], "root_dir": root / "p"}),
        ("imagenet_s", system),
        ("imagenet_s", {**system, "root_dir": root / "s"}),
        ("adversarial", {"attacks": ["fgsm"]}),
        ("transfer", {"attacks": ["fgsm"], "models": {"other": torch.nn.Flatten()}}),
    ]
