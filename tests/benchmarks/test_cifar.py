"""CIFAR-10-C and -100-C from their arrays."""

import shutil

import numpy as np
import pytest

from RobustART.benchmarks import build_benchmark
from RobustART.benchmarks.corruption_sets import C_3D, C_BAR
from RobustART.errors import DataError
from RobustART.evaluation import evaluate
from RobustART.metrics.corruption import SCORED
from RobustART.metrics.spec import BENCHMARKS
from RobustART.models import create_model
from RobustART.noise.corruptions import CORRUPTIONS
from RobustART.records.lines import PassRecords, Records
from tests.sets import NOTHING, SIZE, cifar_c

OPTIONS = {"corruptions": ["fog", "snow"], "severities": [2, 5]}


@pytest.fixture
def model(own_model):
    return create_model(f"{own_model}:build", classes=10, preprocessing=SIZE)


def build(root, **options):
    return build_benchmark("cifar_c", NOTHING, {**OPTIONS, "root_dir": str(root), **options})


def test_views_are_rows_of_the_arrays(tmp_path, model):
    pictures = cifar_c(tmp_path / "set")
    part = build(tmp_path / "set").passes[0]
    sample = part.dataset.sample(3, part.prepare(model.preprocessing).apply)
    views = {cell.name: cell.view(sample, None) for cell in part.cells}
    assert np.array_equal(views["fog/2"], pictures["fog"][4 + 3])
    assert np.array_equal(views["snow/5"], pictures["snow"][16 + 3])
    assert part.dataset.labels == (0, 1, 2, 3)
    options = {**OPTIONS, "root_dir": str(tmp_path / "set")}
    report = evaluate(model, None, {"cifar_c": options}, output_dir=tmp_path, workers=1, progress=False)
    assert "CIFAR-10-C has 4 images of 4 classes here; the published set has 10000 of 10" in report.data["warnings"]


@pytest.mark.parametrize("benchmark", ["cifar_c", "imagenet_c_bar", "imagenet_3dcc"])
@pytest.mark.parametrize("severities", [(1, 2, 3, 4, 5), (1, 2)])
def test_means_have_their_names_only_when_all_their_cells_were_run(benchmark, severities):
    every = {"cifar_c": tuple(CORRUPTIONS), "imagenet_c_bar": C_BAR, "imagenet_3dcc": C_3D}[benchmark]
    whole = severities == (1, 2, 3, 4, 5)
    for names in (every, every[:15], every[:2]):
        cells = tuple(f"{name}/{level}" for name in names for level in severities)
        rank = np.random.default_rng(0).integers(0, 3, (6, len(cells)))
        empty = np.zeros_like(rank)
        places = tuple(map(BENCHMARKS[benchmark].coordinates, cells))
        table = PassRecords(
            "", cells, np.arange(6), ("",) * 6, empty[:, 0], empty, empty.astype(float), rank, coordinates=places
        )
        metrics = BENCHMARKS[benchmark].summarize(Records({"benchmark": benchmark}, (table,))).metrics
        want = {"mean_error": np.full(len(cells), whole and names == every)}
        want["mean_error_15"] = np.array(
            [cell.split("/")[0] in SCORED and whole and len(names) >= 15 for cell in cells]
        )
        want = {name: columns for name, columns in want.items() if columns.any()}
        want = want or {"mean_error_of_these_cells": np.full(len(cells), True)}
        assert set(metrics) == set(want)
        for name, columns in want.items():
            assert metrics[name].value == pytest.approx(100 * (rank[:, columns] > 0).mean())


def test_labels_once_or_for_each_severity(tmp_path, model):
    cifar_c(tmp_path / "set", labels=(3, 1, 4, 1))
    for shape in (np.array([3, 1, 4, 1]), np.tile([3, 1, 4, 1], 5).astype(np.uint8)):
        np.save(tmp_path / "set" / "labels.npy", shape)
        assert build(tmp_path / "set").passes[0].dataset.labels == (3, 1, 4, 1)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            np.tile([0.0, 1.5, 2, 3], 5),
            r"integers \(4,\) or \(20,\) in .*labels.npy, .* but it has float64 \(20,\)",
        ),
        (np.array(3), r"it has int64 \(\)"),
        (np.arange(20).reshape(5, 4), r"it has int64 \(5, 4\)"),
        (np.arange(8) % 4, r"it has int64 \(8,\)"),
        (np.array([0, 1, 2, 3] * 4 + [0, 1, 3, 2]), "image 2 has the label 2 at severity 1 and 3 at 5"),
        (np.array([0, 1, 2, -1]), "labels from 0 .* one is -1"),
        (np.array([0, 1, 2, 100]), "labels from 0 to 99 .* one is 100"),
    ],
)
def test_labels_that_cannot_be(tmp_path, labels, message):
    cifar_c(tmp_path / "set")
    np.save(tmp_path / "set" / "labels.npy", labels)
    with pytest.raises(DataError, match=f"CIFAR-C: expected .*{message}.*zenodo.org/record/2535967"):
        build(tmp_path / "set")


def test_classes_must_be_the_models(tmp_path, own_model):
    cifar_c(tmp_path / "set", labels=(3, 99, 50, 1))
    (note,) = build(tmp_path / "set").notes
    assert note == "CIFAR-100-C has 4 images of 4 classes here; the published set has 10000 of 100"
    narrow = create_model(f"{own_model}:build", classes=10, preprocessing=SIZE)
    benchmarks = {"cifar_c": {**OPTIONS, "root_dir": str(tmp_path / "set")}}
    with pytest.raises(DataError, match="CIFAR-100-C has 100 classes .* but the model has 10 outputs"):
        evaluate(narrow, None, benchmarks, output_dir=tmp_path, progress=False)
    cifar_c(tmp_path / "set")
    wide = create_model(f"{own_model}:build", classes=1000, preprocessing=SIZE)
    with pytest.raises(DataError, match=r"CIFAR-10-C has 10 classes \(airplane, .* but the model has 1000 outputs"):
        evaluate(wide, None, benchmarks, output_dir=tmp_path, progress=False)


def test_what_is_missing_is_named(tmp_path):
    root = tmp_path / "sets" / "CIFAR-10-C"
    pictures = cifar_c(root)
    with pytest.raises(
        DataError, match=r"17 of 20 files are missing: it holds the files fog.npy, labels.npy, snow.npy"
    ):
        build_benchmark("cifar_c", NOTHING, {"root_dir": str(root)})
    with pytest.raises(DataError, match=r"it holds the folder CIFAR-10-C .is .*CIFAR-10-C meant"):
        build(tmp_path / "sets")
    np.save(root / "fog.npy", pictures["fog"][:7])
    with pytest.raises(DataError, match=r"uint8 \(5 N, H, W, 3\) in .*fog.npy, .* but it has uint8 \(7, 32, 32, 3\)"):
        build(root)
    np.save(root / "fog.npy", pictures["fog"][:10])
    with pytest.raises(
        DataError, match=r"the same number of images in every file, but they have fog.npy 10, snow.npy 20"
    ):
        build(root)
    (root / "fog.npy").write_bytes((root / "snow.npy").read_bytes()[:100])
    with pytest.raises(DataError, match=r"fog.npy cannot be read"):
        build(root)
    shutil.rmtree(root)
    with pytest.raises(DataError, match="there is no such folder"):
        build(root)
