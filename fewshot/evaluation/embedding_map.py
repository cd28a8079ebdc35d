"""A map of an embedding: the features of a bank's images in two dimensions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fewshot.data.bank import Bank
from fewshot.errors import FewshotError
from fewshot.evaluation.embedding import embed_bank
from fewshot.evaluation.picture import class_number
from fewshot.learners.learner import Learner

if TYPE_CHECKING:
    from fewshot.figure import ShownFigure

METHODS = ("pca", "tsne")
_MARKERS = "os^Dv"


def draw_embedding(
    learner: Learner | None,
    bank: Bank,
    classes: int | Sequence[str] = 8,
    method: str = "pca",
    seed: int = 0,
) -> "ShownFigure":
    """Draw the features of some classes as points, a colour for each class, and its mean as a cross.

    Distances of a map are not those of the features: what lies apart in it is apart, what lies together need not be close.

    Args:
        learner: that scores frozen features, on any device and in any mode, in which it is left; None for a bank of features.
        bank: images, or features made of them.
        classes: the first so many, or their names (or parts of names that no other class has).
        method: `pca` keeps the two directions of most variance, `tsne` the neighbourhoods (needs scikit-learn).
        seed: where t-SNE starts.

    Raises:
        FewshotError: no such class or method, or a learner whose features depend on the task.
    """
    from fewshot.figure import ShownFigure

    if method not in METHODS:
        raise FewshotError(f"method={method!r}; expected one of {', '.join(METHODS)}")
    count = min(classes, bank.num_classes) if isinstance(classes, int) else None
    numbers = list(range(count)) if count is not None else [class_number(bank, name) for name in classes]
    if not numbers:
        raise FewshotError(f"classes={classes!r}; expected at least one class")
    items = torch.cat([bank.offsets[c] + torch.arange(int(bank.counts[c])) for c in numbers])
    labels = bank.labels.cpu()[items]
    points, axes_names = flat_map(_features(learner, bank, items), method, seed)

    figure = ShownFigure(figsize=(7.2, 5.2), layout="constrained")
    axes = figure.subplots()
    for place, number in enumerate(numbers):
        mine = points[labels == number]
        name = bank.class_names[number]
        axes.scatter(
            mine[:, 0],
            mine[:, 1],
            s=14,
            alpha=0.6,
            color=f"C{place % 10}",
            marker=_MARKERS[place // 10 % len(_MARKERS)],
            label=name if len(name) <= 28 else name[:27] + "…",
        )
        axes.scatter(*mine.mean(0), s=90, color=f"C{place % 10}", marker="X", edgecolor="black", linewidth=0.8)
    axes.set_xlabel(axes_names[0], fontsize=8)
    axes.set_ylabel(axes_names[1], fontsize=8)
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.set_title(f"{bank.name}/{bank.split}: {len(items)} items of {len(numbers)} classes", fontsize=9, loc="left")
    return figure


def flat_map(features: Tensor, method: str = "pca", seed: int = 0) -> tuple[Tensor, tuple[str, str]]:
    """Points `[n, 2]` for features `[n, d]`, and what the two directions are.

    Args:
        features: n of at least 3.
        method: `pca` or `tsne`.
        seed: where t-SNE starts.

    Source: van der Maaten and Hinton, Visualizing Data using t-SNE, 2008, by scikit-learn.
    """
    features = features.detach().cpu().double().flatten(1)
    if len(features) < 3 or features.shape[1] < 2:
        raise FewshotError(f"a map needs three items of two numbers, here are {len(features)} of {features.shape[1]}")
    if method == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(features) - 1) / 3)
        made = TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(features.numpy())
        return torch.from_numpy(made).double(), ("t-SNE 1", "t-SNE 2")
    centred = features - features.mean(0)
    _, singular, directions = torch.linalg.svd(centred, full_matrices=False)
    # The sign of a direction is chance: its largest part is positive here.
    first = directions[:2]
    first = first * first.gather(1, first.abs().argmax(1, keepdim=True)).sign()
    shares = 100 * singular.square() / singular.square().sum().clamp_min(1e-300)
    return centred @ first.T, tuple(f"direction {i + 1} ({shares[i]:.0f}% of the variance)" for i in range(2))


def _features(learner: Learner | None, bank: Bank, items: Tensor) -> Tensor:
    if not bank.is_images:
        return bank.items.cpu()[items]
    if learner is None:
        raise FewshotError("give the learner that embeds the images, or a bank of features")
    if not learner.scores_frozen_features:
        raise FewshotError(
            f"the features of {type(learner).__name__} depend on the task; draw those of a learner that scores frozen features"
        )
    mode = learner.training
    learner.eval()
    try:
        return embed_bank(learner, bank, needed=items).items.cpu()[items]
    finally:
        learner.train(mode)
