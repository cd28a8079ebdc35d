"""Data sets by name, as `conf/data/` lists them."""

import difflib
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fewshot.data.dataset import DataSet
from fewshot.errors import FewshotError
from fewshot.instantiation import make
from fewshot.resources import conf_folder


def dataset_names() -> list[str]:
    """What `open_dataset` knows."""
    return sorted(path.stem for path in (conf_folder() / "data").glob("*.yaml"))


def about(name: str) -> str:
    """The first line of a data set's YAML: what it is."""
    return (conf_folder() / "data" / f"{name}.yaml").read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")


def open_dataset(name: str, /, **options: Any) -> DataSet:
    """The data set `name` with its defaults from `conf/data/<name>.yaml`, changed by `options`.

    Raises:
        FewshotError: no such data set or option, or a value that it refuses.
    """
    if name not in dataset_names():
        raise FewshotError(
            f"unknown data set {name!r}{_meant(name, dataset_names())} (known: {', '.join(dataset_names())})"
        )
    config = OmegaConf.load(conf_folder() / "data" / f"{name}.yaml")
    known = [key for key in config if not key.startswith("_")]
    for key, value in options.items():
        if key not in known:
            raise FewshotError(f"{name} has no option {key!r}{_meant(key, known)} (known: {', '.join(known)})")
        config[key] = value if not hasattr(value, "__fspath__") else str(value)
    return made_dataset(config)


def made_dataset(config: DictConfig) -> DataSet:
    """The data set that a `conf/data` node describes.

    Raises:
        FewshotError: it cannot be made, or is none.
    """
    # What is done with a data set is not for the data set to know.
    own = [key for key in config if key not in ("test", "train", "base_classes", "training_pipeline")]
    dataset = make(OmegaConf.masked_copy(config, own), "data")
    if not isinstance(dataset, DataSet):
        raise FewshotError(f"data: {config._target_} made a {type(dataset).__name__}, expected a DataSet")
    return dataset


def _meant(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
