"""What numbers are called, what they mean, and which way is better."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

TITLES = {
    "top1": "top-1 accuracy (%)",
    "robust_accuracy": "robust accuracy (%)",
    "AR": "AR (%)",
    "WCAR": "WCAR (%)",
    "broken_by": "broken by (% of images)",
    "group_errors": "errors by group (%)",
    "corruption_errors": "errors by corruption (%)",
    "systems": "decoder/resize",
    "transfer_success": "transfer success (%), from source (rows) to target (columns)",
}
"""First words of the keys of tables, as headings."""
_PERCENTAGES = ("top1", "robust_accuracy", "AR", "WCAR", "broken_by", "transfer_success")
"""Tables that hold nothing but percentages."""

_LOWER = re.compile(
    r"(relative_)?m?CE(_\d+)?|.*error.*|std_.*|.*mFP|.*mFR|m?T5D.*|mean_T5D.*|m?zipf.*|mean_zipf.*|m(FP|FR).*|FP.*"
    r"|fpr.*|ece|.*calibration.*"
)
_PERCENTAGE = re.compile(
    r"top[15]( \(%\))?|(mean|worst|std)_top1"
    r"|clean_accuracy|mean[_ ]error(_15|_19|_of_these_cells)?|mFP(_of_these)?|FP \(%\)"
    r"|(chance_)?aupr|auroc|fpr95|rms_calibration_error|ece|aurra"
)
_DISTANCE = re.compile(r"mean_(T5D|zipf)(_of_these)?")
_RATIO = re.compile(r"m?CE(_\d+)?|m(FR|T5D)(_of_these)?|(mean_)?(T5D|zipf)(_of_these)?")
_HIGHER = re.compile(
    r"top[15].*|.*_top1|.*accuracy.*|aurra|aupr|auroc|W?C?AR\b.*|robust.*|agreement"
)  # fmt: skip

MEANINGS = {
    "top1": "Percentage of images whose true class is the first.",
    "top5": "Percentage of images whose true class is among the first five.",
    "clean_accuracy": "Percentage of images classified right without an attack.",
    "mCE": "ImageNet-C's official score: per corruption the error over AlexNet's error, then the mean over the 15 scored.",
    "relative_mCE": "What is lost against clean images over what AlexNet loses, mean over the 15 scored corruptions.",
    "mCE_19": "The same as mCE over all 19 corruptions.",
    "relative_mCE_19": "The same as relative_mCE over all 19 corruptions.",
    "mean_error_15": "Plain mean of top-1 error over the 15 scored corruptions and 5 severities.",
    "mean_error_19": "Plain mean of top-1 error over all 19 corruptions and 5 severities.",
    "mean_error": "Plain mean of top-1 error over all corruptions and severities that were run.",
    "mean_error_of_these_cells": "Plain mean of top-1 error over the corruptions and severities that were run.",
    "mean_top1": "Mean of top-1 accuracy over the decoders and resizes.",
    "std_top1": "Standard deviation of top-1 accuracy over the decoders and resizes.",
    "worst_top1": "Lowest top-1 accuracy over the decoders and resizes.",
    "mFP": "ImageNet-P: how often the prediction changes between frames (%), mean over the scored perturbations.",
    "mFR": "The flip probability over a baseline's.",
    "mean_T5D": "ImageNet-P: how far the top five places move.",
    "mean_zipf": "ImageNet-P: how far the whole ranking moves, the top weighted most.",
    "aupr": "ImageNet-O: area under precision and recall of finding unknown photos by low confidence.",
    "auroc": "ImageNet-O: area under the ROC curve of the same.",
    "fpr95": "ImageNet-O: false positives at the threshold that finds a share of the unknown photos nearest to 95 %.",
    "rms_calibration_error": "How far confidence is from accuracy, root mean square over bins of confidence.",
    "aurra": "Area under accuracy against response rate: whether the model is right where it is confident.",
    "AR": "Of the images right when clean, the percentage still right under the attack.",
    "WCAR": "Of the images right when clean, the percentage right under every attack of one radius.",
    "robust_accuracy": "Percentage of all images classified right under the attack.",
    "transfer_success": "Of the images that source and target classify right, the percentage that the target gets wrong "
    "when the source is attacked.",
    "ece": "Expected calibration error: how far confidence is from accuracy, mean over bins of confidence.",
    "group_errors": "mean error, CE (error over AlexNet's) and relative CE of each group of corruptions; lower is better.",
    "corruption_errors": "mean error, CE (error over AlexNet's) and relative CE of each corruption; lower is better.",
    "broken_by": "Which share of all images each stage of an attack broke.",
}
"""What the numbers mean; a longer name is explained by the longest of these that it begins with."""

COSTS = (
    "benchmark", "images", "of them timed", "wall time", "images a second", "forward passes", "backward passes",
)  # fmt: skip
"""Heads of :func:`costs`."""
UNTIMED = (
    "An image goes through all its views and attacks. Images that a run recorded before it was stopped are not timed. "
    "Passes are of single images: one for each view and model, and what attacks spent."
)
"""What a reader must know of them."""

HEADLINES = (
    "mCE", "mean_error_15", "mean_error", "mean_error_of_these_cells", "worst_top1", "mFR", "mFP", "mFP_of_these", "aupr",
    "top1",
)  # fmt: skip
"""Which number stands for a benchmark, the first that it has."""


def title(key: str) -> str:
    """Returns how a table is headed: the title of its key's first word, where there is one, after the rest of the key."""
    first, _, rest = key.partition(" ")
    if first not in TITLES:
        return key
    return f"{rest} {TITLES[first]}" if rest else TITLES[first]


