"""Ranks that are shared by what cannot be told apart."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from fewshot.evaluation.paired import holm
from fewshot.leaderboard.entries import Comparison, Entry, compare, entries
from fewshot.leaderboard.ranking import rank


def shared_ranks(
    frame: pd.DataFrame,
    accuracies: Callable[[Mapping], np.ndarray] | None,
    join_seeds: bool = True,
    level: float = 0.05,
) -> pd.DataFrame:
    """Methods in groups that answered one question, with ranks that are shared where a test finds no difference.

    Within a group all pairs are compared, paired wherever episodes and files allow, and p-values are corrected together
    (Holm). From the best on, a method joins the rank of those before it while it can be told from none of them; the next
    rank is counted on as in sport: 1, 1, 3. A method may still not be told apart from some of another rank: column `ties`.

    Args:
        frame: rows as `fewshot.leaderboard.table.read` returns them.
        accuracies: a row's accuracies, or a FewshotError; None compares by the rows' intervals alone.
        join_seeds: make one line of rows that differ in their training seed alone.
        level: of the corrected tests.

    Returns:
        One line per method: the columns of its first row, and in front `group`, `rank`, `accuracy`, `ci95`, `seed_sd`,
        `seeds`, `rows`, `behind` (to the best of the group, percent points), `behind_ci95`, `p` (corrected, against the
        best), `test` and `ties` (rows not told apart).
    """
    lines = []
    for number, group in rank(frame).groupby("group", sort=True):
        known = group[group["accuracy"].notna() & group["ci95"].notna()]
        found = entries(known, accuracies, join_seeds)
        compared, p = _all_pairs(found)
        places = _places(p, level)
        for i, entry in enumerate(found):
            best = compared.get((0, i))
            ties = [other.numbers for j, other in enumerate(found) if j != i and p[i, j] > level]
            lines.append(
                {
                    "group": number,
                    "rank": places[i],
                    "accuracy": entry.mean,
                    "ci95": entry.half_width,
                    "seed_sd": float(entry.rows["accuracy"].std()) if len(entry.rows) > 1 else np.nan,
                    "seeds": ",".join(map(str, entry.seeds)),
                    "rows": entry.numbers,
                    "behind": -best.difference if best else np.nan,
                    "behind_ci95": best.half_width if best else np.nan,
                    "p": float(p[0, i]) if i else np.nan,
                    "test": best.kind if best else "",
                    "ties": " ".join(ties),
                }
                | {name: entry.first[name] for name in frame if name not in ("accuracy", "ci95", "seed", "row")}
            )
    return pd.DataFrame(lines)


def _all_pairs(found: Sequence[Entry]) -> tuple[dict[tuple[int, int], Comparison], np.ndarray]:
    """Comparisons `(better, worse)`, and p-values corrected together, `[methods, methods]`."""
    compared = {(i, j): compare(found[i], found[j]) for i in range(len(found)) for j in range(i + 1, len(found))}
    p = np.ones((len(found), len(found)))
    for (i, j), corrected in zip(compared, holm([c.p for c in compared.values()]), strict=True):
        p[i, j] = p[j, i] = corrected
    return compared, p


def _places(p: np.ndarray, level: float) -> list[int]:
    places, group = [], []
    for i in range(len(p)):
        if any(p[i, j] <= level for j in group):
            group = []
        group.append(i)
        places.append(group[0] + 1)
    return places
