"""Evaluators on our result files: four images by hand, and what is refused."""

import json

import numpy as np
import pytest

from RobustART.benchmarks import BENCHMARKS, Companions, adversarial, imagenet_c, transfer
from RobustART.cli import main
from RobustART.errors import ConfigError, RecordError
from RobustART.metrics import (
    AdvRobustEvaluator,
    ImageNetAEvaluator,
    ImageNetCEvaluator,
    ImageNetEvaluator,
    ImageNetOEvaluator,
    ImageNetPEvaluator,
    ImageNetSEvaluator,
    UndefinedError,
    WorstCaseAdvRobustEvaluator,
)
from RobustART.metrics.baselines import ALEXNET_CLEAN_ERROR, alexnet_corruption_errors
from RobustART.metrics.corruption import SCORED
from RobustART.metrics.reading import read_result
from RobustART.metrics.stability import SCORED_PERTURBATIONS
from tests.metrics.conftest import write_records


def one(path, benchmark, cells, ranks, confidence=0.5, **more):
    """A result file of one pass."""
    values = {"confidence": np.broadcast_to(confidence, np.shape(ranks))}
    return write_records(path, benchmark, [("", cells, ranks, values)], **more)


def test_imagenet_four_rows(tmp_path):
    path = one(tmp_path / "a", "clean", ["clean"], [[0], [0], [4], [5]])
    result = ImageNetEvaluator().eval(path)
    assert dict(result) == {"top1": 50.0, "top5": 75.0}
    assert "top1  50.00 [15.00, 85.00]  (n = 4)" in str(result)
    assert dict(ImageNetEvaluator(topk=[1, 6]).eval(path)) == {"top1": 50.0, "top6": 100.0}
    for topk in ([0], 5, [], ["1"], [True], None):
        with pytest.raises(ConfigError, match=r"topk must be a list of integers from 1, such as \(1, 5\), got"):
            ImageNetEvaluator(topk=topk)
        with pytest.raises(ConfigError, match="topk must be a list"):
            ImageNetCEvaluator(topk=topk)


def test_imagenet_a(tmp_path):
    path = one(tmp_path / "a", "imagenet_a", ["stored"], [[0], [1]], confidence=0.75, options={"masked": True})
    result = ImageNetAEvaluator().eval(path)
    assert dict(result) == {
        "top1": 50,
        "rms_calibration_error": 25,
        "ece": 25,
        "aurra": 50,
    }  # the two share their places
    with pytest.raises(RecordError, match="was made with masked: true"):
        ImageNetAEvaluator(masked=False).eval(path)


ALL_CELLS = [f"{name}/{severity}" for name in alexnet_corruption_errors() for severity in range(1, 6)]


def test_imagenet_c_names_its_numbers_apart(tmp_path):
    names = list(alexnet_corruption_errors())
    ranks = [[0] * len(ALL_CELLS), [1] * 75 + [0] * 20]
    result = ImageNetCEvaluator().eval(one(tmp_path / "c", "imagenet_c", ALL_CELLS, ranks))
    assert list(result) == ["mCE", "mean_error_15", "mCE_19", "mean_error_19"]
    assert result["mean_error_15"] == 50
    assert result["mean_error_19"] == pytest.approx(50 * 75 / 95)
    expected = [0.5 / np.mean(alexnet_corruption_errors()[name]) for name in names[:15]]
    assert result["mCE"] == pytest.approx(100 * np.mean(expected))
    assert result["mCE_19"] == pytest.approx(100 * sum(expected) / 19)
    tables = result.summary.tables
    assert tables["top1"]["fog"]["3"].value == 50
    assert tables["top1"]["fog"]["mean"].value == 50
    assert tables["corruption_errors"]["saturate"]["CE"].value == 0
    assert tables["corruption_errors"]["fog"]["CE"].value == pytest.approx(100 * expected[names.index("fog")])
    assert list(tables["group_errors"]) == ["noise", "blur", "weather", "digital", "extra"]
    assert tables["group_errors"]["noise"]["CE"].value == pytest.approx(100 * np.mean(expected[:3]))
    assert tables["group_errors"]["blur"]["mean error"].value == 50


