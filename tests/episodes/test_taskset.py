import pytest
import torch
from torch.utils.data import DataLoader

from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.episodes.taskset import Taskset
from fewshot.errors import FewshotError


def taskset(bank, order="blocks", shot=2, query=3, **protocol):
    return Taskset(EpisodeSampler(bank, Protocol(4, shot, query, **{"episodes": 5, **protocol})), order)


def items_of(items):
    """Items as a set, whatever their order."""
    return {tuple(item.flatten().tolist()) for item in items}


@pytest.mark.parametrize(("order", "query"), [("blocks", 3), ("blocks", 2), ("alternating", 2)])
def test_a_task_is_an_episode(bank, order, query):
    tasks = taskset(bank, order, query=query)
    for index in range(5):
        items, labels = tasks[index]
        episode = tasks.sampler.episodes(index, 1)
        assert items_of(items) == items_of(episode.support[0]) | items_of(episode.query[0])
        assert labels.tolist() == sorted(labels.tolist())
        for name in ("support", "query"):
            own, own_labels = getattr(episode, name)[0], getattr(episode, f"{name}_labels")[0]
            for c in range(4):
                assert items_of(own[own_labels == c]) <= items_of(items[labels == c])


def test_blocks_have_the_support_of_a_class_first(bank):
    tasks = taskset(bank)
    items, _ = tasks[1]
    episode = tasks.sampler.episodes(1, 1)
    assert torch.equal(items.unflatten(0, (4, 5))[:, :2].flatten(0, 1), episode.support[0])


def test_alternating_has_the_support_at_even_places(bank):
    tasks = taskset(bank, "alternating", query=2)
    items, labels = tasks[3]
    episode = tasks.sampler.episodes(3, 1)
    assert torch.equal(items[::2], episode.support[0])
    assert torch.equal(labels[::2], episode.support_labels[0])
    assert items_of(items[1::2]) == items_of(episode.query[0])


def test_a_task_depends_on_its_index_alone(bank):
    one, other = taskset(bank), taskset(bank)
    backwards = [other[i] for i in (4, 3, 2, 1, 0)][::-1]
    for (items, labels), (same, same_labels) in zip(one, backwards, strict=True):
        assert torch.equal(items, same)
        assert torch.equal(labels, same_labels)
    assert torch.equal(one[-1][0], one[4][0])
    assert not torch.equal(one[0][0], one[1][0])


def test_samples_come_in_order_and_start_anew(bank):
    tasks = taskset(bank, episodes=2)
    drawn = [tasks.sample()[0] for _ in range(3)]
    assert torch.equal(drawn[0], tasks[0][0])
    assert torch.equal(drawn[1], tasks[1][0])
    assert torch.equal(drawn[2], tasks[0][0])


def test_it_ends_and_goes_through_a_data_loader(bank):
    tasks = taskset(bank)
    assert len(list(tasks)) == len(list(tasks)) == len(tasks) == 5
    loaded = list(DataLoader(tasks, batch_size=None))
    assert torch.equal(loaded[2][0], tasks[2][0])
    with pytest.raises(IndexError, match="task 5 of 5"):
        tasks[5]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"order": "mixed"}, "order=mixed; expected one of blocks, alternating"),
        ({"order": "alternating"}, "order=alternating needs as many queries as shots"),
        ({"shot": (1, 2, 2, 2)}, "learn2learn takes tasks of even classes"),
        ({"dirichlet": 2.0}, "learn2learn takes tasks of even classes"),
    ],
)
def test_what_cannot_be_is_one_line(bank, options, words):
    with pytest.raises(FewshotError) as caught:
        taskset(bank, **options)
    assert str(caught.value).startswith(words)
