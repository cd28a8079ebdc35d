import copy

import pytest
import torch
from torch import nn

from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.heads.linear import LinearHead
from fewshot.heads.prototype import PrototypeHead
from fewshot.learners.gradient.maml import MAML
from fewshot.learners.gradient.reptile import Reptile
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.losses.loss_value import LossValue

from .conftest import Net, gradients, linear_maml, tasks


def reptile(norm_in_net=True, loss=None, seed=0, **options) -> Reptile:
    torch.manual_seed(seed)
    learner = MetricLearner(Net(norm_in_net), LinearHead(4, 3), loss or CrossEntropy())
    return Reptile(learner, **{"steps": 3, "test_steps": 4, "lr": 0.02, "norm": "support", **options}).double()


class Flat(nn.Module):
    feature_size = 3

    def forward(self, images):
        return images.flatten(1)


class Quadratic(nn.Module):
    """Half the squared distance of two logits to what the labels say, +1 or -1, a mean over items."""

    def forward(self, features: Episodes, logits) -> LossValue:
        target = nn.functional.one_hot(features.query_labels, 2).to(logits) * 2 - 1
        total = 0.5 * (logits - target).square().sum(-1).mean()
        return LossValue(total, {})


def quadratic(k, lr=0.1, tasks_seen=1):
    """A linear model of 3 features on the quadratic loss, its H and its solution."""
    torch.manual_seed(1)
    head = LinearHead(3, 2)
    nn.init.zeros_(head.bias)
    learner = Reptile(
        MetricLearner(Flat(), head, Quadratic()), k, lr=lr, optimizer="sgd", batch_size=None, adapts=["head.weight"]
    ).double()
    generator = torch.Generator().manual_seed(2)
    items = torch.randn(tasks_seen, 8, 1, 1, 3, generator=generator, dtype=torch.float64)
    labels = torch.arange(2).repeat(4).expand(tasks_seen, -1).contiguous()
    classes = torch.arange(2).expand(tasks_seen, -1).contiguous()
    episodes = Episodes(items[:, :2], labels[:, :2], items[:, 2:], labels[:, 2:], classes)
    x = items.reshape(tasks_seen, 8, 3)
    target = nn.functional.one_hot(labels, 2).double() * 2 - 1
    curvature = x.transpose(1, 2) @ x / 8
    solution = torch.linalg.solve(curvature, x.transpose(1, 2) @ target / 8).transpose(1, 2)
    return learner, episodes, curvature, solution


@pytest.mark.parametrize("k", [1, 2, 7])
def test_the_outer_gradient_is_the_closed_form_on_a_quadratic(k):
    learner, episodes, curvature, solution = quadratic(k)
    w = learner.head.weight.detach().clone()
    found = gradients(learner, episodes)["learner.head.weight"]
    shrunk = torch.linalg.matrix_power(torch.eye(3, dtype=torch.float64) - 0.1 * curvature[0], k)
    expected = (w - solution[0]) @ (torch.eye(3, dtype=torch.float64) - shrunk)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_one_step_is_training_on_all_tasks_together():
    learner, episodes, *_ = quadratic(1, tasks_seen=3)
    found = gradients(learner, episodes)["learner.head.weight"]
    plain = copy.deepcopy(learner.learner)
    x, y = (
        torch.cat([episodes.support, episodes.query], 1),
        torch.cat([episodes.support_labels, episodes.query_labels], 1),
    )
    one = Episodes(x[:, :0], y[:, :0], x, y, episodes.classes)
    plain.loss_of_features(one.map(plain.embed)).total.backward()
    torch.testing.assert_close(found, 0.1 * plain.head.weight.grad, rtol=0, atol=1e-12)


def test_identical_tasks_lead_to_their_solution():
    learner, episodes, _, solution = quadratic(5)
    optimizer = torch.optim.SGD(learner.parameters(), lr=1.0)
    for _ in range(300):
        optimizer.zero_grad()
        learner.training_loss(episodes).total.backward()
        optimizer.step()
    torch.testing.assert_close(learner.head.weight.detach(), solution[0], rtol=0, atol=1e-6)


def test_adam_is_that_of_the_library_without_a_first_moment_and_goes_on_from_task_to_task():
    learner, episodes = reptile(batch_size=None), tasks(2)
    start = {name: p.detach().clone() for name, p in learner.learner.named_parameters()}
    plain = copy.deepcopy(learner.learner)
    optimizer = torch.optim.Adam(plain.parameters(), lr=0.02, betas=(0.0, 0.999), eps=1e-8)
    moved = {name: torch.zeros_like(w) for name, w in start.items()}
    for task in episodes.split(1):
        with torch.no_grad():
            for name, p in plain.named_parameters():
                p.copy_(start[name])
        items = torch.cat([task.support[0], task.query[0]])
        labels = torch.cat([task.support_labels[0], task.query_labels[0]])
        for _ in range(3):
            optimizer.zero_grad()
            features = plain.backbone(items)
            logits = features @ plain.head.weight.T + plain.head.bias
            nn.functional.cross_entropy(logits, labels).backward()
            optimizer.step()
        for name, p in plain.named_parameters():
            moved[name] += (start[name] - p.detach()) / 2
    found = gradients(learner, episodes)
    for name, expected in moved.items():
        torch.testing.assert_close(found[f"learner.{name}"], expected, rtol=0, atol=1e-10)
    assert int(learner.steps_taken) == 6


