"""`Learner`: what can be meta-trained and scored."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.augment.pixels import Augment, size_after
from fewshot.data.bank import Bank
from fewshot.data.image_format import ImageFormat
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.protocol import Protocol
from fewshot.errors import FewshotError
from fewshot.losses.loss_value import plain_scalars


class TrainingLoss(NamedTuple):
    """What one batch of training tasks gave.

    Args:
        total: scalar to minimise.
        parts: named scalars, without gradient, for the training curve.
        accuracy: share of right query predictions in 0..1, without gradient.
    """

    total: Float[Tensor, ""]
    parts: dict[str, Tensor]
    accuracy: Float[Tensor, ""]


def as_training_loss(made: object, learner: nn.Module) -> TrainingLoss:
    """What a learner's `training_loss` returned, its parts and accuracy as tensors.

    Raises:
        FewshotError: it is no `TrainingLoss`, or its total no scalar with a gradient.
    """
    name = type(learner).__name__
    if all(hasattr(made, part) for part in TrainingLoss._fields):
        made = tuple(getattr(made, part) for part in TrainingLoss._fields)
    if not isinstance(made, tuple) or len(made) != 3:
        raise FewshotError(
            f"{name}.training_loss returns a {type(made).__name__}; expected TrainingLoss(total, parts, accuracy)"
        )
    total, parts, accuracy = made
    if not isinstance(total, Tensor) or total.ndim or not isinstance(parts, Mapping):
        raise FewshotError(
            f"{name}.training_loss returns a total of type {type(total).__name__}{list(getattr(total, 'shape', ()))} and parts of type "
            f"{type(parts).__name__}; expected a scalar tensor and scalars by name"
        )
    if torch.is_grad_enabled() and not total.requires_grad:
        raise FewshotError(
            f"{name}.training_loss returns a total without a gradient; make it of the weights, without detach()"
        )
    where = f"{name}.training_loss"
    (share,) = plain_scalars({"accuracy": accuracy}, where, total.device).values()
    return TrainingLoss(total, plain_scalars(parts, where, total.device), share)


class Learner(nn.Module, ABC):
    """A module with two verbs over a batch of tasks.

    `predict` is one pure call: support and queries in, logits out; no state is kept between calls.
    A learner that scores features which do not depend on the task says so with
    `scores_frozen_features` and has `embed` and `predict_features` too: evaluation then embeds a
    split once instead of embedding each episode.
    """

    # Whether `training_loss` takes batches of an `ImageSampler` instead of episodes.
    trains_on_images = False
    # The form of the images that it was trained on; None before training, which says it.
    image_format: ImageFormat | None = None

    @property
    def transductive(self) -> bool:
        """Whether a query's prediction depends on the other queries."""
        return False

    @property
    def needs_support(self) -> bool:
        """Whether a class is known by its support items alone, so that tasks without any cannot be scored."""
        return True

    @property
    def scores_frozen_features(self) -> bool:
        return False

    @property
    def reads_attributes(self) -> bool:
        """Whether a part of it says that it uses what is known of classes beside items; only then is it shown."""
        return any(getattr(part, "reads_attributes", False) for part in self.children())

    @abstractmethod
    def training_loss(self, episodes: Episodes) -> TrainingLoss:
        """Loss of a batch of image episodes."""

    @abstractmethod
    def predict(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Logits (or log-probabilities) of the queries of image episodes."""

    def forward(self, verb: str, *given):
        """Any verb by its name, for `torch.func.functional_call`, which calls modules with weights of its own."""
        return getattr(self, verb)(*given)

    def embed(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """Features of images, the same in every task."""
        raise NotImplementedError(f"{type(self).__name__} does not score frozen features")

    def loss_of_features(self, features: Episodes) -> TrainingLoss:
        """Training loss of episodes of features, for what adapts a learner to a task by gradient."""
        raise NotImplementedError(f"{type(self).__name__} has no loss of features")

    def check_training(self, compiled: bool, precision: str) -> None:
        """Raise a FewshotError if it cannot be trained with a compiled backbone, or in such a precision (`32`, `tf32`, `bf16`, `16`)."""

    @property
    def needs_base_mean(self) -> bool:
        """Whether predictions need what `set_base_features` is told."""
        return False

    def set_base_features(self, features: Float[Tensor, "n d"]) -> None:
        """Hear of the features of all training images: at the end of training, and before validation if needed."""

    @property
    def needs_base_classes(self) -> bool:
        """Whether predictions need a fit to the base classes, by `set_base_classes`, that was not made yet."""
        return False

    @property
    def fits_base_classes(self) -> bool:
        """Whether predictions rest on a fit to the base classes."""
        return False

    def set_base_classes(self, bank: Bank) -> None:
        """Hear of all training features with their labels and of what is known of their classes."""

    def predict_features(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Logits of the queries of episodes of features."""
        raise NotImplementedError(f"{type(self).__name__} does not score frozen features")


def trained_format(bank: Bank, augment: Augment | None) -> ImageFormat:
    """The format of a bank's images as training shows them, changed by `augment`."""
    height, width = size_after(augment, *bank.items.shape[2:])
    return replace(ImageFormat.of(bank), height=height, width=width)


def check_image_format(wanted: ImageFormat | None, bank: Bank, known_as: str = "learner.image_format") -> None:
    """Raise a FewshotError if a bank's images have another form than those that a learner is trained on, if that is known.

    Args:
        wanted: the form that is known, or None.
        bank: whose images are shown to the learner.
        known_as: the form as a user can write it.
    """
    if wanted is None or not bank.is_images or wanted.fits(own := ImageFormat.of(bank)):
        return
    raise FewshotError(
        f"{bank.name}/{bank.split} has {own}; the learner is trained on {wanted}: "
        f"give fewshot.in_format(bank, {known_as})"
    )


def check_tasks(scorer: nn.Module, bank: Bank, protocol: Protocol) -> None:
    """Raise a FewshotError if a learner or a head cannot score tasks of such a bank and protocol.

    A head says `needs_support = False` if it can do without support items, and `attribute_size`, how many numbers it expects to
    be known of each class, if it cannot do without them. What else a learner or a head asks of tasks its `check_protocol` says.

    Args:
        scorer: learner or head.
        bank: where the tasks are from.
        protocol: of the tasks.
    """
    head = scorer
    while isinstance(getattr(head, "head", None), nn.Module):
        head = head.head
    if protocol.shot == 0 and getattr(scorer, "needs_support", True):
        raise FewshotError(
            f"shot=0 gives no support items, by which {type(head).__name__} knows a class; use at least one shot, or a head that "
            f"knows classes by their attributes, such as head=zero_shot"
        )
    for part in dict.fromkeys((scorer, head)):
        if hasattr(part, "check_protocol"):
            part.check_protocol(protocol)
    wanted = getattr(head, "attribute_size", None)
    if wanted is None:
        return
    known = bank.class_attributes
    if known is None or known.shape[1] != wanted:
        found = "knows nothing of its classes" if known is None else f"knows {known.shape[1]} numbers of each class"
        raise FewshotError(
            f"{bank.name}/{bank.split} {found}, but {type(head).__name__} was made for {wanted}; use data with the same attributes"
        )
