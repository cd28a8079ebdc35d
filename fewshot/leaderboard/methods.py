"""What makes a row's method, and short names for methods."""

import pandas as pd

from fewshot.leaderboard.render import one_line

# Rows that agree in these are one method; its seeds differ.
METHOD = [
    *("name", "backbone", "pretraining", "side_information", "learner", "head", "loss"),
    *("train_protocol", "train_data", "precision"),
]


# Where methods are told apart by one column, by the first of these that does; the name of a run is the last resort.
_TELLING = (
    *("head", "learner", "loss", "backbone", "train_protocol", "pretraining", "train_data", "side_information"),
    *("precision", "name"),
)


def method_names(rows: pd.DataFrame) -> pd.Series:
    """A short name for each row: as few columns as tell the methods of these rows apart, and the kind of learner.

    The run's name if there is but one method.
    """
    told, apart, all_apart = [], 1, len(rows[METHOD].drop_duplicates())
    while apart < all_apart:
        # The first of several that tell equally many apart.
        others = [name for name in _TELLING if name not in ("name", *told)]
        best = max(others, key=lambda name: len(rows[[*told, name]].drop_duplicates()), default="name")
        if len(rows[[*told, best]].drop_duplicates()) == apart:
            best = "name"
        told.append(best)
        apart = len(rows[told].drop_duplicates())
    told = sorted(told, key=METHOD.index) or ["name"]
    names = rows[told].apply(lambda row: ", ".join(one_line(value) or "nothing" for value in row), axis=1)
    # Heads alone would not say what kind of learner they belong to.
    kinds = rows["learner"].map(lambda text: one_line(text).partition("(")[0])
    return names if "learner" in told or kinds.nunique() == 1 else kinds + ": " + names
