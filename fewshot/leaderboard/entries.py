"""`Entry`: one method on one question, tested with one training seed or several."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import t

from fewshot.errors import FewshotError
from fewshot.evaluation.paired import differing_tasks, paired_difference
from fewshot.evaluation.variance import seeds_and_episodes
from fewshot.leaderboard.methods import METHOD


class Part(NamedTuple):
    """A part of the variance of a mean, and the degrees of freedom of its estimate."""

    variance: float
    freedom: float


@dataclass(frozen=True, eq=False)
class Entry:
    """What is ranked and compared.

    Args:
        rows: of the leaderboard, one per seed, with the column `row`.
        values: accuracies `[seeds, episodes]` in percent; None where the files are not at hand.
        missing: why they are not.
    """

    rows: pd.DataFrame
    values: np.ndarray | None
    missing: str = ""

    @property
    def first(self) -> pd.Series:
        return self.rows.iloc[0]

    @property
    def seeds(self) -> list[int]:
        return list(self.rows["seed"])

    @property
    def mean(self) -> float:
        """Mean accuracy over seeds, percent."""
        return float(self.rows["accuracy"].mean())

    @property
    def half_width(self) -> float:
        """Of the 95% interval: over episodes for one seed, over seeds and episodes for several."""
        if len(self.rows) == 1:
            return float(self.first["ci95"])
        return _half_width([self.of_seeds, self.of_episodes])

    @property
    def of_seeds(self) -> Part:
        """What the choice of seeds adds to the variance of the mean; nothing is known of it with one seed."""
        accuracies = self.rows["accuracy"].to_numpy()
        if len(accuracies) == 1:
            return Part(math.nan, 1)
        return Part(float(accuracies.var(ddof=1)) / len(accuracies), len(accuracies) - 1)

    @property
    def of_episodes(self) -> Part:
        """What the choice of episodes adds, which all seeds share; more than that where their files are not at hand."""
        if len(self.rows) > 1 and self.values is not None:
            episodes = self.values.shape[1]
            return Part(max(0.0, seeds_and_episodes(self.values).episode_variance) / episodes, episodes - 1)
        n = max(int(self.first["episodes"]), 2)
        errors = self.rows["ci95"].to_numpy(dtype=float) / t.ppf(0.975, n - 1)
        return Part(float((errors**2).mean()), n - 1)

    @property
    def numbers(self) -> str:
        """Numbers of its rows, as a person reads them."""
        return ",".join(map(str, self.rows["row"]))


@dataclass(frozen=True)
class Comparison:
    """One entry against another.

    Args:
        difference: first minus second, percent points.
        half_width: of its 95% interval.
        p: two-sided.
        kind: `paired` over episodes, `paired, seeds` over seeds and episodes, or `unpaired`.
        reason: why it is not paired; empty where it is.
    """

    difference: float
    half_width: float
    p: float
    kind: str
    reason: str = ""


def entries(group: pd.DataFrame, accuracies: Callable[[Mapping], np.ndarray] | None, join_seeds: bool) -> list[Entry]:
    """Methods of rows that answered one question, the best first.

    Rows of one method are joined if each has a seed of its own and all were tested on the same episodes.

    Args:
        group: rows, with the column `row`.
        accuracies: a row's accuracies `[episodes]`, 0 to 1, or a FewshotError; None to do without.
        join_seeds: whether rows of several seeds become one entry.
    """
    found = []
    for _, same in group.groupby(METHOD, sort=False, dropna=False) if join_seeds else [(None, group)]:
        alone = (
            not same["seed"].is_unique or same[["episodes_sha256", "bank_fingerprint"]].drop_duplicates().shape[0] > 1
        )
        parts = [same.iloc[[i]] for i in range(len(same))] if alone or not join_seeds else [same.sort_values("seed")]
        found += [_entry(part, accuracies) for part in parts]
    return sorted(found, key=lambda entry: (math.isnan(entry.mean), -entry.mean))


def compare(first: Entry, second: Entry, pair: bool = True) -> Comparison:
    """First minus second: paired if both were tested on the same episodes and their files are at hand.

    Seeds are paired where both have the same; then the interval covers training too, and its unit is the seed.

    Args:
        first: an entry.
        second: another.
        pair: whether to pair at all.
    """
    reason = _why_not(first, second)
    if pair and not reason:
        one, other = first.values, second.values
        if len(one) == len(other) == 1:
            found = paired_difference(one[0], other[0])
            return Comparison(found.mean, found.half_width, found.t_p, "paired")
        if first.seeds == second.seeds:
            found = seeds_and_episodes(one - other)
            p = _p(found.mean, lambda level: seeds_and_episodes(one - other, level).half_width)
            return Comparison(found.mean, found.half_width, p, "paired, seeds")
        reason = f"seeds {first.seeds} and {second.seeds}"
    parts = [
        _of_both(_of_seeds(first, second), _of_seeds(second, first)),
        _of_both(first.of_episodes, second.of_episodes),
    ]
    difference = first.mean - second.mean
    return Comparison(difference, _half_width(parts), _p_of_parts(difference, parts), "unpaired", reason)


def _entry(rows: pd.DataFrame, accuracies: Callable[[Mapping], np.ndarray] | None) -> Entry:
    if accuracies is None:
        return Entry(rows, None, "not asked for")
    try:
        return Entry(rows, np.stack([100 * accuracies(row) for _, row in rows.iterrows()]))
    except FewshotError as error:
        return Entry(rows, None, str(error))


def _why_not(first: Entry, second: Entry) -> str:
    found = differing_tasks(first.first, second.first)
    if found:
        return f"other {found[0].partition(' ')[0]}" if len(found) == 1 else f"differ in {', '.join(found)}"
    if first.values is None or second.values is None:
        return first.missing or second.missing
    return "" if first.values.shape[1] > 1 else "one episode"


def _of_seeds(entry: Entry, other: Entry) -> Part:
    """A method of one seed is taken to vary with it as the other does; where both have one, nothing is known of either."""
    if len(entry.rows) > 1:
        return entry.of_seeds
    if len(other.rows) == 1:
        return Part(0.0, 1)
    return Part(other.of_seeds.variance * len(other.rows), other.of_seeds.freedom)


def _of_both(one: Part, other: Part) -> Part:
    """Of a difference, with the degrees of freedom of Welch and Satterthwaite."""
    both = one.variance + other.variance
    spread = one.variance**2 / one.freedom + other.variance**2 / other.freedom
    return Part(both, both**2 / spread if spread else 1.0)


def _half_width(parts: Sequence[Part], level: float = 0.95) -> float:
    """Of an interval: half-widths of the parts, each with its own quantile, added as squares as in `seeds_and_episodes`."""
    return math.sqrt(sum(float(t.ppf((1 + level) / 2, part.freedom)) ** 2 * part.variance for part in parts))


def _p_of_parts(difference: float, parts: Sequence[Part]) -> float:
    varying = [part for part in parts if part.variance]
    if len(varying) == 1:
        # One quantile for all has a closed form.
        return float(2 * t.sf(abs(difference) / math.sqrt(varying[0].variance), varying[0].freedom))
    return _p(difference, lambda level: _half_width(parts, level))


def _p(difference: float, half_width: Callable[[float], float]) -> float:
    """Two-sided: one minus the level at which the interval reaches 0."""
    size = abs(difference)
    if size == 0:
        return 1.0
    if math.isnan(half_width(0.95)):
        return math.nan

    def beyond(log_p: float) -> float:
        return half_width(1 - math.exp(log_p)) - size

    least, most = math.log(1e-12), math.log(1 - 1e-12)
    if beyond(least) <= 0:
        return 0.0
    return 1.0 if beyond(most) >= 0 else math.exp(brentq(beyond, least, most, xtol=1e-10))
