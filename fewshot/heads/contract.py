"""`check_head`: whether a head keeps to what evaluation relies on."""

import torch
from torch import Tensor, nn

from fewshot.device import device_of, draws_kept
from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError, tried
from fewshot.heads.feature_transform import bare

# Change of scores, as a share of the largest, which shows that they depend on what else is there: sums in another order move them by a millionth or so.
DEPENDENT = 1e-3
_TASKS = "two tasks of random features"


def check_head(
    head: nn.Module,
    feature_size: int,
    *,
    way: int = 5,
    shot: int = 2,
    query: int = 3,
    attribute_size: int | None = None,
) -> None:
    """Raise a FewshotError unless a head scores tasks as evaluation expects it to.

    Two tasks of random features are scored in eval mode: the scores are `[2, Q, N]` real numbers, each task has the same ones alone, and each
    query has the same ones alone unless the head says `transductive`. The latter two are not asked of a head that draws
    random numbers, whose scores differ from call to call.

    Args:
        head: episodes of features to scores.
        feature_size: numbers of an item.
        way: classes per task (N).
        shot: support items per class; 0 for a head that reads attributes alone.
        query: queries per class; Q is `way * query`.
        attribute_size: numbers known of each class; None if none are.
    """
    # The head itself behind what is done to features first.
    name = type(bare(head)).__qualname__
    trains = head.training
    head.eval()
    try:
        # Of a run that goes on afterwards, the random numbers stay those that they were.
        with draws_kept(), tried(f"head: {name}", _TASKS):
            device = device_of(head, torch.device("cpu"))
            _check(head, name, random_tasks(feature_size, way, shot, query, attribute_size).to(device))
    finally:
        head.train(trains)


def _check(head: nn.Module, name: str, tasks: Episodes) -> None:
    scores = _scores(head, tasks)
    expected = [len(tasks), tasks.query.shape[1], tasks.way]
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        found = f"{scores.dtype} numbers" if isinstance(scores, Tensor) else f"a {type(scores).__name__}"
        raise FewshotError(
            f"head: {name} returns {found}; expected a tensor of real numbers [B, Q, N], the scores of the queries"
        )
    if list(scores.shape) != expected:
        raise FewshotError(
            f"head: {name} returns scores of shape {list(scores.shape)} for {len(tasks)} tasks of {expected[1]} queries and {tasks.way} "
            f"classes; expected {expected}"
        )
    if not _alike(scores, _scores(head, tasks)):
        return
    alone = torch.cat([_scores(head, task) for task in tasks.split(1)])
    if not _alike(scores, alone):
        raise FewshotError(
            f"head: {name} scores a task otherwise when another lies beside it; its sums and softmaxes must leave the first "
            f"dimension alone"
        )
    if not getattr(head, "transductive", False):
        first = _scores(head, tasks.with_first_queries(1))
        if not _alike(scores[:, :1], first):
            raise FewshotError(
                f"head: {name} scores a query otherwise when others lie beside it; say transductive = True, or look at each query alone"
            )


def _scores(head: nn.Module, tasks: Episodes) -> object:
    with torch.no_grad():
        return head(tasks)


def _alike(scores: Tensor, others: Tensor) -> bool:
    finite = scores[scores.isfinite()]
    room = DEPENDENT * float(finite.abs().max()) if finite.numel() else 0.0
    return scores.shape == others.shape and torch.allclose(scores, others, rtol=0.0, atol=room, equal_nan=True)


def random_tasks(feature_size: int, way: int, shot: int, query: int, attribute_size: int | None = None) -> Episodes:
    """Two tasks of random features, of which none is negative, the same for the same sizes."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        # Features of most backbones are not negative.
        return torch.randn(*shape, generator=generator).abs()

    labels = torch.arange(way).expand(2, way)
    return Episodes(
        support=drawn(2, way * shot, feature_size),
        support_labels=labels.repeat_interleave(shot, 1),
        query=drawn(2, way * query, feature_size),
        query_labels=labels.repeat_interleave(query, 1),
        classes=labels.clone(),
        attributes=None if attribute_size is None else drawn(2, way, attribute_size),
    )
