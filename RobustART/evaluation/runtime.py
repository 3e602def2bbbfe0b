"""The runtime of an evaluation: chosen once by process 0 on the first images, stored in the headers, used by all processes.

``auto`` is OpenVINO or ONNX Runtime on a CPU, and torch.compile on a GPU, if it gives the same answers in less time. With
any runtime but ``torch``, gradients of attacks may come from a copy of the network with folded BatchNorm. Successes of
attacks are always confirmed by the user's module.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from RobustART.benchmarks import Benchmark
from RobustART.core.determinism import exact_arithmetic
from RobustART.core.distributed import World
from RobustART.core.serving import Served
from RobustART.core.sources import is_library, source_digests
from RobustART.errors import ConfigError, RecordError
from RobustART.evaluation.conditions import fingerprint, versions
from RobustART.evaluation.portions import ELEMENTS, Portions
from RobustART.evaluation.questions import Plan, first_images, parts, victims
from RobustART.evaluation.settings import RUNTIMES, Settings
from RobustART.models import Classifier
from RobustART.models.runtimes import Unsuited, open_session, reason_of
from RobustART.records.header import check_header
from RobustART.records.journal import Journal

log = logging.getLogger(__name__)

PROBE = 16
"""Number of images on which a runtime is compared with torch."""
CONFIDENCE = 5e-5
"""Largest difference of a probability from torch's."""
LOGITS = 1e-5
"""Largest difference of a folded copy's logits, as a fraction of the range of the logits."""
FOLDED = 4 * ELEMENTS
"""Largest number of input values in a portion of a folded copy, whose activations take less memory."""
GAIN = 1.05
"""Ratio of times from which another runtime or a copy is used."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """How the passes of one model are computed."""

    runtime: str = "torch"
    """Runtime of passes without gradient."""
    gradients: str = "module"
    """What gives the gradients of attacks: ``module``, or ``folded`` for a copy with folded BatchNorm."""
    largest_difference: float = 0.0
    """Largest difference of a logit from torch's on the first images."""
    images: int = 0
    """Number of these images."""
    notes: tuple[str, ...] = ()
    """Reasons for the report why another runtime is not used."""

    def conditions(self, attacked: bool) -> dict[str, Any] | None:
        """Returns the entry ``runtime`` of the conditions of a benchmark; None if torch computes all with the module.

        Args:
            attacked: whether the benchmark attacks the model.
        """
        gradients = {"gradients": self.gradients} if attacked else {}
        if self.runtime == "torch":
            return {"name": "torch", **gradients} if gradients == {"gradients": "folded"} else None
        measured = {"largest_difference": self.largest_difference, "images": self.images}
        return {"name": self.runtime, **gradients, **measured}


class Runtimes:
    """The forms in which an evaluation runs its models.

    Attributes:
        notes: sentences for the report.
    """

    def __init__(self, choices: Mapping[int, Choice], served: Mapping[int, Served]) -> None:
        self._choices, self._served = choices, served
        self.notes = [note for choice in choices.values() for note in choice.notes]

    def served(self, models: Mapping[str | None, Classifier]) -> dict[str | None, nn.Module]:
        """Returns models in the form in which they are run."""
        return {name: self._served.get(id(model), model) for name, model in models.items()}

    def conditions(self, benchmark: Benchmark, classifier: Classifier) -> dict[str | None, dict[str, Any]]:
        """Returns the entries ``runtime`` of a benchmark's conditions, by model; models that torch runs have none."""
        attacked, found = _victims(benchmark), {}
        for name, model in _models(benchmark, classifier).items():
            entry = self._choices.get(id(model), Choice()).conditions(name in attacked)
            if entry is not None:
                found[name] = entry
        return found


