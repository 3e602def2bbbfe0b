"""The benchmarks' options: what they mean, and the names of mistakes."""

import json

import numpy as np
import pytest
from torch import nn

from RobustART.benchmarks import build_benchmark, clean_view
from RobustART.data import array_dataset, create_dataset
from RobustART.errors import ConfigError, DataError, ModelError
from RobustART.evaluation import Cell, Pass, evaluate
from RobustART.metrics.calibration import calibration
from RobustART.records.lines import read_records
from tests.conftest import SIZE, own_benchmark


def rows(folder, benchmark):
    return [json.loads(line) for line in (folder / "results" / f"{benchmark}.jsonl").read_text().splitlines()[1:]]


def test_benchmark_of_a_users_own(tmp_path, data, model):
    """Two passes, two views, restricted classes: without a change to the engine."""

    def flipped(sample, rng):
        return np.ascontiguousarray(sample.crop[:, ::-1])

    def flip(dataset, *, classes=(0, 1, 2)):
        both = Pass(dataset, (Cell("plain", clean_view), Cell("flipped", flipped)), tuple(classes), "both")
        second = Pass(array_dataset(data.images[:2], [0, 1], "few"), (Cell("plain", clean_view),), None, "few")
        return both, second

    def summarize(records):
        return calibration(records.passes[1].confidence[:, 0], records.passes[1].correct[:, 0])

    with own_benchmark("flip", flip, summarize):
        evaluate(model, data, {"flip": {"classes": [0, 2]}}, output_dir=tmp_path, batch_size=3, progress=False)
        both, few = read_records(tmp_path / "results" / "flip.jsonl").passes
        assert both.prediction.shape == (12, 2)
        assert set(both.prediction.flatten().tolist()) <= {0, 2}
        assert both.label_rank[1].tolist() == [2, 2]
        assert few.ids.tolist() == [0, 1]
        assert few.prediction[:, 0].tolist() == [row["prediction"][0] for row in _clean(tmp_path, data, model)[:2]]


def _clean(tmp_path, data, model):
    evaluate(model, data, {"clean": {}}, output_dir=tmp_path / "clean", batch_size=3, progress=False)
    return rows(tmp_path / "clean", "clean")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("clena", {}, "unknown benchmark 'clena'; did you mean 'clean'"),
        ("clean", {"x": 1}, "unknown option 'x' of the benchmark clean; Allowed: none"),
        (
            "imagenet_c",
            {"severity": [1]},
            "unknown option 'severity' of the benchmark imagenet_c; did you mean 'severities'",
        ),
        ("imagenet_c", {"severities": [0]}, r"severities\[0\] must be an integer from 1 to 5, got 0"),
        ("imagenet_c", {"corruptions": ["fogg"]}, "did you mean 'fog'"),
        ("imagenet_c", {"corruptions": []}, "at least one corruption"),
        ("imagenet_c", {"corruptions": ["fog", "fog"]}, "names something twice"),
        ("imagenet_c", {"backend": "magic"}, "backend must be one of 'robustart', 'imagecorruptions', got 'magic'"),
        ("imagenet_c", {"jpeg_quality": 0}, "jpeg_quality must be"),
        ("adversarial", {"attacks": ["pgd_linff"]}, "unknown attack 'pgd_linff'; did you mean 'pgd_linf'"),
        (
            "adversarial",
            {"attacks": [{"pgd_linf": {"stps": 3}}]},
            "unknown option 'stps' of the attack pgd_linf; did you mean 'steps'",
        ),
        ("adversarial", {"attacks": []}, "at least one attack"),
        (
            "adversarial",
            {"attacks": [3]},
            r"benchmark adversarial: attacks\[0\] must be a string or a mapping of keys to values, got 3",
        ),
        ("adversarial", {"attacks": ["fgsm", "fgsm"]}, "twice"),
        ("adversarial", {"eps": [-1]}, r"benchmark adversarial: eps\[0\] must be a number from 0 up, got -1"),
        (
            "adversarial",
            {"eps": ["8/254", "x"]},
            r"benchmark adversarial: eps\[1\] must be a number from 0 up .*, got 'x'",
        ),
        ("adversarial", {"attacks": ["fgsm", "pgd_l2"], "eps": [0.1]}, "the norms L2, Linf, whose radii"),
        ("adversarial", {"eps": {"L3": [1]}}, "names 'L3', which is neither a norm"),
        ("imagenet_a", {}, "needs the option 'root_dir'"),
    ],
)
def test_bad_options(data, name, options, message):
    with pytest.raises(ValueError, match=message):
        build_benchmark(name, data, options)


def test_eps_by_norm_and_default(data):
    benchmark = build_benchmark("adversarial", data, {"attacks": ["fgsm", "pgd_l2"], "eps": {"L2": [1]}})
    names = [cell.name for cell in benchmark.passes[0].cells]
    assert names == ["clean", "fgsm/0.5/255", "fgsm/2/255", "fgsm/8/255", "pgd_l2/1"]


