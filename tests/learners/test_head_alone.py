"""Heads that score features which were made elsewhere."""

import numpy as np
import pytest
import torch

from fewshot import Bank, FewshotError, Protocol, evaluate, open_head
from fewshot.backbones.pixels import Pixels
from fewshot.evaluation.embedding import embed_bank
from fewshot.heads.eszsl import ESZSLHead
from fewshot.heads.nearest_centroid import NearestCentroidHead
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy

PROTOCOL = Protocol(5, 2, 3, episodes=20)
OPTIONS = {"bd_cspn": {"features": "l2n"}}


def elsewhere(bank, **about):
    """Features of a bank's images and their labels, in another order."""
    order = np.random.default_rng(0).permutation(len(bank))
    features, labels = (bank.items.flatten(1).float() / 255).numpy(), bank.labels.numpy()
    return Bank.of(features[order], np.array([f"class {label:02}" for label in labels])[order], **about)


@pytest.mark.parametrize("name", ["prototype", "ridge", "tim", "bd_cspn", "logistic"])
def test_it_scores_as_the_learner_does_that_makes_the_features(bank, name):
    learner = MetricLearner(Pixels(1, 28), open_head(name, Pixels(1, 28), **OPTIONS.get(name, {})), CrossEntropy())
    whole = evaluate(learner, bank, PROTOCOL)
    features = embed_bank(learner, bank)
    alone = evaluate(open_head(name, bank=features, **OPTIONS.get(name, {})), features, PROTOCOL)
    np.testing.assert_array_equal(alone.accuracies, whole.accuracies)
    assert alone.transductive == whole.transductive


def test_the_mean_of_base_features_is_taken_off(bank_of):
    base, features = (elsewhere(bank_of(noise=0.9, seed=seed)) for seed in (3, 4))
    shift = 10 * torch.rand(784)
    shifted, moved = (b.replacing(items=b.items + shift, _known_fingerprint=None) for b in (features, base))
    head = NearestCentroidHead("cl2n", feature_size=784)
    with pytest.raises(FewshotError, match="NearestCentroidHead needs the base classes; give base="):
        evaluate(head, features, PROTOCOL)
    plain, both = evaluate(head, features, PROTOCOL, base=base), evaluate(head, shifted, PROTOCOL, base=moved)
    np.testing.assert_array_equal(plain.accuracies, both.accuracies)
    other = evaluate(head, shifted, PROTOCOL, base=base)
    assert (other.accuracies != plain.accuracies).any()


def test_a_fit_to_the_base_classes_is_made(bank, bank_of):
    known = torch.eye(12)
    base = elsewhere(bank_of(seed=3), class_attributes=known)
    features = elsewhere(bank, class_attributes=known)
    head = ESZSLHead(feature_size=784, attribute_size=12)
    found = evaluate(head, features, Protocol(5, 0, 3, episodes=20), base=base)
    assert found.side_information != "none"
    # Another base is another fit, and no base the last one.
    other = base.replacing(class_attributes=known.flip(0))
    again = evaluate(head, features, Protocol(5, 0, 3, episodes=20), base=other)
    assert (again.accuracies != found.accuracies).any()
    kept = evaluate(head, features, Protocol(5, 0, 3, episodes=20))
    np.testing.assert_array_equal(kept.accuracies, again.accuracies)


def test_what_cannot_score_is_one_line(bank):
    features = elsewhere(bank)
    with pytest.raises(FewshotError, match="a str scores no tasks"):
        evaluate("tim", features, PROTOCOL)
    with pytest.raises(FewshotError, match="TIMHead is no learner, and bank/all has images"):
        evaluate(open_head("tim", Pixels(1, 28)), bank, PROTOCOL)
    few = features.replacing(items=features.items[:, :9], _known_fingerprint=None)
    with pytest.raises(FewshotError, match="base has 9 features, bank/all 784"):
        evaluate(NearestCentroidHead("cl2n", feature_size=784), features, PROTOCOL, base=few)
    learner = MetricLearner(Pixels(1, 28), open_head("prototype", Pixels(1, 28)), CrossEntropy())
    with pytest.raises(FewshotError, match="base= is for a head by itself"):
        evaluate(learner, bank, PROTOCOL, base=features)
    wrong = features.replacing(items=features.items.clone())
    wrong.items[3, 5] = torch.inf
    with pytest.raises(FewshotError, match="base has features that are infinite or no numbers"):
        evaluate(NearestCentroidHead("cl2n", feature_size=784), features, PROTOCOL, base=wrong)
    with pytest.raises(FewshotError, match=r"base is of type ndarray; expected Bank\.of"):
        evaluate(NearestCentroidHead("cl2n", feature_size=784), features, PROTOCOL, base=np.zeros((3, 784)))


def test_the_head_is_left_in_its_mode_and_keeps_its_mean(bank):
    features = elsewhere(bank)
    for mode in (True, False):
        head = NearestCentroidHead("cl2n", feature_size=784).train(mode)
        first = evaluate(head, features, PROTOCOL, base=features)
        assert head.training == mode
        np.testing.assert_array_equal(evaluate(head, features, PROTOCOL).accuracies, first.accuracies)


def test_a_head_with_random_weights_is_not_opened_for_features(bank):
    with pytest.raises(FewshotError, match=r"head feat has weights of its own, which are random.*backbone="):
        open_head("feat", bank=elsewhere(bank))
