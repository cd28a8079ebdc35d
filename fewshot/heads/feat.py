"""FEAT: prototypes adapted to each other by a set-to-set transformer (Ye et al., 2020)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from fewshot.distances.euclidean import squared_euclidean
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.prototypes import prototypes
from fewshot.errors import FewshotError


class SetToSet(nn.Module):
    """One layer of self-attention over a set, with a skip connection and LayerNorm.

    `P' = LayerNorm(P + Dropout(Wo(softmax(P Wq (P Wk)^T / sqrt(d)) P Wv)))`, one attention head. It treats the
    elements alike: permuting them permutes the result. The weights of attention may have a dropout of their own.
    """

    def __init__(self, feature_size: int, dropout: float = 0.5, attention_dropout: float = 0.0):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(feature_size, feature_size, bias=False) for _ in range(3))
        for layer in (self.query, self.key, self.value):
            nn.init.normal_(layer.weight, std=math.sqrt(1 / feature_size))
        self.out = nn.Linear(feature_size, feature_size)
        nn.init.xavier_normal_(self.out.weight)
        self.norm, self.dropout = nn.LayerNorm(feature_size), nn.Dropout(dropout)
        self.attention_dropout = nn.Dropout(attention_dropout)

    def forward(self, items: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b n d"]:
        """Sets of n features to sets of n features."""
        scores = self.query(items) @ self.key(items).transpose(-1, -2) / math.sqrt(items.shape[-1])
        attention = self.attention_dropout(scores.softmax(-1))
        return self.norm(items + self.dropout(self.out(attention @ self.value(items))))


class FEATHead(nn.Module):
    """Scores a query by its distance to prototypes that have seen each other.

    In training a regulariser adapts, for each class, the set of all its support and query features by the same
    map, and asks that each feature be nearest to the mean of its class.

    Args:
        feature_size: of the backbone.
        temperature: divides the squared distances, more than 0.
        balance: weight of the regulariser; 0 for none.
        regulariser_temperature: divides its squared distances, more than 0.
        dropout: on what attention adds.
        attention_dropout: on the weights of attention; the paper has none, its authors' code 0.1.

    Raises:
        FewshotError: a temperature that is not positive, or a negative balance.

    Source: Ye et al., Few-Shot Learning via Embedding Adaptation with Set-to-Set Functions, 2020, equations 4, 5 and 7.
    """

    transductive = False

    def __init__(
        self,
        feature_size: int,
        temperature: float = 64.0,
        balance: float = 0.1,
        regulariser_temperature: float = 32.0,
        dropout: float = 0.5,
        attention_dropout: float = 0.0,
    ):
        super().__init__()
        for name, value in (("temperature", temperature), ("regulariser_temperature", regulariser_temperature)):
            if not value > 0:
                raise FewshotError(f"head.{name}={value}; expected more than 0")
        if balance < 0:
            raise FewshotError(f"head.balance={balance}; expected at least 0")
        self.adapt = SetToSet(feature_size, dropout, attention_dropout)
        self.temperature, self.balance, self.regulariser_temperature = temperature, balance, regulariser_temperature

    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to logits `[B, Q, N]`."""
        centres = self.adapt(prototypes(episodes.support, episodes.support_labels, episodes.way))
        return -squared_euclidean(episodes.query, centres) / self.temperature

    def training_terms(self, episodes: Episodes) -> dict[str, Float[Tensor, ""]]:
        """The regulariser, weighted; needs episodes with equally many items of each class."""
        if self.balance == 0:
            return {}
        items = torch.cat([episodes.support, episodes.query], dim=1)
        labels = torch.cat([episodes.support_labels, episodes.query_labels], dim=1)
        d = items.shape[-1]
        counts = one_hot(labels, episodes.way).sum(1)
        if bool((counts != counts[:, :1]).any()):
            raise FewshotError("head=feat with a regulariser needs as many items of each class; set head.balance=0")
        # Sorted by class, so that each class is a set of its own.
        order = labels.argsort(dim=1, stable=True)
        sets = items.gather(1, order[..., None].expand(-1, -1, d)).unflatten(1, (episodes.way, -1))
        centres = self.adapt(sets).mean(dim=2)
        logits = -squared_euclidean(items, centres) / self.regulariser_temperature
        return {"feat_regulariser": self.balance * cross_entropy(logits.flatten(0, 1), labels.flatten())}
