"""What makes a row's method, and short names for methods."""

import pandas as pd

from fewshot.leaderboard.render import one_line

# Rows that agree in these are one method; its seeds differ.
METHOD = [
    *("name", "backbone", "pretraining", "side_information", "learner", "head", "loss"),
    *("train_protocol", "train_data", "precision"),
]


def method_names(rows: pd.DataFrame) -> pd.Series:
    """A short name for each row: what differs between the rows, or their name."""
    told = [name for name in METHOD if name != "name" and rows[name].nunique() > 1]
    if rows[told].drop_duplicates().shape[0] < rows[METHOD].drop_duplicates().shape[0] or not told:
        told = ["name", *told]
    return rows[told].apply(lambda row: ", ".join(one_line(value) or "nothing" for value in row), axis=1)
