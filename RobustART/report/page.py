"""``report.html``: one run as one page that opens without a network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from RobustART.core.files import open_whole
from RobustART.report import markup, sections, terms
from RobustART.report.markup import element, text
from RobustART.report.pictures import gallery, read_tiles
from RobustART.report.reading import read_report
from RobustART.report.sections import Part


def write_page(results: Path) -> Path:
    """Writes ``report.html`` from the ``report.json`` and ``noise.png`` of a results folder, and returns its path.

    The same files give the same page, byte for byte.

    Args:
        results: the folder.

    Raises:
        RecordError: there is no whole report.
        ConfigError: matplotlib is not installed.
        OSError: the page cannot be written, or the picture cannot be read.
    """
    path = results / "report.html"
    report = read_report(results / "report.json")
    tiles = read_tiles(results / "noise.png", [entry["hash"] for entry in report["benchmarks"].values()])
    page = render(report, tiles).encode()
    with open_whole(path) as file:
        file.write(page)
    return path


def render(report: Mapping[str, Any], tiles: list[tuple[dict[str, Any], str]]) -> str:
    """Returns the page of a report.

    Args:
        report: what ``report.json`` holds.
        tiles: from :func:`read_tiles`.
    """
    parts = list(_parts(report, tiles))
    links = "".join(f'<li><a href="#{identity}">{text(heading)}</a></li>' for identity, heading, _ in parts)
    data = ", ".join(_counted(row) for row in report["conditions"]["data"])
    version = report["conditions"]["versions"].get("RobustART", "?")
    about = f"on {data}; seed {report['conditions']['seed']}, RobustART {version}"
    name = report["model"]["source"]
    header = (
        f'<header>\n<p class="kind">RobustART report</p>\n{element("h1", text(name))}\n{element("p", text(about))}\n'
        f"{sections.key_numbers(report)}{_warnings(report)}</header>\n"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n'
    )
    body = "".join(markup.section(identity, heading, inner) for identity, heading, inner in parts)
    return markup.page(f"{name}: RobustART report", f"{header}<main>\n{body}</main>\n")


def _parts(report: Mapping[str, Any], tiles: list[tuple[dict[str, Any], str]]) -> Iterator[Part]:
    yield sections.summary(report)
    yield from sections.families(report)
    yield from sections.drawn(report)
    yield from sections.others(report)
    if tiles:
        told = "<p>One photo under each noise, with the predicted class and its probability.</p>\n"
        yield "examples", "Examples", told + gallery(tiles)
    yield "conditions", "Conditions", _conditions(report)


def _counted(row: Mapping[str, Any]) -> str:
    count = f"{row['images']:,}" if row["images"] == row["of"] else f"{row['images']:,} of {row['of']:,}"
    return f"{row['name']} ({count} images)"


def _warnings(report: Mapping[str, Any]) -> str:
    if not report["warnings"]:
        return ""
    items = "".join(element("li", text(warning)) for warning in report["warnings"])
    return f'<aside class="warnings" aria-label="Warnings"><h2>Warnings</h2><ul>{items}</ul></aside>\n'


def _conditions(report: Mapping[str, Any]) -> str:
    """Returns everything the numbers depend on."""
    model, conditions, timing = report["model"], report["conditions"], report["timing"]
    facts = {
        "model": model["source"], "architecture": model["architecture"], "parameters": f"{model['parameters']:,}",
        "arguments": _plain(model["arguments"]), "weights (fingerprint)": model["weights"], "classes": model["classes"],
        "data": "; ".join(map(_counted, conditions["data"])), "subset": conditions["subset"] or "all images",
        **{f"preprocessing: {key}": _plain(value) for key, value in conditions["preprocessing"].items()},
        **({"not the model's own": _plain(conditions["overridden"])} if conditions["overridden"] else {}),
        **{key: _plain(conditions[key]) for key in ("seed", "batch_size", "amp", "channels_last", "device")},
        "wall time": f"{timing['wall_seconds']:,} s", "images computed": f"{timing['images_computed']:,}",
        "images per second": f"{timing['images_per_second']:,}",
    }  # fmt: skip
    rows = [(terms.readable(key), [markup.plain_cell(str(value))]) for key, value in facts.items()]
    versions = [(name, [markup.plain_cell(version)]) for name, version in conditions["versions"].items()]
    inner = (
        f'<div class="beside">{markup.table(["condition", "value"], rows, "Model, data and run", extra="facts")}'
        f"{markup.table(['package', 'version'], versions, 'Versions', extra='facts')}</div>\n"
        f"{_benchmarks(report)}{_costs(report)}{_attacks(report)}"
    )
    if conditions["config"] is not None:
        quoted = element("pre", text(json.dumps(conditions["config"], indent=2)))
        inner += f"<h3>Configuration</h3>\n{markup.scroll(quoted, 'Configuration')}"
    return inner


def _benchmarks(report: Mapping[str, Any]) -> str:
    rows = []
    for name, entry in report["benchmarks"].items():
        images = ", ".join(dict.fromkeys(f"{data['name']} ({data['images']:,})" for data in entry["data"]))
        own = {key: value for data in entry["data"] for key, value in data.get("preprocessing", {}).items()}
        told = (images, _plain(entry["options"]), _plain(own), entry["precision"], entry["hash"])
        rows.append((name, [markup.plain_cell(cell) for cell in told]))
    head = ["benchmark", "data (images)", "options", "own preprocessing", "precision", "hash of conditions"]
    return markup.table(head, rows, "Benchmarks", extra="facts")


def _costs(report: Mapping[str, Any]) -> str:
    rows = [(name, [markup.plain_cell(cell) for cell in cells]) for name, *cells in terms.costs(report)]
    return markup.table(list(terms.COSTS), rows, f"Time and passes. {terms.UNTIMED}", extra="facts")


def _attacks(report: Mapping[str, Any]) -> str:
    rows = []
    for name, entry in report["benchmarks"].items():
        for cell, settings in entry["attacks"].items():
            cost = entry["passes"].get(cell, {"forward": 0, "backward": 0})
            told = [_plain(settings), cost["forward"], cost["backward"]]
            rows.append((f"{name}: {cell}", [markup.plain_cell(value) for value in told]))
    if not rows:
        return ""
    head = ["attack", "settings", "forward passes", "backward passes"]
    return markup.table(head, rows, "Attacks, with what they cost over all images", sortable=True, extra="facts")


def _plain(value: Any) -> str:
    """Returns plain data as one line: ``key: value`` pairs without braces, lists with commas."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)
