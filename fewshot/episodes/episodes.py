"""`Episodes`: a batch of tasks as rectangular tensors."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Episodes:
    """B tasks of N classes each, with S support and Q query items.

    The trailing dimensions of `support` and `query` are those of an image `[c, h, w]` or of a
    feature `[d]`. Labels are 0..N-1 in the order of `classes`.

    Args:
        support: `[B, S, ...]`.
        support_labels: int64 `[B, S]`.
        query: `[B, Q, ...]`.
        query_labels: int64 `[B, Q]`.
        classes: int64 `[B, N]`, the ids of the classes in their bank.
        attributes: optional float `[B, N, a]`, what the bank knows of each class beside its items.
    """

    support: Shaped[Tensor, "b s ..."]
    support_labels: Int64[Tensor, "b s"]
    query: Shaped[Tensor, "b q ..."]
    query_labels: Int64[Tensor, "b q"]
    classes: Int64[Tensor, "b n"]
    attributes: Float[Tensor, "b n a"] | None = None

    def __len__(self) -> int:
        return len(self.classes)

    def __repr__(self) -> str:
        support, query = list(self.support.shape), list(self.query.shape)
        return f"<Episodes: {len(self)} tasks of {self.way} classes, support {support}, query {query}, {self.device}>"

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
        return replace(self, support=support, query=query)

    def without_support(self) -> "Episodes":
        """The same tasks with no support items."""
        return replace(self, support=self.support[:, :0], support_labels=self.support_labels[:, :0])

    def without_queries(self) -> "Episodes":
        """The same tasks with no query items."""
        return self.with_first_queries(0)

    def with_first_queries(self, count: int) -> "Episodes":
        """The same tasks with their first queries only."""
        return replace(self, query=self.query[:, :count], query_labels=self.query_labels[:, :count])

    def tensors(self) -> tuple[Tensor, ...]:
        """All that are there, in the order in which `Episodes(...)` takes them."""
        tensors = (getattr(self, name) for name in self.__dataclass_fields__)
        return tuple(tensor for tensor in tensors if tensor is not None)

    def split(self, tasks: int) -> list["Episodes"]:
        """Batches of so many tasks, and one of what is left."""
        return [Episodes(*parts) for parts in zip(*(part.split(tasks) for part in self.tensors()), strict=True)]

    def to(self, device: torch.device | str) -> "Episodes":
        """The same tasks on `device`."""
        return Episodes(*(part.to(device) for part in self.tensors()))
