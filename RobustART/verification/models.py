"""Evaluates the models of published numbers whose weights and images are available: ``robustart verify --run``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from RobustART.core.defaults import BATCH_SIZE
from RobustART.data import create_dataset
from RobustART.errors import ConfigError, DataError, WeightsError, nearest
from RobustART.evaluation.run import evaluate
from RobustART.metrics.runs import Run, read_run
from RobustART.models import create_model
from RobustART.verification.published_numbers import Row, published_rows

CLEAN_SETS = ("imagenet", "foolbox_photos")
"""Data sets of clean images; the others are benchmarks with a ``root_dir``."""


def run_models(
    output_dir: str | Path,
    data: Mapping[str, str],
    weights: Mapping[str, str],
    *,
    batch_size: int = BATCH_SIZE,
    rows: Sequence[Row] | None = None,
) -> tuple[list[tuple[Run, str | None]], dict[tuple[str, str], str]]:
    """Evaluates every model of the published numbers whose weights and images are available.

    Args:
        output_dir: folder of the results, with a subfolder for each model; existing results are not computed again.
        data: folders by name of the data set: ``imagenet`` (the validation set in class folders), ``imagenet_c``, ...
        weights: files, or ``pretrained``, by name of the model.
        batch_size: number of images in a forward pass.
        rows: published numbers; those of the package by default.

    Returns:
        The runs with the names of their models, and by (model, benchmark) the reason for each missing run.
    """
    table = published_rows() if rows is None else rows
    for given, known in ((data, {row.data for row in table if row.data}), (weights, {row.model for row in table})):
        for name in given:
            if name not in known:
                suggestion = nearest(name, known) or ";"
                raise ConfigError(
                    f"there is no published number of {name!r}{suggestion} Known: {', '.join(sorted(known))}"
                )
    places: dict[Path, str] = {}
    reasons = {}
    for (model, benchmark), row in {(row.model, row.benchmark): row for row in table}.items():
        try:
            reason = _reason(row, data, weights)
            if not reason:
                places[_evaluate(row, Path(output_dir), data, weights, batch_size)] = model
        except (DataError, WeightsError) as error:
            reason = str(error)
        if reason:
            reasons[model, benchmark] = reason
    return [(read_run(place), model) for place, model in places.items()], reasons


def _reason(row: Row, data: Mapping[str, str], weights: Mapping[str, str]) -> str:
    """Returns what is missing for a number, or an empty string."""
    if not row.builder:
        return "no supported library builds this model"
    if not row.weights and row.model not in weights:
        return f"its weights are missing (--weights {row.model}=FILE)"
    if row.data not in data and row.data != "foolbox_photos":
        return f"its images are missing (--data {row.data}=FOLDER)"
    return ""


def _evaluate(row: Row, output_dir: Path, data: Mapping[str, str], weights: Mapping[str, str], batch_size: int) -> Path:
    model = create_model(row.builder, weights=weights.get(row.model, row.weights))
    dataset = None
    options: dict[str, Any] = {}
    if row.data == "foolbox_photos":
        dataset = create_dataset("foolbox_photos")
    elif row.data in CLEAN_SETS:
        dataset = create_dataset(root_dir=data[row.data])
    else:
        options["root_dir"] = data[row.data]
    place = output_dir / row.model
    evaluate(model, dataset, {row.benchmark: options}, output_dir=place, batch_size=batch_size, workers=None)
    return place
