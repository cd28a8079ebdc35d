"""`ViewSampler`: episodes without labels, whose classes are single images and whose items are views of them."""

from dataclasses import dataclass

import numpy as np
import torch

from fewshot.augment.pixels import Augment, size_after, training_images
from fewshot.data.bank import Bank
from fewshot.device import sent
from fewshot.episodes.draw import Blocks, distinct, distinct_width, stream_key, words
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.protocol import Protocol
from fewshot.errors import FewshotError


@dataclass(frozen=True)
class ViewProtocol(Protocol):
    """A protocol whose episodes tell views of one image from those of others.

    Args:
        way: images of an episode (N).
        shot: support views of each.
        query: augmented views of each that are queries.
        augment_support: whether support views are augmented too; if not they are the image as it is, `shot` times.
        episodes: how many episodes are drawn.
        seed: chooses the stream of episodes.

    Raises:
        FewshotError: a value out of range, uneven shots, uneven queries, or a pool.

    Source: Medina et al., Self-Supervised Prototypical Transfer Learning for Few-Shot Classification, 2020, algorithm 1.
    """

    way: int = 50
    shot: int = 1
    query: int = 3
    augment_support: bool = False

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.shot, int) or self.dirichlet is not None:
            raise FewshotError(
                "episodes without labels have as many views of each image; give shot as one number and leave dirichlet out"
            )
        if self.pool is not None:
            raise FewshotError(f"pool={self.pool}; episodes without labels are of all images, leave it out")

    def __str__(self) -> str:
        plain = "augmented" if self.augment_support else "plain"
        return f"{self.way} images without labels, {self.shot} {plain} and {self.query} augmented views of each"


class ViewSampler:
    """Draws images of a bank without a look at their labels, and makes views of them.

    Episode i holds `way` different images, each a class of its own; `classes` has their places in the bank. It depends on
    the protocol, on i and on how many images there are.

    Args:
        bank: where images come from.
        protocol: how many images and views.
        augment: makes the views; its numbers depend on the first episode of the batch and on the batch's size. None leaves
            all views as they are.
        channels_last: memory layout of the images.

    Raises:
        FewshotError: the bank holds features, fewer images than an episode, or `augment` makes another size of views while
            supports are shown as they are.
    """

    def __init__(
        self,
        bank: Bank,
        protocol: ViewProtocol,
        augment: Augment | None = None,
        channels_last: bool = False,
    ):
        where = f"{bank.name}/{bank.split}"
        if not bank.is_images:
            raise FewshotError(f"{where} holds features; views are made of images")
        if protocol.way > len(bank):
            raise FewshotError(f"way={protocol.way}, but {where} has {len(bank)} images; use a smaller way")
        own = tuple(bank.items.shape[2:])
        if not protocol.augment_support and size_after(augment, *own) != own:
            raise FewshotError(
                f"augment.size={augment.makes_size} of images of {own[0]}x{own[1]}, and supports are shown as they are; use "
                f"episodes.train.augment_support=true, or images of that size"
            )
        self.bank, self.protocol = bank, protocol
        self.augment, self.channels_last = augment, channels_last
        self._key = stream_key({key: value for key, value in protocol.as_dict().items() if key != "episodes"})
        self._width = distinct_width(len(bank), len(bank), protocol.way)
        self._blocks = Blocks(self._draw, np.concatenate)

    def indices(self, start: int, count: int) -> np.ndarray:
        """The images of episodes `start..start+count`, int64 `[count, way]`."""
        return self._blocks.rows(start, count)

    def episodes(self, start: int, count: int) -> Episodes:
        """Episodes `start..start+count` with their views, on the bank's device; the views of an image lie side by side."""
        bank, protocol = self.bank, self.protocol
        chosen = sent(self.indices(start, count).copy(), bank.device)
        support, query = (chosen.repeat_interleave(views, 1) for views in (protocol.shot, protocol.query))
        if protocol.augment_support:
            items = self._images(torch.cat([support.flatten(), query.flatten()]), start, self.augment)
        else:
            plain = self._images(support.flatten(), start, None)
            items = torch.cat([plain, self._images(query.flatten(), start, self.augment)])
        labels = torch.arange(protocol.way, device=bank.device).expand(count, -1)
        return Episodes(
            support=items[: support.numel()].unflatten(0, support.shape),
            support_labels=labels.repeat_interleave(protocol.shot, 1),
            query=items[support.numel() :].unflatten(0, query.shape),
            query_labels=labels.repeat_interleave(protocol.query, 1),
            classes=chosen,
        )

    def _images(self, index: torch.Tensor, start: int, augment: Augment | None) -> torch.Tensor:
        pixels, seed = (self.bank.items, index, self.bank.mean, self.bank.std), (self._key + start) % 2**63
        return training_images(*pixels, augment, seed, channels_last=self.channels_last)

    def _draw(self, start: int, count: int) -> np.ndarray:
        n = len(self.bank)
        return distinct(words(self._key, start, count, self._width), np.full(count, n), n, self.protocol.way)
