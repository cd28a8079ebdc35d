"""Hybrid Consistency Training, a reconstruction: mixed hidden features and strong augmentation beside a classifier."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from fewshot.augment.pixels import Augment
from fewshot.device import processes
from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.learners.classifier import ClassifierLearner
from fewshot.learners.learner import TrainingLoss
from fewshot.shared_work import of_the_first


class HybridConsistencyLearner(ClassifierLearner):
    """A classifier of the base classes whose predictions are to be linear on the way to strongly augmented images.

    Beside the cross-entropy of the (weakly augmented) images of a batch there are two terms.

    - Interpolation: maps of the images and of strongly augmented others are mixed, `m_i = t u_i + (1 - t) v_j`, and what the rest
      of the network makes of them is compared with both labels, `t CE(m_i, y_i) + (1 - t) CE(m_i, y_j)`. The level of the
      maps (0: images), `t` from Beta(a, a) and the partners j are drawn once for a batch.
    - Augmentation: `KL(p_i || q_i)`, with p the prediction for the image, as a target without gradient, and q the one for the
      same image strongly augmented.

    All images, mixed ones too, are of one batch for BatchNorm. With both weights 0 this is `ClassifierLearner`, to the last bit.
    **A reconstruction**: the paper's abstract and first figure say which two consistencies there are and towards what is
    interpolated; the formulas, their weights and the strong augmentation are ours.

    Args:
        backbone: images `[n, c, h, w]` to features `[n, d]`; has `forward_to` and `forward_from` if `levels` is not 0.
        head: episodes of features to logits `[B, Q, N]`.
        classifier: features `[n, d]` to logits of the base classes `[n, c]`.
        strong: changes images with values in 0..1, on top of the augmentation of training.
        mean, std: per channel, with which the images were normalised.
        interpolation: weight of the first term.
        consistency: weight of the second term.
        temperature: divides the logits of the target p.
        beta: a, of the distribution of `t`.
        levels: the deepest level at which maps are mixed; 0 mixes images alone, null goes to the one before the last.
        warmup: images until the second term has its whole weight, which grows from 0; 0 for at once.
        label_smoothing: share of the target spread evenly over the classes, 0 to 1, wherever labels are compared.

    Raises:
        FewshotError: a number out of range, or a level that the backbone has not.

    Source: after Ye et al., Hybrid Consistency Training with Prototype Adaptation for Few-Shot Learning, 2020.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        classifier: nn.Module,
        strong: Augment,
        mean: Sequence[float],
        std: Sequence[float],
        interpolation: float = 1.0,
        consistency: float = 1.0,
        temperature: float = 1.0,
        beta: float = 2.0,
        levels: int | None = None,
        warmup: int = 0,
        label_smoothing: float = 0.0,
    ):
        super().__init__(backbone, head, classifier, label_smoothing)
        for name, value in (("interpolation", interpolation), ("consistency", consistency), ("warmup", warmup)):
            if value < 0:
                raise FewshotError(f"learner.{name}={value}; expected at least 0")
        for name, value in (("temperature", temperature), ("beta", beta)):
            if not value > 0:
                raise FewshotError(f"learner.{name}={value}; expected more than 0")
        if not callable(strong):
            raise FewshotError("learner.strong=null; expected an augmentation, chosen by augment@learner.strong=NAME")
        if getattr(strong, "makes_size", None) is not None:
            raise FewshotError(
                f"learner.strong.size={strong.makes_size}; expected null: the images keep the size that training gave them"
            )
        deepest = getattr(backbone, "levels", 0)
        if levels is None:
            levels = max(0, deepest - 1)
        if not 0 <= levels <= deepest:
            raise FewshotError(f"learner.levels={levels}; expected 0 to {deepest}, the blocks of this backbone")
        self.strong, self.levels, self.beta = strong, levels, beta
        self.interpolation, self.consistency = interpolation, consistency
        self.temperature, self.warmup = temperature, warmup
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(tuple(values)).view(-1, 1, 1), persistent=False)
        self.register_buffer("images_trained", torch.zeros((), dtype=torch.int64))

    def training_loss(self, episodes: Episodes) -> TrainingLoss:
        """Loss of a batch of an `ImageSampler`: queries are images, labels those of the base classes."""
        if not (self.interpolation or self.consistency):
            return super().training_loss(episodes)
        images, labels = episodes.query.flatten(0, 1), episodes.query_labels.flatten()
        level, share, partners = self.drawn(len(images))
        views = torch.cat([images, self._strengthened(images)])
        hidden = self.backbone.forward_to(level, views) if level else views
        weak, strong = hidden.chunk(2)
        kinds = {"weak": weak}
        if self.consistency:
            kinds["strong"] = strong
        if self.interpolation:
            kinds["mixed"] = share * weak + (1 - share) * strong[partners]
        hidden = torch.cat(list(kinds.values()))
        features = self.backbone.forward_from(level, hidden) if level else self.backbone(hidden)
        logits = dict(zip(kinds, self.classifier(features).chunk(len(kinds)), strict=True))
        total = cross_entropy(logits["weak"], labels, label_smoothing=self.label_smoothing)
        parts = {"cross_entropy": total.detach()}
        if self.interpolation:
            term = interpolation_loss(logits["mixed"], labels, labels[partners], share, self.label_smoothing)
            total, parts["interpolation"] = total + self.interpolation * term, term.detach()
        if self.consistency:
            term = consistency_loss(logits["weak"], logits["strong"], self.temperature)
            total, parts["consistency"] = total + self._consistency_weight() * term, term.detach()
        if self.training:
            self.images_trained += len(images) * processes()
        return TrainingLoss(total, parts, (logits["weak"].detach().argmax(-1) == labels).float().mean())

    def drawn(self, images: int) -> tuple[int, float, Int64[Tensor, " n"]]:
        """The level, the share of the images and the partners of a batch; the training loop seeds each step.

        Processes that train together mix at one level: deeper layers see more images, and BatchNorm wants as many of each.
        """
        level = int(of_the_first(torch.randint(self.levels + 1, (), device=self.mean.device)))
        share = float(torch.distributions.Beta(self.beta, self.beta).sample())
        return level, share, torch.randperm(images).to(self.mean.device)

    def _strengthened(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        generator = torch.Generator(images.device).manual_seed(int(torch.randint(2**62, ())))
        pixels = (images * self.std + self.mean).clamp(0, 1)
        return (self.strong(pixels, generator) - self.mean) / self.std

    def _consistency_weight(self) -> float:
        grown = min(1.0, float(self.images_trained) / self.warmup) if self.warmup else 1.0
        return self.consistency * grown


def interpolation_loss(
    logits: Float[Tensor, "n c"],
    labels: Int64[Tensor, " n"],
    others: Int64[Tensor, " n"],
    share: float,
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """`share` of the cross-entropy with `labels` and the rest of that with `others`."""
    own, other = (cross_entropy(logits, target, label_smoothing=label_smoothing) for target in (labels, others))
    return share * own + (1 - share) * other


def consistency_loss(
    weak: Float[Tensor, "n c"], strong: Float[Tensor, "n c"], temperature: float = 1.0
) -> Float[Tensor, ""]:
    """`KL(softmax(weak / temperature) || softmax(strong))`, the mean over images; no gradient flows to `weak`."""
    target = (weak.detach() / temperature).log_softmax(-1)
    return kl_div(strong.log_softmax(-1), target, reduction="batchmean", log_target=True)
