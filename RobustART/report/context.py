"""The sections of ``report.html`` as data for the templates."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from RobustART.metrics.spec import Axis, BenchmarkSpec, Headline, face
from RobustART.report import charts
from RobustART.report.heat_map import heat_map
from RobustART.report.plotting import slug
from RobustART.report.tables import Table, estimate_table, fact_table
from RobustART.report.text import COSTS, UNTIMED, columns, costs, extent, known, plain, readable, title

Data = Mapping[str, Any]
Section = dict[str, Any]
"""``id``, ``heading``, and ``kind``, which selects how the template renders the other entries."""


def sections(report: Data) -> Iterator[Section]:
    """Yields the sections of a report's page, except the example images."""
    yield _summary(report)
    yield from _families(report)
    for kind, drawn in (("corruptions", _corruptions), ("attacks", _attacks), ("systems", _systems)):
        for name, entry in report["benchmarks"].items():
            if face(name).section == kind:
                yield from drawn(face(name), entry)
    yield from _others(report)
    yield {"id": "conditions", "heading": "Conditions", "kind": "conditions", **_conditions(report)}


def about(report: Data) -> str:
    """Returns a line on the data, the seed and the version."""
    data = ", ".join(f"{row['name']} ({extent(row, ',')})" for row in report["conditions"]["data"]) or "unknown data"
    version = report["conditions"]["versions"].get("RobustART", "?")
    return f"on {data}; seed {known(report['conditions']['seed'])}, RobustART {version}"


def key_numbers(report: Data) -> list[tuple[str, Headline]]:
    """Returns the numbers that represent each benchmark."""
    return [(name, shown) for name, entry in report["benchmarks"].items() for shown in face(name).shown(entry)]


def _summary(report: Data) -> Section:
    rows = [(name, shown) for name, entry in report["benchmarks"].items() for shown in face(name).overview(entry)]
    meanings: dict[str, str] = {}
    for _, shown in rows:
        if shown.spec.meaning:
            meanings.setdefault(shown.spec.name, shown.spec.meaning)
    notes = dict.fromkeys(note for name in report["benchmarks"] if (note := face(name).overview_note))
    marked = [(name, shown, _mark(shown)) for name, shown in rows]
    return {
        "id": "summary",
        "heading": "Summary",
        "kind": "summary",
        "rows": marked,
        "meanings": meanings,
        "notes": notes,
    }


def _mark(shown: Headline) -> tuple[float, float | None, float | None] | None:
    """Returns value and interval of a number to be marked on a scale from 0 to 100; None if it is not on the scale."""
    value, low, high = (shown.estimate[key] for key in ("value", "low", "high"))
    inside = value is not None and all(0 <= end <= 100 for end in (value, low or 0, high or 0))
    return (value, low, high) if inside and shown.spec.unit in ("percent", "ratio") else None


def noise_families(report: Data) -> list[Axis]:
    """Returns the axes of a report's radar, without undefined ones."""
    found = [axis for name, entry in report["benchmarks"].items() for axis in face(name).spokes(entry)]
    return [axis for axis in found if axis.estimate["value"] is not None]


def _families(report: Data) -> Iterator[Section]:
    """Yields the radar, if there are at least three families."""
    axes = noise_families(report)
    if len(axes) >= 3:
        rows = [(name, [what, estimate]) for name, what, estimate in axes]
        caption = (
            "Accuracy by noise family, from 0 in the center to 100: further out is more robust. Bars along the spokes are "
            "95 % intervals."
        )
        yield {
            "id": "families", "heading": "Noise families", "kind": "beside", "caption": caption,
            "panels": [charts.radar([(axis.name, axis.estimate) for axis in axes])],
            "table": fact_table(["family", "measured by", "%"], rows, "The numbers of the radar", ""),
        }  # fmt: skip


