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

from fewshot.augment.pixels import Augment
from fewshot.choices import chosen
from fewshot.cli.typed import plain, typed
from fewshot.data.bank import Bank
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.views import ViewProtocol
from fewshot.errors import FewshotError
from fewshot.heads.catalog import make_head, told
from fewshot.instantiation import accepted, make
from fewshot.learners.learner import Learner
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.losses.mean_squared_error import MeanSquaredError
from fewshot.losses.proxies import ProxyLoss
from fewshot.poolings.pooled import Pooled, stage_shapes

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
    "augment.vertical_flip": (False,),
    "augment.jitter": (1.0,),
    "augment.grey": (0.0,),
    "augment.dropout": (0.0,),
    "augment.erase_value": (None,),
    "episodes.train.pool": (None,),
    "training.frozen_backbone": (False, None),
    "held_out": (0.0, None),
    "semantics": (None, {}),
}
# What a test takes from the checkpoint alone: typed anew it would put words into the row that are not true.
_OF_TRAINING = (
    "seed",
    "loss",
    "optimizer",
    "schedule",
    "training",
    "augment",
    "data.train",
    "task_augmentation",
    "data.base_classes",
    "episodes.train",
    "episodes.val",
    "classifier",
    "pooling",
    "init",
    "held_out",
    # Of learners that take gradient steps; a test has `learner.test_steps`.
    *("learner.steps", "learner.first_order", "learner.multi_step", "learner.batch_size"),
)
# What a test takes from its command line alone.
_OF_THE_COMMAND = (
    *("mode", "checkpoint", "resume", "output", "leaderboard", "trainer", "heads", "unbalanced", "tune"),
    *("diagnostics", "generalised", "skip_existing"),
)


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
    """The protocol of `episodes.train`, `episodes.val` or `episodes.test`; that of `episodes=unlabelled` has views."""
    node = config.episodes[part]
    protocol = typed(ViewProtocol if "augment_support" in node else Protocol, node, f"episodes.{part}")
    if protocol.pool is not None and part != "train":
        raise FewshotError(
            f"episodes.{part}.pool={protocol.pool}; a pool is for training: tests count each episode once, leave it out"
        )
    return protocol


def trains_on_images(config: DictConfig) -> bool:
    """Whether the learner is a classifier, trained in epochs; its settings must be those of one.

    Raises:
        FewshotError: they are not.
    """
    try:
        classifies = bool(getattr(hydra.utils.get_object(str(config.learner._target_)), "trains_on_images", False))
    except ImportError:
        # Making the learner will say what is wrong with it.
        return False
    if classifies != ("epochs" in config.training):
        wanted = "classification" if classifies else "default"
        raise FewshotError(
            f"this learner is trained in {'epochs' if classifies else 'episodes'}; use training={wanted}"
        )
    return classifies


def make_learner(config: DictConfig, bank: Bank, classes: int | None = None) -> Learner:
    """Backbone, head and what else a learner is made of, composed; initial weights are those of `seed`.

    Parts are told what they ask for: the backbone `channels` and `image_size`, a pooling the backbone's `stage_shapes`,
    the others `feature_size`, `map_shape` and `stage_sizes`, the number of base classes, the training `way`, and
    `attribute_size`, how many numbers are known of each class (None if none are). A learner that asks for `mean` and `std` is
    told how the images are normalised.

    Args:
        config: the whole configuration.
        bank: tells the backbone how many channels and pixels to expect.
        classes: that it is trained on.
    """
    torch.manual_seed(config.seed)
    _, channels, height, _ = bank.items.shape
    backbone = make(config.backbone, "backbone", channels=channels, image_size=height)
    if config.get("pooling"):
        shapes = stage_shapes(backbone, channels, height)
        backbone = Pooled(backbone, make(config.pooling, "pooling", stage_shapes=shapes))
    known = told(backbone, classes, bank)
    parts: dict[str, object] = {"backbone": backbone}
    known["way"] = make_protocol(config, "train").way
    for name in parts_of_learner(config):
        node = config[name]
        maker = {"loss": make_loss, "head": make_head}.get(name)
        parts[name] = maker(node, known) if maker else make(node, name, **accepted(node, known))
    parts |= accepted(config.learner, {"mean": bank.mean, "std": bank.std})
    if makes_new_tasks(config):
        parts["task_augmentation"] = _make_task_augmentation(config, bank)
    learner = _compose(config.learner, "learner", parts, known)
    if not isinstance(learner, Learner):
        raise FewshotError(f"learner: {config.learner._target_} made a {type(learner).__name__}, expected a Learner")
    return learner


