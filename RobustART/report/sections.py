"""The sections of ``report.html`` that show numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from RobustART.metrics.spec import BenchmarkSpec, MetricSpec, face
from RobustART.report import charts, heat, markup, plotting, terms
from RobustART.report.families import noise_families
from RobustART.report.markup import element, text

Part = tuple[str, str, str]
"""Id, heading and HTML of a section."""
ARROWS = {"high": "\N{UPWARDS ARROW}", "low": "\N{DOWNWARDS ARROW}"}


def direction(metric: MetricSpec) -> str:
    """Returns an arrow that says which way a metric is better, in words too; nothing where that is not known."""
    way = metric.better
    if way is None:
        return ""
    return f' <span aria-hidden="true">{ARROWS[way]}</span><span class="spoken">{way}er is better</span>'


def key_numbers(report: Mapping[str, Any]) -> str:
    """Returns the numbers that represent each benchmark, large."""
    items = []
    for name, entry in report["benchmarks"].items():
        for shown in face(name).shown(entry):
            items.append(
                f"<div>{element('dt', text(f'{name}: {shown.name}') + direction(shown.spec))}"
                f"<dd>{element('span', text(terms.number(shown.estimate)), class_='value')} "
                f"{element('span', text(terms.interval(shown.estimate)), class_='interval')}</dd></div>"
            )
    return element("dl", "".join(items), class_="key-numbers") + "\n"


def summary(report: Mapping[str, Any]) -> Part:
    """Returns all headline numbers in one table, and what they mean."""
    rows = []
    known: dict[str, str] = {}
    for name, entry in report["benchmarks"].items():
        spec = face(name)
        for metric, estimate, about in spec.overview(entry):
            cells = [
                element("td", text(metric) + direction(about)),
                element("td", text(terms.number(estimate)), class_="number value", data_value=estimate["value"]),
                element("td", text(terms.interval(estimate)), class_="number interval", data_value=estimate["low"]),
                markup.plain_cell(estimate["n"]),
                element("td", _bar(about, estimate)),
            ]
            rows.append((name, cells))
            if about.meaning:
                known.setdefault(about.name, about.meaning)
    head = ["benchmark", "metric", "value", "95 % interval", "images", "0 to 100"]
    inner = markup.table(head, rows, "Headline numbers with 95 % intervals", sortable=True)
    meanings = "".join(f"{element('dt', text(metric))}{element('dd', text(line))}" for metric, line in known.items())
    if meanings:
        inner += f"<details><summary>What these numbers mean</summary><dl>{meanings}</dl></details>\n"
    notes = dict.fromkeys(note for name in report["benchmarks"] if (note := face(name).overview_note))
    inner += "".join(element("p", text(note)) + "\n" for note in notes)
    return "summary", "Summary", inner


def _bar(metric: MetricSpec, estimate: Mapping[str, Any]) -> str:
    """Returns value and interval as a mark on a line from 0 to 100; nothing where they are not between."""
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if (
        value is None
        or metric.unit not in ("percent", "ratio")
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


def drawn(report: Mapping[str, Any]) -> Iterator[Part]:
    """Yields the sections that benchmarks have of their own, those of one kind together."""
    for kind, section in (("corruptions", corruptions), ("attacks", attacks), ("systems", systems)):
        for name, entry in report["benchmarks"].items():
            if face(name).section == kind:
                yield from section(face(name), entry)


def attacks(spec: BenchmarkSpec, entry: Mapping[str, Any]) -> Iterator[Part]:
    """Yields robust accuracy against the radius, with its tables, and where the images were broken."""
    norms = list(dict.fromkeys(place["norm"] for place in entry["cells"].values() if "norm" in place))
    plots = []
    for norm in norms:
        drawn = charts.curves(entry, norm, f"curves-{charts.slug(norm)}")
        if drawn is not None:
            plots.append(f'<div class="panel">{drawn[0]}{plotting.legend(drawn[1])}</div>')
    inner = ""
    if plots:
        caption = (
            "Robust accuracy against the radius, with 95 % bands; clean accuracy is at radius 0. The axis is linear up "
            "to the smallest radius and logarithmic from there."
        )
        inner += markup.figure(plots, caption)
    tables = "".join(
        heat.heat_map(part, f"{terms.title(spec, table.name)}{of}: {table.meaning}", first=table.rows)
        for table in spec.tables
        if table.heat
        for of, part in _by_norm(entry["tables"].get(table.name, {}), norms, entry["cells"])
    )
    inner += f'<div class="plots">{tables}</div>\n{heat.scale()}'
    yield spec.name, "Adversarial noise", inner
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
    table: Mapping[str, Any], norms: Sequence[str], places: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields the rows of each norm, whose radii cannot be compared; those of no one attack with what shares their radii."""
    rest = {row: cells for row, cells in table.items() if cells}
    for norm in norms if len(norms) > 1 else ():
        own = {
            row: cells for row, cells in table.items()
            if any(places.get(f"{row}/{radius}", {}).get("norm") == norm for radius in cells)
        }  # fmt: skip
        rest = {row: cells for row, cells in rest.items() if row not in own}
        if own:
            yield f", {norm}", own
    while rest:
        radii = set(next(iter(rest.values())))
        own = {row: cells for row, cells in rest.items() if radii & set(cells)}
        rest = {row: cells for row, cells in rest.items() if row not in own}
        yield "", own


