"""The flags of the solver's command, which ``robustart evaluate`` shares. Imports nothing heavy."""

from __future__ import annotations

import argparse

DESCRIPTION = (
    "Train an image classifier and measure how robust it is, as a YAML file says. A config with optimizer, lr_scheduler "
    "and data.train is trained first. Start it alone, or in several processes with torchrun or srun. A run that was killed "
    "resumes where it was."
)


def add_import(parser: argparse.ArgumentParser) -> None:
    """Adds the flag ``--import`` to a parser."""
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="import a module of your own, which registers attacks, corruptions, benchmarks, data sets or models",
    )


def parser() -> argparse.ArgumentParser:
    """Returns the solver's command line."""
    result = argparse.ArgumentParser(prog="python -m RobustART.training.cls_solver", description=DESCRIPTION)
    add_arguments(result)
    return result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the solver's flags to a parser."""
    parser.add_argument(
        "--config", required=True, metavar="FILE", help="the YAML file; `robustart schema` explains every key"
    )
    parser.add_argument(
        "--evaluate",
        action="store_true",
        help="evaluate, do not train; a config without a section 'evaluation', as the original's are, gets the benchmark "
        "'clean'",
    )
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="lay a value over the config, such as --set evaluation.limit=1000 (YAML; may be given many times)",
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="folder of all data, for paths that begin with $ROBUSTART_DATA (default: that variable)",
    )
    parser.add_argument(
        "--trial",
        type=int,
        nargs="?",
        const=10,
        metavar="N",
        help="see whether all is in place: train N steps (10), evaluate N images, write to output_dir/trial",
    )
    parser.add_argument(
        "--check", action="store_true", help="validate the config, print it with all defaults, and run nothing"
    )
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="delete what was recorded for these benchmarks before, and the checkpoints of a training, and start over",
    )
    parser.add_argument(
        "--recover", metavar="CKPT", help="resume from this checkpoint of the training; with --evaluate, evaluate it"
    )
    add_import(parser)
    parser.add_argument("--quiet", action="store_true", help="print warnings and the final table only")
