"""Numbers against hand computation, scipy and scikit-learn."""

import numpy as np
import pytest
from scipy import stats

from RobustART.benchmarks.photos import imagenet_a_classes, imagenet_r_classes
from RobustART.metrics import UndefinedError
from RobustART.metrics import functional as F


@pytest.mark.parametrize(("k", "n"), [(0, 20), (18, 20), (20, 20), (1, 3), (500, 1000)])
def test_wilson_against_scipy(k, n):
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert F.wilson(k, n) == pytest.approx((100 * expected.low, 100 * expected.high), abs=1e-9)


def test_label_rank_by_hand_with_ties():
    scores = [[0.1, 0.7, 0.2], [0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5]]
    assert F.label_rank(scores, [1, 0, 1, 0]).tolist() == [0, 0, 1, 2]


def test_ranks_against_scikit_learn():
    from sklearn.metrics import top_k_accuracy_score

    rng = np.random.default_rng(0)
    scores, labels = rng.random((200, 10)), rng.integers(0, 10, 200)
    ranks = F.label_rank(scores, labels)
    for k in (1, 5):
        expected = top_k_accuracy_score(labels, scores, k=k, labels=range(10))
        assert (ranks < k).mean() == pytest.approx(expected)


def test_masked_scores_are_those_of_the_classes_that_compete():
    scores = np.arange(12.0).reshape(2, 6)
    table, labels = F.masked_scores(scores, [1, 4], [1, 4, 5])
    assert table.tolist() == [[1, 4, 5], [7, 10, 11]]
    assert labels.tolist() == [0, 1]
    with pytest.raises(UndefinedError, match="image 1 has the label 2, which is not among the 3 competing classes"):
        F.masked_scores(scores, [1, 2], [1, 4, 5])


def test_imagenet_a_classes():
    classes = imagenet_a_classes()
    assert len(set(classes)) == 200
    assert classes == tuple(sorted(classes))
    assert classes[:3] == (6, 11, 13)


def test_imagenet_r_classes():
    """The numbers that stand as a comment in the official evaluation, eval.py of hendrycks/imagenet-r; timm has the same."""
    from pathlib import Path

    import timm.data

    classes = imagenet_r_classes()
    assert len(set(classes)) == 200
    assert (classes[:5], classes[-5:]) == ((1, 2, 4, 6, 8), (967, 980, 981, 983, 988))
    listed = Path(timm.data.__file__).parent / "_info" / "imagenet_r_indices.txt"
    assert classes == tuple(int(line) for line in listed.read_text().split())


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: F.wilson(0, 0), "no images"),
        (lambda: F.wilson(3, 2), "3 of 2 images"),
        (lambda: F.label_rank([[0.1, np.nan]], [0]), "image 0 is undefined: it has the score nan"),
        (lambda: F.label_rank([[0.1, 0.9]], [2]), "label 2, but 2 scores"),
        (lambda: F.label_rank([[0.1, 0.9]], [-1]), "label -1, but 2 scores"),
        (lambda: F.label_rank([[0.1, 0.9]], [0, 1]), "scores are"),
    ],
)
def test_undefined_says_why_and_is_never_a_number(call, reason):
    with pytest.raises(UndefinedError, match=reason):
        call()
