"""Prototypes rectified by the queries, as BD-CSPN and LaplacianShot do."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import one_hot

from fewshot.distances.cosine import cosine_similarity
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.prototypes import prototypes

NORMS = ("weights", "count")


def shifted(episodes: Episodes) -> Episodes:
    """The queries moved so that their mean is that of the support."""
    shift = episodes.support.mean(1, keepdim=True) - episodes.query.mean(1, keepdim=True)
    return episodes.with_items(episodes.support, episodes.query + shift)


def rectified_prototypes(episodes: Episodes, sharpness: float = 10.0, norm: str = "weights") -> Float[Tensor, "b n d"]:
    """Means of the items that look most like each class's prototype, weighted by how much.

    Each support item and query goes to the class of the most similar prototype, by the cosine; `w_ic` is the softmax of
    `sharpness` times the cosines; `p_c` is the sum of `w_ic x_i` over the items of c, divided by the sum of the weights or,
    as public code has it, by their number, which shortens prototypes. A class to which no item goes keeps its prototype.

    Source: Liu et al., Prototype Rectification for Few-Shot Learning, 2020, equations 4 to 6.
    """
    centres = prototypes(episodes.support, episodes.support_labels, episodes.way)
    items = torch.cat([episodes.support, episodes.query], dim=1)
    alike = cosine_similarity(items, centres)
    member = one_hot(alike.argmax(-1), episodes.way).to(items.dtype)
    weights = (sharpness * alike).softmax(-1) * member
    total = (weights if norm == "weights" else member).sum(1)
    means = weights.transpose(1, 2) @ items / total.clamp_min(torch.finfo(items.dtype).tiny)[..., None]
    return torch.where((total > 0)[..., None], means, centres)
