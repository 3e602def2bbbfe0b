"""Signs in records that a number is not trustworthy, see :mod:`RobustART.core.signs`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from RobustART.core.signs import SIGNS
from RobustART.metrics.paired import mcnemar
from RobustART.metrics.results import Estimate, Summary
from RobustART.records.lines import Records
from RobustART.records.table import PassRecords

UNDER_EVALUATION = "model"
"""Name of the model under evaluation in the header's ``signs``."""
MORE, MORE_P = 0.03, 0.02
"""Share of all images by which a stronger attack may leave more than a weaker one, and p value of McNemar's test above
which that is chance. It starts elsewhere or takes other steps: on a digits network without a defence, MI-FGSM left up to
1.5 % of 397 images more than FGSM, and foolbox's PGD 3 of 40. On one with dropout, PGD left 21 of 40 images more. At least
7 images are needed."""
_ACROSS = 1.5
"""Length of all steps together, in units of eps, from which an iterative attack reaches what FGSM does, also from a random
start: that of the default steps."""
_NO_GRADIENTS = ("square", "hop_skip_jump_linf", "hop_skip_jump_l2")
_ONE_STEP, _ITERATIVE = "fgsm", ("pgd_linf", "mim_linf", "apgd_ce", "apgd_dlr", "apgd_t")

Found = dict[str, str]
"""Signs by name, with their numbers, such as how many images show them."""


def gradient_free(attack: str, settings: Mapping[str, Any]) -> bool:
    """Returns whether an attack, or a stage of it, needs no gradients.

    Args:
        attack: its name; one of a library is ``library.name``.
        settings: its options.
    """
    name = attack.rpartition(".")[2]
    if not name.startswith("autoattack_"):
        return name in _NO_GRADIENTS
    return settings.get("version") != "rand" and "square" in (settings.get("attacks") or _NO_GRADIENTS)


def answer_signs(records: Records) -> Found:
    """Returns the signs that concern all numbers of records: answers that depend on chance or on the batch.

    Answers that are averages (``repeats``) do not count as chance.
    """
    averaged = records.header["conditions"].get("repeats", 1) > 1
    return {
        name: text
        for flags in records.header.get("signs", {}).values()
        for name, text in flags.items()
        if name in SIGNS and SIGNS[name].reach == "answers" and not (averaged and name == "randomized")
    }


def model_warnings(records: Records) -> list[str]:
    """Returns the signs that models showed before the run and that concern a number, as warnings."""
    cells = [cell_signs(records, number) for number in range(len(records.passes))]
    concerned = answer_signs(records).keys() | {name for found in cells for signs in found.values() for name in signs}
    return [
        f"not trustworthy: {'the model' if model == UNDER_EVALUATION else f'the model {model}'}: {name}: {text}; "
        f"{SIGNS[name].advice}"
        for model, flags in records.header.get("signs", {}).items()
        for name, text in flags.items()
        if name in concerned
    ]


def cell_warnings(records: Records, number: int) -> Iterator[str]:
    """Yields a warning for each sign that attacks of a pass show, with the cells; those of the model are not repeated."""
    cells: dict[str, list[str]] = {}
    found, attacked = cell_signs(records, number), list(_attacked(records, number))
    for name, signs in found.items():
        for sign, numbers in signs.items():
            if numbers:
                cells.setdefault(sign, []).append(f"{name} ({numbers})")
    for numbers, concerned in _probes(records, number, attacked):
        if all(cell.name == _ONE_STEP for cell in concerned):
            names = ", ".join(cell.cell for cell in concerned)
            yield f"{names}: Square breaks {numbers}: one step leaves such images of any network; add an iterative attack"
    for cell, before in _rises(attacked):
        if cell.name == _ONE_STEP and "radius" not in found.get(cell.cell, {}):
            yield (
                f"{cell.cell} leaves {cell.left} images, the radius {before.place['radius']} {before.left}: FGSM is not "
                "monotone, because its one step may overshoot"
            )
    for sign, shown in cells.items():
        yield f"not trustworthy: {', '.join(shown)}: {sign}: {SIGNS[sign].meaning}; {SIGNS[sign].advice}"


