"""PT-MAP: centres and a transport of the queries to them, in turn (Hu et al., 2021)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

from fewshot.device import wide
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
    start: Float[Tensor, "b 1 n"] | None = None,
) -> tuple[Float[Tensor, "b q n"], Float[Tensor, "b 1 n"]]:
    """The transport `diag(u) exp(-sharpness * cost) diag(v)` whose rows sum to 1, and v.

    With `balance` 1 the columns sum to q / n; with 0 they are free and this is a softmax; between, v takes
    that power of what full balance asks for, the solution of transport with a Kullback-Leibler penalty on the columns.

    Args:
        cost: of each query and class.
        sharpness: of the transport; at 0 it is 1 / n everywhere.
        balance: 0 to 1.
        iterations: at the most.
        tolerance: of the relative change of u in one iteration at which a task is done; every fifth iteration looks.
        start: v of a similar cost, to begin with.

    Source: Cuturi, Sinkhorn Distances, 2013; with a penalty, Chizat et al., Scaling Algorithms for Unbalanced Optimal
    Transport Problems, 2018.
    """
    # The least cost of each row is taken out: u takes it up, and no row vanishes. In 64 bits, so that no column does.
    kernel = wide(-sharpness * (cost - cost.amin(-1, keepdim=True))).exp()
    share, tiny = cost.shape[1] / cost.shape[2], torch.finfo(kernel.dtype).tiny
    v = torch.ones_like(kernel[:, :1]) if start is None or balance == 0 else start.clone()
    # Those that are done are left out: what a task gets does not depend on the batch it is in.
    left, part, v_left = torch.arange(len(cost), device=cost.device), kernel, v.clone()
    for i in range(iterations if balance > 0 else 0):
        u = 1 / (part * v_left).sum(-1, keepdim=True)
        v_left = share / (part * u).sum(1, keepdim=True).clamp_min(tiny)
        if balance < 1:
            v_left = v_left**balance
        if i % 5 < 4:
            continue
        change = (1 / (part * v_left).sum(-1, keepdim=True) / u - 1).abs().amax((1, 2))
        v[left] = v_left
        going = change > tolerance
        if not bool(going.any()):
            break
        left, part, v_left = left[going], part[going], v_left[going]
    else:
        v[left] = v_left
    transport = kernel * v
    return (transport / transport.sum(-1, keepdim=True)).to(cost.dtype), v


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
        support, query = episodes.support, episodes.query
        basis = span_basis(torch.cat([support, query], dim=1))
        if basis is not None:
            support, query = support @ basis, query @ basis
        support, query = (_centred(normalize(part, dim=-1)) for part in (support, query))
        member = one_hot(episodes.support_labels, episodes.way).to(support.dtype).transpose(1, 2)
        centres = prototypes(support, episodes.support_labels, episodes.way)
        of_support, counts = member @ support, member.sum(2)
        v = None
        for step in range(self.steps + 1):
            # Centres move by little, so the last v is a good start.
            moved, v = sinkhorn(squared_euclidean(query, centres), self.sharpness, self.balance, start=v)
            if step < self.steps:
                moved = moved.transpose(1, 2)
                means = (of_support + moved @ query) / (counts + moved.sum(2))[..., None]
                centres = centres + self.rate * (means - centres)
        return moved.clamp_min(torch.finfo(query.dtype).tiny).log()


def _centred(items: Tensor) -> Tensor:
    centred = items - items.mean(1, keepdim=True)
    return normalize(centred, dim=-1)
