"""Numbers of adversarial noise."""

from __future__ import annotations

import numpy as np

from RobustART.metrics import estimates, functional
from RobustART.metrics.estimates import Estimate, Summary, Table
from RobustART.metrics.summaries.common import single_pass
from RobustART.options import attack_norm
from RobustART.records import PassRecords, Records


def adversarial(records: Records) -> Summary:
    """Returns robust accuracy, AR and WCAR from a cell ``clean`` and cells named ``attack/eps``.

    * robust accuracy: images right under the attack, of all;
    * AR (adversarial robustness): of the images right when clean, those still right;
    * WCAR (worst-case AR) of one eps: of the images right when clean, those right under every attack of that eps.
    """
    table = single_pass(records)
    correct = table.correct
    clean = correct[:, table.cell("clean")]
    metrics: dict[str, Estimate] = {"clean_accuracy": estimates.accuracy(clean)}
    robust: Table = {}
    ratio: Table = {}
    by_eps: dict[str, list[int]] = {}
    settings = records.header["conditions"].get("attacks", {})
    for column, cell in enumerate(table.cells):
        if cell == "clean":
            continue
        attack, _, eps = cell.partition("/")
        norm = settings.get(cell, {}).get("norm") or attack_norm(attack)
        by_eps.setdefault(f"{norm} {eps}", []).append(column)
        robust.setdefault(attack, {})[eps] = estimates.accuracy(correct[:, column])
        ratio.setdefault(attack, {})[eps] = _ratio(clean, correct[:, column])
    worst: Table = {}
    for label, columns in by_eps.items():
        if len(columns) > 1:
            family, _, eps = label.partition(" ")
            name = f"all {len(columns)} {family} attacks"
            worst.setdefault(name, {})[eps] = _ratio(clean, correct[:, columns])
    tables = {"robust_accuracy": robust, "AR": ratio}
    if worst:
        tables["WCAR"] = worst
    stages = _stages(table)
    if stages:
        tables["broken_by"] = stages
    return Summary(metrics, tables)


def _stages(table: PassRecords) -> Table:
    """Returns, for attacks of several stages, which share of all images each stage broke."""
    if table.broken_by is None:
        return {}
    rows: Table = {}
    for column, cell in enumerate(table.cells):
        verdicts = [row[column] for row in table.broken_by]
        stages = [stage for stage in dict.fromkeys(verdicts) if stage not in (None, "clean", cell.partition("/")[0])]
        for stage in stages:
            rows.setdefault(cell, {})[str(stage)] = estimates.proportion(verdicts.count(stage), len(verdicts))
    return rows


def attack_costs(table: PassRecords) -> dict[str, dict[str, int]]:
    """Returns the forward and backward passes of each attacked cell, over all images."""
    if table.forward is None or table.backward is None:
        return {}
    forward, backward = table.forward.sum(axis=0).tolist(), table.backward.sum(axis=0).tolist()
    return {
        cell: {"forward": forward[i], "backward": backward[i]}
        for i, cell in enumerate(table.cells)
        if forward[i] or backward[i]
    }


def _ratio(clean: np.ndarray, attacked: np.ndarray) -> Estimate:
    try:
        return estimates.proportion(*functional.adversarial_robustness(clean, attacked))
    except functional.UndefinedError as error:
        return estimates.undefined(error, 0)
