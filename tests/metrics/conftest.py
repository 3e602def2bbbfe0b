"""Result files of known content, ours and the original's."""

import json

import numpy as np

from RobustART.metrics.spec import spec_of
from RobustART.records.header import BEFORE, FORMAT
from RobustART.records.lines import Line
from RobustART.records.sealing import unsealed
from tests.conftest import sealed


def write_records(
    path, benchmark, passes, *, options=None, attacks=None, models=None, conditions=None, seed=0, coordinates=None
):
    """Writes a result file of ours.

    Args:
        path: where to.
        benchmark: its name.
        passes: (name, cells, label ranks (N, cells), more entries of each line by name (N, cells, ...)), one or several.
        coordinates: (cell) -> coordinates makes the file of format 2; None is format 1, which has none and no checksums.
    """
    header = {
        "format": FORMAT if coordinates else BEFORE, "benchmark": benchmark, "hash": "0", "versions": {},
        "conditions": {
            "benchmark": benchmark, "options": options or {}, "attacks": attacks or {}, "seed": seed,
            "model": {"source": "timm:a", "arguments": {}, "weights": "0"}, **(conditions or {}),
        },
        "passes": [
            {
                "name": name, "cells": list(cells), "ids": len(ranks), **({"models": models} if models else {}),
                **({"coordinates": [coordinates(cell) for cell in cells]} if coordinates else {}),
            }
            for name, cells, ranks, _ in passes
        ],
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (_, cells, ranks, more) in enumerate(passes):
        for i, row in enumerate(np.asarray(ranks).tolist()):
            own = {key: np.asarray(values)[i].tolist() for key, values in more.items()}
            confidence = own.pop("confidence", [0.5] * len(cells))
            prediction = own.pop("prediction", row)
            extra = {key: own.pop(key) for key in list(own) if key in ("pixel_difference", "top5", "zipf")}
            line = Line(
                number,
                i,
                f"{i}.png",
                0,
                f"{i:x}",
                prediction,
                confidence,
                row,
                **own,
                **({"extra": extra} if extra else {}),
            )
            lines.append(line.dump())
    if coordinates:
        path.write_text("".join([sealed(header), *lines]))
    else:
        path.write_text("".join(f"{line}\n" for line in (json.dumps(header), *(unsealed(line, "") for line in lines))))
    return path


def named(benchmark):
    """Returns what gives the cells of a benchmark the coordinates that their names say."""
    return spec_of(benchmark).coordinates


def score_lines(path, scores, labels, order=None, names="{}.JPEG", keys=("filename", "image_id", "prediction")):
    """Writes the original's score lines, in ``order``; ``keys`` are those that each line has beside label and score."""
    rows = []
    for i, (score, label) in enumerate(zip(scores, labels, strict=True)):
        row = {"filename": names.format(i), "image_id": i, "prediction": int(np.argmax(score))}
        row = {key: row[key] for key in keys} | {"label": int(label), "score": [float(v) for v in score]}
        rows.append(json.dumps(row))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(rows[i] + "\n" for i in (range(len(rows)) if order is None else order)))
    return path


def verdict_lines(path, correct, order=None, keys=("filename",)):
    """Writes the original's lines of predictions without scores."""
    rows = [
        json.dumps(
            {"prediction": 0 if right else 1, "label": 0} | {k: f"{i}.JPEG" if k == "filename" else i for k in keys}
        )
        for i, right in enumerate(correct)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(rows[i] + "\n" for i in (range(len(rows)) if order is None else order)))
    return path
