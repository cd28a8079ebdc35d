"""The table of a paper: methods down, questions across, the best of each column marked."""

from dataclasses import dataclass

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fewshot.evaluation.accuracies import accuracy_text
from fewshot.leaderboard.entries import entries
from fewshot.leaderboard.methods import METHOD
from fewshot.leaderboard.ranking import rank
from fewshot.leaderboard.render import markdown_table, one_line, question, remarks


@dataclass(frozen=True)
class WideTable:
    """Methods of one kind.

    Args:
        kind: inductive or transductive, whether pretraining leaks, and whether there was side information.
        cells: text, one line per method; what all methods have in common is left out.
        best: of the same shape, whether a cell is the best of its column.
    """

    kind: str
    cells: pd.DataFrame
    best: pd.DataFrame


def wide_tables(frame: pd.DataFrame) -> list[WideTable]:
    """One table for each kind of method.

    Rows of several seeds become their mean, with an interval over seeds.

    Args:
        frame: rows as `fewshot.leaderboard.table.read` returns them.
    """
    made: dict[str, list[dict]] = {}
    for _, group in rank(frame).groupby("group", sort=True):
        row = group.iloc[0]
        joint = False if pd.isna(row["transductive"]) else bool(row["transductive"])
        kind = ", ".join(["transductive" if joint else "inductive", *remarks(row)])
        for entry in entries(group[group["accuracy"].notna()], None, join_seeds=True):
            about = {
                name: one_line(entry.first[name]) for name in METHOD if name not in ("pretraining", "side_information")
            }
            made.setdefault(kind, []).append(about | {"question": question(row).partition(", ")[0], "entry": entry})
    return [_table(kind, pd.DataFrame(_shortened(lines))) for kind, lines in made.items()]


def print_wide(tables: list[WideTable], console: Console) -> None:
    """The tables on the console, the best of each column bold."""
    for made in tables:
        table = Table(title=made.kind, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
        for name in made.cells:
            table.add_column(name, overflow="fold", justify="right" if made.best[name].any() else "left")
        for i in range(len(made.cells)):
            cells, best = made.cells.iloc[i], made.best.iloc[i]
            table.add_row(*(Text(cells[name], style="bold" if best[name] else "") for name in made.cells))
        console.print(table)
        console.print()


def wide_markdown(tables: list[WideTable]) -> str:
    """GitHub-flavoured tables, the best of each column bold."""
    marked = ((made.kind, made.cells.where(~made.best, "**" + made.cells + "**")) for made in tables)
    return "\n".join(f"**{kind}**\n\n{markdown_table(cells)}" for kind, cells in marked)


def wide_latex(tables: list[WideTable]) -> str:
    """Tables for the package booktabs, the best of each column bold."""
    return "\n".join(_latex(made) for made in tables)


def latex_escaped(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    special = {"\\": r"\textbackslash{}", "±": r"$\pm$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {letter: f"\\{letter}" for letter in "&%$#_{}"}
    return "".join(special.get(letter, letter) for letter in text)


def _shortened(lines: list[dict]) -> list[dict]:
    """Questions without the words that all of them have, where any are left."""
    words = [line["question"].split() for line in lines]
    common = set.intersection(*map(set, words))
    short = [" ".join(word for word in said if word not in common) for said in words]
    # One question that says no more than the others, such as that of even queries, keeps its shots.
    keep = {word for said in words for word in said if word.endswith("-shot")}
    if not all(short):
        short = [" ".join(word for word in said if word not in common - keep) for said in words]
    return [line | {"question": text or line["question"]} for line, text in zip(lines, short, strict=True)]


def _table(kind: str, lines: pd.DataFrame) -> WideTable:
    about = [name for name in METHOD if name in lines]
    # The one that tells methods apart if no other does.
    told = [name for name in about if lines[name].nunique() > 1] or ["name"]
    if "name" in told and len(told) > 1 and not lines.duplicated([*(n for n in told if n != "name"), "question"]).any():
        told.remove("name")
    questions = list(dict.fromkeys(lines["question"]))
    cells, numbers = [], []
    for key, same in lines.groupby(told, sort=False):
        by_question = {line["question"]: line["entry"] for _, line in same.iterrows()}
        said = {q: accuracy_text(e.mean, e.half_width) for q, e in by_question.items()}
        cells.append(dict(zip(told, key, strict=True)) | {q: said.get(q, "") for q in questions})
        numbers.append({q: by_question[q].mean if q in by_question else None for q in questions})
    cells, numbers = pd.DataFrame(cells), pd.DataFrame(numbers, dtype="float64")
    best = numbers.eq(numbers.max()).reindex(columns=cells.columns, fill_value=False)
    return WideTable(kind, cells, best)


def _latex(made: WideTable) -> str:
    numbers = made.best.any()
    columns = "".join("r" if numbers[name] else "l" for name in made.cells)
    lines = [
        f"% {made.kind}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(latex_escaped, made.cells)) + r" \\",
        r"\midrule",
    ]
    for i in range(len(made.cells)):
        cells = [
            rf"\textbf{{{latex_escaped(text)}}}" if best else latex_escaped(text)
            for text, best in zip(made.cells.iloc[i], made.best.iloc[i], strict=True)
        ]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])
