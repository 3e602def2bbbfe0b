"""The sub-commands of ``robustart nas``: drawing sub-networks, evaluating them, and analysing the results."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from pathlib import Path
from typing import Any

from RobustART.cli.options import Commands, read_options
from RobustART.core.files import write_whole
from RobustART.errors import ConfigError

DESCRIPTION = """Study how depth, width, kernel, expansion and input size of a network affect its robustness.

One supernet is trained, whose weights hold those of all sub-networks of a space (training.objective: {type: supernet}).
Then sub-networks are drawn and evaluated, and correlations are reported:

  python -m RobustART.training.cls_solver --config supernet.yaml
  robustart nas sample --space mobilenet_v3 --count 600 --seed 0 --macs 100M-600M -o subnets.jsonl
  robustart nas evaluate --config supernet.yaml --subnets subnets.jsonl --weights checkpoints/ckpt.pth.tar -o results
  robustart nas analyse results -o analysis.html

The spaces, resnet and mobilenet_v3, are our own design: those of the original were never published."""


def add(commands: Commands) -> None:
    """Adds ``nas`` and its commands to the command line."""
    nas = commands.add_parser(
        "nas", help="sub-networks of a supernet: draw, evaluate, analyse", description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    kinds = nas.add_subparsers(dest="nas", required=True, metavar="COMMAND")

    sample = kinds.add_parser("sample", help="write distinct sub-networks with their parameters and multiply-adds")
    source = sample.add_mutually_exclusive_group(required=True)
    source.add_argument("--space", metavar="NAME", help="resnet or mobilenet_v3, with the options of --set")
    source.add_argument("--config", metavar="FILE", help="take the space from the model of this config")
    sample.add_argument(
        "--set", dest="options", action="append", default=[], metavar="KEY=VALUE",
        help="an option of the space, such as num_classes=10 or widths=[0.8,1.0]; with --config a key of the config",
    )  # fmt: skip
    sample.add_argument(
        "--data", metavar="DIR", help="folder of all data, for paths in the config that begin with $ROBUSTART_DATA"
    )
    sample.add_argument("--count", type=int, required=True, metavar="N", help="how many")
    sample.add_argument("--seed", type=int, default=0, help="seed of the draws (default: 0)")
    sample.add_argument("--macs", default=None, metavar="LOW-HIGH", help="range of multiply-adds, such as 100M-600M")
    sample.add_argument("-o", "--output", required=True, metavar="FILE", help="the list, such as subnets.jsonl")
    sample.set_defaults(function=_sample)

    evaluate = kinds.add_parser(
        "evaluate", help="run the benchmarks of a config on every sub-network of a list; resumable",
        description="Runs the benchmarks of a config on every sub-network of a list, after measuring its BatchNorm "
        "statistics on training images, and writes one row for each: rows.jsonl, rows.csv. A run that was killed resumes. "
        "Under torchrun or srun the processes share the list.",
    )  # fmt: skip
    evaluate.add_argument(
        "--config", required=True, metavar="FILE", help="of the supernet, with a section 'evaluation'"
    )
    evaluate.add_argument("--subnets", required=True, metavar="FILE", help="the list that `robustart nas sample` wrote")
    evaluate.add_argument("--data", metavar="DIR", help="folder of all data (default: $ROBUSTART_DATA)")
    evaluate.add_argument("--weights", metavar="CKPT", help="of the supernet (default: what the config names)")
    evaluate.add_argument("-o", "--output", required=True, metavar="DIR", help="folder of the results")
    evaluate.add_argument(
        "--bn-images", type=int, metavar="N", help="training images for BatchNorm's statistics (default: 2000, or all)"
    )
    evaluate.add_argument(
        "--shard", default="0/1", metavar="I/N", help="only this part of the list, 0/2 and 1/2 are two"
    )
    evaluate.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE", help="lay a value over the config"
    )
    evaluate.add_argument("--quiet", action="store_true", help="do not report each sub-network")
    evaluate.set_defaults(function=_evaluate)

    analyse = kinds.add_parser(
        "analyse", help="correlations of depth, width and so on with each number, with intervals"
    )
    analyse.add_argument("results", metavar="DIR", help="folder of `robustart nas evaluate`")
    analyse.add_argument(
        "-o",
        "--output",
        action="append",
        default=[],
        metavar="FILE",
        help=".html, .md or .json; may be given many times",
    )
    analyse.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (default: 0)")
    analyse.set_defaults(function=_analyse)


def _config(path: str, overrides: list[str], data: str | None) -> tuple[Any, Path]:
    """Returns a config and its folder, from where the user's own modules can be imported."""
    from RobustART.training.cls_solver import read_config

    return read_config(Path(path), overrides, data)


def _sample(arguments: argparse.Namespace) -> None:
    import numpy as np

    from RobustART.nas import create_space
    from RobustART.nas.sampling import draw_subnets, parse_range, subnet_lines

    if arguments.config is None:
        space = create_space(arguments.space, read_options(arguments.options))
    else:
        from RobustART.nas.evaluation import space_of

        data = arguments.data or os.environ.get("ROBUSTART_DATA") or "."  # a space needs none
        space = space_of(_config(arguments.config, arguments.options, data)[0])
    macs = (0.0, np.inf) if arguments.macs is None else parse_range(arguments.macs)
    subnets = draw_subnets(space, arguments.count, seed=arguments.seed, macs=macs)
    stated = {"seed": arguments.seed, "macs": arguments.macs}
    write_whole(arguments.output, "".join(subnet_lines(space, subnets, stated)), unique=True)
    costs = sorted(subnet.cost.macs / 1e6 for subnet in subnets)
    ends, middle = f"{costs[0]:.4g}M to {costs[-1]:.4g}M", costs[len(costs) // 2]
    print(f"{arguments.output}: {len(subnets)} sub-networks of {ends} multiply-adds, median {middle:.4g}M")


def _evaluate(arguments: argparse.Namespace) -> None:
    from RobustART.core.distributed import read_placement
    from RobustART.nas.evaluation import evaluate_subnets, parse_shard

    config, folder = _config(arguments.config, arguments.overrides, arguments.data)
    placement = read_placement(os.environ)
    prefix = f"process {placement.rank}: " if placement.size > 1 else ""
    written = evaluate_subnets(
        config, folder, Path(arguments.subnets), Path(arguments.output), weights=arguments.weights,
        bn_images=arguments.bn_images, share=parse_shard(arguments.shard), placement=placement,
        report=lambda text: None if arguments.quiet else print(prefix + text, file=sys.stderr, flush=True),
    )  # fmt: skip
    if written:
        print(f"{prefix}Written: {', '.join(map(str, written))}")
    else:
        print(f"{prefix}This part is finished; the rows are written when all are")


def _analyse(arguments: argparse.Namespace) -> None:
    from RobustART.metrics.correlation import spearman
    from RobustART.nas.page import Analysis
    from RobustART.nas.rows import read_rows

    outputs = [Path(path) for path in arguments.output]
    for path in outputs:
        if path.suffix not in (".html", ".md", ".json"):
            raise ConfigError(f"-o takes a file ending in .html, .md or .json, got {path}")
    header, rows = read_rows(Path(arguments.results))
    analysis = Analysis.of(header, rows, functools.partial(spearman, seed=arguments.seed))
    for path in outputs:
        make = {".html": analysis.page, ".md": analysis.markdown, ".json": analysis.json}[path.suffix]
        write_whole(path, make(), unique=True)
    print(analysis.markdown(), end="")
