"""Builds the model that a section ``model`` describes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from RobustART.core.model_section import ModelConfig
from RobustART.core.preprocessing import Preprocessing
from RobustART.models import Classifier, build_model


def build_section(
    section: ModelConfig, *, weights: str | None, ignore: Iterable[str] = (), seed: int = 0
) -> Classifier:
    """Returns the model that a section ``model`` describes; ``weights`` takes the place of the section's."""
    return build_model(
        section.type, section.kwargs, weights=weights, strict=section.strict, ignore=ignore,
        preprocessing=stated_preprocessing(section), seed=seed,
    )  # fmt: skip


def stated_preprocessing(section: ModelConfig) -> dict[str, Any]:
    """Returns the fields of :class:`Preprocessing` that a section ``model`` sets; a ConfigError names an invalid one."""
    stated = {name: value for name, value in dataclasses.asdict(section.preprocessing).items() if value is not None}
    Preprocessing(**stated)
    return stated