def test_imagenet_a_from_its_folder(tmp_path, lite0):
    import shutil

    from RobustART.benchmarks.photos import imagenet_a_classes
    from RobustART.data.imagenet import imagenet_wnids
    from RobustART.metrics import ImageNetAEvaluator

    photos = create_dataset("foolbox_photos")
    inside = [i for i, label in enumerate(photos.labels) if label in imagenet_a_classes()]
    assert inside
    for i in inside:
        folder = tmp_path / "imagenet-a" / imagenet_wnids()[photos.labels[i]]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos.root / photos.files[i], folder)
    report = evaluate(
        lite0, photos, {"imagenet_a": {"root_dir": str(tmp_path / "imagenet-a")}}, output_dir=tmp_path, progress=False
    )
    result = ImageNetAEvaluator().eval(tmp_path / "results" / "imagenet_a.jsonl")
    assert result["top1"] == pytest.approx(report.metric("imagenet_a", "top1"))
    assert {row["prediction"][0] for row in rows(tmp_path, "imagenet_a")} <= set(imagenet_a_classes())
    (tmp_path / "imagenet-a" / imagenet_wnids()[0]).mkdir()
    shutil.copy(photos.root / photos.files[0], tmp_path / "imagenet-a" / imagenet_wnids()[0])
    with pytest.raises(DataError, match=r"of its 6 folders these are of none of them: n01440764 \(tench\)"):
        evaluate(
            lite0,
            photos,
            {"imagenet_a": {"root_dir": str(tmp_path / "imagenet-a")}},
            output_dir=tmp_path,
            progress=False,
        )


def test_bad_settings(tmp_path, data, model):
    for settings in ({"batch_size": 0}, {"workers": -1}, {"amp": "half"}, {"seed": 1.5}, {"limit": 13}):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            evaluate(model, data, {"clean": {}}, output_dir=tmp_path, progress=False, **settings)
    with pytest.raises(ConfigError, match="benchmarks is empty"):
        evaluate(model, data, {}, output_dir=tmp_path, progress=False)
    with pytest.raises(ModelError, match=r"fails on an image of shape \(1, 3, 32, 32\)"):
        evaluate(nn.Conv2d(1, 3, 32), data, {"clean": {}}, output_dir=tmp_path, preprocessing=SIZE)


def test_norm_of_an_attack_can_be_an_option(data):
    options = {"attacks": [{"apgd_ce": {"norm": "L2"}}]}
    cells = build_benchmark("adversarial", data, options).passes[0].cells
    assert [cell.name for cell in cells] == ["clean", "apgd_ce/0.5", "apgd_ce/2", "apgd_ce/8"]
    with pytest.raises(ConfigError, match="the attack apgd_ce: norm must be one of 'Linf', 'L2', 'L1', got 'L3'"):
        build_benchmark("adversarial", data, {"attacks": [{"apgd_ce": {"norm": "L3"}}]})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "imagenet_c",
            {"corruptions": None},
            "imagenet_c: corruptions must be one entry or a list of them .a string each., got None",
        ),
        (
            "imagenet_c",
            {"severities": None},
            "imagenet_c: severities must be one entry or a list of them .an integer from 1 to 5 each., got",
        ),
        (
            "imagenet_c",
            {"severities": 2.0},
            "imagenet_c: severities must be one entry or a list of them .an integer from 1 to 5 each., got",
        ),
        ("imagenet_c", {"corruptions": [["fog"]]}, r"imagenet_c: corruptions\[0\] must be a string, got"),
        ("imagenet_c", {"corruptions": {"fog": {"severities": [1]}}}, "imagenet_c: corruptions must be one entry"),
        ("adversarial", {"attacks": None}, "adversarial: attacks must be one entry or a list"),
        (
            "adversarial",
            {"attacks": [{"fgsm": {"eps": 0.1}}]},
            r"eps is not an option of the attack fgsm; use adversarial.eps: \{fgsm",
        ),
        (
            "adversarial",
            {"stop": "firsd"},
            "adversarial: stop must be one of 'first' or null, got 'firsd'; did you mean 'first'",
        ),
        (
            "adversarial",
            {"attacks": [{"pgd_linf": {"steps": "abc"}}]},
            "the attack pgd_linf: steps must be an integer from 0 up, got 'abc'",
        ),
        ("adversarial", {"eps": [float("nan")]}, "must be a number from 0 up, got nan"),
        ("adversarial", {"eps": [float("inf")]}, "must be a number from 0 up, got inf"),
        ("imagenet_a", {"root_dir": 3}, "imagenet_a: root_dir must be a string, got 3"),
        ("clean", True, "options of the benchmark clean must be a mapping of keys to values, got True"),
    ],
)
def test_mistakes_in_options_are_named(data, name, options, message):
    with pytest.raises(ConfigError, match=message):
        build_benchmark(name, data, options)


def test_ranges_are_lists(tmp_path, data, model):
    options = {"corruptions": "fog", "severities": range(1, 3)}
    evaluate(model, data, {"imagenet_c": options}, output_dir=tmp_path, progress=False)
    assert read_records(tmp_path / "results" / "imagenet_c.jsonl").passes[0].cells == ("fog/1", "fog/2")
