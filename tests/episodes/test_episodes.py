import torch

from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.episodes.support_split import split_support


def test_map_treats_every_item_alike_and_keeps_labels(bank):
    episodes = EpisodeSampler(bank, Protocol(4, 2, 3)).episodes(0, 5)
    calls = []

    def flatten(images):
        calls.append(len(images))
        return images.flatten(1)[:, :7]

    features = episodes.map(flatten)
    assert calls == [5 * (8 + 12)]
    assert torch.equal(features.support, episodes.support.flatten(2)[..., :7])
    assert torch.equal(features.query, episodes.query.flatten(2)[..., :7])
    assert features.query_labels is episodes.query_labels
    assert features.way == 4
    assert len(features) == 5


def test_to_moves_everything(bank):
    episodes = EpisodeSampler(described(bank), Protocol()).episodes(0, 1).to("meta")
    assert [tensor.device.type for tensor in episodes.tensors()] == ["meta"] * 6


def described(bank):
    return bank.replacing(class_attributes=torch.arange(3.0 * bank.num_classes).reshape(-1, 3))


def test_what_is_known_of_a_class_comes_with_the_tasks_and_stays_with_them(bank):
    bank = described(bank)
    episodes = EpisodeSampler(bank, Protocol(4, 2, 3)).episodes(0, 5)
    assert torch.equal(episodes.attributes, bank.class_attributes[episodes.classes])
    second = episodes.split(2)[1]
    assert torch.equal(second.attributes, episodes.attributes[2:4])
    for other in (second.without_support(), second.without_queries(), second.map(lambda x: x.flatten(1))):
        assert other.attributes is second.attributes
    for how, tasks in (("items", 1), ("halves", 1), ("leave_one_out", 8)):
        expected = second.attributes.repeat_interleave(tasks, dim=0)
        assert torch.equal(split_support(second, how).attributes, expected)


def test_the_first_queries_are_the_first_queries(bank):
    episodes = EpisodeSampler(bank, Protocol(4, 2, 3)).episodes(0, 2)
    few = episodes.with_first_queries(5)
    assert torch.equal(few.query, episodes.query[:, :5])
    assert torch.equal(few.query_labels, episodes.query_labels[:, :5])
    assert few.support is episodes.support
