"""The sections of ``report.html`` that show numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from RobustART.benchmarks.corruption_groups import GROUPS
from RobustART.report import charts, heat, markup, plotting, terms
from RobustART.report.families import noise_families, norm_of, strongest
from RobustART.report.markup import element, text

Part = tuple[str, str, str]
"""Id, heading and HTML of a section."""
_ADVERSARIAL = ("robust_accuracy", "AR", "WCAR")
_ERRORS = ("group_errors", "corruption_errors")
ARROWS = {"high": "\N{UPWARDS ARROW}", "low": "\N{DOWNWARDS ARROW}"}


def direction(metric: str) -> str:
    """Returns an arrow that says which way a metric is better, in words too; nothing where that is not known."""
    way = terms.better(metric)
    if way is None:
        return ""
    return f' <span aria-hidden="true">{ARROWS[way]}</span><span class="spoken">{way}er is better</span>'


def key_numbers(report: Mapping[str, Any]) -> str:
    """Returns the number that stands for each benchmark, large."""
    items = []
    for name, entry in report["benchmarks"].items():
        metric = terms.headline(entry["metrics"])
        if name == "adversarial":
            found = [axis for axis in noise_families(report) if axis[1].startswith("robust accuracy")]
            shown = [(f"{name}: robust accuracy, {short}", estimate, "robust_accuracy") for short, _, estimate in found]
        else:
            of_a_model = metric is None or name == "transfer"  # its accuracy on clean images says nothing of transfer
            shown = [] if of_a_model else [(f"{name}: {metric}", entry["metrics"][str(metric)], str(metric))]
        for label, estimate, kind in shown:
            items.append(
                f"<div>{element('dt', text(label) + direction(kind))}"
                f"<dd>{element('span', text(terms.number(estimate)), class_='value')} "
                f"{element('span', text(terms.interval(estimate)), class_='interval')}</dd></div>"
            )
    return element("dl", "".join(items), class_="key-numbers") + "\n"


def summary(report: Mapping[str, Any]) -> Part:
    """Returns all headline numbers in one table, and what they mean."""
    rows = []
    known: dict[str, str] = {}
    for name, entry in report["benchmarks"].items():
        shown = list(entry["metrics"].items())
        if name == "adversarial":
            shown += [
                (f"robust_accuracy {norm} {radius} ({attack})", estimate)
                for norm, radius, attack, estimate in strongest(entry)
            ]
        for metric, estimate in shown:
            cells = [
                element("td", text(metric) + direction(metric)),
                element("td", text(terms.number(estimate)), class_="number value", data_value=estimate["value"]),
                element("td", text(terms.interval(estimate)), class_="number interval", data_value=estimate["low"]),
                markup.plain_cell(estimate["n"]),
                element("td", _bar(metric, estimate)),
            ]
            rows.append((name, cells))
            if (meaning := terms.meaning(metric)) is not None:
                known.setdefault(metric.partition(" ")[0], meaning)
    head = ["benchmark", "metric", "value", "95 % interval", "images", "0 to 100"]
    inner = markup.table(head, rows, "Headline numbers with 95 % intervals", sortable=True)
    meanings = "".join(f"{element('dt', text(metric))}{element('dd', text(line))}" for metric, line in known.items())
    if meanings:
        inner += f"<details><summary>What these numbers mean</summary><dl>{meanings}</dl></details>\n"
    if "adversarial" in report["benchmarks"]:
        inner += (
            "<p>Robust accuracy is that under the strongest attack of each norm and radius, named in brackets.</p>\n"
        )
    return "summary", "Summary", inner


def _bar(metric: str, estimate: Mapping[str, Any]) -> str:
    """Returns value and interval as a mark on a line from 0 to 100; nothing where they are not between."""
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if (
        value is None
        or not terms.in_percent(metric)
        or not all(0 <= end <= 100 for end in (value, low or 0, high or 0))
    ):
        return ""
    band = "" if low is None else f'<i style="left:{low:.1f}%;width:{high - low:.1f}%"></i>'
    return f'<span class="bar" aria-hidden="true">{band}<b style="left:{value:.1f}%"></b></span>'


def families(report: Mapping[str, Any]) -> Iterator[Part]:
    """Yields the radar, where there are three families or more."""
    axes = noise_families(report)
    if len(axes) < 3:
        return
    rows = [(name, [markup.plain_cell(what), markup.cell(estimate)]) for name, what, estimate in axes]
    caption = (
        "Accuracy by noise family, from 0 in the middle to 100: further out is more robust. Bars along the spokes are 95 % "
        "intervals."
    )
    inner = f'<div class="beside">{markup.figure([charts.radar([(name, e) for name, _, e in axes])], caption)}'
    inner += markup.table(["family", "what stands for it", "%"], rows, "The numbers of the radar") + "</div>\n"
    yield "families", "Noise families", inner


def adversarial(report: Mapping[str, Any]) -> Iterator[Part]:
    """Yields robust accuracy against the radius, with its tables, and where the images were broken."""
    entry = report["benchmarks"].get("adversarial")
    if entry is None:
        return
    norms = list(dict.fromkeys(norm_of(cell, entry["attacks"]) for cell in entry["attacks"]))
    plots = []
    for norm in norms:
        drawn = charts.curves(entry, norm, f"curves-{charts.slug(norm)}")
        if drawn is not None:
            plots.append(f'<div class="panel">{drawn[0]}{plotting.legend(drawn[1])}</div>')
    inner = ""
    if plots:
        caption = (
            "Robust accuracy against the radius, with 95 % bands; at radius 0 stands clean accuracy. The axis is linear up "
            "to the smallest radius and logarithmic from there."
        )
        inner += markup.figure(plots, caption)
    tables = "".join(
        heat.heat_map(part, f"{terms.title(key)}{of}: {terms.MEANINGS[key]}", first="attack")
        for key in _ADVERSARIAL
        for of, part in _by_norm(entry["tables"].get(key, {}), norms, entry["attacks"])
    )
    inner += f'<div class="plots">{tables}</div>\n{heat.scale()}'
    yield "adversarial", "Adversarial noise", inner
    drawn_stages = charts.stages(entry)
    if drawn_stages is not None:
        plot, parts, colours, rows = drawn_stages
        caption = (
            "Where the images were broken: which share of all images each stage of an attack was the first to break."
        )
        panel = f'<div class="panel">{plot}{plotting.legend(parts, boxes=colours)}</div>'
        inner = markup.figure([panel], caption) + markup.estimates(rows, "The same in numbers (% of images)", "attack")
        yield "stages", "Where attacks broke the images", inner


def _by_norm(
    table: Mapping[str, Any], norms: Sequence[str], attacks: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields the rows of each norm, whose radii cannot be compared; those of no one attack with what shares their radii."""
    rest = {row: cells for row, cells in table.items() if cells}
    for norm in norms if len(norms) > 1 else ():
        own = {
            row: cells for row, cells in table.items()
            if any(f"{row}/{radius}" in attacks and norm_of(f"{row}/{radius}", attacks) == norm for radius in cells)
        }  # fmt: skip
        rest = {row: cells for row, cells in rest.items() if row not in own}
        if own:
            yield f", {norm}", own
    while rest:
        radii = set(next(iter(rest.values())))
        own = {row: cells for row, cells in rest.items() if radii & set(cells)}
        rest = {row: cells for row, cells in rest.items() if row not in own}
        yield "", own


