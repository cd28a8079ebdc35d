"""PT-MAP: centres and a transport of the queries to them, in turn (Hu et al., 2021)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

from fewshot.distances.euclidean import squared_euclidean
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.prototypes import prototypes
from fewshot.errors import FewshotError
from fewshot.heads.span import span_coordinates
from fewshot.heads.transductive.transport import transport


class PTMAPHead(nn.Module):
    """Scores are the transport of the queries to class centres, which follow it by steps.

    Features are scaled to unit length, centred for support and queries apart, and scaled again. Then, `steps` times, the
    queries are transported to the centres and the centres move by `rate` towards the means of the support and of what was
    transported to them. Full balance assumes as many queries of each class: a prior that other heads do not
    have, and a harmful one where it is wrong. The scores are log-probabilities.

    Args:
        sharpness: lambda of the transport, more than 0.
        rate: alpha of the steps, 0 to 1.
        steps: of the centres.
        balance: 1 for equally many queries of each class (the paper), 0 for no such prior; see `transport`.

    Raises:
        FewshotError: a number out of range.

    Source: Hu, Gripon, Pateux, Leveraging the Feature Distribution in Transfer-based Few-Shot Learning, 2021, algorithm 1,
    and the authors' code. The paper's power transform of the features is `head.features=power`.
    """

    transductive = True
    trains_backbone = False
    tuned = {"balance": (0.0, 0.25, 0.5, 0.75, 1.0)}  # noqa: RUF012

    def __init__(self, sharpness: float = 10.0, rate: float = 0.2, steps: int = 20, balance: float = 1.0):
        super().__init__()
        if not sharpness > 0:
            raise FewshotError(f"head.sharpness={sharpness}; expected more than 0")
        for name, value in (("rate", rate), ("balance", balance)):
            if not 0 <= value <= 1:
                raise FewshotError(f"head.{name}={value}; expected 0 to 1")
        if steps < 0:
            raise FewshotError(f"head.steps={steps}; expected at least 0")
        self.sharpness, self.rate, self.steps, self.balance = sharpness, rate, steps, balance

    @torch.no_grad()
    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to log-probabilities `[B, Q, N]`."""
        support, query = span_coordinates(episodes.support, episodes.query)
        support, query = (_centred(normalize(part, dim=-1)) for part in (support, query))
        member = one_hot(episodes.support_labels, episodes.way).to(support.dtype).transpose(1, 2)
        centres = prototypes(support, episodes.support_labels, episodes.way)
        of_support, counts = member @ support, member.sum(2)
        w = None
        for step in range(self.steps + 1):
            # Centres move by little, so the last w is a good start.
            moved, w = transport(squared_euclidean(query, centres), self.sharpness, self.balance, start=w)
            if step < self.steps:
                moved = moved.transpose(1, 2)
                means = (of_support + moved @ query) / (counts + moved.sum(2))[..., None]
                centres = centres + self.rate * (means - centres)
        return moved.clamp_min(torch.finfo(query.dtype).tiny).log()


def _centred(items: Tensor) -> Tensor:
    centred = items - items.mean(1, keepdim=True)
    return normalize(centred, dim=-1)
