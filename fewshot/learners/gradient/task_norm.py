"""BatchNorm by the statistics of a task, with a rule of its own for whose statistics count."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm

from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.learners.gradient.batch_norm import batch_norm_twice


class TaskNorm(nn.Module):
    """Normalises by the images of one task, in training and in tests alike; nothing is remembered from task to task.

    The first `support_items` items of a call are the support. With `transductive` each set is normalised by itself, so
    the queries by each other, as the authors of MAML do; without it everything is normalised by the support, so a query's
    features do not depend on other queries. Weights have the names that BatchNorm's have.

    Args:
        size: of features.
        epsilon: added to variances.
        transductive: whether queries are normalised by each other.

    Source: Finn et al. 2017 (authors' code) for the first, Triantafillou et al. 2020
    (`transductive_batch_norm=False` of the authors' code) for the second.
    """

    def __init__(self, size: int, epsilon: float = 1e-5, transductive: bool = False):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))
        self.epsilon, self.transductive = epsilon, transductive
        self.support_items: int | None = None
        # Under vmap the library's BatchNorm has wrong second derivatives; tests hold on to that.
        self.by_hand = False
        # What some layers of timm do after they normalise.
        self.drop: nn.Module | None = None
        self.act: nn.Module | None = None

    def forward(self, x: Float[Tensor, "n d ..."]) -> Float[Tensor, "n d ..."]:
        x = self._normalised(x)
        return x if self.act is None else self.act(self.drop(x))

    def _normalised(self, x: Tensor) -> Tensor:
        first = self.support_items
        if first is None or first in (0, len(x)):
            return self._by_themselves(x)
        if self.transductive:
            return torch.cat([self._by_themselves(x[:first]), self._by_themselves(x[first:])])
        return self._by_statistics_of(x[:first], x)

    def _by_themselves(self, x: Tensor) -> Tensor:
        if self.by_hand:
            return self._by_statistics_of(x, x)
        if x.device.type == "cpu" and torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu"):
            return batch_norm_twice(x, self.weight, self.bias, self.epsilon)
        return batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.epsilon)

    def _by_statistics_of(self, source: Tensor, x: Tensor) -> Tensor:
        dims = (0, *range(2, x.dim()))
        shape = (1, -1) + (1,) * (x.dim() - 2)
        # In 32 bits at least, as BatchNorm does: a mean in 16 bits shifts whole channels.
        wide = torch.promote_types(x.dtype, torch.float32)
        variance, mean = torch.var_mean(source.to(wide), dims, correction=0, keepdim=True)
        scale = self.weight.reshape(shape) * (variance + self.epsilon).rsqrt()
        return (x * scale + (self.bias.reshape(shape) - mean * scale)).to(x.dtype)

    def _load_from_state_dict(self, state_dict, prefix, *rest) -> None:
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            state_dict.pop(prefix + name, None)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def with_task_norms(module: nn.Module, transductive: bool) -> nn.Module:
    """`module` with every BatchNorm replaced by a `TaskNorm` of the same weights, in place.

    Raises:
        FewshotError: a layer that is more than BatchNorm and, as timm's are, an activation.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            norm = TaskNorm(child.num_features, child.eps, transductive)
            if child.affine:
                norm.weight, norm.bias = child.weight, child.bias
            else:
                norm.requires_grad_(False)
            if isinstance(getattr(child, "act", None), nn.Module):
                norm.drop, norm.act = getattr(child, "drop", nn.Identity()), child.act
            elif type(child).forward is not BatchNorm.forward:
                raise FewshotError(
                    f"backbone: {type(child).__name__} does more than BatchNorm, so it cannot be normalised by task; use "
                    f"learner.norm=running with learner.adapts=head, or another backbone"
                )
            setattr(module, name, norm)
        else:
            with_task_norms(child, transductive)
    return module


def task_norms(module: nn.Module) -> list[TaskNorm]:
    """All `TaskNorm`s of a module."""
    return [part for part in module.modules() if isinstance(part, TaskNorm)]


def embedded_task(task: Episodes, embed: Callable[[Tensor], Tensor], norms: Sequence[TaskNorm]) -> Episodes:
    """Features of one task by `embed`, whose `norms` are told meanwhile which items are the support."""
    for norm in norms:
        norm.support_items = task.support.shape[1]
    features = task.map(embed)
    for norm in norms:
        norm.support_items = None
    return features


def task_by_task(episodes: Episodes, embedded: Callable[[Episodes], Episodes]) -> Episodes:
    """Features of a batch of tasks by a function of one."""
    tasks = [embedded(task) for task in episodes.split(1)]
    return episodes.with_items(torch.cat([t.support for t in tasks]), torch.cat([t.query for t in tasks]))