def corruptions(spec: BenchmarkSpec, entry: Mapping[str, Any]) -> Iterator[Part]:
    """Yields the heat map of a benchmark of corruptions and severities, with its other tables."""
    maps = [table for table in spec.tables if table.heat and entry["tables"].get(table.name)]
    if not maps:
        return
    inner = ""
    for kind in maps:
        table = entry["tables"][kind.name]
        severities = [column for column in terms.columns(table) if column.isdigit() or column == "mean"]
        caption = "Top-1 accuracy (%) by corruption and severity, with 95 % intervals"
        inner += heat.heat_map(table, caption, coloured=severities, first=kind.rows, groups=spec.groups)
    inner += heat.scale()
    tables = [
        markup.estimates(entry["tables"][kind.name], f"{terms.title(spec, kind.name)}: {kind.meaning}")
        for kind in sorted(spec.tables, key=lambda kind: kind.rows != "group")
        if not kind.heat and entry["tables"].get(kind.name)
    ]
    inner += f'<div class="plots">{"".join(tables)}</div>\n' if tables else ""
    yield f"corruptions-{charts.slug(spec.name)}", f"Corruption by severity: {spec.name}", inner


def systems(spec: BenchmarkSpec, entry: Mapping[str, Any]) -> Iterator[Part]:
    """Yields the accuracy of each decoder and resize."""
    kind = spec.tables[0]
    table = entry["tables"].get(kind.name)
    if not table:
        return
    column = terms.columns(table)[0]
    rows = [(row, cells[column]) for row, cells in table.items() if column in cells]
    inner = '<div class="beside">'
    if any(estimate["value"] is not None for _, estimate in rows):
        plot = charts.dots(kind.name, rows, f"Top-1 accuracy by {kind.title}; the numbers are in the table", column)
        inner += markup.figure([plot], "Top-1 accuracy by decoder and resize, with 95 % intervals.")
    inner += markup.estimates(table, kind.meaning.removesuffix("."), kind.rows)
    yield "system", "System noise", inner + "</div>\n"


def others(report: Mapping[str, Any]) -> Iterator[Part]:
    """Yields the tables of benchmarks that have no section of their own, and those that their section does not show."""
    for name, entry in report["benchmarks"].items():
        inner, spec = "", face(name)
        for key, table in entry["tables"].items():
            kind = spec.table(key)
            if not table or (spec.section and kind in spec.tables):
                continue
            if kind.heat:
                inner += heat.heat_map(table, terms.title(spec, key), first=kind.rows)
            else:
                inner += markup.estimates(table, f"{name}: {terms.readable(terms.title(spec, key))}")
        if inner:
            yield f"tables-{charts.slug(name)}", f"Tables: {name}", inner
