"""Tasks without a common image."""

import numpy as np
import pytest

from fewshot.episodes.disjoint import disjoint_indices
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.errors import FewshotError


@pytest.mark.parametrize("counts", [[20] * 12, [8, 9, 30, 41, 17, 22, 25], [10] * 5])
def test_no_image_twice_and_no_task_left_over(bank_of, counts):
    bank, protocol = bank_of(counts=counts), Protocol(5, 2, 3, seed=4)
    drawn = disjoint_indices(bank, protocol)
    used = np.concatenate([drawn.support.ravel(), drawn.query.ravel()])
    assert len(np.unique(used)) == len(used)
    labels = bank.labels.numpy()
    np.testing.assert_array_equal(labels[drawn.query], np.take_along_axis(drawn.classes, drawn.query_labels, axis=1))
    np.testing.assert_array_equal(labels[drawn.support], np.repeat(drawn.classes, 2, axis=1))
    assert (np.sort(drawn.query_labels, axis=1) == np.repeat(np.arange(5), 3)).all()
    left = np.bincount(labels) - np.bincount(labels[used], minlength=len(counts))
    assert (left >= 5).sum() < 5, "there was room for another task"


def test_classes_of_one_size_are_used_equally_often_in_all_combinations(bank_of):
    bank = bank_of(classes=10, per_class=25, size=2)
    firsts = np.concatenate([disjoint_indices(bank, Protocol(5, 1, 4, seed=s)).classes for s in range(200)])
    assert len(firsts) == 200 * 10, "all images are used"
    assert (np.bincount(firsts.ravel()) == 1000).all()
    first_label = np.bincount(firsts[:, 0], minlength=10)
    assert abs(first_label - 200).max() < 60, "no class has a favourite label"


def test_the_seed_decides_and_gathering_gives_what_was_drawn(bank_of):
    bank, protocol = bank_of(), Protocol(3, (1, 2, 3), 4, seed=1)
    drawn, again = disjoint_indices(bank, protocol), disjoint_indices(bank, protocol)
    assert drawn.sha256() == again.sha256() != disjoint_indices(bank, Protocol(3, (1, 2, 3), 4, seed=2)).sha256()
    episodes = EpisodeSampler(bank, protocol).gather(drawn)
    assert episodes.support.shape[:2] == (len(drawn.classes), 6)
    np.testing.assert_array_equal(episodes.query_labels.numpy(), drawn.query_labels)
    expected = bank.items[drawn.query[0, 0]].float() / 255
    np.testing.assert_allclose(episodes.query[0, 0].numpy(), expected.numpy(), atol=1e-6)


def test_uneven_queries_and_too_few_images_are_refused(bank_of):
    with pytest.raises(FewshotError, match="even queries"):
        disjoint_indices(bank_of(), Protocol(dirichlet=2.0))
    with pytest.raises(FewshotError, match="does not have"):
        disjoint_indices(bank_of(per_class=5), Protocol(5, 1, 15))