def test_a_rate_of_zero_outside_changes_nothing_and_a_prediction_neither():
    learner, episodes = reptile(), tasks(2)
    before = {name: value.clone() for name, value in learner.named_parameters()}
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.0)
    learner.training_loss(episodes).total.backward()
    optimizer.step()
    assert all(torch.equal(before[name], value) for name, value in learner.named_parameters())
    state = {name: value.clone() for name, value in learner.state_dict().items()}
    learner.predict(episodes)
    for name, value in learner.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0, equal_nan=True)


def test_batches_take_every_item_as_often():
    learner, seen = reptile(batch_size=5, steps=12), []
    hook = learner.learner.register_forward_pre_hook(
        lambda _, given: seen.append(given[1].clone()) if given[0] == "embed" else None
    )
    episodes = tasks(1)
    learner.training_loss(episodes)
    hook.remove()
    # 12 batches of 5 are five rounds of 12 items; each round has every item once.
    stream = torch.cat(seen)
    everything = torch.cat([episodes.support[0], episodes.query[0]])
    for round_ in stream.split(12):
        distances = torch.cdist(round_.flatten(1), everything.flatten(1))
        assert sorted(distances.argmin(1).tolist()) == list(range(12))
    assert not torch.equal(stream[:12], stream[12:24])


def test_support_plus_one_is_batchnorm_over_the_support_and_each_query():
    learner, episodes = reptile(norm="support_plus_one", test_steps=0), tasks(1)
    logits = learner.predict(episodes)[0]
    torch.manual_seed(0)
    plain = MetricLearner(Net(), LinearHead(4, 3), CrossEntropy()).double().train()
    for i, query in enumerate(episodes.query[0]):
        features = plain.backbone(torch.cat([episodes.support[0], query[None]]))
        expected = features[-1] @ plain.head.weight.T + plain.head.bias
        torch.testing.assert_close(logits[i], expected, rtol=0, atol=1e-12)


def test_training_normalises_each_batch_by_itself_whatever_tests_do():
    episodes = tasks(2)
    found = [gradients(reptile(norm=norm), episodes) for norm in ("support", "support_plus_one", "transductive")]
    for other in found[1:]:
        for name, value in found[0].items():
            torch.testing.assert_close(other[name], value, rtol=0, atol=1e-12)


@pytest.mark.parametrize("maker", [reptile, linear_maml], ids=["reptile", "maml"])
def test_queries_one_at_a_time_do_not_see_each_other(maker):
    learner, episodes = maker(norm="support_plus_one"), tasks(2, query=3)
    logits = learner.predict(episodes)
    torch.testing.assert_close(learner.predict(episodes.with_first_queries(2)), logits[:, :2], rtol=0, atol=1e-12)
    assert not learner.transductive
    together = maker(norm="transductive")
    assert together.transductive
    few = together.predict(episodes.with_first_queries(2))
    assert (few - together.predict(episodes)[:, :2]).abs().max() > 1e-3


def test_maml_by_vmap_and_by_loop_agree_where_queries_come_one_at_a_time():
    episodes = tasks(2)
    found = [gradients(linear_maml(norm="support_plus_one", tasks=how), episodes) for how in ("loop", "vmap")]
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=0, atol=1e-10)


def test_each_task_and_each_seed_has_batches_of_its_own():
    episodes, found = tasks(1), []
    for seed in (0, 1):
        # Without Adam, whose moments would go on from task to task.
        learner = reptile(seed=0, batch_size=2, optimizer="sgd")
        learner.seed = seed
        found += [gradients(learner, episodes)["learner.head.weight"] for _ in range(2)]
    assert all((a - b).abs().max() > 1e-6 for i, a in enumerate(found) for b in found[:i])


def test_tests_have_batches_of_their_own_size():
    episodes = tasks(1)
    found = [reptile(batch_size=a, test_batch_size=b).predict(episodes) for a, b in ((2, 2), (3, 2), (2, 3))]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    assert (found[0] - found[2]).abs().max() > 1e-4


def test_a_prediction_does_not_depend_on_the_tasks_beside_it():
    learner, episodes = reptile(test_batch_size=2), tasks(3)
    logits = learner.predict(episodes)
    for i, task in enumerate(episodes.split(1)):
        torch.testing.assert_close(learner.predict(task)[0], logits[i], rtol=0, atol=1e-12)


def test_steps_lower_the_loss_of_their_task():
    def mean_loss(steps):
        return reptile(steps=steps, lr=0.01, batch_size=None).training_loss(tasks(1)).total.item()

    # The mean of the losses before each of 40 steps against the loss before the first.
    assert mean_loss(40) < mean_loss(1) - 0.05


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimizer": "rmsprop"}, "expected one of adam, sgd"),
        ({"steps": 0}, "learner.steps=0"),
        ({"batch_size": 0}, "learner.batch_size=0"),
        ({"lr": 0.0}, "more than 0"),
        ({"norm": "batch"}, "expected one of support"),
        ({"adapts": "neck"}, "learner.adapts=neck"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(options, words):
    with pytest.raises(FewshotError, match=words):
        reptile(**options)


def test_a_head_that_compares_with_the_support_is_refused():
    learner = MetricLearner(Net(), PrototypeHead(), CrossEntropy())
    with pytest.raises(FewshotError, match="use head=linear"):
        Reptile(learner)
    assert MAML(learner, split="halves").steps == 5
