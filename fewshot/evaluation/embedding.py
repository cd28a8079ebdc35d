"""Embedding a whole bank once."""

import torch

from fewshot.augment.pixels import gather_images
from fewshot.backbones.folding import fold_batchnorm
from fewshot.data.bank import Bank
from fewshot.device import device_of
from fewshot.errors import FewshotError
from fewshot.learners.feature_learner import takes_features_as_they_are
from fewshot.learners.learner import Learner, check_image_format
from fewshot.shared_work import own_share, put_together

# Activations of so many pixels stay in a core's cache between layers.
_CPU_PIXELS = 16 * 84 * 84


def _check_size(learner: Learner, bank: Bank, features: torch.Tensor) -> None:
    if not takes_features_as_they_are(learner):
        return
    backbone, says = learner.backbone, learner.backbone.feature_size
    if features.shape[1:] != (says,):
        size = "x".join(map(str, bank.items.shape[1:]))
        raise FewshotError(
            f"{type(backbone).__name__} makes features {list(features.shape[1:])} of images {size} of {bank.name}/{bank.split}, and was made "
            f"for {says}; give it their channels and image_size"
        )


@torch.no_grad()
def embed_bank(
    learner: Learner,
    bank: Bank,
    images_per_batch: int | None = None,
    needed: torch.Tensor | None = None,
    shared: bool = False,
) -> Bank:
    """A bank of the features that `learner.embed` makes of each item of `bank`, on the learner's device.

    Args:
        learner: on any device, to which the images go; it is left as it was.
        bank: images.
        images_per_batch: how many go through at a time; by default what is fast on the device.
        needed: int64 indices of the items to embed; the others get NaN. By default all.
        shared: whether all processes call this together and share the batches; each gets all features.

    Raises:
        FewshotError: the images are not of the form that the learner was trained on, or that its backbone was made for.
    """
    check_image_format(learner.image_format, bank)
    bank = bank.to(device_of(learner, bank.device))
    on_cpu = bank.device.type == "cpu"
    if images_per_batch is None:
        height, width = bank.items.shape[2:]
        images_per_batch = max(1, _CPU_PIXELS // (height * width)) if on_cpu else 1024
    # Channels-last keeps the values of a pixel together, as the folded convolutions read them.
    embed = fold_batchnorm(learner).to(memory_format=torch.channels_last).embed
    needed = torch.arange(len(bank)) if needed is None else needed
    needed = needed.to(bank.device)
    batches, features = needed.split(images_per_batch), None
    # A process without a batch of its own needs one all the same, to know how many numbers a feature has.
    for number, index in (own_share(batches) if shared else enumerate(batches)) or [(None, batches[0])]:
        part = embed(gather_images(bank.items, index, bank.mean, bank.std, channels_last=True))
        if features is None:
            _check_size(learner, bank, part)
            features = part.new_zeros((len(bank), part.shape[1]))
        if number is not None:
            features[index] = part
    features = put_together(features) if shared else features
    left_out = torch.ones(len(bank), dtype=torch.bool, device=bank.device)
    left_out[needed] = False
    features[left_out] = torch.nan
    return bank.with_features(features)
