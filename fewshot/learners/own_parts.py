"""Backbones, losses and augmentations that are not of this package, tried out before a training."""

import copy
import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from fewshot.augment.pixels import Augment, gather_images
from fewshot.data.bank import Bank
from fewshot.device import draws_kept
from fewshot.episodes.images import ImageProtocol
from fewshot.episodes.protocol import Protocol
from fewshot.errors import FewshotError, tried
from fewshot.heads.contract import random_tasks
from fewshot.learners.feature_learner import FeatureLearner, takes_features_as_they_are
from fewshot.learners.learner import Learner
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.loss_value import as_loss_value

_LIBRARIES = ("fewshot", "torch", "torchvision", "timm", "pytorch_metric_learning")
# Below and above what an augmentation makes of pixels in 0..1 there may be noise, but not 0..255.
_ROOM = 1.0


def is_own(part: object) -> bool:
    """Whether a module, or any in it, or a function is a user's own."""
    parts = part.modules() if isinstance(part, nn.Module) else (part,)
    return any(_module(p).partition(".")[0] not in _LIBRARIES for p in parts)


def check_own_parts(
    learner: Learner, bank: Bank, protocol: Protocol | ImageProtocol, augment: Augment | None = None
) -> None:
    """Raise a FewshotError if parts of a user's own do not do what training asks of them.

    Copies are tried out, where the learner is: a backbone on two images of the bank, in a learner that takes its features as they are; a
    loss on two tasks of random features and scores, in a `MetricLearner`; an augmentation on two images.

    Args:
        learner: of any kind.
        bank: that is trained on.
        protocol: of the training.
        augment: of its images.
    """
    if bank.is_images and augment is not None and is_own(augment):
        _check_augment(augment, bank)
    if bank.is_images and takes_features_as_they_are(learner) and is_own(learner.backbone):
        _check_backbone(learner, bank)
    # What reads attributes would have to be told of some; a subclass may call its loss in its own way.
    if type(learner) is MetricLearner and is_own(learner.loss) and not learner.reads_attributes:
        _check_loss(learner, protocol)


def _check_augment(augment: Augment, bank: Bank) -> None:
    images = bank.items[:2].float() / 255
    where = f"augment: {_name(augment)}"
    with draws_kept(), tried(where, f"images {list(images.shape)} and a generator"):
        made = augment(images.clone(), torch.Generator(images.device).manual_seed(0))
    if not isinstance(made, Tensor) or made.shape != images.shape or not made.is_floating_point():
        found = f"{made.dtype} {list(made.shape)}" if isinstance(made, Tensor) else f"a {type(made).__name__}"
        raise FewshotError(f"{where} makes {found} of images {list(images.shape)}; expected as many of the same size")
    least, most = float(made.min()), float(made.max())
    if not (least >= -_ROOM and most <= 1 + _ROOM):
        raise FewshotError(f"{where} makes pixels of {least:.3g} to {most:.3g}; expected 0 to 1, as it is given")


def _check_backbone(learner: FeatureLearner, bank: Bank) -> None:
    backbone, size = _copied(learner.backbone), learner.backbone.feature_size
    if backbone is None:
        return
    device = learner.base_mean.device
    index = torch.tensor([0, len(bank) - 1], device=bank.device)
    images = gather_images(bank.items, index, bank.mean, bank.std).to(device)
    name = f"backbone: {_name(learner.backbone)}"
    with draws_kept(), torch.no_grad(), tried(name, f"images {list(images.shape)}"):
        backbone.train()
        backbone(images)
        backbone.eval()
        features = backbone(images)
    found = list(features.shape) if isinstance(features, Tensor) else f"a {type(features).__name__}"
    if found != [2, size]:
        raise FewshotError(
            f"{name} makes {found} of images {list(images.shape)}; expected [2, {size}], features as its feature_size says"
        )


def _check_loss(learner: MetricLearner, protocol: Protocol) -> None:
    loss, device = _copied(learner.loss), learner.base_mean.device
    if loss is None:
        return
    tasks = random_tasks(learner.backbone.feature_size, protocol.way, max(protocol.shots), protocol.query).to(device)
    tasks = tasks.with_items(tasks.support.requires_grad_(), tasks.query.requires_grad_())
    logits = -torch.rand(
        *tasks.query_labels.shape, tasks.way, device=device, generator=torch.Generator(device).manual_seed(0)
    )
    logits.requires_grad_()
    name = f"loss: {_name(learner.loss)}"
    with draws_kept(), tried(name, "two tasks of random features"):
        loss.train()
        value = as_loss_value(loss(tasks, logits), learner.loss)
    if not value.total.requires_grad:
        raise FewshotError(
            f"{name} gives a total without a gradient; make it of the features or logits, without detach()"
        )


def _copied(part: nn.Module) -> nn.Module | None:
    """A copy, which may learn and remember what it will; None of what cannot be copied."""
    try:
        return copy.deepcopy(part)
    except Exception:
        return None


def _name(part: nn.Module | Callable) -> str:
    """Of the innermost class or function that is the user's own."""
    parts = [p for p in part.modules() if not isinstance(p, nn.Sequential)] if isinstance(part, nn.Module) else [part]
    own = next((p for p in parts if _module(p).partition(".")[0] not in _LIBRARIES), part)
    while isinstance(own, functools.partial):
        own = own.func
    return getattr(own, "__name__", type(own).__name__)


def _module(part: object) -> str:
    while isinstance(part, functools.partial):
        part = part.func
    return getattr(part, "__module__", None) or type(part).__module__
