"""Calibration: whether answers given with 80% are right 80% of the time."""

from typing import NamedTuple

import torch
from torch import Tensor

from fewshot.errors import FewshotError

BINS = 15


class Calibration(NamedTuple):
    """Of all queries of all episodes together.

    Args:
        ece: expected calibration error, 15 equal bins of the largest probability, 0..1.
        mce: that of the worst bin.
        ece_if_calibrated: what `ece` comes to when labels are drawn from the probabilities themselves: with so many queries
            no learner does better.
        nll: mean negative log-probability of the true class, natural logarithm; one below the least normal number of 64 bits counts as that, 708.
        brier: mean sum of squared errors over classes, 0..2.
        bins: for each bin that is not empty `[lower edge, share of queries, mean confidence, share of right]`.
    """

    ece: float
    mce: float
    ece_if_calibrated: float
    nll: float
    brier: float
    bins: list[list[float]]


def calibration(probabilities: Tensor, labels: Tensor, seed: int = 0) -> Calibration:
    """Calibration of answers.

    Args:
        probabilities: `[n, N]`.
        labels: int64 `[n]`.
        seed: of the labels that are drawn for `ece_if_calibrated`.

    Raises:
        FewshotError: a probability is not a number.

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017, section 2; Brier 1950.
    """
    from torchmetrics.functional.classification import multiclass_calibration_error

    if not bool(probabilities.isfinite().all()):
        raise FewshotError("probabilities that are not numbers; look at the scores of the head")
    way = probabilities.shape[1]
    # torchmetrics has a bin beyond the last for a probability of exactly 1.
    sure = 1 - torch.finfo(torch.float32).eps
    below_one = probabilities.float().clamp_max(sure)

    def error(truth: Tensor, norm: str) -> float:
        return float(multiclass_calibration_error(below_one, truth, way, n_bins=BINS, norm=norm))

    drawn = torch.multinomial(probabilities.double(), 1, generator=torch.Generator().manual_seed(seed)).squeeze(1)
    true = probabilities.gather(1, labels[:, None]).squeeze(1).double()
    right = torch.nn.functional.one_hot(labels, way)
    confidence, said = probabilities.max(1)
    number = (confidence.double() * BINS).long().clamp_max(BINS - 1)
    bins = []
    for place in number.unique().tolist():
        inside = number == place
        shares = (inside.double().mean(), confidence[inside].double().mean(), (said == labels)[inside].double().mean())
        bins.append([place / BINS, *(float(share) for share in shares)])
    return Calibration(
        ece=error(labels, "l1"),
        mce=error(labels, "max"),
        ece_if_calibrated=error(drawn, "l1"),
        nll=float(-true.clamp_min(torch.finfo(torch.float64).tiny).log().mean()),
        brier=float(((probabilities - right) ** 2).sum(1).double().mean()),
        bins=bins,
    )
