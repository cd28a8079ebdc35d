"""`fewshot-leaderboard show`, `rank` and `compare`."""

import argparse
import math

import pandas as pd
from rich.console import Console
from rich.text import Text

from fewshot.cli.open_board import (
    make_console,
    open_board,
    places,
    read_board,
    read_lasting_failures,
    reader_of_accuracies,
)
from fewshot.errors import FewshotError
from fewshot.leaderboard.choose import sorted_by
from fewshot.leaderboard.ranking import rank as ranges_of_places
from fewshot.leaderboard.render import as_csv, markdown, p_text, print_records, print_tables, question, short_ranks


def show(arguments: argparse.Namespace) -> int:
    """Tables of rows; exit code 1 if `--published` finds a row beyond its tolerance."""
    console = make_console()
    if arguments.failed:
        _show_failed(read_lasting_failures(arguments.csv), console)
        return 0
    frame = open_board(arguments)
    if arguments.published:
        return _show_published(frame, arguments, console)
    if arguments.wide:
        _show_wide(frame, arguments.format, console)
        return 0
    if arguments.format == "latex":
        raise FewshotError("--format latex goes with --wide")
    ranked = ranges_of_places(frame)
    if arguments.sort:
        ranked = sorted_by(ranked, arguments.sort)
        if not arguments.all_columns and arguments.format == "table":
            # Tables of questions in the order of their first row.
            order = {group: place for place, group in enumerate(dict.fromkeys(ranked["group"]))}
            ranked = ranked.sort_values("group", key=lambda groups: groups.map(order), kind="stable")
    if arguments.format == "csv":
        print(as_csv(ranked, arguments.all_columns).removesuffix("\n"))
    elif arguments.format == "markdown":
        print(markdown(ranked, arguments.all_columns).removesuffix("\n"))
    else:
        (print_records if arguments.all_columns else print_tables)(ranked, console)
        failed = len(read_lasting_failures(arguments.csv))
        if failed:
            jobs = "1 job" if failed == 1 else f"{failed} jobs"
            console.print(Text(f"{jobs} of sweeps failed, see fewshot-leaderboard show --failed", style="dim"))
    return 0


def _show_failed(failed: pd.DataFrame, console: Console) -> None:
    for _, row in failed.iterrows():
        parts = (row["learner"], row["head"], row["backbone"], "" if row["seed"] is pd.NA else f"seed {row['seed']}")
        console.print(Text(f"row {row['row']}, {row['when']}: {row['name']}", style="bold"), soft_wrap=True)
        console.print(f"  {', '.join(part for part in parts if part)}", markup=False, soft_wrap=True)
        console.print(f"  {row['failed']}", markup=False, soft_wrap=True)
        console.print(f"  {row['run']}", markup=False, soft_wrap=True)
    console.print("1 job failed" if len(failed) == 1 else f"{len(failed) or 'no'} jobs failed")


def rank(arguments: argparse.Namespace) -> int:
    """Ranks that are shared by what no test tells apart."""
    lines = ranked_lines(open_board(arguments), arguments)
    if arguments.format == "csv":
        print(lines.to_csv(index=False, lineterminator="\n").removesuffix("\n"))
    elif arguments.format == "markdown":
        print(markdown(lines, shorten=short_ranks).removesuffix("\n"))
    else:
        console = make_console()
        print_tables(lines, console, short_ranks)
        console.print(
            Text(
                f"behind: percent points to the best; p: of that, corrected for all pairs of a table (Holm); equal ranks and "
                f"ties: not apart at {arguments.level:g}",
                style="dim",
            )
        )
    return 0


def ranked_lines(frame: pd.DataFrame, arguments: argparse.Namespace) -> pd.DataFrame:
    """`shared_ranks` as the options say."""
    from fewshot.leaderboard.shared_ranks import shared_ranks

    if not 0 < arguments.level < 1:
        raise FewshotError(f"--level {arguments.level:g}; expected between 0 and 1")
    where = places(arguments)
    accuracies = None if arguments.no_files else reader_of_accuracies(where)
    lines = shared_ranks(frame, accuracies, not arguments.no_seeds, arguments.level)
    if lines.empty:
        raise FewshotError("none of these rows has an interval; test on two or more episodes")
    return lines


def compare(arguments: argparse.Namespace) -> int:
    """One method against others, paired episode by episode."""
    from fewshot.leaderboard.named_entries import compare_named

    board, console = read_board(arguments.csv), make_console()
    where = places(arguments)
    found = compare_named(board, arguments.first, arguments.second, reader_of_accuracies(where))
    console.print(Text(question(found[0].first.first), style="bold"))
    for first, other, result, corrected in found:
        _print_comparison(first, other, result, corrected, len(found), where, console)
    return 0


