"""`EpisodeSampler`: episode i of a bank and a protocol, as a pure function."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fewshot.augment.pixels import Augment, training_images
from fewshot.data.bank import Bank
from fewshot.device import sent
from fewshot.episodes.draw import (
    Blocks,
    dirichlet_counts,
    distinct,
    distinct_width,
    order,
    order_of_epoch,
    rearranged,
    stream_key,
    uniform,
    words,
)
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.protocol import Protocol
from fewshot.errors import FewshotError


@dataclass(frozen=True, eq=False)
class EpisodeIndices:
    """What was drawn for B consecutive episodes: positions in the bank, on the CPU.

    Args:
        classes: int64 `[B, N]`, class ids; label j of a task is `classes[:, j]`.
        support: int64 `[B, S]`, item indices, class by class.
        query: int64 `[B, Q]`, item indices, in shuffled order.
        query_labels: int64 `[B, Q]`.
    """

    classes: np.ndarray
    support: np.ndarray
    query: np.ndarray
    query_labels: np.ndarray

    def __getitem__(self, rows: slice | np.ndarray) -> "EpisodeIndices":
        return EpisodeIndices(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    @classmethod
    def joined(cls, parts: Sequence["EpisodeIndices"]) -> "EpisodeIndices":
        """The episodes of all parts, one after the other."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))

    def sha256(self) -> str:
        """Hash of the item indices, episode by episode, support before query, as int64."""
        return hashlib.sha256(np.concatenate([self.support, self.query], axis=1).astype("<i8").tobytes()).hexdigest()


