"""`fewshot-data`: list, prepare, verify and show data sets."""

import argparse
import sys
import time

from fewshot import __version__
from fewshot.cli.one_line_errors import one_line_errors

_EXAMPLES = """\
examples:
  fewshot-data list
  fewshot-data prepare omniglot                     all splits, downloaded if they are not in data/raw
  fewshot-data prepare omniglot split=lake          options are those of conf/data/omniglot.yaml
  fewshot-data prepare folder --root my/pictures    a data set of your own
  fewshot-data prepare cub edition=2010 pipeline=chen224
  fewshot-data verify mini_imagenet                 exit code 1 when something is wrong
  fewshot-data show cub --episode 3 --shot 5        a picture of the episode that meta-test draws as number 3
  fewshot-data show mini_imagenet --class nematode --out nematode.png
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
            from fewshot.cli.data_tables import print_list

            return print_list(places)
        dataset = _dataset(arguments.name, arguments.options + rest, places)
        if arguments.command == "prepare":
            return _prepare(dataset, arguments.only or dataset.splits, arguments.force)
        if arguments.command == "show":
            return _show(dataset, arguments)
        from fewshot.cli.data_tables import print_findings

        return print_findings(dataset, files=not arguments.quick)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fewshot-data",
        description="List, prepare, verify and show data sets.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fewshot {__version__}")
    places = argparse.ArgumentParser(add_help=False)
    places.add_argument("--root", metavar="FOLDER", help="where the public files are (default: data/raw)")
    places.add_argument("--prepared", metavar="FOLDER", help="where prepared banks are kept (default: data/prepared)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", parents=[places], help="what there is, and what of it is prepared")
    for name, text in (
        ("prepare", "make the banks of a data set from its files"),
        (
            "verify",
            "check the banks of a data set, its public files where they are there, and its splits for shared images",
        ),
        ("show", "draw an episode or a class as a PNG"),
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
        if name == "verify":
            command.add_argument("--quick", action="store_true", help="do not read the public files")
        if name == "show":
            _add_show(command)
    return parser


def _add_show(command: argparse.ArgumentParser) -> None:
    command.add_argument("--split", metavar="PART", help="default: test")
    what = command.add_mutually_exclusive_group()
    what.add_argument("--episode", type=int, default=0, metavar="NUMBER", help="of a protocol (default: 0)")
    what.add_argument(
        "--class", dest="class_name", metavar="CLASS", help="a class by name, part of its name, or number"
    )
    for option, default, text in (("way", 5, "classes"), ("shot", 1, "support"), ("query", 15, "queries per class")):
        command.add_argument(
            f"--{option}", type=int, default=default, help=f"{text} of the episode (default: {default})"
        )
    command.add_argument("--seed", type=int, default=0, help="of the episodes (default: 0, that of meta-test)")
    command.add_argument("--out", default="show.png", metavar="FILE", help="the picture (default: show.png)")


def _dataset(name: str, options: list[str], places: dict[str, str]):
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    from fewshot.data.catalog import open_dataset
    from fewshot.errors import FewshotError

    wrong = [text for text in options if "=" not in text]
    if wrong:
        raise FewshotError(f"{wrong[0]!r} is no option; expected key=value such as root=data/raw")
    try:
        given = OmegaConf.from_dotlist([text.removeprefix("data.") for text in options])
        values = OmegaConf.to_container(given, resolve=True)
    except (YAMLError, OmegaConfBaseException) as error:
        raise FewshotError(f"options {options} cannot be read: {str(error).splitlines()[0]}") from error
    dataset = open_dataset(name, **(values | places))
    if not dataset.splits:
        raise FewshotError(
            f"{dataset.root} has neither train/ val/ test/ folders nor CSVs of these names; divide its class folders into these, or give --root FOLDER"
        )
    return dataset


def _prepare(dataset, splits: list[str] | tuple[str, ...], force: bool) -> int:
    from fewshot.cli.data_progress import progress_bars
    from fewshot.cli.data_tables import source_of
    from fewshot.data.store import open_bank

    # What is left out of a split because a later one has it is found by the later one's images as they are now.
    for split in [split for split in reversed(dataset.splits) if split in splits] if force else splits:
        began, there = time.perf_counter(), dataset.is_prepared(split) and not force
        with progress_bars() as bars:
            folder = dataset.prepare(split, force=force, report=bars(f"preparing {dataset.name}/{split}"))
        bank = open_bank(folder)
        source = source_of(folder)
        how = f"{time.perf_counter() - began:.1f} s" + (f" from {source}" if source else "")
        if there:
            how = f"was there, made from {source}; --force makes it again" if source else "was there"
        print(
            f"{bank.name}/{bank.split}: {bank.num_classes} classes, {len(bank)} images, {bank.pipeline}, "
            f"fingerprint {bank.fingerprint[:12]} ({how})",
            flush=True,
        )
    return 0


def _show(dataset, arguments) -> int:
    from fewshot.episodes.protocol import Protocol
    from fewshot.errors import FewshotError
    from fewshot.evaluation.picture import class_number, draw_class, draw_episode

    if not 0 <= arguments.episode < 2**63:
        raise FewshotError(f"--episode {arguments.episode}; expected a whole number of at least 0, below 2^63")
    if not arguments.out.endswith(".png"):
        raise FewshotError(f"--out {arguments.out}; expected a name that ends in .png")

    split = arguments.split or ("test" if "test" in dataset.splits else dataset.splits[-1])
    bank = dataset.bank(split)
    if arguments.class_name is not None:
        draw_class(bank, arguments.class_name, arguments.out)
        number = class_number(bank, arguments.class_name)
        print(f"{bank.class_names[number]} of {bank.name}/{bank.split}: {arguments.out}")
        return 0
    protocol = Protocol(way=arguments.way, shot=arguments.shot, query=arguments.query, seed=arguments.seed)
    draw_episode(None, bank, protocol, arguments.out, arguments.episode)
    print(f"episode {arguments.episode} of {bank.name}/{bank.split}, {protocol}: {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
