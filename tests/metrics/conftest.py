"""Result files of known content, ours and the original's."""

import json

import numpy as np

from RobustART.metrics.spec import spec_of
from RobustART.records.header import BEFORE, FORMAT, IMAGENET, conditions_hash
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
        "format": FORMAT if coordinates else BEFORE, "benchmark": benchmark, "versions": {},
        "conditions": {
            "benchmark": benchmark, "options": options or {}, "attacks": attacks or {}, "seed": seed,
            "model": {"source": "timm:a", "arguments": {}, "weights": "0"},
            "data": [{"name": "data", "label_set": IMAGENET, "classes": 1000} for _ in passes], **(conditions or {}),
        },
        "passes": [
            {
                "name": name, "cells": list(cells), "ids": len(ranks), **({"models": models} if models else {}),
                **({"coordinates": [coordinates(cell) for cell in cells]} if coordinates else {}),
            }
            for name, cells, ranks, _ in passes
        ],
    }  # fmt: skip
    header["hash"] = conditions_hash(header["conditions"])
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


def ours(folder, version):
    """A small result file of each kind of benchmark, of format 1 or 2."""
    rng = np.random.default_rng(0)

    def write(name, passes, **other):
        own = {"coordinates": named(name)} if version == 2 else {}
        return write_records(folder / name, name, passes, **own, **other)

    def one(name, cells, more=None, **other):
        return write(name, [("", cells, rng.integers(0, 2, (3, len(cells))), more or {})], **other)

    ranks = rng.integers(0, 2, (3, 4))
    ranking = {"top5": np.tile(np.arange(5), (3, 4, 1)), "zipf": rng.random((3, 4)), "prediction": ranks}
    noise = [(name, [f"{name}/{t}" for t in range(4)], ranks, ranking) for name in ("snow", "gaussian_noise")]
    spent = {"broken_by": [["clean", "fgsm", None]] * 3, "forward": [[0, 1, 1]] * 3, "backward": [[0, 1, 1]] * 3}
    spent = {key: np.array(value, dtype=object) for key, value in spent.items()}
    crossed = ["clean", "clean@b", "fgsm/1 b>model"]
    return {
        "clean": one("clean", ["clean"]),
        "imagenet_a": one("imagenet_a", ["stored"], options={"masked": True}),
        "imagenet_c": one("imagenet_c", [f"fog/{severity}" for severity in range(1, 6)]),
        "cifar_c": one("cifar_c", ["fog/1", "snow/2"]),
        "imagenet_o": write("imagenet_o", [(kind, ["stored"], [[0], [1]], {}) for kind in ("known", "unknown")]),
        "imagenet_p": write("imagenet_p", noise, options={"difficulty": 1}),
        "imagenet_s": one("imagenet_s", ["pil/a", "pil/b"], {"pixel_difference": rng.random((3, 2))}),
        "adversarial": one("adversarial", ["clean", "fgsm/1/255", "pgd_l2/1"], spent, attacks={"fgsm/1/255": {}}),
        "transfer": one(
            "transfer", crossed, attacks={crossed[2]: {}}, models={crossed[1]: [None, "b"], crossed[2]: ["b", None]}
        ),
    }  # fmt: skip


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
