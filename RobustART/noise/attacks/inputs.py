"""What every attack takes: declared once, and checked once per call by the decorator :func:`attack`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast

import torch
from torch import Tensor
from typing_extensions import TypedDict

from RobustART.core.declarations import options_of
from RobustART.core.options import convert, unknown_option
from RobustART.core.ranges import Count, Default
from RobustART.core.seeding import image_seeds
from RobustART.errors import ConfigError
from RobustART.noise.attacks.log import AttackLog

if TYPE_CHECKING:
    from RobustART.noise.attacks.victim import Model

F = TypeVar("F", bound=Callable[..., Tensor])
RANGE_TOLERANCE = 1e-6
"""How far images may be outside [0, 1], and successes outside the ball: the rounding of float32."""


class CommonOptions(TypedDict, total=False):
    """Options of every attack ``(model, images, labels, *, eps, **options) -> images``.

    The model is any callable from images (N, C, H, W) in [0, 1] to logits (N, K). Images are float32 or float64 tensors
    (N, C, H, W) in [0, 1]; the result is new. Labels are the true classes, (N,). ``eps`` is the radius in units of the
    images, a number or one per image, (N,).
    """

    seeds: Tensor | None
    """Keys of the images, int64 (N,). An image's random draws depend on its key alone; None for keys by position."""
    batch_size: Count | None
    """Images in the batch at once, refilled as images leave; None for all."""
    amp: Literal["bf16"] | None
    """``bf16`` proposes in bfloat16 and confirms each success in float32, which is faster on some devices; in fp16
    gradients would vanish."""
    log: AttackLog | None
    """Filled with what happened to each image."""


class _OfOneStage(TypedDict, total=False):
    targeted: Annotated[bool, Default(False)]
    """Whether the labels are the classes to reach instead of the true ones."""
    stop: Literal["first"] | None
    """None runs all steps on all images; ``first`` finishes an image as soon as it is fooled."""


class AttackOptions(_OfOneStage, CommonOptions, total=False):
    """Options of every attack that is not an ensemble."""


class _Gradients(TypedDict, total=False):
    samples: Annotated[Count, Default(1)]
    """Passes of a randomised model whose mean is its gradient, and whose averaged softmax decides about success
    (expectation over transformations, Athalye 2018, https://arxiv.org/abs/1707.07397)."""
    backward: str | Callable[[Any], Callable[[Tensor], Tensor]] | None
    """For gradients that mislead, such as those of rounding: ``module:function`` or a function that makes, of the model, a
    callable from images to logits whose gradient replaces the model's; all values are the model's own (BPDA, Athalye 2018,
    https://arxiv.org/abs/1802.00420)."""


class GradientOptions(_Gradients, AttackOptions, total=False):
    """Options of the attacks that use the model's gradient."""


class UntargetedGradientOptions(_Gradients, CommonOptions, total=False):
    """The same for attacks that have other options instead of ``targeted`` and ``stop``."""


class LossOptions(GradientOptions, total=False):
    """Options of the attacks that follow the gradient of a loss."""

    loss: Annotated[Literal["ce", "dlr", "margin"], Default("ce")]
    """Cross-entropy, difference of logits ratio, or margin of the logits."""


def attack(function: F) -> F:
    """Checks what an attack is given, once per call, before the decorated function runs.

    The function gets a clamped copy of the images, labels and seeds on their device, ``eps`` as (N,), and all options that
    its signature declares, defaults included. Code that has checked its inputs already calls ``inspect.unwrap`` of an
    attack.

    Raises:
        ConfigError: an option is unknown or missing, or an argument is invalid.
    """
    name, known = function.__name__, options_of(function)
    place, unbounded = f"the attack {name}", known["eps"].default is None
    defaults = {key: option.default for key, option in known.items() if option.default is not inspect.Parameter.empty}

    @functools.wraps(function)
    def checked(model: Model, images: Tensor, labels: Tensor, **options: Any) -> Tensor:
        given = dict(defaults)
        for key, value in options.items():
            if key not in known:
                raise unknown_option(key, known, place)
            given[key] = convert(value, known[key].hint, f"{place}: {key}") if key != "eps" else value
        if "eps" not in given:
            raise ConfigError(f"{place} needs the option 'eps'")
        images, labels, radii, seeds = check_inputs(
            name, images, labels, given["eps"], given["seeds"], unbounded=unbounded
        )
        return function(model, images, labels, **given | {"eps": radii, "seeds": seeds})

    return cast(F, checked)


