"""Pictures: one episode and what the learner said about it, or one class."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fewshot.data.bank import Bank
from fewshot.device import device_of
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
    figure = ShownFigure(figsize=(0.85 * (shots + queries) + 2.6, 1.1 * shown + 1.0), layout="constrained")
    tiles = _Tiles(figure, shown, shots + queries, height=1.25)
    for row in range(shown):
        support = drawn.support[0][support_labels == row][:shots]
        for column, item in enumerate(support):
            tiles.show(row, column, bank.items[item], "black")
        name = bank.class_names[drawn.classes[0, row]]
        tiles.name(row, f"{row}: {name if len(name) <= 24 else name[:23] + '…'}")
        mine = np.flatnonzero(labels == row)[:queries]
        for column, query in enumerate(mine, start=shots):
            right = predicted[query] == row
            colour = "tab:blue" if learner is None else "tab:green" if right else "tab:red"
            tiles.show(row, column, bank.items[drawn.query[0, query]], colour)
            if said_of is not None:
                sure = f"{100 * said_of[query, predicted[query]]:.0f}%"
                tiles.say(row, column, sure if right else f"{predicted[query]}? {sure}", colour)
    if shots:
        tiles.head(0, "support")
    tiles.head(shots, "queries")
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
    mode, device = learner.training, device_of(learner, bank.device)
    sampler, predict = EpisodeSampler(bank, protocol), learner.predict
    learner.eval()
    try:
        if learner.scores_frozen_features:
            # A few images at a time: all of a large episode at once may not fit into memory.
            drawn = sampler.indices(episode, 1)
            needed = torch.from_numpy(np.concatenate([drawn.support[0], drawn.query[0]]))
            features = embed_bank(learner, bank, needed=needed)
            sampler, predict = EpisodeSampler(features, protocol), learner.predict_features
        return predict(sampler.episodes(episode, 1).to(device))[0].float().softmax(-1)
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
    tiles = _Tiles(figure, rows, min(shown, _COLUMNS))
    for place in range(shown):
        tiles.show(*divmod(place, _COLUMNS), bank.items[first + place], "black")
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


class _Tiles:
    """Framed images in rows and columns of one pair of axes: a pair for each would take five times as long.

    Args:
        figure: that they fill.
        rows, columns: of them.
        height: of a row, in widths of a column.
    """

    _SIDE = 0.92

    def __init__(self, figure: "ShownFigure", rows: int, columns: int, height: float = 1.0):
        self.height = height
        self.axes = figure.subplots()
        self.axes.axis("off")
        self.axes.set(xlim=(0, columns), ylim=(rows * height, 0), aspect="equal", autoscale_on=False)

    def show(self, row: int, column: int, image: Tensor, colour: str) -> None:
        """Put an image, uint8 `[c, h, w]`, into a frame of a colour."""
        from matplotlib.patches import Rectangle

        left, top = self._corner(row, column)
        box = (left, left + self._SIDE, top + self._SIDE, top)
        pixels = image.permute(1, 2, 0).cpu().numpy()
        pixels = pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels
        self.axes.imshow(pixels, cmap="gray_r", vmin=0, vmax=255, extent=box, aspect="equal")
        self.axes.add_patch(Rectangle((left, top), self._SIDE, self._SIDE, fill=False, edgecolor=colour, linewidth=2))

    def say(self, row: int, column: int, words: str, colour: str) -> None:
        """Write below an image."""
        left, top = self._corner(row, column)
        self.axes.text(
            left + self._SIDE / 2, top + self._SIDE + 0.05, words, ha="center", va="top", fontsize=7, color=colour
        )

    def name(self, row: int, words: str) -> None:
        """Write left of a row."""
        left, top = self._corner(row, 0)
        self.axes.text(left - 0.08, top + self._SIDE / 2, words, ha="right", va="center", fontsize=7)

    def head(self, column: int, words: str) -> None:
        """Write above a column."""
        left, top = self._corner(0, column)
        self.axes.text(left + self._SIDE / 2, top - 0.05, words, ha="center", va="bottom", fontsize=8)

    def _corner(self, row: int, column: int) -> tuple[float, float]:
        return column + (1 - self._SIDE) / 2, row * self.height + (1 - self._SIDE) / 2
