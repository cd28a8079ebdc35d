"""What `fewshot-data list` and `fewshot-data verify` print."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fewshot.cli.data_progress import progress_bars
from fewshot.data.catalog import about, dataset_names, open_dataset
from fewshot.data.dataset import DataSet
from fewshot.data.store import open_bank
from fewshot.data.verify import Duplicate, Finding, verify_dataset
from fewshot.errors import FewshotError

_MOST = 20


def print_list(places: dict[str, str]) -> int:
    """Every bank that is prepared, whatever its options, and the data sets of which there is none."""
    table = Table("name", "split", "pipeline", "classes", "images", "MB", "fingerprint", "what it is")
    prepared = {Path(open_dataset(name, **places).prepared) for name in dataset_names()}
    banks = {name: rows for folder in sorted(prepared) for name, rows in _banks(folder).items()}
    for name in [*dataset_names(), *sorted(set(banks) - set(dataset_names()))]:
        text = about(name).partition(":")[0] if name in dataset_names() else "a data set of your own"
        for row in banks.get(name, [(name, "-", "", "", "", "", "not prepared")]):
            table.add_row(*row, text)
            text = ""
    console = _console()
    console.print(table)
    console.print("To get what is not prepared: fewshot-data prepare NAME", highlight=False)
    return 0


def print_findings(dataset: DataSet, files: bool) -> int:
    """The table of a check and what was found, by name; 1 if anything is wrong."""
    with progress_bars() as bars:
        findings, duplicates = verify_dataset(
            dataset, files, report=lambda split: bars(f"reading {dataset.name}/{split}")
        )
    table = Table("split", "classes", "images", "per class", "fingerprint", "bank")
    for title in ("missing", "extra", "unreadable", "in two splits"):
        table.add_column(title, justify="right")
    for found in findings:
        shared = [pair for pair in duplicates if found.split in (pair.first[0], pair.second[0])]
        table.add_row(
            found.split,
            str(len(found.counts)),
            str(sum(found.counts)),
            _per_class(found.counts),
            found.fingerprint[:12],
            found.problem or "ok",
            *_numbers(found),
            _shared(shared) if found.counts else "-",
        )
    console = _console()
    console.print(table)
    for line in _named(findings, duplicates):
        console.print(line, highlight=False, soft_wrap=True)
    if files and not any(found.audit for found in findings):
        console.print("No public files were compared: there are none here, or nothing is known about them.")
    wrong = [f for f in findings if f.problem or (f.audit and (f.audit.missing or f.audit.extra or f.audit.unreadable))]
    return int(not findings or bool(wrong) or not all(pair.known for pair in duplicates))


def _banks(prepared: Path) -> dict[str, list[tuple[str, ...]]]:
    """Rows for the banks in a folder of prepared data sets, by the name of the data set."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for description in prepared.glob("*/*/*/bank.json"):
        folder = description.parent
        name = folder.parent.parent.name
        try:
            bank = open_bank(folder, check="never")
            size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
            facts = (str(bank.num_classes), str(len(bank)), f"{size:.1f}", bank.fingerprint[:12])
            row = (bank.name, bank.split, bank.pipeline, *facts)
        except FewshotError:
            # A list is no check: what is wrong is for `verify` to say.
            row = (name, folder.name, "", "", "", "", "damaged")
        found.setdefault(name, []).append(row)
    return {name: sorted(rows, key=_order) for name, rows in found.items()}


def _order(row: tuple[str, ...]) -> tuple:
    name, split, pipeline = row[:3]
    scheme, _, part = split.rpartition("-")
    order = ("train", "val", "test")
    return name, scheme, pipeline, order.index(part) if part in order else len(order)


def _numbers(found: Finding) -> list[str]:
    if found.audit is None:
        return ["-"] * 3
    return [str(len(which)) for which in (found.audit.missing, found.audit.extra, found.audit.unreadable)]


def _shared(duplicates: list[Duplicate]) -> str:
    known = sum(pair.known for pair in duplicates)
    return f"{len(duplicates)}" + (f" ({known} known)" if known else "")


def _named(findings: list[Finding], duplicates: list[Duplicate]) -> Iterator[str]:
    for found in findings:
        for title in ("missing", "extra", "unreadable") if found.audit else ():
            yield from _first(f"{title} in {found.split}", getattr(found.audit, title))
    yield from _first("in two splits", [str(pair) for pair in duplicates])


def _first(title: str, names: list[str]) -> Iterator[str]:
    for name in names[:_MOST]:
        yield f"{title}: {name}"
    if len(names) > _MOST:
        yield f"{title}: {len(names) - _MOST} more"


def _per_class(counts: list[int]) -> str:
    if not counts:
        return ""
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _console() -> Console:
    # No markup: class names and paths may hold square brackets.
    return Console(markup=False, width=None if sys.stdout.isatty() else 160)


def source_of(folder: Path) -> str:
    """Where the files lay that a prepared bank was made from; empty if it does not say."""
    try:
        return json.loads((folder / "bank.json").read_text(encoding="utf-8")).get("source", "")
    except (OSError, ValueError, AttributeError):
        return ""