def choose_runtimes(
    plans: Sequence[Plan], classifier: Classifier, results: Path, fresh: bool, world: World, settings: Settings
) -> Runtimes:
    """Returns the runtimes of an evaluation.

    Args:
        plans: the benchmarks with their images.
        classifier: the model under evaluation; the benchmarks have the further ones.
        results: folder of the result files; what they state is used again.
        fresh: whether these files will be deleted.
        world: the processes; process 0 chooses.
        settings: of the evaluation.

    Raises:
        ConfigError: the requested runtime cannot be used.
        RecordError: results were computed with a runtime that cannot be used here.
    """
    if settings.runtime == "torch":
        return Runtimes({}, {})
    models = {id(model): model for benchmark, _ in plans for model in _models(benchmark, classifier).values()}
    with exact_arithmetic():
        place = next(place for plan in plans for place in parts(*plan))
        images, _ = first_images(*place, classifier.preprocessing, settings.seed, PROBE)
        seats = [_Seat(model, images, world.device, settings) for model in models.values()]
        choices: list[Choice] = []
        if world.is_main:
            for model, seat in zip(models.values(), seats, strict=True):
                attacked = any(_models(b, classifier)[name] is model for b, _ in plans for name in _victims(b))
                before = None if fresh else _stored(plans, classifier, model, results)
                if before is not None and settings.runtime in ("auto", before[1].runtime):
                    choices.append(seat.take(before[1], f"{before[0]} was computed with"))
                else:
                    choices.append(seat.choose(attacked))
        choices = world.share(choices)
        if not world.is_main:
            for seat, choice in zip(seats, choices, strict=True):
                seat.take(choice, "process 0 chose")
    return Runtimes(
        dict(zip(models, choices, strict=True)),
        {key: seat.served() for key, seat in zip(models, seats, strict=True) if seat.session or seat.copy},
    )


def _models(benchmark: Benchmark, classifier: Classifier) -> dict[str | None, Classifier]:
    return {None: classifier, **benchmark.models}


def _victims(benchmark: Benchmark) -> set[str | None]:
    return {name for part in benchmark.passes for name in victims(part)}


def _stored(
    plans: Sequence[Plan], classifier: Classifier, model: Classifier, results: Path
) -> tuple[Path, Choice] | None:
    """Returns what existing result files state of a model, with the first of these files; None without such files."""
    found: tuple[Path, Choice] | None = None
    for benchmark, _ in plans:
        names = [name for name, other in _models(benchmark, classifier).items() if other is model]
        for part in Journal(results / f"{benchmark.name}.jsonl", {}, []).parts() if names else ():
            try:
                with open(part, encoding="utf-8", errors="surrogateescape") as file:
                    stated = check_header(file.readline(), part)["conditions"]
            except (OSError, RecordError):
                continue  # the journal reports a damaged file
            place = stated if names[0] is None else stated.get("models", {}).get(names[0], {})
            entry = place.get("runtime", {})
            choice = Choice(entry.get("name", "torch"), found[1].gradients if found else "module")
            if names[0] in _victims(benchmark):
                choice = dataclasses.replace(choice, gradients=entry.get("gradients", "module"))
            found = (found[0] if found else part, choice)
    return found


