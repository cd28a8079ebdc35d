"""`Taskset`: our episodes where learn2learn takes a task set of its own."""

from collections.abc import Iterator

import torch
from torch import Tensor

from fewshot.episodes.sampler import EpisodeSampler
from fewshot.errors import FewshotError

ORDERS = ("blocks", "alternating")


class Taskset:
    """Episode i of a sampler as one tensor of items and one of labels, support and queries together.

    It stands where `learn2learn.data.Taskset` does: `tasks[i]`, `tasks.sample()`, a loop over it, a `DataLoader`. Task i is
    episode i of the sampler, always; learn2learn is not needed for it.

    Items are sorted by class. `blocks` has the support of a class before its queries, as `learn2learn.data.partition_task(data,
    labels, shots=K)` splits them; `alternating` has the support at even places, as in learn2learn's examples of MAML and
    ANIL (`support = range(0, 2 * K * N, 2)`).

    Args:
        sampler: of as many queries as it likes for `blocks`, of K for `alternating`.
        order: `blocks` or `alternating`.

    Raises:
        FewshotError: an unknown order, or classes with uneven numbers of items.

    Source: Arnold et al., learn2learn: A Library for Meta-Learning Research, 2020, and its `vision` examples.
    """

    def __init__(self, sampler: EpisodeSampler, order: str = "blocks"):
        protocol = sampler.protocol
        if order not in ORDERS:
            raise FewshotError(f"order={order}; expected one of {', '.join(ORDERS)}")
        if protocol.dirichlet is not None or len(set(protocol.shots)) > 1:
            raise FewshotError(
                f"learn2learn takes tasks of even classes; leave out uneven shots and dirichlet ({protocol})"
            )
        if order == "alternating" and protocol.query != protocol.shots[0]:
            raise FewshotError(
                f"order=alternating needs as many queries as shots, these tasks are {protocol}; use blocks"
            )
        self.sampler, self.order = sampler, order
        self._next = 0

    def __len__(self) -> int:
        return self.sampler.protocol.episodes

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Items `[N (K + Q), ...]` and labels int64 `[N (K + Q)]` of one task.

        Raises:
            IndexError: there is no such task.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"task {index} of {len(self)}")
        task = self.sampler.episodes(index % len(self), 1)
        items = torch.cat([task.support[0], task.query[0]])
        labels = torch.cat([task.support_labels[0], task.query_labels[0]])
        # Stable, and the support comes first: so it does within each class.
        order = labels.argsort(stable=True)
        if self.order == "alternating":
            shot = self.sampler.protocol.shots[0]
            order = order.unflatten(0, (task.way, 2, shot)).transpose(1, 2).flatten()
        return items[order], labels[order]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return (self[index] for index in range(len(self)))

    def sample(self) -> tuple[Tensor, Tensor]:
        """The next task, from the first on; after the last the first again.

        learn2learn picks one at random. Here the tasks are random already, and nothing else is drawn.
        """
        index, self._next = self._next, (self._next + 1) % len(self)
        return self[index]
