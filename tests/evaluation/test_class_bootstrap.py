"""The interval over classes covers new classes, which the interval over episodes does not."""

import numpy as np
import pytest
from scipy.stats import binom, t

from fewshot.errors import FewshotError
from fewshot.evaluation.class_bootstrap import class_bootstrap
from fewshot.evaluation.intervals import mean_interval


def a_test(rng, classes=20, spread=0.12, episodes=200, way=5, query=15):
    """Right queries per class and accuracies per episode of a learner to whom classes are unequally hard."""
    ease = np.clip(rng.normal(0.6, spread, classes), 0, 1)
    chosen = np.argsort(rng.random((episodes, classes)))[:, :way]
    right = rng.binomial(query, ease[chosen])
    return (
        np.bincount(chosen.ravel(), right.ravel(), classes),
        query * np.bincount(chosen.ravel(), minlength=classes),
        right.sum(1) / (way * query),
    )


def test_it_covers_new_classes_as_often_as_it_says_and_the_interval_over_episodes_does_not():
    rng, repeats = np.random.default_rng(0), 1000
    by_class = by_episode = 0
    for _ in range(repeats):
        right, queries, accuracies = a_test(rng)
        found, usual = class_bootstrap(right, queries, draws=500), mean_interval(accuracies)
        by_class += found.low <= 0.6 <= found.high
        by_episode += abs(usual.mean - 0.6) <= usual.half_width
    assert binom.ppf(0.001, repeats, 0.95) <= by_class <= binom.ppf(0.999, repeats, 0.95)
    assert by_episode < 0.4 * repeats


def test_the_mean_is_the_accuracy_and_the_width_students_over_classes():
    rng = np.random.default_rng(1)
    right, queries, accuracies = a_test(rng)
    found = class_bootstrap(right, queries, draws=20_000)
    assert found.mean == pytest.approx(accuracies.mean())
    shares = rng.normal(0.5, 0.1, 20)
    even = class_bootstrap(100 * shares, np.full(20, 100), draws=50_000)
    expected = t.ppf(0.975, 19) * shares.std(ddof=1) / 20**0.5
    assert (even.high - even.low) / 2 == pytest.approx(expected, rel=0.02)


def test_paired_differences_of_classes_are_narrower():
    rng = np.random.default_rng(2)
    right, queries, _ = a_test(rng)
    other = np.minimum(right + rng.integers(0, 9, 20), queries)
    paired, alone = class_bootstrap(other - right, queries), class_bootstrap(right, queries)
    assert paired.high - paired.low < 0.2 * (alone.high - alone.low)
    assert 0 < paired.low < paired.mean < paired.high


def test_equal_classes_have_no_width_and_seeds_repeat():
    assert class_bootstrap(np.full(5, 3), np.full(5, 4))[:3] == (0.75, 0.75, 0.75)
    right, queries, _ = a_test(np.random.default_rng(3))
    assert class_bootstrap(right, queries, seed=7) == class_bootstrap(right, queries, seed=7)
    assert class_bootstrap(right, queries, seed=7) != class_bootstrap(right, queries, seed=8)


def test_classes_without_queries_do_not_count_and_one_class_is_refused():
    with_empty = class_bootstrap(np.array([1.0, 2, 3, 0]), np.array([4.0, 4, 4, 0]))
    assert with_empty == class_bootstrap(np.array([1.0, 2, 3]), np.array([4.0, 4, 4]))
    assert with_empty.classes == 3
    with pytest.raises(FewshotError, match="at least two"):
        class_bootstrap(np.array([1.0, 0]), np.array([4.0, 0]))
    with pytest.raises(FewshotError, match="one per class"):
        class_bootstrap(np.zeros(3), np.zeros(2))
