"""A user's network and images as a classifier and a data set that fit each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import nn

from RobustART.core.preprocessing import INNER
from RobustART.data import GivenDataset, ImageDataset, as_dataset
from RobustART.models import Classifier, wrap_model

SIZES = ("input_size", "resize", "crop_mode")


def fit(model: nn.Module, data: Any, preprocessing: Mapping[str, Any] | None) -> tuple[Classifier, ImageDataset | None]:
    """Returns the classifier and the data set of an evaluation.

    A network that states no preprocessing gets the images of another library's data set as that returns them: in their
    size, if all are squares of one size, and, where they are floats, with the same values. The fields of ``preprocessing``
    have priority.

    Args:
        model: a classifier or any network.
        data: what :func:`~RobustART.data.as_dataset` takes, or None.
        preprocessing: fields that the caller states.

    Raises:
        UserError: they do not fit, or one of them is invalid.
    """
    given = dict(preprocessing or {})
    dataset = None if data is None else as_dataset(data)
    classifier = wrap_model(model, given)
    if not isinstance(dataset, GivenDataset):
        return classifier, dataset
    found = dataset.preprocessing()
    for together in (INNER, SIZES):
        if any(key in given for key in together):
            found = {key: value for key, value in found.items() if key not in together}
    if not isinstance(model, Classifier) and classifier.own is None and found:
        classifier = wrap_model(model, {**found, **given})
        stated = ", ".join(f"{key} {value}" for key, value in sorted(found.items()))
        note = f"the model states no preprocessing, and has that of the data {dataset.name}: {stated}"
    else:
        note = _differing(classifier, dataset, given)
    fitted = dataset.fitted(classifier.preprocessing.input_size, chosen=any(key in given for key in SIZES))
    return classifier, dataclasses.replace(fitted, note=note)


def _differing(classifier: Classifier, dataset: GivenDataset, given: Mapping[str, Any]) -> str:
    """Returns a warning if the data set normalises otherwise than the classifier does, else ""."""
    own, theirs = classifier.preprocessing, dataset.form
    if theirs.scale != "normalised" or "mean" in given or (own.mean, own.std) == (theirs.mean, theirs.std):
        return ""
    return (
        f"{dataset.name} normalises with mean {list(theirs.mean)}, std {list(theirs.std)}, which is undone; the model "
        f"gets its own mean {list(own.mean)}, std {list(own.std)}"
    )