def parts_of_learner(config: DictConfig) -> list[str]:
    """Which of head, loss and classifier the learner takes, or the one that it wraps."""
    return list(accepted(_innermost(config.learner), dict.fromkeys(("head", "loss", "classifier"))))


def _innermost(node: DictConfig) -> DictConfig:
    """The learner that others are wrapped around."""
    where = "learner"
    while "learner" in node:
        node, where = node.learner, f"{where}.learner"
        if not OmegaConf.is_dict(node):
            raise FewshotError(f"{where}={node}; expected a learner with a _target_, or leave it out")
    return node


def makes_new_tasks(config: DictConfig) -> bool:
    """Whether there is a task augmentation; configurations of old checkpoints do not have the key."""
    return bool((config.get("task_augmentation") or {}).get("_target_"))


def _make_task_augmentation(config: DictConfig, bank: Bank) -> nn.Module:
    """Told, if it asks, the `std` that images were divided by and the `training_episodes` of the whole run."""
    node, inner = config.task_augmentation, _innermost(config.learner)
    if not accepted(inner, {"task_augmentation": None}):
        name = str(inner._target_).rpartition(".")[2]
        raise FewshotError(f"task_augmentation: {name} takes none; use learner=metric or maml, or leave it out")
    known = {"std": bank.std, "training_episodes": make_protocol(config, "train").episodes}
    return make(node, "task_augmentation", **accepted(node, known))


def _compose(node: DictConfig, where: str, parts: dict[str, object], known: dict) -> object:
    """The learner of a node; one that wraps another has its node under `learner`, and may name an `inner_loss`."""
    made = {}
    if "learner" not in node:
        made = parts
    else:
        made["learner"] = _compose(node.learner, f"{where}.learner", parts, known)
    if node.get("inner_loss") is not None:
        made["inner_loss"] = _named_loss(node.inner_loss, f"{where}.inner_loss", known)
    rest = OmegaConf.masked_copy(node, [key for key in node if key not in made])
    return make(rest, where, **made)


def _named_loss(given: object, where: str, known: dict) -> nn.Module:
    """A loss of `conf/loss/`, by its name or by a mapping of `loss` and its options."""
    options = plain(given, where) if OmegaConf.is_config(given) else {"loss": given}
    if not isinstance(options, dict) or not isinstance(options.get("loss"), str):
        raise FewshotError(f"{where}={options!r}; expected a loss such as icnn, or {{loss: icnn, neighbours: 3}}")
    return make_loss(chosen("loss", options.pop("loss"), options, where), known)


def check_views(protocol: Protocol, augment: Augment, bank: Bank, classifies: bool) -> None:
    """Raise a FewshotError if a training without labels would use them, or its views are all the same."""
    if not isinstance(protocol, ViewProtocol):
        return
    if classifies:
        raise FewshotError("a classifier is trained on labels; use learner=protoclr, or leave episodes=unlabelled out")
    # So often that chance does not leave all of them as they are.
    images = (bank.items[:1] / 255).expand(64, -1, -1, -1)
    if torch.equal(augment(images, torch.Generator(images.device).manual_seed(0)), images):
        raise FewshotError(
            "episodes=unlabelled with an augmentation that changes nothing: all views of an image are the same; choose "
            "augment=views_drawings, views_photos or another"
        )


def check_trainable(learner: Learner, tasks: int) -> None:
    """Raise a FewshotError if steps of so many tasks cannot train this learner's backbone through its head."""
    head, loss = getattr(learner, "head", None), getattr(learner, "loss", None)
    if loss is None or head is None:
        return
    new_tasks = getattr(learner, "task_augmentation", None)
    if new_tasks is not None:
        new_tasks.check(learner.backbone, tasks)
        if not new_tasks.keeps_classes and any(isinstance(part, ProxyLoss) for part in loss.modules()):
            raise FewshotError(
                f"{type(new_tasks).__name__} makes classes that are no base classes, of which this loss has proxies; use "
                f"another loss, or task_augmentation=none"
            )
    if learner.needs_base_mean:
        raise FewshotError(
            "cl2n features need the mean of the base classes, which episodic training does not know before its end; use l2n, "
            "or learner=classifier"
        )
    if not any(p.requires_grad for p in learner.parameters()):
        # Nothing is to be trained, as of a head that is fitted to the base classes.
        return
    of_scores = any(isinstance(part, CrossEntropy | MeanSquaredError) for part in loss.modules())
    if of_scores and not getattr(head, "trains_backbone", True):
        name = type(getattr(head, "head", head)).__name__
        raise FewshotError(
            f"{name} scores features and passes no gradient on, so a loss of its scores trains no backbone; use "
            f"learner=classifier, another loss, or another head and heads=[...] for the test"
        )


