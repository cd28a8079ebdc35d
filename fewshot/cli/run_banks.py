"""The banks that a run trains and validates on."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from omegaconf import DictConfig
from rich.console import Console

from fewshot.augment.pixels import Augment, size_after
from fewshot.cli.data_progress import open_split
from fewshot.cli.seen_classes import check_disjoint
from fewshot.cli.typed import plain
from fewshot.data.bank import Bank
from fewshot.data.base_classes import with_base_classes
from fewshot.data.dataset import DataSet
from fewshot.data.held_out import hold_out
from fewshot.data.image_format import ImageFormat, in_format
from fewshot.data.photo_set import PhotoSet
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.episodes.views import ViewProtocol, ViewSampler
from fewshot.errors import FewshotError


def open_training_banks(
    data: DictConfig,
    dataset: DataSet,
    protocols: Mapping[str, Protocol],
    classifies: bool,
    console: Console,
    held_out: float = 0,
    augment: Augment | None = None,
) -> dict[str, Bank]:
    """The banks `train` and, where there is one, `val`, prepared if need be, each big enough for its protocol.

    Where training images have a pipeline of their own, `base` has them as tests would see them. A classifier needs no
    episodes of `train`. There is no `val` where another split than `train` is trained on, which may
    hold its classes, and none for training without labels, whose weights must not be chosen by labels. With `held_out` there
    is a bank of that name too, which `train` then lacks.

    Args:
        data: the configuration of the data; `data.train` names the split to train on, `data.base_classes` some of its classes,
            `data.training_pipeline` another way to their pixels.
        dataset: whose.
        protocols: `train` and `val`.
        classifies: whether a classifier is trained.
        console: hears what is prepared.
        held_out: share of each base class's images that are not trained on.
        augment: of the training images.

    Raises:
        FewshotError: the banks are too small or share classes, or training images would have another size than those of tests.
    """
    split, unlabelled = _trained_split(data), isinstance(protocols["train"], ViewProtocol)
    own_pipeline = data.get("training_pipeline")
    if own_pipeline is not None:
        # Before anything is prepared.
        own, shown = _by_own_pipeline(dataset, data).pipeline.size, dataset.pipeline.size
        _check_size(augment, (own, own), (shown, shown), own_pipeline)
    train, held = _open_base(dataset, data, held_out, console)
    banks = {"train": train} if held is None else {"train": train, "held_out": held}
    if own_pipeline is not None:
        banks |= {"base": train, "train": _training_images(train, dataset, data, held_out, console)}
    elif train.is_images:
        size = tuple(train.items.shape[2:])
        _check_size(augment, size, size, None)
    if unlabelled:
        ViewSampler(banks["train"], protocols["train"], augment)
    elif not classifies:
        EpisodeSampler(banks["train"], protocols["train"])
    if unlabelled or split != "train":
        why = "labels would choose the weights" if unlabelled else f"{split} was trained on"
        console.print(f"no validation ({why}): the last weights are kept")
    elif "val" in dataset.splits:
        banks["val"] = open_split(dataset, "val", console)
        EpisodeSampler(banks["val"], protocols["val"])
        check_disjoint(banks["val"], {_name(banks["train"]): banks["train"].class_names})
    return banks


def train_data(bank: Bank, held_out: float = 0) -> str:
    """What rows and files of weights say of the training images."""
    without = f" without {100 * held_out:g}% of each class" if held_out else ""
    return f"{bank.name}/{bank.split} ({bank.pipeline}){without}"


def open_base_banks(
    dataset: DataSet, facts: dict, held_out: float, what: str, trained_on: ImageFormat | None, console: Console
) -> tuple[Bank, Bank | None]:
    """The images that a checkpoint was trained on, and those of the same classes that were held out.

    Args:
        dataset: of the test.
        facts: of the checkpoint.
        held_out: the share that its training held out.
        what: needs them, for messages.
        trained_on: the format of the training images.
        console: hears what is prepared.

    Raises:
        FewshotError: the images are not those that the checkpoint was trained on.
    """
    trained = facts.get("config", {}).get("data", {})
    if _trained_split(trained) not in dataset.splits:
        raise FewshotError(f"{what} needs the base classes, and {dataset.name} has none")
    kept, held = _open_base(dataset, trained, held_out, console)
    own_pixels = trained.get("training_pipeline") is not None
    shown = _training_images(kept, dataset, trained, held_out, console) if own_pixels else kept
    expected, found = facts.get("train_data"), train_data(shown, held_out)
    known = facts.get("held_out", {}).get("fingerprint")
    if expected != found or (held is not None and known != held.fingerprint):
        also = "" if expected != found else ", but other images of it are here now"
        raise FewshotError(f"{what} needs the images of the training, {expected}{also}; data= names {found}")
    banks = (kept, held)
    return banks if trained_on is None else tuple(bank and in_format(bank, trained_on) for bank in banks)


def open_validation_bank(
    dataset: DataSet,
    seen: Mapping[str, Iterable[str]],
    train_data: str,
    protocol: Protocol,
    trained_on: ImageFormat | None,
    console: Console,
) -> Bank:
    """The validation classes of a data set in the format that was trained on.

    Args:
        dataset: whose.
        seen: names of the classes that were trained or validated on, by their bank.
        train_data: the bank that was trained on, and its pipeline.
        protocol: of the validation episodes.
        trained_on: the format that the images are brought to; None leaves them as they are.
        console: hears what is prepared.

    Raises:
        FewshotError: the data set has none, they were trained on, or they do not fit the protocol.
    """
    if "val" not in dataset.splits:
        raise FewshotError(
            f"{dataset.name} has no validation classes to tune on; its splits are {', '.join(dataset.splits)}"
        )
    bank = open_split(dataset, "val", console)
    EpisodeSampler(bank, protocol)
    trained = train_data.partition(" (")[0]
    check_disjoint(bank, {name: classes for name, classes in seen.items() if name == trained or name != _name(bank)})
    return bank if trained_on is None else in_format(bank, trained_on)


def _trained_split(data: Mapping) -> str:
    return str(data.get("train", "train"))


def _open_base(dataset: DataSet, data: Mapping, held_out: float, console: Console) -> tuple[Bank, Bank | None]:
    """The images that a configuration of data trains on, and those of the same classes that are held out."""
    bank = open_split(dataset, _trained_split(data), console)
    base_classes = plain(data.get("base_classes"), "data.base_classes")
    if base_classes is not None:
        bank = with_base_classes(bank, base_classes, dataset.name)
    return hold_out(bank, held_out) if held_out else (bank, None)


def _by_own_pipeline(dataset: DataSet, data: Mapping) -> PhotoSet:
    """The data set by `data.training_pipeline`."""
    option, name = "data.training_pipeline", str(data["training_pipeline"])
    if not isinstance(dataset, PhotoSet):
        raise FewshotError(f"{option}={name}, and {dataset.name} has no pipelines to choose from; leave it out")
    return dataset.with_pipeline(name, option)


def _check_size(augment: Augment | None, own: tuple[int, ...], shown: tuple[int, ...], pipeline: str | None) -> None:
    """Raise a FewshotError if training shows images of another height and width than tests.

    Args:
        augment: of the training images.
        own: size of the images that it is given.
        shown: size of those of tests.
        pipeline: of the training, where it has its own, for messages.
    """
    made = size_after(augment, *own)
    if made == shown:
        return
    why = f"data.training_pipeline={pipeline}" if made == own else f"augment.size={augment.makes_size}"
    how = (
        "leave it out"
        if own == shown
        else f"augment=resized_crop augment.size={shown[0]} cuts parts of that size, data.training_pipeline=squash{shown[0]} has "
        f"whole images in it"
    )
    sizes = ["x".join(map(str, size)) for size in (made, shown)]
    raise FewshotError(f"{why} makes training images of {sizes[0]} pixels, tests show {sizes[1]}; {how}")


def _training_images(base: Bank, dataset: DataSet, data: Mapping, held_out: float, console: Console) -> Bank:
    """The base classes by `data.training_pipeline`, normalised as tests are.

    Args:
        base: the same images as tests see them.
        dataset: whose.
        data: the configuration of the data.
        held_out: share of each class's images that are not trained on.
        console: hears what is prepared.

    Raises:
        FewshotError: no such pipeline.
    """
    bank, _ = _open_base(_by_own_pipeline(dataset, data), data, held_out, console)
    height, width = bank.items.shape[2:]
    return in_format(bank, replace(ImageFormat.of(base), height=height, width=width))


def _name(bank: Bank) -> str:
    return f"{bank.name}/{bank.split}"
