"""One picture of a test's diagnostics."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fewshot.figure import ShownFigure

_MOST_BARS = 40


def draw_diagnostics(told: dict, path: Path | str | None = None, title: str = "") -> "ShownFigure":
    """Draw classes, confusion, calibration and risk over coverage.

    Args:
        told: as `diagnose` returns it.
        path: of a PNG to write; None writes none.
        title: over all panels.
    """
    from fewshot.figure import ShownFigure

    figure = ShownFigure(figsize=(12, 9), layout="constrained")
    (classes, confusion), (calibration, risk) = figure.subplots(2, 2)
    _draw_classes(classes, told)
    _draw_confusion(confusion, told)
    _draw_calibration(calibration, told["calibration"])
    _draw_risk(risk, told["risk_coverage"])
    figure.suptitle(title, fontsize=9)
    if path is not None:
        figure.save(path, dpi=110)
    return figure


def _draw_classes(axes, told: dict) -> None:
    known = sorted((line for line in told["classes"] if line["queries"]), key=lambda line: line["accuracy"])
    shown = known if len(known) <= _MOST_BARS else known[: _MOST_BARS // 2] + known[-_MOST_BARS // 2 :]
    axes.barh(range(len(shown)), [100 * line["accuracy"] for line in shown], color="tab:blue", height=0.7)
    axes.set_yticks(range(len(shown)), [line["name"][-28:] for line in shown], fontsize=5 if len(shown) > 25 else 7)
    mean = told["intervals"]["classes"]
    axes.axvline(mean["accuracy"], color="black", linewidth=1)
    axes.axvspan(mean["low"], mean["high"], color="black", alpha=0.1)
    some = f", hardest and easiest of {len(known)}" if len(shown) < len(known) else ""
    axes.set_title(f"accuracy of classes{some}; grey: 95% over classes", fontsize=8, loc="left")
    axes.set_xlabel("accuracy (%)", fontsize=8)
    axes.tick_params(axis="x", labelsize=7)


def _draw_confusion(axes, told: dict) -> None:
    matrix = told["confusion"]["matrix"]
    if matrix is None:
        pairs = told["confusion"]["pairs"][:20][::-1]
        axes.barh(range(len(pairs)), [100 * pair["share"] for pair in pairs], color="tab:red", height=0.7)
        names = [f"{pair['class'][-20:]} → {pair['taken_for'][-20:]}" for pair in pairs]
        axes.set_yticks(range(len(pairs)), names, fontsize=6)
        axes.set_xlabel("share of the queries whose episode had both (%)", fontsize=8)
        axes.set_title("most frequent confusions", fontsize=8, loc="left")
        return
    counts = np.array(matrix, dtype=float)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, np.nan)
    image = axes.imshow(shares, cmap="Reds", interpolation="nearest")
    axes.figure.colorbar(image, ax=axes, fraction=0.045).ax.tick_params(labelsize=6)
    names = [line["name"][-14:] for line in told["classes"]]
    if len(names) <= 60:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
        axes.set_yticks(range(len(names)), names, fontsize=6)
    axes.set_title(
        "wrong answers: class (row) taken for class (column), % of the row's queries", fontsize=8, loc="left"
    )


def _draw_calibration(axes, told: dict) -> None:
    edges, shares, confidence, right = np.array(told["bins"]).T
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":")
    axes.bar(edges, shares, width=1 / 15, align="edge", color="tab:gray", alpha=0.35, label="share of queries")
    axes.plot(confidence, right, marker="o", markersize=4, color="tab:blue", label="share of right")
    words = f"expected calibration error {told['ece']:.4f} (calibrated: {told['ece_if_calibrated']:.4f})"
    axes.set_title(f"{words}, Brier {told['brier']:.3f}", fontsize=8, loc="left")
    axes.set_xlabel("largest probability", fontsize=8)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.legend(fontsize=7, frameon=False, loc="upper left")
    axes.tick_params(labelsize=7)


def _draw_risk(axes, told: dict) -> None:
    wrong = told["generalised_risk"][0]
    axes.plot(told["coverage"], told["generalised_risk"], color="tab:blue", label="by confidence")
    axes.plot([0, 1], [0, wrong], color="black", linestyle=":", linewidth=0.8, label="by chance")
    axes.plot([0, 1 - wrong, 1], [0, 0, wrong], color="tab:green", linestyle="--", linewidth=0.8, label="best")
    axes.set_title(f"AUGRC {told['augrc']:.4f}, above the best by {told['excess_augrc']:.4f}", fontsize=8, loc="left")
    axes.set_xlabel("coverage", fontsize=8)
    axes.set_ylabel("share of accepted wrong answers", fontsize=8)
    axes.legend(fontsize=7, frameon=False)
    axes.tick_params(labelsize=7)
