"""Other runtimes for a model's passes without gradient: OpenVINO, ONNX Runtime and torch.compile, all in float32.

A model is exported by ``torch.export`` to one ONNX graph with a fixed image size and any batch size, unless it reads
numbers from its images. The graph is kept in the user's cache folder between runs.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from RobustART.core.files import open_whole
from RobustART.core.optional import require
from RobustART.core.serving import Session

log = logging.getLogger(__name__)

PORTION = 8 * 3 * 224 * 224
"""Largest number of input values in a pass on a CPU, whose activations fit the caches; logits do not depend on it."""
CACHE_BYTES = 4 << 30
"""Size of the cache folder above which the graphs that were not used for longest are deleted."""


class Unsuited(Exception):
    """A model or a machine for which a runtime or a folded copy cannot be used; the message is the reason."""


def reason_of(error: BaseException) -> str:
    """Returns the first line of an error's message, shortened, for a sentence."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= 160 else f"{lines[0][:157]}..."


def check_plain(model: nn.Module) -> None:
    """Raises :class:`Unsuited` if a copy of a module may not do the same as the module itself."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    for name, part in model.named_modules():
        if any(getattr(part, kind, None) for kind in hooks):
            raise Unsuited(f"the module {name or type(model).__name__!r} has hooks")
        if part.training:
            raise Unsuited(f"the module {name or type(model).__name__!r} is in training mode")
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if value.is_floating_point() and value.dtype != torch.float32:
            raise Unsuited(f"{name} is {str(value.dtype).removeprefix('torch.')}, not float32")


class _Reads(TorchFunctionMode):
    """Raises :class:`Unsuited` where a model reads a number from a tensor other than its parameters and buffers."""

    _CALLS = frozenset(
        getattr(Tensor, name)
        for name in ("item", "tolist", "numpy", "__array__", "__bool__", "__int__", "__float__", "__index__")
    )

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.fixed = {id(value) for value in (*model.parameters(), *model.buffers())}

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in self._CALLS and id(args[0]) not in self.fixed:
            raise Unsuited(
                f"it reads numbers from tensors (Tensor.{function.__name__}), and a graph would keep those of one image"
            )
        return function(*args, **(kwargs or {}))


def open_session(runtime: str, model: nn.Module, size: int, key: str | None) -> Session:
    """Returns a session of a model; the model is not changed.

    Args:
        runtime: ``openvino``, ``onnxruntime`` or ``compile``.
        model: (N, 3, S, S) in [0, 1] to logits, in evaluation mode.
        size: S.
        key: identifies the model and its weights in the cache of graphs; None for a graph that is not kept.

    Raises:
        Unsuited: the runtime is missing, or the model cannot be exported.
    """
    check_plain(model)
    try:
        if runtime == "compile":
            return _compiled(model)
        start = {"openvino": _openvino, "onnxruntime": _onnxruntime}[runtime]
        library = _import(runtime)
        graph = to_onnx(model, size) if key is None else cached(f"{key}-{size}", lambda: to_onnx(model, size))
        return start(library, graph, torch.get_num_threads())
    except (Unsuited, MemoryError):
        raise
    except Exception as error:  # exporters and runtimes raise any kind of error
        raise Unsuited(reason_of(error)) from error


def to_onnx(model: nn.Module, size: int) -> bytes:
    """Returns a model as an ONNX graph, from ``images`` (N, 3, size, size) to ``logits``, for any N."""
    own = copy.deepcopy(model).cpu().requires_grad_(False)
    example = torch.linspace(0, 1, 2 * 3 * size * size).reshape(2, 3, size, size)
    with torch.no_grad(), torch.random.fork_rng(devices=[]), _Reads(own):
        own(example)
    with _quiet(), torch.no_grad(), torch.random.fork_rng(devices=[]):
        program = torch.export.export(own, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False)
        buffer: Any = io.BytesIO()
        try:  # the older exporter takes a tenth of the time; what it traces has no control flow any more
            traced = torch.jit.trace(program.module(), example, check_trace=False)
            torch.onnx.export(
                traced, (example,), buffer, dynamo=False, input_names=["images"], output_names=["logits"],
                dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
            )  # fmt: skip
        except Exception:
            made: Any = torch.onnx.export(program, dynamo=True, verbose=False)
            return made.model_proto.SerializeToString()
    return buffer.getvalue()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the warnings of exporters, and what their C++ code prints, which are for the authors of a model."""
    exporters = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in exporters]
    sys.stdout.flush()
    kept = os.dup(1)
    with warnings.catch_warnings(), open(os.devnull, "wb") as nothing:
        warnings.simplefilter("ignore")
        try:
            os.dup2(nothing.fileno(), 1)
            for logger in exporters:
                logger.setLevel(logging.CRITICAL)
            yield
        finally:
            sys.stdout.flush()
            os.dup2(kept, 1)
            os.close(kept)
            for logger, level in zip(exporters, levels, strict=True):
                logger.setLevel(level)


