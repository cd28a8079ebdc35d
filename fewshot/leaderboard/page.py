"""One HTML page of a leaderboard that needs no other file and no network."""

import base64
import html
import io
from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from fewshot.evaluation.accuracies import accuracy_text
from fewshot.leaderboard.render import one_line, p_text, question

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 78rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; width: 100%; margin: 0.4rem 0 1.6rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 0.25rem 0.6rem; border-bottom: 1px solid #ddd; vertical-align: top; }
th button { font: inherit; font-weight: 600; background: none; border: 0; padding: 0; cursor: pointer; }
th[aria-sort=ascending] button::after { content: " ▲"; }
th[aria-sort=descending] button::after { content: " ▼"; }
td.number, th.number { text-align: right; white-space: nowrap; }
tr.first td { font-weight: 600; }
h2 { font-size: 1.05rem; margin: 1.6rem 0 0; }
img { max-width: 100%; }
input { font: inherit; padding: 0.2rem 0.5rem; width: 20rem; max-width: 100%; }
.leak { background: #fff3cd; }
"""
# A cell is sorted by its data-value: numbers as numbers, texts by letters; what is missing comes last both ways.
_SCRIPT = """
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const numeric = head.classList.contains("number");
    const value = row => row.cells[column].dataset.value;
    const body = table.tBodies[0];
    [...body.rows].sort((a, b) => {
      const x = value(a), y = value(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = numeric ? Number(x) - Number(y) : x.localeCompare(y, undefined, { numeric: true });
      return up ? order : -order;
    }).forEach(row => body.append(row));
  }));
}
document.querySelector("#filter").addEventListener("input", event => {
  const words = event.target.value.toLowerCase().split(/\\s+/).filter(Boolean);
  for (const row of document.querySelectorAll("tbody tr")) {
    const text = (row.textContent + " " + row.closest("section").querySelector("h2").textContent).toLowerCase();
    row.hidden = !words.every(word => text.includes(word));
  }
});
"""
_COLUMNS = {
    "rank": "place; shared by methods that no test tells apart",
    "accuracy %": "mean and 95% interval",
    "behind": "percent points to the best, with the 95% interval of the difference",
    "p": "of that difference, corrected for all pairs of the table (Holm)",
    "test": "how the difference was tested",
    "ties": "rows that are not told apart from this one",
    "name": "of the run",
    "learner": "",
    "head": "",
    "backbone": "",
    "trained on": "",
    "seeds": "of training",
    "episodes": "of the test",
    "ms / episode": "of the test, embedding included",
    "#": "numbers of the rows in the file",
}
_NUMBERS = ("rank", "accuracy %", "behind", "p", "episodes", "ms / episode")


def page(lines: pd.DataFrame, figures: Mapping[str, Figure], title: str, remarks: str = "") -> str:
    """The page as text.

    Args:
        lines: as `shared_ranks` returns them.
        figures: by their captions.
        title: of the page.
        remarks: a line under the title.
    """
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
        f"<h1>{html.escape(title)}</h1>",
        "<p>A column is sorted by a click on its name. Methods of one rank are not told apart by the tests; tables answer one "
        f"question each, inductive and transductive apart. {html.escape(remarks)}</p>",
        '<p><label>Only rows with <input id="filter" type="search"></label></p>',
    ]
    parts += [_section(group) for _, group in lines.groupby("group", sort=True)]
    for caption, figure in figures.items():
        words = html.escape(caption)
        parts.append(
            f'<section><h2>{words}</h2><img alt="{words}" src="data:image/png;base64,{_png(figure)}"></section>'
        )
    return "\n".join([*parts, f"<script>{_SCRIPT}</script>\n</body>\n</html>\n"])


def _png(figure: Figure) -> str:
    out = io.BytesIO()
    # Without the time of drawing, equal rows make equal pages.
    figure.savefig(out, format="png", dpi=120, metadata={"Software": None})
    return base64.b64encode(out.getvalue()).decode()


def _section(group: pd.DataFrame) -> str:
    headline = question(group.iloc[0])
    heads = "".join(
        f'<th scope="col" title="{html.escape(tip)}"{_class(name)}><button>{html.escape(name)}</button></th>'
        for name, tip in _COLUMNS.items()
    )
    rows = "\n".join(_row(line) for _, line in group.iterrows())
    mark = ' class="leak"' if "leaks" in group.iloc[0]["pretraining"] else ""
    return (
        f"<section{mark}><h2>{html.escape(headline)}</h2>\n<table>\n<thead><tr>{heads}</tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody>\n</table></section>"
    )


def _row(line: pd.Series) -> str:
    milliseconds = 1000 * line["seconds"] / max(int(line["episodes"]), 1)
    behind = "" if pd.isna(line["behind"]) else accuracy_text(line["behind"], line["behind_ci95"])
    # What is shown, and what it is sorted by.
    cells = {
        "rank": (str(line["rank"]), line["rank"]),
        "accuracy %": (accuracy_text(line["accuracy"], line["ci95"]), line["accuracy"]),
        "behind": (behind, line["behind"]),
        "p": (p_text(line["p"]), line["p"]),
        "episodes": (one_line(line["episodes"]), line["episodes"]),
        "ms / episode": ("" if pd.isna(milliseconds) else f"{milliseconds:.3g}", milliseconds),
        "#": (line["rows"], line["rows"]),
        "trained on": (one_line(line["train_protocol"]) or "nothing",) * 2,
    }
    cells |= {name: (one_line(line[name]),) * 2 for name in _COLUMNS if name not in cells}
    made = (
        f'<td{_class(name)} data-value="{html.escape(_sorted_by(cells[name][1]))}">{html.escape(cells[name][0])}</td>'
        for name in _COLUMNS
    )
    first = ' class="first"' if line["rank"] == 1 else ""
    return f"<tr{first}>{''.join(made)}</tr>"


def _sorted_by(value: object) -> str:
    return "" if not isinstance(value, str) and pd.isna(value) else str(value)


def _class(name: str) -> str:
    return ' class="number"' if name in _NUMBERS else ""
