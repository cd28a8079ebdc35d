"""An interval over new test classes: a bootstrap whose unit is the class."""

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, t

from fewshot.errors import FewshotError


class ClassBootstrap(NamedTuple):
    """A share of right queries and the ends of its interval over classes, in 0..1.

    Args:
        mean: over all queries.
        low: lower end.
        high: upper end.
        classes: how many there were to draw from.
    """

    mean: float
    low: float
    high: float
    classes: int


def class_bootstrap(
    right: np.ndarray, queries: np.ndarray, draws: int = 2000, level: float = 0.95, seed: int = 0
) -> ClassBootstrap:
    """What the accuracy might have been on other test classes of the same kind.

    Classes are drawn anew, with replacement, and each counts as often as it was drawn. The percentile interval of so few
    units is too narrow; its ends are moved out by Student's t over the normal quantile and the root of C / (C - 1), which for
    the plain mean makes it Student's interval over classes. The accuracy of a class depends on those it was tested with: that
    is left out.

    Args:
        right: `[classes]`, right queries of each class over all episodes; for two learners on the same episodes the
            differences of these.
        queries: `[classes]`, queries of each class.
        draws: of the bootstrap.
        level: coverage, 0 to 1.
        seed: of the draws.

    Raises:
        FewshotError: fewer than two classes that have queries, or counts that do not fit.

    Source: Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 2.4 and 3.8 (clusters); the factor is
    that of Hesterberg, What Teachers Should Know About the Bootstrap, 2015, section 4.3.
    """
    right, queries = np.asarray(right, dtype=np.float64), np.asarray(queries, dtype=np.float64)
    if right.shape != queries.shape or right.ndim != 1:
        raise FewshotError(
            f"{right.shape} counts of right queries for {queries.shape} of queries; expected one per class"
        )
    right, queries = right[queries > 0], queries[queries > 0]
    classes = len(right)
    if classes < 2:
        raise FewshotError(f"{classes} classes have queries; an interval over classes needs at least two")
    rng = np.random.Generator(np.random.Philox(key=seed))
    often = rng.multinomial(classes, np.full(classes, 1 / classes), size=draws)
    means = often @ right / (often @ queries)
    mean = right.sum() / queries.sum()
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    wider = t.ppf((1 + level) / 2, classes - 1) / norm.ppf((1 + level) / 2) * math.sqrt(classes / (classes - 1))
    return ClassBootstrap(float(mean), float(mean - wider * (mean - low)), float(mean + wider * (high - mean)), classes)