def readable(name: str) -> str:
    """Returns a name with spaces for underscores."""
    return name.replace("_", " ")


def better(metric: str) -> str | None:
    """Returns ``high`` or ``low``, which way a number is better; None where that is not known."""
    if _LOWER.fullmatch(metric):
        return "low"
    return "high" if _HIGHER.fullmatch(metric) else None


def in_percent(metric: str) -> bool:
    """Returns whether a number of ours is in percent: all but the distances between rankings."""
    return not _DISTANCE.fullmatch(metric)


def bounds(metric: str) -> tuple[float, float]:
    """Returns the least and the largest value that a number of ours can have: percentages end at 100, ratios nowhere."""
    if _PERCENTAGE.fullmatch(metric):
        return 0.0, 100.0
    return 0.0 if _RATIO.fullmatch(metric) else -math.inf, math.inf


def table_bounds(key: str, column: str) -> tuple[float, float]:
    """Returns the same of a column of the table ``key``; what the table is of counts more than the column's name."""
    return (0.0, 100.0) if key.partition(" ")[0] in _PERCENTAGES else bounds(column)


def meaning(metric: str) -> str | None:
    """Returns what a number means in a sentence, or None."""
    known = [
        name for name in MEANINGS if metric == name or metric.startswith(f"{name}_") or metric.startswith(f"{name} ")
    ]
    return MEANINGS[max(known, key=len)] if known else None


def headline(metrics: Iterable[str]) -> str | None:
    """Returns which of a benchmark's metrics stands for it; None if it has none."""
    names = list(metrics)
    return next((name for name in HEADLINES if name in names), names[0] if names else None)


def columns(table: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns the columns of a table, in the order in which they first come."""
    return list(dict.fromkeys(column for row in table.values() for column in row))


def number(estimate: Mapping[str, Any] | None) -> str:
    """Returns a value as it is printed: two digits, ``undefined``, or nothing where there is no entry."""
    if estimate is None:
        return ""
    return "undefined" if estimate["value"] is None else f"{estimate['value']:.2f}"


def costs(report: Mapping[str, Any]) -> list[list[str]]:
    """Returns a line for each benchmark: name, and as texts its images, wall time, images a second and passes."""
    rows = []
    for name, entry in report["benchmarks"].items():
        timing = report["timing"]["benchmarks"][name]
        computed, images = timing["images_computed"], timing["images"]
        seconds, speed = f"{timing['wall_seconds']:,.1f} s", f"{timing['images_per_second']:,.1f}"
        rows.append([
            name, f"{images:,}", "all" if computed == images else f"{computed:,}",
            seconds if computed else "", speed if computed else "",
            f"{entry['cost']['forward']:,}", f"{entry['cost']['backward']:,}",
        ])  # fmt: skip
    return rows


def interval(estimate: Mapping[str, Any]) -> str:
    """Returns the 95 % interval as it is printed, or the reason why there is none."""
    if estimate["low"] is None:
        return str(estimate.get("reason", ""))
    return f"[{estimate['low']:.2f}, {estimate['high']:.2f}]"
