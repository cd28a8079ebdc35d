"""A head that compares images with texts of class names: a reconstruction of FILM (Jiang et al., 2023)."""

import math
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from fewshot.distances.generalised_cosine import GeneralisedCosine
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.prototypes import prototypes
from fewshot.errors import FewshotError
from fewshot.heads.learned_number import keep_number

_SMALLEST = 0.01


class FilmLikeHead(nn.Module):
    """Scores a query by its nearness to what is known of each class, such as the text of its name.

    Logits are `M(V x, T a_c) / temperature`: V and T are linear and lead images and texts into one space, M is a
    similarity that starts as the cosine. Cross-entropy of them is the contrastive loss of an image against the names of its
    task. Wrapped in `MAML` with `adapts=head.metric` the support adapts M, which is the paper's inner loop; without
    it the support plays no part. The paper's text was not at hand: the form of M, sizes and temperatures are ours.

    With `fusion` the support's prototypes have a say in the scores: `(1 - w) M(V x, T a_c) + w cos(V x, p_c)`.

    Args:
        feature_size: of images.
        attribute_size: of what is known of a class; None if nothing is.
        size: of the common space.
        metric: `diagonal`, `bilinear` or `mlp`, see `GeneralisedCosine`.
        rank: of `bilinear`.
        hidden: units of `mlp`.
        temperature: divides the scores; a learned one stays at 0.01 or above.
        learn_temperature: train it.
        fusion: w, 0 to 1, to be chosen on validation classes; 1 is prototypes alone, the same
            head without text, metric or anything known of classes.

    Raises:
        FewshotError: nothing is known of classes, or a value is out of range.

    Source: a reconstruction after the abstract and the public reviews of Jiang, Dang, Pang, Zhang and Huang, arXiv 2307.04114,
    2023.
    """

    transductive = False
    tuned: ClassVar = {"fusion": (0.0, 0.25, 0.5, 0.75, 0.9)}

    def __init__(
        self,
        feature_size: int,
        attribute_size: int | None = None,
        size: int = 512,
        metric: str = "bilinear",
        rank: int = 16,
        hidden: int = 256,
        temperature: float = 0.07,
        learn_temperature: bool = True,
        fusion: float = 0.0,
    ):
        super().__init__()
        if not 0 <= fusion <= 1:
            raise FewshotError(f"head.fusion={fusion}; expected 0 to 1")
        if attribute_size is None and fusion < 1:
            raise FewshotError(
                "head=film_like compares images with what is known of classes, and nothing is; use semantics=text_minilm, "
                "text_ngrams or attributes"
            )
        if size < 1:
            raise FewshotError(f"head.size={size}; expected at least 1")
        if not temperature >= _SMALLEST:
            raise FewshotError(f"head.temperature={temperature}; expected at least {_SMALLEST}")
        self.image = nn.Linear(feature_size, size)
        if fusion < 1:
            self.text = nn.Linear(attribute_size, size)
            self.metric = GeneralisedCosine(size, metric, rank, hidden)
        log_temperature = torch.tensor(math.log(temperature))
        keep_number(self, "log_temperature", log_temperature, learn_temperature)
        self.fusion = fusion

    @property
    def needs_support(self) -> bool:
        """Texts alone decide without a support, where there are any."""
        return self.fusion >= 1

    @property
    def reads_attributes(self) -> bool:
        """Whether what is known of classes has a say."""
        return self.fusion < 1

    @property
    def reads_support(self) -> bool:
        """Whether the support has a say in the scores themselves."""
        return self.fusion > 0

    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to logits `[B, Q, N]`."""
        query = normalize(self.image(episodes.query), dim=-1)
        # Without a support the texts alone decide, as they do in the steps that adapt the metric.
        share = self.fusion if episodes.support.shape[1] else 0.0
        scores = 0.0
        if share < 1:
            if episodes.attributes is None:
                raise FewshotError("head=film_like: nothing is known of the classes of these episodes; give semantics")
            scores = (1 - share) * self.metric(query, self.text(episodes.attributes))
        if share > 0:
            support = normalize(self.image(episodes.support), dim=-1)
            centres = normalize(prototypes(support, episodes.support_labels, episodes.way), dim=-1)
            scores = scores + share * (query @ centres.transpose(1, 2))
        temperature = self.log_temperature.exp()
        # The gradient of what was below the least is kept, or it would stay there.
        return scores / (temperature + (temperature.clamp_min(_SMALLEST) - temperature).detach())
