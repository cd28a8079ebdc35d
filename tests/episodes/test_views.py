"""Episodes without labels: which images are drawn, and what their views are."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fewshot.augment.image_augment import ImageAugment
from fewshot.augment.pixels import gather_images
from fewshot.episodes.views import ViewProtocol, ViewSampler
from fewshot.errors import FewshotError

SMALL = ViewProtocol(way=10, shot=1, query=3)
CHANGE = ImageAugment(shift=3, flip=True, dropout=0.3)


def test_an_episode_is_views_of_different_images(bank):
    sampler = ViewSampler(bank, SMALL, CHANGE)
    episodes = sampler.episodes(4, 3)
    assert episodes.support.shape == (3, 10, 1, 28, 28)
    assert episodes.query.shape == (3, 30, 1, 28, 28)
    assert episodes.way == 10
    for chosen in episodes.classes:
        assert len(chosen.unique()) == 10
    assert torch.equal(episodes.support_labels, torch.arange(10).expand(3, -1))
    # Every image has as many queries, and each is a view of the image that its label names.
    assert torch.equal(episodes.query_labels.sort(1).values, torch.arange(10).repeat_interleave(3).expand(3, -1))
    plain = ViewSampler(bank, SMALL).episodes(4, 3)
    assert torch.equal(plain.query[:, 1], plain.support[0:3].gather(1, _places(plain, 1)).squeeze(1))


def _places(episodes, query):
    return episodes.query_labels[:, query].view(-1, 1, 1, 1, 1).expand(-1, 1, *episodes.support.shape[2:])


def test_support_views_are_the_images_as_a_test_sees_them(bank):
    bank = bank.replacing(mean=(0.3,), std=(0.7,))
    episodes = ViewSampler(bank, replace(SMALL, shot=2), CHANGE).episodes(0, 2)
    seen = gather_images(bank.items, episodes.classes.flatten(), bank.mean, bank.std)
    for view in (0, 1):
        assert torch.equal(episodes.support[:, view::2].flatten(0, 1), seen)


def test_augmented_views_differ_from_each_other_and_from_the_image(bank):
    episodes = ViewSampler(bank, SMALL, CHANGE).episodes(0, 1)
    for label in range(10):
        mine = episodes.query[0, episodes.query_labels[0] == label]
        assert len(torch.cat([mine, episodes.support[0, label : label + 1]]).flatten(1).unique(dim=0)) == 4
    both = ViewSampler(bank, replace(SMALL, augment_support=True), CHANGE).episodes(0, 1)
    assert not torch.equal(both.support, ViewSampler(bank, SMALL).episodes(0, 1).support)


def test_views_of_another_size_need_supports_that_are_augmented_too(bank):
    cut = ImageAugment(crop_scale=(0.3, 1.0), size=16)
    with pytest.raises(FewshotError, match=r"augment\.size=16 of images of 28x28, and supports are shown as they are"):
        ViewSampler(bank, SMALL, cut)
    made = ViewSampler(bank, replace(SMALL, augment_support=True), cut).episodes(0, 1)
    assert made.support.shape[-2:] == made.query.shape[-2:] == (16, 16)


def test_labels_play_no_part(bank):
    # The same items under other labels; sorted as they must be, they tell other classes apart.
    other = bank.replacing(labels=(torch.arange(len(bank)) >= 7).long(), class_names=["a", "b"])
    mine, others = (ViewSampler(b, SMALL, CHANGE).episodes(5, 4) for b in (bank, other))
    for one, two in zip(mine.tensors(), others.tensors(), strict=True):
        assert torch.equal(one, two)
    assert mine.attributes is None


def test_every_image_is_as_likely_whatever_its_class(bank_of):
    # One class of 2 images and one of 38: episodes that drew classes first would show the two far too often.
    bank = bank_of(counts=[2, 38])
    drawn = ViewSampler(bank, ViewProtocol(way=5)).indices(0, 4000)
    counts = np.bincount(drawn.ravel(), minlength=40)
    assert (np.abs(counts - 500) < 5 * np.sqrt(500)).all()
    together = np.mean([{0, 1} <= set(row) for row in drawn.tolist()])
    assert together == pytest.approx(5 * 4 / (40 * 39), abs=5 * (0.0128 / 4000) ** 0.5)


def test_any_range_is_a_slice_of_the_whole(bank):
    sampler = ViewSampler(bank, SMALL, CHANGE)
    whole = sampler.indices(0, 300)
    for start, count in ((0, 1), (127, 2), (130, 170), (299, 1)):
        assert np.array_equal(ViewSampler(bank, SMALL).indices(start, count), whole[start : start + count])
    first = sampler.episodes(40, 2).query
    sampler.episodes(0, 2)
    assert torch.equal(sampler.episodes(40, 2).query, first)
    assert not np.array_equal(ViewSampler(bank, replace(SMALL, seed=1)).indices(0, 300), whole)


def test_a_whole_bank_can_be_one_episode(bank_of):
    bank = bank_of(classes=2, per_class=4)
    assert sorted(ViewSampler(bank, ViewProtocol(way=8)).indices(3, 1)[0]) == list(range(8))


def test_what_makes_no_views_is_refused(bank):
    with pytest.raises(FewshotError, match="has 240 images; use a smaller way"):
        ViewSampler(bank, ViewProtocol(way=241))
    with pytest.raises(FewshotError, match="holds features"):
        ViewSampler(bank.with_features(torch.zeros(len(bank), 3)), SMALL)
    with pytest.raises(FewshotError, match="leave dirichlet out"):
        ViewProtocol(dirichlet=2.0)
    with pytest.raises(FewshotError, match="shot as one number"):
        ViewProtocol(way=2, shot=(1, 2))
    with pytest.raises(FewshotError, match="query=0"):
        ViewProtocol(query=0)


def test_it_says_what_it_is():
    assert str(SMALL) == "10 images without labels, 1 plain and 3 augmented views of each"
    assert "1 augmented and 3 augmented" in str(replace(SMALL, augment_support=True))
