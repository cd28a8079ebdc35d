"""What rows, folders and hashes say of a configuration."""

import hashlib
import inspect
import json

import hydra
from omegaconf import DictConfig, OmegaConf

from fewshot.cli.recipe import make_protocol, makes_new_tasks, parts_of_learner
from fewshot.cli.typed import plain

# Keys that say where things lie or what is done with a run, and change no number in it.
_NOT_NUMBERS = (
    *("mode", "name", "checkpoint", "init", "resume", "output", "leaderboard", "hydra", "experiment"),
    *("diagnostics", "skip_existing"),
)
# What every run had before it could be chosen, as it is and as it may be said: experiments of then are the same as those without.
_USUAL = {
    "data.test": (None,),
    "data.train": ("train",),
    "data.base_classes": (None,),
    "data.training_pipeline": (None,),
    "augment.size": (None,),
    "learner.strong.size": (None,),
    "augment.vertical_flip": (False,),
    "augment.jitter": (1.0,),
    "augment.grey": (0.0,),
    "augment.dropout": (0.0,),
    "augment.erase_value": (None,),
    "episodes.train.pool": (None,),
    "training.frozen_backbone": (False, None),
    "head.self_loops": (False,),
    "head.attention_dropout": (0.0,),
    "held_out": (0.0, None),
    "semantics": (None, {}),
}


def describe_training(config: DictConfig) -> str:
    """What a row says under `loss`: the loss of a learner that takes one, or its classifier."""
    taken = [name for name in parts_of_learner(config) if name != "head"]
    return ", ".join(describe(config[name]) for name in taken) or "none"


def describe_backbone(config: DictConfig) -> str:
    """What a row says under `backbone`: the backbone, and its pooling if that is another than its own."""
    parts = [config.backbone, config.pooling] if config.get("pooling") else [config.backbone]
    return ", ".join(describe(part) for part in parts)


def describe_learner(config: DictConfig) -> str:
    """What a row says under `learner`: the learner, and what made new tasks in its training."""
    text = describe(config.learner)
    return f"{text} with {describe(config.task_augmentation)}" if makes_new_tasks(config) else text


def describe_head(node: DictConfig) -> str:
    """What a row says under `head`; features as they are need not be said."""
    return describe(
        OmegaConf.masked_copy(node, [key for key in node if key != "features" or node.features is not None])
    )


def describe(node: DictConfig) -> str:
    """A part's name for a row: its file's name and what differs from its defaults, such as `prototype(distance=cosine)`."""
    target = str(node._target_)
    module, _, name = target.rpartition(".")
    short = module.rpartition(".")[2] if target.startswith("fewshot.") else name
    if "learner" in node:
        # What a learner wraps is said where it is another than the usual one.
        wrapped, node = describe(node.learner), OmegaConf.masked_copy(node, [key for key in node if key != "learner"])
        short = short if wrapped == "metric_learner" else f"{short} of {wrapped}"
    parameters = inspect.signature(hydra.utils.get_object(target)).parameters
    changed = [
        f"{key}={describe(node[key]) if isinstance(value, dict) and '_target_' in value else value}"
        for key, value in plain(node).items()
        if not key.startswith("_") and not (key in parameters and _same(parameters[key].default, value))
    ]
    return f"{short}({', '.join(changed)})" if changed else short


def _same(default: object, value: object) -> bool:
    return default == value or (isinstance(default, tuple) and list(default) == value)


def numbers_only(config: DictConfig) -> dict:
    """The part of a configuration that decides the numbers of a run, as plain JSON."""
    taken = parts_of_learner(config)
    left_out = {*_NOT_NUMBERS, *({"loss", "classifier"} - set(taken))}
    # What is not used leaves hashes as they were before it existed.
    left_out |= set() if makes_new_tasks(config) else {"task_augmentation"}
    left_out |= set() if config.mode == "generalised" else {"generalised"}
    content = {key: value for key, value in plain(config).items() if key not in left_out}
    for path in ("data.root", "data.prepared", "data.download", "data.workers", "semantics.cache"):
        _drop(content, path)
    for path, usual in _USUAL.items():
        _drop(content, path, usual)
    return content


def _drop(content: dict, path: str, values: tuple | None = None) -> None:
    """Take a key out of nested dictionaries, if it is there and has one of these values."""
    *outer, key = path.split(".")
    for name in outer:
        content = content.get(name) or {}
    if key in content and (values is None or content[key] in values):
        del content[key]


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
    if "learner" in config.learner:
        parts.insert(1, describe(config.learner).partition("(")[0].replace(" ", "-"))
    if makes_new_tasks(config):
        parts.append(describe(config.task_augmentation).partition("(")[0])
    return "-".join([*parts, f"{train.way}w{train.shot_text.replace(',', '+')}s"])
