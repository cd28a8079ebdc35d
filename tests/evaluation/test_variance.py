"""Seeds and episodes: components are those that made the table, and the interval covers."""

import numpy as np
import pytest
from scipy.stats import binom

from fewshot.errors import FewshotError
from fewshot.evaluation.intervals import mean_interval
from fewshot.evaluation.variance import seeds_and_episodes


def a_table(rng, seeds, episodes, of_seeds, of_episodes, residual):
    return (
        rng.normal(0, of_seeds**0.5, (seeds, 1))
        + rng.normal(0, of_episodes**0.5, (1, episodes))
        + rng.normal(0, residual**0.5, (seeds, episodes))
    )


def test_components_are_those_of_statsmodels_anova():
    import pandas as pd
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    values = a_table(np.random.default_rng(0), 4, 30, 1, 9, 4)
    frame = pd.DataFrame([{"s": s, "e": e, "y": y} for (s, e), y in np.ndenumerate(values)])
    squares = anova_lm(ols("y ~ C(s) + C(e)", frame).fit())["mean_sq"]
    found = seeds_and_episodes(values)
    assert found.mean == pytest.approx(values.mean())
    assert found.residual_variance == pytest.approx(squares["Residual"])
    assert found.seed_variance == pytest.approx((squares["C(s)"] - squares["Residual"]) / 30)
    assert found.episode_variance == pytest.approx((squares["C(e)"] - squares["Residual"]) / 4)


def test_components_are_unbiased():
    rng = np.random.default_rng(1)
    found = np.array([seeds_and_episodes(a_table(rng, 5, 100, 1, 64, 25))[2:5] for _ in range(1000)])
    error = found.std(axis=0) / len(found) ** 0.5
    assert (np.abs(found.mean(axis=0) - [1, 64, 25]) < 4 * error).all()


# Seeds that matter little, much, and not at all.
@pytest.mark.parametrize("of_seeds", [1.0, 25.0, 0.0])
@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_covers_the_truth_as_often_as_it_says(of_seeds, seeds):
    rng, repeats = np.random.default_rng(2), 1000
    covered = sum(
        abs(found.mean) <= found.half_width
        for found in (seeds_and_episodes(a_table(rng, seeds, 100, of_seeds, 64, 25)) for _ in range(repeats))
    )
    assert covered >= binom.ppf(0.001, repeats, 0.95)
    # Where seeds matter little, the quantile of few seeds makes it wider than it need be.
    assert covered <= 0.995 * repeats


def test_treating_all_cells_as_independent_would_not_cover():
    rng = np.random.default_rng(3)
    tables = [a_table(rng, 3, 100, 9, 64, 25) for _ in range(300)]
    naive = sum(abs(table.mean()) <= mean_interval(table.ravel()).half_width for table in tables)
    assert naive < 0.6 * len(tables)


def test_equal_seeds_add_nothing_and_equal_episodes_leave_the_interval_of_seeds():
    row = np.random.default_rng(4).normal(size=50)
    # Three copies of one run are one run.
    found = seeds_and_episodes(np.stack([row] * 3))
    assert found.half_width == pytest.approx(mean_interval(row).half_width, rel=1e-6)
    column = np.array([[1.0], [2.0], [4.0]])
    found = seeds_and_episodes(np.broadcast_to(column, (3, 50)))
    assert found.half_width == pytest.approx(mean_interval(column.ravel()).half_width)
    assert seeds_and_episodes(np.full((3, 4), 0.5)).half_width == 0


@pytest.mark.parametrize("values", [np.zeros((1, 5)), np.zeros((5, 1)), np.zeros(5), np.full((2, 2), np.nan)])
def test_what_has_no_components_is_refused(values):
    with pytest.raises(FewshotError):
        seeds_and_episodes(values)
