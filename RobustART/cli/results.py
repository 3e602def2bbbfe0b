"""The sub-commands of ``robustart`` on result files: ``score``, ``compare``, ``verify``."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from RobustART.core.files import Output, check_distinct, check_outputs, write_whole
from RobustART.errors import ConfigError, nearest

if TYPE_CHECKING:
    from RobustART.records.lines import Records


def _score(arguments: argparse.Namespace) -> None:
    from RobustART.metrics import Metric
    from RobustART.metrics.reading import model_of, read_result
    from RobustART.metrics.summaries import summarize

    baseline = _baseline(arguments)
    # What one folder has of one model is scored together: relative mCE is of two files.
    models: dict[tuple[Path, str], dict[str, tuple[str, Records]]] = {}
    for place in arguments.files:
        if not Path(place).is_file():
            raise ConfigError(f"there is no result file {place}")
        records = read_result(place)
        name = records.header["benchmark"]
        own = models.setdefault((Path(place).parent, json.dumps(model_of(records), sort_keys=True)), {})
        if name in own:
            raise ConfigError(f"{own[name][0]} and {place} are of one benchmark and model, in one folder")
        own[name] = (place, records)
    if baseline is not None and not any("imagenet_p" in own for own in models.values()):
        raise ConfigError("--baseline is for results of imagenet_p, of which there is none")
    for own in models.values():
        found = summarize({name: records for name, (_, records) in own.items()}, baseline=baseline)
        for name, (place, _) in own.items():
            summary = found[name]
            print(f"{place}\n{Metric(summary.flat('robust_accuracy', 'AR', 'WCAR', 'transfer_success'))}")
            for note in summary.notes:
                print(f"note: {note}")


def _baseline(arguments: argparse.Namespace) -> Records | None:
    """Returns the result that ``--baseline`` names."""
    from RobustART.metrics.reading import read_result

    if arguments.baseline is None:
        return None
    if not Path(arguments.baseline).is_file():
        raise ConfigError(f"there is no result file {arguments.baseline}, which --baseline names")
    records = read_result(arguments.baseline)
    if records.header["benchmark"] != "imagenet_p":
        benchmark = records.header["benchmark"]
        raise ConfigError(f"--baseline takes a result of imagenet_p, got {arguments.baseline}, which is of {benchmark}")
    return records


def _compare(arguments: argparse.Namespace) -> None:
    from RobustART.metrics.comparison import BEGINS, compare, dump
    from RobustART.metrics.runs import result_files

    outputs = [Path(path) for path in arguments.output]
    for path in outputs:
        if path.suffix not in BEGINS:
            raise ConfigError(f"-o takes a file ending in .json or .md, got {path}")
    if arguments.first < 0:
        raise ConfigError(f"--first must be a whole number from 0, got {arguments.first}")
    inputs = [file for place in arguments.runs for file in result_files(place)]
    check_outputs([Output("-o", path, "a comparison", BEGINS[path.suffix]) for path in outputs], inputs)
    comparison = compare(*arguments.runs)
    text = comparison.markdown(arguments.first)
    for path in outputs:
        write_whole(path, dump(comparison) if path.suffix == ".json" else text)
    print(text, end="")


def _verify(arguments: argparse.Namespace) -> int:
    from RobustART.metrics.runs import read_run, result_files
    from RobustART.verification import published
    from RobustART.verification.protocols import LISTS, read_list

    baseline = _baseline(arguments)
    if not arguments.run and (arguments.data or arguments.weights):
        raise ConfigError(
            "--data and --weights are for --run DIR, which evaluates models; name the folder for their results"
        )
    if arguments.claimed is not None and not arguments.runs:
        raise ConfigError("--as says whose weights runs are of; name the runs")
    files = [result_files(place) for place in arguments.runs]
    check_distinct(arguments.runs, files)
    listed = _pairs(arguments.list, "--list")
    for name in listed:
        if name not in LISTS:
            known = f"{nearest(name, LISTS) or ';'} Known: {', '.join(LISTS)}"
            raise ConfigError(f"no published number is of a list {name!r}{known}")
    lists = {name: read_list(place) for name, place in listed.items()}
    data, weights = _pairs(arguments.data, "--data"), _pairs(arguments.weights, "--weights")
    if arguments.output:
        checked = Output("-o", Path(arguments.output), "a list of checks", r'\[\s*\{\s*"what":')
        inputs: list[str | Path] = [*(file for own in files for file in own), *weights.values(), *listed.values()]
        inputs += [arguments.baseline] if arguments.baseline is not None else []
        check_outputs([checked], inputs)
    runs = [(read_run(place), arguments.claimed) for place in arguments.runs]
    reasons: dict[tuple[str, str], str] = {}
    if arguments.run:
        from RobustART.verification.models import run_models

        own, reasons = run_models(arguments.run, data, weights)
        runs += own
    checks = [*published.packaged_checks(), *published.check_runs(runs, reasons, None, lists, baseline)]
    if arguments.output:
        write_whole(
            arguments.output, json.dumps([dataclasses.asdict(c) for c in checks], indent=2, allow_nan=False) + "\n"
        )
    print(published.text(checks))
    return 1 if any(check.status == published.FAIL for check in checks) else 0


def _pairs(texts: Sequence[str], flag: str) -> dict[str, str]:
    """Returns ``NAME=VALUE`` texts as a mapping."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value or name in found:
            raise ConfigError(f"{flag} takes NAME=PLACE, each name once, got {text!r}")
        found[name] = value
    return found


