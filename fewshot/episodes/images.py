"""`ImageSampler`: labelled images in random order, epoch after epoch, for classifiers."""

from dataclasses import asdict, dataclass

import numpy as np
import torch

from fewshot.augment.pixels import Augment, training_images
from fewshot.data.bank import Bank
from fewshot.device import sent
from fewshot.episodes.draw import order_of_epoch, stream_key
from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError


@dataclass(frozen=True)
class ImageProtocol:
    """How many images a classifier is trained on.

    Args:
        images: in all, epochs put end to end.
        seed: of their order.
    """

    images: int
    seed: int = 0

    @property
    def episodes(self) -> int:
        """What the training loop counts: each image is one."""
        return self.images

    def as_dict(self) -> dict:
        return asdict(self)

    def __str__(self) -> str:
        return f"classification of {self.images} images"


class ImageSampler:
    """Each epoch shows each image of a bank once, in an order that depends on the seed and the epoch alone.

    A batch comes as `Episodes` of one task without support: its queries are the images, their labels and
    classes those of the bank. So the training loop, its checkpoints and its curve serve classifiers too.

    Args:
        bank: base classes.
        protocol: how many images, and their seed.
        augment: changes the images.
        channels_last: memory layout of the images.
    """

    def __init__(
        self,
        bank: Bank,
        protocol: ImageProtocol,
        augment: Augment | None = None,
        channels_last: bool = False,
    ):
        if not bank.is_images:
            raise FewshotError(f"{bank.name}/{bank.split} holds features; a classifier is trained on images")
        self.bank, self.protocol, self.augment, self.channels_last = bank, protocol, augment, channels_last
        self._key = stream_key({"augmentation of images": protocol.seed})
        self.classes = torch.arange(bank.num_classes, device=bank.device)[None]

    def indices(self, start: int, count: int) -> np.ndarray:
        """The items that are images `start` to `start + count` of training, int64 `[count]`."""
        n = len(self.bank)
        parts = []
        while count > 0:
            epoch, place = divmod(start, n)
            part = order_of_epoch(n, self.protocol.seed, epoch)[place : place + count]
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return np.concatenate(parts)

    def episodes(self, start: int, count: int) -> Episodes:
        """Images `start` to `start + count` of training and their labels."""
        bank = self.bank
        index = sent(self.indices(start, count), bank.device)
        pixels = (bank.items, index, bank.mean, bank.std)
        # A seed of its own for each batch: what is drawn does not depend on what was drawn before. On a CPU torch looks at its
        # last 32 bits alone.
        seed = (self._key + start) % 2**63
        images = training_images(*pixels, self.augment, seed, channels_last=self.channels_last)
        labels = bank.labels[index][None]
        return Episodes(images.new_zeros(1, 0, *images.shape[1:]), labels[:, :0], images[None], labels, self.classes)