class EpisodeSampler:
    """Draws the episodes of `protocol` from `bank`.

    Episode i depends on the protocol (its seed among it), on i and on the bank's class sizes, and on
    nothing else: not on the batch it is drawn in, the device, the worker or the rank. Two banks
    with equal class sizes (images, and features made of them) give the same indices.
    `protocol.episodes` bounds nothing here: any episode can be asked for.

    Args:
        bank: where items come from.
        protocol: what an episode is.
        augment: optional, changes the images of image episodes; its numbers depend on the first episode of the batch
            and on the batch's size.
        channels_last: memory layout of image episodes.

    Raises:
        FewshotError: the bank has too few classes, or a class too few items, for the protocol.
    """

    def __init__(
        self,
        bank: Bank,
        protocol: Protocol,
        augment: Augment | None = None,
        channels_last: bool = False,
    ):
        self.bank, self.protocol = bank, protocol
        self.augment, self.channels_last = augment, channels_last
        self._counts, self._offsets = bank.counts.numpy(), bank.offsets.numpy()
        _check_fit(bank, protocol)
        self._key = stream_key({k: v for k, v in protocol.as_dict().items() if k not in ("episodes", "pool")})
        self._smallest, largest = int(self._counts.min()), int(self._counts.max())
        n, shots = protocol.way, np.array(protocol.shots)
        most_queries = protocol.query if protocol.dirichlet is None else protocol.query_size
        self._take = min(int(shots.max()) + most_queries, largest)
        self._widths = {
            "classes": distinct_width(bank.num_classes, bank.num_classes, n),
            "items": n * distinct_width(self._smallest, largest, self._take),
            "counts": 0 if protocol.dirichlet is None else n,
            "order": protocol.query_size,
        }
        self._blocks = Blocks(self._draw, EpisodeIndices.joined)
        self._pool: EpisodeIndices | None = None

    def indices(self, start: int, count: int) -> EpisodeIndices:
        """Episodes `start..start+count` as indices into the bank."""
        if self.protocol.pool is None:
            return self._stream(start, count)
        if self._pool is None:
            self._pool = self._stream(0, self.protocol.pool)
        numbers = np.arange(start, start + count)
        return self._pool[np.array([self._place(number) for number in numbers.tolist()])]

    def _place(self, number: int) -> int:
        """Which episode of the pool comes as the one of a number."""
        size = self.protocol.pool
        turn, place = divmod(number, size)
        return int(order_of_epoch(size, self.protocol.seed, turn)[place]) if turn else place

    def _stream(self, start: int, count: int) -> EpisodeIndices:
        # As many as stay in a processor's cache.
        rows = max(1, 2**16 // sum(self._widths.values()))
        if count > rows:
            parts = [self._draw(s, min(rows, start + count - s)) for s in range(start, start + count, rows)]
            return EpisodeIndices.joined(parts)
        return self._blocks.rows(start, count)

    def episodes(self, start: int, count: int) -> Episodes:
        """Episodes `start..start+count` with their items, on the bank's device.

        Args:
            start: number of the first episode.
            count: how many (B).
        """
        return self.gather(self.indices(start, count), start)

    def gather(self, drawn: EpisodeIndices, start: int = 0) -> Episodes:
        """Episodes of given indices with their items, on the bank's device.

        Args:
            drawn: by this sampler, or by another way of drawing tasks of the same protocol from the same bank.
            start: number of the first, for the numbers of an augmentation.
        """
        b, s = drawn.support.shape
        labels = np.broadcast_to(np.repeat(np.arange(self.protocol.way), self.protocol.shots), (b, s))
        parts = (drawn.support, drawn.query, labels, drawn.query_labels, drawn.classes)
        # All at once: a GPU is interrupted for each transfer.
        numbers = sent(np.concatenate([part.ravel() for part in parts]), self.bank.device)
        index = numbers[: drawn.support.size + drawn.query.size]
        _, _, labels, query_labels, classes = (
            there.view(part.shape)
            for part, there in zip(parts, numbers.split([part.size for part in parts]), strict=True)
        )
        if self.bank.is_images:
            pixels, seed = (self.bank.items, index, self.bank.mean, self.bank.std), (self._key + start) % 2**63
            items = training_images(*pixels, self.augment, seed, channels_last=self.channels_last)
        else:
            items = self.bank.items.index_select(0, index)
        known = self.bank.class_attributes
        return Episodes(
            support=items[: b * s].unflatten(0, (b, s)),
            support_labels=labels,
            query=items[b * s :].unflatten(0, drawn.query.shape),
            query_labels=query_labels,
            classes=classes,
            attributes=None if known is None else known[classes],
        )

    def _draw(self, start: int, count: int) -> EpisodeIndices:
        n = self.protocol.way
        drawn = words(self._key, start, count, sum(self._widths.values()))
        of_classes, of_items, of_counts, of_order = np.split(drawn, np.cumsum(list(self._widths.values()))[:-1], axis=1)

        all_classes = self.bank.num_classes
        classes = distinct(of_classes, np.full(count, all_classes), all_classes, n)
        sizes = self._counts[classes]
        picked = distinct(of_items.reshape(count * n, -1), sizes.ravel(), self._smallest, self._take)
        items = self._offsets[classes][:, :, None] + picked.reshape(count, n, -1)

        support, query, labels = self._parts(items, sizes, of_counts)
        shuffled = order(of_order)
        drawn = EpisodeIndices(classes, support, rearranged(query, shuffled), rearranged(labels, shuffled))
        for name in EpisodeIndices.__dataclass_fields__:
            # A block is kept and handed out in slices: nobody may write into it.
            getattr(drawn, name).flags.writeable = False
        return drawn

    def _parts(self, items: np.ndarray, sizes: np.ndarray, of_counts: np.ndarray) -> tuple[np.ndarray, ...]:
        """Support, query and the queries' labels, class by class, of the items `[count, n, take]` drawn."""
        protocol, (count, n, take) = self.protocol, items.shape
        shots = np.array(protocol.shots)
        if protocol.dirichlet is None and (shots == shots[0]).all():
            shot = int(shots[0])
            parts = items[:, :, :shot], items[:, :, shot : shot + protocol.query]
            # Not -1, which is no number where there is no support.
            support, query = (x.reshape(count, x.shape[2] * n) for x in parts)
            return support, query, np.broadcast_to(np.repeat(np.arange(n), protocol.query), query.shape)
        if protocol.dirichlet is None:
            queries = np.full((count, n), protocol.query)
        else:
            queries = dirichlet_counts(uniform(of_counts), protocol.dirichlet, protocol.query_size, sizes - shots)
        position = np.arange(take)
        first, last = shots[None, :, None], (shots + queries)[:, :, None]
        in_support = np.broadcast_to(position < first, items.shape)
        in_query = (position >= first) & (position < last)
        labels = np.broadcast_to(np.arange(n)[:, None], items.shape)
        return (
            items[in_support].reshape(count, protocol.support_size),
            items[in_query].reshape(count, protocol.query_size),
            labels[in_query].reshape(count, protocol.query_size),
        )


def episodes_sha256(sampler: EpisodeSampler) -> str:
    """`EpisodeIndices.sha256` of all `protocol.episodes` episodes."""
    return sampler.indices(0, sampler.protocol.episodes).sha256()


def _check_fit(bank: Bank, protocol: Protocol) -> None:
    where = f"{bank.name}/{bank.split}"
    if bank.num_classes < protocol.way:
        raise FewshotError(f"way={protocol.way}, but {where} has {bank.num_classes} classes; use a smaller way")
    counts = bank.counts.numpy()
    least = int(counts.argmin())
    if protocol.dirichlet is None:
        needed, what = max(protocol.shots) + protocol.query, f"shot {protocol.shot_text} + query {protocol.query}"
        if counts[least] < needed:
            raise FewshotError(
                f"{what} needs {needed} items per class, but class {bank.class_names[least]!r} of {where} has "
                f"{counts[least]}; use fewer shots or queries, or leave such classes out"
            )
        return
    if counts[least] < max(protocol.shots):
        raise FewshotError(
            f"shot {protocol.shot_text} needs more items than the {counts[least]} of class "
            f"{bank.class_names[least]!r} of {where}; use fewer shots, or leave such classes out"
        )
    room = int(np.sort(counts)[: protocol.way].sum()) - protocol.support_size
    if room < protocol.query_size:
        raise FewshotError(
            f"{protocol} needs {protocol.query_size} query items, but the {protocol.way} smallest classes of {where} "
            f"have {room} besides the support; use fewer queries"
        )
