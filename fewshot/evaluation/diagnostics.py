"""What a meta-test tells beyond its accuracy."""

import math

from fewshot.data.bank import Bank
from fewshot.episodes.disjoint import disjoint_indices
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.errors import FewshotError
from fewshot.evaluation.calibration import calibration
from fewshot.evaluation.class_bootstrap import class_bootstrap
from fewshot.evaluation.confusion import confusion
from fewshot.evaluation.geometry import geometry
from fewshot.evaluation.intervals import mean_interval
from fewshot.evaluation.predictions import Predictions
from fewshot.evaluation.risk_coverage import risk_coverage
from fewshot.evaluation.scoring import Evaluation, score
from fewshot.learners.learner import Learner

_MOST_IN_A_MATRIX = 100
_MOST_PAIRS = 30
_CURVE_POINTS = 101


def diagnose(
    learner: Learner,
    bank: Bank,
    embedded: Bank | None,
    evaluation: Evaluation,
    found: Predictions,
    shape: dict | None = None,
) -> dict:
    """Diagnostics as plain JSON.

    Args:
        learner: that was tested, in eval mode.
        bank: that it was tested on.
        embedded: `embed_bank(learner, bank)`; None for a learner whose features depend on the task.
        evaluation: what the test found.
        found: what it said of each query.
        shape: `geometry` of the features, for those who test several heads on the same ones.

    Returns:
        `classes` (a line for each: name, queries, right, accuracy), `intervals` (of the accuracy in percent: over episodes,
        over classes, over tasks without a common image), `confusion` (the most frequent pairs; the whole matrix for up to
        100 classes), `calibration`, `risk_coverage`, `prior` (how even the answers of an episode are), `geometry` (None
        where there are no features), in 0..1 where nothing else is said.
    """
    counted, met = confusion(found, bank.num_classes)
    queries, right = counted.sum(1), counted.diagonal()
    probabilities, labels = found.probabilities.flatten(0, 1), found.labels.flatten()
    calibrated = calibration(probabilities, labels)
    wrong = probabilities.argmax(1) != labels
    selective = risk_coverage(found.log_odds.flatten().numpy(), wrong.double().numpy())
    curve = slice(None, None, max(1, len(selective.coverage) // _CURVE_POINTS))
    return {
        "classes": [
            {"name": name, "queries": int(n), "right": int(r), "accuracy": int(r) / int(n) if n else None}
            for name, n, r in zip(bank.class_names, queries, right, strict=True)
        ],
        "intervals": _intervals(learner, embedded if embedded is not None else bank, evaluation, queries, right),
        "confusion": {
            "pairs": _pairs(counted, met, bank.class_names),
            "matrix": counted.tolist() if bank.num_classes <= _MOST_IN_A_MATRIX else None,
        },
        "calibration": calibrated._asdict(),
        "risk_coverage": {
            "augrc": selective.augrc,
            "excess_augrc": selective.excess_augrc,
            "aurc": selective.aurc,
            "coverage": selective.coverage[curve].tolist(),
            "generalised_risk": selective.generalised_risk[curve].tolist(),
        },
        "prior": _prior(found),
        "geometry": geometry(embedded.items, embedded.labels) if shape is None and embedded is not None else shape,
    }


def _intervals(learner: Learner, source: Bank, evaluation: Evaluation, queries, right) -> dict:
    over_classes = class_bootstrap(right.numpy(), queries.numpy())
    intervals = {
        "episodes": {
            "accuracy": evaluation.accuracy,
            "low": evaluation.accuracy - evaluation.ci95,
            "high": evaluation.accuracy + evaluation.ci95,
        },
        "classes": {
            "accuracy": 100 * over_classes.mean,
            "low": 100 * over_classes.low,
            "high": 100 * over_classes.high,
        },
    }
    try:
        drawn = disjoint_indices(source, evaluation.protocol)
    except FewshotError as error:
        return intervals | {"disjoint": {"reason": str(error)}}
    sampler = EpisodeSampler(source, evaluation.protocol, channels_last=True)
    mean, half_width = mean_interval(score(learner, sampler, drawn)[0])
    ends = {"accuracy": 100 * mean, "low": 100 * (mean - half_width), "high": 100 * (mean + half_width)}
    return intervals | {"disjoint": ends | {"tasks": len(drawn.classes)}}


def _pairs(counted, met, names) -> list[dict]:
    wrong = counted.clone()
    wrong.fill_diagonal_(0)
    order = wrong.flatten().argsort(descending=True)[:_MOST_PAIRS].tolist()
    pairs = [divmod(place, len(names)) for place in order]
    return [
        {
            "class": names[i],
            "taken_for": names[j],
            "times": int(wrong[i, j]),
            "share": int(wrong[i, j]) / int(met[i, j]),
        }
        for i, j in pairs
        if wrong[i, j]
    ]


def _prior(found: Predictions) -> dict:
    """Entropy of the mean answer of an episode over that of equal shares: 1 is even."""
    shares = found.probabilities.mean(1)
    entropy = -(shares.clamp_min(1e-12).log() * shares).sum(1) / math.log(shares.shape[1])
    return {"mean_relative_entropy": float(entropy.mean()), "lowest": float(entropy.min())}