def natural(report: Mapping[str, Any]) -> Iterator[Part]:
    """Yields the heat map of each benchmark of corruptions and severities."""
    for name, entry in report["benchmarks"].items():
        table = entry["tables"].get("top1")
        if not table:
            continue
        severities = [column for column in terms.columns(table) if column.isdigit() or column == "mean"]
        caption = "Top-1 accuracy (%) by corruption and severity, with 95 % intervals"
        inner = heat.heat_map(table, caption, coloured=severities, first="corruption", groups=GROUPS)
        inner += heat.scale()
        errors = [key for key in _ERRORS if entry["tables"].get(key)]
        tables = [
            markup.estimates(entry["tables"][key], f"{terms.title(key)}: {terms.MEANINGS[key]}") for key in errors
        ]
        inner += f'<div class="plots">{"".join(tables)}</div>\n' if tables else ""
        yield f"corruptions-{charts.slug(name)}", f"Corruption by severity: {name}", inner


def system(report: Mapping[str, Any]) -> Iterator[Part]:
    """Yields the accuracy of each decoder and resize."""
    entry = report["benchmarks"].get("imagenet_s")
    table = None if entry is None else entry["tables"].get("systems")
    if not table:
        return
    column = terms.columns(table)[0]
    rows = [(row, cells[column]) for row, cells in table.items() if column in cells]
    inner = '<div class="beside">'
    if any(estimate["value"] is not None for _, estimate in rows):
        plot = charts.dots(
            "systems", rows, "Top-1 accuracy by decoder and resize; the numbers are in the table", column
        )
        inner += markup.figure([plot], "Top-1 accuracy by decoder and resize, with 95 % intervals.")
    inner += markup.estimates(table, "Accuracy, and how far the pixels are from the reference's", "decoder/resize")
    yield "system", "System noise", inner + "</div>\n"


def others(report: Mapping[str, Any]) -> Iterator[Part]:
    """Yields the tables that no other section shows."""
    for name, entry in report["benchmarks"].items():
        inner = ""
        for key, table in entry["tables"].items():
            shown = key in ("top1", "broken_by", *(_ERRORS if "top1" in entry["tables"] else ())) or (name, key) == (
                "imagenet_s",
                "systems",
            )
            if shown or (name == "adversarial" and key in _ADVERSARIAL) or not table:
                continue
            if key.startswith("transfer_success"):
                inner += heat.heat_map(table, terms.title(key), first="source")
            else:
                inner += markup.estimates(table, f"{name}: {terms.readable(terms.title(key))}")
        if inner:
            yield f"tables-{charts.slug(name)}", f"Tables: {name}", inner
