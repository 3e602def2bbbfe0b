"""The report: ``report.json`` for programs, ``report.md`` for people, and a table for the terminal."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from RobustART.core.files import write_whole
from RobustART.errors import RecordError
from RobustART.metrics.spec import face
from RobustART.report.terms import COSTS, UNTIMED, columns, costs, interval, number, title

_RECORDED = ". The results are recorded; when this is mended, the same command writes the report"


@dataclasses.dataclass(frozen=True)
class Report:
    """What ``report.json`` holds: model, conditions, benchmarks, warnings, timing."""

    data: dict[str, Any]
    """Plain data."""

    def metric(self, benchmark: str, name: str) -> float | None:
        """Returns a headline number; None where it is undefined."""
        value: float | None = self.data["benchmarks"][benchmark]["metrics"][name]["value"]
        return value

    def write(self, folder: Path) -> None:
        """Writes ``report.json`` and ``report.md``, each under a temporary name first."""
        for name, text in (("report.json", json.dumps(self.data, indent=2) + "\n"), ("report.md", self.markdown())):
            write_whole(folder / name, text, error=RecordError, hint=_RECORDED)

    def heading(self) -> str:
        """Returns one line: the model, the data, how many images, the seed."""
        parts = []
        for data in self.data["conditions"]["data"]:
            count = str(data["images"]) if data["images"] == data["of"] else f"{data['images']} of {data['of']}"
            parts.append(f"{data['name']}: {count} images")
        return f"{self.data['model']['source']} on {'; '.join(parts)}, seed {self.data['conditions']['seed']}"

    def text(self) -> str:
        """Returns tables for a terminal."""
        parts = [self.heading()]
        for name, entry in self.data["benchmarks"].items():
            rows = [[metric, number(e), interval(e), str(e["n"])] for metric, e in entry["metrics"].items()]
            parts.append(_text_table([name, "value", "95% interval", "n"], rows))
            for key, table in entry["tables"].items():
                names = columns(table)
                cells = [[row, *(number(table[row].get(c)) for c in names)] for row in table]
                parts.append(_text_table([title(face(name), key), *names], cells))
        parts += [f"Warning: {warning}" for warning in self.data["warnings"]]
        return "\n\n".join(parts)

    def markdown(self) -> str:
        """Returns the report as Markdown, with every interval and all conditions."""
        parts = [f"# {self.heading()}", "Numbers are percentages with 95% intervals."]
        for name, entry in self.data["benchmarks"].items():
            parts.append(f"## {name}")
            rows = [[metric, number(e), interval(e), str(e["n"])] for metric, e in entry["metrics"].items()]
            parts.append(_markdown_table(["metric", "value", "95% interval", "n"], rows))
            for key, table in entry["tables"].items():
                names = columns(table)
                cells = [[row, *(_both(table[row].get(c)) for c in names)] for row in table]
                parts.append(_markdown_table([title(face(name), key), *names], cells))
        if self.data["warnings"]:
            parts.append("## Warnings\n\n" + "\n".join(f"- {warning}" for warning in self.data["warnings"]))
        parts.append(f"## Time and passes\n\n{_markdown_table(list(COSTS), costs(self.data))}\n\n{UNTIMED}")
        details = {
            "model": self.data["model"],
            "conditions": self.data["conditions"],
            "options": {
                name: {key: value for key, value in entry.items() if key not in ("metrics", "tables")}
                for name, entry in self.data["benchmarks"].items()
            },
            "timing": self.data["timing"],
        }
        parts.append(f"## Conditions\n\n```json\n{json.dumps(details, indent=2)}\n```")
        return "\n\n".join(parts) + "\n"


def _both(estimate: dict[str, Any] | None) -> str:
    if estimate is None:
        return ""
    return f"{number(estimate)} {interval(estimate)}".strip()


def _text_table(header: list[str], rows: Iterable[list[str]]) -> str:
    table = [header, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _markdown_table(header: list[str], rows: Iterable[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in [header, *rows]]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])
