"""`Entry`: one method on one question, tested with one training seed or several."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.stats import t

from fewshot.errors import FewshotError
from fewshot.evaluation.paired import differing_tasks, paired_difference
from fewshot.evaluation.variance import Part, half_width_of, of_difference, p_value, seeds_and_episodes
from fewshot.leaderboard.methods import METHOD


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
        return half_width_of(self.parts)

    @cached_property
    def parts(self) -> tuple[Part, Part]:
        """Of the variance of the mean: of the choice of seeds, of which one seed says nothing, and of episodes, which all seeds share.

        Where the files of several seeds are not at hand, the latter is that of a single seed, which is more.
        """
        if len(self.rows) > 1 and self.values is not None:
            return seeds_and_episodes(self.values).parts
        accuracies, n = self.rows["accuracy"].to_numpy(dtype=float), max(int(self.first["episodes"]), 2)
        errors = self.rows["ci95"].to_numpy(dtype=float) / t.ppf(0.975, n - 1)
        seeds = len(accuracies)
        of_seeds = Part(float(accuracies.var(ddof=1)) / seeds, seeds - 1) if seeds > 1 else Part(0.0, 1)
        return of_seeds, Part(float((errors**2).mean()), n - 1)

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
            return Comparison(found.mean, found.half_width, p_value(found.mean, found.parts), "paired, seeds")
        reason = f"seeds {first.seeds} and {second.seeds}"
    parts = [
        of_difference(_of_seeds(first, second), _of_seeds(second, first)),
        of_difference(first.parts[1], second.parts[1]),
    ]
    difference = first.mean - second.mean
    return Comparison(difference, half_width_of(parts), p_value(difference, parts), "unpaired", reason)


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
        return entry.parts[0]
    variance, freedom = other.parts[0]
    return Part(variance * len(other.rows), freedom)
