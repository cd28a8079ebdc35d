import numpy as np
import pytest
import torch

from fewshot.augment.image_augment import ImageAugment
from fewshot.episodes.images import ImageProtocol, ImageSampler
from fewshot.errors import FewshotError


def test_each_epoch_shows_each_image_once_in_an_order_of_its_own(bank):
    sampler = ImageSampler(bank, ImageProtocol(3 * len(bank)))
    epochs = sampler.indices(0, 3 * len(bank)).reshape(3, -1)
    for epoch in epochs:
        assert np.array_equal(np.sort(epoch), np.arange(len(bank)))
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[0], ImageSampler(bank, ImageProtocol(1, seed=1)).indices(0, len(bank)))


def test_any_piece_is_the_same_piece_of_the_whole(bank):
    sampler = ImageSampler(bank, ImageProtocol(10 * len(bank)))
    whole = sampler.indices(0, 1000)
    for start, count in ((0, 1), (230, 20), (239, 700), (479, 2)):
        assert np.array_equal(sampler.indices(start, count), whole[start : start + count])


def test_a_batch_is_images_with_the_labels_of_their_bank(bank):
    sampler = ImageSampler(bank, ImageProtocol(100))
    batch, index = sampler.episodes(30, 8), sampler.indices(30, 8)
    assert batch.support.shape == (1, 0, 1, 28, 28)
    assert batch.way == bank.num_classes
    assert torch.equal(batch.query_labels[0], bank.labels[torch.from_numpy(index)])
    expected = bank.items[torch.from_numpy(index)].float() / 255
    torch.testing.assert_close(batch.query[0], expected)


def test_augmentation_depends_on_the_place_alone(bank):
    sampler = ImageSampler(bank, ImageProtocol(100), ImageAugment(shift=3, flip=True))
    first = sampler.episodes(16, 8).query
    sampler.episodes(0, 8)
    assert torch.equal(sampler.episodes(16, 8).query, first)
    assert not torch.equal(first, ImageSampler(bank, ImageProtocol(100)).episodes(16, 8).query)


@pytest.mark.parametrize("seed", [1, 7, 2**40])
def test_seeds_augment_differently(bank, seed):
    drawn = []

    def noted(images, generator):
        drawn.append(torch.rand(8, generator=generator))
        return images

    for given in (0, seed, 0):
        ImageSampler(bank, ImageProtocol(100, seed=given), noted).episodes(16, 8)
    first, other, again = drawn
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_features_are_refused(bank):
    with pytest.raises(FewshotError, match="holds features"):
        ImageSampler(bank.with_features(torch.zeros(len(bank), 3)), ImageProtocol(10))
