"""The paired difference agrees with scipy and statsmodels, covers, and is refused to runs of other tasks."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from fewshot.errors import FewshotError
from fewshot.evaluation.paired import SAME_TASKS, check_same_tasks, differing_tasks, holm, paired_difference, welch


def accuracies(rng, episodes=400, better=0.02, queries=75):
    """Two learners that find the same episodes hard, as shares of whole queries."""
    hard = rng.normal(0.6, 0.09, episodes)
    first, second = (rng.binomial(queries, np.clip(hard + gain, 0, 1)) / queries for gain in (better, 0.0))
    return first, second


def test_it_is_scipys_paired_t_and_wilcoxon():
    first, second = accuracies(np.random.default_rng(0))
    found = paired_difference(first, second)
    expected = stats.ttest_rel(first, second)
    assert found.t_p == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval(0.95)
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))
    whole = np.round(75 * (first - second))
    signed = stats.wilcoxon(whole, zero_method="zsplit", method="asymptotic")
    assert found.wilcoxon_p == pytest.approx(signed.pvalue, rel=1e-9)
    assert found.zeros == int((whole == 0).sum()) > 0
    assert found.wins == pytest.approx((whole > 0).mean() + 0.5 * (whole == 0).mean())
    assert found.effect == pytest.approx(whole.mean() / whole.std(ddof=1))


def test_the_unpaired_interval_is_statsmodels_welch_and_wider():
    first, second = accuracies(np.random.default_rng(1))
    means = CompareMeans(DescrStatsW(first), DescrStatsW(second))
    low, high = means.tconfint_diff(usevar="unequal")
    difference, half_width, p = welch(first, second)
    assert (difference - half_width, difference + half_width) == pytest.approx((low, high))
    assert p == pytest.approx(means.ttest_ind(usevar="unequal")[1])
    assert paired_difference(first, second).half_width < 0.8 * half_width


def test_swapping_turns_the_sign_and_nothing_else():
    first, second = accuracies(np.random.default_rng(2))
    one, other = paired_difference(first, second), paired_difference(second, first)
    assert other.mean == pytest.approx(-one.mean)
    assert (other.half_width, other.t_p, other.wilcoxon_p) == pytest.approx((one.half_width, one.t_p, one.wilcoxon_p))
    assert one.wins + other.wins == pytest.approx(1)


def test_the_interval_covers_and_p_values_of_equal_learners_are_uniform():
    rng, repeats, better = np.random.default_rng(3), 1000, 0.01
    covered = sum(
        abs(found.mean - better) <= found.half_width
        for found in (paired_difference(*accuracies(rng, 100, better)) for _ in range(repeats))
    )
    assert stats.binom.ppf(0.001, repeats, 0.95) <= covered <= stats.binom.ppf(0.999, repeats, 0.95)
    null = [paired_difference(*accuracies(rng, 100, 0.0)) for _ in range(500)]
    assert stats.kstest([found.t_p for found in null], "uniform").pvalue > 0.001
    assert stats.kstest([found.wilcoxon_p for found in null], "uniform").pvalue > 0.001


def test_equal_and_constantly_different_learners():
    same = paired_difference(np.full(5, 0.5), np.full(5, 0.5))
    assert (same.mean, same.t_p, same.wilcoxon_p, same.zeros, same.wins) == (0, 1, 1, 5, 0.5)
    shifted = paired_difference(np.full(50, 0.75), np.full(50, 0.5))
    assert (shifted.mean, shifted.half_width, shifted.t_p) == (0.25, 0, 0)
    assert shifted.wilcoxon_p < 1e-9


@pytest.mark.parametrize(("a", "b"), [([1, 2], [1, 2, 3]), ([1], [2]), ([1, np.nan], [1, 2]), ([[1, 2]], [[1, 2]])])
def test_what_cannot_be_paired_is_refused(a, b):
    with pytest.raises(FewshotError, match="cannot pair"):
        paired_difference(np.array(a, float), np.array(b, float))


def test_holm_by_hand_and_never_below_the_p_values():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    p = np.random.default_rng(5).random(20) ** 3
    assert (holm(p) >= p).all()
    assert len(holm([])) == 0


TASKS = {name: name for name in SAME_TASKS}


@pytest.mark.parametrize("name", SAME_TASKS)
def test_each_field_that_differs_is_named(name):
    assert differing_tasks(TASKS, dict(TASKS)) == []
    assert differing_tasks(TASKS, TASKS | {name: "other"}) == [f"{name} ({name}, other)"]
    with pytest.raises(FewshotError, match=rf"A and B cannot be paired: they differ in {name} \("):
        check_same_tasks(TASKS, TASKS | {name: "other"}, ("A", "B"))


def test_silence_is_no_proof_of_equal_episodes():
    silent = TASKS | {"episodes_sha256": ""}
    assert differing_tasks(silent, silent) == ["episodes_sha256 (not recorded, not recorded)"]
    assert differing_tasks(TASKS, TASKS | {"test_seed": float("nan")}) == ["test_seed (test_seed, not recorded)"]


def test_two_evaluations_are_paired_through_their_tasks(bank, bank_of):
    from fewshot.backbones.pixels import Pixels
    from fewshot.episodes.protocol import Protocol
    from fewshot.evaluation.scoring import evaluate
    from fewshot.heads.matching import MatchingHead
    from fewshot.heads.prototype import PrototypeHead
    from fewshot.learners.metric_learner import MetricLearner
    from fewshot.losses.cross_entropy import CrossEntropy

    learners = [MetricLearner(Pixels(1, 28), head, CrossEntropy()) for head in (PrototypeHead(), MatchingHead())]
    one, other = (evaluate(learner, bank, Protocol(episodes=20)) for learner in learners)
    check_same_tasks(one.tasks, other.tasks)
    seeded = evaluate(learners[0], bank, Protocol(episodes=20, seed=1))
    assert [text.split()[0] for text in differing_tasks(one.tasks, seeded.tasks)] == ["test_seed", "episodes_sha256"]
    # Equal class sizes draw equal indices, but of other images.
    elsewhere = evaluate(learners[0], bank_of(seed=5), Protocol(episodes=20))
    assert [text.split()[0] for text in differing_tasks(one.tasks, elsewhere.tasks)] == ["bank_fingerprint"]
