"""The families of noise: which numbers of a report stand for each, all as accuracies, where more is more robust."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from RobustART.benchmarks.corruption_groups import GROUPS
from RobustART.core.options import attack_norm

Estimate = Mapping[str, Any]
_NATURAL = {
    "imagenet_a": "ImageNet-A", "imagenet_r": "ImageNet-R", "imagenet_v2": "ImageNet-V2", "imagenet_sketch": "Sketch",
}  # fmt: skip


def noise_families(report: Mapping[str, Any]) -> list[tuple[str, str, Estimate]]:
    """Returns the axes of the radar: a short name, what the number is, and the number; undefined ones are left out."""
    found: list[tuple[str, str, Estimate]] = []
    for name, entry in report["benchmarks"].items():
        metrics = entry["metrics"]
        if name == "clean" and "top1" in metrics:
            found.append(("clean", "top-1 accuracy without noise", metrics["top1"]))
        elif name == "imagenet_c":
            found += _groups(entry["tables"])
        elif name in ("imagenet_c_bar", "imagenet_3dcc", "cifar_c") and "mean_error" in metrics:
            found.append((name, f"100 - mean error of {name}", complement(metrics["mean_error"])))
        elif name in _NATURAL and "top1" in metrics:
            found.append((_NATURAL[name], f"top-1 accuracy on {_NATURAL[name]}", metrics["top1"]))
        elif name == "imagenet_p":
            flips = metrics.get("mFP", metrics.get("mFP_of_these"))
            if flips is not None:
                found.append(("steadiness", "100 - flip probability on ImageNet-P's videos", complement(flips)))
        elif name == "imagenet_s" and "worst_top1" in metrics:
            found.append(("system", "worst top-1 accuracy over decoders and resizes", metrics["worst_top1"]))
        elif name == "adversarial":
            found += _norms(entry)
    return [axis for axis in found if axis[2]["value"] is not None]


def _groups(tables: Mapping[str, Mapping[str, Mapping[str, Estimate]]]) -> Iterator[tuple[str, str, Estimate]]:
    """Yields the mean accuracy of each scored group of corruptions; of a group that is not whole there is no interval."""
    whole, single = tables.get("group_errors", {}), tables.get("top1", {})
    for group, names in GROUPS.items():
        means = [single[name]["mean"] for name in names if "mean" in single.get(name, {})]
        if group == "extra":
            continue
        if "mean error" in whole.get(group, {}):
            yield group, f"mean top-1 accuracy over {len(names)} corruptions", complement(whole[group]["mean error"])
        elif means:
            value = sum(float(e["value"]) for e in means) / len(means)
            of = "" if len(means) == len(names) else f"{len(means)} of "
            what = f"mean top-1 accuracy over {of}{len(names)} corruptions"
            yield group, what, {"value": value, "low": None, "high": None, "n": means[0]["n"]}


def _norms(entry: Mapping[str, Any]) -> Iterator[tuple[str, str, Estimate]]:
    """Yields, for each norm, the lowest robust accuracy at its middle radius."""
    by_norm: dict[str, list[tuple[str, str, Estimate]]] = {}
    for norm, radius, attack, estimate in strongest(entry):
        by_norm.setdefault(norm, []).append((radius, attack, estimate))
    for norm, radii in by_norm.items():
        radius, attack, estimate = radii[(len(radii) - 1) // 2]
        yield (
            f"{norm} {radius}",
            f"robust accuracy under {attack}, the strongest attack of that norm and radius",
            estimate,
        )


def strongest(entry: Mapping[str, Any]) -> list[tuple[str, str, str, Estimate]]:
    """Returns norm, radius, the attack that leaves least, and what it leaves, for each norm from small radii to large.

    Args:
        entry: of the benchmark ``adversarial`` in a report.
    """
    found: dict[str, dict[tuple[float, str], list[tuple[str, Estimate]]]] = {}
    for attack, row in entry["tables"].get("robust_accuracy", {}).items():
        for radius, estimate in row.items():
            cell = f"{attack}/{radius}"
            if estimate["value"] is not None and "eps" in entry["attacks"].get(cell, {}):
                by_radius = found.setdefault(norm_of(cell, entry["attacks"]), {})
                by_radius.setdefault((float(entry["attacks"][cell]["eps"]), radius), []).append((attack, estimate))
    return [
        (norm, radius[1], *min(by_radius[radius], key=lambda pair: float(pair[1]["value"])))
        for norm, by_radius in found.items()
        for radius in sorted(by_radius)
    ]


def norm_of(cell: str, attacks: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the norm of an attacked cell, ``attack/radius``."""
    return str(attacks.get(cell, {}).get("norm") or attack_norm(cell.partition("/")[0]))


def complement(estimate: Estimate) -> dict[str, Any]:
    """Returns 100 minus a percentage, with its interval."""
    if estimate["value"] is None:
        return dict(estimate)
    ends = {"low": estimate["high"], "high": estimate["low"]}
    flipped = {end: None if value is None else 100.0 - value for end, value in ends.items()}
    return {"value": 100.0 - estimate["value"], **flipped, "n": estimate["n"]}
