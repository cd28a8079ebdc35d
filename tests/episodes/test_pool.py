"""A pool of training episodes: the first ones of the stream, each as often as any other."""

from collections import Counter

import numpy as np
import pytest
import torch

from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.errors import FewshotError


def rows(indices):
    return [tuple(s) + tuple(q) for s, q in zip(indices.support.tolist(), indices.query.tolist(), strict=True)]


@pytest.mark.parametrize("pool", [1, 7, 300])
def test_it_is_the_first_episodes_again_and_again(bank, pool):
    plain = EpisodeSampler(bank, Protocol(query=3))
    pooled = EpisodeSampler(bank, Protocol(query=3, pool=pool))
    first = rows(plain.indices(0, pool))
    assert rows(pooled.indices(0, pool)) == first
    for turn in (1, 2, 5):
        again = rows(pooled.indices(turn * pool, pool))
        assert Counter(again) == Counter(first)
        assert pool == 1 or again != first


def test_any_part_of_it_is_the_same_in_any_batch(bank):
    whole = EpisodeSampler(bank, Protocol(query=3, pool=10)).indices(0, 60)
    sampler = EpisodeSampler(bank, Protocol(query=3, pool=10))
    for start, count in ((7, 9), (0, 3), (25, 20), (59, 1)):
        part = sampler.indices(start, count)
        for name in ("classes", "support", "query", "query_labels"):
            assert np.array_equal(getattr(part, name), getattr(whole, name)[start : start + count])
    episodes = sampler.episodes(7, 9)
    assert episodes.classes.tolist() == whole.classes[7:16].tolist()


def test_orders_depend_on_the_seed(bank):
    def order(seed):
        sampler = EpisodeSampler(bank, Protocol(query=3, pool=20, seed=seed))
        first = rows(sampler.indices(0, 20))
        return [first.index(row) for row in rows(sampler.indices(20, 20))]

    assert order(0) != order(1)


def test_images_are_augmented_anew_each_time(bank):
    def noise(images, generator):
        return images + torch.rand(images.shape, generator=generator)

    sampler = EpisodeSampler(bank, Protocol(query=3, pool=1), augment=noise)
    assert torch.equal(sampler.episodes(4, 1).query, sampler.episodes(4, 1).query)
    assert not torch.equal(sampler.episodes(4, 1).query, sampler.episodes(5, 1).query)
    assert torch.equal(sampler.episodes(4, 1).classes, sampler.episodes(5, 1).classes)


def test_protocols_tell_of_it():
    assert str(Protocol(pool=100)) == "5-way 1-shot 15-query, 100 tasks"
    assert Protocol(pool=100).as_dict()["pool"] == 100
    # So that protocols of files made before there were pools are what they were.
    assert "pool" not in Protocol().as_dict()
    for pool in (0, -1, 2.5, True):
        with pytest.raises(FewshotError, match="pool="):
            Protocol(pool=pool)
