import math

import numpy as np
import pytest
from scipy import stats

from fewshot.errors import FewshotError
from fewshot.evaluation.intervals import mean_interval


@pytest.mark.parametrize("episodes", [10, 600])
def test_the_interval_covers_the_truth_as_often_as_it_says(episodes):
    # Accuracy of an episode: 75 queries, each right with a chance that differs from episode to episode.
    rng = np.random.default_rng(0)
    chance = rng.beta(6, 4, (2000, episodes))
    accuracies = rng.binomial(75, chance) / 75
    covered = 0
    for values in accuracies:
        mean, half_width = mean_interval(values)
        covered += abs(mean - 0.6) <= half_width
    assert 0.93 <= covered / 2000 <= 0.97


def test_t_is_that_of_scipy_and_normal_that_of_the_papers():
    values = np.random.default_rng(1).random(37)
    mean, half_width = mean_interval(values)
    low, high = stats.t.interval(0.95, 36, values.mean(), stats.sem(values))
    assert (mean - half_width, mean + half_width) == pytest.approx((low, high))
    assert mean_interval(values, method="normal").half_width == pytest.approx(1.959964 * values.std() / math.sqrt(37))
    assert mean_interval(values, level=0.99).half_width > half_width


def test_one_episode_has_no_interval_and_equal_ones_have_none_to_speak_of():
    assert mean_interval(np.array([0.5])).mean == 0.5
    assert math.isnan(mean_interval(np.array([0.5])).half_width)
    assert mean_interval(np.full(10, 0.5)) == (0.5, 0.0)


def test_an_unknown_method_is_refused():
    with pytest.raises(FewshotError, match="bootstrap"):
        mean_interval(np.ones(3), method="bootstrap")
