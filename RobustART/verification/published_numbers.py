"""Published numbers with their sources, and checks of results against them: ``robustart verify``.

The tables are package data: ``published_models.csv`` (in each row one number of a model on a benchmark),
``published_protocols.csv`` (the conditions that such a number requires of a result, with their source), and errors of each
corruption, from which ImageNet-C's scores are computed without images. A result passes or fails only if it meets all
conditions; otherwise the check is skipped with the reason.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any

from RobustART.errors import ConfigError, UserError, nearest
from RobustART.metrics.baselines import ALEXNET_CLEAN_ERROR, alexnet_corruption_errors
from RobustART.metrics.corruption import (
    SCORED,
    corruption_errors,
    mean_corruption_error,
    relative_mean_corruption_error,
)
from RobustART.metrics.runs import Run
from RobustART.metrics.spec import BENCHMARKS, summarize
from RobustART.records.lines import Records
from RobustART.verification.protocols import Lists, assumed, unmet

PASS, FAIL, SKIPPED = "pass", "FAIL", "not checked"


@dataclasses.dataclass(frozen=True)
class Row:
    """One published number."""

    model: str
    """Name of the published weights: a timm name with its tag, or a name of RobustBench."""
    builder: str
    """Name for ``create_model``; empty if no supported library builds the model."""
    weights: str
    """Weights that an installed package contains, or empty."""
    benchmark: str
    """Name of the benchmark."""
    metric: str
    """Name of the number, as in :meth:`Summary.flat`."""
    value: float
    """Published value."""
    tolerance: float
    """Largest difference that other builds of the libraries may cause."""
    conditions: tuple[str, ...]
    """Conditions that a result must meet, see :mod:`RobustART.verification.protocols`."""
    data: str
    """Name of the data set, as ``robustart verify --data`` takes it, or empty."""
    source: str
    """Where the number is published."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One number compared with its published value."""

    what: str
    """Model, benchmark and metric of the number."""
    status: str
    """``pass``, ``FAIL`` or ``not checked``."""
    published: float | None
    """Published value, if any."""
    tolerance: float | None
    """Largest allowed difference."""
    source: str
    """Where the number is published."""
    value: float | None = None
    """Computed value, if any."""
    reason: str = ""
    """Why the number was not checked, or the result that it was computed from."""


def _table(name: str) -> list[dict[str, str]]:
    text = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


@functools.cache
def published_rows() -> tuple[Row, ...]:
    """Returns all published numbers of models."""
    protocols = {row["protocol"]: tuple(row["conditions"].split(";")) for row in _table("published_protocols.csv")}
    return tuple(
        Row(
            row["model"], row["builder"], row["weights"], row["benchmark"], row["metric"], float(row["value"]),
            float(row["tolerance"]),
            tuple(text for name in row["protocols"].split(";") for text in protocols[name]), row["data"], row["source"],
        )
        for row in _table("published_models.csv")
    )  # fmt: skip


def compared(
    what: str, compute: Callable[[], float], published: float, tolerance: float, source: str, reason: str = ""
) -> Check:
    """Returns a check of the value that ``compute`` returns; a UserError that it raises is a failure."""
    try:
        value = compute()
    except UserError as error:
        return Check(what, FAIL, published, tolerance, source, None, str(error))
    status = PASS if abs(value - published) <= tolerance + 1e-9 else FAIL
    return Check(what, status, published, tolerance, source, round(value, 10), reason)


def packaged_checks() -> list[Check]:
    """Returns the checks that need no images: ImageNet-C's metrics from published errors of AlexNet and ResNet-50."""
    alexnet = alexnet_corruption_errors()
    scored = {name: alexnet[name] for name in SCORED}
    official = "by the definition of mCE (Hendrycks and Dietterich 2019)"
    checks = [
        compared("AlexNet, mCE of its errors", lambda: mean_corruption_error(scored, alexnet), 100.0, 1e-9, official),
        compared(
            "AlexNet, relative mCE of its errors",
            lambda: relative_mean_corruption_error(scored, ALEXNET_CLEAN_ERROR, alexnet, ALEXNET_CLEAN_ERROR),
            100.0, 1e-9, official,
        ),
    ]  # fmt: skip
    easyrobust = "alibaba/easyrobust, benchmarks/ood/imagenet_c.py"
    for row in _table("alexnet_denominators.csv"):
        errors = alexnet[row["corruption"]]
        what = f"AlexNet, mean error of {row['corruption']}"
        checks.append(compared(what, functools.partial(_mean, errors), float(row["error"]), 1e-6, easyrobust))
    game = "torchvision's ResNet-50 V1; bethgelab/game-of-noise, Results/clean_results.txt"
    rows = _table("resnet50_imagenet_c.csv")
    means = {name: [_mean(errors)] for name, errors in alexnet.items()}
    own = {row["corruption"]: [1.0 - float(row["top1"]) / 100.0] for row in rows}
    for row in rows:
        name = row["corruption"]
        compute = functools.partial(_corruption_error, name, own[name], means)
        checks.append(compared(f"ResNet-50, CE of {name}", compute, float(row["CE"]), 0.02, game))
    checks.append(compared("ResNet-50, mCE", lambda: mean_corruption_error(own, means), 76.70, 0.005, game))
    mean = functools.partial(_mean, [float(row["top1"]) for row in rows])
    checks.append(compared("ResNet-50, mean top-1 over the corruptions", mean, 39.17, 0.005, game))
    return checks


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _corruption_error(name: str, errors: list[float], baseline: dict[str, list[float]]) -> float:
    return float(corruption_errors({name: errors}, baseline)[name])


