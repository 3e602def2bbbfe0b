"""The command ``robustart``: thin sub-commands over the same functions."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import sys
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path

from RobustART import __version__
from RobustART.cli.nas import add_nas_commands
from RobustART.cli.results import add_commands
from RobustART.core.files import same_file
from RobustART.errors import ConfigError, UserError

# Each sub-command imports what it needs, so that `robustart score` and `robustart --help` do not wait for torch.


def _list(arguments: argparse.Namespace) -> None:
    if arguments.what == "attacks":
        from RobustART.noise import ATTACKS as names
    elif arguments.what == "corruptions":
        from RobustART.noise import CORRUPTIONS as names  # type: ignore[assignment]
    elif arguments.what == "perturbations":
        from RobustART.noise import PERTURBATIONS as names  # type: ignore[assignment]
    elif arguments.what == "benchmarks":
        from RobustART.evaluation import BENCHMARKS as names  # type: ignore[assignment]
    else:
        from RobustART.data import DATASETS as names  # type: ignore[assignment]
    for name, entry in names.items():
        text = inspect.getdoc(entry) if inspect.isfunction(entry) else None
        print(f"{name}  {text.splitlines()[0]}" if text else name)


def _models(arguments: argparse.Namespace) -> None:
    from RobustART.models.listing import library_names, table

    if arguments.library:
        for option in ("family", "benchmark", "notes"):
            if getattr(arguments, option):
                raise ConfigError(f"--{option} is of our own table; it cannot be with --library {arguments.library}")
        print("\n".join(library_names(arguments.library, arguments.pattern, arguments.format)))
        return
    sets = ("benchmark",) if arguments.benchmark else ("benchmark", "further", "original")
    for line in table(arguments.pattern, arguments.family, sets, arguments.format, notes=arguments.notes):
        print(line)


def _noise(arguments: argparse.Namespace) -> None:
    import numpy as np
    from PIL import Image

    from RobustART.noise import AddNoise

    _check_picture(Path(arguments.image), Path(arguments.output))
    noise = AddNoise(arguments.type, seed=arguments.seed)
    noise.set_config(**read_options(arguments.options))
    noisy = noise.add_noise(arguments.image)
    try:
        Image.fromarray(np.asarray(noisy)).save(arguments.output)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot write {arguments.output}: {error}") from None


def _check_picture(source: Path, output: Path) -> None:
    """Raises a ConfigError if the noisy picture would replace the one that is read, or what is no picture."""
    from PIL import Image

    if same_file(source, output):
        raise ConfigError(f"-o {output} would overwrite the picture that is read; name another file")
    if output.exists() and (not output.is_file() or output.stat().st_size):
        try:
            Image.open(output).close()
        except OSError:
            raise ConfigError(f"-o {output} is there already and is no picture: it is not replaced") from None


def _generate(arguments: argparse.Namespace) -> None:
    from RobustART.data import create_dataset
    from RobustART.generation.generate import generate

    source, out = Path(arguments.source), Path(arguments.out)
    if out.resolve().is_relative_to(source.resolve()):
        raise ConfigError(
            f"--out {out} lies in --source {source}, where it would be read as a class; take another folder"
        )
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # --model may name a function of the user's own
    manifest = generate(
        arguments.benchmark, create_dataset(root_dir=source), out, options=read_options(arguments.options),
        model=arguments.model, size=arguments.size, resize=arguments.resize, interpolation=arguments.interpolation,
        seed=arguments.seed, limit=arguments.limit, workers=arguments.workers,
    )  # fmt: skip
    print(f"{out}: {manifest['files']} files of {manifest['source']['images']} photos; see manifest.json")


def read_options(texts: Sequence[str]) -> dict[str, typing.Any]:
    """Returns ``key=value`` texts as options; values are YAML."""
    from RobustART.config.loader import parse_yaml

    options = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set takes key=value, got {text!r}")
        options[key] = parse_yaml(value, f"the value of --set {key}")
    return options


def field_manual(cls: type) -> dict[str, str]:
    """Returns the string under each field of a dataclass, on one line."""
    tree = ast.parse(inspect.getsource(cls)).body[0]
    assert isinstance(tree, ast.ClassDef)
    manual = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            manual[field.target.id] = " ".join(ast.literal_eval(text.value).split())
    return manual


def schema_lines(cls: type, indent: int = 0) -> Iterator[str]:
    """Yields the keys of a configuration section with their manuals, sections within sections."""
    manual, hints = field_manual(cls), typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        key = field.metadata.get("key", field.name)
        yield f"{'  ' * indent}{key}: {manual[field.name]}"
        for inner in (hints[field.name], *typing.get_args(hints[field.name])):
            if isinstance(inner, type) and dataclasses.is_dataclass(inner):
                yield from schema_lines(inner, indent + 1)


def _schema(arguments: argparse.Namespace) -> None:
    if arguments.what == "report":
        from RobustART.report import schema

        print("\n".join(schema.schema_lines()))
        return
    from RobustART.config.schema import Config

    print("\n".join(schema_lines(Config)))


def _leaderboard(arguments: argparse.Namespace) -> None:
    from RobustART.config.loader import parse_yaml
    from RobustART.report.board_files import write_board
    from RobustART.report.runs import read_labels, read_runs

    labels = None if arguments.labels is None else parse_yaml(read_labels(arguments.labels), arguments.labels)
    runs = read_runs(arguments.folders, labels)
    inputs = [] if arguments.labels is None else [arguments.labels]
    print("\n".join(write_board(runs, arguments.output, json_to=arguments.json, csv_to=arguments.csv, inputs=inputs)))


def _evaluate(arguments: argparse.Namespace) -> int:
    from RobustART.training import cls_solver

    return cls_solver.run(arguments)


def _add_noise_commands(noise: argparse.ArgumentParser) -> None:
    kinds = noise.add_subparsers(dest="type", required=True, metavar="KIND")
    for name, example in (("imagenet-c", "corruption_name=fog"), ("imagenet-s", "resize_type=opencv-area")):
        one = kinds.add_parser(name, help=f"the noise of {name} on one picture")
        one.add_argument("image", help="the picture")
        one.add_argument(
            "-o", "--output", required=True, help="where the noisy one goes; the suffix decides the format"
        )
        one.set_defaults(function=_noise)
        _add_noise_options(one, example)
    _add_generate(
        kinds.add_parser(
            "generate", help="write a noisy data set in its published layout; resumable", description=GENERATE,
            epilog=GENERATE_OPTIONS, formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )  # fmt: skip


MODELS = """The names that model.type and create_model take: the 44 architectures of the benchmark (set benchmark), further
ones, and the original RobustART's own names (set original, and the column of other names). Any name of timm or torchvision
is a model too (--library). Parameters are in millions, at 1,000 classes; MACs are those of convolutions and linear layers
for one image; resize is the shorter side before the central crop."""
GENERATE = """Write a noisy data set in its published layout from clean photos.

