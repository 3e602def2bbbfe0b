"""``robustart noise generate``: writes a noisy data set in its published layout."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from RobustART.cli.options import Commands, add_noise_options, read_options
from RobustART.errors import ConfigError

DESCRIPTION = """Write a noisy data set in its published layout from clean images.

The images are those that an evaluation makes on the fly with the same seed and limit, for a model of the same input
size, resize and interpolation; ImageNet-C's go through one more JPEG (evaluate with jpeg_quality: 85 to compare), and
ImageNet-P's through a video encoder.
A run that was stopped resumes with the same command: what is missing or damaged is written, the rest is kept. With other
source images, settings or library versions it is refused, and nothing is changed.

written: the images and the original's lists (meta/ of ImageNet-C, {decoder}_{resize}.txt of ImageNet-S);
manifest.json, what was asked for and whether it is complete; photos.jsonl, a line for each source image with digests."""
LAYOUTS = """layouts, and options of the noise, each by --set KEY=VALUE (`robustart schema evaluation.benchmarks.NAME`):
  imagenet_c  {corruption}/{severity}/{class}/{name}.JPEG  corruptions, severities, backend, jpeg_quality (default: 85)
  imagenet_p  {perturbation}/{class}/{name}.mp4            perturbations, difficulty
  imagenet_s  {decoder}/{resize}/{class}/{name}.npy        decoders, resizes

exit status: 0 written; 2 refused or failed, with the reason; 130 interrupted, the same command resumes"""


def add(kinds: Commands) -> None:
    """Adds ``generate`` to the kinds of ``noise``."""
    command = kinds.add_parser(
        "generate", help="write a noisy data set in its published layout; resumable", description=DESCRIPTION,
        epilog=LAYOUTS, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    command.add_argument("--benchmark", required=True, help="imagenet_c, imagenet_p or imagenet_s")
    command.add_argument("--source", required=True, metavar="DIR", help="clean images, one folder for each class")
    command.add_argument("--out", required=True, metavar="DIR", help="folder of the data set, not in --source")
    command.add_argument(
        "--model", metavar="NAME", help="take size, resize and interpolation from this model, as an evaluation does"
    )
    command.add_argument("--size", type=int, metavar="N", help="side of the images in pixels (the model's, or 224)")
    command.add_argument(
        "--resize", type=int, metavar="N",
        help="shorter side before the crop (the model's, or 8/7 of the size: 256 for 224); imagenet_c only",
    )  # fmt: skip
    command.add_argument(
        "--interpolation", metavar="NAME",
        help="filter of that resize: nearest, bilinear, bicubic, lanczos, box or hamming (the model's, or bilinear); "
        "imagenet_c only",
    )  # fmt: skip
    command.add_argument(
        "--limit", type=int, metavar="N",
        help="only so many images, class-balanced, drawn with --seed: those of evaluation.limit (default: all)",
    )  # fmt: skip
    command.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes (default: 1; the images are the same)"
    )
    command.set_defaults(function=run)
    add_noise_options(command, "severities=[1,3]")


def run(arguments: argparse.Namespace) -> None:
    """Writes the data set."""
    from RobustART.data import create_dataset
    from RobustART.generation.generate import generate

    source, out = Path(arguments.source), Path(arguments.out)
    if out.resolve().is_relative_to(source.resolve()):
        raise ConfigError(
            f"--out {out} lies in --source {source}, where it would be read as a class; use another folder"
        )
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # --model may name a user's function
    manifest = generate(
        arguments.benchmark, create_dataset(root_dir=source), out, options=read_options(arguments.options),
        model=arguments.model, size=arguments.size, resize=arguments.resize, interpolation=arguments.interpolation,
        seed=arguments.seed, limit=arguments.limit, workers=arguments.workers,
    )  # fmt: skip
    print(f"{out}: {manifest['files']} files of {manifest['source']['images']} images; see manifest.json")