@dataclasses.dataclass(frozen=True)
class _Attacked:
    """A cell with an attack."""

    cell: str
    column: int
    place: Mapping[str, Any]
    victim: str
    judge: str
    settings: Mapping[str, Any]
    left: int
    """Images that the judge classifies correctly."""
    paid: int
    """Column that has the costs of the attack, which other cells may share."""
    gradients: bool
    """Whether the attack took gradients."""

    @property
    def name(self) -> str:
        """Name of the attack without a library's."""
        return str(self.place["attack"]).rpartition(".")[2]

    @property
    def blind(self) -> bool:
        """Whether the number rests on gradients alone."""
        return self.gradients and not gradient_free(self.place["attack"], self.settings)


def _stated(records: Records, number: int) -> Mapping[str, Any]:
    """Returns the header's entry of a pass; records that no file has may lack it."""
    return dict(enumerate(records.header.get("passes", ()))).get(number, {})


def _attacked(records: Records, number: int) -> Iterator[_Attacked]:
    table, info = records.passes[number], _stated(records, number)
    settings = records.header["conditions"].get("attacks", {})
    first: dict[tuple[Any, ...], int] = {}
    for column, (cell, place) in enumerate(zip(table.cells, table.coordinates, strict=True)):
        if table.backward is None or "attack" not in place or "eps" not in place:
            continue
        pair = info.get("models", {}).get(cell, [None, None])
        victim, judge = (name or UNDER_EVALUATION for name in pair)
        paid = first.setdefault((place["attack"], place["eps"], victim), column)
        left = int(table.correct[:, column].sum())
        gradients = bool(table.backward[:, paid].any())
        yield _Attacked(cell, column, place, victim, judge, settings.get(cell, {}), left, paid, gradients)


def cell_signs(records: Records, number: int = 0) -> dict[str, Found]:
    """Returns the signs of each attacked cell of a pass; cells without signs are left out.

    Signs of gradients do not concern an attack that took none. No sign concerns an attack that left no image: its number is
    exact.
    """
    table = records.passes[number]
    cells = list(_attacked(records, number))
    found: dict[str, Found] = {
        cell.cell: {**_image_signs(table, cell), **_model_signs(records, cell)} for cell in cells
    }
    for sign, numbers, tainted in (
        *_more_steps(cells, table),
        *_rising(cells, table),
        *_probed(records, number, cells),
    ):
        for cell in tainted:
            found[cell.cell].setdefault(sign, numbers)
    left = {cell.cell: cell.left for cell in cells}
    return {cell: signs for cell, signs in found.items() if signs and left[cell]}


def _model_signs(records: Records, cell: _Attacked) -> Found:
    """Returns the signs of the attacked model, without those that the attack has an answer to.

    An average of several gradients answers chance, and a replacement of the gradient its faults.
    """
    options = [cell.settings, *cell.settings.get("stage_options", {}).values()]
    average = any(own.get(key, 1) > 1 for own in options for key in ("samples", "eot_iter"))
    steady = average or cell.settings.get("version") == "rand" or not cell.gradients
    own_gradient = cell.gradients and not any(own.get("backward") for own in options)
    flags = records.header.get("signs", {}).get(cell.victim, {})
    return {
        name: ""
        for name in flags
        if name in SIGNS
        and (
            SIGNS[name].reach == "attacks"
            or (SIGNS[name].reach == "gradients" and own_gradient)
            or (name == "randomized" and not steady)
        )
    }


def _image_signs(table: PassRecords, cell: _Attacked) -> Found:
    """Returns the signs that more of the attacked images show than they may."""
    assert table.forward is not None
    assert table.backward is not None
    attacked = int(((table.forward + table.backward)[:, cell.paid] > 0).sum())
    counts: dict[str, int] = {}
    for row in table.flags:
        for name in row.get(cell.cell, {}):
            counts[name] = counts.get(name, 0) + 1
    return {
        name: f"{count} of {attacked} attacked images"
        for name, count in counts.items()
        if name in SIGNS and count > SIGNS[name].share * attacked
    }


def _clearly_more(table: PassRecords, one: _Attacked, other: _Attacked) -> bool:
    """Returns whether an attack leaves more images than another one, by more than chance."""
    more = one.left - other.left > MORE * len(table.ids)
    return more and mcnemar(table.correct[:, one.column], table.correct[:, other.column]) <= MORE_P


