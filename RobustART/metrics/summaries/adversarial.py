"""Numbers of adversarial noise."""

from __future__ import annotations

import numpy as np

from RobustART.metrics import estimates, functional
from RobustART.metrics.estimates import Estimate, Summary, Table
from RobustART.metrics.summaries.common import single_pass
from RobustART.options import attack_norm
from RobustART.records import PassRecords, Records

SQUARE_SHARE = 0.002
"""Share of images beyond which it is suspicious that Square was needed."""


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


def attack_warnings(records: Records) -> list[str]:
    """Returns what attacks found suspicious, with the number of images, and whether Square was needed.

    Square needs no gradient; if it breaks more than 0.2 % of the images after attacks with gradients, theirs may be masked
    (the rule of AutoAttack, Croce and Hein 2020, https://arxiv.org/abs/2003.01690).
    """
    warnings = []
    settings = records.header["conditions"].get("attacks", {})
    for number, table in enumerate(records.passes):
        found: dict[tuple[str, str], int] = {}
        for row in table.flags:
            for cell, flags in row.items():
                for name, meaning in flags.items():
                    found[cell, f"{name}: {meaning}"] = found.get((cell, f"{name}: {meaning}"), 0) + 1
        n = len(table.ids)
        warnings += [f"{cell}: {text} (noted with {count} of {n} images)" for (cell, text), count in found.items()]
        pairs = records.header["passes"][number].get("models", {})
        for column, cell in enumerate(table.cells if table.broken_by else ()):
            source, target = pairs.get(cell, (None, None))
            stages = settings.get(cell, {}).get("attacks") or ("apgd_ce", "square")
            if not cell.startswith("autoattack_") or source != target or set(stages) == {"square"}:
                continue
            by_square = sum(row[column] == "square" for row in table.broken_by or ())
            if by_square > SQUARE_SHARE * n:
                warnings.append(
                    f"{cell}: Square broke {by_square} of {n} images that attacks with gradients left standing; gradients "
                    "may be masked, and the true robustness may be lower still"
                )
    return warnings


def transfer(records: Records) -> Summary:
    """Returns transfer success rates, in one table per attack and radius from sources (rows) to targets (columns).

    The rate of a pair: among the images that source and target both classify right when clean, those that the target gets
    wrong after the attack on the source. The header tells the models of each cell; the one under evaluation is ``model``.
    """
    table = single_pass(records)
    pairs = records.header["passes"][0].get("models", {})
    attacked = records.header["conditions"].get("attacks", {})
    names = {cell: [name or "model" for name in pairs.get(cell, (None, None))] for cell in table.cells}
    clean = {
        names[cell][1]: table.correct[:, column] for column, cell in enumerate(table.cells) if cell not in attacked
    }
    tables: dict[str, Table] = {}
    for column, cell in enumerate(table.cells):
        if cell not in attacked:
            continue
        source, target = names[cell]
        both = clean[source] & clean[target]
        fooled = int((both & ~table.correct[:, column]).sum())
        rows = tables.setdefault(f"transfer_success {cell.partition(' ')[0]}", {})
        rows.setdefault(source, {})[target] = (
            estimates.proportion(fooled, int(both.sum()))
            if both.any()
            else Estimate(None, None, None, 0, f"no image is right for both {source} and {target}")
        )
    metrics = {f"clean_accuracy {name}": estimates.accuracy(right) for name, right in clean.items()}
    return Summary(metrics, tables)


def _ratio(clean: np.ndarray, attacked: np.ndarray) -> Estimate:
    try:
        return estimates.proportion(*functional.adversarial_robustness(clean, attacked))
    except functional.UndefinedError as error:
        return estimates.undefined(error, 0)