def test_relative_mce_by_hand(tmp_path):
    """Four images, two of them wrong when clean, three under every corruption; the clean file has another order."""
    cells = [f"{name}/{severity}" for name in SCORED for severity in range(1, 6)]
    path = one(tmp_path / "c", "imagenet_c", cells, [[1] * 75, [1] * 75, [1] * 75, [0] * 75])
    clean = one(tmp_path / "clean", "clean", ["clean"], [[1], [0], [1], [0]])
    result = ImageNetCEvaluator().eval(path, clean=clean)
    errors = alexnet_corruption_errors()
    rises = [0.25 / np.mean([value - ALEXNET_CLEAN_ERROR for value in errors[name]]) for name in SCORED]
    assert result["relative_mCE"] == pytest.approx(100 * np.mean(rises))
    table = result.summary.tables["corruption_errors"]
    assert table["snow"]["relative CE"].value == pytest.approx(100 * rises[SCORED.index("snow")])
    other = one(tmp_path / "other", "clean", ["clean"], [[1], [0], [1]])
    with pytest.raises(RecordError, match="has other images than the result file: 3 and 4, of which 3 are in both"):
        ImageNetCEvaluator().eval(path, clean=other)


def test_mce_of_files_with_alexnets_errors(tmp_path):
    """1,000 images on which each cell is wrong as often as AlexNet: mCE 100 but for the rounding to 1/1000."""
    errors = alexnet_corruption_errors()
    cells = [f"{name}/{s + 1}" for name in SCORED for s in range(5)]
    wrong = np.array([round(1000 * errors[name][s]) for name in SCORED for s in range(5)])
    ranks = (np.arange(1000)[:, None] < wrong[None]).astype(int)
    result = ImageNetCEvaluator().eval(one(tmp_path / "c", "imagenet_c", cells, ranks))
    assert result["mCE"] == pytest.approx(100, abs=0.02)


def test_ar_and_wcar(tmp_path):
    cells = ["clean", "fgsm/8/255", "pgd_linf/8/255", "pgd_l2/8"]
    ranks = [[0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 1, 0], [1, 0, 0, 0]]
    path = one(tmp_path / "adv", "adversarial", cells, ranks)
    result = AdvRobustEvaluator().eval(path)
    assert result["AR/fgsm/8/255"] == pytest.approx(200 / 3)
    assert result["AR/pgd_linf/8/255"] == pytest.approx(100 / 3)
    tables = adversarial.summarize(read_result(path)).tables
    assert tables["robust_accuracy"]["fgsm"]["8/255"].value == 75
    worst = WorstCaseAdvRobustEvaluator().eval(path)
    assert dict(worst) == {
        "WCAR/all 2 Linf attacks/8/255": pytest.approx(100 / 3),
        "WCAR/all 3 attacks/Linf 8/255 + L2 8": 0,
    }
    assert worst.summary.metrics["WCAR/all 3 attacks/Linf 8/255 + L2 8"].high > 30


def test_wcar_of_the_three_magnitudes(tmp_path):
    """Radii of several norms go together by size: 2/255 with 2, not with what stands beside it in the file."""
    cells = ["clean", "fgsm/8/255", "fgsm/2/255", "pgd_l2/2", "pgd_l2/10"]
    path = one(tmp_path / "adv", "adversarial", cells, [[0, 1, 0, 0, 1], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1], [0] * 5])
    assert dict(WorstCaseAdvRobustEvaluator().eval(path)) == {
        "WCAR/all 2 attacks/Linf 2/255 + L2 2": 75,
        "WCAR/all 2 attacks/Linf 8/255 + L2 10": 50,
    }
    alone = one(tmp_path / "one", "adversarial", ["clean", "fgsm/8/255"], [[0, 0]])
    with pytest.raises(RecordError, match="no radius with several attacks"):
        WorstCaseAdvRobustEvaluator().eval(alone)


def test_undefined_ar_has_its_reason(tmp_path):
    result = AdvRobustEvaluator().eval(one(tmp_path / "adv", "adversarial", ["clean", "fgsm/8/255"], [[1, 0], [2, 0]]))
    with pytest.raises(UndefinedError, match="no image is classified right when clean"):
        _ = result["AR/fgsm/8/255"]
    assert "undefined" in str(result)


