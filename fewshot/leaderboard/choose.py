"""Choosing rows: by conditions on columns, or one by its number or name."""

import re
from collections.abc import Iterable
from pathlib import PurePath

import numpy as np
import pandas as pd

from fewshot.errors import FewshotError

_CONDITION = re.compile(r"^\s*(\w+)\s*(<=|>=|!=|!~|=|<|>|~)\s*(.*)$", re.DOTALL)
_ORDERED = {"<": np.less, ">": np.greater, "<=": np.less_equal, ">=": np.greater_equal}


def rows_where(frame: pd.DataFrame, conditions: Iterable[str]) -> pd.DataFrame:
    """Rows that meet all conditions.

    Args:
        frame: rows, with columns of any type.
        conditions: `column=value`, `!=`, `~` (contains, in any case), `!~`, and `<`, `>`, `<=`, `>=` for columns of numbers.

    Raises:
        FewshotError: a condition that cannot be read or names no column, or rows that meet none.
    """
    for condition in conditions:
        match = _CONDITION.match(condition)
        if match is None:
            raise FewshotError(f"condition {condition!r}; expected such as head=ridge, name~conv or accuracy>50")
        column, operator, value = match.groups()
        if column not in frame:
            raise FewshotError(f"condition {condition!r}: no column {column} (columns: {', '.join(frame.columns)})")
        kept = frame[_meets(frame[column], operator, value, condition)]
        if kept.empty:
            has = list(dict.fromkeys(map(str, frame[column])))
            more = f" and {len(has) - 8} more" if len(has) > 8 else ""
            raise FewshotError(f"no row with {condition}; {column} is {', '.join(has[:8])}{more}")
        frame = kept
    return frame


def rows_named(frame: pd.DataFrame, text: str) -> pd.DataFrame:
    """Rows that a person means: by a number, conditions, or a name.

    Args:
        frame: rows in the order of the file, numbered from 1.
        text: a number as `fewshot-leaderboard show` gives it (-1 is the newest), conditions such as `head=ridge,shot=1`,
            or the name, the run's folder, or the first six or more characters of the configuration's hash.

    Raises:
        FewshotError: no row is meant.
    """
    if re.fullmatch(r"-?\d{1,5}", text):
        number = int(text)
        numbers = list(frame["row"]) if "row" in frame else list(range(1, len(frame) + 1))
        if number in numbers:
            return frame.iloc[[numbers.index(number)]]
        if not -len(frame) <= number < 0:
            # Rows of jobs that failed have numbers too.
            between = f"; of these {', '.join(gaps)} failed" if (gaps := _gaps(numbers)) else ""
            raise FewshotError(f"there is no row {text}; rows are numbered 1 to {max(numbers)}{between}")
        return frame.iloc[[number]]
    if _CONDITION.match(text):
        return rows_where(frame, conditions_of(text))
    folders = frame["run"].map(lambda run: PurePath(run).name)
    meant = (frame["name"] == text) | (folders == text)
    if len(text) >= 6:
        meant |= frame["config_hash"].str.startswith(text)
    if not meant.any():
        some = ", ".join(list(dict.fromkeys(frame["name"]))[:8])
        raise FewshotError(
            f"no row is {text!r}; give a number, a condition such as head=ridge, or a name (such as {some})"
        )
    return frame[meant]


def conditions_of(text: str) -> list[str]:
    """Conditions in one text, at commas that stand in no brackets: `head=ridge(weight=1, k=2),shot=1` is two."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def sorted_by(frame: pd.DataFrame, keys: Iterable[str]) -> pd.DataFrame:
    """Rows in another order.

    Args:
        frame: rows.
        keys: columns, the most important first; `-column` for the largest first.

    Raises:
        FewshotError: a key that is no column.
    """
    keys = list(keys)
    names = [key.removeprefix("-") for key in keys]
    for name in names:
        if name not in frame:
            raise FewshotError(f"no column {name} to sort by (columns: {', '.join(frame.columns)})")
    return frame.sort_values(names, ascending=[not key.startswith("-") for key in keys], kind="stable")


def _meets(column: pd.Series, operator: str, value: str, condition: str) -> np.ndarray:
    if operator in _ORDERED:
        try:
            return _ORDERED[operator](column.astype("float64").to_numpy(), float(value))
        except (TypeError, ValueError) as error:
            raise FewshotError(f"condition {condition!r}: {operator} compares numbers") from error
    said = column.astype("str").to_numpy()
    if operator in ("~", "!~"):
        return np.array([value.lower() in text.lower() for text in said], dtype=bool) == (operator == "~")
    if column.dtype.kind in "if":
        # 5 and 5.0 are one number.
        said, value = np.array([_number(text) for text in said]), _number(value)
    elif column.dtype.kind == "b" or str(column.dtype) == "boolean":
        said, value = np.array([text.lower() for text in said]), value.lower()
    return (said == value) == (operator == "=")


def _gaps(numbers: list[int]) -> list[str]:
    return [str(number) for number in sorted(set(range(1, max(numbers) + 1)) - set(numbers))][:8]


def _number(text: str) -> str:
    try:
        return repr(float(text))
    except ValueError:
        return text
