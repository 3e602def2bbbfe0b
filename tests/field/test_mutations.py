"""Configs and images mutated at random: each ends in a result or in one line, and within a minute.

The seed is ROBUSTART_MUTATION_SEED, which a failure prints, and the number of each kind is ROBUSTART_MUTATIONS::

    ROBUSTART_MUTATIONS=200 ROBUSTART_MUTATION_SEED=$(date +%Y%V) python -m pytest tests/field/test_mutations.py
"""

import contextlib
import io
import os
import signal
import warnings

import numpy as np
import pytest
import yaml
from PIL import Image

from RobustART.core.imaging import DECODERS, decode
from RobustART.core.preprocessing import Preprocessing
from RobustART.data import create_dataset, load_views
from RobustART.errors import UserError
from RobustART.training.cls_solver import main
from tests.conftest import make_picture

SEED = int(os.environ.get("ROBUSTART_MUTATION_SEED", "14"))
MOST = int(os.environ.get("ROBUSTART_MUTATIONS", "0"))
CONFIGS, IMAGES = MOST or 30, MOST or 40
LIMIT = 60
"""Seconds that a mutation may take."""
VALUES = [
    None, True, False, 0, -1, 1, 3, 10**9, 10**30, 1e-320, 1e308, float("nan"), float("inf"), -0.5, "", " ", "a", "yes", "1e3",
    "8/255", "1/0", "0x10", "../..", "/", "/dev/null", "a" * 300, "a:b", "os:getpid", "os:path", "\u00e9\U0001f600", "\x07", "{}",
    "%s", "a\nb", [], [[]], [None], [1, "a"], {}, {"a": 1}, {3: 4}, {"type": "x"}, {"kwargs": 4}, list(range(50)), "2001-99-99",
]  # fmt: skip
TEXTS = [
    "*",
    "&",
    "!!int ",
    "!!python/name:os.system ",
    "[" * 99,
    "{",
    "\t",
    ": ",
    "- ",
    "<<: ",
    "\x00",
    "\ufeff",
    "'",
    '"',
    "%",
    "?",
]
FULL = """
model: {type: "MODEL:build", kwargs: {classes: 3}, preprocessing: {input_size: 32, resize: 36, mean: [0.5], std: [0.25]}}
optimizer: {type: SGD, kwargs: {nesterov: true, momentum: 0.9, weight_decay: 0.0001}}
lr_scheduler: {type: Step, kwargs: {base_lr: 0.01, lr_steps: [1], lr_mults: [0.1], warmup_lr: 0.01, warmup_steps: 0, max_iter: 2}}
label_smooth: 0.1
ema: {enable: true, kwargs: {decay: 0.99}}
data:
  batch_size: 2
  num_workers: 0
  train: {root_dir: photos, transforms: {type: STANDARD}, sampler: {type: distributed_iteration}}
  test: {root_dir: photos}
saver: {val_freq: 1, save_many: false}
training: {device: cpu, seed: 1, adversary: {type: pgd, eps: 8/255, steps: 1}}
evaluation:
  batch_size: 4
  workers: 0
  device: cpu
  seed: 3
  limit: 3
  benchmarks:
    clean: {}
    imagenet_c: {corruptions: [gaussian_noise], severities: [1]}
    imagenet_s: {decoders: [pil], resizes: [pil-box]}
    adversarial: {attacks: [fgsm, {pgd_linf: {steps: 2}}], eps: {Linf: [1/255]}}
output_dir: out
"""


