import torch

from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeSampler


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
    episodes = EpisodeSampler(bank, Protocol()).episodes(0, 1).to("meta")
    assert {getattr(episodes, name).device.type for name in episodes.__dataclass_fields__} == {"meta"}
