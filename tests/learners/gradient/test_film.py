"""The reconstruction of FILM: MAML whose steps on the support adapt the similarity of images and class names."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from fewshot.backbones.text_ngrams import NgramEncoder
from fewshot.episodes.protocol import Protocol
from fewshot.evaluation.scoring import evaluate
from fewshot.heads.film_like import FilmLikeHead
from fewshot.learners.gradient.maml import MAML
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.semantics.class_name_text import ClassNameText
from fewshot.training.meta_train import meta_train
from fewshot.training.settings import TrainingSettings

from .conftest import Net, assert_finite_differences, gradients, tasks

FORMS = pytest.mark.parametrize("metric", ["diagonal", "bilinear", "mlp"])


def film(metric="bilinear", fusion=0.0, attributes=5, seed=0, **options) -> MAML:
    torch.manual_seed(seed)
    head = FilmLikeHead(4, attributes, size=6, metric=metric, rank=2, hidden=3, fusion=fusion)
    options = {"steps": 3, "lr": 0.1, "adapts": "head.metric", "norm": "running", **options}
    return MAML(MetricLearner(Net(), head, CrossEntropy()), **options).double()


def informed(**options):
    episodes = tasks(**options)
    generator = torch.Generator().manual_seed(5)
    attributes = torch.randn(len(episodes), episodes.way, 5, generator=generator, dtype=torch.float64)
    return replace(episodes, attributes=attributes)


@FORMS
def test_without_steps_it_is_the_head_alone(metric):
    learner, episodes = film(metric, test_steps=0).eval(), informed()
    expected = learner.head(episodes.map(learner.embed))
    torch.testing.assert_close(learner.predict(episodes), expected, rtol=0, atol=1e-10)


@FORMS
@pytest.mark.parametrize("how", ["loop", "vmap"])
def test_steps_are_plain_gradient_steps_on_the_support(metric, how):
    learner, episodes = film(metric, tasks=how).eval(), informed()
    with torch.no_grad():
        features = episodes.map(learner.embed)
    for b in range(len(episodes)):
        own = film(metric).eval().head
        task = replace(features, **{k: v[b : b + 1] for k, v in vars(features).items()})
        support = replace(task, query=task.support, query_labels=task.support_labels)
        optimizer = torch.optim.SGD(own.metric.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            cross_entropy(own(support).flatten(0, 1), support.query_labels.flatten()).backward()
            optimizer.step()
        torch.testing.assert_close(learner.predict(episodes)[b], own(task)[0], rtol=0, atol=1e-9)


@FORMS
def test_the_meta_gradient_is_that_of_finite_differences(metric):
    learner, episodes = film(metric), informed()
    found = gradients(learner, episodes)
    assert all((g != 0).any() for name, g in found.items() if not name.startswith("learner.head.metric.network"))
    assert_finite_differences(learner, episodes, found, rel=1e-4, abs=1e-7)


def test_only_the_metric_is_adapted():
    learner, episodes = film(lr=5.0).eval(), informed()
    assert {name.rpartition(".")[0] for name in learner.adapted} == {"head.metric"}
    before = {name: p.detach().clone() for name, p in learner.named_parameters()}
    learner.predict(episodes)
    assert all((p == before[name]).all() for name, p in learner.named_parameters())


@FORMS
def test_steps_lower_the_loss_of_the_support(metric):
    episodes, losses = informed(shot=4), []
    for steps in (0, 25):
        learner = film(metric, test_steps=steps, lr=0.02).eval()
        own = replace(episodes, query=episodes.support, query_labels=episodes.support_labels)
        losses.append(float(cross_entropy(learner.predict(own).flatten(0, 1), own.query_labels.flatten())))
    assert losses[1] < losses[0]


def test_fusion_is_of_the_scores_and_not_of_the_steps():
    # The steps go by the texts alone, so what they change is the share of the texts in what they change without prototypes.
    episodes = informed()
    adapted, plain = (film(fusion=0.5, test_steps=n).eval().predict(episodes) for n in (5, 0))
    whole, none = (film(test_steps=n).eval().predict(episodes) for n in (5, 0))
    torch.testing.assert_close(adapted - plain, 0.5 * (whole - none), rtol=0, atol=1e-10)


def test_it_learns_names_that_say_how_classes_look_and_nothing_from_shuffled_ones(bank_of):
    # A class is seen as light or dark to a degree that its name tells, of training and of test classes alike.
    def bank(seed, shuffle):
        made = bank_of(12, 12, size=6, noise=0.0, seed=seed)
        shade = torch.arange(12).reshape(12, 1, 1, 1)[made.labels] * 20 + made.items % 12
        made = made.replacing(items=shade.to(torch.uint8), class_names=[f"{'x' * (c + 1)}" for c in range(12)])
        return ClassNameText(Shades(), "{class}", shuffle=shuffle).described(made)

    found = []
    for shuffle in (None, 1):
        torch.manual_seed(0)
        head = FilmLikeHead(4, 2, size=6)
        learner = MAML(MetricLearner(Net(False), head, CrossEntropy()), 1, adapts="head.metric", norm="running", lr=0.1)
        meta_train(
            learner,
            bank(0, shuffle),
            Protocol(5, 1, 3, episodes=320),
            optimizer=lambda p: torch.optim.Adam(p, lr=0.02),
            settings=TrainingSettings(8, validate_every=0),
            show_progress=False,
        )
        learner.test_steps = 0
        other = None if shuffle is None else 2
        found.append(evaluate(learner, bank(1, other), Protocol(5, 1, 3, episodes=200)).accuracy)
    assert found[0] > 60
    assert found[1] < 35


class Shades(NgramEncoder):
    """A text's length as a direction."""

    def __call__(self, texts):
        angle = torch.tensor([len(text) / 5 for text in texts])
        return torch.stack([angle.cos(), angle.sin()], 1).numpy()
