"""Generating goes on where it was stopped, to the same bytes, with the same photos, settings and versions, and no others."""

import errno
import json
import multiprocessing
import os
import signal
import time

import pytest

from RobustART.cli import main
from RobustART.data import create_dataset
from RobustART.errors import ConfigError, DataError, ProcessLostError, RecordError
from RobustART.evaluation.checks import only_writer
from RobustART.generation import manifest as ledger
from RobustART.generation.generate import generate
from RobustART.noise.corruptions import CORRUPTIONS
from tests.conftest import save_photo

OPTIONS = {"corruptions": ["gaussian_noise", "pixelate", "frost"], "severities": 1}
SMALL = {"options": OPTIONS, "size": 32, "progress": False}


@pytest.fixture
def photos(class_folders):
    return create_dataset(root_dir=class_folders)


@pytest.fixture
def whole(tmp_path, photos):
    """A data set that was made without a break."""
    generate("imagenet_c", photos, tmp_path / "whole", **SMALL)
    return contents(tmp_path / "whole")


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def in_a_process(function, *arguments):
    """Runs a function in a fork of this process, at the head of a group of its own, that Ctrl-C interrupts.

    A shell makes what it starts in the background deaf to it.
    """

    def run():
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os._exit(function(*arguments) or 0)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process


def dies_at(calls, photos, out, after):
    """Kills this process at one of its renames, before or after it."""
    replace, seen = os.replace, []

    def dying(old, new):
        seen.append(new)
        if after:
            replace(old, new)
        if len(seen) == calls:
            os.kill(os.getpid(), signal.SIGKILL)
        if not after:
            replace(old, new)

    os.replace = dying
    generate("imagenet_c", photos, out, **SMALL)


def test_killed_anywhere_it_goes_on_to_the_same_bytes(tmp_path, photos, whole):
    """Renames: the manifest, the list of photos, 18 pictures, 4 lists, the list of photos and the manifest again."""
    for calls in (1, 2, 3, 5, 6, 20, 21, 24, 25, 26):
        for after in (False, True):
            out = tmp_path / f"{calls}-{after}"
            process = in_a_process(dies_at, calls, photos, out, after)
            process.join()
            assert process.exitcode == -signal.SIGKILL
            state = out / "manifest.json"
            assert state.is_file() == ((calls, after) != (1, False))
            if state.is_file():
                assert json.loads(state.read_text())["complete"] == ((calls, after) == (26, True))
            generate("imagenet_c", photos, out, **SMALL)
            assert contents(out) == whole, (calls, after)


def test_processes_end_with_the_one_that_was_killed(tmp_path, photos, whole, monkeypatch):
    slow(monkeypatch, 0.1)
    process = in_a_process(lambda: generate("imagenet_c", photos, tmp_path / "c", workers=2, **SMALL) and 0)
    wait_for(lambda: (tmp_path / "c" / "photos.jsonl").is_file() and b"digest" in read(tmp_path / "c" / "photos.jsonl"))
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    time.sleep(0.2)
    left = contents(tmp_path / "c")
    assert not json.loads(left["manifest.json"])["complete"]
    monkeypatch.undo()
    generate("imagenet_c", photos, tmp_path / "c", workers=2, **SMALL)
    assert contents(tmp_path / "c") == whole


