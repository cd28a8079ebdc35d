"""Pictures of a leaderboard: accuracies, what they cost, and how they grow with shots."""

import math

import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, NullFormatter

from fewshot.errors import FewshotError
from fewshot.figure import ShownFigure
from fewshot.leaderboard.entries import entries
from fewshot.leaderboard.methods import METHOD, method_names
from fewshot.leaderboard.ranking import rank
from fewshot.leaderboard.render import one_line, question

_MOST_LINES = 12


def draw_accuracies(frame: pd.DataFrame) -> ShownFigure:
    """Accuracies with their 95% intervals, one panel per question, the best on top.

    Args:
        frame: rows as `fewshot.leaderboard.table.read` returns them.
    """
    groups = [group for _, group in rank(frame).groupby("group", sort=True)]
    found = [entries(group[group["accuracy"].notna()], None, True) for group in groups]
    heights = [0.9 + 0.3 * len(lines) for lines in found]
    figure = ShownFigure(figsize=(8.5, sum(heights) + 0.3), layout="constrained")
    panels = figure.subplots(len(groups), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for axes, group, lines in zip(panels, groups, found, strict=True):
        colour = "tab:orange" if bool(group["transductive"].fillna(False).iloc[0]) else "tab:blue"
        for place, entry in enumerate(reversed(lines)):
            half = 0 if math.isnan(entry.half_width) else entry.half_width
            axes.errorbar(entry.mean, place, xerr=half, fmt="o", markersize=4, color=colour, capsize=3)
        names = dict(zip(group["row"], method_names(group), strict=True))
        axes.set_yticks(range(len(lines)), [names[e.first["row"]][:60] for e in reversed(lines)], fontsize=7)
        axes.set_ylim(-0.6, len(lines) - 0.4)
        axes.set_title(question(group.iloc[0]), fontsize=8, loc="left")
        axes.tick_params(axis="x", labelsize=7)
        axes.grid(axis="x", alpha=0.3)
    panels[-1].set_xlabel("accuracy (%), 95% interval", fontsize=8)
    return figure


def draw_cost(frame: pd.DataFrame) -> ShownFigure:
    """Accuracy against milliseconds of meta-test per episode, one panel per question; rows of one device compare.

    Seeds of one method are one point.

    Args:
        frame: rows as `fewshot.leaderboard.table.read` returns them.
    """
    frame = rank(frame)
    # Inductive and transductive rows of one question are one picture of what a point more costs.
    keys = ["data", "split", "pipeline", "way", "shot", "query", "imbalance"]
    groups = [group for _, group in frame.groupby(keys, sort=False, dropna=False)]
    columns = min(2, len(groups))
    lines = -(-len(groups) // columns)
    figure = ShownFigure(figsize=(7.2 * columns, 3.8 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in panels[len(groups) :]:
        axes.axis("off")
    devices = list(dict.fromkeys(frame["device"]))
    for axes, group in zip(panels, groups, strict=False):
        names = dict(zip(group["row"], method_names(group), strict=True))
        each = [same for _, same in group[group["accuracy"].notna()].groupby(["transductive", "device"], dropna=False)]
        found = [entry for same in each for entry in entries(same, None, True)]
        for place, entry in enumerate(sorted(found, key=lambda entry: -entry.mean), start=1):
            row = entry.first
            joint = bool(row["transductive"]) if not pd.isna(row["transductive"]) else False
            milliseconds = float((1000 * entry.rows["seconds"] / entry.rows["episodes"].clip(lower=1)).mean())
            axes.errorbar(
                milliseconds,
                entry.mean,
                yerr=0 if math.isnan(entry.half_width) else entry.half_width,
                fmt="osD^v"[devices.index(row["device"]) % 5],
                color="tab:orange" if joint else "tab:blue",
                markersize=4,
                capsize=2,
                # Names would lie on each other where methods are alike: the point has a number, the list its name.
                label=f"{place}  {names[row['row']][:48]}",
            )
            axes.annotate(str(place), (milliseconds, entry.mean), (4, 3), textcoords="offset points", fontsize=6)
        axes.legend(fontsize=6, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
        axes.set_xscale("log")
        # Within one decade there is no other number to read.
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.1)
        axes.set_title(question(group.iloc[0]).partition(", ")[0], fontsize=8, loc="left")
        axes.set_xlabel(f"milliseconds per episode, embedding included ({', '.join(devices)})", fontsize=7)
        axes.set_ylabel("accuracy (%)", fontsize=7)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
    figure.suptitle("blue: inductive, orange: transductive", fontsize=8)
    return figure


def draw_shots(frame: pd.DataFrame) -> ShownFigure:
    """Accuracy over shots, one line per method, one panel per data set and way.

    Args:
        frame: rows as `fewshot.leaderboard.table.read` returns them.

    Raises:
        FewshotError: no method was tested with two numbers of shots.
    """
    frame = rank(frame)
    frame = frame[frame["shot"].str.fullmatch(r"\d+") & frame["accuracy"].notna()]
    frame = frame.assign(k=frame["shot"].astype("int64"), method=method_names(frame) if len(frame) else "")
    keys = ["data", "split", "pipeline", "way", "query", "imbalance"]
    panels = []
    # A run's name may say its shots.
    method = [name for name in METHOD if name != "name"] + ["transductive"]
    for _, group in frame.groupby(keys, sort=False, dropna=False):
        lines = [line for _, line in group.groupby(method, sort=False, dropna=False) if line["k"].nunique() > 1]
        if lines:
            panels.append((group, sorted(lines, key=lambda line: -line["accuracy"].max())[:_MOST_LINES]))
    if not panels:
        raise FewshotError(
            "a curve over shots needs a method with rows of two or more shots; test with episodes.test.shot"
        )
    figure = ShownFigure(figsize=(7.5, 3.9 * len(panels)), layout="constrained")
    for axes, (group, lines) in zip(figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True):
        told = [name for name in method if pd.concat(lines)[name].nunique() > 1] or ["name"]
        for place, line in enumerate(lines):
            k = np.sort(line["k"].unique())
            same = [line[line["k"] == shots] for shots in k]
            mean = [rows["accuracy"].mean() for rows in same]
            half = [rows["ci95"].fillna(0).max() for rows in same]
            label = ", ".join(one_line(line.iloc[0][name]) for name in told if name != "transductive")
            dash = "--" if bool(line["transductive"].fillna(False).iloc[0]) else "-"
            axes.errorbar(
                k, mean, yerr=half, marker=".", linestyle=dash, color=f"C{place % 10}", capsize=2, label=label
            )
        axes.set_xscale("log")
        ticks = sorted(pd.concat(lines)["k"].unique())
        axes.set_xticks(ticks, [str(k) for k in ticks])
        axes.minorticks_off()
        axes.set_xlabel("shots", fontsize=8)
        axes.set_ylabel("accuracy (%)", fontsize=8)
        axes.set_title(
            f"{group.iloc[0]['data']}, {group.iloc[0]['way']}-way (dashed: transductive)", fontsize=8, loc="left"
        )
        axes.grid(alpha=0.3)
        axes.legend(fontsize=6, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
