"""`fewshot-data`: list, prepare and verify data sets."""

import argparse
import sys
import time

from fewshot.cli.one_line_errors import one_line_errors

_EXAMPLES = """\
examples:
  fewshot-data list
  fewshot-data prepare omniglot                     all splits, downloaded if they are not in data/raw
  fewshot-data prepare omniglot split=lake          options are those of conf/data/omniglot.yaml
  fewshot-data prepare folder --root my/pictures    a data set of your own
  fewshot-data verify omniglot                      exit code 1 when something is wrong
"""


def main(argv: list[str] | None = None) -> int:
    """The console command `fewshot-data`.

    Returns 0, or 1 when `verify` found a problem; what cannot be done exits with 2 and one line.
    """
    parser = _parser()
    # argparse takes no key=value after a --flag; these come back as unknown.
    arguments, rest = parser.parse_known_args(argv)
    if rest and (arguments.command == "list" or any(text.startswith("-") for text in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    with one_line_errors("fewshot-data"):
        places = {key: getattr(arguments, key) for key in ("root", "prepared") if getattr(arguments, key) is not None}
        if arguments.command == "list":
            return _list(places)
        dataset = _dataset(arguments.name, arguments.options + rest, places)
        if arguments.command == "prepare":
            return _prepare(dataset, arguments.only or dataset.splits, arguments.force)
        return _verify(dataset)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fewshot-data",
        description="List, prepare and verify data sets.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    places = argparse.ArgumentParser(add_help=False)
    places.add_argument("--root", metavar="FOLDER", help="where the public files are (default: data/raw)")
    places.add_argument("--prepared", metavar="FOLDER", help="where prepared banks are kept (default: data/prepared)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", parents=[places], help="what there is, and what of it is prepared")
    for name, text in (
        ("prepare", "make the banks of a data set from its files"),
        ("verify", "check the banks of a data set, and its public files where they are there"),
    ):
        command = commands.add_parser(name, parents=[places], help=text, description=f"{text.capitalize()}.")
        command.add_argument("name", metavar="NAME", help="of the data set; `fewshot-data list` shows them")
        command.add_argument("options", nargs="*", metavar="key=value", help="an option of conf/data/NAME.yaml")
        if name == "prepare":
            command.add_argument(
                "--split",
                dest="only",
                action="append",
                metavar="PART",
                help="only this part, such as test; may be given more than once",
            )
            command.add_argument("--force", action="store_true", help="make them again even if they are there")
    return parser


def _dataset(name: str, options: list[str], places: dict[str, str]):
    from omegaconf import OmegaConf
    from yaml import YAMLError

    from fewshot.data.catalog import open_dataset
    from fewshot.errors import FewshotError

    wrong = [text for text in options if "=" not in text]
    if wrong:
        raise FewshotError(f"{wrong[0]!r} is no option; expected key=value such as root=data/raw")
    try:
        values = OmegaConf.to_container(OmegaConf.from_dotlist([text.removeprefix("data.") for text in options]))
    except YAMLError as error:
        raise FewshotError(f"options {options} cannot be read: {str(error).splitlines()[0]}") from error
    dataset = open_dataset(name, **(values | places))
    if not dataset.splits:
        raise FewshotError(
            f"{dataset.root} has neither train/ val/ test/ folders nor CSVs of these names; give --root FOLDER"
        )
    return dataset


def _list(places: dict[str, str]) -> int:
    from rich.table import Table

    from fewshot.data.catalog import about, dataset_names, open_dataset
    from fewshot.data.store import open_bank
    from fewshot.errors import FewshotError

    table = Table("name", "split", "classes", "images", "MB", "fingerprint", "what it is")
    for name in dataset_names():
        dataset, text = open_dataset(name, **places), about(name)
        for split in dataset.splits or ("-",):
            facts = ("", "", "", "not prepared")
            try:
                if split != "-" and dataset.is_prepared(split):
                    folder = dataset.folder(split)
                    bank = open_bank(folder, check=False)
                    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
                    facts = (str(bank.num_classes), str(len(bank)), f"{size:.1f}", bank.fingerprint[:12])
            except FewshotError:
                # A list is no check: what is wrong is for `verify` to say.
                facts = ("", "", "", "damaged")
            table.add_row(name, split, *facts, text)
            name, text = "", ""
    console = _console()
    console.print(table)
    console.print("To get what is not prepared: fewshot-data prepare NAME", highlight=False)
    return 0


def _prepare(dataset, splits: list[str] | tuple[str, ...], force: bool) -> int:
    from fewshot.data.store import open_bank

    for split in splits:
        began, there = time.perf_counter(), dataset.is_prepared(split) and not force
        bank = open_bank(dataset.prepare(split, force=force))
        how = "was there" if there else f"{time.perf_counter() - began:.1f} s"
        print(
            f"{dataset.name}/{split}: {bank.num_classes} classes, {len(bank)} images, fingerprint {bank.fingerprint[:12]} ({how})",
            flush=True,
        )
    return 0


def _verify(dataset) -> int:
    from rich.table import Table

    from fewshot.data.verify import verify_dataset

    findings = verify_dataset(dataset)
    files = {found.split: _public_files(dataset, found.split) for found in findings}
    table = Table("split", "classes", "images", "per class", "fingerprint", "bank", "public files")
    for found in findings:
        table.add_row(
            found.split,
            str(found.classes),
            str(found.images),
            _per_class(dataset, found.split) if found.classes else "",
            found.fingerprint[:12],
            found.problem or "ok",
            files[found.split],
        )
    _console().print(table)
    wrong = any(found.problem or files[found.split] not in _FINE for found in findings)
    return int(not findings or wrong)


_FINE = ("ok", "not here", "-")


def _public_files(dataset, split: str) -> str:
    """What comparing a split's public files with its manifest found; `-` for a data set without one."""
    from fewshot.errors import FewshotError

    try:
        return {True: "ok", False: "not here", None: "-"}[dataset.check_files(split)]
    except FewshotError as error:
        return str(error)


def _per_class(dataset, split: str) -> str:
    from fewshot.data.store import open_bank

    counts = open_bank(dataset.folder(split), check=False).counts
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"


def _console():
    from rich.console import Console

    # No markup: class names and paths may hold square brackets.
    return Console(markup=False, width=None if sys.stdout.isatty() else 140)


if __name__ == "__main__":
    sys.exit(main())