def test_ctrl_c_leaves_what_is_whole(tmp_path, class_folders, photos, whole, monkeypatch, capfd):
    slow(monkeypatch, 0.3)
    command = ["noise", "generate", "--benchmark", "imagenet_c", "--source", str(class_folders), "--size", "32"]
    command += ["--set", "corruptions=[gaussian_noise, pixelate, frost]", "--set", "severities=1"]
    for workers in ("1", "2"):
        out = tmp_path / workers
        process = in_a_process(main, [*command, "--out", str(out), "--workers", workers])
        wait_for(lambda out=out: (out / "photos.jsonl").is_file() and b"digest" in read(out / "photos.jsonl"))
        os.killpg(process.pid, signal.SIGINT)
        started = time.monotonic()
        process.join()
        assert process.exitcode == 130
        assert time.monotonic() - started < 2
        assert not json.loads((out / "manifest.json").read_text())["complete"]
        written = len(list(out.rglob("*.JPEG")))
        time.sleep(0.3)
        assert len(list(out.rglob("*.JPEG"))) == written < 18  # no process writes on
        error = capfd.readouterr().err
        assert error.endswith("interrupted; the same command resumes from here\n")
        assert "Traceback" not in error
    monkeypatch.undo()
    for workers in ("1", "2"):
        assert main([*command, "--out", str(tmp_path / workers)]) == 0
        made = contents(tmp_path / workers)
        assert {name: made[name] for name in made if name.endswith(".JPEG")} == {
            name: whole[name] for name in whole if name.endswith(".JPEG")
        }


def slow(monkeypatch, seconds):
    write = ledger.write_file

    def slowly(path, data, **options):
        if path.suffix == ".JPEG":
            time.sleep(seconds)
        write(path, data, **options)

    monkeypatch.setattr("RobustART.generation.photos.write_file", slowly)


def wait_for(condition, seconds=30):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def read(path):
    return path.read_bytes()


def test_what_is_missing_or_damaged_is_written_and_nothing_else(tmp_path, photos, whole):
    manifest = generate("imagenet_c", photos, tmp_path / "c", workers=2, **SMALL)
    assert manifest["complete"]
    assert manifest["files"] == 18
    assert len(whole) == 18 + 3 + 1 + 2  # pictures, lists, all.json, manifest and photos
    assert contents(tmp_path / "c") == whole
    pictures = sorted((tmp_path / "c").rglob("*.JPEG"))
    times = {p: p.stat().st_mtime_ns for p in pictures}
    missing, empty, short, changed = pictures[2], pictures[7], pictures[11], pictures[16]
    missing.unlink()
    empty.write_bytes(b"")
    short.write_bytes(short.read_bytes()[:-9])
    data = bytearray(changed.read_bytes())
    data[400] ^= 1
    changed.write_bytes(data)
    (tmp_path / "c" / "meta" / "all.json").unlink()
    assert generate("imagenet_c", photos, tmp_path / "c", workers=2, **SMALL) == manifest
    assert contents(tmp_path / "c") == whole
    assert {p for p in pictures if p.stat().st_mtime_ns != times[p]} == {missing, empty, short, changed}


def test_a_damaged_list_of_photos_costs_work_only(tmp_path, photos, whole):
    generate("imagenet_c", photos, tmp_path / "c", **SMALL)
    path = tmp_path / "c" / "photos.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for text in (b"", b"".join(lines)[:-20], b'\x00\n[1]\n3\n{"id": [1]}\n' + b"".join(lines[2:]), None):
        path.unlink() if text is None else path.write_bytes(text)
        generate("imagenet_c", photos, tmp_path / "c", **SMALL)
        assert contents(tmp_path / "c") == whole


def test_a_run_says_that_it_mends(tmp_path, photos, monkeypatch):
    """While files of a whole set are written again, nobody may read it."""
    generate("imagenet_c", photos, tmp_path / "c", **SMALL)
    next((tmp_path / "c").rglob("*.JPEG")).unlink()
    states = []

    def look(path, data, **options):
        states.append(json.loads((tmp_path / "c" / "manifest.json").read_text())["complete"])
        ledger.write_file(path, data, **options)

    monkeypatch.setattr("RobustART.generation.photos.write_file", look)
    generate("imagenet_c", photos, tmp_path / "c", **SMALL)
    assert states == [False]


