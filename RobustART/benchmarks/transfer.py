"""Transfer attacks: adversarial images made on a source model, classified by every target model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from RobustART.benchmarks.adversarial import CLEAN_ACCURACY
from RobustART.benchmarks.attack_cells import attack_coordinates, bound_attacks, is_attack, one_spelling
from RobustART.benchmarks.building import Benchmark, Cell, Pass, clean_view
from RobustART.benchmarks.options import AttackEntry, Radii
from RobustART.core.model_section import ModelConfig
from RobustART.core.options import build as build_options
from RobustART.errors import ConfigError, RecordError
from RobustART.metrics import estimates
from RobustART.metrics.reading import check_coordinates, has, single_pass
from RobustART.metrics.results import Summary, Table
from RobustART.metrics.spec import BenchmarkSpec, Entry, Headline, MetricSpec, TableSpec, add_benchmark
from RobustART.metrics.trust import UNDER_EVALUATION, cell_signs, doubted
from RobustART.records.lines import CLEAN, Records
from RobustART.records.table import PassRecords

if TYPE_CHECKING:
    from RobustART.data import ImageDataset
    from RobustART.models import Classifier

NAME = "transfer"
SUCCESS = MetricSpec(
    "transfer_success",
    "Of the images that source and target classify correctly, the percentage that the target misclassifies when the "
    "source is attacked.",
)
TABLES = (
    TableSpec(
        "transfer_success", "transfer success (%), from source (rows) to target (columns)", SUCCESS, SUCCESS.meaning,
        rows="source", heat=True, board=True,
    ),
)  # fmt: skip


def build(
    dataset: ImageDataset,
    *,
    models: Mapping[str, Any],
    attacks: Sequence[AttackEntry] = ("fgsm",),
    eps: Radii = None,
    stop: Literal["first"] | None = None,
) -> Benchmark:
    """Returns transfer (black-box) attacks between all pairs of models: made on the source, classified by the target.

    Args:
        dataset: clean images.
        models: further models by name, each ``{type: ..., kwargs: ..., weights: ..., preprocessing: ...}`` as in the
            section ``model`` of a config (or an ``nn.Module``, in Python). Together with the model under evaluation, named
            ``model``, they are sources and targets. All receive the same crops.
        attacks: attacks as in the benchmark ``adversarial``; the original benchmark uses FGSM.
        eps: radii as in the benchmark ``adversarial``.
        stop: null runs all steps, since an image that barely fools its source seldom fools another model; ``first`` ends
            the attack on an image when it succeeds.
    """
    if not models:
        raise ConfigError(f"{NAME}.models must name at least one model")
    for name in models:
        if not isinstance(name, str) or not re.fullmatch(r"[\w.:+-]+", name) or name == UNDER_EVALUATION:
            raise ConfigError(
                f"a name in {NAME}.models must consist of letters, digits and _ . : + -, and not be {UNDER_EVALUATION!r}, "
                f"got {name!r}"
            )
    others: dict[str | None, Classifier] = {name: _other_model(name, spec) for name, spec in models.items()}
    names: list[str | None] = [None, *others]
    cells = [
        Cell(
            CLEAN if name is None else f"{CLEAN}@{name}", clean_view, {"target": name or UNDER_EVALUATION}, judge=name,
            view_key=CLEAN,
        )
        for name in names
    ]  # fmt: skip
    for source in names:
        for label, place, attack in bound_attacks(NAME, attacks, eps, stop):
            for target in names:
                pair = {"source": source or UNDER_EVALUATION, "target": target or UNDER_EVALUATION}
                name = f"{label} {pair['source']}>{pair['target']}"
                cells.append(
                    Cell(
                        name, clean_view, {**place, **pair}, attack, CLEAN, f"{label} {pair['source']}", victim=source,
                        judge=target,
                    )
                )  # fmt: skip
    # The location of weights is not a condition; their fingerprint is.
    plain = {
        name: {k: v for k, v in spec.items() if k != "weights"} if isinstance(spec, Mapping) else others[name].source
        for name, spec in models.items()
    }
    options = {"models": plain, **one_spelling(attacks, eps)}
    return Benchmark(SPEC, (Pass(dataset, tuple(cells)),), options, models=others)


def _other_model(name: str, spec: Any) -> Classifier:
    from torch import nn

    from RobustART.models import wrap_model
    from RobustART.models.section import build_section

    if isinstance(spec, nn.Module):
        return wrap_model(spec)
    section = build_options(ModelConfig, spec, f"{NAME}.models.{name}")
    return build_section(section, weights=section.weights)


def coordinates(cell: str) -> dict[str, Any]:
    """Returns the coordinates of a cell by its name: ``clean``, ``clean@target`` or ``attack/radius source>target``."""
    label, _, pair = cell.partition(" ")
    if not pair:
        return {"target": cell.partition("@")[2] or UNDER_EVALUATION}
    source, _, target = pair.partition(">")
    try:
        return {**attack_coordinates(label), "source": source, "target": target}
    except ConfigError:
        return {}


def _clean_columns(table: PassRecords) -> dict[str, int]:
    """Returns the index of each target's cell without an attack."""
    return {place["target"]: column for column, place in enumerate(table.coordinates) if "source" not in place}