def check_frozen(config: DictConfig, learner: Learner, pretraining: str) -> None:
    """Raise a FewshotError if a backbone that is not trained has learned nothing, or training changes its images."""
    changes = describe(config.augment)
    if pretraining == "none" and any(True for _ in learner.backbone.parameters()):
        raise FewshotError("training.frozen_backbone=true would leave random weights as they are; give init=")
    if changes != "image_augment":
        raise FewshotError(
            f"training.frozen_backbone=true embeds each image once, as it is; leave out augment={changes}"
        )
    if makes_new_tasks(config):
        raise FewshotError(
            "training.frozen_backbone=true embeds each image once, and new tasks are made of images; leave out task_augmentation"
        )


def check_trained(head: nn.Module, text: str) -> None:
    """Raise a FewshotError if a head has random weights, which nothing here has trained or will train."""
    # Numbers and vectors, such as temperatures and weights of stages, start at values that are of use.
    if any(p.dim() > 1 for p in head.parameters()):
        raise FewshotError(
            f"{text} has weights of its own, which were not trained with this backbone; train with it (learner=metric), or "
            f"test with another head"
        )


def make_loss(node: DictConfig, known: dict) -> nn.Module:
    """The loss of a node; `terms` names others of `conf/loss/`, each with a weight or with options and a `weight`."""
    if "terms" not in node:
        return make(node, "loss", **accepted(node, known))
    terms, weights = {}, {}
    given = plain(node.terms, "loss.terms") or {}
    if not isinstance(given, dict):
        raise FewshotError(
            f"loss.terms={given!r}; expected losses with weights such as {{cross_entropy: 1, icnn: 0.5}}"
        )
    for name, value in given.items():
        options = dict(value) if isinstance(value, dict) else {"weight": value}
        weights[name] = options.pop("weight", 1.0)
        if isinstance(weights[name], bool) or not isinstance(weights[name], int | float):
            raise FewshotError(f"loss.terms.{name}={weights[name]!r}; expected a weight")
        weights[name] = float(weights[name])
        terms[name] = make_loss(chosen("loss", str(options.pop("loss", name)), options, "loss.terms"), known)
    return make(
        OmegaConf.masked_copy(node, [key for key in node if key != "terms"]), "loss", terms=terms, weights=weights
    )


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


def without_command(config: DictConfig) -> dict:
    """What a file of weights keeps of a configuration, as plain JSON.

    Interpolations stay as they are: where data lies is for the machine that tests to say.
    """
    return {key: value for key, value in OmegaConf.to_container(config).items() if key not in _OF_THE_COMMAND}


def replaced_head(overrides: Iterable[str]) -> bool:
    """Whether a test's command line names another head than the checkpoint's."""
    return any(text.lstrip("+").partition("=")[0].partition("@")[0] == "head" for text in overrides)


def with_checkpoint(config: DictConfig, stored: dict, overrides: Iterable[str]) -> DictConfig:
    """The configuration of a test: that of the checkpoint, with what the command line gives on top.

    Args:
        config: composed of the command line.
        stored: the configuration that the checkpoint carries, interpolations unresolved.
        overrides: the command line's overrides, `key=value` each.
    """
    typed_keys = [text.lstrip("+~").partition("=")[0].partition("@")[0] for text in overrides]
    # Tuning plays the episodes of validation, and may play others than training did.
    fixed = [part for part in _OF_TRAINING if not (config.mode == "tune" and part == "episodes.val")]
    for key in typed_keys:
        if any(key == part or key.startswith(f"{part}.") for part in fixed):
            raise FewshotError(
                f"{key} belongs to training: mode={config.mode} takes it from the checkpoint; leave it out"
            )
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
