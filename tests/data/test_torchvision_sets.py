"""CIFAR, SVHN and STL-10 from small files in torchvision's formats."""

import os
import pickle
import time

import numpy as np
import pytest
import scipy.io
from torchvision import datasets
from torchvision.datasets import cifar, stl10, svhn

from RobustART.config.loader import load_config
from RobustART.data import create_dataset
from RobustART.errors import ConfigError, DataError
from RobustART.evaluation import evaluate
from RobustART.models import wrap_model
from RobustART.training.inputs import clean_dataset
from tests.conftest import ROOT, make_picture
from tests.data.test_given import network

LABELS = [0, 2, 1, 2]


def pictures(size=32):
    return np.stack([make_picture(i, size, size) for i in range(4)])


@pytest.fixture
def any_content(monkeypatch):
    """Accepts files with other digests than the published ones'."""
    for module in (cifar, svhn, stl10):
        monkeypatch.setattr(module, "check_integrity", lambda path, md5=None: os.path.isfile(path))


def write_cifar(root, kind):
    folder = root / kind.base_folder
    folder.mkdir(parents=True)
    flat, key = pictures().transpose(0, 3, 1, 2).reshape(4, -1), "labels" if kind is datasets.CIFAR10 else "fine_labels"
    for name, _ in kind.train_list + kind.test_list:
        (folder / name).write_bytes(pickle.dumps({"data": flat, key: LABELS}))
    names = {kind.meta["key"]: [f"class {i}" for i in range(10 if kind is datasets.CIFAR10 else 100)]}
    (folder / kind.meta["filename"]).write_bytes(pickle.dumps(names))


def write_svhn(root):
    labels = np.array([10 if label == 0 else label for label in LABELS])[:, None]
    for name in ("train", "test"):
        scipy.io.savemat(root / f"{name}_32x32.mat", {"X": pictures().transpose(1, 2, 3, 0), "y": labels})


def write_stl10(root):
    folder = root / "stl10_binary"
    folder.mkdir()
    for name, _ in datasets.STL10.train_list + datasets.STL10.test_list:
        stored = pictures(96).transpose(0, 3, 2, 1).tobytes() if "X" in name else bytes(label + 1 for label in LABELS)
        (folder / name).write_bytes(stored)
    (folder / "class_names.txt").write_text("\n".join(f"class {i}" for i in range(10)))


WRITE = {
    "cifar10": lambda root: write_cifar(root, datasets.CIFAR10),
    "cifar100": lambda root: write_cifar(root, datasets.CIFAR100),
    "svhn": write_svhn,
    "stl10": write_stl10,
}


@pytest.mark.parametrize("name", WRITE)
def test_pixels_labels_and_classes(tmp_path, any_content, name):
    WRITE[name](tmp_path)
    dataset = create_dataset(name, root_dir=tmp_path)
    assert np.array_equal(np.stack(dataset.images), pictures(96 if name == "stl10" else 32))
    assert dataset.labels == tuple(LABELS)
    assert len(dataset.class_names) == (100 if name == "cifar100" else 10)
    assert dataset.name == f"{name}_test"
    count = 20 if name == "cifar10" else 4
    assert len(create_dataset(name, root_dir=tmp_path, kwargs={"split": "train"})) == count


def test_the_inner_folder_is_accepted_too(tmp_path, any_content):
    WRITE["cifar10"](tmp_path)
    inner = create_dataset("cifar10", root_dir=tmp_path / "cifar-10-batches-py")
    assert inner.labels == tuple(LABELS)


def test_the_config_in_the_readme(tmp_path, any_content):
    WRITE["cifar10"](tmp_path / "cifar")
    text = (ROOT / "README.md").read_text().partition("```yaml\n# cifar.yaml\n")[2].partition("```")[0]
    (tmp_path / "c.yaml").write_text(text)
    dataset = clean_dataset(load_config(tmp_path / "c.yaml"), tmp_path)
    model = wrap_model(network(), {"input_size": 32, "resize": 32})
    with pytest.raises(DataError, match="cifar10_test has 10 classes .*but the model has 3 outputs"):
        evaluate(model, dataset, {"clean": {}}, output_dir=tmp_path)


@pytest.mark.parametrize("name", WRITE)
def test_missing_files_are_one_line(tmp_path, name):
    with pytest.raises(DataError, match=f"the data set {name} is missing, or not as.*download: true") as raised:
        create_dataset(name, root_dir=tmp_path / "none")
    assert "\n" not in str(raised.value)
    WRITE[name](tmp_path)  # other digests than the published files'
    with pytest.raises(DataError, match="not as it was published"):
        create_dataset(name, root_dir=tmp_path)
    with pytest.raises(ConfigError, match="needs root_dir"):
        create_dataset(name)


def test_a_download_without_network_ends_at_once(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise OSError("Network is unreachable")

    monkeypatch.setattr("socket.create_connection", refused)
    monkeypatch.setattr("socket.getaddrinfo", refused)
    begun = time.monotonic()
    with pytest.raises(DataError, match=r"cifar10 could not be downloaded to .*unreachable") as raised:
        create_dataset("cifar10", root_dir=tmp_path, kwargs={"download": True})
    assert time.monotonic() - begun < 5
    assert "\n" not in str(raised.value)