class _Seat:
    """Tries runtimes for one model on the first images."""

    def __init__(self, model: Classifier, images: Tensor, device: torch.device, settings: Settings) -> None:
        self.model, self.device, self.settings = model, device, settings
        self.own = Portions(model) if device.type == "cpu" else model
        self.images = images.to(device)
        self.some = self.images[: max(2, ELEMENTS // 2 // self.images[0].numel())]
        self.session: Callable[[Tensor], Tensor] | None = None
        self.copy: nn.Module | None = None

    def served(self) -> Served:
        """Returns the model in the form that was chosen."""
        return Served(self.own, tuple(self.images.shape[1:]), self.session, self.copy)

    def choose(self, attacked: bool) -> Choice:
        """Returns the choice of process 0; only that of ``auto`` depends on measured times.

        Raises:
            ConfigError: the runtime that the settings name is unsuited.
        """
        wanted, choice = self.settings.runtime, Choice()
        notes: list[str] = []
        candidates = (wanted,) if wanted != "auto" else RUNTIMES if self._on_cpu() else ("compile",)
        for runtime in candidates:
            try:
                self._check_settings(runtime)
                choice = self._open(runtime, quick=wanted == "auto")
                notes = []
                break
            except Unsuited as reason:
                if wanted != "auto":
                    raise ConfigError(
                        f"evaluation.runtime: {wanted} cannot be used: {reason}; auto or torch can"
                    ) from None
                notes.append(f"{runtime}: {reason}")
        if notes:
            notes = [f"evaluation.runtime: auto: {self.model.source} is run by torch ({'; '.join(notes)})"]
        gradients = "module"
        if attacked and self.settings.amp is None:
            try:
                self._fold(quick=wanted == "auto")
                gradients = "folded"
            except Unsuited as reason:
                log.info("gradients are those of the module itself: %s", reason)
        return dataclasses.replace(choice, gradients=gradients, notes=tuple(notes))

    def take(self, choice: Choice, by: str) -> Choice:
        """Prepares a choice that was made before; raises a RecordError if it cannot be used here."""
        try:
            if choice.runtime != "torch":
                self._check_settings(choice.runtime)
                choice = dataclasses.replace(self._open(choice.runtime), gradients=choice.gradients, notes=choice.notes)
            if choice.gradients == "folded":
                self._fold()
        except Unsuited as reason:
            raise RecordError(
                f"{by} the runtime {choice.runtime} (gradients: {choice.gradients}), which cannot be used here: {reason}. "
                "Results are never mixed: use another output_dir, or --fresh to delete the old results."
            ) from None
        return choice

    def _on_cpu(self) -> bool:
        return self.device.type == "cpu"

    def _check_settings(self, runtime: str) -> None:
        if self.settings.amp is not None:
            raise Unsuited(f"it computes in float32, but evaluation.amp is {self.settings.amp}")
        if runtime != "compile" and not self._on_cpu():
            raise Unsuited(f"it runs on a CPU, but the device is {self.device}")

    def _open(self, runtime: str, *, quick: bool = False) -> Choice:
        """Opens a session and compares it with the module; with ``quick``, it must also be faster."""
        with torch.no_grad():
            if not torch.equal(*(self.own(self.some) for _ in range(2))):
                raise Unsuited("the model is random: it gives two answers for the same images")
            wanted = self.own(self.images)
        session = open_session(runtime, self.model, self.images.shape[-1], self._key())
        try:
            answers = [session(self.images), session(self.images[:1])]
        except Exception as error:  # runtimes raise any kind of error
            raise Unsuited(reason_of(error)) from error
        _check_same(answers[0], wanted)
        _check_same(answers[1], wanted[:1])
        if quick:
            _check_faster(lambda: session(self.some), lambda: self.own(self.some))
        self.session = session
        return Choice(runtime, "module", float(f"{(answers[0] - wanted).abs().max():.3g}"), len(wanted))

    def _fold(self, *, quick: bool = False) -> None:
        """Makes the folded copy; with ``quick``, its gradients must be faster than the module's."""
        from RobustART.models.folding import folded  # imports timm, which takes a second

        copy: nn.Module = folded(self.model)
        copy = Portions(copy, FOLDED) if self._on_cpu() else copy
        some = self.some
        with torch.no_grad():
            try:
                logits, wanted = copy(some), self.own(some)
            except Exception as error:
                raise Unsuited(f"the folded copy fails: {reason_of(error)}") from error
        spread = float(wanted.max() - wanted.min())
        difference = float((logits - wanted).abs().max())
        if logits.shape != wanted.shape or not difference <= LOGITS * spread:
            raise Unsuited(f"the folded copy has other logits, by up to {difference:.2g} in a range of {spread:.2g}")
        if quick:
            _check_faster(lambda: _gradient(copy, some), lambda: _gradient(self.own, some))
        self.copy = copy

    def _key(self) -> str | None:
        """Returns what identifies the exported graph, or None if the model has attributes that nothing identifies.

        These are weights, attributes of modules and of the user's classes, source code of the user, and versions.
        """
        parts = list(self.model.modules())
        owners = [*parts, *dict.fromkeys(cls for part in parts for cls in type(part).__mro__ if not is_library(cls))]
        try:
            state = [sorted((name, _identity(value)) for name, value in _attributes(owner)) for owner in owners]
        except (TypeError, RecursionError) as reason:
            log.info("the graph of %s is not kept: %s", self.model.source, reason)
            return None
        code = source_digests(type(part) for part in parts)
        stated = json.dumps([fingerprint(self.model), state, code, versions(runtimes=True)])
        return hashlib.sha256(stated.encode()).hexdigest()[:32]


def _attributes(owner: object) -> Iterator[tuple[str, Any]]:
    """Yields the attributes of a module or class that neither its weights nor its source code determine."""
    held = (nn.Module, nn.Parameter)
    for name, value in vars(owner).items():
        code = isinstance(owner, type) and (callable(value) or hasattr(value, "__get__"))
        if not (code or name.startswith("__") or name in _HELD or isinstance(value, held)):
            yield name, value


_HELD = ("_parameters", "_modules", "_abc_impl")


def _identity(value: Any) -> str:
    """Returns what identifies a value in every process; raises a TypeError for an object that has no such thing."""
    if isinstance(value, (bool, int, float, complex, str, bytes, torch.dtype, torch.device, type(None))):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_identity, value))}]"
    if isinstance(value, (dict, set, frozenset)):
        pairs = value.items() if isinstance(value, dict) else [(entry, None) for entry in value]
        return f"{{{', '.join(sorted(f'{_identity(key)}: {_identity(entry)}' for key, entry in pairs))}}}"
    if isinstance(value, (Tensor, np.ndarray)):
        array = np.ascontiguousarray(torch.as_tensor(value).detach().cpu().double().numpy())
        return f"{value.dtype} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"
    if isinstance(value, functools.partial):
        return f"{_identity(value.func)}({_identity(value.args)}, {_identity(value.keywords)})"
    if is_library(value) and getattr(value, "__qualname__", "<").isidentifier():
        return f"{value.__module__}.{value.__qualname__}"
    if is_library(type(value)) and hasattr(value, "__dict__") and not callable(value):
        return f"{type(value).__qualname__} {_identity(vars(value))}"
    raise TypeError(f"nothing identifies an attribute of the type {type(value).__name__}")