The pictures are those that an evaluation makes on the fly with the same seed and limit, for a model of the same input
size, resize and interpolation; ImageNet-C's go through one more JPEG (evaluate with jpeg_quality: 85 to compare), and
ImageNet-P's through a video encoder.
A run that was stopped goes on with the same command: what is missing or damaged is written, the rest is kept. With other
photos, settings or versions of what makes the pictures it is refused, and nothing is changed.

written: the pictures and the original's lists (meta/ of ImageNet-C, {decoder}_{resize}.txt of ImageNet-S);
manifest.json, what was asked for and whether it is complete; photos.jsonl, a line for each photo with digests."""
GENERATE_OPTIONS = """options of the noise, each by --set KEY=VALUE (values are YAML):
  imagenet_c  {corruption}/{severity}/{class}/{name}.JPEG
    corruptions=[...]    default: all 19 (robustart list corruptions)
    severities=[...]     default: [1, 2, 3, 4, 5]
    jpeg_quality=N       default: 85
    backend=NAME         default: robustart; or imagecorruptions
  imagenet_p  {perturbation}/{class}/{name}.mp4
    perturbations=[...]  default: the 10 scored ones (robustart list perturbations)
    difficulty=N         default: 1; 2 or 3 make stronger noise, in {perturbation}_{difficulty}
  imagenet_s  {decoder}/{resize}/{class}/{name}.npy
    decoders=[...]       default: [pil, opencv, ffmpeg]; also simplejpeg-fast, torchvision
    resizes=[...]        default: all 11