def _corruptions(spec: BenchmarkSpec, entry: Data) -> Iterator[Section]:
    """Yields the heat map of a benchmark of corruptions and severities, with its other tables."""
    maps, tables = [], []
    for kind in sorted(spec.tables, key=lambda kind: kind.rows != "group"):
        rows = entry["tables"].get(kind.name)
        if not rows:
            continue
        if kind.heat:
            severities = [column for column in columns(rows) if column.isdigit() or column == "mean"]
            caption = "Top-1 accuracy (%) by corruption and severity, with 95 % intervals"
            maps.append(heat_map(rows, caption, kind.rows, coloured=severities, groups=spec.groups))
        else:
            tables.append(estimate_table(rows, f"{title(spec, kind.name)}: {kind.meaning}"))
    if maps:
        yield {
            "id": f"corruptions-{slug(spec.name)}", "heading": f"Corruption by severity: {spec.name}",
            "kind": "corruptions", "maps": maps, "tables": tables,
        }  # fmt: skip


def _attacks(spec: BenchmarkSpec, entry: Data) -> Iterator[Section]:
    """Yields robust accuracy against the radius with its tables, and the stages of attacks that broke the images."""
    norms = list(dict.fromkeys(place["norm"] for place in entry["cells"].values() if "norm" in place))
    panels = [charts.curves(entry, norm, f"curves-{slug(norm)}") for norm in norms]
    maps = [
        heat_map(rows, f"{title(spec, table.name)}{of}: {table.meaning}", table.rows)
        for table in spec.tables
        if table.heat
        for of, rows in _by_norm(entry["tables"].get(table.name, {}), norms, entry["cells"])
    ]
    yield {
        "id": spec.name, "heading": "Adversarial noise", "kind": "attacks", "maps": maps,
        "panels": [panel for panel in panels if panel is not None],
        "caption": "Robust accuracy against the radius, with 95 % bands; clean accuracy is at radius 0. The axis is linear "
        "up to the smallest radius and logarithmic from there. Dashed lines are not trustworthy: the table has the signs.",
    }  # fmt: skip
    drawn = charts.stages(entry)
    if drawn is not None:
        panel, rows = drawn
        yield {
            "id": "stages", "heading": "Where attacks broke the images", "kind": "stages", "panels": [panel],
            "table": estimate_table(rows, "The same in numbers (% of images)", "attack"),
            "caption": "Percentage of all images that each stage of an attack was the first to break.",
        }  # fmt: skip


def _by_norm(table: Mapping[str, Data], norms: Sequence[str], places: Data) -> Iterator[tuple[str, Mapping[str, Data]]]:
    """Yields the rows of each norm, since radii of different norms are not comparable, then those of several attacks."""
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


def _systems(spec: BenchmarkSpec, entry: Data) -> Iterator[Section]:
    """Yields the accuracy of each decoder and resize."""
    kind = spec.tables[0]
    table = entry["tables"].get(kind.name)
    if not table:
        return
    column = columns(table)[0]
    rows = [(row, cells[column]) for row, cells in table.items() if column in cells]
    panels = []
    if any(estimate["value"] is not None for _, estimate in rows):
        label = f"Top-1 accuracy by {kind.title}; the numbers are in the table"
        panels.append(charts.dots(kind.name, rows, label, column))
    yield {
        "id": "system", "heading": "System noise", "kind": "beside", "panels": panels,
        "caption": "Top-1 accuracy by decoder and resize, with 95 % intervals.",
        "table": estimate_table(table, kind.meaning.removesuffix("."), kind.rows),
    }  # fmt: skip


def _others(report: Data) -> Iterator[Section]:
    """Yields the tables that no section of a benchmark shows."""
    for name, entry in report["benchmarks"].items():
        tables: list[Table] = []
        spec = face(name)
        for key, rows in entry["tables"].items():
            kind = spec.table(key)
            if not rows or (spec.section and kind in spec.tables):
                continue
            if kind.heat:
                tables.append(heat_map(rows, title(spec, key), kind.rows))
            else:
                tables.append(estimate_table(rows, f"{name}: {readable(title(spec, key))}"))
        if tables:
            yield {"id": f"tables-{slug(name)}", "heading": f"Tables: {name}", "kind": "tables", "tables": tables}


