"""``AddNoise``: one class for every noise. It holds options and calls the functions that make the noise."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from RobustART.core.declarations import options_of
from RobustART.core.defaults import DEFAULT_EPS
from RobustART.core.imaging import REFERENCE, Array, check_jpeg_quality, decode, encode_jpeg
from RobustART.core.options import attack_norm, convert, option_defaults, unknown_option
from RobustART.core.seeding import image_seeds, numpy_generator
from RobustART.core.signs import SIGNS
from RobustART.errors import ConfigError, UnknownNameError, nearest
from RobustART.noise.attacks import ATTACKS, AttackLog
from RobustART.noise.attacks.flags import telling, warn
from RobustART.noise.attacks.watching import Watched
from RobustART.noise.corruptions import CORRUPTIONS, corrupt
from RobustART.noise.kinds import kind_of, on_images, to_colour, to_grey
from RobustART.noise.libraries import is_library_attack
from RobustART.noise.reference import OURS, resolve_attack
from RobustART.noise.system import system_noise

ALIASES = {
    "f_model": "model",
    "num_steps": "steps",
    "max_iter": "steps",
    "eps_step": "step_size",
    "decay_factor": "decay",
}
"""The 2021 project's names of options to ours."""

_HIDDEN = ("seeds", "log")
_IMAGE_NOISES: dict[str, dict[str, Any]] = {
    "imagenet-c": {
        "severity": 1, "corruption_name": None, "corruption_number": -1, "jpeg_quality": None, "backend": "robustart",
    },
    "imagenet-s": {
        "decoder_type": REFERENCE[0], "resize_type": REFERENCE[1], "transform_type": "val", "size": 224,
    },
}  # fmt: skip
"""Noises that need no model, with the defaults of their options."""


