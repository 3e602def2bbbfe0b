"""Translates ``data.test`` of the 2021 project: how its images are seen, and which published sets are evaluated."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any

from RobustART.errors import ConfigError
from RobustART.original.sections import Plain, made_section, section, set_once, take

PLACE = "data.test"
SWITCHES = ("imagenet_c", "imagenet_p", "imagenet_a&o")
"""Keys that select a published data set."""
CLEAN = "imagenet_val_root_dir"
"""Folder of the clean images beside a published data set."""
FOLDERS = (CLEAN, "imagenet_a_root_dir", "imagenet_o_root_dir")
TEST_ONLY = (*SWITCHES, *FOLDERS, "imagenet_o_folder", "limit_samples", "save_acc_var_neg")
"""Keys that ``data.train`` cannot have."""
NORMALIZE = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
"""What all its named transforms normalise with; here a model normalises as it was trained."""


def translate_test(config: Plain, data: Plain, warnings: list[str]) -> None:
    """Replaces the keys of ``data.test`` that are only the original's; ``config`` and ``data`` are changed in place."""
    test = data["test"]
    switches = [key for key in SWITCHES if take(test, key, PLACE, bool)]
    _evaluator(test, ["imagenet", "imagenetc"] if "imagenet_c" in switches else ["imagenet"])
    sampler = test.pop("sampler", None)
    if sampler is not None and section({"is": sampler}, "is").get("type") != "distributed":
        raise ConfigError(f"{PLACE}.sampler.type must be 'distributed' (each image once), got {sampler!r}")
    _transforms(config, test, "JUSTNORM" if "imagenet_p" in switches else "ONECROP")
    benchmarks = _published(test, switches, warnings)
    if take(test, "save_acc_var_neg", PLACE, bool):
        benchmarks["imagenet_s"] = {}
    limit = take(test, "limit_samples", PLACE, int)
    if benchmarks or limit is not None:
        evaluation = made_section(config, "evaluation")
        _measure(evaluation, benchmarks)
        if limit is not None:
            set_once(evaluation, "limit", limit, "evaluation", f"{PLACE}.limit_samples")
    data["test"] = test or None


def _evaluator(test: Plain, kinds: list[str]) -> None:
    evaluator = take(test, "evaluator", PLACE, dict)
    if evaluator is None:
        return
    kind, kwargs = evaluator.get("type"), evaluator.get("kwargs") or {}
    if kind not in kinds:
        also = "" if len(kinds) > 1 else f" ('imagenetc' goes with the switch {PLACE}.imagenet_c)"
        raise ConfigError(
            f"{PLACE}.evaluator.type must be {', '.join(map(repr, kinds))} or absent{also}, got {kind!r}; name what is "
            "measured in evaluation.benchmarks"
        )
    if not isinstance(kwargs, dict) or set(kwargs) - {"topk"}:
        raise ConfigError(f"{PLACE}.evaluator.kwargs may hold topk: [1, 5] alone, got {kwargs}")
    if kwargs.get("topk", [1, 5]) not in ([1, 5], [5, 1]):
        raise ConfigError(f"{PLACE}.evaluator.kwargs.topk must be [1, 5], got {kwargs['topk']!r}")


def _transforms(config: Plain, test: Plain, usual: str) -> None:
    """A named set is what a model's preprocessing does; a list of resize and crop states a different preprocessing."""
    named = test.pop("transforms", None)
    if named is None or section({"is": named}, "is").get("type") == usual:
        return
    steps = _steps(named)
    resize, crop, normalize = (
        _side(steps.get("resize")),
        _side(steps.get("center_crop")),
        steps.get("normalize", NORMALIZE),
    )
    if not resize or not crop or set(normalize) != set(NORMALIZE):
        raise ConfigError(
            f"{PLACE}.transforms must be {{type: {usual}}}, a list of Resize, CenterCrop, ToTensor and Normalize, or "
            f"absent, got {named!r}; resize and crop are set in model.preprocessing"
        )
    stated = {"input_size": crop[0], "resize": resize[0], "crop_mode": "squash" if len(resize) == 2 else "center"}
    stated |= normalize if normalize != NORMALIZE else {}
    preprocessing = made_section(section(config, "model"), "preprocessing")
    for key, value in stated.items():
        set_once(preprocessing, key, value, "model.preprocessing", f"that of {PLACE}.transforms")