def _conditions(report: Data) -> dict[str, Any]:
    """Returns the conditions that the numbers depend on."""
    model, conditions, timing = report["model"], report["conditions"], report["timing"] or {}
    labels = [f"{row['name']}: {row['labels']}" for row in conditions["data"] if "labels" in row]
    pixels = [f"{row['name']}: {row['pixels']}" for row in conditions["data"] if "pixels" in row]
    facts = {
        "model": model["source"], "architecture": known(model["architecture"]), "family": model["family"],
        "technique": model["technique"], "parameters": known(model["parameters"], ","),
        "multiply-adds of an image": known(model["macs"], ","), "arguments": plain(model["arguments"]),
        "weights (fingerprint)": model["weights"], "classes": known(model["classes"]),
        "data": "; ".join(f"{row['name']} ({extent(row, ',')})" for row in conditions["data"]) or "unknown",
        **({"labels by": "; ".join(labels)} if labels else {}),
        **({"images as": "; ".join(pixels)} if pixels else {}),
        "subset": conditions["subset"] or "all images",
        **{f"preprocessing: {key}": plain(value) for key, value in (conditions["preprocessing"] or {}).items()},
        **({"overridden preprocessing": plain(conditions["overridden"])} if conditions["overridden"] else {}),
        "seed": known(conditions["seed"]), "batch_size": known(conditions["batch_size"]),
        "amp": plain(conditions["amp"]), "channels_last": known(conditions["channels_last"]),
        **({"runtime": plain(conditions["runtime"])} if "runtime" in conditions else {}),
        "device": known(conditions["device"]), "wall time": known(timing.get("wall_seconds"), ",") + " s" * bool(timing),
        "images computed": known(timing.get("images_computed"), ","),
        "images per second": known(timing.get("images_per_second"), ","),
    }  # fmt: skip
    config = conditions["config"]
    return {
        "facts": fact_table(
            ["condition", "value"], [(readable(key), [value]) for key, value in facts.items()], "Model, data and run"
        ),
        "versions": fact_table(
            ["package", "version"], [(name, [version]) for name, version in conditions["versions"].items()], "Versions"
        ),
        "tables": [_benchmarks(report), _costs(report), *_attack_settings(report)],
        "config": None if config is None else json.dumps(config, indent=2),
    }


def _benchmarks(report: Data) -> Table:
    rows = []
    for name, entry in report["benchmarks"].items():
        images = ", ".join(dict.fromkeys(f"{data['name']} ({data['images']:,})" for data in entry["data"]))
        own = {key: value for data in entry["data"] for key, value in data.get("preprocessing", {}).items()}
        rows.append((name, [images, plain(entry["options"]), plain(own), known(entry["precision"]), entry["hash"]]))
    head = ["benchmark", "data (images)", "options", "own preprocessing", "precision", "hash of conditions"]
    return fact_table(head, rows, "Benchmarks")


def _costs(report: Data) -> Table:
    return fact_table(COSTS, [(name, cells) for name, *cells in costs(report)], f"Time and passes. {UNTIMED}")


def _attack_settings(report: Data) -> Iterator[Table]:
    rows = []
    for name, entry in report["benchmarks"].items():
        probes = {cell: "on images that all attacks left" for cell in entry["passes"] if cell not in entry["attacks"]}
        for cell, settings in {**entry["attacks"], **probes}.items():
            cost = entry["passes"].get(cell, {"forward": 0, "backward": 0})
            rows.append((f"{name}: {cell}", [plain(settings), cost["forward"], cost["backward"]]))
    if rows:
        head = ["attack", "settings", "forward passes", "backward passes"]
        yield fact_table(head, rows, "Attacks, with the passes they spent on all images", "sortable facts")
