import hashlib

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeIndices, EpisodeSampler, episodes_sha256
from fewshot.errors import FewshotError

FIELDS = EpisodeIndices.__dataclass_fields__
PROTOCOLS = [
    Protocol(5, 1, 15),
    Protocol(3, (1, 2, 4), 5, seed=3),
    Protocol(4, 2, 3, dirichlet=2.0),
    Protocol(12, 1, 19),
    Protocol(4, 0, 3),
    Protocol(4, 0, 3, dirichlet=2.0),
]


def same(a: EpisodeIndices, b: EpisodeIndices) -> bool:
    return all(np.array_equal(getattr(a, f), getattr(b, f)) for f in FIELDS)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=str)
def test_episode_i_is_the_same_in_every_batch_order_and_sampler(bank, protocol):
    sampler = EpisodeSampler(bank, protocol)
    whole = sampler.indices(0, 300)
    for start, count in ((299, 1), (0, 1), (127, 2), (100, 150), (3, 7)):
        assert same(sampler.indices(start, count), whole[start : start + count])
        assert same(EpisodeSampler(bank, protocol).indices(start, count), whole[start : start + count])


def test_ranks_share_the_episodes_of_one_process(bank):
    protocol = PROTOCOLS[0]
    whole = EpisodeSampler(bank, protocol).indices(0, 64)
    ranks = [EpisodeSampler(bank, protocol) for _ in range(4)]
    pieces = [ranks[r].indices(step * 8 + r * 2, 2) for step in range(8) for r in range(4)]
    for field in FIELDS:
        assert np.array_equal(np.concatenate([getattr(p, field) for p in pieces]), getattr(whole, field))


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=str)
def test_support_and_query_are_disjoint_and_labels_tell_the_class(bank, protocol):
    drawn = EpisodeSampler(bank, protocol).indices(0, 200)
    labels = bank.labels.numpy()
    support_labels = np.repeat(np.arange(protocol.way), protocol.shots)
    for i in range(200):
        items = np.concatenate([drawn.support[i], drawn.query[i]])
        assert len(set(items)) == len(items) == protocol.support_size + protocol.query_size
        assert len(set(drawn.classes[i])) == protocol.way
        assert np.array_equal(labels[drawn.support[i]], drawn.classes[i][support_labels])
        assert np.array_equal(labels[drawn.query[i]], drawn.classes[i][drawn.query_labels[i]])


def test_classes_and_images_are_uniform(bank_of):
    bank = bank_of(classes=10, size=2, counts=[6, 9, 20, 6, 7, 8, 30, 6, 6, 6])
    protocol, n = Protocol(3, 1, 2), 20000
    drawn = EpisodeSampler(bank, protocol).indices(0, n)
    for label in range(3):
        assert chisquare(np.bincount(drawn.classes[:, label], minlength=10)).pvalue > 1e-4
    for role in (drawn.support, drawn.query):
        seen, counts, offsets = np.bincount(role.ravel(), minlength=len(bank)), bank.counts, bank.offsets
        for c in range(10):
            assert chisquare(seen[offsets[c] : offsets[c] + counts[c]]).pvalue > 1e-4


def test_images_are_uniform_too_where_classes_are_large(bank_of):
    # Few out of many go through another algorithm than few out of few; pairs must be uniform as well.
    bank = bank_of(classes=2, per_class=12, size=2)
    drawn = EpisodeSampler(bank, Protocol(2, 1, 2)).indices(0, 30000)
    assert chisquare(np.bincount(drawn.support.ravel(), minlength=24)).pvalue > 1e-4
    first = drawn.classes[:, 0] == 0
    queries = drawn.query[first][drawn.query_labels[first] == 0].reshape(-1, 2)
    pairs = np.bincount(queries.min(1) * 12 + queries.max(1), minlength=144).reshape(12, 12)
    assert chisquare(pairs[np.triu_indices(12, 1)]).pvalue > 1e-4
    assert pairs[np.tril_indices(12)].sum() == 0


def test_what_was_drawn_cannot_be_written_into(bank):
    drawn = EpisodeSampler(bank, Protocol()).indices(0, 3)
    with pytest.raises(ValueError, match="read-only"):
        drawn.query[0, 0] = 0


def test_queries_are_shuffled(bank):
    labels = EpisodeSampler(bank, Protocol(5, 1, 15)).indices(0, 4000).query_labels
    for position in (0, 37, 74):
        assert chisquare(np.bincount(labels[:, position], minlength=5)).pvalue > 1e-4


def test_seeds_and_protocols_have_streams_of_their_own(bank):
    def hash_of(**fields):
        return episodes_sha256(EpisodeSampler(bank, Protocol(**({"episodes": 20} | fields))))

    hashes = [hash_of(), hash_of(seed=1), hash_of(shot=2), hash_of(query=14), hash_of(way=4)]
    assert len(set(hashes)) == len(hashes)
    assert hash_of() == hash_of()


def test_the_number_of_episodes_does_not_change_them(bank):
    few, many = (EpisodeSampler(bank, Protocol(episodes=n)).indices(0, 10) for n in (10, 1000))
    assert same(few, many)


def test_hash_is_that_of_all_indices_in_order(bank):
    sampler = EpisodeSampler(bank, Protocol(episodes=300))
    drawn = sampler.indices(0, 300)
    expected = hashlib.sha256()
    for i in range(300):
        expected.update(np.concatenate([drawn.support[i], drawn.query[i]]).astype("<i8").tobytes())
    assert episodes_sha256(sampler) == expected.hexdigest()


