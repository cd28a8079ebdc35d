"""Ridge regression on the support set (R2-D2, Bertinetto et al., 2019)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import one_hot, pad

from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.heads.learned_number import keep_number


def ridge_scores(
    support: Float[Tensor, "b s d"],
    targets: Float[Tensor, "b s n"],
    query: Float[Tensor, "b q d"],
    regularisation: Float[Tensor, ""] | float,
) -> Float[Tensor, "b q n"]:
    """`X W` with `W = S^T (S S^T + r I)^-1 Y`, the least-squares map of support to targets with penalty `r ||W||^2`.

    Solved in the s dimensions of the support or the d of the features, whichever are fewer.

    Raises:
        FewshotError: no unique solution to this precision.

    Source: Bertinetto et al. 2019, equations 4 and 6.
    """
    s, d = support.shape[1:]
    transposed = support.transpose(1, 2)
    gram = support @ transposed if s <= d else transposed @ support
    try:
        factor = torch.linalg.cholesky(
            gram + regularisation * torch.eye(min(s, d), dtype=gram.dtype, device=gram.device)
        )
    except torch.linalg.LinAlgError:
        if not bool(gram.isfinite().all()):
            raise FewshotError(
                "features that are not numbers; use a lower learning rate or trainer.precision=32"
            ) from None
        raise FewshotError(
            f"head.regularisation={float(regularisation):g} is lost beside the features' squares of up to {float(gram.detach().max()):.3g} and "
            f"leaves no unique solution; use a larger one, or features=l2n"
        ) from None
    if s <= d:
        return query @ transposed @ torch.cholesky_solve(targets, factor)
    return query @ torch.cholesky_solve(transposed @ targets, factor)


class RidgeHead(nn.Module):
    """Scores are a ridge regression of the support's one-hot labels, scaled and shifted by learned numbers.

    Args:
        regularisation: the penalty, more than 0.
        learn_regularisation: train it with the backbone, from that start.
        scale: of the scores at the start; it is trained, as is a shift that starts at 0.
        bias: add a constant feature.
        average: divide support and targets by the root of the number of support items, as the authors' code does.

    Raises:
        FewshotError: a penalty or a scale that is not positive.

    Source: Bertinetto et al., Meta-learning with differentiable closed-form solvers, 2019.
    """

    transductive = False

    def __init__(
        self,
        regularisation: float = 50.0,
        learn_regularisation: bool = False,
        scale: float = 1.0,
        bias: bool = True,
        average: bool = False,
    ):
        super().__init__()
        for name, value in (("regularisation", regularisation), ("scale", scale)):
            if not value > 0:
                raise FewshotError(f"head.{name}={value}; expected more than 0")
        log_regularisation = torch.tensor(math.log(regularisation))
        keep_number(self, "log_regularisation", log_regularisation, learn_regularisation)
        self.scale, self.shift = nn.Parameter(torch.tensor(float(scale))), nn.Parameter(torch.tensor(0.0))
        self.bias, self.average = bias, average

    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to logits `[B, Q, N]`."""
        support, query = episodes.support, episodes.query
        if self.bias:
            support, query = pad(support, (0, 1), value=1.0), pad(query, (0, 1), value=1.0)
        targets = one_hot(episodes.support_labels, episodes.way).to(support.dtype)
        if self.average:
            root = math.sqrt(support.shape[1])
            support, targets = support / root, targets / root
        scores = ridge_scores(support, targets, query, self.log_regularisation.exp())
        return self.scale * scores + self.shift
