"""PT-MAP: centres and a transport of the queries to them, in turn (Hu et al., 2021)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

from fewshot.distances.euclidean import squared_euclidean
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.prototypes import prototypes
from fewshot.errors import FewshotError
from fewshot.heads.span import span_basis


def sinkhorn(
    cost: Float[Tensor, "b q n"],
    sharpness: float,
    balance: float = 1.0,
    iterations: int = 1000,
    tolerance: float = 1e-6,
) -> Float[Tensor, "b q n"]:
    """The transport `diag(u) exp(-sharpness * cost) diag(v)` whose rows sum to 1.

    With `balance` 1 the columns sum to q / n; with 0 they are free and this is a softmax; between, v takes
    that power of what full balance asks for, the solution of transport with a Kullback-Leibler penalty on the columns.

    Args:
        cost: of each query and class.
        sharpness: of the transport; at 0 it is 1 / n everywhere.
        balance: 0 to 1.
        iterations: at the most.
        tolerance: of the relative change of u at which a task is done; it then stays as it is while others go on.

    Source: Cuturi, Sinkhorn Distances, 2013; with a penalty, Chizat et al., Scaling Algorithms for Unbalanced Optimal
    Transport Problems, 2018.
    """
    # The least cost of each row is taken out: u takes it up, and no row vanishes. In double, so that no column does.
    kernel = (-sharpness * (cost - cost.amin(-1, keepdim=True))).double().exp()
    share = cost.shape[1] / cost.shape[2]
    u = 1 / kernel.sum(-1, keepdim=True)
    v = torch.ones_like(kernel[:, :1])
    going = torch.ones(len(cost), 1, 1, dtype=torch.bool, device=cost.device)
    if balance > 0:
        for _ in range(iterations):
            column = (kernel.transpose(1, 2) @ u).transpose(1, 2).clamp_min(torch.finfo(torch.float64).tiny)
            new_v = (share / column) ** balance
            new_u = 1 / (kernel @ new_v.transpose(1, 2))
            change = (new_u / u - 1).abs().amax(1, keepdim=True)
            u, v = torch.where(going, new_u, u), torch.where(going, new_v, v)
            going = going & (change > tolerance)
            if not bool(going.any()):
                break
    return (u * kernel * v).to(cost.dtype)


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
        balance: 1 for equally many queries of each class (the paper), 0 for no such prior; see `sinkhorn`.

    Raises:
        FewshotError: a number out of range.

    Source: Hu, Gripon, Pateux, Leveraging the Feature Distribution in Transfer-based Few-Shot Learning, 2021, algorithm 1,
    and the authors' code. The paper's power transform of the features is `head.features=power`.
    """

    transductive = True
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
        support, query = episodes.support, episodes.query
        basis = span_basis(torch.cat([support, query], dim=1))
        if basis is not None:
            support, query = support @ basis, query @ basis
        support, query = (_centred(normalize(part, dim=-1)) for part in (support, query))
        member = one_hot(episodes.support_labels, episodes.way).to(support.dtype).transpose(1, 2)
        centres = prototypes(support, episodes.support_labels, episodes.way)
        for _ in range(self.steps):
            moved = self.transport(query, centres).transpose(1, 2)
            means = (member @ support + moved @ query) / (member.sum(2) + moved.sum(2))[..., None]
            centres = centres + self.rate * (means - centres)
        return self.transport(query, centres).clamp_min(torch.finfo(query.dtype).tiny).log()

    def transport(self, query: Float[Tensor, "b q d"], centres: Float[Tensor, "b n d"]) -> Float[Tensor, "b q n"]:
        """Of the queries to the centres."""
        return sinkhorn(squared_euclidean(query, centres), self.sharpness, self.balance)


def _centred(items: Tensor) -> Tensor:
    centred = items - items.mean(1, keepdim=True)
    return normalize(centred, dim=-1)
