"""A ranked leaderboard as text."""

import csv
from collections.abc import Callable

import pandas as pd
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fewshot.evaluation.accuracies import accuracy_text

_NUMBERS = ("#", "rank", "accuracy %", "behind", "p", "episodes", "seed", "seeds")
# In the order in which they give way on a narrow terminal.
_EXPENDABLE = (
    *("seed", "seeds", "test", "episodes", "learner", "trained on", "backbone", "side information", "head"),
    *("ties", "#", "p", "behind"),
)
_NARROWEST_TEXT = 10


def question(row: pd.Series) -> str:
    """What the rows of one group were asked, as a headline."""
    uneven = "" if row["imbalance"] in ("none", "") else f" {row['imbalance']}"
    known = not pd.isna(row["transductive"])
    kind = ("transductive" if row["transductive"] else "inductive") if known else "inductive or not is not recorded"
    protocol = f"{row['way']}-way {row['shot']}-shot {row['query']}-query{uneven}"
    return one_line(", ".join([f"{row['data']}/{row['split']} ({row['pipeline']}) {protocol}", kind, *remarks(row)]))


def remarks(row: pd.Series) -> list[str]:
    """What keeps a row apart from others of its question."""
    marks = {"pretraining saw test classes": "leaks" in row["pretraining"], "with side information": is_informed(row)}
    return [words for words, so in marks.items() if so]


def is_informed(row: pd.Series) -> bool:
    """Whether more was known of the classes than images."""
    return row["side_information"] not in ("", "none")


def _trained_on(row: pd.Series) -> str:
    """The training protocol, with the data in front of it where that is not the data of the test."""
    other = row["train_data"] and row["train_data"].partition("/")[0] != row["data"]
    return f"{row['train_data']}, {row['train_protocol']}" if other else row["train_protocol"]


def short_table(ranked: pd.DataFrame) -> pd.DataFrame:
    """The columns that a person reads, all of them text, in the order of `ranked`."""
    rows = [
        {
            "question": question(row),
            "rank": row["rank"],
            "accuracy %": accuracy_text(row["accuracy"], row["ci95"]),
            "episodes": one_line(row["episodes"]),
            "name": one_line(row["name"]),
            "learner": one_line(row["learner"]),
            "head": one_line(row["head"]),
            "backbone": one_line(row["backbone"]),
            "trained on": one_line(_trained_on(row)) or "nothing",
            "seed": one_line(row["seed"]),
            "#": str(row["row"]),
            "note": row["note"],
        }
        for _, row in ranked.iterrows()
    ]
    short = pd.DataFrame(rows, dtype="str")
    informed = [is_informed(row) for _, row in ranked.iterrows()]
    if any(informed):
        known = [one_line(text) or "none" for text in ranked["side_information"]]
        short.insert(list(short).index("head") + 1, "side information", known)
    return short


def short_ranks(lines: pd.DataFrame) -> pd.DataFrame:
    """The columns that a person reads of `shared_ranks`, all of them text."""
    rows = [
        {
            "question": question(line),
            "rank": str(line["rank"]),
            "accuracy %": accuracy_text(line["accuracy"], line["ci95"]),
            "behind": "" if pd.isna(line["behind"]) else accuracy_text(line["behind"], line["behind_ci95"]),
            "p": p_text(line["p"]),
            "ties": line["ties"],
            "#": line["rows"],
            "name": one_line(line["name"]),
            "learner": one_line(line["learner"]),
            "head": one_line(line["head"]),
            "backbone": one_line(line["backbone"]),
            "trained on": one_line(_trained_on(line)) or "nothing",
            "seeds": line["seeds"],
            "episodes": one_line(line["episodes"]),
            "test": line["test"],
            "note": "",
        }
        for _, line in lines.iterrows()
    ]
    return pd.DataFrame(rows, dtype="str")


def p_text(p: float) -> str:
    """A p-value to two digits; nothing for what was not tested."""
    return "" if pd.isna(p) else "<1e-9" if p < 1e-9 else f"{p:.2g}"


