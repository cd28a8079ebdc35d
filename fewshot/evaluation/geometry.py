"""The geometry of features of test classes: how classes lie in the space that heads measure distances in."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from fewshot.device import wide
from fewshot.distances.euclidean import squared_euclidean
from fewshot.errors import FewshotError
from fewshot.losses.icnn import icnn_score

_MOST_POINTS = 5000
_NEIGHBOURS = 10


def geometry(features: Tensor, labels: Tensor, seed: int = 0) -> dict[str, float | int]:
    """Numbers that describe labelled features; at most 5000 of them, drawn at random, are looked at.

    Args:
        features: `[n, d]`; rows that are not numbers (items that no episode needed) are left out.
        labels: int64 `[n]`.
        seed: of the draw.

    Returns:
        `points`, and
        `alignment`: mean squared distance of two items of a class on the unit sphere, 0..4, lower is tighter;
        `uniformity`: log of the mean of exp(-2 squared distance) over pairs on the sphere, lower is more spread;
        `uniformity_of_means`: the same of the classes' means;
        `icnn`: how well classes are separated among the 4 nearest neighbours, 0..1;
        `intra_inter_ratio`: mean squared distance to the class's mean over mean squared distance of two means, both without
        the bias of finite classes;
        `hubness`: skewness of how often an item is among the 10 nearest of others; `hubs`, share of neighbourhoods that
        items have which occur twice as often as the mean or more; `anti_hubs`, share of items that occur nowhere;
        `hubness_on_sphere`: the skewness after l2 normalisation;
        `effective_rank`: exponential of the entropy of the covariance's spectrum.

    Raises:
        FewshotError: fewer than two classes of two items.

    Source: Wang and Isola 2020 (alignment, uniformity); Mendez-Ruiz et al. 2023 (ICNN); Radovanovic et al. 2010 (hubness);
    Roy and Vetterli 2007 (effective rank).
    """
    known = features.isfinite().all(1)
    features, labels = wide(features[known]), labels[known]
    if len(labels) > _MOST_POINTS:
        drawn = np.random.Generator(np.random.Philox(key=seed)).choice(len(labels), _MOST_POINTS, replace=False)
        index = torch.from_numpy(np.sort(drawn)).to(labels.device)
        features, labels = features[index], labels[index]
    _, labels, counts = labels.unique(return_inverse=True, return_counts=True)
    if int((counts > 1).sum()) < 2:
        raise FewshotError("the geometry of features needs two classes of two items at least")
    sphere = normalize(features, dim=1)
    means = torch.zeros(len(counts), features.shape[1], dtype=features.dtype, device=features.device)
    means = means.index_add(0, labels, features) / counts[:, None]
    on_sphere = squared_euclidean(sphere, sphere)
    skewness, hubs, anti_hubs = _hubness(squared_euclidean(features, features))
    # As if all items made one task: each is looked at among all others.
    score = icnn_score(features.float()[None], labels[None], neighbours=4, inspected=int(counts.max()))
    return {
        "points": len(labels),
        "alignment": _alignment(on_sphere, labels),
        "uniformity": _uniformity(on_sphere),
        "uniformity_of_means": _uniformity(squared_euclidean(normalize(means, dim=1), normalize(means, dim=1))),
        "icnn": float(score),
        "intra_inter_ratio": _ratio(features, labels, means, counts),
        "hubness": skewness,
        "hubs": hubs,
        "anti_hubs": anti_hubs,
        "hubness_on_sphere": _hubness(on_sphere)[0],
        "effective_rank": _effective_rank(features),
    }


def _alignment(distance: Tensor, labels: Tensor) -> float:
    same = (labels[:, None] == labels).triu(1)
    return float(distance[same].mean())


def _uniformity(distance: Tensor) -> float:
    i, j = torch.triu_indices(len(distance), len(distance), 1, device=distance.device)
    return float((-2 * distance[i, j]).logsumexp(0)) - math.log(len(i))


def _ratio(features: Tensor, labels: Tensor, means: Tensor, counts: Tensor) -> float:
    """The spread within over that between classes; a class of one item has no spread to tell of."""
    squares = ((features - means[labels]) ** 2).sum(1)
    many = counts > 1
    variance = torch.zeros_like(means[:, 0]).index_add(0, labels, squares) / (counts - 1).clamp_min(1)
    intra = variance[many].mean()
    i, j = torch.triu_indices(len(means), len(means), 1, device=means.device)
    # A mean of few items lies off its class by chance, which adds to the distance of two.
    chance = intra * (1 / counts[i] + 1 / counts[j])
    inter = (squared_euclidean(means, means)[i, j] - chance).mean()
    return float(intra / inter) if inter > 0 else math.inf


def _hubness(distance: Tensor) -> tuple[float, float, float]:
    from scipy.stats import skew

    n = len(distance)
    k = min(_NEIGHBOURS, n - 1)
    own = torch.eye(n, dtype=torch.bool, device=distance.device)
    nearest = distance.masked_fill(own, torch.inf).topk(k, largest=False).indices
    often = torch.bincount(nearest.flatten(), minlength=n).cpu().numpy()
    skewness = float(skew(often)) if often.std() > 0 else 0.0
    return skewness, float(often[often >= 2 * k].sum() / often.sum()), float((often == 0).mean())


def _effective_rank(features: Tensor) -> float:
    centred = features - features.mean(0)
    spectrum = torch.linalg.eigvalsh(centred.T @ centred).clamp_min(0)
    shares = spectrum / spectrum.sum()
    return float(torch.special.entr(shares).sum().exp()) if float(spectrum.sum()) > 0 else 0.0