def _add_baseline(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--baseline", metavar="FILE", help="AlexNet's result file of imagenet_p, over which mFR and mT5D are"
    )


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds ``score``, ``compare`` and ``verify`` to the command line."""
    score = commands.add_parser("score", help="compute the numbers of result files again, without a model")
    score.add_argument("files", nargs="+", metavar="FILE", help="results/<benchmark>.jsonl")
    _add_baseline(score)
    score.set_defaults(function=_score)

    compare = commands.add_parser(
        "compare", help="runs on the same images, image by image: differences, McNemar's test, what changed"
    )
    compare.add_argument(
        "runs", nargs="+", metavar="RUN", help="folder of a run, or a result file; each against the first"
    )
    compare.add_argument(
        "-o", "--output", action="append", default=[], metavar="FILE",
        help="write FILE.json (everything, with all images that changed) or FILE.md; may be given twice",
    )  # fmt: skip
    compare.add_argument(
        "--first", type=int, default=5, metavar="N", help="how many of the images that changed to name (default: 5)"
    )
    compare.set_defaults(function=_compare)

    verify = commands.add_parser(
        "verify", help="hold what is computed here against published numbers; exit status 1 if one fails",
        description="Published numbers, from published errors that come with the package, from result files of published "
        "weights, and, with --run, from such models themselves. What cannot be checked is listed with the reason.",
    )  # fmt: skip
    verify.add_argument(
        "runs", nargs="*", metavar="RUN", help="folder of a run, or a result file, of published weights"
    )
    verify.add_argument(
        "--as",
        dest="claimed",
        metavar="NAME",
        help="the published weights these runs are of, if their model's name is another",
    )
    verify.add_argument(
        "--run", metavar="DIR", help="evaluate the models whose weights and images are here; results go to DIR"
    )
    verify.add_argument(
        "--data", action="append", default=[], metavar="NAME=FOLDER",
        help="images for --run, such as imagenet=FOLDER (the validation set in class folders) or imagenet_c=FOLDER",
    )  # fmt: skip
    verify.add_argument(
        "--weights", action="append", default=[], metavar="MODEL=FILE",
        help="weights for --run, such as resnet50.tv_in1k=FILE, or =pretrained to download them",
    )  # fmt: skip
    verify.add_argument(
        "--list", action="append", default=[], metavar="NAME=FILE",
        help="images that published numbers are of, one file name a line: robustbench=imagenet_test_image_ids.txt, the "
        "5,000 of RobustBench; without it, numbers of that list are not checked",
    )  # fmt: skip
    _add_baseline(verify)
    verify.add_argument("-o", "--output", metavar="FILE", help="write the checks as JSON too")
    verify.set_defaults(function=_verify)
