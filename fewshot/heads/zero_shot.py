"""Prototypes made of the attributes of classes (Snell et al., 2017), and of attributes and shots together."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from fewshot.distances.euclidean import squared_euclidean
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.prototypes import membership
from fewshot.errors import FewshotError
from fewshot.heads.attribute_scaling import check_scaling, check_sizes, scaled_attributes
from fewshot.heads.learned_number import keep_number


class ZeroShotHead(nn.Module):
    """Logits are minus the squared distance of a query to a prototype made of what is known of the class.

    Without support the prototype is `p_c = s u(G a_c)`, u being scaling to unit length, and queries are `F x`, not scaled; G and F
    are linear maps with a bias. With support it is `(1 - w) m_c + w p_c`, m_c the class's mean support item behind F. There
    `w = k0 / (k0 + K)` for K shots, as if attributes were worth `k0` of them, or a number that is the same for all K. The mixture
    with shots is this framework's; w = 0 is a prototypical network, no shots are zero-shot.

    Args:
        feature_size: of the backbone.
        attribute_size: how many numbers are known of each class.
        dimension: of the space where both meet; 0 is that of the features as they are, without F.
        scaling: of attributes: `raw`, `percent`, `unit` or `binary`.
        scale: s, the length of prototypes of attributes, more than 0; 1 is the paper's.
        learn_scale: train it, from that start.
        prior_shots: k0, at least 0.
        weight: w in 0..1 in place of `k0 / (k0 + K)`; null for that.
        learn_weight: train k0 or w, from that start.

    Raises:
        FewshotError: nothing is known of classes, or a number out of range.

    Source: Snell et al., Prototypical Networks for Few-shot Learning, 2017, sections 2.7 and 3.3.
    """

    transductive = False
    reads_attributes = True
    needs_support = False

    def __init__(
        self,
        feature_size: int | None = None,
        attribute_size: int | None = None,
        dimension: int = 1024,
        scaling: str = "unit",
        scale: float = 1.0,
        learn_scale: bool = False,
        prior_shots: float = 1.0,
        weight: float | None = None,
        learn_weight: bool = False,
    ):
        super().__init__()
        feature_size, self.attribute_size = check_sizes(feature_size, attribute_size, "zero_shot")
        check_scaling(scaling)
        if dimension < 0:
            raise FewshotError(f"head.dimension={dimension}; expected at least 0, which is that of the features")
        if not scale > 0:
            raise FewshotError(f"head.scale={scale}; expected more than 0")
        name, value, most = ("prior_shots", prior_shots, torch.inf) if weight is None else ("weight", weight, 1.0)
        if not 0 <= value <= most or (learn_weight and not 0 < value < most):
            ends = "more than 0" if learn_weight else "at least 0"
            below = "" if weight is None else (" and below 1" if learn_weight else " and at most 1")
            raise FewshotError(f"head.{name}={value}; expected {ends}{below}")
        self.scaling, self.fixed = scaling, weight is not None
        self.features = nn.Linear(feature_size, dimension) if dimension else nn.Identity()
        self.attributes = nn.Linear(attribute_size, dimension or feature_size)
        # Logarithms keep what is learned in its range; those of a weight are of its odds.
        value = torch.tensor(float(value))
        keep_number(self, "log_scale", torch.tensor(float(scale)).log(), learn_scale)
        keep_number(self, "log_weight", value.logit() if self.fixed else value.log(), learn_weight)

    def of_attributes(self, attributes: Float[Tensor, "b n a"]) -> Float[Tensor, "b n m"]:
        """Prototypes of what is known of classes."""
        weight = self.attributes.weight
        scaled = scaled_attributes(attributes.to(weight.dtype), self.scaling)
        return self.log_scale.exp() * normalize(self.attributes(scaled), dim=-1)

    def weight(self, shots: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
        """w of each class: the share of its attributes in its prototype, 1 without shots."""
        if self.fixed:
            share = self.log_weight.sigmoid().expand_as(shots)
        else:
            prior = self.log_weight.exp()
            share = prior / (prior + shots.clamp_min(1))
        return torch.where(shots > 0, share, 1.0)

    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to logits `[B, Q, N]`."""
        centres = self.of_attributes(episodes.attributes)
        if episodes.support.shape[1]:
            support = self.features(episodes.support)
            member = membership(episodes.support_labels, episodes.way, support.dtype)
            shots = member.sum(1)
            means = member.transpose(1, 2) @ support / shots.clamp_min(1).unsqueeze(-1)
            share = self.weight(shots).unsqueeze(-1)
            centres = (1 - share) * means + share * centres
        return -squared_euclidean(self.features(episodes.query), centres)

    def extra_repr(self) -> str:
        kind = "weight" if self.fixed else "prior_shots"
        value = self.log_weight.sigmoid() if self.fixed else self.log_weight.exp()
        return f"scaling={self.scaling}, scale={self.log_scale.exp().item():g}, {kind}={value.item():g}"
