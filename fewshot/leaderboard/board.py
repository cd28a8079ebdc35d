"""`Leaderboard`: the rows of a file in Python, as the commands of `fewshot-leaderboard` show them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from fewshot import html_tables
from fewshot.errors import FewshotError
from fewshot.evaluation.accuracies import accuracy_text
from fewshot.leaderboard import drawing
from fewshot.leaderboard.choose import rows_where
from fewshot.leaderboard.named_entries import NamedComparison, compare_named
from fewshot.leaderboard.ranking import rank
from fewshot.leaderboard.render import p_text, question, short_ranks, short_table
from fewshot.leaderboard.run_files import accuracies_of
from fewshot.leaderboard.shared_ranks import shared_ranks
from fewshot.leaderboard.table import read

if TYPE_CHECKING:
    from fewshot.figure import ShownFigure


class Leaderboard:
    """The rows of a leaderboard; a notebook shows them as one table per question.

    Args:
        path: of the CSV.
        runs: folders to look for runs in, if they are not where rows say.

    Raises:
        FewshotError: there is no leaderboard, it is damaged, or it has no rows.
    """

    def __init__(self, path: Path | str = "leaderboard.csv", runs: Sequence[Path | str] = ()):
        frame = read(path)
        if frame.empty:
            raise FewshotError(f"{path} has no rows yet; the command `fewshot` adds one")
        self.path, self.runs = Path(path), [Path(place) for place in runs]
        # Rows of jobs that failed are not among them, but have places in the file.
        self._all = self.rows = frame.assign(row=frame.index + 1).reset_index(drop=True)
        self._torn = frame.attrs["torn"]

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<Leaderboard {self.path}: {len(self)} rows>"

    def where(self, *conditions: str) -> "Leaderboard":
        """Those rows that meet all conditions, such as `head=ridge`, `name~conv4` or `accuracy>50`.

        Raises:
            FewshotError: a condition that cannot be read, or that no row meets.
        """
        chosen = Leaderboard.__new__(Leaderboard)
        chosen.__dict__ |= self.__dict__ | {"rows": rows_where(self.rows, conditions)}
        return chosen

    def rank(self, join_seeds: bool = True, level: float = 0.05) -> "Ranking":
        """Methods with ranks that are shared where no paired test finds a difference.

        Args:
            join_seeds: make one method of rows that differ in their training seed alone.
            level: of the corrected tests, 0 to 1.
        """
        lines = shared_ranks(self.rows, self._accuracies, join_seeds, level)
        if lines.empty:
            raise FewshotError("none of these rows has an interval; test on two or more episodes")
        return Ranking(lines, level)

    def compare(self, first: str | int, *others: str | int) -> "BoardComparison":
        """One method against others, paired episode by episode.

        Args:
            first: a row's number, conditions such as `head=ridge,shot=1`, or a name; several rows are seeds of one method.
            others: the same, one or more.

        Raises:
            FewshotError: nothing or several methods are meant, or they cannot be paired: it names what differs.
        """
        if not others:
            raise FewshotError("compare needs a second method; give its number, conditions or name")
        return BoardComparison(compare_named(self._all, str(first), [str(other) for other in others], self._accuracies))

    def draw(self, kind: str = "accuracy") -> "ShownFigure":
        """A picture: `accuracy`, `cost`, `ranks` or `shots`.

        Raises:
            FewshotError: no such kind, or rows that make no such picture.
        """
        return drawing.draw(self.rows, kind, self._accuracies)

    def _accuracies(self, row):
        return accuracies_of(row, self.runs)

    def _repr_html_(self) -> str:
        remark = "the file ends in half a row, which is left out" if self._torn else ""
        return _tables(rank(self.rows), short_table, remark)


@dataclass(frozen=True, eq=False, repr=False)
class Ranking:
    """Methods in their ranks.

    Args:
        lines: as `shared_ranks` returns them, numbers in full precision.
        level: of the tests.
    """

    lines: pd.DataFrame
    level: float

    def _repr_html_(self) -> str:
        words = f"behind: points to the best; p: corrected for all pairs (Holm); ties: not apart at {self.level:g}"
        return _tables(self.lines, short_ranks, words)

    def __repr__(self) -> str:
        return f"<Ranking of {len(self.lines)} methods on {self.lines['group'].nunique()} questions>"


@dataclass(frozen=True, eq=False, repr=False)
class BoardComparison:
    """One method against others.

    Args:
        found: a comparison for each.
    """

    found: list[NamedComparison]

    def to_frame(self) -> pd.DataFrame:
        """One line per comparison, first minus other, in percent points; `p` is corrected for all of them (Holm)."""
        return pd.DataFrame(
            {
                "first": _named(one.first),
                "other": _named(one.other),
                "difference": one.comparison.difference,
                "ci95": one.comparison.half_width,
                "p": one.corrected_p,
                "test": one.comparison.kind,
            }
            for one in self.found
        )

    def __repr__(self) -> str:
        return f"<BoardComparison\n{self.to_frame().to_string(index=False)}>"

    def _repr_html_(self) -> str:
        shown = pd.DataFrame(
            {
                "first": f"{_named(one.first)}: {accuracy_text(one.first.mean, one.first.half_width)}",
                "other": f"{_named(one.other)}: {accuracy_text(one.other.mean, one.other.half_width)}",
                "difference": f"{one.comparison.difference:+.2f} ± {one.comparison.half_width:.2f}",
                "p (Holm)": p_text(one.corrected_p),
                "test": one.comparison.kind,
            }
            for one in self.found
        )
        return html_tables.headed(question(self.found[0].first.first), shown, "percent, 95% intervals")


def _named(entry) -> str:
    return f"row {entry.numbers} ({entry.first['head']})"


def _tables(ranked: pd.DataFrame, shorten, remark: str) -> str:
    parts = []
    for _, group in ranked.groupby("group", sort=False):
        short = shorten(group)
        headline = short["question"].iloc[0]
        empty = [name for name in ("note", "ties", "behind", "p", "test") if name in short and not short[name].any()]
        parts.append(html_tables.headed(headline, short.drop(columns=["question", *empty])))
    return "".join(parts) + (f"<p><small>{remark}</small></p>" if remark else "")