def check(records: Records, place: str) -> None:
    """Raises a RecordError if a source or target has no cell without an attack, or a cell is invalid or duplicate."""
    table = single_pass(records, place)

    def point(cell: str, found: Mapping[str, Any]) -> tuple[str, ...] | None:
        if "source" not in found:
            return (found["target"],) if has(found, target=str) else None
        whole = has(found, source=str, target=str) and is_attack(found)
        return tuple(found[key] for key in ("attack", "radius", "source", "target")) if whole else None

    check_coordinates(table, place, point, "clean, clean@target and 'attack/radius source>target'")
    clean = _clean_columns(table)
    for cell, found in zip(table.cells, table.coordinates, strict=True):
        for model in (found["source"], found["target"]) if "source" in found else ():
            if model not in clean:
                raise RecordError(f"{place} has no cell without an attack for the model {model} of {cell!r}")


def summarize(records: Records) -> Summary:
    """Returns transfer success rates, in one table for each attack and radius, by source (rows) and target (columns).

    The rate of a pair is the percentage, of the images that source and target both classify correctly when clean, that the
    target misclassifies after the attack on the source.
    """
    table = single_pass(records)
    clean = {target: table.correct[:, column] for target, column in _clean_columns(table).items()}
    rates, signs, doubts = {}, cell_signs(records), {}
    for column, place in enumerate(table.coordinates):
        if "source" in place:
            source, target = place["source"], place["target"]
            title = f"{SUCCESS.name} {place['attack']}/{place['radius']}"
            both = clean[source] & clean[target]
            doubts[title, source, target] = signs.get(table.cells[column], {})
            rates[title, source, target] = (np.asarray(~table.correct[:, column]), both)
    tables: dict[str, Table] = {}
    found = estimates.ratios(rates, "no image is right for both source and target")
    for (title, source, target), estimate in found.items():
        estimate = doubted(estimate, doubts[title, source, target])
        tables.setdefault(title, {}).setdefault(source, {})[target] = estimate
    metrics = {f"{CLEAN_ACCURACY.name} {name}": estimates.accuracy(right) for name, right in clean.items()}
    return Summary(metrics, tables)


def _no_headline(entry: Entry) -> tuple[Headline, ...]:
    return ()  # the only metrics are clean accuracies, which do not represent transfer


SPEC = add_benchmark(
    BenchmarkSpec(
        NAME, build, summarize, (CLEAN_ACCURACY,), title="transfer attacks", noise="adversarial", tables=TABLES,
        check=check, coordinates=coordinates, headlines=_no_headline,
    ),
)  # fmt: skip
