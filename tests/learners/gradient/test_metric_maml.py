"""MAML around a metric: what is adapted is a distance, by steps on the support set."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from fewshot.episodes.protocol import Protocol
from fewshot.errors import FewshotError
from fewshot.heads.prototype import PrototypeHead
from fewshot.learners.gradient.maml import MAML
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.losses.icnn import ICNN
from fewshot.losses.proto_triplet import ProtoTriplet
from fewshot.training.meta_train import meta_train
from fewshot.training.settings import TrainingSettings

from .conftest import Net, assert_finite_differences, gradients, metric_maml, tasks

BOTH = pytest.mark.parametrize("how", ["loop", "vmap"])


@pytest.mark.parametrize("distance", ["mahalanobis", "euclidean", "cosine"])
def test_without_steps_it_is_prototypical_networks(distance):
    torch.manual_seed(0)
    plain = MetricLearner(Net(), PrototypeHead(distance, feature_size=4), CrossEntropy()).double().eval()
    learner, episodes = metric_maml(distance, steps=0).eval(), tasks()
    torch.testing.assert_close(learner.predict(episodes), plain.predict(episodes), rtol=0, atol=1e-12)


@BOTH
def test_a_temperature_moves_by_the_closed_form(how):
    learner = metric_maml("euclidean", steps=1, tasks=how).eval()
    episodes = tasks(shot=3)
    features = episodes.map(learner.embed)
    for b in range(len(episodes)):
        z, y = features.support[b], episodes.support_labels[b]
        slopes = []
        for i in range(len(z)):
            kept = torch.arange(len(z)) != i
            centres = torch.stack([z[kept & (y == c)].mean(0) for c in range(3)])
            d = (z[i] - centres).square().sum(1)
            p = (-d).softmax(0)
            # d CE / d log tau at tau = 1, with tau times the distance: tau * (D_y - sum_c p_c D_c); here log tau = -log t.
            slopes.append(-(d[y[i]] - p @ d))
        log_t = -0.1 * torch.stack(slopes).mean()
        centres = torch.stack([z[y == c].mean(0) for c in range(3)])
        expected = -(features.query[b][:, None] - centres).square().sum(-1) / log_t.exp()
        torch.testing.assert_close(learner.predict(episodes)[b], expected, rtol=0, atol=1e-12)


@BOTH
@pytest.mark.parametrize("loss", [CrossEntropy, ProtoTriplet])
def test_the_meta_gradient_is_that_of_finite_differences(how, loss):
    learner, episodes = metric_maml(loss=loss(), tasks=how), tasks(shot=3)
    # BatchNorm in training sees all tasks together, and remembers; neither is part of the gradient of what it makes.
    assert_finite_differences(learner, episodes, gradients(learner, episodes), rel=1e-5, abs=1e-8)


@BOTH
def test_any_loss_can_be_that_of_the_steps(how):
    # A distance learns nothing from a loss of features; the embedding does.
    options = {"adapts": "backbone", "norm": "support", "split": "halves", "lr": 0.5, "tasks": how}
    episodes = tasks(shot=4)
    plain = metric_maml(steps=0, norm="support", adapts="backbone").predict(episodes)
    for inner in (ICNN(neighbours=2), ProtoTriplet()):
        learner = metric_maml(inner_loss=inner, **options)
        assert (learner.predict(episodes) - plain).abs().max() > 1e-4
        learner.training_loss(episodes).total.backward()
        assert all(p.grad.isfinite().all() for p in learner.backbone.parameters())


def test_the_order_of_classes_does_not_matter():
    learner, episodes, turn = metric_maml().eval(), tasks(), torch.tensor([2, 0, 1])
    turned = type(episodes)(
        episodes.support, turn[episodes.support_labels], episodes.query, episodes.query_labels, episodes.classes
    )
    torch.testing.assert_close(learner.predict(turned)[..., turn], learner.predict(episodes), rtol=0, atol=1e-12)


def test_with_a_diagonal_metric_the_support_loss_falls():
    episodes = tasks(shot=4)
    losses = []
    for steps in (0, 20):
        learner = metric_maml(steps=steps, lr=0.5).eval()
        features = episodes.map(learner.embed)
        own = replace(features, query=features.support, query_labels=features.support_labels)
        losses.append(cross_entropy(learner.predict_features(own).flatten(0, 1), episodes.support_labels.flatten()))
    assert losses[1] < losses[0]


def test_one_shot_cannot_be_split():
    with pytest.raises(
        FewshotError, match="split=leave_one_out needs at least 2 shots of each class, these tasks have 1"
    ):
        metric_maml().predict(tasks(shot=1))


def test_it_trains_a_metric_on_images(bank):
    torch.manual_seed(0)
    head = PrototypeHead("mahalanobis", learn_temperature=True, feature_size=4)
    learner = MAML(
        MetricLearner(Net(), head, CrossEntropy()), 2, adapts="head", norm="running", split="leave_one_out", lr=0.1
    )
    before = {name: p.detach().clone() for name, p in learner.named_parameters()}
    meta_train(learner, bank, Protocol(3, 2, 2, episodes=4), settings=TrainingSettings(2), show_progress=False)
    assert all((p != before[name]).any() for name, p in learner.named_parameters())
