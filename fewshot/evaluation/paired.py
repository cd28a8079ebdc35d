"""Two learners on the same episodes: the paired difference, and when there is none."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fewshot.errors import FewshotError
from fewshot.evaluation.intervals import mean_interval
from fewshot.evaluation.variance import Part, half_width_of, of_difference, p_value

# What must agree before accuracies may be subtracted episode by episode; the last of them decide, the others explain.
SAME_TASKS = (
    "data",
    "split",
    "pipeline",
    "bank_fingerprint",
    "way",
    "shot",
    "query",
    "imbalance",
    "episodes",
    "test_seed",
    "episodes_sha256",
)


class PairedDifference(NamedTuple):
    """The difference of two learners, first minus second, over the same episodes.

    Args:
        mean: of the differences, in the unit of the values.
        half_width: of its 95% interval (Student's t of the differences).
        unpaired_half_width: of the interval that would be had without pairing (Welch), to see what pairing brings.
        t_p: two-sided p-value of Student's paired t test.
        wilcoxon_p: two-sided p-value of Wilcoxon's signed ranks; it asks whether differences are symmetric about 0.
        zeros: episodes without a difference, whose ranks are split between both signs.
        wins: share of episodes in which the first is better, ties counted half.
        effect: mean over standard deviation of the differences.
        episodes: how many.
    """

    mean: float
    half_width: float
    unpaired_half_width: float
    t_p: float
    wilcoxon_p: float
    zeros: int
    wins: float
    effect: float
    episodes: int


def paired_difference(first: np.ndarray, second: np.ndarray, level: float = 0.95) -> PairedDifference:
    """First minus second, with both tests.

    The unit of inference is the episode: it covers new episodes of the same classes and the same two trained models.

    Args:
        first: one value per episode.
        second: those of the other learner, on the same episodes in the same order.
        level: coverage, 0 to 1.

    Raises:
        FewshotError: other numbers of episodes, fewer than two, or a value that is not a number.

    Source: Student 1908; Wilcoxon 1945, with zeros split; Welch 1947.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1 or len(first) < 2:
        raise FewshotError(
            f"cannot pair {first.shape} with {second.shape} values; expected one per episode, at least two episodes"
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise FewshotError("cannot pair values that are not numbers; score those episodes again")
    difference = first - second
    # Accuracies are shares of whole queries: what differs by less is rounding, and a zero to the signed ranks.
    difference = np.where(np.abs(difference) < 1e-9, 0.0, difference)
    mean, half_width = mean_interval(difference, level)
    sd = float(difference.std(ddof=1))
    return PairedDifference(
        mean,
        half_width,
        welch(first, second, level)[1],
        _t_p(difference, sd),
        wilcoxon_p(difference),
        int((difference == 0).sum()),
        float((difference > 0).mean() + (difference == 0).mean() / 2),
        mean / sd if sd else math.copysign(math.inf, mean) if mean else 0.0,
        len(difference),
    )


def welch(first: np.ndarray, second: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Difference of two means that are not paired, its half-width and two-sided p-value (Welch 1947)."""
    one, other = (Part(float(np.var(x, ddof=1)) / len(x), len(x) - 1) for x in (first, second))
    difference, parts = float(np.mean(first)) - float(np.mean(second)), [of_difference(one, other)]
    return difference, half_width_of(parts, level), p_value(difference, parts)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's step-down correction: p-values that may all be read at one level together.

    Args:
        p_values: of the comparisons that were made, all of them, none left out for what it said.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.
    """
    from statsmodels.stats.multitest import multipletests

    p_values = np.asarray(p_values, dtype=np.float64)
    return multipletests(p_values, method="holm")[1] if len(p_values) else p_values


def differing_tasks(first: Mapping, second: Mapping) -> list[str]:
    """Which of `SAME_TASKS` keep two tests from being paired, each as `field (one, other)`; none if they may be.

    A field that one of them does not say counts as different: silence is no proof of the same episodes.

    Args:
        first: leaderboard row or `Evaluation.tasks`.
        second: the other.
    """
    found = []
    for name in SAME_TASKS:
        one, other = _said(first.get(name)), _said(second.get(name))
        if one != other or (not one and name in ("bank_fingerprint", "episodes_sha256")):
            found.append(f"{name} ({one[:40] or 'not recorded'}, {other[:40] or 'not recorded'})")
    return found


def check_same_tasks(first: Mapping, second: Mapping, names: tuple[str, str] = ("the first", "the second")) -> None:
    """Raise a FewshotError that names each differing field, unless the two may be paired."""
    found = differing_tasks(first, second)
    if found:
        raise FewshotError(
            f"{names[0]} and {names[1]} cannot be paired: they differ in {', '.join(found)}; test both on the same images "
            "and episodes"
        )


def _said(value: object) -> str:
    # A missing value of pandas is equal to nothing, itself included.
    return "" if value is None or value != value or str(value) == "<NA>" else str(value)


def _t_p(difference: np.ndarray, sd: float) -> float:
    from scipy.stats import ttest_1samp

    if sd == 0:
        return 0.0 if difference[0] else 1.0
    return float(ttest_1samp(difference, 0.0).pvalue)


def wilcoxon_p(difference: np.ndarray) -> float:
    """Two-sided p-value of Wilcoxon's signed ranks, zeros split between both signs; 1 where nothing differs."""
    from scipy.stats import wilcoxon

    # Queries are few, so sizes of differences are tied: rounding must not put an order into equal ones.
    difference = np.round(difference, 9)
    return float(wilcoxon(difference, zero_method="zsplit", method="asymptotic").pvalue) if difference.any() else 1.0