def _gradient(model: nn.Module, images: Tensor) -> None:
    leaf = images.clone().requires_grad_()
    with torch.enable_grad():
        torch.autograd.grad(model(leaf).logsumexp(1).sum(), leaf)


def _check_same(logits: Tensor, wanted: Tensor) -> None:
    """Raises :class:`Unsuited` unless predictions are equal and probabilities nearly so."""
    if logits.shape != wanted.shape or not logits.isfinite().all():
        raise Unsuited("it returns other or invalid logits")
    unequal = int((logits.argmax(1) != wanted.argmax(1)).sum())
    difference = float((logits.double().softmax(1) - wanted.double().softmax(1)).abs().max())
    if unequal or not difference <= CONFIDENCE:
        raise Unsuited(
            f"{unequal} of {len(wanted)} predictions and a probability, by {difference:.2g}, differ from torch's"
        )


def _check_faster(ours: Callable[[], object], theirs: Callable[[], object]) -> None:
    """Raises :class:`Unsuited` unless the first function is faster, in the best of two calls each."""
    best = [float("inf"), float("inf")]
    for _ in range(2):
        for i, run in enumerate((ours, theirs)):
            with torch.no_grad():
                started = time.perf_counter()
                run()
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                best[i] = min(best[i], time.perf_counter() - started)
    if best[0] * GAIN > best[1]:
        raise Unsuited(f"it is not faster ({best[0] * 1e3:.3g} against {best[1] * 1e3:.3g} ms)")
