"""The prototype head of Prototypical Networks (Snell et al., 2017)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.distances.cosine import cosine_similarity
from fewshot.distances.euclidean import squared_euclidean
from fewshot.distances.mahalanobis import Mahalanobis
from fewshot.distances.snr import snr_distance
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.prototypes import prototypes
from fewshot.errors import FewshotError
from fewshot.heads.learned_number import keep_number

DISTANCES = ("euclidean", "cosine", "snr", "mahalanobis")


class PrototypeHead(nn.Module):
    """Scores a query by its nearness to the prototype of each class.

    Logits are `-||x - p||^2 / temperature` (`euclidean`) or `cos(x, p) / temperature` (`cosine`).
    The paper has temperature 1 for both; cosine needs about 0.1 to train well, squared distances of d features behind BatchNorm,
    which begin near d, about d / 16. `snr` has minus the
    signal-to-noise distance with the prototype as the signal, `mahalanobis` minus a squared distance that is trained.

    Args:
        distance: `euclidean` (squared), `cosine`, `snr` or `mahalanobis`.
        temperature: divides the logits, more than 0.
        learn_temperature: train the temperature with the backbone, from that start.
        rank: of what `mahalanobis` adds to a weight for each feature; 0 for those alone.
        feature_size: of the backbone; `mahalanobis` needs it.

    Raises:
        FewshotError: unknown distance, a temperature that is not positive, or a negative rank.

    Source: Snell et al., Prototypical Networks for Few-shot Learning, 2017, equations 1 and 2.
    """

    transductive = False

    def __init__(
        self,
        distance: str = "euclidean",
        temperature: float = 1.0,
        learn_temperature: bool = False,
        rank: int = 0,
        feature_size: int | None = None,
    ):
        super().__init__()
        if distance not in DISTANCES:
            raise FewshotError(f"head.distance={distance!r}; expected one of {', '.join(DISTANCES)}")
        if distance == "mahalanobis":
            if feature_size is None:
                raise FewshotError("head.distance=mahalanobis needs a backbone of known size")
            self.metric = Mahalanobis(feature_size, rank)
        if not temperature > 0:
            raise FewshotError(f"head.temperature={temperature}; expected more than 0")
        self.distance = distance
        # The logarithm keeps a learned temperature positive.
        log_temperature = torch.tensor(float(temperature)).log()
        keep_number(self, "log_temperature", log_temperature, learn_temperature)

    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to logits `[B, Q, N]`."""
        centres = prototypes(episodes.support, episodes.support_labels, episodes.way)
        if self.distance == "cosine":
            scores = cosine_similarity(episodes.query, centres)
        elif self.distance == "snr":
            scores = -snr_distance(episodes.query, centres)
        elif self.distance == "mahalanobis":
            scores = -self.metric(episodes.query, centres)
        else:
            scores = -squared_euclidean(episodes.query, centres)
        return scores / self.log_temperature.exp()

    def extra_repr(self) -> str:
        return f"distance={self.distance}, temperature={self.log_temperature.exp().item():g}"