class AddNoise:
    """Adds one kind of noise to images.

    Args:
        noise_type: ``imagenet-c``, ``imagenet-s``, the name of an attack (``fgsm``, ``pgd_linf``, ...), a user's own
            attack (``module:function``), or an attack of a library (``foolbox:L2DeepFoolAttack``, ``torchattacks:CW``) with
            that library's own options.
        seed: seed of the noise. The noise of the i-th image of a call depends on the seed and on i alone.

    Raises:
        UnknownNameError: there is no such noise.
        ConfigError: the type is not a name, or the seed is not an integer.

    Example:
        >>> noise = AddNoise("imagenet-c")
        >>> noise.set_config(corruption_name="fog", severity=3)
        >>> noise.add_noise(np.zeros((224, 224, 3), np.uint8)).shape
        (224, 224, 3)
    """

    def __init__(self, noise_type: str, seed: int = 0) -> None:
        if not isinstance(noise_type, str):
            raise ConfigError(f"the type of a noise must be its name, such as 'imagenet-c', got {noise_type!r}")
        self.noise_type, self.seed = noise_type, convert(seed, int, "seed")
        self._function = None if noise_type in _IMAGE_NOISES else _attack_function(noise_type, OURS)
        self._config: dict[str, Any] = dict(_IMAGE_NOISES.get(noise_type, {}))
        if self._function is not None:
            self._config = _attack_defaults(noise_type, self._function, OURS)
        self._set: set[str] = set()  # names of the options that the user has set

    def set_config(self, **options: Any) -> None:
        """Sets options of this instance; see :meth:`get_config` for their names and values.

        For an attack: ``model`` (any callable from images in [0, 1] to logits; normalisation belongs inside it),
        ``eps`` and the attack's own keywords. For ``imagenet-c``: ``corruption_name`` or ``corruption_number`` (0 to 18,
        the name wins), ``severity`` (0 to 5), ``jpeg_quality``. For ``imagenet-s``: ``decoder_type``, ``resize_type``,
        ``transform_type`` (``val``, or ``train`` for a random crop), ``size`` of the result. The 2021 project's names
        are accepted too (``f_model``, ``num_steps``, ...), and ``verbose=True`` prints a report of an attack.
        ``backend`` selects a library that makes the noise instead of this package: ``"foolbox"``, ``"torchattacks"`` or
        ``"autoattack"`` for attacks, with the options that the library has, and ``"imagecorruptions"`` for corruptions.

        Raises:
            ConfigError: an option is unknown or invalid; no option changes then.
        """
        function, known = self._function, self._config
        backend = str(options.get("backend", known.get("backend")))
        if function is not None and "backend" in known and backend != known["backend"]:
            function, known = self._with_backend(backend)
        hints = {} if function is None else options_of(function)
        update: dict[str, Any] = {}
        for name, value in options.items():
            key = name if name in known else ALIASES.get(name, name)
            if key == "norm" and key not in known and self.noise_type.startswith("autoattack_"):
                if value != attack_norm(self.noise_type):
                    raise ConfigError(
                        f"the noise {self.noise_type} is of norm {attack_norm(self.noise_type)}, got {value!r}"
                    )
                continue
            if key not in known:
                raise unknown_option(name, known, f"the noise {self.noise_type}")
            if key in update:
                raise ConfigError(f"the option {key!r} is given twice")
            checks = key in hints and value is not known[key]
            update[key] = convert(value, hints[key].hint, f"the noise {self.noise_type}: {key}") if checks else value
        self._function, self._config = function, {**known, **update}
        self._set |= set(update)

    def _with_backend(self, backend: str) -> tuple[Callable[..., Tensor], dict[str, Any]]:
        """Returns the attack by another library, and its options; those that were set keep their values."""
        function = _attack_function(self.noise_type, backend)
        fresh = _attack_defaults(self.noise_type, function, backend)
        chosen = {key: value for key, value in self._config.items() if key in self._set}
        lost = [key for key in chosen if key not in fresh]
        if lost:
            raise ConfigError(
                f"the backend {backend!r} does not have the option {lost[0]!r} of {self.noise_type}, which is set to "
                f"{chosen[lost[0]]!r}; it has {', '.join(fresh)}"
            )
        return function, {**fresh, **chosen, "backend": backend}

    setconfig = set_config

    def get_config(self) -> dict[str, Any]:
        """Returns a copy of the options."""
        return dict(self._config)

    def add_noise(self, image: Any, label: Any = None) -> Any:
        """Returns noisy images of the same kind as the input; the input is not changed.

        Args:
            image: for ``imagenet-c`` and ``imagenet-s`` a path, the bytes of a file, a PIL image, uint8 (H, W, 3),
                (N, H, W, 3) or, greyscale, (H, W), or a list of such images; a file gives uint8 (H, W, 3), see
                :mod:`RobustART.noise.kinds`. For an attack a float tensor (N, C, H, W) in [0, 1], or uint8 (H, W, 3)
                or (N, H, W, 3). An attacked uint8 image is rounded towards the clean one, so it stays inside the ball.
            label: for an attack the true classes, (N,) or one integer.

        Raises:
            ConfigError, DataError: an option, the image or the label is invalid; the message says what is allowed.

        Warns:
            AttackWarning: the attack shows a sign that it failed, such as zero gradients, so its result is misleading.
        """
        who = f"the noise {self.noise_type}"
        if self.noise_type == "imagenet-s":
            return on_images(image, self._system, who, read=lambda file: file)
        if self._function is None:
            return on_images(image, self._corrupt, who)
        return self._attack(self._function, image, label)

    def _corrupt(self, image: Array, index: int) -> Array:
        config = self._config
        name, number = config["corruption_name"], config["corruption_number"]
        if name is None:
            names = list(CORRUPTIONS)
            if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(names):
                raise ConfigError(
                    f"imagenet-c needs corruption_name, or corruption_number from 0 to {len(names) - 1}, got {number!r}; "
                    f"names: {', '.join(names)}"
                )
            name = names[number]
        severity, quality = config["severity"], config["jpeg_quality"]
        if quality is not None:
            check_jpeg_quality(quality)
        rng = numpy_generator(self.seed, index, f"{name}/{severity}")
        noisy: Array = corrupt(image, name, severity, rng, backend=config["backend"])
        if quality is None or severity == 0:
            return noisy
        stored = decode(encode_jpeg(noisy, quality))
        return stored if image.ndim == 3 else to_grey(stored)

    def _system(self, image: str | Path | bytes | Array, index: int) -> Array:
        config = self._config
        grey = isinstance(image, np.ndarray) and image.ndim == 2
        seen = system_noise(
            to_colour(image) if isinstance(image, np.ndarray) else image, decoder=config["decoder_type"],
            resize=config["resize_type"], transform=config["transform_type"], size=config["size"],
            rng=numpy_generator(self.seed, index, "imagenet-s"),
        )  # fmt: skip
        return to_grey(seen) if grey else seen

    def _attack(self, function: Callable[..., Tensor], image: Any, label: Any) -> Any:
        options = {name: value for name, value in self._config.items() if value is not inspect.Parameter.empty}
        model = options.pop("model")
        options.pop("backend", None)
        verbose = options.pop("verbose", False)
        log = AttackLog(verdicts=verbose)
        logs = "log" in options_of(function)
        if logs:
            options["log"] = log
        size = options.pop("input_size", None)
        if options.get("norm") in DEFAULT_EPS and options["eps"] is None:
            options["eps"] = DEFAULT_EPS[options["norm"]][-1]
        if not callable(model):
            raise ConfigError(f"the noise {self.noise_type} needs a model: set_config(model=...), got {model!r}")
        if label is None:
            raise ConfigError(f"the noise {self.noise_type} needs the true label: add_noise(images, label)")
        pixels = None
        if isinstance(image, np.ndarray):
            pixels = image[None] if image.ndim == 3 else image
            if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3:
                raise ConfigError(
                    f"the noise {self.noise_type} takes uint8 arrays (N, H, W, 3) or (H, W, 3), got {kind_of(image)}"
                )
            images = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float().div(255).contiguous()
            images = images.to(_device_of(model))
        elif isinstance(image, Tensor) and image.ndim == 4 and image.is_floating_point():
            images = image
        else:
            raise ConfigError(
                f"the noise {self.noise_type} takes a float tensor (N, C, H, W) in [0, 1] or uint8 arrays (N, H, W, 3) or "
                f"(H, W, 3), got {kind_of(image)}"
            )
        if size is not None and tuple(images.shape[2:]) != (size, size):
            raise ConfigError(f"input_size is {size}, but the images are {images.shape[2]} x {images.shape[3]}")
        labels = torch.as_tensor(label, device=images.device).reshape(-1)
        if len(labels) != len(images) or labels.is_floating_point() or labels.dtype == torch.bool:
            raise ConfigError(f"labels must be {len(images)} integers, got {kind_of(label)}")
        seeds = image_seeds(self.seed, range(len(images)), self.noise_type).to(images.device)
        if not logs:
            with torch.inference_mode(False):  # the counts are changed in place
                model = Watched(model, images)
        attacked = function(model, images, labels.long(), seeds=seeds, **options)
        if not logs:
            log.broken_by, log.signs = [None] * len(images), model.watch.signs()
        signs = telling(log)
        warn({name: meaning for name, meaning in signs.items() if name not in log.flags})  # AutoAttack warns itself
        if verbose:
            print(_costs(log, [SIGNS[name].words for name in {**log.flags, **signs} if name in SIGNS]))
        if pixels is None:
            return attacked
        change = attacked.permute(0, 2, 3, 1).cpu().double().numpy() * 255 - pixels
        # 1e-4 of a grey level undoes the rounding of float32 before the fraction is truncated.
        noisy = (pixels + np.trunc(change + 1e-4 * np.sign(change))).astype(np.uint8)
        return noisy[0] if image.ndim == 3 else noisy