def test_episodes_stay_what_they_were_in_earlier_versions(bank_of):
    # Numbers in the field's tables stand on these draws. A change here is a new benchmark.
    bank = bank_of(classes=64, per_class=100, size=1)
    hashes = [
        episodes_sha256(EpisodeSampler(bank, p))[:16]
        for p in (Protocol(), Protocol(20, 5, 15, seed=1), Protocol(5, 1, 5, dirichlet=2.0))
    ]
    assert hashes == ["5ce73d43c18c9ac2", "4d5d0c4ab30c759d", "f88c70c722089009"]


def test_zero_shot_tasks_are_queries_alone_as_batches_and_as_banks_of_features(bank):
    protocol = Protocol(12, 0, 20)
    episodes = EpisodeSampler(bank, protocol).episodes(0, 3)
    assert episodes.support.shape == (3, 0, 1, 28, 28)
    assert episodes.support_labels.shape == (3, 0)
    assert episodes.support_labels.dtype == torch.int64
    # All items of all classes: nothing was kept for a support.
    drawn = EpisodeSampler(bank, protocol).indices(0, 3)
    assert np.array_equal(np.sort(drawn.query, axis=1), np.broadcast_to(np.arange(240), (3, 240)))
    assert drawn.sha256() == hashlib.sha256(drawn.query.astype("<i8").tobytes()).hexdigest()
    features = episodes.map(lambda images: images.flatten(1)[:, :5])
    assert features.support.shape == (3, 0, 5)
    vectors = EpisodeSampler(bank.with_features(bank.items.flatten(1).float()), protocol).episodes(0, 3)
    assert vectors.support.shape == (3, 0, 784)
    assert torch.equal(vectors.query_labels, episodes.query_labels)


def test_dirichlet_queries_have_the_right_total_and_spread(bank_of):
    bank = bank_of(classes=8, per_class=120, size=1)
    protocol = Protocol(5, 1, 15, dirichlet=2.0)
    labels = EpisodeSampler(bank, protocol).indices(0, 4000).query_labels
    counts = np.stack([(labels == c).sum(1) for c in range(5)], axis=1)
    assert (counts.sum(1) == 75).all()
    # Dirichlet(2 * 1_5): mean 15, standard deviation 75 * sqrt(0.2 * 0.8 / 11) = 9.045.
    assert np.allclose(counts.mean(0), 15, atol=0.5)
    assert np.allclose(counts.std(0), 9.045, atol=0.35)


def test_dirichlet_queries_never_take_more_than_a_class_has(bank_of):
    bank = bank_of(size=1, counts=[20, 22, 25, 30, 20, 21])
    protocol = Protocol(5, 3, 15, dirichlet=0.3)
    drawn = EpisodeSampler(bank, protocol).indices(0, 500)
    for i in range(500):
        items = np.concatenate([drawn.support[i], drawn.query[i]])
        assert len(set(items)) == len(items) == 15 + 75


def test_features_of_a_bank_give_the_same_episodes(bank):
    features = bank.with_features(torch.arange(len(bank), dtype=torch.float32)[:, None])
    images, vectors = EpisodeSampler(bank, PROTOCOLS[0]), EpisodeSampler(features, PROTOCOLS[0])
    assert same(images.indices(5, 50), vectors.indices(5, 50))
    assert np.array_equal(vectors.episodes(5, 50).query[..., 0].numpy(), vectors.indices(5, 50).query)


@pytest.mark.parametrize("channels_last", [False, True])
def test_images_are_those_of_the_indices_normalised(bank_of, channels_last):
    bank = bank_of(channels=3, size=5).replacing(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    sampler = EpisodeSampler(bank, Protocol(3, 2, 4), channels_last=channels_last)
    episodes, drawn = sampler.episodes(7, 6), sampler.indices(7, 6)
    mean, std = torch.tensor(bank.mean).view(3, 1, 1), torch.tensor(bank.std).view(3, 1, 1)
    for role in ("support", "query"):
        expected = (bank.items[torch.tensor(getattr(drawn, role))] / 255 - mean) / std
        torch.testing.assert_close(getattr(episodes, role), expected)


def test_augmented_images_depend_on_the_episode_only(bank):
    def noise(images, generator):
        return images + torch.rand(images.shape, generator=generator)

    sampler = EpisodeSampler(bank, Protocol(), augment=noise)
    assert torch.equal(sampler.episodes(3, 2).query, sampler.episodes(3, 2).query)
    assert not torch.equal(sampler.episodes(3, 1).query, sampler.episodes(4, 1).query)


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        (Protocol(13, 1, 1), ["way=13", "12 classes"]),
        (Protocol(5, 6, 15), ["21 items", "class 0", "has 20"]),
        (Protocol(5, (1, 1, 1, 1, 9), 15), ["24 items"]),
        (Protocol(5, 0, 21), ["shot 0 + query 21 needs 21 items"]),
        (Protocol(5, 1, 50, dirichlet=2.0), ["250 query items", "have 95"]),
        (Protocol(5, 25, 1, dirichlet=2.0), ["the 20 of class"]),
    ],
)
def test_a_bank_that_is_too_small_is_refused_in_one_line(bank, protocol, words):
    with pytest.raises(FewshotError) as caught:
        EpisodeSampler(bank, protocol)
    assert all(word in str(caught.value) for word in words)


def test_the_smallest_class_is_named(bank_of):
    with pytest.raises(FewshotError, match="'class 2' of bank/all has 4"):
        EpisodeSampler(bank_of(size=1, counts=[20, 20, 4, 20, 20, 20]), Protocol(5, 1, 15))
