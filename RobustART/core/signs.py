"""Signs that a number is not trustworthy: their names in records, their words in reports, and when they count.

A failed attack looks like a robust model. Attacks record the signs of an image in ``flags`` of its line; the checks before
a run record those of a model in the header.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

FEW = 0.05
"""Share of the attacked images up to which a sign of single images does not count. Single images of a normal network have
a zero gradient in float32 (a margin of 104 or more), or start at a maximum of the loss. If 5 % of the images withstand for
this reason, a robust accuracy is too high by as much as half of its 95 % interval from 400 images."""

Reach = Literal["answers", "attacks", "gradients"]
"""Numbers that a sign concerns: all, those of attacks, or those of attacks that use gradients."""


class Sign(NamedTuple):
    """A sign that a number is not trustworthy."""

    words: str
    """Words beside a number."""
    meaning: str
    """Meaning, for records and warnings."""
    advice: str
    """What to do, for warnings."""
    reach: Reach = "gradients"
    """Numbers that it concerns."""
    share: float = 0.0
    """Share of the attacked images above which a sign of single images counts."""


_AVERAGE = (
    "attack it with samples: k (expectation over transformations) or with HopSkipJump, and average its answers with "
    "evaluation.repeats: k"
)
_DIFFERENTIABLE = (
    "replace the part without a useful gradient by backward: module:function in the attack, or use an attack without "
    "gradients in the same norm: AutoAttack (which has Square), Square or HopSkipJump"
)

SIGNS: dict[str, Sign] = {
    "randomized": Sign(
        "answers change when asked twice", "equal images get different answers", _AVERAGE, "answers"
    ),
    "batch_dependent": Sign(
        "answers depend on the batch", "an image gets another answer alone or in another order than in a batch",
        "use the statistics of the training in batch normalisation (track_running_stats)", "answers",
    ),
    "dynamic": Sign(
        "the model changes while it predicts",
        "the model takes gradients, or changes its parameters or buffers, while it predicts",
        "a dynamic defence needs an adaptive attack, or one that needs no gradient, such as hop_skip_jump_linf", "attacks",
    ),
    "probabilities": Sign(
        "outputs are probabilities", "all outputs are in [0, 1], as probabilities are, where gradients vanish",
        "give the logits"
    ),
    "nan_gradients": Sign("NaN gradients", "gradients are NaN or infinite, which no attack can follow", _DIFFERENTIABLE),
    "zero_gradients": Sign(
        "zero gradients", "gradients are zero, so an attack that follows them does not move",
        f"divide very large logits by a constant, or {_DIFFERENTIABLE}", share=FEW
    ),
    "constant_gradients": Sign(
        "constant gradients", "different images have one gradient, although the model is not linear between them",
        _DIFFERENTIABLE,
    ),
    "wrong_gradients": Sign(
        "gradients do not lead uphill",
        "a step along the gradient raises the loss no more than a step in a random direction", _DIFFERENTIABLE,
    ),
    "flat_loss": Sign(
        "the loss never rose", "the loss of an iterative attack never rose above its first value", _DIFFERENTIABLE,
        share=FEW,
    ),
    "more_steps": Sign(
        "more steps leave more images", "an attack of many steps leaves more images than one of a single step",
        _DIFFERENTIABLE,
    ),
    "gradient_free": Sign(
        "broken without gradients", "Square, which needs no gradient, breaks images that all attacks left",
        _DIFFERENTIABLE,
    ),
    "radius": Sign(
        "a larger radius leaves more images", "a larger radius leaves more images than a smaller one, whose points it has",
        "use a stronger attack; FGSM is not monotone, because its one step may overshoot", "attacks",
    ),
}  # fmt: skip
"""Signs by their names in records."""
