"""A configuration turned into the objects of a run."""

from collections.abc import Callable, Iterable

import hydra
import torch
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf
from torch import nn

from fewshot.choices import chosen
from fewshot.cli.typed import plain, typed
from fewshot.data.bank import Bank
from fewshot.data.image_format import ImageFormat
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.views import ViewProtocol
from fewshot.errors import FewshotError
from fewshot.heads.catalog import make_head, told
from fewshot.instantiation import accepted, make, make_module
from fewshot.learners.learner import Learner
from fewshot.poolings.pooled import Pooled, stage_shapes


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


def make_learner(
    config: DictConfig, images: ImageFormat, classes: int | None = None, bank: Bank | None = None
) -> Learner:
    """Backbone, head and what else a learner is made of, composed; initial weights are those of `seed`.

    Parts are told what they ask for: the backbone `channels` and `image_size`, a pooling the backbone's `stage_shapes`,
    the others `feature_size`, `map_shape` and `stage_sizes`, the number of base classes, the training `way`, and
    `attribute_size`, how many numbers are known of each class (None if none are). A learner that asks for `mean` and `std` is
    told how the images are normalised.

    Args:
        config: the whole configuration.
        images: how many channels and pixels the backbone is to expect, and how they are normalised.
        classes: that it is trained on, if that is known.
        bank: what is known of whose classes it reads.
    """
    torch.manual_seed(config.seed)
    channels, height = images.channels, images.height
    backbone = make_module(config.backbone, "backbone", channels=channels, image_size=height)
    if config.get("pooling"):
        shapes = stage_shapes(backbone, channels, height)
        backbone = Pooled(backbone, make_module(config.pooling, "pooling", stage_shapes=shapes))
    known = told(backbone, classes, bank)
    parts: dict[str, object] = {"backbone": backbone}
    known["way"] = make_protocol(config, "train").way
    for name in parts_of_learner(config):
        node = config[name]
        maker = {"loss": make_loss, "head": make_head}.get(name)
        parts[name] = maker(node, known) if maker else make_module(node, name, **accepted(node, known))
    parts |= accepted(config.learner, {"mean": images.mean, "std": images.std})
    if makes_new_tasks(config):
        parts["task_augmentation"] = _make_task_augmentation(config, images)
    learner = _compose(config.learner, "learner", parts, known)
    if not isinstance(learner, Learner):
        raise FewshotError(f"learner: {config.learner._target_} made a {type(learner).__name__}, expected a Learner")
    return learner


def parts_of_learner(config: DictConfig) -> list[str]:
    """Which of head, loss and classifier the learner takes, or the one that it wraps."""
    return list(accepted(innermost(config.learner), dict.fromkeys(("head", "loss", "classifier"))))


def innermost(node: DictConfig) -> DictConfig:
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


def _make_task_augmentation(config: DictConfig, images: ImageFormat) -> nn.Module:
    """Told, if it asks, the `std` that images were divided by and the `training_episodes` of the whole run."""
    node, inner = config.task_augmentation, innermost(config.learner)
    if not accepted(inner, {"task_augmentation": None}):
        name = str(inner._target_).rpartition(".")[2]
        raise FewshotError(f"task_augmentation: {name} takes none; use learner=metric or maml, or leave it out")
    known = {"std": images.std, "training_episodes": make_protocol(config, "train").episodes}
    return make_module(node, "task_augmentation", **accepted(node, known))


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


def make_loss(node: DictConfig, known: dict) -> nn.Module:
    """The loss of a node; `terms` names others of `conf/loss/`, each with a weight or with options and a `weight`."""
    if "terms" not in node:
        return make_module(node, "loss", **accepted(node, known))
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