exit status: 0 written; 2 refused or failed, with the reason; 130 interrupted, to be taken up again"""


def _add_generate(command: argparse.ArgumentParser) -> None:
    command.add_argument("--benchmark", required=True, help="imagenet_c, imagenet_p or imagenet_s")
    command.add_argument("--source", required=True, metavar="DIR", help="clean photos, one folder for each class")
    command.add_argument("--out", required=True, metavar="DIR", help="folder of the data set, not in --source")
    command.add_argument(
        "--model", metavar="NAME", help="take size, resize and interpolation from this model, as an evaluation does"
    )
    command.add_argument("--size", type=int, metavar="N", help="side of the pictures in pixels (the model's, or 224)")
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
        help="only so many photos, class-balanced, drawn with --seed: those of evaluation.limit (default: all)",
    )  # fmt: skip
    command.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes (default: 1; the pictures are the same)"
    )
    command.set_defaults(function=_generate)
    _add_noise_options(command, "severities=[1,3]")


def _add_noise_options(command: argparse.ArgumentParser, example: str) -> None:
    command.add_argument(
        "--set", dest="options", action="append", default=[], metavar="KEY=VALUE", help=f"such as {example}"
    )
    command.add_argument("--seed", type=int, default=0, help="seed of the noise (default: 0)")


def parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    result = argparse.ArgumentParser(prog="robustart", description="How robust is an image classifier, and why?")
    result.add_argument("--version", action="version", version=__version__)
    commands = result.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("evaluate", help="run a config, as python -m RobustART.training.cls_solver does")
    from RobustART.training.arguments import add_arguments

    add_arguments(run)
    run.set_defaults(function=_evaluate)

    _add_noise_commands(commands.add_parser("noise", help="add noise to a picture, or generate a whole data set of it"))

    add_commands(commands)
    add_nas_commands(commands)

    names = commands.add_parser("list", help="list what can be named")
    names.add_argument("what", choices=("attacks", "benchmarks", "corruptions", "datasets", "perturbations"))
    names.set_defaults(function=_list)

    models = commands.add_parser("models", help="list the architectures, with parameters and MACs", description=MODELS)
    models.add_argument("pattern", nargs="?", help="part of a name, or a whole one with * and ?; any spelling of case")
    models.add_argument("--family", metavar="NAME", help="only one family, such as resnet, regnetx or vit")
    models.add_argument("--benchmark", action="store_true", help="only the 44 of the benchmark")
    models.add_argument(
        "--notes", action="store_true", help="also how each differs from its library's network, and why"
    )
    models.add_argument("--format", choices=("text", "csv", "json"), default="text", help="text by default")
    models.add_argument(
        "--library", choices=("timm", "torchvision"), help="list a library's names instead; each is a model's name too"
    )
    models.set_defaults(function=_models)

    board = commands.add_parser(
        "leaderboard", help="put many runs into one page: a table that sorts and filters, and plots"
    )
    board.add_argument("folders", nargs="+", metavar="DIR", help="output_dir of a run, or its results folder")
    board.add_argument("-o", "--output", required=True, metavar="FILE", help="the page, such as board.html")
    board.add_argument("--labels", metavar="FILE", help="YAML: DIR: {name: ..., family: ..., technique: ...}")
    board.add_argument("--json", metavar="FILE", help="the same as data")
    board.add_argument("--csv", metavar="FILE", help="the same as a spreadsheet")
    board.set_defaults(function=_leaderboard)

    schema = commands.add_parser("schema", help="print every key of the config, or of report.json, with its manual")
    schema.add_argument("what", nargs="?", choices=("config", "report"), default="config", help="config by default")
    schema.set_defaults(function=_schema)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, or 2 for an error of the user's."""
    arguments = parser().parse_args(argv)
    try:
        return arguments.function(arguments) or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