def _print_comparison(first, other, result, corrected: float, others: int, where: list, console: Console) -> None:
    from fewshot.evaluation.paired import paired_difference
    from fewshot.evaluation.variance import seeds_and_episodes

    for letter, entry in (("A", first), ("B", other)):
        row = entry.first
        seeds = f"seeds {', '.join(map(str, entry.seeds))}" if len(entry.seeds) > 1 else f"seed {entry.seeds[0]}"
        console.print(
            f"  {letter}  {entry.mean:.2f} ± {entry.half_width:.2f}  row {entry.numbers}: {row['name']}, {row['head']}, "
            f"{row['backbone']}, {seeds}",
            markup=False,
            soft_wrap=True,
        )
    lines = {"A - B": f"{result.difference:+.3f} ± {result.half_width:.3f} points (95%)"}
    holm_note = f", corrected {p_text(corrected)} ({others} comparisons, Holm)" if others > 1 else ""
    if len(first.values) == 1:
        found = paired_difference(first.values[0], other.values[0])
        lines["t"] = f"p {p_text(found.t_p)}{holm_note}"
        lines["Wilcoxon"] = (
            f"p {p_text(found.wilcoxon_p)}, {found.zeros} of {found.episodes} episodes without a difference"
        )
        lines["wins"] = f"A is better in {100 * found.wins:.1f}% of episodes (ties half), effect {found.effect:.2f} sd"
        narrower = found.unpaired_half_width / found.half_width if found.half_width else math.inf
        lines["unpaired"] = f"± {found.unpaired_half_width:.3f}, {narrower:.1f} times as wide"
        lines["covers"] = "new episodes of the same classes; not new classes, not other seeds of training"
    else:
        found = seeds_and_episodes(first.values - other.values)
        lines["t"] = f"p {p_text(result.p)}{holm_note}"
        for name, entry in (("A", first), ("B", other)):
            parts = seeds_and_episodes(entry.values)
            lines[f"variance of {name}"] = _variances(parts)
        lines["of A - B"] = _variances(found)
        lines["covers"] = "new seeds of training and new episodes of the same classes; not new classes"
    over_classes = _over_classes(first, other, where)
    if over_classes:
        lines["new classes"] = over_classes
    for name, text in lines.items():
        console.print(f"  {name:<14} {text}", markup=False, soft_wrap=True)
    console.print()


def _variances(parts) -> str:
    seed, episode, rest = parts.seed_variance, parts.episode_variance, parts.residual_variance
    return f"seeds {max(seed, 0):.3f}, episodes {max(episode, 0):.2f}, rest {rest:.2f} (points squared)"


def _over_classes(first, other, where: list) -> str:
    """The interval of the difference over classes, where both runs have diagnostics of one seed."""
    import json

    from fewshot.evaluation.class_bootstrap import class_bootstrap
    from fewshot.leaderboard.run_files import run_files

    counts = []
    for entry in (first, other):
        path = run_files(entry.first, where).diagnostics
        if len(entry.seeds) > 1 or not path.is_file():
            return ""
        counts.append(json.loads(path.read_text(encoding="utf-8"))["classes"])
    right, queries = ([[line[name] for line in lines] for lines in counts] for name in ("right", "queries"))
    if queries[0] != queries[1]:
        return ""
    difference = [one - two for one, two in zip(*right, strict=True)]
    found = class_bootstrap(difference, queries[0])
    return f"{100 * found.low:+.2f} to {100 * found.high:+.2f} points (95%, {found.classes} classes drawn anew)"


def _show_wide(frame: pd.DataFrame, form: str, console: Console) -> None:
    from fewshot.leaderboard.wide import print_wide, wide_latex, wide_markdown, wide_tables

    tables = wide_tables(frame)
    if form == "table":
        print_wide(tables, console)
    elif form == "csv":
        print(pd.concat([t.cells.assign(kind=t.kind) for t in tables]).to_csv(index=False, lineterminator="\n"), end="")
    else:
        print((wide_markdown if form == "markdown" else wide_latex)(tables).removesuffix("\n"))


def _show_published(frame: pd.DataFrame, arguments: argparse.Namespace, console: Console) -> int:
    from fewshot.leaderboard.published import beside, print_beside, published
    from fewshot.leaderboard.render import markdown_table

    lines = beside(frame, published(), arguments.tolerance)
    if lines.empty:
        raise FewshotError("no row here has a published counterpart; see data_manifests/published/results.csv")
    if arguments.format == "csv":
        print(lines.to_csv(index=False, lineterminator="\n").removesuffix("\n"))
    elif arguments.format == "markdown":
        print(markdown_table(lines.drop(columns="ours")).removesuffix("\n"))
    else:
        print_beside(lines, console)
        agree = int(lines["agrees"].sum())
        console.print(f"{agree} of {len(lines)} agree within both spreads and {arguments.tolerance:g} points")
    return 0 if lines["agrees"].all() else 1
