"""What every attack takes: declared once, and checked once per call by the decorator :func:`attack`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args, get_type_hints

import torch
from torch import Tensor
from typing_extensions import TypedDict

from RobustART.core.seeding import image_seeds
from RobustART.errors import ConfigError, nearest
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
    batch_size: int | None
    """Images in the batch at once, refilled as images leave; None for all."""
    amp: str | None
    """``"bf16"`` proposes in bfloat16 and confirms each success in float32, which is faster on some devices."""
    log: AttackLog | None
    """Filled with what happened to each image."""


class AttackOptions(CommonOptions, total=False):
    """Options of every attack that has one stage."""

    targeted: bool
    """Whether ``labels`` are the classes to reach instead of the true ones."""
    stop: str | None
    """None runs all steps on all images; ``"first"`` finishes an image as soon as it is fooled."""


class LossOptions(AttackOptions, total=False):
    """Options of the attacks that follow the gradient of a loss."""

    loss: str
    """``"ce"`` (cross-entropy), ``"dlr"`` (difference of logits ratio) or ``"margin"``."""


DEFAULTS: dict[str, Any] = {
    "seeds": None, "targeted": False, "stop": None, "batch_size": None, "amp": None, "log": None, "loss": "ce",
}  # fmt: skip
"""Default of each of these options, in the order in which signatures show them."""


def expanded_signature(function: Callable[..., Any]) -> inspect.Signature:
    """Returns a function's signature with the keys of ``**common: Unpack[...]`` as keyword-only parameters."""
    signature = inspect.signature(function)
    *own, last = signature.parameters.values()
    assert last.kind is last.VAR_KEYWORD, f"{function.__name__} takes no **common"
    (options,) = get_args(get_type_hints(function, include_extras=True)[last.name])
    hints = get_type_hints(options)
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=hints[name])
        for name, value in DEFAULTS.items()
        if name in hints
    ]
    return signature.replace(parameters=[*own, *common])


def attack(function: F) -> F:
    """Checks what all attacks take, once per call, before the decorated function runs.

    The function gets a clamped copy of the images, labels and seeds on their device, ``eps`` as (N,), and all common
    options, defaults included. An attack that is called by another one, which has been checked, is reached behind the
    check by ``inspect.unwrap``. The signature shows every option, so what reads options from signatures sees them.

    Raises:
        ConfigError: an argument is invalid.
        TypeError: an option is unknown or missing.
    """
    name, signature = function.__name__, expanded_signature(function)
    unbounded = signature.parameters["eps"].default is None

    @functools.wraps(function)
    def checked(model: Model, images: Tensor, labels: Tensor, **options: Any) -> Tensor:
        for key in options:
            if key not in signature.parameters:
                hint = nearest(key, list(signature.parameters)[3:])
                raise TypeError(f"{name}() got an unexpected keyword argument {key!r}{hint}")
        bound = signature.bind(model, images, labels, **options)
        bound.apply_defaults()
        images, labels, given = check_inputs(name, images, labels, bound.kwargs, unbounded=unbounded)
        return function(model, images, labels, **given)

    checked.__signature__ = signature  # type: ignore[attr-defined]
    return cast(F, checked)


def check_inputs(
    name: str, images: Tensor, labels: Tensor, options: dict[str, Any], *, unbounded: bool = False
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Returns images, labels and options as attacks use them: new tensors on the device of the images.

    Args:
        name: of the attack, for the seeds by default.
        images: float32 or float64 (N, C, H, W) in [0, 1].
        labels: integers (N,).
        options: with ``eps``, the radius, a number or one per image, (N,), and the options of every attack.
        unbounded: whether ``eps`` may be None, for radii of infinity.

    Raises:
        ConfigError: one of them is invalid.
    """
    stop, amp, seeds = options["stop"], options["amp"], options["seeds"]
    if stop not in (None, "first"):
        raise ConfigError(f"stop must be None or 'first', got {stop!r}")
    if amp not in (None, "bf16"):
        raise ConfigError(f"amp of an attack must be None or 'bf16', got {amp!r}; in fp16 gradients vanish")
    if options["batch_size"] is not None:
        check_count("batch_size", options["batch_size"], 1)
    images = check_images(images)
    radii = check_eps(options["eps"], images, unbounded=unbounded)
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
    return images, labels, {**options, "eps": radii, "seeds": seeds.to(images.device)}


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


def check_count(name: str, value: int, least: int = 0) -> None:
    """Raises ``ConfigError`` unless ``value`` is an integer of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name} must be an integer of at least {least}, got {value!r}")


def check_positive(name: str, value: float) -> None:
    """Raises ``ConfigError`` unless ``value`` is a number above 0."""
    if not value > 0:
        raise ConfigError(f"{name} must be above 0, got {value!r}")
