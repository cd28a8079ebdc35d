"""Which rows may be compared, and in which order they stand."""

import re

import numpy as np
import pandas as pd

# Rows that agree in all of these answered the same question.
COMPARABLE = ["data", "split", "pipeline", "way", "shot", "query", "imbalance", "transductive"]


def rank(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows sorted into groups that compare, the best first, with `group`, `rank` and `note` in front.

    Rows of different questions, inductive and transductive rows, rows whose pretraining leaks the test
    classes, and rows with side information (text, attributes) stand in groups of their own, numbered from 1.

    `rank` is the range of places that the 95% intervals leave open: `1-2` is a row above which no
    interval lies wholly and below which all but one other do. Rows with a place in common are tied:
    their order, by mean accuracy, may be chance. Identical episodes allow a sharper, paired test, so
    a tie here is no proof of equality; nor do these intervals cover the variance of training. A row
    without an interval (one episode) has the rank `-`, comes last and widens no other row's range.

    `note` names what keeps a row from being paired with the best of its group: `other images` (the
    bank differs), `other episodes`, or that the row does not say; and `no interval`.

    `row` is the number of a row in its file, from 1.

    Args:
        frame: rows as `fewshot.leaderboard.table.read` returns them; with a column `row` if they are not all of them.
    """
    if "row" not in frame:
        frame = frame.assign(row=frame.index + 1)
    # Rows of versions before there was any side information do not say.
    informed = ~frame["side_information"].isin(["", "none"])
    frame = frame.assign(leaks=frame["pretraining"].str.contains("leaks", regex=False), informed=informed)
    keys = [*COMPARABLE, "leaks", "informed"]
    groups = [group for _, group in frame.groupby(keys, sort=False, dropna=False)]
    groups.sort(key=lambda group: [_natural(group[key].iloc[0]) for key in keys])
    ranked = [_ranked(group).assign(group=number) for number, group in enumerate(groups, start=1)]
    frame = pd.concat(ranked) if ranked else frame.assign(group=0, rank="", note="")
    front = ["group", "rank", "note", "row"]
    others = [name for name in frame if name not in [*front, "leaks", "informed"]]
    return frame[[*front, *others]].reset_index(drop=True)


def _ranked(group: pd.DataFrame) -> pd.DataFrame:
    known = group["accuracy"].notna() & group["ci95"].notna()
    group = group.assign(unknown=~known).sort_values(
        ["unknown", "accuracy", "when"], ascending=[True, False, True], kind="stable"
    )
    return group.assign(rank=_places(group), note=_notes(group)).drop(columns="unknown")


def _places(group: pd.DataFrame) -> list[str]:
    known = group[~group["unknown"]]
    low, high = known["accuracy"] - known["ci95"], known["accuracy"] + known["ci95"]
    # Strictly above or below: intervals that touch overlap.
    first = 1 + len(known) - np.searchsorted(np.sort(low), high, side="right")
    last = len(known) - np.searchsorted(np.sort(high), low, side="left")
    places = [str(a) if a == b else f"{a}-{b}" for a, b in zip(first, last, strict=True)]
    return places + ["-"] * (len(group) - len(known))


def _notes(group: pd.DataFrame) -> list[str]:
    best = group.iloc[0]
    notes = []
    for images, episodes, unknown in group[["bank_fingerprint", "episodes_sha256", "unknown"]].itertuples(index=False):
        words = []
        if "" in (images, episodes):
            words.append("images or episodes not recorded")
        elif images != best["bank_fingerprint"]:
            words.append("other images")
        elif episodes != best["episodes_sha256"]:
            words.append("other episodes")
        if unknown:
            words.append("no interval")
        notes.append(", ".join(words))
    return notes


def _natural(value: object) -> list[int | str]:
    """5-way before 20-way: numbers in a text sort as numbers."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"(\d+)", str(value)))]
