"""`Episodes`: a batch of tasks as rectangular tensors."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Episodes:
    """B tasks of N classes each, with S support and Q query items.

    The trailing dimensions of `support` and `query` are those of an image `[c, h, w]` or of a
    feature `[d]`. Labels are 0..N-1 in the order of `classes`.

    Args:
        support: `[B, S, ...]`.
        support_labels: int64 `[B, S]`.
        query: `[B, Q, ...]`.
        query_labels: int64 `[B, Q]`.
        classes: int64 `[B, N]`, the ids of the classes in their bank, for class names and attributes.
    """

    support: Shaped[Tensor, "b s ..."]
    support_labels: Int64[Tensor, "b s"]
    query: Shaped[Tensor, "b q ..."]
    query_labels: Int64[Tensor, "b q"]
    classes: Int64[Tensor, "b n"]

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def way(self) -> int:
        """Classes per task (N)."""
        return self.classes.shape[1]

    @property
    def device(self) -> torch.device:
        return self.classes.device

    def map(self, function: Callable[[Tensor], Tensor]) -> "Episodes":
        """The same tasks with `function` applied to all items in one call.

        Args:
            function: items `[n, ...]` to items `[n, ...]`; it sees the support items of all tasks
                followed by the query items of all tasks.
        """
        b, s = self.support.shape[:2]
        out = function(torch.cat([self.support.flatten(0, 1), self.query.flatten(0, 1)]))
        support, query = out[: b * s], out[b * s :]
        return self.with_items(support.unflatten(0, (b, s)), query.unflatten(0, self.query.shape[:2]))

    def with_items(self, support: Tensor, query: Tensor) -> "Episodes":
        """The same tasks and labels with other items."""
        return Episodes(support, self.support_labels, query, self.query_labels, self.classes)

    def without_support(self) -> "Episodes":
        """The same tasks with no support items."""
        none = slice(0, 0)
        return Episodes(
            self.support[:, none], self.support_labels[:, none], self.query, self.query_labels, self.classes
        )

    def without_queries(self) -> "Episodes":
        """The same tasks with no query items."""
        none = slice(0, 0)
        return Episodes(
            self.support, self.support_labels, self.query[:, none], self.query_labels[:, none], self.classes
        )

    def tensors(self) -> tuple[Tensor, ...]:
        """All five, in the order in which `Episodes(...)` takes them."""
        return tuple(getattr(self, name) for name in self.__dataclass_fields__)

    def split(self, tasks: int) -> list["Episodes"]:
        """Batches of so many tasks, and one of what is left."""
        return [Episodes(*parts) for parts in zip(*(part.split(tasks) for part in self.tensors()), strict=True)]

    def to(self, device: torch.device | str) -> "Episodes":
        """The same tasks on `device`."""
        return Episodes(*(part.to(device) for part in self.tensors()))
