"""Soft k-means: prototypes refined by soft assignments of the queries (Ren et al., 2018)."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import one_hot

from fewshot.distances.euclidean import squared_euclidean
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.prototypes import prototypes
from fewshot.errors import FewshotError


class SoftKMeansHead(nn.Module):
    """Prototypes are means of the support and of the queries, by how likely these are to be of the class.

    `z_qc = softmax_c(-||x_q - p_c||^2)`, `p_c = (sum_i [y_i = c] s_i + sum_q z_qc x_q) / (K + sum_q z_qc)`; logits are minus
    the squared distances to the last prototypes. No gradient flows through the assignments.

    Args:
        steps: refinements; 1 in all published configurations, 0 is Prototypical Networks.

    Raises:
        FewshotError: negative steps.

    Source: Ren et al., Meta-Learning for Semi-Supervised Few-Shot Classification, 2018, section 3.1.1, with the queries
    as unlabelled items.
    """

    transductive = True
    tuned = {"steps": (1, 2, 3, 5, 10)}  # noqa: RUF012

    def __init__(self, steps: int = 1):
        super().__init__()
        if steps < 0:
            raise FewshotError(f"head.steps={steps}; expected at least 0")
        self.steps = steps

    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to logits `[B, Q, N]`."""
        support, query = episodes.support, episodes.query
        member = one_hot(episodes.support_labels, episodes.way).to(support.dtype).transpose(1, 2)
        centres = prototypes(support, episodes.support_labels, episodes.way)
        for _ in range(self.steps):
            z = (-squared_euclidean(query, centres)).softmax(-1).detach().transpose(1, 2)
            centres = (member @ support + z @ query) / (member.sum(2) + z.sum(2))[..., None]
        return -squared_euclidean(query, centres)
