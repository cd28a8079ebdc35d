"""Backbones, losses and augmentations that are not of this package, tried out before a training."""

import copy
import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from fewshot.augment.pixels import Augment, gather_images, size_after
from fewshot.data.bank import Bank
from fewshot.device import device_of, draws_kept, has_room
from fewshot.episodes.images import ImageProtocol
from fewshot.episodes.protocol import Protocol
from fewshot.errors import FewshotError, tried
from fewshot.heads.contract import random_tasks
from fewshot.heads.feature_transform import bare
from fewshot.learners.feature_learner import FeatureLearner, takes_features_as_they_are
from fewshot.learners.learner import Learner
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.loss_value import as_loss_value

_LIBRARIES = ("fewshot", "torch", "torchvision", "timm", "pytorch_metric_learning")
# Noise on pixels in 0..1 stays below; pixels of 0..255 do not.
_LARGEST = 16.0


def is_own(part: object) -> bool:
    """Whether a module, or any in it, or a function is a user's own."""
    parts = part.modules() if isinstance(part, nn.Module) else (part,)
    return any(map(_from_outside, parts))


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
    device = device_of(learner, bank.device)
    if bank.is_images and augment is not None and is_own(augment):
        _check_augment(augment, bank, device if has_room(device, bank.items.nbytes) else bank.device)
    if bank.is_images and takes_features_as_they_are(learner) and is_own(learner.backbone):
        _check_backbone(learner, bank, augment)
    # What reads attributes would have to be told of some; a subclass may call its loss in its own way.
    if type(learner) is MetricLearner and is_own(learner.loss) and not learner.reads_attributes:
        _check_loss(learner, protocol)


def _check_augment(augment: Augment, bank: Bank, device: torch.device) -> None:
    own, images, where = _copied(augment), bank.items[:2].to(device).float() / 255, f"augment: {_name(augment)}"
    if own is None:
        return
    with draws_kept(), tried(where, f"images {list(images.shape)} and a generator"):
        made = own(images.clone(), torch.Generator(device).manual_seed(0))
    if (
        not isinstance(made, Tensor)
        or made.dtype != torch.float32
        or made.ndim != 4
        or made.shape[:2] != images.shape[:2]
    ):
        found = f"{made.dtype} {list(made.shape)}" if isinstance(made, Tensor) else f"a {type(made).__name__}"
        raise FewshotError(
            f"{where} makes {found} of images {list(images.shape)}; expected as many torch.float32 images of as many channels"
        )
    # One that promises nothing may make any size.
    height, width = size_after(own, *made.shape[2:])
    if made.shape[2:] != (height, width):
        raise FewshotError(
            f"{where} makes images {list(made.shape)}; its makes_size={own.makes_size} promises {height}x{width} pixels"
        )
    most = float(made.max())
    if not most <= _LARGEST:
        raise FewshotError(f"{where} makes pixels of up to {most:.3g}; expected 0 to 1, as it is given")


def _check_backbone(learner: FeatureLearner, bank: Bank, augment: Augment | None) -> None:
    backbone, size = _copied(learner.backbone), learner.backbone.feature_size
    if backbone is None:
        return
    device = learner.base_mean.device
    index = torch.tensor([0, len(bank) - 1], device=bank.device)
    images = gather_images(bank.items, index, bank.mean, bank.std).to(device)
    images = interpolate(images, size_after(augment, *images.shape[2:]))
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
    copied = _copied((learner.head, learner.loss))
    if copied is None:
        return
    head, loss = copied
    tasks = random_tasks(learner.backbone.feature_size, protocol.way, max(protocol.shots), protocol.query)
    tasks = tasks.to(learner.base_mean.device)
    tasks = tasks.with_items(tasks.support.requires_grad_(), tasks.query.requires_grad_())
    name, given = f"loss: {_name(learner.loss)}", "two tasks of random features"
    with draws_kept():
        with tried(f"head: {type(bare(head)).__name__}", given):
            logits = head.train()(tasks)
        with tried(name, given):
            value = as_loss_value(loss.train()(tasks, logits), learner.loss)
    if not value.total.requires_grad:
        raise FewshotError(
            f"{name} gives a total without a gradient, of the features or by way of {type(bare(head)).__name__}'s scores; make it of them, "
            f"without detach()"
        )


def _copied(part):
    """A copy, which may learn and remember what it will; None of what cannot be copied."""
    try:
        return copy.deepcopy(part)
    except Exception:
        return None


def _name(part: nn.Module | Callable) -> str:
    """Of the innermost class or function that is the user's own."""
    parts = [p for p in part.modules() if not isinstance(p, nn.Sequential)] if isinstance(part, nn.Module) else [part]
    own = _unwrapped(next(filter(_from_outside, parts), part))
    return getattr(own, "__name__", type(own).__name__)


def _from_outside(part: object) -> bool:
    part = _unwrapped(part)
    module = getattr(part, "__module__", None) or type(part).__module__
    return module.partition(".")[0] not in _LIBRARIES


def _unwrapped(part: object) -> object:
    """What a partial application calls in the end."""
    while isinstance(part, functools.partial):
        part = part.func
    return part