@contextlib.contextmanager
def limited(what):
    """Raises an AssertionError if the block takes longer than LIMIT."""

    def late(*_):
        raise AssertionError(f"{what} takes longer than {LIMIT} s; the seed is {SEED}")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def places(tree, path=()):
    """Yields the path of each value."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield (*path, key)
        yield from places(value, (*path, key))


def mutated(rng, text):
    """Returns the config with some values or keys replaced, or with its text damaged."""
    tree = yaml.safe_load(text)
    for _ in range(rng.integers(1, 4)):
        every = list(places(tree))
        path = every[rng.integers(len(every))]
        holder = tree
        for key in path[:-1]:
            holder = holder[key]
        kind = rng.integers(6)
        if kind == 0:
            del holder[path[-1]]
        elif kind == 1 and isinstance(holder, dict):
            holder[["x", "type", 3, "kwargs", f"{path[-1]}s"][rng.integers(5)]] = holder.pop(path[-1])
        elif kind == 2:
            other = every[rng.integers(len(every))]
            value = tree
            with contextlib.suppress(KeyError, IndexError, TypeError):
                for key in other:
                    value = value[key]
                holder[path[-1]] = yaml.safe_load(yaml.safe_dump(value))
        else:
            holder[path[-1]] = VALUES[rng.integers(len(VALUES))]
        if not tree:
            break
    text = yaml.safe_dump(tree, allow_unicode=True)
    if rng.random() < 0.3:
        place = rng.integers(len(text))
        text = text[:place] + TEXTS[rng.integers(len(TEXTS))] + text[place + rng.integers(3) :]
    return text


def test_mutated_configs(tmp_path, photo_folder, own_model, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config.yaml"
    for number in range(CONFIGS):
        rng = np.random.default_rng([SEED, number])
        text = mutated(rng, FULL.replace("MODEL", own_model))
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        what = f"config {number} of seed {SEED}:\n{text}"
        try:
            with limited(what), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                status = main(["--config", str(path), "--check"])
                if status == 0:  # what the check accepts runs
                    capsys.readouterr()
                    status = main(["--config", str(path), "--trial", "2", "--quiet"])
        except Exception as error:
            raise AssertionError(f"{type(error).__name__}: {error} of {what}") from error
        shown = capsys.readouterr().err
        assert status in (0, 2), what
        if status:
            assert shown.splitlines()[-1].startswith("error: "), f"{shown} of {what}"
            assert "Traceback" not in shown, what
            assert " at 0x" not in shown, what


def encoded(seed, kind):
    """Returns an image of a format in bytes."""
    buffer, image = io.BytesIO(), Image.fromarray(make_picture(seed, 40, 52))
    if kind == "GIF":
        image = image.convert("P")
    elif kind == "16":
        kind, image = "PNG", Image.fromarray(np.arange(1600, dtype=np.uint16).reshape(40, 40))
    elif kind == "CMYK":
        kind, image = "JPEG", image.convert("CMYK")
    image.save(buffer, kind)
    return buffer.getvalue()


KINDS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "16", "CMYK", "PPM")


def damaged(rng, data):
    """Returns bytes cut, overwritten, repeated, or joined with others."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        size = max(1, len(data))
        place = int(rng.integers(size if rng.random() < 0.5 else min(size, 64)))
        kind = rng.integers(6)
        if kind == 0:
            del data[place:]
        elif kind == 1 and data:
            data[min(place, len(data) - 1)] = int(rng.integers(256))
        elif kind == 2:
            data[place : place + 4] = [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"][rng.integers(3)]
        elif kind == 3:
            del data[place : place + int(rng.integers(1, 100))]
        elif kind == 4:
            data[place:place] = data[: int(rng.integers(1, 200))]
        else:
            data += rng.bytes(int(rng.integers(1, 100)))
    return bytes(data)


def test_damaged_images(tmp_path):
    decoders = [name for name in DECODERS if _installed(name)]
    for number in range(IMAGES):
        rng = np.random.default_rng([SEED, 1, number])
        kind = KINDS[rng.integers(len(KINDS))]
        data = damaged(rng, encoded(number, kind))
        decoder = decoders[rng.integers(len(decoders))]
        what = f"image {number} ({kind} by {decoder}) of seed {SEED}"
        path = tmp_path / "photos" / "a" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        try:
            with limited(what), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with contextlib.suppress(UserError):
                    image = decode(data, exif_orientation=bool(rng.integers(2)), decoder=decoder)
                    assert (image.dtype, image.ndim, image.shape[2]) == (np.uint8, 3, 3), what
                with contextlib.suppress(UserError):
                    dataset = create_dataset(root_dir=tmp_path / "photos")
                    view = {"clean": lambda sample, rng: sample.crop}
                    list(load_views(dataset, [[0]], view, Preprocessing(32, 32).apply, size=32, seed=0))
        except AssertionError:
            raise
        except Exception as error:
            (tmp_path / "kept").write_bytes(data)
            raise AssertionError(f"{type(error).__name__}: {error} of {what}, kept in {tmp_path / 'kept'}") from error
        path.unlink()


def _installed(name):
    with contextlib.suppress(UserError):
        return decode(encoded(0, "JPEG"), decoder=name) is not None
    return False


@pytest.mark.parametrize("number", range(3))
def test_a_mutation_depends_on_the_seed_alone(number):
    first, second = (mutated(np.random.default_rng([SEED, number]), FULL) for _ in range(2))
    assert first == second