def _crosses(cell: _Attacked) -> bool:
    """Returns whether the steps of an iterative attack cross the ball; one that cannot may well leave more than FGSM."""
    if cell.settings.get("upstream_step"):
        return False
    eps = float(cell.place["eps"])
    step = cell.settings.get("step_size", cell.settings.get("rel_stepsize", _ACROSS) * eps)
    return bool(step * cell.settings.get("steps", 1) >= _ACROSS * eps * (1 - 1e-9))


def _more_steps(cells: list[_Attacked], table: PassRecords) -> Iterator[tuple[str, str, list[_Attacked]]]:
    for one in cells:
        if one.name != _ONE_STEP or one.judge != one.victim:
            continue
        same = [
            c for c in cells
            if (c.victim, c.judge, c.place["norm"], c.place["eps"])
            == (one.victim, one.judge, one.place["norm"], one.place["eps"])
        ]  # fmt: skip
        for more in same:
            if more.name in _ITERATIVE and _crosses(more) and _clearly_more(table, more, one):
                numbers = f"{more.cell} leaves {more.left}, {one.cell} {one.left} images"
                yield "more_steps", numbers, [c for c in same if c.blind]


def _rising(cells: list[_Attacked], table: PassRecords) -> Iterator[tuple[str, str, list[_Attacked]]]:
    for cell, before in _rises(cells):
        if _clearly_more(table, cell, before):
            yield "radius", f"{cell.left} images, {before.place['radius']} leaves {before.left}", [cell]


def _rises(cells: list[_Attacked]) -> Iterator[tuple[_Attacked, _Attacked]]:
    """Yields the cells that leave more images than a smaller radius of their attack, with the one that leaves fewest."""
    rows: dict[tuple[str, str, str], list[_Attacked]] = {}
    for cell in cells:
        if cell.judge == cell.victim:
            rows.setdefault((cell.place["attack"], cell.place["norm"], cell.victim), []).append(cell)
    for row in rows.values():
        row.sort(key=lambda cell: float(cell.place["eps"]))
        for i, cell in enumerate(row):
            before = min(row[: i + 1], key=lambda cell: cell.left)
            if cell.left > before.left:
                yield cell, before


def _probes(records: Records, number: int, cells: list[_Attacked]) -> Iterator[tuple[str, list[_Attacked]]]:
    """Yields for each probe that broke images how many, and the cells that it concerns."""
    for name, names in _stated(records, number).get("probes", {}).items():
        tried = [row[name] for row in records.passes[number].probes if name in row]
        broken = sum(row["broken"] for row in tried)
        if broken:
            yield f"{broken} of {len(tried)} that were tried", [c for c in cells if c.cell in names and c.blind]


def _probed(records: Records, number: int, cells: list[_Attacked]) -> Iterator[tuple[str, str, list[_Attacked]]]:
    for numbers, concerned in _probes(records, number, cells):
        if any(cell.name != _ONE_STEP for cell in concerned):  # one step leaves such images of any network
            yield "gradient_free", numbers, concerned


def doubted(estimate: Estimate, signs: Mapping[str, str]) -> Estimate:
    """Returns an estimate with signs beside those that it has."""
    words = (*estimate.doubts, *(SIGNS[name].words for name in signs))
    return dataclasses.replace(estimate, doubts=tuple(dict.fromkeys(words)))


def doubted_summary(summary: Summary, signs: Mapping[str, str]) -> Summary:
    """Returns a summary whose numbers all have signs beside those that they have."""
    if not signs:
        return summary
    metrics = {name: doubted(estimate, signs) for name, estimate in summary.metrics.items()}
    tables = {
        title: {row: {column: doubted(e, signs) for column, e in line.items()} for row, line in table.items()}
        for title, table in summary.tables.items()
    }
    return Summary(metrics, tables, summary.notes)


def settled(estimate: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns an estimate of a report as it may represent a benchmark: without its value, if it is not trustworthy.

    The reason then has the signs and the number.
    """
    doubts = estimate.get("not_trustworthy")
    if not doubts or estimate["value"] is None:
        return estimate
    reason = f"{', '.join(doubts)}; the number was {estimate['value']:.2f}"
    return {**estimate, "value": None, "low": None, "high": None, "reason": reason}
