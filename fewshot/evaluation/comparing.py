"""Evaluations compared in pairs, on the same episodes."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from fewshot import html_tables
from fewshot.errors import FewshotError, check_kind
from fewshot.evaluation.evaluation import Evaluation
from fewshot.evaluation.paired import PairedDifference, check_same_tasks, holm, paired_difference

if TYPE_CHECKING:
    import pandas as pd

    from fewshot.figure import ShownFigure


class Pair(NamedTuple):
    """Two of several evaluations.

    Args:
        first: name of the better one.
        second: name of the other.
        difference: first minus second, in percent points.
        holm_p: p-value of Student's paired t, corrected for all pairs.
    """

    first: str
    second: str
    difference: PairedDifference
    holm_p: float


@dataclass(frozen=True, eq=False, repr=False)
class PairedComparisons:
    """What `compare` found.

    Args:
        evaluations: by name.
        pairs: all of them; the better one of each first.
    """

    evaluations: Mapping[str, Evaluation]
    pairs: list[Pair]

    def to_frame(self) -> "pd.DataFrame":
        """One line per pair, in percent points: `difference` with its paired interval `ci95`, and `unpaired_ci95`, which
        would have been had on other episodes; p-values by Holm over all pairs, and of Wilcoxon's signed ranks, uncorrected."""
        import pandas as pd

        return pd.DataFrame(
            {
                "first": pair.first,
                "second": pair.second,
                "difference": pair.difference.mean,
                "ci95": pair.difference.half_width,
                "unpaired_ci95": pair.difference.unpaired_half_width,
                "p": pair.holm_p,
                "wilcoxon_p": pair.difference.wilcoxon_p,
                "wins": pair.difference.wins,
            }
            for pair in self.pairs
        )

    def draw(self) -> "ShownFigure":
        """The differences with their intervals; dotted: what the intervals would be without pairing."""
        from fewshot.figure import ShownFigure

        figure = ShownFigure(figsize=(7.2, 0.42 * len(self.pairs) + 1.3), layout="constrained")
        axes = figure.subplots()
        for place, (_, _, found, p) in enumerate(self.pairs):
            colour = "tab:blue" if p <= 0.05 else "tab:gray"
            axes.errorbar(found.mean, place, xerr=found.half_width, color=colour, marker="o", markersize=4, capsize=3)
            reach = [found.mean - found.unpaired_half_width, found.mean + found.unpaired_half_width]
            axes.plot(reach, [place + 0.18] * 2, color=colour, linestyle=":", linewidth=1)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_yticks(range(len(self.pairs)), [f"{pair.first} - {pair.second}" for pair in self.pairs], fontsize=8)
        axes.set_ylim(len(self.pairs) - 0.5, -0.5)
        axes.set_xlabel(
            "difference in percent points, 95%; dotted: unpaired; grey: not apart at 0.05 (Holm)", fontsize=8
        )
        axes.tick_params(axis="x", labelsize=7)
        return figure

    def __repr__(self) -> str:
        said = "; ".join(
            f"{pair.first} - {pair.second}: {pair.difference.mean:+.2f} ± {pair.difference.half_width:.2f}, p {pair.holm_p:.2g}"
            for pair in self.pairs
        )
        return f"<PairedComparisons {said}>"

    def _repr_html_(self) -> str:
        import pandas as pd

        means = pd.DataFrame(
            {"name": name, "accuracy %": f"{found.accuracy:.2f} ± {found.ci95:.2f}"}
            for name, found in sorted(self.evaluations.items(), key=lambda item: -item[1].accuracy)
        )
        pairs = pd.DataFrame(
            {
                "difference": f"{pair.first} - {pair.second}",
                "points": f"{pair.difference.mean:+.2f} ± {pair.difference.half_width:.2f}",
                "unpaired": f"± {pair.difference.unpaired_half_width:.2f}",
                "p (Holm)": f"{pair.holm_p:.2g}",
                "wins": f"{100 * pair.difference.wins:.0f} %",
            }
            for pair in self.pairs
        )
        one = next(iter(self.evaluations.values()))
        where = f"{len(one.accuracies)} episodes of {one.data}/{one.split}, {one.protocol}"
        remark = (
            "95% intervals over episodes, of the same classes and the same trained learners; wins: share of episodes in which the "
            "first is better, ties half"
        )
        return html_tables.headed(where, means) + html_tables.headed("Paired differences", pairs, remark)


def compare(evaluations: Mapping[str, Evaluation]) -> PairedComparisons:
    """All pairs of evaluations, subtracted episode by episode, with p-values corrected for all of them together (Holm).

    Args:
        evaluations: by the names that tables show; two or more, of the same episodes of the same images.

    Raises:
        FewshotError: fewer than two, or two of them were tested on other images or episodes: it names the fields that differ.
    """
    check_kind("evaluations", evaluations, Mapping, '{"one": evaluate(...), "other": evaluate(...)}')
    if len(evaluations) < 2:
        raise FewshotError(f"{len(evaluations)} evaluations to compare; expected two or more, by name")
    for name, found in evaluations.items():
        check_kind(repr(name), found, Evaluation, "what evaluate(learner, bank, protocol) returns")
    found = []
    for first, second in combinations(sorted(evaluations, key=lambda name: -evaluations[name].accuracy), 2):
        one, other = evaluations[first], evaluations[second]
        check_same_tasks(one.tasks, other.tasks, (repr(first), repr(second)))
        found.append((first, second, paired_difference(100 * one.accuracies, 100 * other.accuracies)))
    corrected = holm([difference.t_p for _, _, difference in found])
    return PairedComparisons(
        dict(evaluations), [Pair(*pair, float(p)) for pair, p in zip(found, corrected, strict=True)]
    )