def _attack_function(noise_type: str, backend: str) -> Callable[..., Tensor]:
    """Returns the attack with this name, ours or a library's."""
    if ":" not in noise_type and noise_type not in ATTACKS:
        known = [*_IMAGE_NOISES, *ATTACKS]
        raise UnknownNameError(
            f"unknown noise {noise_type!r}{nearest(noise_type, known) or ';'} Known: {', '.join(known)}, and attacks of "
            "libraries such as foolbox:L2DeepFoolAttack and torchattacks:CW"
        )
    return resolve_attack(noise_type, backend)


def _attack_defaults(noise_type: str, function: Callable[..., Tensor], backend: str) -> dict[str, Any]:
    """Returns a new mapping of an attack's options to their defaults."""
    options = option_defaults(function, hidden=_HIDDEN)
    if options.get("eps") is inspect.Parameter.empty:
        # If the norm is an option, the default radius follows from it when the attack is run.
        options["eps"] = None if "norm" in options else DEFAULT_EPS[attack_norm(noise_type)][-1]
    if is_library_attack(noise_type):
        return {"model": None, **options}
    if "log" in options_of(function):
        options["verbose"] = False
    if noise_type == "pgd_l1":
        options["input_size"] = None
    return {"model": None, "backend": backend, **options}


def _costs(log: AttackLog, doubts: Sequence[str]) -> str:
    """Returns a report of an attack, one line per stage, with the signs that its result is not trustworthy."""
    lines = []
    for stage in log.stages:
        broken = sum(name == stage for name in log.broken_by)
        passes = f"{int(log.forward[stage].sum())} forward and {int(log.backward[stage].sum())} backward passes"
        lines.append(f"{stage}: broke {broken} of {len(log.broken_by)} images in {passes}")
    doubt = f" (not trustworthy: {', '.join(doubts)})" if doubts else ""
    return "\n".join([*lines, f"{int(log.robust.sum())} of {len(log.broken_by)} images withstand it{doubt}"])


def _device_of(model: Any) -> torch.device:
    parameter = next(iter(model.parameters()), None) if isinstance(model, torch.nn.Module) else None
    return torch.device("cpu") if parameter is None else parameter.device
