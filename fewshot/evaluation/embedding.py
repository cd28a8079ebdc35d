"""Embedding a whole bank once."""

import torch

from fewshot.augment.pixels import gather_images
from fewshot.backbones.folding import fold_batchnorm
from fewshot.data.bank import Bank
from fewshot.device import device_of, in_32_bits
from fewshot.errors import FewshotError
from fewshot.learners.feature_learner import takes_features_as_they_are
from fewshot.learners.learner import Learner, check_image_format
from fewshot.shared_work import own_share, put_together

# Pixels at a time: on a CPU so few that activations stay in a core's cache between layers, elsewhere so few that those of a wide residual network
# take some gigabytes and not tens.
_PIXELS = {"cpu": 16 * 84 * 84, "others": 256 * 84 * 84}


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


def _images(bank: Bank, index: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Some images of a bank, normalised on another device than theirs if need be: bytes are a quarter of what floats are."""
    items = bank.items
    if device != bank.device:
        items, index = items.index_select(0, index).to(device), torch.arange(len(index), device=device)
    return gather_images(items, index, bank.mean, bank.std, channels_last=True)


@torch.no_grad()
@in_32_bits()
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
        images_per_batch: how many go through at a time; by default what is fast on the device, and fits.
        needed: int64 indices of the items to embed; the others get NaN. By default all.
        shared: whether all processes call this together and share the batches; each gets all features.

    Raises:
        FewshotError: the images are not of the form that the learner was trained on, or that its backbone was made for.
    """
    check_image_format(learner.image_format, bank)
    device = device_of(learner, bank.device)
    if images_per_batch is None:
        height, width = bank.items.shape[2:]
        images_per_batch = max(1, _PIXELS["cpu" if device.type == "cpu" else "others"] // (height * width))
    # Channels-last keeps the values of a pixel together, as the folded convolutions read them.
    embed = fold_batchnorm(learner).to(memory_format=torch.channels_last).embed
    needed = torch.arange(len(bank)) if needed is None else needed
    needed = needed.to(bank.device)
    batches, features = needed.split(images_per_batch), None
    # A process without a batch of its own needs one all the same, to know how many numbers a feature has.
    for number, index in (own_share(batches) if shared else enumerate(batches)) or [(None, batches[0])]:
        part = embed(_images(bank, index, device))
        if features is None:
            _check_size(learner, bank, part)
            features = part.new_zeros((len(bank), part.shape[1]))
        if number is not None:
            features[index.to(device)] = part
    features = put_together(features) if shared else features
    left_out = torch.ones(len(bank), dtype=torch.bool, device=device)
    left_out[needed.to(device)] = False
    features[left_out] = torch.nan
    return bank.with_features(features)
