"""``robustart noise``: adds noise to an image, or generates a noisy data set (``generate``)."""

from __future__ import annotations

import argparse
from pathlib import Path

from RobustART.cli import generate
from RobustART.cli.options import Commands, add_noise_options, read_options
from RobustART.core.files import same_file
from RobustART.errors import ConfigError, DataError


def add(commands: Commands) -> None:
    """Adds ``noise`` and its kinds to the command line."""
    noise = commands.add_parser("noise", help="add noise to an image, or generate a noisy data set")
    kinds = noise.add_subparsers(dest="type", required=True, metavar="KIND")
    for name, example in (("imagenet-c", "corruption_name=fog"), ("imagenet-s", "resize_type=opencv-area")):
        one = kinds.add_parser(name, help=f"the noise of {name} on one image")
        one.add_argument("image", help="the image")
        one.add_argument(
            "-o", "--output", required=True, help="where the noisy one goes; the suffix decides the format"
        )
        one.set_defaults(function=run)
        add_noise_options(one, example)
    generate.add(kinds)


def run(arguments: argparse.Namespace) -> None:
    """Writes the noisy image."""
    import numpy as np
    from PIL import Image

    from RobustART.noise import AddNoise

    _check_output(Path(arguments.image), Path(arguments.output))
    noise = AddNoise(arguments.type, seed=arguments.seed)
    noise.set_config(**read_options(arguments.options))
    noisy = noise.add_noise(arguments.image)
    try:
        Image.fromarray(np.asarray(noisy)).save(arguments.output)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot write {arguments.output}: {error}") from None


def _check_output(source: Path, output: Path) -> None:
    """Raises a ConfigError if the noisy image would replace the one that is read, or a file that is no image."""
    from RobustART.core.imaging import read_bytes
    from RobustART.core.imaging.pillow import open_image

    if same_file(source, output):
        raise ConfigError(f"-o {output} would overwrite the image that is read; name another file")
    if output.exists() and (not output.is_file() or output.stat().st_size):
        try:
            open_image(read_bytes(output)).close()
        except (OSError, DataError):
            raise ConfigError(f"-o {output} exists already and is no image: it is not replaced") from None