def check_runs(
    runs: Sequence[tuple[Run, str | None]],
    reasons: Mapping[tuple[str, str], str] | None = None,
    rows: Sequence[Row] | None = None,
    lists: Lists | None = None,
    baseline: Records | None = None,
) -> list[Check]:
    """Returns the checks of runs against the published numbers, and a skipped check for each number without a run.

    Args:
        runs: runs, each with the name of its published weights; None if the model's name is that name.
        reasons: by (model, benchmark) the reason for a missing run.
        rows: published numbers; those of the package by default.
        lists: lists of images, by the names in :data:`~RobustART.verification.protocols.LISTS`.
        baseline: AlexNet's result on ``imagenet_p``, which normalises mFR and mT5D.

    Raises:
        ConfigError: there is no published number of the weights named.
    """
    table = published_rows() if rows is None else rows
    known = list(dict.fromkeys(row.model for row in table))
    checks = []
    for run, claimed in runs:
        if claimed is not None and claimed not in known:
            suggestion = nearest(claimed, known) or ";"
            raise ConfigError(f"there is no published number of {claimed!r}{suggestion} Known: {', '.join(known)}")
        source: str = next(iter(run.records.values())).header["conditions"]["model"]["source"]
        model = claimed or source.removeprefix("timm:")
        own = [row for row in table if row.model == model and row.benchmark in run.records]
        if not own:
            what = (
                "there is no published number of this model"
                if model not in known
                else "there is no published number of these benchmarks"
            )
            checks.append(
                Check(f"{run.place} ({source})", SKIPPED, None, None, "", None, f"{what}; --as NAME names its weights")
            )
        summaries = summarize({row.benchmark: run.records[row.benchmark] for row in own}, baseline=baseline)
        checks += [_check(row, run, summaries[row.benchmark].flat("").metrics, lists or {}, baseline) for row in own]
    done = {check.what for check in checks}
    for row in table:
        if _what(row) not in done:
            reason = (reasons or {}).get((row.model, row.benchmark), f"no run of it on {row.benchmark} was given")
            checks.append(_skipped(row, reason))
    return checks


def _what(row: Row) -> str:
    return f"{row.model}, {row.benchmark}, {row.metric}"


def _skipped(row: Row, reason: str) -> Check:
    return Check(_what(row), SKIPPED, row.value, row.tolerance, row.source, None, reason)


def _check(row: Row, run: Run, metrics: dict[str, Any], lists: Lists, baseline: Records | None) -> Check:
    records = run.records[row.benchmark]
    reason = unmet(row.conditions, records, row.metric, lists)
    if reason:
        return _skipped(row, f"{run.place} {reason}")
    spec = BENCHMARKS[row.benchmark]
    if spec.baseline and spec.metric(row.metric).unit == "ratio":
        if baseline is None:
            return _skipped(row, f"{run.place} has no {row.metric}; it needs AlexNet's result, --baseline FILE")
        reason = unmet(row.conditions, baseline, row.metric, lists)
        if reason:
            return _skipped(row, f"the baseline {reason}")
    if row.metric not in metrics:
        return _skipped(row, f"{run.place} has no {row.metric}")
    estimate = metrics[row.metric]
    if estimate.value is None:
        return _skipped(row, f"{run.place}: {estimate.reason}")
    check = compared(_what(row), lambda: estimate.value, row.value, row.tolerance, row.source, run.place)
    if check.status == FAIL and assumed(row.conditions):
        return dataclasses.replace(
            check, reason=f"{check.reason}, if {assumed(row.conditions)}, which no result file states"
        )
    return check


def text(checks: Sequence[Check]) -> str:
    """Returns the checks as lines for a terminal, failures last, followed by their counts."""
    order = (SKIPPED, PASS, FAIL)
    lines = []
    for check in sorted(checks, key=lambda check: order.index(check.status)):
        parts = [f"{check.status:11}  {check.what}"]
        if check.value is not None:
            parts.append(f"{check.value:.4f}")
        if check.published is not None:
            parts.append(f"published {check.published:g} +- {check.tolerance:g} ({check.source})")
        lines.append("; ".join([*parts, *filter(None, [check.reason])]))
    counts = ", ".join(f"{sum(c.status == status for c in checks)} {status}" for status in reversed(order))
    return "\n".join([*lines, counts])
