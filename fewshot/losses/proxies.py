"""Losses with a learned vector for each base class, by pytorch-metric-learning."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.losses.loss_value import LossValue

KINDS = {
    "proxy_nca": "ProxyNCALoss",
    "proxy_anchor": "ProxyAnchorLoss",
    "soft_triple": "SoftTripleLoss",
    "normalised_softmax": "NormalizedSoftmaxLoss",
}


class ProxyLoss(nn.Module):
    """Compares all items of a step, support and queries of all tasks, with the proxies of all base classes.

    Proxies are of classes and not of tasks, so a task's classes keep theirs from one task to the next.

    Args:
        kind: `proxy_nca` (Movshovitz-Attias et al. 2017), `proxy_anchor` (Kim et al. 2020), `soft_triple` (Qian et al.
            2019) or `normalised_softmax` (Zhai and Wu 2019).
        feature_size: of the backbone.
        classes: how many base classes.
        options: of the library's loss, such as `margin` and `alpha` of `proxy_anchor`.

    Raises:
        FewshotError: unknown kind or option, or no number of classes.
    """

    def __init__(
        self, kind: str = "proxy_anchor", feature_size: int | None = None, classes: int | None = None, **options: float
    ):
        super().__init__()
        if kind not in KINDS:
            raise FewshotError(f"loss.kind={kind}; expected one of {', '.join(KINDS)}")
        if feature_size is None or classes is None:
            raise FewshotError(f"loss.kind={kind} needs feature_size and classes, the number of base classes")
        self.kind, self.classes = kind, classes
        # The library needs a second to import, and those who use none of its losses need not wait.
        from pytorch_metric_learning import losses

        try:
            self.loss = getattr(losses, KINDS[kind])(num_classes=classes, embedding_size=feature_size, **options)
        except TypeError as error:
            raise FewshotError(f"loss: {kind} refuses {options}: {error}") from error

    def forward(self, episodes: Episodes, logits: Float[Tensor, "b q n"]) -> LossValue:
        """Features of a batch of tasks to a scalar; the logits are not used."""
        items = torch.cat([episodes.support, episodes.query], dim=1)
        labels = torch.cat([episodes.support_labels, episodes.query_labels], dim=1)
        value = self.loss(items.flatten(0, 1), episodes.classes.gather(1, labels).flatten())
        return LossValue(value, {self.kind: value.detach()})