def test_transfer_matrix(tmp_path):
    cells = ["clean", "clean@b", "fgsm/8/255 model>b", "fgsm/8/255 b>model"]
    models = {"clean@b": [None, "b"], cells[2]: [None, "b"], cells[3]: ["b", None]}
    ranks = [[0, 0, 1, 0], [0, 0, 0, 0], [0, 1, 1, 1], [1, 0, 1, 1]]
    path = one(tmp_path / "t", "transfer", cells, ranks, models=models, attacks={cell: {} for cell in cells[2:]})
    summary = transfer.summarize(read_result(path))
    table = summary.tables["transfer_success fgsm/8/255"]
    assert table["model"]["b"].value == 50
    assert table["b"]["model"].value == 0
    assert table["b"]["model"].n == 2
    assert summary.metrics["clean_accuracy b"].value == 75


def test_imagenet_s_by_hand(tmp_path):
    cells = ["pil/pil-bilinear", "ffmpeg/pil-bilinear", "pil/pil-box"]
    ranks = [[0, 0, 1], [0, 1, 1], [0, 0, 0], [0, 0, 3]]
    result = ImageNetSEvaluator().eval(one(tmp_path / "s", "imagenet_s", cells, ranks))
    assert result["mean_top1"] == pytest.approx((100 + 75 + 25) / 3)
    assert result["std_top1"] == pytest.approx(np.std([100, 75, 25]))
    assert result["worst_top1"] == 25
    assert result.summary.metrics["std_top1"].low <= result["std_top1"] <= result.summary.metrics["std_top1"].high


def videos(path, predictions, perturbations=SCORED_PERTURBATIONS):
    """A result file of ImageNet-P: the same predictions, (N, T), under each perturbation."""
    n, frames = np.shape(predictions)
    ranking = np.array([np.roll(np.arange(5), t) for t in range(frames)])
    more = {"prediction": predictions, "top5": np.tile(ranking, (n, 1, 1)), "zipf": np.ones((n, frames))}
    # The label is 0, so the class that is predicted will do as its rank.
    passes = [(name, [f"{name}/{t}" for t in range(frames)], predictions, more) for name in perturbations]
    return write_records(path, "imagenet_p", passes, options={"difficulty": 1, "preprocess": "crop"})


def test_imagenet_p_by_hand(tmp_path):
    """1 2 1 1: before the last frame 2 of 3 steps change; against the first frame 1 of 3. Two of ten are noise."""
    path = videos(tmp_path / "p", [[1, 2, 1, 1], [3, 3, 3, 3]])
    result = ImageNetPEvaluator().eval(path)
    assert result["mFP"] == pytest.approx((8 * 100 / 3 + 2 * 50 / 3) / 10)
    assert "mFR" not in result  # only over a baseline
    baseline = videos(tmp_path / "base", [[1, 2, 3, 4], [3, 3, 3, 3]])
    over = ImageNetPEvaluator().eval(path, baseline=baseline)
    assert over["mFR"] == pytest.approx((8 * 200 / 3 + 2 * 100 / 3) / 10)
    assert over.summary.metrics["mFR"].low < over["mFR"] < over.summary.metrics["mFR"].high
    with pytest.raises(RecordError, match="states its perturbations itself"):
        ImageNetPEvaluator().eval(path, "snow")


