"""`fewshot-data`: list, prepare and verify data sets."""

import argparse
import sys
import time

from fewshot.cli.one_line_errors import one_line_errors


def main(argv: list[str] | None = None) -> int:
    """The console command `fewshot-data`."""
    parser = argparse.ArgumentParser(prog="fewshot-data", description="List, prepare and verify data sets.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what there is, and what of it is prepared")
    for name, text in (
        ("prepare", "make the banks of a data set from its files"),
        ("verify", "check the banks of a data set"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("name", help="of the data set; `fewshot-data list` shows them")
        command.add_argument(
            "options", nargs="*", metavar="key=value", help="as in conf/data/NAME.yaml, such as root=data/raw"
        )
        if name == "prepare":
            command.add_argument("--force", action="store_true", help="make them again even if they are there")
    arguments = parser.parse_args(argv)
    with one_line_errors("fewshot-data"):
        if arguments.command == "list":
            return _list()
        dataset = _dataset(arguments.name, arguments.options)
        return _prepare(dataset, arguments.force) if arguments.command == "prepare" else _verify(dataset)


def _dataset(name: str, options: list[str]):
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
    dataset = open_dataset(name, **values)
    if not dataset.splits:
        raise FewshotError(f"{dataset.root} has neither train/ val/ test/ folders nor CSVs of these names; give root=")
    return dataset


def _list() -> int:
    from rich.table import Table

    from fewshot.data.catalog import about, dataset_names, open_dataset
    from fewshot.data.store import open_bank

    table = Table("name", "split", "classes", "images", "MB", "fingerprint", "what it is")
    for name in dataset_names():
        dataset = open_dataset(name)
        text = about(name)
        for split in dataset.splits or ("-",):
            if split == "-" or not _prepared(dataset, split):
                table.add_row(name, split, "", "", "", "not prepared", text)
            else:
                bank = open_bank(dataset.folder(split), check=False)
                size = f"{bank.items.numel() / 1e6:.1f}"
                table.add_row(name, split, str(bank.num_classes), str(len(bank)), size, bank.fingerprint[:12], text)
            name, text = "", ""
    _console().print(table)
    return 0


def _prepared(dataset, split: str) -> bool:
    from fewshot.errors import FewshotError

    try:
        return dataset.is_prepared(split)
    except FewshotError:
        return False


def _prepare(dataset, force: bool) -> int:
    from fewshot.data.store import open_bank

    for split in dataset.splits:
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
    table = Table("split", "classes", "images", "fingerprint", "verdict")
    for found in findings:
        table.add_row(found.split, str(found.classes), str(found.images), found.fingerprint[:12], found.problem or "ok")
    _console().print(table)
    return int(not findings or any(found.problem for found in findings))


def _console():
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=140)


if __name__ == "__main__":
    sys.exit(main())
