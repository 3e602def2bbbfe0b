"""Adversarial noise: white-box attacks on the model under evaluation."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from RobustART.benchmarks.attack_cells import (
    BoundAttack,
    attack_coordinates,
    bound_attacks,
    is_attack,
    one_spelling,
)
from RobustART.benchmarks.building import Benchmark, Cell, Pass, Probe, clean_view
from RobustART.benchmarks.options import AttackEntry, Radii
from RobustART.errors import ConfigError
from RobustART.metrics.reading import check_coordinates, single_pass
from RobustART.metrics.results import Summary
from RobustART.metrics.robustness import Attacked, broken_by_stage, robustness
from RobustART.metrics.spec import (
    Axis,
    BenchmarkSpec,
    Entry,
    Headline,
    MetricSpec,
    PlainEstimate,
    TableSpec,
    add_benchmark,
)
from RobustART.metrics.trust import QUERIES, cell_signs, gradient_free
from RobustART.records.lines import CLEAN, Records

if TYPE_CHECKING:
    from RobustART.data import ImageDataset

NAME = "adversarial"
CLEAN_ACCURACY = MetricSpec("clean_accuracy", "Percentage of images classified correctly without an attack.", "high")
ROBUST = MetricSpec("robust_accuracy", "Percentage of all images classified correctly under the attack.", "high")
AR = MetricSpec(
    "AR", "Of the images classified correctly when clean, the percentage still correct under the attack.", "high"
)
WCAR = MetricSpec(
    "WCAR",
    "Of the images classified correctly when clean, the percentage correct under every attack of one radius.",
    "high",
)
SHARE = MetricSpec("share", "Percentage of images.")
TABLES = (
    TableSpec(
        "robust_accuracy", "robust accuracy (%)", ROBUST, ROBUST.meaning, rows="attack", heat=True, board=True,
        listed=("*",), naming="{row} {column}",
    ),
    TableSpec("AR", "AR (%)", AR, AR.meaning, rows="attack", heat=True, board=True),
    TableSpec("WCAR", "WCAR (%)", WCAR, WCAR.meaning, rows="attack", heat=True, board=True),
    TableSpec(
        "broken_by", "broken by (% of images)", SHARE, "Percentage of all images that each stage of an attack broke.",
        rows="attack",
    ),
)  # fmt: skip


def build(
    dataset: ImageDataset,
    *,
    attacks: Sequence[AttackEntry] = ("fgsm", "pgd_linf", "autoattack_linf"),
    eps: Radii = None,
    stop: Literal["first"] | None = "first",
) -> Benchmark:
    """Returns white-box attacks on the true label.

    Args:
        dataset: clean images.
        attacks: names in ``ATTACKS``, or ``{name: {option: value}}`` for an attack with options; the option
            ``backend: foolbox``, ``torchattacks`` or ``autoattack`` runs that library's implementation. Where all attacks
            of a norm and radius need gradients, Square tries up to 64 of the images that they left, with 200 queries.
        eps: radii for all attacks, or a mapping from norm (``Linf``, ``L2``, ``L1``) or attack to radii. By default a norm
            has the benchmark's three radii: 0.5/255, 2/255, 8/255; 0.5, 2, 8; 100, 400, 1600.
        stop: ``first`` ends the attack on an image when it succeeds; null runs all steps, as in figures of papers.
    """
    bound = bound_attacks(NAME, attacks, eps, stop)
    cells = [Cell(CLEAN, clean_view)]
    cells += [Cell(one.name, clean_view, one.coordinates, one.attack, view_key=CLEAN) for one in bound]
    return Benchmark(SPEC, (Pass(dataset, tuple(cells), probes=tuple(_probes(bound))),), one_spelling(attacks, eps))


def _probes(bound: Sequence[BoundAttack]) -> Iterator[Probe]:
    """Yields Square with few queries for each norm and radius at which all attacks need gradients."""
    from RobustART.noise.attacks import ATTACKS

    groups: dict[tuple[str, str, float], list[BoundAttack]] = {}
    for one in bound:
        groups.setdefault((one.coordinates["norm"], one.coordinates["radius"], one.coordinates["eps"]), []).append(one)
    for (norm, radius, eps), group in groups.items():
        if eps > 0 and not any(gradient_free(one.coordinates["attack"], one.attack.keywords) for one in group):
            attack = functools.partial(ATTACKS["square"], eps=eps, norm=norm, steps=QUERIES)
            yield Probe(f"square {norm} {radius}", tuple(one.name for one in group), attack)


def coordinates(cell: str) -> dict[str, Any]:
    """Returns the coordinates of a cell named ``clean`` or ``attack/radius``; they are empty if it is neither."""
    try:
        return {} if cell == CLEAN else attack_coordinates(cell)
    except ConfigError:
        return {}


def check(records: Records, place: str) -> None:
    """Raises a RecordError unless the cells are ``clean`` and otherwise of an attack and a radius."""
    table = single_pass(records, place)
    table.cell(CLEAN)

    def point(cell: str, found: Mapping[str, Any]) -> tuple[str, ...] | None:
        return (CLEAN,) if cell == CLEAN else (found["attack"], found["radius"]) if is_attack(found) else None

    check_coordinates(table, place, point, f"{CLEAN!r} and attack/radius, such as 'fgsm/8/255'")


def summarize(records: Records) -> Summary:
    """Returns robust accuracy, AR and WCAR, see :func:`~RobustART.metrics.robustness.robustness`."""
    table = single_pass(records)
    settings = records.header["conditions"].get("attacks", {})
    found, attacked, signs = cell_signs(records), {}, {}
    for column, (cell, place) in enumerate(zip(table.cells, table.coordinates, strict=True)):
        if cell != CLEAN:
            norm = settings.get(cell, {}).get("norm") or place["norm"]
            which = Attacked(place["attack"], place["radius"], norm)
            attacked[which], signs[which] = table.correct[:, column], found.get(cell, {})
    summary = robustness(table.correct[:, table.cell(CLEAN)], attacked, signs)
    stages = broken_by_stage(table)
    return Summary(summary.metrics, {**summary.tables, **({"broken_by": stages} if stages else {})})


def depends_on(metric: str) -> tuple[str, ...] | None:
    """Returns the cells that a number depends on; ``attack radius`` and ``AR/attack/radius`` depend on one, WCAR on all."""
    if metric == CLEAN_ACCURACY.name:
        return ()
    table, _, cell = metric.partition("/")
    if table == AR.name:
        return (cell,)
    return (metric.replace(" ", "/", 1),) if table != WCAR.name and " " in metric else None


def strongest(entry: Entry) -> list[tuple[str, str, str, PlainEstimate]]:
    """Returns (norm, radius, attack, robust accuracy) of the strongest attack at each radius, by norm in ascending order.

    Args:
        entry: entry of this benchmark in ``report.json``.
    """
    found: dict[str, dict[tuple[float, str], list[tuple[str, PlainEstimate]]]] = {}
    for attack, row in entry["tables"].get(ROBUST.name, {}).items():
        for radius, estimate in row.items():
            place = entry["cells"].get(f"{attack}/{radius}", {})
            if estimate["value"] is not None and is_attack(place):
                by_radius = found.setdefault(place["norm"], {})
                by_radius.setdefault((float(place["eps"]), radius), []).append((attack, estimate))
    return [
        (norm, radius[1], *min(by_radius[radius], key=lambda pair: float(pair[1]["value"])))
        for norm, by_radius in found.items()
        for radius in sorted(by_radius)
    ]


def _middle(entry: Entry) -> Iterator[tuple[str, str, str, PlainEstimate]]:
    """Yields for each norm the entry of :func:`strongest` at the middle radius."""
    by_norm: dict[str, list[tuple[str, str, str, PlainEstimate]]] = {}
    for row in strongest(entry):
        by_norm.setdefault(row[0], []).append(row)
    for rows in by_norm.values():
        yield rows[(len(rows) - 1) // 2]


def _axes(entry: Entry) -> Iterator[Axis]:
    for norm, radius, attack, estimate in _middle(entry):
        what = f"robust accuracy under {attack}, the strongest attack of that norm and radius"
        yield Axis(f"{norm} {radius}", what, estimate)


def _further(entry: Entry) -> Iterator[Headline]:
    for norm, radius, attack, estimate in strongest(entry):
        yield Headline(f"{ROBUST.name} {norm} {radius} ({attack})", estimate, ROBUST)


def _headlines(entry: Entry) -> Iterator[Headline]:
    for norm, radius, _, estimate in _middle(entry):
        yield Headline(f"robust accuracy, {norm} {radius}", estimate, ROBUST)


SPEC = add_benchmark(
    BenchmarkSpec(
        NAME, build, summarize, (CLEAN_ACCURACY,), title="attacks", noise="adversarial", tables=TABLES, check=check,
        coordinates=coordinates, axes=_axes, headlines=_headlines, further=_further, section="attacks",
        depends_on=depends_on,
        overview_note="Robust accuracy is that under the strongest attack of each norm and radius, named in parentheses.",
        evaluator="AdvRobustEvaluator or WorstCaseAdvRobustEvaluator",
    ),
)  # fmt: skip
