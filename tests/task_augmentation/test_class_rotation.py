from collections import Counter

import pytest
import torch

from fewshot.errors import FewshotError
from fewshot.task_augmentation.class_rotation import ClassRotation, turned

from .conftest import gradients, learner_of, rng, tasks


def test_four_quarters_are_the_identity_and_one_is_that_of_torch():
    images = torch.rand(2, 3, 2, 5, 5)
    quarters = torch.tensor([[0, 1, 2], [3, 3, 1]])
    again = images
    for _ in range(4):
        again = turned(again, quarters)
    assert torch.equal(again, images)
    for b in range(2):
        for i in range(3):
            expected = images[b, i].rot90(int(quarters[b, i]), (-2, -1))
            assert torch.equal(turned(images, quarters)[b, i], expected)


@pytest.mark.parametrize("distinct", [True, False])
def test_no_turns_are_the_plain_episodes(distinct):
    episodes = tasks()
    plain = gradients(learner_of(), episodes)
    found = gradients(learner_of(ClassRotation(p_rot=0.0, distinct_base=distinct)), episodes)
    assert torch.equal(plain[0].total, found[0].total)
    assert all(torch.equal(value, found[1][name]) for name, value in plain[1].items())


@pytest.mark.parametrize("distinct", [True, False])
def test_all_items_of_a_class_are_turned_alike_and_classes_are_distinct_pairs(distinct):
    episodes = tasks(count=40, way=4)
    rotation = ClassRotation(p_rot=0.75, distinct_base=distinct)
    changed = rotation.draw(episodes, rng()).items(episodes)
    repeated = 0
    for b in range(40):
        pairs = {}
        for own, new, labels in (
            (episodes.support[b], changed.support[b], episodes.support_labels[b]),
            (episodes.query[b], changed.query[b], episodes.query_labels[b]),
        ):
            for image, label in zip(new, labels.tolist(), strict=True):
                found = [
                    (int(labels[i]), r)
                    for i in range(len(own))
                    for r in range(4)
                    if torch.equal(own[i].rot90(r, (-2, -1)), image)
                ]
                assert len(found) == 1
                pairs.setdefault(label, set()).add(found[0])
        assert all(len(found) == 1 for found in pairs.values()), "support and queries of a class share base and turn"
        pairs = [next(iter(found)) for found in pairs.values()]
        assert len(set(pairs)) == 4
        repeated += len({base for base, _ in pairs}) < 4
        if distinct:
            assert [base for base, _ in pairs] == [0, 1, 2, 3]
    assert (repeated == 0) == distinct


def test_turns_are_as_frequent_as_asked():
    quarters = ClassRotation(p_rot=0.6).draw(tasks(count=1000, side=2), rng()).quarters
    counts = Counter(quarters.flatten().tolist())
    assert counts[0] / 4000 == pytest.approx(0.4, abs=0.03)
    assert all(counts[r] / 4000 == pytest.approx(0.2, abs=0.03) for r in (1, 2, 3))


def test_items_of_a_turned_class_that_stands_twice_are_those_of_its_base():
    episodes = tasks(count=50)
    drawn = ClassRotation(p_rot=0.75, distinct_base=False).draw(episodes, rng())
    pairs = 4 * drawn.base + drawn.quarters
    assert bool((pairs.diff(dim=1) > 0).all())
    # With all turns alike, each base class makes a quarter of the classes.
    shares = torch.bincount(drawn.base.flatten()) / drawn.base.numel()
    assert shares.tolist() == pytest.approx([0.25] * 4, abs=0.05)


def test_tests_see_no_turned_class():
    episodes, learner = tasks(), learner_of(ClassRotation(p_rot=1.0)).eval()
    assert torch.equal(learner.predict(episodes), learner_of().eval().predict(episodes))


def test_images_that_are_not_square_are_refused():
    episodes = tasks().map(lambda x: x[..., :8])
    with pytest.raises(FewshotError, match="turns square images, these are 8x16"):
        ClassRotation().draw(episodes, rng())
    with pytest.raises(FewshotError, match=r"p_rot=2\.0; expected 0 to 1"):
        ClassRotation(p_rot=2.0)
