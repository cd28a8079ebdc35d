"""Tasks made of support sets alone, to learn from before any query is seen."""

from collections.abc import Sequence

import torch

from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError

SPLITS = ("items", "halves", "leave_one_out")


def split_support(episodes: Episodes, how: str) -> Episodes:
    """The support set of each task as one or several tasks of its own.

    - `items`: all items are queries and there is no support, for heads that need none.
    - `halves`: of each class the first half of the items (rounded up) is the support, the rest the queries.
    - `leave_one_out`: each item in turn is the query of a task whose support are all others, so that a prototype does not
      hold the item that is compared with it; `[B S]` tasks, those of a task one after the other.

    Args:
        episodes: support labels must be the same number of times each.
        how: one of the three.

    Raises:
        FewshotError: one shot, of which nothing can be set aside, or an unknown way.
    """
    if how not in SPLITS:
        raise FewshotError(f"split={how}; expected one of {', '.join(SPLITS)}")
    items, labels = episodes.support, episodes.support_labels
    size, way = items.shape[1], episodes.way
    if how == "items":
        return Episodes(items[:, :0], labels[:, :0], items, labels, episodes.classes, episodes.attributes)
    shot = size // way
    check_split(how, (shot,) * (way - 1) + (size - shot * (way - 1),))
    if how == "halves":
        # Stable, so that of each class the first items come first.
        order = labels.argsort(dim=1, stable=True).unflatten(1, (way, shot))
        few = (shot + 1) // 2
        first, rest = order[:, :, :few].flatten(1), order[:, :, few:].flatten(1)
        return Episodes(
            _taken(items, first),
            labels.gather(1, first),
            _taken(items, rest),
            labels.gather(1, rest),
            episodes.classes,
            episodes.attributes,
        )
    index = torch.arange(size, device=labels.device)
    # Row i has all indices but i.
    others = index[: size - 1] + (index[: size - 1] >= index[:, None])
    return Episodes(
        items[:, others].flatten(0, 1),
        labels[:, others].flatten(0, 1),
        items.flatten(0, 1)[:, None],
        labels.flatten(0, 1)[:, None],
        episodes.classes.repeat_interleave(size, dim=0),
        None if episodes.attributes is None else episodes.attributes.repeat_interleave(size, dim=0),
    )


def check_split(how: str, shots: Sequence[int]) -> None:
    """Raise a FewshotError if support sets of so many items of each class cannot be split so.

    Args:
        how: as in `split_support`.
        shots: items of each class.
    """
    if how == "items":
        return
    if len(set(shots)) > 1:
        raise FewshotError(f"split={how} needs as many support items of each class; leave out uneven shots")
    if shots[0] < 2:
        raise FewshotError(f"split={how} needs at least 2 shots of each class, these tasks have {shots[0]}")


def _taken(items: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    shape = index.shape + (1,) * (items.dim() - 2)
    return items.gather(1, index.reshape(shape).expand(*index.shape, *items.shape[2:]))
