"""Embedding a whole bank once."""

import torch

from fewshot.augment.pixels import gather_images
from fewshot.backbones.folding import fold_batchnorm
from fewshot.data.bank import Bank
from fewshot.learners.learner import Learner

# Activations of so many pixels stay in a core's cache between layers.
_CPU_PIXELS = 16 * 84 * 84


@torch.inference_mode()
def embed_bank(learner: Learner, bank: Bank, images_per_batch: int | None = None) -> Bank:
    """A bank of the features that `learner.embed` makes of each item of `bank`, on the same device.

    Args:
        learner: on the device of `bank`; it is left as it was.
        bank: images.
        images_per_batch: how many go through at a time; by default what is fast on the device.
    """
    on_cpu = bank.device.type == "cpu"
    if images_per_batch is None:
        height, width = bank.items.shape[2:]
        images_per_batch = max(1, _CPU_PIXELS // (height * width)) if on_cpu else 1024
    # Channels-last keeps the values of a pixel together, as the folded convolutions read them.
    embed = fold_batchnorm(learner).to(memory_format=torch.channels_last).embed
    index = torch.arange(len(bank), device=bank.device)
    features = None
    for start in range(0, len(bank), images_per_batch):
        images = gather_images(bank.items, index[start : start + images_per_batch], bank.mean, bank.std, channels_last=True)
        part = embed(images)
        if features is None:
            features = torch.empty(len(bank), part.shape[1], dtype=part.dtype, device=part.device)
        features[start : start + len(part)] = part
    # Out of inference mode's bookkeeping: a head may train on these features.
    return bank.with_features(features.clone())