def print_tables(
    ranked: pd.DataFrame, console: Console, shorten: Callable[[pd.DataFrame], pd.DataFrame] = short_table
) -> None:
    """One table per group on the console, with as many columns as it has room for.

    Where they do not all fit, columns that say the same in every row become a line below the table;
    then text is folded; then columns are left out, and the line below says which. Numbers are never
    cut: a console narrower than rank, accuracy and name gets lines that are longer than it.
    """
    for _, group in ranked.groupby("group", sort=False):
        short = shorten(group)
        console.print(Text(short["question"].iloc[0], style="bold"))
        empty = [name for name in ("note", "ties", "behind", "p", "test") if name in short and not short[name].any()]
        short = short.drop(columns=["question", *empty])
        shown, remarks = _fit(short, console.width)
        least = _table_width(shown)
        table = Table(
            box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), width=least if least > console.width else None
        )
        for name, width in shown.items():
            number = name in _NUMBERS
            table.add_column(
                name, justify="right" if number else "left", no_wrap=number, min_width=width, overflow="fold"
            )
        for _, row in short.iterrows():
            # Text, because a name may have what rich would take for markup.
            table.add_row(*(Text(row[name]) for name in shown))
        console.print(table, crop=False)
        for remark in remarks:
            console.print(Text(remark, style="dim"))
        console.print()


def print_records(ranked: pd.DataFrame, console: Console) -> None:
    """Every column of every row, one value a line."""
    for _, row in ranked.iterrows():
        console.print(Text(question(row), style="bold"))
        grid = Table.grid(padding=(0, 2))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in row.items():
            grid.add_row(Text(one_line(name)), Text(one_line(value)))
        console.print(grid)
        console.print()


def markdown(
    ranked: pd.DataFrame,
    all_columns: bool = False,
    shorten: Callable[[pd.DataFrame], pd.DataFrame] = short_table,
) -> str:
    """GitHub-flavoured tables: one per group, or a single one with every column of every row."""
    if all_columns:
        return markdown_table(ranked)
    groups = (shorten(group) for _, group in ranked.groupby("group", sort=False))
    return "\n".join(
        f"**{_escaped(short['question'].iloc[0])}**\n\n{markdown_table(short.drop(columns='question'))}"
        for short in groups
    )


def as_csv(ranked: pd.DataFrame, all_columns: bool = False) -> str:
    """A CSV of the short columns, or of every column with its numbers in full precision."""
    if not all_columns:
        return short_table(ranked).to_csv(index=False, lineterminator="\n")
    # Python 3.11 leaves a lone \r in a text unquoted, and a reader takes it for a line's end.
    return ranked.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)


def _fit(short: pd.DataFrame, width: int) -> tuple[dict[str, int], list[str]]:
    """Columns to show, each with the least width it needs, and what the reader is told about the others."""
    natural = {name: max(map(cell_len, [name, *short[name]])) for name in short}
    shown, remarks = dict(natural), []
    same = []
    for name in _EXPENDABLE:
        if name in short and short[name].nunique() == 1 and _table_width(shown) > width:
            del shown[name]
            same.append(f"{name} {short[name].iloc[0]}")
    if same:
        remarks.append(("in all rows: " if len(short) > 1 else "") + ", ".join(same))
    shown = {name: least if name in _NUMBERS else min(least, _NARROWEST_TEXT) for name, least in shown.items()}
    hidden = []
    for name in _EXPENDABLE:
        if name in shown and _table_width(shown) > width:
            del shown[name]
            hidden.append(name)
    if hidden:
        remarks.append(f"no room for: {', '.join(hidden)}; --format csv has them")
    return shown, remarks


def _table_width(columns: dict[str, int]) -> int:
    return sum(columns.values()) + 2 * len(columns)


def markdown_table(frame: pd.DataFrame) -> str:
    """One GitHub-flavoured table."""
    lines = ["| " + " | ".join(map(_escaped, frame)) + " |", "|" + " --- |" * len(frame.columns)]
    lines += ["| " + " | ".join(map(_escaped, row)) + " |" for row in frame.itertuples(index=False, name=None)]
    return "\n".join(lines) + "\n"


def _escaped(value: object) -> str:
    return one_line(value).replace("\\", "\\\\").replace("|", "\\|")


def one_line(value: object) -> str:
    """A value as text without anything that moves the cursor; nothing for what is missing."""
    if not isinstance(value, str):
        return "" if pd.isna(value) else str(value)
    return "".join(c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in value)
