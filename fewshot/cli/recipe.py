"""A configuration turned into the objects of a run."""

import hashlib
import inspect
import json
from collections.abc import Callable, Iterable

import hydra
import torch
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf
from torch import nn

from fewshot.cli.typed import plain, typed
from fewshot.data.bank import Bank
from fewshot.episodes.protocol import Protocol
from fewshot.errors import FewshotError
from fewshot.instantiation import make
from fewshot.learners.learner import Learner

# Keys that say where things lie or what is done with a run, and change no number in it.
_NOT_NUMBERS = ("mode", "name", "checkpoint", "resume", "output", "leaderboard", "hydra", "experiment")
# What a test takes from the checkpoint alone: typed anew it would put words into the row that are not true.
_OF_TRAINING = ("seed", "loss", "optimizer", "schedule", "training", "augment", "episodes.train", "episodes.val")
# What a test takes from its command line alone.
_OF_THE_COMMAND = ("mode", "checkpoint", "resume", "output", "leaderboard", "trainer")


def make_optimizer(config: DictConfig) -> Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]:
    """Parameters to an optimiser, tried on one parameter so that a bad value is refused here."""
    optimizer = make(config.optimizer, "optimizer")
    try:
        optimizer([nn.Parameter(torch.zeros(1))])
    except (TypeError, ValueError, InstantiationException) as error:
        values = {key: value for key, value in plain(config.optimizer).items() if not key.startswith("_")}
        raise FewshotError(
            f"optimizer: {config.optimizer._target_} refuses {values}: {str(error).splitlines()[0]}"
        ) from error
    return optimizer


def check_seed(seed: object) -> None:
    """Raise a FewshotError unless `seed` can seed a run."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise FewshotError(f"seed={seed!r}; expected a whole number of at least 0, below 2^63")


def make_protocol(config: DictConfig, part: str) -> Protocol:
    """The protocol of `episodes.train`, `episodes.val` or `episodes.test`."""
    return typed(Protocol, config.episodes[part], f"episodes.{part}")


def make_learner(config: DictConfig, bank: Bank) -> Learner:
    """Backbone, head and loss composed; initial weights are those of `seed`.

    Args:
        config: the whole configuration.
        bank: tells the backbone how many channels and pixels to expect.
    """
    torch.manual_seed(config.seed)
    _, channels, height, _ = bank.items.shape
    parts = {
        "backbone": make(config.backbone, "backbone", channels=channels, image_size=height),
        "head": make(config.head, "head"),
        "loss": make(config.loss, "loss"),
    }
    learner = make(config.learner, "learner", **parts)
    if not isinstance(learner, Learner):
        raise FewshotError(f"learner: {config.learner._target_} made a {type(learner).__name__}, expected a Learner")
    return learner


def describe(node: DictConfig) -> str:
    """A part's name for a row: its file's name and what differs from its defaults, such as `prototype(distance=cosine)`."""
    target = str(node._target_)
    module, _, name = target.rpartition(".")
    short = module.rpartition(".")[2] if target.startswith("fewshot.") else name
    parameters = inspect.signature(hydra.utils.get_object(target)).parameters
    changed = [
        f"{key}={value}"
        for key, value in plain(node).items()
        if not key.startswith("_") and not (key in parameters and parameters[key].default == value)
    ]
    return f"{short}({', '.join(changed)})" if changed else short


def numbers_only(config: DictConfig) -> dict:
    """The part of a configuration that decides the numbers of a run, as plain JSON."""
    content = {key: value for key, value in plain(config).items() if key not in _NOT_NUMBERS}
    content["data"] = {
        key: value
        for key, value in content["data"].items()
        if key not in ("root", "prepared", "download", "workers") and not (key == "test" and value is None)
    }
    return content


def config_hash(config: DictConfig, weights: str = "") -> str:
    """sha256 of `numbers_only`, and in a test of the weights' hash: equal hashes are the same experiment."""
    text = json.dumps(numbers_only(config), sort_keys=True, default=str) + weights
    return hashlib.sha256(text.encode()).hexdigest()


def run_name(config: DictConfig) -> str:
    """`name`, or one made of data, head, backbone and training protocol."""
    if config.name:
        return str(config.name)
    train = make_protocol(config, "train")
    data = str(config.data._target_).rpartition(".")[0].rpartition(".")[2]
    parts = [data, describe(config.head).partition("(")[0], describe(config.backbone).partition("(")[0]]
    return "-".join([*parts, f"{train.way}w{train.shot_text.replace(',', '+')}s"])


def without_command(config: DictConfig) -> dict:
    """What a file of weights keeps of a configuration, as plain JSON.

    Interpolations stay as they are: where data lies is for the machine that tests to say.
    """
    return {key: value for key, value in OmegaConf.to_container(config).items() if key not in _OF_THE_COMMAND}


def with_checkpoint(config: DictConfig, stored: dict, overrides: Iterable[str]) -> DictConfig:
    """The configuration of a test: that of the checkpoint, with what the command line gives on top.

    Args:
        config: composed of the command line.
        stored: the configuration that the checkpoint carries, interpolations unresolved.
        overrides: the command line's overrides, `key=value` each.
    """
    typed_keys = [text.lstrip("+~").partition("=")[0].partition("@")[0] for text in overrides]
    for key in typed_keys:
        if any(key == part or key.startswith(f"{part}.") for part in _OF_TRAINING):
            raise FewshotError(f"{key} belongs to training: mode=test takes it from the checkpoint; leave it out")
    merged = OmegaConf.create(stored)
    for key in _OF_THE_COMMAND:
        merged[key] = config[key]
    if "experiment" in typed_keys:
        # A recipe says on what to test; the learner stays the one that was trained.
        merged.data, merged.episodes = config.data, config.episodes
    # Whole groups first, so that `head=x head.y=1` changes the head that was chosen.
    for key in sorted(typed_keys, key=lambda key: key.count(".")):
        OmegaConf.update(merged, key, OmegaConf.select(config, key), merge=False, force_add=True)
    return merged
