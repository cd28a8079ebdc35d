import pytest
import torch

from fewshot.episodes.episodes import Episodes
from fewshot.episodes.prototypes import prototypes
from fewshot.episodes.support_split import split_support
from fewshot.errors import FewshotError


def episodes(labels, items=None, tasks=2):
    labels = torch.tensor(labels).expand(tasks, -1).contiguous()
    if items is None:
        items = torch.randn(*labels.shape, 3, generator=torch.Generator().manual_seed(0))
    way = int(labels.max()) + 1
    return Episodes(items, labels, items[:, :0], labels[:, :0], torch.arange(way).expand(tasks, -1))


def test_items_are_queries_without_a_support():
    given = episodes([0, 0, 1, 1])
    split = split_support(given, "items")
    assert split.support.shape == (2, 0, 3)
    assert torch.equal(split.query, given.support)
    assert torch.equal(split.query_labels, given.support_labels)


def test_halves_take_the_first_items_of_each_class_in_any_order():
    given = episodes([1, 0, 1, 0, 0, 1])
    split = split_support(given, "halves")
    assert split.support_labels.tolist() == [[0, 0, 1, 1]] * 2
    assert split.query_labels.tolist() == [[0, 1]] * 2
    assert torch.equal(split.support, given.support[:, [1, 3, 0, 2]])
    assert torch.equal(split.query, given.support[:, [4, 5]])


def test_images_are_split_too():
    images = torch.rand(2, 4, 1, 5, 5)
    split = split_support(episodes([0, 1, 0, 1], images), "halves")
    assert torch.equal(split.support, images[:, :2])
    assert torch.equal(split.query, images[:, 2:])


def test_each_item_is_left_out_of_its_own_prototype():
    given = episodes([0, 0, 0, 1, 1, 1])
    split = split_support(given, "leave_one_out")
    assert split.support.shape == (12, 5, 3)
    centres = prototypes(split.support, split.support_labels, 2).unflatten(0, (2, 6))
    full = prototypes(given.support, given.support_labels, 2)
    for b in range(2):
        for i in range(6):
            own, item = int(given.support_labels[b, i]), given.support[b, i]
            torch.testing.assert_close(centres[b, i, own], (3 * full[b, own] - item) / 2)
            torch.testing.assert_close(centres[b, i, 1 - own], full[b, 1 - own])
            assert torch.equal(split.query[6 * b + i, 0], item)


@pytest.mark.parametrize("how", ["halves", "leave_one_out"])
def test_one_shot_is_one_line(how):
    with pytest.raises(FewshotError, match=f"split={how} needs at least 2 shots of each class, these tasks have 1"):
        split_support(episodes([0, 1]), how)


def test_uneven_shots_and_unknown_ways_are_one_line():
    with pytest.raises(FewshotError, match="needs as many support items of each class"):
        split_support(episodes([0, 0, 1]), "halves")
    with pytest.raises(FewshotError, match="split=thirds; expected one of items, halves, leave_one_out"):
        split_support(episodes([0, 1]), "thirds")