def check_inputs(
    name: str, images: Tensor, labels: Tensor, eps: float | Tensor | None, seeds: Tensor | None, *, unbounded: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Returns images, labels, radii and seeds as attacks use them: new tensors on the device of the images.

    Args:
        name: of the attack, for the seeds by default.
        images: float32 or float64 (N, C, H, W) in [0, 1].
        labels: integers (N,).
        eps: radius, a number or one per image, (N,).
        seeds: int64 (N,); None for seeds by position.
        unbounded: whether ``eps`` may be None, for radii of infinity.

    Raises:
        ConfigError: one of them is invalid.
    """
    images = check_images(images)
    radii = check_eps(eps, images, unbounded=unbounded)
    labels = torch.as_tensor(labels)
    if labels.shape != images.shape[:1] or labels.is_floating_point() or labels.is_complex():
        raise ConfigError(
            f"labels must be integers of shape ({len(images)},) for {len(images)} images, "
            f"got {tuple(labels.shape)} of {labels.dtype}"
        )
    if seeds is None:
        seeds = image_seeds(0, range(len(images)), name)
    if seeds.shape != images.shape[:1] or seeds.dtype != torch.int64:
        raise ConfigError(f"seeds must be int64 of shape ({len(images)},), got {tuple(seeds.shape)} of {seeds.dtype}")
    with torch.inference_mode(False):
        # A tensor made under inference_mode cannot take part in a gradient; a copy can.
        labels = labels.to(images.device, torch.int64).clone()
    return images, labels, radii, seeds.to(images.device)


def check_images(images: Tensor) -> Tensor:
    """Returns a detached copy clamped to [0, 1]; raises unless they are float32 or float64 (N, C, H, W) in [0, 1]."""
    if not isinstance(images, Tensor) or images.ndim != 4 or images.dtype not in (torch.float32, torch.float64):
        what = f"{tuple(images.shape)} of {images.dtype}" if isinstance(images, Tensor) else type(images).__name__
        raise ConfigError(f"images must be a float32 or float64 tensor (N, C, H, W) in [0, 1], got {what}")
    with torch.inference_mode(False):
        if images.numel():
            low, high = float(images.min()), float(images.max())
            if not (low >= -RANGE_TOLERANCE and high <= 1 + RANGE_TOLERANCE):
                raise ConfigError(
                    f"images must be in [0, 1], got values from {low:.6g} to {high:.6g}; "
                    "normalisation belongs into the model"
                )
        return images.detach().clone().clamp_(0, 1)


def check_eps(eps: float | Tensor | None, images: Tensor, *, unbounded: bool = False) -> Tensor:
    """Returns radii (N,) in the type of ``images``; raises if one is negative or not finite.

    None is infinite where an attack may be ``unbounded``, and invalid elsewhere.
    """
    if eps is None:
        if not unbounded:
            raise ConfigError("eps must be a number or a tensor with one per image, got None")
        return torch.full((len(images),), torch.inf, dtype=images.dtype, device=images.device)
    try:
        radii = torch.as_tensor(eps, dtype=images.dtype, device=images.device).detach()
    except (TypeError, ValueError, RuntimeError):
        raise ConfigError(f"eps must be a number or a tensor with one per image, got {eps!r}") from None
    if radii.ndim == 0:
        radii = radii.expand(len(images)).clone()
    if radii.shape != images.shape[:1]:
        raise ConfigError(f"eps must be a number or a tensor ({len(images)},), got shape {tuple(radii.shape)}")
    bad = radii[~(radii.isfinite() & (radii >= 0))]
    if len(bad):
        raise ConfigError(f"eps must be at least 0 and finite, got {bad[0].item()}")
    return radii
