"""The critical-difference diagram: mean ranks, and bars over what cannot be told apart."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import friedmanchisquare, rankdata, studentized_range

from fewshot.errors import FewshotError
from fewshot.evaluation.paired import holm, wilcoxon_p
from fewshot.figure import ShownFigure

# Below this the approximations behind Friedman's and Nemenyi's tests are not to be relied on.
LEAST_BLOCKS = 6


@dataclass(frozen=True, eq=False)
class MeanRanks:
    """Methods ranked in each of several blocks.

    Args:
        names: of the methods, the best mean rank first.
        ranks: float64 `[methods]`, mean over blocks, 1 is best, ties share.
        apart: bool `[methods, methods]`, whether a test tells two of them apart.
        blocks: how many.
        friedman_p: of the hypothesis that all are equal.
        critical: difference of mean ranks from which two are apart (Nemenyi); NaN for the pairwise tests.
    """

    names: list[str]
    ranks: np.ndarray
    apart: np.ndarray
    blocks: int
    friedman_p: float
    critical: float


def mean_ranks(values: np.ndarray, names: list[str], test: str = "nemenyi", level: float = 0.05) -> MeanRanks:
    """Rank methods within blocks and test the differences of their mean ranks.

    Args:
        values: accuracies `[blocks, methods]`; a block is a data set with a protocol, or an episode.
        names: of the methods.
        test: `nemenyi` compares mean ranks with a critical difference; `wilcoxon` compares pairs by signed ranks with
            Holm's correction, which does not depend on which other methods are there.
        level: of the tests.

    Raises:
        FewshotError: fewer than six blocks, or fewer than two methods.

    Source: Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, 2006; Benavoli et al. 2016 for `wilcoxon`.
    """
    blocks, methods = values.shape
    if blocks < LEAST_BLOCKS or methods < 2:
        raise FewshotError(
            f"a critical-difference diagram needs {LEAST_BLOCKS} blocks and 2 methods, here are {blocks} and {methods}; "
            "test on more data sets and protocols, or take episodes for blocks"
        )
    # Ranks of equal accuracies must be equal, also where they differ by rounding.
    ranks = rankdata(-np.round(values, 9), axis=1).mean(axis=0)
    order = np.argsort(ranks, kind="stable")
    values, ranks = values[:, order], ranks[order]
    p_all = 1.0
    if methods > 2 and np.ptp(values, axis=1).max() != 0:
        p_all = float(friedmanchisquare(*np.round(values, 9).T).pvalue)
    critical = math.nan
    if test == "nemenyi":
        critical = critical_difference(methods, blocks, level)
        apart = np.abs(ranks[:, None] - ranks) >= critical
    else:
        i, j = np.triu_indices(methods, 1)
        p = holm([wilcoxon_p(values[:, a] - values[:, b]) for a, b in zip(i, j, strict=True)])
        apart = np.zeros((methods, methods), dtype=bool)
        apart[i, j] = apart[j, i] = p <= level
    return MeanRanks([names[k] for k in order], ranks, apart, blocks, p_all, critical)


def critical_difference(methods: int, blocks: int, level: float = 0.05) -> float:
    """Nemenyi's critical difference of mean ranks."""
    q = studentized_range.ppf(1 - level, methods, np.inf) / math.sqrt(2)
    return float(q * math.sqrt(methods * (methods + 1) / (6 * blocks)))


def cliques(apart: np.ndarray) -> list[tuple[int, int]]:
    """First and last of each longest run of methods, in their order, of which no two are apart; runs of one left out."""
    n, found = len(apart), []
    for first in range(n):
        last = first
        while last + 1 < n and not apart[first : last + 1, last + 1].any():
            last += 1
        if last > first and not (found and found[-1][1] >= last):
            found.append((first, last))
    return found


def draw_mean_ranks(found: MeanRanks, title: str) -> ShownFigure:
    """Mean ranks on a line, the best on the left; methods under a common bar are not told apart."""
    n = len(found.names)
    bars = cliques(found.apart)
    depth = 0.28 * len(bars) + 0.35
    rows = (n + 1) // 2
    height = 1.5 + 0.25 * (rows + 1) + 0.28 * len(bars) / 2
    figure = ShownFigure(figsize=(8.5, height), layout="constrained")
    axes = figure.subplots()
    low, high = math.floor(found.ranks.min()), math.ceil(found.ranks.max())
    low, high = (low - 1, high + 1) if low == high else (low, high)
    span = high - low
    axes.plot([low, high], [0, 0], color="black", linewidth=1)
    for tick in range(low, high + 1):
        axes.plot([tick, tick], [0, 0.12], color="black", linewidth=1)
        axes.text(tick, 0.2, str(tick), ha="center", fontsize=8)
    for place, (name, mean) in enumerate(zip(found.names, found.ranks, strict=True)):
        left = place < rows
        y = -depth - 0.45 * (place if left else n - 1 - place)
        edge = low - 0.04 * span if left else high + 0.04 * span
        axes.plot([mean, mean, edge], [0, y, y], color="tab:gray", linewidth=0.8)
        axes.text(edge, y, f" {name} {mean:.2f} ", ha="right" if left else "left", va="center", fontsize=7)
    for line, (first, last) in enumerate(bars):
        y = -0.22 - 0.28 * line
        axes.plot(found.ranks[[first, last]] + np.array([-0.01, 0.01]) * span, [y, y], color="tab:red", linewidth=3)
    if not math.isnan(found.critical):
        axes.plot([low, low + found.critical], [0.75, 0.75], color="tab:red", linewidth=2)
        axes.text(low + found.critical, 0.75, f"  critical difference {found.critical:.2f}", va="center", fontsize=7)
    axes.set_xlim(low - 0.75 * span, high + 0.75 * span)
    axes.set_ylim(-depth - 0.45 * rows, 1.0)
    axes.axis("off")
    axes.set_title(title, fontsize=9, loc="left")
    return figure