def test_other_settings_are_refused(tmp_path, class_folders, photos, monkeypatch):
    generate("imagenet_c", photos, tmp_path / "c", **SMALL)
    before = contents(tmp_path / "c")
    for changed, message in (
        ({"seed": 1}, "seed: 0 -> 1"),
        ({"options": {**OPTIONS, "jpeg_quality": 90}}, "options.jpeg_quality: 85 -> 90"),
        ({"size": 40}, "preprocessing.input_size: 32 -> 40"),
        ({"interpolation": "bicubic"}, 'preprocessing.interpolation: "bilinear" -> "bicubic"'),
        ({"limit": 5}, r"the source image n\w+/\w+.png is missing; files: 18 -> 15; limit: null -> 5"),
    ):
        with pytest.raises(ConfigError, match=f"data set of other settings: .*{message}.* Nothing was changed there"):
            generate("imagenet_c", photos, tmp_path / "c", **{**SMALL, **changed})
    with monkeypatch.context() as patch:
        patch.setattr("RobustART.evaluation.conditions.importlib.metadata.version", lambda name: "0.1")
        with pytest.raises(ConfigError, match=r'versions.numpy: "[\d.]+" -> "0.1"'):
            generate("imagenet_c", photos, tmp_path / "c", **SMALL)
    with monkeypatch.context() as patch:
        patch.setattr("RobustART.generation.generate.__version__", "9.9")
        with pytest.raises(ConfigError, match=r'versions.RobustART: ".*" -> "9.9"'):
            generate("imagenet_c", photos, tmp_path / "c", **SMALL)
    with pytest.raises(ConfigError, match='benchmark: "imagenet_c" -> "imagenet_s"'):
        generate("imagenet_s", photos, tmp_path / "c", size=32, progress=False)
    save_photo((class_folders / photos.files[0]).with_name("new.png"), 9)
    with pytest.raises(ConfigError, match=rf"the source image {photos.files[0].partition('/')[0]}/new.png is new"):
        generate("imagenet_c", create_dataset(root_dir=class_folders), tmp_path / "c", **SMALL)
    assert contents(tmp_path / "c") == before


def test_changed_photos_are_refused_before_anything_is_written(tmp_path, class_folders, photos):
    generate("imagenet_c", photos, tmp_path / "c", **SMALL)
    lost = next((tmp_path / "c").rglob("*00000001.JPEG"))
    lost.unlink()
    before = contents(tmp_path / "c")
    kept = (class_folders / photos.files[4]).read_bytes()
    save_photo(class_folders / photos.files[4], 77)
    for workers in (0, 2):
        with pytest.raises(ConfigError, match=f"the source image {photos.files[4]} is not the one that the files in"):
            generate("imagenet_c", photos, tmp_path / "c", workers=workers, **SMALL)
    assert contents(tmp_path / "c") == before
    (class_folders / photos.files[4]).write_bytes(kept)
    generate("imagenet_c", photos, tmp_path / "c", **SMALL)
    assert lost.is_file()


def test_pictures_that_come_out_otherwise_are_not_mixed(tmp_path, photos, monkeypatch):
    """A library that does not say so by its version."""
    generate("imagenet_c", photos, tmp_path / "c", **SMALL)
    lost = next((tmp_path / "c" / "pixelate").rglob("*.JPEG"))
    lost.unlink()
    monkeypatch.setitem(CORRUPTIONS._entries, "pixelate", lambda image, severity, rng: image // 2)
    with pytest.raises(ConfigError, match="is damaged and cannot be made again"):
        generate("imagenet_c", photos, tmp_path / "c", **SMALL)
    assert not lost.exists()


def test_folders_that_are_not_ours(tmp_path, photos, whole):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(ConfigError, match="is not empty and has no manifest.json"):
        generate("imagenet_c", photos, tmp_path / "mine", **SMALL)
    for text, message in (
        ("{", "manifest.json cannot be read"),
        ("[1]", "manifest.json is not the manifest of a generated"),
    ):
        (tmp_path / "mine" / "manifest.json").write_text(text)
        with pytest.raises(ConfigError, match=message):
            generate("imagenet_c", photos, tmp_path / "mine", **SMALL)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / ".manifest.json.tmp").write_text('{"form')
    generate("imagenet_c", photos, tmp_path / "begun", **SMALL)
    assert contents(tmp_path / "begun") == whole
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="the folder .*file cannot be created"):
        generate("imagenet_c", photos, tmp_path / "file", **SMALL)


