"""Seen and unseen classes scored together, by learners whose scores are known."""

import numpy as np
import pytest
import torch
from torch import nn

from fewshot.data.bank import Bank
from fewshot.errors import FewshotError
from fewshot.evaluation.generalised import evaluate_generalised
from fewshot.heads.prototype import PrototypeHead
from fewshot.heads.transductive.soft_kmeans import SoftKMeansHead
from fewshot.learners.classifier import ClassifierLearner
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy

SEEN, VAL, NOVEL, SIZE = 6, 4, 5, 15


class Identity(nn.Module):
    feature_size = SIZE

    def forward(self, images):
        return images.flatten(1)


class ByAttributes(nn.Module):
    """The product of a feature with what is known of a class."""

    transductive = False
    needs_support = False
    attribute_size = SIZE

    def forward(self, episodes):
        self.seen = episodes
        return episodes.query @ episodes.attributes.transpose(1, 2)


def bank(first, classes, per_class, noise, name, seed=0):
    """Features of classes that are directions of their own, which are their attributes too."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(classes).repeat_interleave(per_class)
    table = torch.eye(SIZE)[first : first + classes]
    items = table[labels] + noise * torch.randn(len(labels), SIZE, generator=generator)
    return Bank(items, labels, [f"{name} {c}" for c in range(classes)], table, name=name)


def banks(noise=0.3):
    return (
        bank(0, SEEN, 20, noise, "base"),
        bank(0, SEEN, 6, noise, "held out", seed=1),
        bank(SEEN, VAL, 10, noise, "validation", seed=2),
        bank(SEEN + VAL, NOVEL, 10, noise, "novel", seed=3),
    )


def learner(head):
    return MetricLearner(Identity(), head, CrossEntropy())


def test_without_shots_there_is_one_curve_over_all_classes_and_no_support():
    head = ByAttributes()
    base, *rest = banks()
    (found,) = evaluate_generalised(learner(head), None, *rest, shot=0, tasks=20, seed=0)
    assert head.seen.support.shape == (1, 0, SIZE)
    assert head.seen.way == SEEN + NOVEL
    # Half of the held-out images and all novel ones; validation has the other half.
    assert len(head.seen.query[0]) == SEEN * 3 + NOVEL * 10
    scores = (
        torch.cat([rest[0].items[1::2], rest[2].items]) @ torch.cat([base.class_attributes, rest[2].class_attributes]).T
    )
    plain = scores.argmax(1)
    expected = [
        (plain[: SEEN * 3] == rest[0].labels[1::2]).float().mean(),
        (plain[SEEN * 3 :] == SEEN + rest[2].labels).float().mean(),
    ]
    assert found.curve.at(0.0) == pytest.approx([float(value) for value in expected])


def test_without_noise_everything_is_right():
    _, *rest = banks(noise=0.0)
    (found,) = evaluate_generalised(learner(ByAttributes()), None, *rest, shot=0, tasks=1, seed=0)
    numbers = found.numbers()
    assert numbers["ausuc"] == pytest.approx(1.0)
    for name in ("unseen_alone", "seen_alone", "plain_seen", "plain_unseen", "calibrated_harmonic"):
        assert numbers[name] == pytest.approx(100.0)


def test_gamma_comes_from_validation_classes_and_undoes_a_bias_of_the_seen():
    class Biased(ByAttributes):
        def forward(self, episodes):
            lift = torch.zeros(episodes.way)
            lift[:SEEN] = 5.0
            return super().forward(episodes) + lift

    _, *rest = banks()
    (plain,), (biased,) = (
        evaluate_generalised(learner(head), None, *rest, shot=0, tasks=1, seed=0) for head in (ByAttributes(), Biased())
    )
    assert biased.gamma == pytest.approx(plain.gamma + 5.0, abs=1e-5)
    assert biased.gamma == biased.validation.best_gamma()
    assert biased.curve.area == pytest.approx(plain.curve.area, abs=1e-6)
    before, after = plain.numbers(), biased.numbers()
    assert after["plain_unseen"] == 0.0
    assert before["plain_unseen"] > 50
    assert after["calibrated_harmonic"] == pytest.approx(before["calibrated_harmonic"])


def test_other_novel_classes_do_not_change_gamma():
    _, held, validation, novel = banks()
    changed = novel.replacing(items=novel.items.flip(1), _known_fingerprint=None)
    gammas = [
        evaluate_generalised(learner(ByAttributes()), None, held, validation, unseen, shot=0, tasks=1, seed=0)[0].gamma
        for unseen in (novel, changed)
    ]
    assert gammas[0] == gammas[1]


def test_with_shots_base_images_are_the_support_of_the_seen_and_no_shot_is_tested():
    class Spy(PrototypeHead):
        def forward(self, episodes):
            self.seen = episodes
            return super().forward(episodes)

    head = Spy()
    base, *rest = banks()
    found = evaluate_generalised(learner(head), base, *rest, shot=2, tasks=3, seed=0)
    assert len(found) == 3
    assert len({one.curve.area for one in found}) > 1
    support, query = head.seen.support[0], head.seen.query[0]
    assert len(support) == len(base) + 2 * NOVEL
    assert torch.equal(support[: len(base)], base.items)
    assert np.bincount(head.seen.support_labels[0]).tolist() == [20] * SEEN + [2] * NOVEL
    assert len(query) == SEEN * 3 + NOVEL * 8
    assert torch.cdist(query, support[len(base) :]).min() > 0
    again = evaluate_generalised(learner(head), base, *rest, shot=2, tasks=2, seed=0)
    assert [one.curve.area for one in again] == [one.curve.area for one in found[:2]]


def test_what_cannot_be_compared_is_one_line():
    base, *rest = banks()

    def ask(head, learner=learner):
        evaluate_generalised(learner(head), base, *rest, shot=0, tasks=1, seed=0)

    with pytest.raises(FewshotError, match="shot=0 gives no support items, by which PrototypeHead"):
        ask(PrototypeHead())
    with pytest.raises(
        FewshotError, match="SoftKMeansHead is transductive; mode=generalised scores each image by itself"
    ):
        ask(SoftKMeansHead())


def test_a_classifiers_mode_is_left_as_it_was():
    base, *rest = banks()
    model = ClassifierLearner(Identity(), PrototypeHead(), nn.Linear(SIZE, SEEN)).train()
    evaluate_generalised(model, base, *rest, shot=1, tasks=1, seed=0)
    assert model.training
