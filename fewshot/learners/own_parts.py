"""Backbones and losses that are not of this package, tried out before a training."""

import torch
from torch import Tensor, nn

from fewshot.data.bank import Bank
from fewshot.episodes.protocol import Protocol
from fewshot.errors import FewshotError, tried
from fewshot.heads.contract import random_tasks
from fewshot.learners.learner import Learner
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.loss_value import as_loss_value
from fewshot.poolings.pooled import Pooled


def check_own_parts(learner: Learner, bank: Bank, protocol: object) -> None:
    """Raise a FewshotError if a backbone of a user's own does not make features of a bank's images as it says, or a loss no
    scalar with a gradient.

    Args:
        learner: of any kind; a loss is tried out in a `MetricLearner` trained in episodes.
        bank: that is trained on.
        protocol: of the training.
    """
    if bank.is_images:
        _check_backbone(learner, bank)
    if isinstance(learner, MetricLearner) and isinstance(protocol, Protocol):
        _check_loss(learner, protocol)


def _check_backbone(learner: Learner, bank: Bank) -> None:
    backbone = getattr(learner, "backbone", None)
    inner = backbone.backbone if isinstance(backbone, Pooled) else backbone
    if inner is None or not _is_own(inner):
        return
    name, size = type(inner).__name__, backbone.feature_size
    shape = (2, *bank.items.shape[1:])
    # In eval mode, so that BatchNorm learns nothing of these.
    modes = {part: part.training for part in backbone.modules()}
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), tried(f"backbone: {name}", f"images {list(shape)}"):
            device = next((p.device for p in backbone.parameters()), None)
            features = backbone.eval()(torch.zeros(shape, device=device))
    finally:
        for part, training in modes.items():
            part.training = training
    found = list(features.shape) if isinstance(features, Tensor) else f"a {type(features).__name__}"
    if found != [2, size]:
        raise FewshotError(
            f"backbone: {name} makes {found} of images {list(shape)}; expected [2, {size}], features as its feature_size says"
        )


def _check_loss(learner: MetricLearner, protocol: Protocol) -> None:
    loss = learner.loss
    own = [part for part in loss.modules() if _is_own(part)]
    # What reads attributes would have to be told of some.
    if not own or learner.reads_attributes:
        return
    name, modes = type(own[0]).__name__, {part: part.training for part in learner.modules()}
    tasks = random_tasks(learner.backbone.feature_size, protocol.way, max(protocol.shots), protocol.query)
    device = learner.base_mean.device
    items = [part.to(device).requires_grad_() for part in (tasks.support, tasks.query)]
    tasks = tasks.to(device).with_items(*items)
    try:
        learner.eval()
        with torch.random.fork_rng(devices=[]), tried(f"loss: {name}", "two tasks of random features"):
            logits = learner.head(tasks)
            value = as_loss_value(loss(tasks, logits), loss)
    finally:
        for part, training in modes.items():
            part.training = training
    if not isinstance(value.total, Tensor) or value.total.ndim or not value.total.requires_grad:
        raise FewshotError(
            f"loss: {name} gives a total without a gradient or of more than one number; expected a scalar made of the features or "
            f"logits, without detach() or item()"
        )


def _is_own(part: nn.Module) -> bool:
    return type(part).__module__.partition(".")[0] not in (
        "fewshot",
        "torch",
        "torchvision",
        "timm",
        "pytorch_metric_learning",
    )
