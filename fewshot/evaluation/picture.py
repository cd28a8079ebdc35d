"""A picture of one episode and what the learner said about it."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fewshot.data.bank import Bank
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.files import replacing
from fewshot.learners.learner import Learner

_MOST_CLASSES, _MOST_QUERIES, _MOST_SHOTS = 10, 10, 5


@torch.no_grad()
def draw_episode(learner: Learner, bank: Bank, protocol: Protocol, path: Path | str, episode: int = 0) -> None:
    """Draw episode number `episode` as a PNG: a row per class, its support, then its queries with the predicted class.

    Large episodes are cut to their first classes, shots and queries; the title's accuracy is of the whole.

    Args:
        learner: in eval mode, on the device of `bank`.
        bank: of images.
        protocol: what the episode is.
        path: of the PNG.
        episode: its number.
    """
    from matplotlib.figure import Figure

    sampler = EpisodeSampler(bank, protocol)
    drawn, episodes = sampler.indices(episode, 1), sampler.episodes(episode, 1)
    predicted = learner.predict(episodes).argmax(-1)[0].cpu().numpy()
    labels, support_labels = drawn.query_labels[0], episodes.support_labels[0].cpu().numpy()
    accuracy = (predicted == labels).mean()

    shown = min(protocol.way, _MOST_CLASSES)
    shots = min(max(protocol.shots), _MOST_SHOTS)
    queries = min(int(np.bincount(labels, minlength=protocol.way)[:shown].max()), _MOST_QUERIES)
    figure = Figure(figsize=(0.85 * (shots + queries) + 2.6, 1.05 * shown + 1.0), layout="constrained")
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
            _show(grid[row, column], bank.items[drawn.query[0, query]], "tab:green" if right else "tab:red")
            if not right:
                grid[row, column].set_xlabel(f"said {predicted[query]}", fontsize=7, color="tab:red", labelpad=1)
    grid[0, 0].set_title("support", fontsize=8)
    grid[0, shots].set_title("queries", fontsize=8)
    figure.suptitle(f"{bank.name}/{bank.split}, episode {episode}, {protocol}: {100 * accuracy:.1f}% right", fontsize=9)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _show(axes, image: Tensor, colour: str) -> None:
    axes.axis("on")
    pixels = image.permute(1, 2, 0).cpu().numpy()
    axes.imshow(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels, cmap="gray_r", vmin=0, vmax=255)
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=2)
