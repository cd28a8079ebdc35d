"""Risk and coverage: what is gained by leaving out the answers of which a learner is least sure."""

from typing import NamedTuple

import numpy as np

from fewshot.errors import FewshotError


class RiskCoverage(NamedTuple):
    """The curve and its areas.

    Args:
        coverage: from 1 down to 0, one value where a threshold lies between two confidences.
        generalised_risk: share of all answers that are accepted and wrong.
        augrc: area under it; 0 is best, half the error rate is what chance gives.
        excess_augrc: what it is above the best order of these errors, the worst left out first.
        aurc: area under the risk among accepted answers, for comparison with older work.
    """

    coverage: np.ndarray
    generalised_risk: np.ndarray
    augrc: float
    excess_augrc: float
    aurc: float


def risk_coverage(confidence: np.ndarray, errors: np.ndarray) -> RiskCoverage:
    """Leave out answers from the least sure on; those of equal confidence together.

    Args:
        confidence: `[n]`, higher is surer; only its order matters.
        errors: `[n]`, 1 for a wrong answer, 0 for a right one, or a loss in 0..1.

    Raises:
        FewshotError: no answers, other numbers of both, or values that are not numbers or not in range.

    Source: Traub et al., Overcoming Common Flaws in the Evaluation of Selective Classification Systems, 2024 (AUGRC);
    Geifman and El-Yaniv 2017 (AURC).
    """
    confidence, errors = np.asarray(confidence, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if confidence.shape != errors.shape or confidence.ndim != 1 or not len(errors):
        raise FewshotError(f"{confidence.shape} confidences and {errors.shape} errors; expected one of each per answer")
    if np.isnan(confidence).any() or not ((errors >= 0) & (errors <= 1)).all():
        raise FewshotError("confidences must be numbers and errors lie in 0 to 1; look at the scores")
    n = len(errors)
    order = np.argsort(confidence, kind="stable")
    confidence, errors = confidence[order], errors[order]
    # A threshold cannot lie within a tie.
    last_of_tie = np.append(confidence[1:] != confidence[:-1], True)
    removed = np.flatnonzero(last_of_tie) + 1
    wrong_left = errors.sum() - np.cumsum(errors)[removed - 1]
    coverage = np.concatenate([[1.0], (n - removed) / n])
    risk = np.concatenate([[errors.mean()], np.maximum(wrong_left, 0) / n])
    risk[-1] = 0.0
    augrc = float(-np.trapezoid(risk, coverage))
    worst_first = np.append(errors.sum(), errors.sum() - np.cumsum(np.sort(errors)[::-1])) / n
    best = float(np.trapezoid(worst_first, dx=1 / n))
    selective = risk[:-1] / coverage[:-1]
    # The curve is flat below its last threshold.
    aurc = float(-np.trapezoid(np.append(selective, selective[-1]), coverage))
    return RiskCoverage(coverage, risk, augrc, augrc - best, aurc)