def _import(runtime: str) -> Any:
    """Returns a runtime's library; OpenVINO is imported without its telemetry, which it would send on import."""
    unsent = "openvino_telemetry"
    blocked = runtime == "openvino" and runtime not in sys.modules and unsent not in sys.modules
    if blocked:
        sys.modules[unsent] = None  # type: ignore[assignment]
    try:
        return require(runtime)
    except Exception as error:
        raise Unsuited(f"{runtime} is not installed or does not start; pip install 'RobustART[fast]'") from error
    finally:
        if blocked:
            del sys.modules[unsent]


def _openvino(openvino: Any, graph: bytes, threads: int) -> Session:
    core = openvino.Core()
    properties = {
        "INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY", "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False,
    }  # fmt: skip
    request = core.compile_model(core.read_model(graph), "CPU", properties).create_infer_request()
    return _of_arrays(lambda images: request.infer([images], share_inputs=True)[0])


def _onnxruntime(onnxruntime: Any, graph: bytes, threads: int) -> Session:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return _of_arrays(lambda images: session.run(None, {name: images})[0])


def _of_arrays(run: Callable[[np.ndarray[Any, Any]], Any]) -> Session:
    def session(images: Tensor) -> Tensor:
        pieces = images.detach().contiguous().split(max(1, PORTION // images[0].numel()))
        return torch.cat([torch.from_numpy(np.array(run(piece.numpy()))) for piece in pieces])

    return session


def _compiled(model: nn.Module) -> Session:
    own = copy.deepcopy(model).requires_grad_(False).to(memory_format=torch.channels_last)
    compiled = torch.compile(own)

    def run(images: Tensor) -> Tensor:
        with torch.no_grad():
            return compiled(images.contiguous(memory_format=torch.channels_last)).float()

    return run


def cache_folder() -> Path:
    """Returns the folder of exported graphs, ``robustart/graphs`` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "robustart" / "graphs"


def cached(key: str, make: Callable[[], bytes]) -> bytes:
    """Returns the graph of a key from the cache, or makes and stores it; a damaged file is made again.

    A file is a SHA-256 of the graph and the graph. A folder that cannot be written is not an error.
    """
    path = cache_folder() / f"{key}.graph"
    with contextlib.suppress(OSError):
        content = path.read_bytes()
        if hashlib.sha256(content[32:]).digest() == content[:32]:
            os.utime(path)
            return content[32:]
        log.warning("%s is damaged; the graph is exported again", path)
    graph = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_whole(path, unique=True) as file:
            file.write(hashlib.sha256(graph).digest() + graph)
        _prune(path)
    except OSError as error:
        log.info("the exported graph is not kept: %s", error.strerror or error)
    return graph


def _prune(newest: Path) -> None:
    files = sorted(newest.parent.glob("*.graph"), key=lambda file: (file != newest, -file.stat().st_mtime))
    total = 0
    for file in files:
        total += file.stat().st_size
        if total > CACHE_BYTES and file != newest:
            file.unlink(missing_ok=True)
