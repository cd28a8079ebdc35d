"""Prototype adaptation with iterated normalisation: a reconstruction of what Ye et al. (2020) describe."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import one_hot

from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError

CENTRING = ("separate", "joint", "none")


def _unit(items: Tensor) -> Tensor:
    return items / items.norm(dim=-1, keepdim=True).clamp_min(1e-8)


class PrototypeAdaptationHead(nn.Module):
    """Normalises features and adapts prototypes by soft assignments of the queries, again and again.

    A reconstruction: of the paper no more than the abstract and a figure were at hand, which say that unlabelled
    examples are used to normalise features and adapt prototypes iteratively. Each round assigns
    `z_qc = softmax_c(scale * cos(x_q, p_c))`; centres the features, from the start anew, by the mean over classes of the class
    means, so that uneven classes do not shift it; and moves the prototypes by `rate` to the means of the support and of the
    queries assigned to them. The scores are `scale * cos(x_q, p_c)`.

    Args:
        rounds: at the most; a task is done when no assignment changes by more than 1e-4.
        scale: tau of the cosine, more than 0.
        rate: beta of the prototypes, 0 to 1.
        centring: means of support and queries `separate`, one `joint`, or `none`.
        adapt: move prototypes; without they follow the centred support alone.

    Raises:
        FewshotError: a number out of range, or unknown centring.

    Source: after Ye et al., Hybrid Consistency Training with Prototype Adaptation for Few-Shot Learning, 2020.
    """

    transductive = True
    trains_backbone = False
    tuned = {"scale": (5.0, 10.0, 20.0)}  # noqa: RUF012

    def __init__(
        self, rounds: int = 20, scale: float = 10.0, rate: float = 0.2, centring: str = "separate", adapt: bool = True
    ):
        super().__init__()
        if rounds < 0:
            raise FewshotError(f"head.rounds={rounds}; expected at least 0")
        if not scale > 0:
            raise FewshotError(f"head.scale={scale}; expected more than 0")
        if not 0 <= rate <= 1:
            raise FewshotError(f"head.rate={rate}; expected 0 to 1")
        if centring not in CENTRING:
            raise FewshotError(f"head.centring={centring}; expected one of {', '.join(CENTRING)}")
        self.rounds, self.scale, self.rate, self.centring, self.adapt = rounds, scale, rate, centring, adapt

    @torch.no_grad()
    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to logits `[B, Q, N]`."""
        start = _unit(episodes.support), _unit(episodes.query)
        member = one_hot(episodes.support_labels, episodes.way).to(start[0].dtype).transpose(1, 2)
        counts = member.sum(2)[..., None]
        support, query = self._centred(*start, member, None)
        centres = _unit(member @ support / counts)
        z = None
        going = torch.ones(len(query), 1, 1, dtype=torch.bool, device=query.device)
        for _ in range(self.rounds):
            new_z = (self.scale * query @ centres.transpose(1, 2)).softmax(-1)
            if z is not None:
                going = going & ((new_z - z).abs().amax((1, 2), keepdim=True) >= 1e-4)
                if not bool(going.any()):
                    break
            z = new_z
            new_support, new_query = self._centred(*start, member, z)
            if self.adapt:
                taken = z.transpose(1, 2)
                means = (member @ new_support + taken @ new_query) / (counts + taken.sum(2)[..., None])
                new_centres = _unit((1 - self.rate) * centres + self.rate * _unit(means))
            else:
                new_centres = _unit(member @ new_support / counts)
            query, centres = torch.where(going, new_query, query), torch.where(going, new_centres, centres)
        return self.scale * query @ centres.transpose(1, 2)

    def _centred(self, support: Tensor, query: Tensor, member: Tensor, z: Tensor | None) -> tuple[Tensor, Tensor]:
        """Support and queries minus the mean of their class means, to unit length; plain means without assignments."""
        if self.centring == "none":
            return support, query
        counts = member.sum(2)[..., None]
        if self.centring == "separate":
            of_support = (member @ support / counts).mean(1, keepdim=True)
            if z is None:
                of_query = query.mean(1, keepdim=True)
            else:
                taken = z.transpose(1, 2)
                mass = taken.sum(2)[..., None].clamp_min(torch.finfo(z.dtype).tiny)
                of_query = (taken @ query / mass).mean(1, keepdim=True)
            return _unit(support - of_support), _unit(query - of_query)
        if z is None:
            middle = torch.cat([support, query], dim=1).mean(1, keepdim=True)
        else:
            taken = z.transpose(1, 2)
            means = (member @ support + taken @ query) / (counts + taken.sum(2)[..., None])
            middle = means.mean(1, keepdim=True)
        return _unit(support - middle), _unit(query - middle)
