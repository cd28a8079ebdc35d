"""Metrix: a pair loss on mixed examples too (Venkataramanan et al., 2022)."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import normalize, softplus

from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.losses.loss_value import LossValue
from fewshot.losses.pairs import PairLoss
from fewshot.task_augmentation.augmentation import checked_beta

KINDS, PAIRS = ("multi_similarity", "contrastive"), ("random", "positive_negative", "anchor_negative")


class Metrix(nn.Module):
    """`L + weight L'`: a loss over the pairs of each task, and the same over anchors and mixtures of features.

    A mixture is `v = l p + (1 - l) n` of a positive and a negative of the anchor, or `v = l a + (1 - l) n` of the anchor itself
    and a negative, of features of unit length, scaled to unit length again. It counts as a positive with l and as a negative with
    1 - l: with the cosine s of anchor and mixture, L' of `multi_similarity` is the mean over anchors of
    `log(1 + sum_v l exp(-alpha (s - base))) / alpha + log(1 + sum_v (1 - l) exp(beta (s - base))) / beta`, that of
    `contrastive` with the distance d of both `l d` and `(1 - l) max(0, margin - d)`, each averaged over what is not zero. All
    pairs of a positive and a negative are mixed; none of the mixtures is made, as cosines of the features give theirs.

    Args:
        kind: `multi_similarity` or `contrastive`.
        mixes: `positive_negative`, `anchor_negative`, or `random`, one of both for each step.
        mixing: l ~ Beta(a, b), drawn for each step.
        weight: of L'.
        alpha: of `multi_similarity`.
        beta: of `multi_similarity`.
        base: of `multi_similarity`.
        margin: of negatives, for `contrastive`.

    Raises:
        FewshotError: an unknown choice, a weight below 0, or parameters of Beta that are not positive.

    Source: Venkataramanan et al., It Takes Two to Tango: Mixup for Deep Metric Learning, 2022, and the authors'
    code; here features are mixed, inside each task.
    """

    counts_pairs = True

    def __init__(
        self,
        kind: str = "multi_similarity",
        mixes: str = "random",
        mixing: object = (2.0, 2.0),
        weight: float = 0.4,
        alpha: float = 2.0,
        beta: float = 50.0,
        base: float = 0.5,
        margin: float = 0.5,
    ):
        super().__init__()
        for name, value, known in (("kind", kind, KINDS), ("mixes", mixes, PAIRS)):
            if value not in known:
                raise FewshotError(f"loss.{name}={value}; expected one of {', '.join(known)}")
        if not 0 <= weight < math.inf:
            raise FewshotError(f"loss.weight={weight}; expected a number of at least 0")
        for name, value in (("alpha", alpha), ("beta", beta)):
            if not 0 < value < math.inf:
                raise FewshotError(f"loss.{name}={value}; expected a number above 0")
        mixing = checked_beta(mixing, "loss.mixing")
        self.kind, self.mixes, self.weight = kind, mixes, weight
        self.alpha, self.beta, self.base, self.margin = alpha, beta, base, margin
        self.shares = torch.distributions.Beta(*(torch.tensor(float(value)) for value in mixing))
        options = (
            {"alpha": alpha, "beta": beta, "base": base}
            if kind == "multi_similarity"
            else {"pos_margin": 0.0, "neg_margin": margin}
        )
        self.clean = PairLoss(kind, **options)

    def forward(self, episodes: Episodes, logits: Float[Tensor, "b q n"]) -> LossValue:
        """Features of a batch of tasks to a scalar; the logits are not used. Mixed in training alone: a test draws nothing."""
        total, parts = self.clean(episodes, logits)
        if not self.training:
            return LossValue(total, parts)
        mixes = self.mixes if self.mixes != "random" else PAIRS[1 + int(torch.randint(2, ()))]
        mixed = self.mixed_loss(episodes, float(self.shares.sample()), mixes)
        return LossValue(total + self.weight * mixed, parts | {"mixed": mixed.detach()})

    def mixed_loss(self, episodes: Episodes, share: float, mixes: str) -> Float[Tensor, ""]:
        """L' with the share l of positives or anchors."""
        items = normalize(torch.cat([episodes.support, episodes.query], dim=1), dim=-1)
        labels = torch.cat([episodes.support_labels, episodes.query_labels], dim=1)
        same = labels[:, :, None] == labels[:, None]
        likeness, there = mixed_cosines(items @ items.transpose(1, 2), same, share, mixes)
        if self.kind == "multi_similarity":
            near = _log_one_plus(-self.alpha * (likeness - self.base), share, there) / self.alpha
            far = _log_one_plus(self.beta * (likeness - self.base), 1 - share, there) / self.beta
            counts = there.any(-1)
            return (near + far)[counts].mean()
        # The small number keeps the root's gradient finite.
        distance = (2 - 2 * likeness).clamp_min(1e-12).sqrt()
        hinges = share * distance, (1 - share) * (self.margin - distance).clamp_min(0)
        return sum(hinge[there & (hinge > 0)].sum() / (there & (hinge > 0)).sum().clamp_min(1) for hinge in hinges)


def mixed_cosines(
    cosines: Float[Tensor, "b m m"], same: Bool[Tensor, "b m m"], share: float, mixes: str
) -> tuple[Float[Tensor, "b m v"], Bool[Tensor, "b m v"]]:
    """The cosine of each anchor and each of its mixtures, and which of them there are.

    Args:
        cosines: of all items of a task.
        same: which items are of one class.
        share: l.
        mixes: `positive_negative` or `anchor_negative`.
    """
    rest = 1 - share
    squares = share**2 + rest**2
    if mixes == "anchor_negative":
        length = (squares + 2 * share * rest * cosines).clamp_min(1e-12).sqrt()
        return (share + rest * cosines) / length, ~same
    itself = torch.eye(same.shape[1], dtype=torch.bool, device=same.device)
    positive = same & ~itself
    most = int(positive.sum(-1).max())
    # Which items are the positives of each anchor; where it has fewer, the last ones do not count.
    index = positive.to(torch.uint8).argsort(dim=-1, descending=True, stable=True)[..., :most]
    counts = positive.gather(2, index)
    b, m, _ = cosines.shape
    of_pairs = cosines[torch.arange(b, device=cosines.device)[:, None, None], index]
    length = (squares + 2 * share * rest * of_pairs).clamp_min(1e-12).sqrt()
    likeness = (share * cosines.gather(2, index)[..., None] + rest * cosines[:, :, None]) / length
    there = counts[..., None] & ~same[:, :, None]
    return likeness.reshape(b, m, -1), there.reshape(b, m, -1)


def _log_one_plus(exponents: Tensor, factor: float, there: Tensor) -> Tensor:
    """`log(1 + factor sum exp(x))` over what is there."""
    if factor == 0:
        return torch.zeros_like(exponents[..., 0])
    total = exponents.masked_fill(~there, -torch.inf).logsumexp(-1) + math.log(factor)
    return softplus(total)
