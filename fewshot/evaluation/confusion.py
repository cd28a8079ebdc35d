"""Which classes are found, and which are taken for which."""

import torch
from torch import Tensor

from fewshot.evaluation.predictions import Predictions

# At a time, for the memory that counting takes.
_EPISODES = 500


def confusion(found: Predictions, classes: int) -> tuple[Tensor, Tensor]:
    """Counts over all episodes, by the numbers of classes in their bank.

    Args:
        found: what was said.
        classes: of the bank.

    Returns:
        int64 `[classes, classes]`, how often queries of a class (row) were given to a class (column); and how often they
        might have been, because both were in the episode.
    """
    counted = torch.zeros(classes, classes, dtype=torch.int64)
    met = counted.clone()
    parts = zip(*(part.split(_EPISODES) for part in (found.probabilities, found.labels, found.classes)), strict=True)
    for probabilities, labels, numbers in parts:
        true = numbers.gather(1, labels)
        counted += _counts(true, numbers.gather(1, probabilities.argmax(-1)), classes)
        beside = numbers[:, None].expand(-1, labels.shape[1], -1)
        met += _counts(true[..., None].expand_as(beside), beside, classes)
    return counted, met


def _counts(true: Tensor, other: Tensor, classes: int) -> Tensor:
    return torch.bincount((true * classes + other).flatten(), minlength=classes**2).reshape(classes, classes)
