"""Numbers of adversarial noise: robust accuracy, AR and WCAR; cost and warnings of attacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from RobustART.core.options import parse_number
from RobustART.core.signs import SIGNS
from RobustART.metrics import estimates
from RobustART.metrics.results import Summary, Table
from RobustART.metrics.trust import cell_warnings, doubted
from RobustART.records.lines import CLEAN, Records
from RobustART.records.table import PassRecords

SQUARE_SHARE = 0.002
"""Share of images broken by Square above which a warning is given."""


class Attacked(NamedTuple):
    """One attack at one radius."""

    attack: str
    """Name of the attack."""
    eps: str
    """Its radius as written, such as ``8/255``."""
    norm: str
    """Norm of the radius: ``Linf``, ``L2`` or ``L1``."""


def robustness(
    clean: NDArray[np.bool_],
    attacked: Mapping[Attacked, NDArray[np.bool_]],
    signs: Mapping[Attacked, Mapping[str, str]] | None = None,
) -> Summary:
    """Returns clean accuracy, robust accuracy, AR and WCAR in percent.

    * Robust accuracy: percentage of all images that are classified correctly under the attack.
    * AR (adversarial robustness): percentage of the images correct when clean that are still correct under the attack.
    * WCAR (worst-case AR): the same under every attack of one radius; and, if all norms have the same number of radii,
      under every attack of one magnitude.

    Args:
        clean: whether each clean image is classified correctly, (N,).
        attacked: for each attack, whether each attacked image is, (N,).
        signs: for attacks whose numbers are not trustworthy, the signs. WCAR has the signs of its attacks if all have some.
    """
    robust: Table = {}
    pairs, doubts = {}, {}
    for which, right in attacked.items():
        own = (signs or {}).get(which, {})
        robust.setdefault(which.attack, {})[which.eps] = doubted(estimates.accuracy(right), own)
        pairs["AR", which.attack, which.eps] = (right, clean)
        doubts["AR", which.attack, which.eps] = own
    for (row, column), group in _worst_groups(list(attacked)).items():
        each = [(signs or {}).get(which, {}) for which in group]
        doubts["WCAR", row, column] = {name: text for own in each for name, text in own.items() if all(each)}
        pairs["WCAR", row, column] = (np.all([attacked[which] for which in group], axis=0), clean)
    tables: dict[str, Table] = {"robust_accuracy": robust}
    reason = "adversarial robustness is undefined: no image is classified right when clean"
    for (title, row, column), estimate in estimates.ratios(pairs, reason).items():
        tables.setdefault(title, {}).setdefault(row, {})[column] = doubted(estimate, doubts[title, row, column])
    return Summary({"clean_accuracy": estimates.accuracy(clean)}, tables)


def _worst_groups(attacked: list[Attacked]) -> dict[tuple[str, str], list[Attacked]]:
    """Returns the groups of attacks over which WCAR is taken, by row and column of its table.

    Attacks of one norm and radius form a group. If several norms have the same number of radii, the smallest radius of each
    forms a group across norms, and so on up to the largest: the benchmark's small, middle and large magnitudes.
    """
    by_radius: dict[str, dict[str, list[Attacked]]] = {}
    for which in attacked:
        by_radius.setdefault(which.norm, {}).setdefault(which.eps, []).append(which)
    groups = {}
    for norm, by_eps in by_radius.items():
        for eps, group in by_eps.items():
            if len(group) > 1:
                groups[f"all {len(group)} {norm} attacks", eps] = group
    if len(by_radius) > 1 and len({len(radii) for radii in by_radius.values()}) == 1:
        ordered = [sorted(radii.items(), key=lambda item: parse_number(item[0])) for radii in by_radius.values()]
        for level in zip(*ordered, strict=True):
            group = [which for _, members in level for which in members]
            radii = " + ".join(f"{norm} {eps}" for norm, (eps, _) in zip(by_radius, level, strict=True))
            groups[f"all {len(group)} attacks", radii] = group
    return groups


def broken_by_stage(table: PassRecords) -> Table:
    """Returns, for attacks of several stages, the percentage of all images that each stage broke."""
    if table.broken_by is None:
        return {}
    rows: Table = {}
    for column, (cell, place) in enumerate(zip(table.cells, table.coordinates, strict=True)):
        verdicts = [row[column] for row in table.broken_by]
        stages = [stage for stage in dict.fromkeys(verdicts) if stage not in (None, CLEAN, place.get("attack"))]
        for stage in stages:
            rows.setdefault(cell, {})[str(stage)] = estimates.accuracy([verdict == stage for verdict in verdicts])
    return rows


def attack_costs(table: PassRecords) -> dict[str, dict[str, int]]:
    """Returns the number of forward and backward passes of each attacked cell and each probe, summed over images."""
    if table.forward is None or table.backward is None:
        return {}
    probes: dict[str, dict[str, int]] = {}
    for row in table.probes:
        for name, tried in row.items():
            probes.setdefault(name, {"forward": 0, "backward": 0})["forward"] += tried["forward"]
    forward, backward = table.forward.sum(axis=0).tolist(), table.backward.sum(axis=0).tolist()
    return {
        cell: {"forward": forward[i], "backward": backward[i]}
        for i, cell in enumerate(table.cells)
        if forward[i] or backward[i]
    } | probes


def attack_warnings(records: Records) -> list[str]:
    """Returns the warnings that attacks recorded, with their numbers of images, and those of masked gradients.

    Square needs no gradients. If it breaks more than 0.2 % of the images that gradient-based attacks did not, gradients may
    be masked (AutoAttack's rule, Croce and Hein 2020, https://arxiv.org/abs/2003.01690).
    """
    warnings: list[str] = []
    settings = records.header["conditions"].get("attacks", {})
    for number, table in enumerate(records.passes):
        warnings += cell_warnings(records, number)
        found: dict[tuple[str, str], int] = {}
        for row in table.flags:
            for cell, flags in row.items():
                for name, meaning in flags.items():
                    if name in SIGNS:
                        continue
                    found[cell, f"{name}: {meaning}"] = found.get((cell, f"{name}: {meaning}"), 0) + 1
        n = len(table.ids)
        warnings += [f"{cell}: {text} (for {count} of {n} images)" for (cell, text), count in found.items()]
        for column, (cell, place) in enumerate(zip(table.cells, table.coordinates, strict=True)):
            stages = settings.get(cell, {}).get("attacks") or ("apgd_ce", "square")
            white_box = str(place.get("attack")).startswith("autoattack_") and place.get("source") == place.get(
                "target"
            )
            if not table.broken_by or not white_box or set(stages) == {"square"}:
                continue
            by_square = sum(row[column] == "square" for row in table.broken_by or ())
            if by_square > SQUARE_SHARE * n:
                warnings.append(
                    f"{cell}: Square broke {by_square} of {n} images that gradient-based attacks did not; gradients may be "
                    "masked, and the true robustness may be lower"
                )
    return warnings
