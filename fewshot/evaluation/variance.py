"""Several training seeds on the same episodes: how much of the variance is whose."""

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import t

from fewshot.errors import FewshotError


class SeedsAndEpisodes(NamedTuple):
    """What a table of seeds times episodes says of the mean over new seeds and new episodes of the same classes.

    Args:
        mean: of all values.
        half_width: of the interval, in the unit of the values; it covers the choice of seeds and of episodes.
        seed_variance: between seeds; as it is estimated, so it may be below 0.
        episode_variance: between episodes, what all seeds have in common; may be below 0.
        residual_variance: what is left, of one seed on one episode.
    """

    mean: float
    half_width: float
    seed_variance: float
    episode_variance: float
    residual_variance: float


def seeds_and_episodes(values: np.ndarray, level: float = 0.95) -> SeedsAndEpisodes:
    """The mean over seeds and episodes, its interval, and the variance split into both.

    The table is crossed: all seeds were scored on the same episodes. To compare two methods, give the differences of their
    values; most of what episodes have in common is gone from those. Runs whose episodes differ have no such table: take
    `mean_interval` of one mean per seed.

    Args:
        values: `[seeds, episodes]`, at least two of each.
        level: coverage, 0 to 1.

    Raises:
        FewshotError: fewer than two seeds or episodes, or a value that is not a number.

    Source: analysis of variance of a two-way table with one value per cell; adding the half-widths as squares is ours, its
    coverage is simulated in the tests.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or min(values.shape) < 2:
        raise FewshotError(f"values of shape {values.shape}; expected [seeds, episodes], at least two of each")
    if not np.isfinite(values).all():
        raise FewshotError("values that are not numbers; score those episodes again")
    s, e = values.shape
    mean, rows, columns = values.mean(), values.mean(axis=1), values.mean(axis=0)
    of_seeds = e * ((rows - mean) ** 2).sum() / (s - 1)
    of_episodes = s * ((columns - mean) ** 2).sum() / (e - 1)
    residual = ((values - rows[:, None] - columns + mean) ** 2).sum() / ((s - 1) * (e - 1))
    # Two parts, each with the quantile of its own degrees of freedom, their half-widths added as squares: one quantile for
    # both (Satterthwaite) covers 92% where three seeds differ much, for it is too large where their spread came out small.
    seeds_part = t.ppf((1 + level) / 2, s - 1) ** 2 * of_seeds
    episodes_part = t.ppf((1 + level) / 2, e - 1) ** 2 * max(of_episodes - residual, 0.0)
    half_width = math.sqrt((seeds_part + episodes_part) / (s * e))
    return SeedsAndEpisodes(
        float(mean),
        float(half_width),
        float((of_seeds - residual) / e),
        float((of_episodes - residual) / s),
        float(residual),
    )
