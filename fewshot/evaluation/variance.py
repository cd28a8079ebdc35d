"""Several training seeds on the same episodes: how much of the variance is whose, and what parts of a variance say together."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fewshot.errors import FewshotError


class Part(NamedTuple):
    """A part of the variance of a mean, and the degrees of freedom of its estimate."""

    variance: float
    freedom: float


def of_difference(one: Part, other: Part) -> Part:
    """Of the difference of two independent means, with the degrees of freedom of Welch and Satterthwaite."""
    both = one.variance + other.variance
    spread = one.variance**2 / one.freedom + other.variance**2 / other.freedom
    return Part(both, both**2 / spread if spread else 1.0)


def half_width_of(parts: Sequence[Part], level: float = 0.95) -> float:
    """Of an interval: half-widths of the parts, each with the quantile of its own degrees of freedom, added as squares."""
    from scipy.stats import t

    return math.sqrt(sum(float(t.ppf((1 + level) / 2, part.freedom)) ** 2 * part.variance for part in parts))


def p_value(difference: float, parts: Sequence[Part]) -> float:
    """Two-sided: one minus the level at which the interval reaches 0; NaN where a variance is."""
    from scipy.optimize import brentq
    from scipy.stats import t

    size, varying = abs(difference), [part for part in parts if part.variance]
    if size == 0:
        return 1.0
    if len(varying) == 1:
        # One quantile for all has a closed form.
        return float(2 * t.sf(size / math.sqrt(varying[0].variance), varying[0].freedom))
    if math.isnan(half_width_of(parts)):
        return math.nan

    def beyond(log_p: float) -> float:
        return half_width_of(parts, 1 - math.exp(log_p)) - size

    least, most = math.log(1e-12), math.log(1 - 1e-12)
    if beyond(least) <= 0:
        return 0.0
    return 1.0 if beyond(most) >= 0 else math.exp(brentq(beyond, least, most, xtol=1e-10))


class SeedsAndEpisodes(NamedTuple):
    """What a table of seeds times episodes says of the mean over new seeds and new episodes of the same classes.

    Args:
        mean: of all values.
        half_width: of the interval, in the unit of the values; it covers the choice of seeds and of episodes.
        seed_variance: between seeds; as it is estimated, so it may be below 0.
        episode_variance: between episodes, what all seeds have in common; may be below 0.
        residual_variance: what is left, of one seed on one episode.
        parts: of the variance of the mean: of the choice of seeds, and of episodes.
    """

    mean: float
    half_width: float
    seed_variance: float
    episode_variance: float
    residual_variance: float
    parts: tuple[Part, Part]


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
    shared = max(of_episodes - residual, 0.0)
    parts = Part(float(of_seeds) / (s * e), s - 1), Part(float(shared) / (s * e), e - 1)
    return SeedsAndEpisodes(
        float(mean),
        half_width_of(parts, level),
        float((of_seeds - residual) / e),
        float((of_episodes - residual) / s),
        float(residual),
        parts,
    )