def every_summary(folder):
    """A small result file of each benchmark, by its name."""
    rng = np.random.default_rng(0)

    def ranks(cells, n=30):
        return rng.integers(0, 2, (n, len(cells)))

    corrupted = ["fog/1", "fog/2", "snow/1"]
    attacks = ["clean", "fgsm/2/255", "fgsm/8/255", "pgd_linf/2/255", "pgd_linf/8/255", "pgd_l2/2", "pgd_l2/8"]
    pairs = ["clean", "clean@b", "fgsm/8/255 b>model"]
    broken = [["clean", "apgd_ce"] + [None] * 5] * 30
    zeros = np.zeros((30, 7), int)
    files = {
        name: one(folder / name, name, ["clean"], ranks(["clean"]), rng.random((30, 1)))
        for name in ("clean", "imagenet_a", "imagenet_r", "imagenet_sketch", "imagenet_v2")
    }
    for name in ("cifar_c", "imagenet_3dcc", "imagenet_c_bar"):
        files[name] = one(folder / name, name, corrupted, ranks(corrupted))
    files["imagenet_c"] = one(folder / "imagenet_c", "imagenet_c", ALL_CELLS, ranks(ALL_CELLS))
    kinds = [
        (kind, ["stored"], ranks(["stored"]), {"confidence": rng.random((30, 1))}) for kind in ("known", "unknown")
    ]
    files["imagenet_o"] = write_records(folder / "imagenet_o", "imagenet_o", kinds)
    files["imagenet_p"] = videos(folder / "imagenet_p", rng.integers(0, 3, (5, 6)))
    systems = ["pil/pil-bilinear", "pil/pil-box", "opencv/pil-bilinear"]
    difference = {"pixel_difference": rng.random((30, 3))}
    files["imagenet_s"] = write_records(
        folder / "imagenet_s", "imagenet_s", [("", systems, ranks(systems), difference)]
    )
    more = {"broken_by": np.array(broken, dtype=object), "forward": zeros, "backward": zeros}
    files["adversarial"] = write_records(folder / "adversarial", "adversarial", [("", attacks, ranks(attacks), more)])
    files["transfer"] = one(
        folder / "transfer", "transfer", pairs, ranks(pairs), attacks={pairs[2]: {}},
        models={"clean@b": [None, "b"], pairs[2]: ["b", None]},
    )  # fmt: skip
    return files


def test_every_number_of_every_summary_has_an_interval(tmp_path):
    files = every_summary(tmp_path)
    assert set(files) == set(BENCHMARKS)
    for name, path in files.items():
        summary = BENCHMARKS[name].numbers(read_result(path))
        flat = summary.flat("").metrics
        assert len(flat) >= 1
        for title, estimate in flat.items():
            assert estimate.low is not None, f"{name}: {title}"
            assert estimate.low <= estimate.value <= estimate.high, f"{name}: {title}"
            fixed = estimate.low == estimate.value == estimate.high  # by the design of the benchmark
            assert estimate.hits is not None or estimate.draws is not None or fixed, f"{name}: {title}"
        json.dumps(summary.to_plain(), allow_nan=False)


def test_relative_mce_has_intervals_too(tmp_path):
    files = every_summary(tmp_path)
    summary = imagenet_c.summarize(read_result(files["imagenet_c"]), Companions({"clean": read_result(files["clean"])}))
    found = {title: estimate for title, estimate in summary.flat("").metrics.items() if "relative" in title}
    assert len(found) == 2 + 19 + 5
    assert all(estimate.low < estimate.value < estimate.high for estimate in found.values())


def test_a_file_of_another_benchmark_is_refused(tmp_path):
    path = one(tmp_path / "a", "imagenet_a", ["stored"], [[0]])
    for evaluator, name in (
        (ImageNetCEvaluator, "imagenet_c"), (ImageNetPEvaluator, "imagenet_p"), (ImageNetSEvaluator, "imagenet_s"),
        (AdvRobustEvaluator, "adversarial"), (WorstCaseAdvRobustEvaluator, "adversarial"), (ImageNetOEvaluator, "imagenet_o"),
    ):  # fmt: skip
        with pytest.raises(RecordError, match=f"is of the benchmark imagenet_a, but this evaluator reads {name}"):
            evaluator().eval(path)


def test_score_command_on_every_benchmark(tmp_path, capsys):
    files = every_summary(tmp_path)
    assert main(["score", *map(str, files.values())]) == 0
    printed = capsys.readouterr().out
    for title in (
        "top5",
        "relative_mCE",
        "AR/fgsm/8/255",
        "WCAR/all 3 attacks/Linf 8/255 + L2 8",
        "aupr",
        "mFP",
        "std_top1",
    ):
        assert title in printed
    assert "transfer_success fgsm/8/255/b/model" in printed
    assert main(["score", str(files["clean"]), str(files["clean"])]) == 2
    assert "are of one benchmark and model, in one folder" in capsys.readouterr().err
    assert main(["score", str(one(tmp_path / "x", "mine", ["clean"], [[0]]))]) == 2
    told = capsys.readouterr().err
    assert "is of the benchmark 'mine'; known: adversarial" in told
    assert "Import your own benchmark with --import MODULE" in told
    assert main(["score", str(tmp_path / "nothing")]) == 2
