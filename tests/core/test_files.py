"""Files are written whole or not at all."""

import os

import pytest

from RobustART.core.files import open_whole, temporary_path, write_whole
from RobustART.errors import ConfigError, RecordError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("durable", [False, True])
def test_the_file_has_its_name_only_when_it_is_whole(tmp_path, unique, durable):
    path = tmp_path / "a.json"
    path.write_text("old")
    with open_whole(path, unique=unique, durable=durable) as file:
        file.write(b"ne")
        file.flush()
        assert path.read_text() == "old"
        assert names(tmp_path) == sorted([temporary_path(path, unique=unique).name, "a.json"])
        file.write(b"w")
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.json"]


def test_durable_waits_for_the_disk_before_the_rename(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (calls.append("fsync"), fsync(file)))
    monkeypatch.setattr(os, "replace", lambda old, new: (calls.append("replace"), replace(old, new)))
    write_whole(tmp_path / "a", b"1")
    assert calls == ["replace"]
    write_whole(tmp_path / "a", b"2", durable=True)
    assert calls == ["replace", "fsync", "replace"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_the_old_file_is_there_alone(tmp_path, error):
    path, backup = tmp_path / "a", tmp_path / "before"
    path.write_bytes(b"old")

    def fails():
        with open_whole(path, backup=backup) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        fails()
    assert names(tmp_path) == ["a"]
    assert path.read_bytes() == b"old"


def test_a_backup_is_the_file_before(tmp_path):
    path, backup = tmp_path / "a", tmp_path / "before"
    for content in (b"1", b"2", b"3"):
        with open_whole(path, backup=backup) as file:
            file.write(content)
    assert (path.read_bytes(), backup.read_bytes()) == (b"3", b"2")


def test_where_the_disk_is_full_the_backup_is_not_lost(tmp_path, monkeypatch):
    path, backup = tmp_path / "a", tmp_path / "before"
    path.write_bytes(b"2")
    backup.write_bytes(b"1")

    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"), open_whole(path, durable=True, backup=backup) as file:
        file.write(b"3")
    assert (path.read_bytes(), backup.read_bytes()) == (b"2", b"1")
    assert names(tmp_path) == ["a", "before"]


def test_two_processes_write_one_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    with open_whole(path, unique=True) as file:
        file.write(b"ours")
        with monkeypatch.context() as other:
            other.setattr(os, "getpid", lambda: 1)
            write_whole(path, b"theirs, longer", unique=True)
        assert path.read_bytes() == b"theirs, longer"
    assert path.read_bytes() == b"ours"
    assert names(tmp_path) == ["a"]


def test_text_is_utf8_with_unix_line_ends_and_lone_surrogates_escaped(tmp_path):
    write_whole(tmp_path / "a", "ä\n\udcff")
    assert (tmp_path / "a").read_bytes() == "ä\n\\udcff".encode()


def test_errors_name_the_file_the_reason_and_what_to_do(tmp_path):
    path = tmp_path / "missing" / "a"
    with pytest.raises(ConfigError, match=rf"^cannot write {path}: No such file or directory$"):
        write_whole(path, "")
    with pytest.raises(RecordError, match="No such file or directory. Make it$"):
        write_whole(path, "", error=RecordError, hint=". Make it")
    write_whole(path, "", make_folder=True)
    assert names(path.parent) == ["a"]
