"""The banks that a run is tested on."""

from collections.abc import Iterable, Mapping

from omegaconf import DictConfig, ListConfig, OmegaConf
from rich.console import Console

from fewshot.cli.data_progress import open_split
from fewshot.cli.seen_classes import check_disjoint
from fewshot.data.bank import Bank
from fewshot.data.catalog import dataset_names, open_dataset
from fewshot.data.dataset import DataSet
from fewshot.data.folder import ImageFolder
from fewshot.data.image_format import ImageFormat, in_format
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.errors import FewshotError


def open_test_banks(
    data: DictConfig,
    dataset: DataSet,
    seen: Mapping[str, Iterable[str]],
    protocol: Protocol,
    trained_on: ImageFormat | None,
    console: Console,
) -> dict[str, Bank]:
    """The test banks of `data.test`, or that of `dataset`, by what the names of their files end in.

    Args:
        data: the configuration of the data.
        dataset: the one that is trained on.
        seen: names of the classes that were trained or validated on, which must not be tested, by their bank.
        protocol: of the test.
        trained_on: the format that the images are brought to; None leaves them as they are.
        console: hears what is prepared.

    Raises:
        FewshotError: `data.test` cannot be read, a class was trained on, or a bank is too small.
    """
    chosen = data.get("test")
    datasets = [dataset] if chosen is None else [_chosen(entry, dataset) for entry in _entries(chosen)]
    banks = {}
    for other in datasets:
        bank = open_split(other, "test", console)
        EpisodeSampler(bank, protocol)
        check_disjoint(bank, seen)
        if trained_on is not None:
            bank = in_format(bank, trained_on)
        label = "" if chosen is None else f"-{bank.name}-{bank.split}"
        if label in banks:
            raise FewshotError(f"data.test={OmegaConf.to_container(chosen)} names {label[1:]} twice; leave one out")
        banks[label] = bank
    return banks


def _entries(chosen: object) -> list:
    entries = list(chosen) if isinstance(chosen, ListConfig) else [chosen]
    if not entries:
        raise FewshotError("data.test=[] names no data set; leave it out to test on the data that is trained on")
    return entries


def _chosen(entry: object, trained: DataSet) -> DataSet:
    """The data set that an entry of `data.test` means: a name, or a mapping with `data` and options."""
    options = (
        {"data": entry}
        if isinstance(entry, str)
        else OmegaConf.to_container(entry)
        if isinstance(entry, DictConfig)
        else {}
    )
    if not isinstance(options, dict) or not isinstance(options.get("data"), str):
        raise FewshotError(
            f"data.test has the entry {entry!r}; expected a name ({', '.join(dataset_names())}), or one with options "
            f"such as {{data: cub, split: easyfsl}}"
        )
    name = options.pop("data")
    if name == trained.name and not options:
        # As it was configured, not with the defaults of its file.
        return trained
    shared = {"prepared": str(trained.prepared)}
    # A folder of one's own is a data set of its own: no other lies in it, and it in no other.
    if name != "folder" and not isinstance(trained, ImageFolder):
        shared["root"] = str(trained.root)
    return open_dataset(name, **(shared | options))
