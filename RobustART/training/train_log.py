"""Logs a training: to the console and ``log.txt``, to one JSON line per interval, and to TensorBoard."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from RobustART.core.files import write_whole
from RobustART.errors import TrainingError

log = logging.getLogger(__name__)


class TrainingLog:
    """Writes the numbers of a training, in process 0 only.

    A run that resumes at a step removes the lines of later steps, so that no step is logged twice.
    """

    def __init__(self, folder: Path, *, done: int, steps: int, steps_per_epoch: int, images: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.path = folder / "train.jsonl"
        self.steps, self.steps_per_epoch, self.images = steps, steps_per_epoch, images
        keep = kept_lines(self.path, done)
        write_whole(self.path, "".join(keep), error=TrainingError)
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115
        seconds = [int(path.name.split(".")[3]) for path in (folder / "events").glob("events.out.tfevents.*.*")]
        # Files are read in the order of the seconds in their names: this one must come after those of a killed run.
        time.sleep(min(1.0, max(0.0, max(seconds, default=0) + 1 - time.time())))
        self._events = SummaryWriter(str(folder / "events"), purge_step=done + 1)
        self._last = done, time.monotonic()

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Logs the numbers of a step."""
        before, then = self._last
        now = time.monotonic()
        seconds = max(now - then, 1e-9)
        self._last = step, now
        rate = (step - before) / seconds
        self._line(
            {"step": step, "epoch": step / self.steps_per_epoch, **numbers, "images_per_second": rate * self.images}
        )
        for name, value in numbers.items():
            self._events.add_scalar(f"train/{name}", value, step)
        self._events.add_scalar("train/images_per_second", rate * self.images, step)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        left = time_text((self.steps - step) / rate) if rate else "?"
        log.info("step %d/%d  %s  %.4g img/s  %s left", step, self.steps, shown, rate * self.images, left)

    def write_validation(self, step: int, numbers: Mapping[str, float]) -> None:
        """Logs the accuracies of a validation, in percent."""
        self._line({"step": step, "validation": dict(numbers)})
        for name, value in numbers.items():
            self._events.add_scalar(f"validation/{name}", value, step)
        log.info("step %d/%d  validation: %s", step, self.steps, "  ".join(f"{k} {v:.2f}" for k, v in numbers.items()))

    def restart_clock(self, step: int) -> None:
        """Excludes the time since the last line from the next rate."""
        self._last = step, time.monotonic()

    def flush(self) -> None:
        """Writes buffered lines, so that a checkpoint is never ahead of the log."""
        self._file.flush()
        self._events.flush()

    def close(self) -> None:
        """Closes the files."""
        self._file.close()
        self._events.close()

    def _line(self, data: Mapping[str, Any]) -> None:
        clean = {k: (v if not isinstance(v, float) or math.isfinite(v) else str(v)) for k, v in data.items()}
        self._file.write(json.dumps(clean) + "\n")
        self._file.flush()


def kept_lines(path: Path, done: int) -> list[str]:
    """Returns the complete lines of ``train.jsonl`` up to a step."""
    keep = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            try:
                step = json.loads(line)["step"]
            except (ValueError, KeyError, TypeError):
                continue  # a line that a kill cut off
            if step <= done:
                keep.append(line if line.endswith("\n") else line + "\n")
    return keep


def validated(path: Path, step: int) -> bool:
    """Returns whether ``train.jsonl`` has the validation after a step."""
    rows = map(json.loads, kept_lines(path, step))
    return any(row["step"] == step and "validation" in row for row in rows)


def time_text(seconds: float) -> str:
    """Returns a duration in the form ``1 d 02:03:04``."""
    days, rest = divmod(round(seconds), 86400)
    text = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days} d {text}" if days else text
