"""Confidence intervals of a mean accuracy."""

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, t

from fewshot.errors import FewshotError


class MeanInterval(NamedTuple):
    """A mean and the half-width of its interval, in the unit of the values."""

    mean: float
    half_width: float


def mean_interval(values: np.ndarray, level: float = 0.95, method: str = "t") -> MeanInterval:
    """The mean of per-episode accuracies and the half-width of its confidence interval.

    The interval covers the sampling of episodes and nothing else: not the choice of test classes,
    not the training seed.

    Args:
        values: one number per episode.
        level: coverage, 0 to 1.
        method: `t` is Student's t with the sample's standard deviation (ddof 1); `normal` is the
            1.96 * std / sqrt(n) with ddof 0 that many papers print.

    Returns:
        The mean; the half-width is NaN for fewer than two values.
    """
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    if method not in ("t", "normal"):
        raise FewshotError(f"interval method {method!r}; expected t or normal")
    if n < 2:
        return MeanInterval(float(values.mean()) if n else math.nan, math.nan)
    quantile = t.ppf((1 + level) / 2, n - 1) if method == "t" else norm.ppf((1 + level) / 2)
    spread = values.std(ddof=1 if method == "t" else 0)
    return MeanInterval(float(values.mean()), float(quantile * spread / math.sqrt(n)))