def _steps(transforms: Any) -> dict[str, Plain]:
    """Returns the arguments of a list of transforms by their names in snake_case; nothing if it is not such a list."""
    order = ["resize", "center_crop", "to_tensor", "normalize"]
    found: dict[str, Plain] = {}
    for item in transforms if isinstance(transforms, list) else []:
        plain = item if isinstance(item, dict) else {}
        name, kwargs = str(plain.get("type")), plain.get("kwargs") or {}
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
        if name not in order or not isinstance(kwargs, dict):
            return {}
        order = order[order.index(name) + 1 :]
        found[name] = kwargs
    return found


def _side(kwargs: Plain | None) -> list[int]:
    """Returns ``size`` as a list of one side, or of two equal ones; nothing if that is not all that is given."""
    size = (kwargs or {}).get("size")
    sides: list[Any] = size if isinstance(size, list) else [size]
    fits = set(kwargs or {}) == {"size"} and len(sides) in (1, 2) and all(type(side) is int for side in sides)
    return sides if fits and len(set(sides)) == 1 else []


def _published(test: Plain, switches: list[str], warnings: list[str]) -> Plain:
    """Returns the benchmarks that the switches select; only the clean images are left in ``data.test``.

    The original resizes ImageNet-C's files to 256 before the crop, and takes ImageNet-P's frames as they are.
    """
    images = ("root_dir", "meta_file", "type") if switches else ()
    places = {key: take(test, key, PLACE, str) for key in (*FOLDERS, *images)}
    test.pop("imagenet_o_folder", None)  # for links that the original makes
    unused = {key: "without the switch imagenet_a&o" for key in FOLDERS[1:] if "imagenet_a&o" not in switches}
    if not switches:
        unused[CLEAN] = "without a switch; name the images in root_dir"
    else:
        unused["type"] = "with a switch for a published set"
        if places[CLEAN] is not None:
            test["root_dir"] = places[CLEAN]
    if "imagenet_c" not in switches:
        unused["meta_file"] = "but with the switch imagenet_c"
    warnings += [f"{PLACE}.{key} is not used {why}" for key, why in unused.items() if places.get(key) is not None]

    def files(key: str) -> Plain:
        if places[key] is None:
            raise ConfigError(f"{PLACE}.{key} must be the folder of the published files")
        return {"root_dir": places[key]}

    found: Plain = {}
    if "imagenet_c" in switches:
        meta = {} if places["meta_file"] is None else {"meta": places["meta_file"]}
        found["imagenet_c"] = {**files("root_dir"), **meta, "preprocess": "resize256"}
    if "imagenet_p" in switches:
        found["imagenet_p"] = files("root_dir")
    if "imagenet_a&o" in switches:
        found |= {"imagenet_a": files("imagenet_a_root_dir"), "imagenet_o": files("imagenet_o_root_dir")}
    return found


def _measure(evaluation: Plain, found: Plain) -> None:
    """Puts the benchmarks found before those of ``evaluation.benchmarks``, whose options are laid over theirs."""
    given = evaluation.get("benchmarks")
    if given is None:
        given = {} if found else {"clean": {}}
    if not isinstance(given, dict):
        return
    for name, options in found.items():
        own = given.get(name)
        if own is not None and not isinstance(own, dict):
            found[name] = own  # false takes it out
            continue
        for key in ("root_dir", "meta"):
            if own and key in own and key in options and PurePath(str(own[key])) != PurePath(options[key]):
                raise ConfigError(
                    f"evaluation.benchmarks.{name}.{key} is {own[key]!r}, but {PLACE} has the switch of {name} on and "
                    f"names {options[key]!r}; set one of them"
                )
        found[name] = {**options, **(own or {})}
    evaluation["benchmarks"] = {**found, **{name: options for name, options in given.items() if name not in found}}
