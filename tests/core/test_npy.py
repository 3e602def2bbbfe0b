"""``.npy`` files: what is read equals what NumPy reads, and what is not an array of numbers is an error that names it."""

import os
import struct

import numpy as np
import pytest

from RobustART.core.imaging.npy import from_npy, map_npy
from RobustART.data.variants import VariantDataset
from RobustART.errors import DataError


def header(shape: str, dtype: str = "|u1", version: bytes = b"\1\0") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY" + version + struct.pack("<H" if version == b"\1\0" else "<I", len(text)) + text


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", ">i8", "<f4"])
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3, 4)])
def test_arrays_are_what_numpy_reads(tmp_path, shape, dtype, order):
    path = tmp_path / "a.npy"
    np.save(path, np.asarray(np.random.default_rng(0).integers(0, 99, shape), dtype=dtype, order=order))
    expected = np.load(path)
    for found in (from_npy(path.read_bytes(), "a.npy"), map_npy(path)):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert np.array_equal(found, expected)


def damaged() -> dict[str, tuple[bytes, str]]:
    deep = b"(" * 3000 + b")" * 3000
    return {
        "no memory": (
            header("(1000000000000, 224, 224, 3)"),
            r"states uint8 \(1000000000000, 224, 224, 3\), 150,528,0",
        ),
        "many": (header(f"({10**30}, 3)"), "bytes, but 0 follow its header"),
        "short": (header("(9,)") + bytes(8), "states uint8 .9,., 9 bytes, but 8 follow"),
        "negative": (header("(-1, 3)"), "states uint8"),
        "objects": (header("(1,)", "|O"), r"holds Python objects \(object\)"),
        "zip": (b"PK\3\4" + bytes(99), "it is a zip archive, as .npz is; save the array alone"),
        "pickle": (b"\x80\4K\1.", "cannot be read as a .npy file"),
        "empty": (b"", "cannot be read as a .npy file"),
        "huge header": (header(f"({' ' * 200_000}1,)", version=b"\2\0") + b"\0", "cannot be read as a .npy file"),
        "stated header": (b"\x93NUMPY\2\0\xff\xff\xff\xff", "cannot be read as a .npy file"),
        "deep header": (b"\x93NUMPY\1\0" + struct.pack("<H", len(deep)) + deep, "cannot be read as a .npy file"),
        "version": (header("(1,)", version=b"\7\0"), "cannot be read as a .npy file"),
        "dtype": (header("(1,)", "nonsense") + b"\0", "cannot be read as a .npy file"),
    }


@pytest.mark.parametrize("kind", damaged())
def test_what_is_no_array_of_numbers_is_named(tmp_path, kind):
    data, message = damaged()[kind]
    path = tmp_path / "x.npy"
    path.write_bytes(data)
    for read in (lambda: from_npy(data, "x.npy"), lambda: map_npy(path)):
        with pytest.raises(DataError, match=rf"x\.npy .*{message}"):
            read()


def test_a_pipe_is_no_array(tmp_path):
    os.mkfifo(tmp_path / "labels.npy")
    with pytest.raises(DataError, match=r"labels\.npy cannot be read: it is a pipe"):
        map_npy(tmp_path / "labels.npy")


@pytest.mark.parametrize(("kind", "message"), [("no memory", "states uint8"), ("zip", "a zip archive")])
def test_a_stored_version_is_named(tmp_path, kind, message):
    (tmp_path / "pil").mkdir()
    (tmp_path / "pil" / "a.npy").write_bytes(damaged()[kind][0])
    images = VariantDataset(("a.npy",), (0,), tmp_path, folders={"pil": "pil"})
    with pytest.raises(DataError, match=rf"^pil/a\.npy: .*{message}"):
        images.sample(0, lambda image: image).variant("pil")
