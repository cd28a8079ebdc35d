"""What is compared: how often two equal methods are told apart, and how often an interval holds the truth."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_ind_from_stats

from fewshot.evaluation.variance import seeds_and_episodes
from fewshot.leaderboard.entries import Entry, compare

EPISODES = 600


def entry(rng, seed_deviation, test, seeds=3, files=True, mean=50.0, shared=None):
    """A method of which seeds share their episodes: 8 points of their spread is the episodes', 6 are the run's."""
    of_episodes = rng.normal(0, 8, EPISODES) if shared is None else shared
    own = rng.normal(0, seed_deviation, (seeds, 1)) + rng.normal(0, 6, (seeds, EPISODES))
    values = mean + of_episodes + own
    rows = pd.DataFrame(
        {
            "row": range(seeds), "seed": range(seeds), "accuracy": values.mean(1), "episodes": EPISODES,
            "ci95": 1.9639 * values.std(1, ddof=1) / EPISODES**0.5, "episodes_sha256": test, "bank_fingerprint": "b",
            "data": "d", "split": "t", "pipeline": "p", "way": 5, "shot": "1", "query": 15, "imbalance": "none", "test_seed": 0,
        }
    )  # fmt: skip
    return Entry(rows, values if files else None, "" if files else "no file")


@pytest.mark.parametrize("files", [True, False])
@pytest.mark.parametrize("seed_deviation", [0.0, 0.3, 1.5])
def test_equal_methods_of_several_seeds_on_other_episodes_are_seldom_told_apart(seed_deviation, files):
    rng, times = np.random.default_rng(0), 300
    wrong = covered = 0
    for _ in range(times):
        first, second = (entry(rng, seed_deviation, test, files=files) for test in ("a", "b"))
        found = compare(first, second)
        assert found.kind == "unpaired"
        wrong += found.p < 0.05
        covered += abs(first.mean - 50) <= first.half_width
    # Of 300 with 5% there are 15, and more than 27 in 2 of 1000.
    assert wrong <= 27
    assert covered >= 273
    if seed_deviation == 1.5:
        # Where one part is most of the variance an interval is not much wider than it has to be.
        assert wrong >= 1
        assert covered <= 297


@pytest.mark.parametrize("seed_deviation", [0.0, 1.5])
def test_one_seed_beside_several_is_taken_to_vary_as_they_do(seed_deviation):
    rng = np.random.default_rng(1)
    found = [compare(entry(rng, seed_deviation, "a"), entry(rng, seed_deviation, "b", seeds=1)) for _ in range(300)]
    assert sum(comparison.p < 0.05 for comparison in found) <= 27


def test_methods_that_differ_are_told_apart():
    # The standard error of a difference is about 0.5, of which 2.5 are 5.
    rng = np.random.default_rng(0)
    found = [compare(entry(rng, 0.1, "a", mean=52.5), entry(rng, 0.1, "b")).p for _ in range(50)]
    assert np.mean(np.array(found) < 0.05) > 0.9


def test_an_interval_of_several_seeds_is_that_of_seeds_and_episodes():
    known = entry(np.random.default_rng(0), 0.5, "a")
    assert known.half_width == pytest.approx(seeds_and_episodes(known.values).half_width)


def test_without_an_interval_there_is_no_p():
    first, second = (entry(np.random.default_rng(i), 0.5, name, seeds=1, files=False) for i, name in enumerate("ab"))
    first.rows["ci95"] = np.nan
    assert np.isnan(compare(first, second).p)


def test_of_one_seed_it_is_welch():
    rng = np.random.default_rng(0)
    first, second = entry(rng, 0.0, "a", seeds=1, mean=51.0), entry(rng, 0.0, "b", seeds=1)
    found = compare(first, second)
    moments = [x for e in (first, second) for x in (e.values.mean(), e.values.std(ddof=1), EPISODES)]
    assert found.p == pytest.approx(ttest_ind_from_stats(*moments, equal_var=False).pvalue, rel=1e-3)
    assert found.half_width**2 == pytest.approx(first.half_width**2 + second.half_width**2, rel=5e-3)


def test_without_files_an_interval_of_several_seeds_is_no_narrower():
    rng = np.random.default_rng(0)
    for _ in range(50):
        known = entry(rng, 0.3, "a")
        assert Entry(known.rows, None, "no file").half_width >= known.half_width
