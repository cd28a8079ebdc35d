"""Pictures: one episode and what the learner said about it, or one class."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fewshot.data.bank import Bank
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.errors import FewshotError
from fewshot.evaluation.embedding import embed_bank
from fewshot.learners.learner import Learner

if TYPE_CHECKING:
    from fewshot.figure import ShownFigure

_MOST_CLASSES, _MOST_QUERIES, _MOST_SHOTS = 10, 10, 5
_MOST_IMAGES, _COLUMNS = 120, 20


@torch.no_grad()
def draw_episode(
    learner: Learner | None, bank: Bank, protocol: Protocol, path: Path | str | None = None, episode: int = 0
) -> "ShownFigure":
    """Draw episode number `episode`: a row per class, its support, then its queries with what was said of them.

    Under a query stands the probability of the class that was said, green where it is right, red with that class where it
    is wrong. Large episodes are cut to their first classes, shots and queries; the title's accuracy is of the whole.

    Args:
        learner: on any device, in any mode, in which it is left; without one no predictions are drawn.
        bank: of images.
        protocol: what the episode is.
        path: of a PNG to write; None writes none.
        episode: its number.

    Raises:
        FewshotError: the bank has features instead of images, or too few for the protocol.
    """
    from fewshot.figure import ShownFigure

    _check_images(bank)
    drawn = EpisodeSampler(bank, protocol).indices(episode, 1)
    labels, support_labels = drawn.query_labels[0], np.repeat(np.arange(protocol.way), protocol.shots)
    said_of = None if learner is None else query_probabilities(learner, bank, protocol, episode).cpu().numpy()
    predicted = labels if said_of is None else said_of.argmax(-1)
    said = "" if learner is None else f": {100 * (predicted == labels).mean():.1f}% right"

    shown = min(protocol.way, _MOST_CLASSES)
    shots = min(max(protocol.shots), _MOST_SHOTS)
    queries = min(int(np.bincount(labels, minlength=protocol.way)[:shown].max()), _MOST_QUERIES)
    figure = ShownFigure(figsize=(0.85 * (shots + queries) + 2.6, 1.15 * shown + 1.0), layout="constrained")
    grid = figure.subplots(shown, shots + queries, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.axis("off")
    for row in range(shown):
        support = drawn.support[0][support_labels == row][:shots]
        for column, item in enumerate(support):
            _show(grid[row, column], bank.items[item], "black")
        grid[row, 0].axis("on")
        name = bank.class_names[drawn.classes[0, row]]
        label = f"{row}: {name if len(name) <= 24 else name[:23] + '…'}"
        grid[row, 0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=7)
        mine = np.flatnonzero(labels == row)[:queries]
        for column, query in enumerate(mine, start=shots):
            right = predicted[query] == row
            colour = "tab:blue" if learner is None else "tab:green" if right else "tab:red"
            _show(grid[row, column], bank.items[drawn.query[0, query]], colour)
            if said_of is not None:
                sure = f"{100 * said_of[query, predicted[query]]:.0f}%"
                words = sure if right else f"{predicted[query]}? {sure}"
                grid[row, column].set_xlabel(words, fontsize=7, color=colour, labelpad=3)
    if shots:
        grid[0, 0].set_title("support", fontsize=8)
    grid[0, shots].set_title("queries", fontsize=8)
    figure.suptitle(f"{bank.name}/{bank.split}, episode {episode}, {protocol}{said}", fontsize=9)
    if path is not None:
        figure.save(path, dpi=120)
    return figure


@torch.no_grad()
def query_probabilities(learner: Learner, bank: Bank, protocol: Protocol, episode: int = 0) -> Tensor:
    """What a learner says of the queries of one episode of images, `[Q, N]`: a softmax of its scores.

    Args:
        learner: on any device, in any mode, in which it is left.
        bank: of images.
        protocol: what the episode is.
        episode: its number.
    """
    parameter, mode = next(iter(learner.parameters()), None), learner.training
    bank = bank.to(bank.device if parameter is None else parameter.device)
    sampler, predict = EpisodeSampler(bank, protocol), learner.predict
    learner.eval()
    try:
        if learner.scores_frozen_features:
            # A few images at a time: all of a large episode at once may not fit into memory.
            drawn = sampler.indices(episode, 1)
            needed = torch.from_numpy(np.concatenate([drawn.support[0], drawn.query[0]]))
            features = embed_bank(learner, bank, needed=needed)
            sampler, predict = EpisodeSampler(features, protocol), learner.predict_features
        return predict(sampler.episodes(episode, 1))[0].float().softmax(-1)
    finally:
        learner.train(mode)


def draw_class(bank: Bank, name: str, path: Path | str | None = None) -> "ShownFigure":
    """Draw the first images of a class.

    Args:
        bank: of images.
        name: of the class, a part of it that no other class has, or its number.
        path: of a PNG to write; None writes none.

    Raises:
        FewshotError: no class, or more than one, is meant, or the bank has features instead of images.
    """
    from fewshot.figure import ShownFigure

    _check_images(bank)
    number = class_number(bank, name)
    count, first = int(bank.counts[number]), int(bank.offsets[number])
    shown = min(count, _MOST_IMAGES)
    rows = -(-shown // _COLUMNS)
    figure = ShownFigure(figsize=(0.85 * min(shown, _COLUMNS) + 0.4, 0.85 * rows + 0.6), layout="constrained")
    grid = figure.subplots(rows, min(shown, _COLUMNS), squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.axis("off")
    for item, axes in zip(range(first, first + shown), grid.flat, strict=False):
        _show(axes, bank.items[item], "black")
    figure.suptitle(
        f"{bank.name}/{bank.split}, {bank.class_names[number]}: {shown} of {count} images, {bank.pipeline}", fontsize=9
    )
    if path is not None:
        figure.save(path, dpi=120)
    return figure


def class_number(bank: Bank, name: str) -> int:
    """The number of the class that a name, a part of it that no other class has, or a number means.

    Raises:
        FewshotError: no class, or more than one, is meant.
    """
    if name.isdecimal() and int(name) < bank.num_classes:
        return int(name)
    if name in bank.class_names:
        return bank.class_names.index(name)
    meant = [number for number, known in enumerate(bank.class_names) if name.lower() in known.lower()]
    if len(meant) != 1:
        some = ", ".join(bank.class_names[number] for number in (meant or range(bank.num_classes))[:3])
        raise FewshotError(
            f"{bank.name}/{bank.split} has {len(meant)} classes with {name!r} in their names, expected one; such as {some}"
        )
    return meant[0]


def _check_images(bank: Bank) -> None:
    if not bank.is_images:
        raise FewshotError(f"{bank.name}/{bank.split} has features, which cannot be drawn; give the bank of its images")


def _show(axes, image: Tensor, colour: str) -> None:
    axes.axis("on")
    pixels = image.permute(1, 2, 0).cpu().numpy()
    axes.imshow(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels, cmap="gray_r", vmin=0, vmax=255)
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=2)