def test_what_cannot_be_made_leaves_nothing(tmp_path, class_folders, photos):
    with pytest.raises(ConfigError, match=rf"{photos.files[0]}: gaussian_noise needs 32 x 32 pixels or more, got 16"):
        generate("imagenet_c", photos, tmp_path / "c", **{**SMALL, "size": 16})
    path = class_folders / photos.files[0]
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=photos.files[0]):
        generate("imagenet_c", photos, tmp_path / "c", **SMALL)
    assert not (tmp_path / "c").exists()


def test_a_second_run_is_refused(tmp_path, photos, monkeypatch):
    monkeypatch.setattr("RobustART.evaluation.checks.PATIENCE", 0.1)
    generate("imagenet_c", photos, tmp_path / "c", **SMALL)
    with only_writer(tmp_path / "c"), pytest.raises(RecordError, match="another run is writing to"):
        generate("imagenet_c", photos, tmp_path / "c", **SMALL)


@pytest.mark.parametrize("workers", [0, 2])
def test_errors_name_the_photo_and_what_was_written_stays(tmp_path, class_folders, photos, whole, workers):
    path = class_folders / photos.files[3]
    kept = path.read_bytes()
    path.write_bytes(kept[:-200])
    with pytest.raises(DataError, match=f"{photos.files[3]} cannot be decoded"):
        generate("imagenet_c", photos, tmp_path / "c", workers=workers, **SMALL)
    path.write_bytes(kept)
    assert list((tmp_path / "c").rglob("*.JPEG"))
    generate("imagenet_c", photos, tmp_path / "c", workers=workers, **SMALL)
    assert contents(tmp_path / "c") == whole


def test_errors_of_a_users_corruption_name_the_photo(tmp_path, photos, monkeypatch, caplog):
    def broken(image, severity, rng):
        raise ZeroDivisionError

    monkeypatch.setitem(CORRUPTIONS._entries, "broken", broken)
    with pytest.raises(ZeroDivisionError):
        generate("imagenet_c", photos, tmp_path / "c", options={"corruptions": "broken"}, size=32, progress=False)
    assert f"while generating the files of {photos.files[0]}" in caplog.text


def test_a_lost_process_is_named(tmp_path, photos, whole, monkeypatch):
    parent, make = os.getpid(), CORRUPTIONS["frost"]

    def dying(image, severity, rng):
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return make(image, severity, rng)

    with monkeypatch.context() as patch:
        patch.setitem(CORRUPTIONS._entries, "frost", dying)
        with pytest.raises(
            ProcessLostError,
            match=rf"2 worker processes was killed from outside \(SIGKILL\) while it worked on .*({photos.files[1]}|{photos.files[2]})",
        ):
            generate("imagenet_c", photos, tmp_path / "c", workers=2, **SMALL)
    generate("imagenet_c", photos, tmp_path / "c", workers=2, **SMALL)
    assert contents(tmp_path / "c") == whole


def test_a_full_disk_is_an_error_and_the_run_goes_on_later(tmp_path, photos, whole, monkeypatch):
    replace, calls = os.replace, []

    def full(old, new):
        calls.append(new)
        if len(calls) == 9:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(old, new)

    with monkeypatch.context() as patch:
        patch.setattr("RobustART.core.files.os.replace", full)
        with pytest.raises(
            ConfigError, match=r"cannot write .*JPEG: No space left on device. The files written before are kept"
        ):
            generate("imagenet_c", photos, tmp_path / "c", **SMALL)
    assert not list((tmp_path / "c").rglob(".*"))
    generate("imagenet_c", photos, tmp_path / "c", **SMALL)
    assert contents(tmp_path / "c") == whole
