"""Training on the features of a backbone that stays as it is."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch

from fewshot.data.bank import Bank
from fewshot.device import device_of
from fewshot.errors import FewshotError
from fewshot.evaluation.embedding import embed_bank
from fewshot.learners.learner import Learner
from fewshot.training.checkpoint import load_tree, save_tree

_PROBED = 4


def freeze_backbone(learner: Learner) -> None:
    """Take the backbone out of what is trained.

    Raises:
        FewshotError: the learner makes other features in each task.
    """
    if not learner.scores_frozen_features or not hasattr(learner, "backbone"):
        raise FewshotError(
            f"training.frozen_backbone=true: {type(learner).__name__} makes features of its own for each task; use "
            f"learner=metric, or a learner that adapts its head alone"
        )
    learner.backbone.requires_grad_(False)


def features_of(learner: Learner, banks: Mapping[str, Bank], folder: Path | str | None = None) -> dict[str, Bank]:
    """Banks of the features of a frozen backbone: each image is embedded once, and not again in each episode.

    BatchNorm is as in tests.

    Args:
        learner: whose backbone embeds, on any device; features lie there.
        banks: of images, by name.
        folder: where features are kept for other runs of the same backbone; None keeps none.

    Raises:
        FewshotError: the folder cannot be written to.
    """
    mode = learner.training
    learner.eval()
    try:
        return {name: _embedded(learner, bank, folder) for name, bank in banks.items()}
    finally:
        learner.train(mode)


def _embedded(learner: Learner, bank: Bank, folder: Path | str | None) -> Bank:
    if folder is None:
        return embed_bank(learner, bank)
    path = Path(folder) / f"{bank.name}-{bank.split}-{_key(learner, bank)[:16]}.safetensors"
    if path.is_file():
        try:
            return bank.with_features(load_tree(path, device_of(learner, bank.device))["features"])
        except (FewshotError, KeyError, TypeError):
            # A damaged file is made anew.
            pass
    embedded = embed_bank(learner, bank)
    save_tree(path, {"features": embedded.items})
    return embedded


def _key(learner: Learner, bank: Bank) -> str:
    """Of images, weights, and what the code makes of the first images: another network of equal weights makes others."""
    digest = hashlib.sha256(bank.fingerprint.encode())
    probe = embed_bank(learner, bank, needed=torch.arange(min(_PROBED, len(bank)))).items[:_PROBED]
    for tensor in (*learner.backbone.state_dict().values(), probe):
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
