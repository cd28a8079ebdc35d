from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, cross_entropy

from fewshot.episodes.episodes import Episodes
from fewshot.episodes.protocol import Protocol
from fewshot.errors import FewshotError
from fewshot.evaluation.scoring import evaluate
from fewshot.heads.linear import LinearHead
from fewshot.heads.prototype import PrototypeHead
from fewshot.learners.gradient.maml import MAML
from fewshot.learners.gradient.task_norm import TaskNorm
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.losses.icnn import ICNN
from fewshot.training.meta_train import meta_train
from fewshot.training.settings import TrainingSettings

from .conftest import Net, assert_finite_differences, gradients, linear_maml, tasks

BOTH = pytest.mark.parametrize("how", ["loop", "vmap"])


def reference_loss(p, norm, episodes, steps, lr, rates=None, adapted=None):
    """The mean query loss after plain gradient steps, task by task, written out without modules."""

    def normalised(x, by):
        mean, var = by.mean((0, 2, 3), keepdim=True), by.var((0, 2, 3), keepdim=True, correction=0)
        gamma, beta = w["backbone.norm.weight"], w["backbone.norm.bias"]
        return (x - mean) / (var + 1e-5).sqrt() * gamma[None, :, None, None] + beta[None, :, None, None]

    def features(x, first):
        x = conv2d(x, w["backbone.first.weight"], w["backbone.first.bias"])
        if norm == "transductive" and first:
            x = torch.cat([normalised(part, part) for part in (x[:first], x[first:])])
        elif norm in ("support", "transductive"):
            x = normalised(x, x[: first or None])
        x = conv2d(torch.tanh(x), w["backbone.second.weight"], w["backbone.second.bias"])
        return torch.tanh(x).mean((2, 3))

    total = 0
    for b in range(len(episodes)):
        w = dict(p)
        for _ in range(steps):
            z = features(episodes.support[b], 0)
            loss = cross_entropy(z @ w["head.weight"].T + w["head.bias"], episodes.support_labels[b])
            names = adapted or list(w)
            slopes = torch.autograd.grad(loss, [w[n] for n in names], create_graph=True)
            w |= {n: w[n] - (lr if rates is None else rates[n]) * g for n, g in zip(names, slopes, strict=True)}
        s = episodes.support.shape[1]
        z = features(torch.cat([episodes.support[b], episodes.query[b]]), s)[s:]
        logits = z @ w["head.weight"].T + w["head.bias"]
        total = total + cross_entropy(logits, episodes.query_labels[b]) / len(episodes)
    return total


@BOTH
@pytest.mark.parametrize("norm", ["support", "transductive", None])
@pytest.mark.parametrize("adapts", ["all", "backbone", ["backbone.second", "head"]])
def test_the_meta_gradient_is_that_of_a_plain_loop(how, norm, adapts):
    learner = linear_maml(norm_in_net=norm is not None, norm=norm or "support", tasks=how, adapts=adapts, steps=3)
    episodes = tasks()
    names = {name.removeprefix("learner."): p for name, p in learner.named_parameters()}
    parts = ["backbone", "head"] if adapts == "all" else [adapts] if isinstance(adapts, str) else adapts
    adapted = [name for name in names if any(name.startswith(part) for part in parts)]
    loss = reference_loss(names, norm, episodes, 3, 0.3, adapted=adapted)
    expected = torch.autograd.grad(loss, list(names.values()), allow_unused=True)
    found = gradients(learner, episodes)
    torch.testing.assert_close(learner.training_loss(episodes).total.detach(), loss.detach(), rtol=0, atol=1e-12)
    for (name, p), gradient in zip(names.items(), expected, strict=True):
        gradient = torch.zeros_like(p) if gradient is None else gradient
        torch.testing.assert_close(found[f"learner.{name}"], gradient, rtol=0, atol=1e-9)


@BOTH
@pytest.mark.parametrize("norm", ["support", "transductive"])
def test_the_meta_gradient_is_that_of_finite_differences(how, norm):
    learner, episodes = linear_maml(tasks=how, norm=norm), tasks()
    assert_finite_differences(learner, episodes, gradients(learner, episodes), rel=1e-6, abs=1e-8)


def test_the_library_batchnorm_under_vmap_is_why_ours_is_by_hand():
    """The second derivatives of nn.BatchNorm2d under vmap, then backward: known to be wrong, so that nobody uses it here."""

    def trained(how, by_hand):
        torch.manual_seed(0)
        learner = MAML(
            MetricLearner(Net(), LinearHead(4, 3), CrossEntropy()), 2, lr=0.3, norm="transductive", tasks=how
        )
        learner = learner.double()
        if not by_hand:
            learner.learner.backbone.norm = nn.BatchNorm2d(3, track_running_stats=False).double()
            learner.norms = []
        return torch.cat([g.flatten() for g in gradients(learner, tasks()).values()])

    plain = trained("loop", by_hand=False)
    torch.testing.assert_close(trained("vmap", by_hand=True), plain, rtol=0, atol=1e-9)
    off = (trained("vmap", by_hand=False) - plain).abs().max()
    if off < 1e-9:
        pytest.skip("this torch has it right")
    assert off > 1e-5


def test_statistics_of_a_task_are_those_of_32_bits():
    torch.manual_seed(0)
    x = (torch.randn(80, 3, 5, 5) + torch.tensor([0.0, 6.0, 20.0]).view(-1, 1, 1)).bfloat16()
    norm = TaskNorm(3, 1e-5, False)
    norm.support_items = 40
    found = norm(x)
    assert found.dtype == torch.bfloat16
    support = x[:40].double()
    mean, deviation = support.mean((0, 2, 3), keepdim=True), support.std((0, 2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(found.double(), (x.double() - mean) / deviation, rtol=0.01, atol=0.02)
    assert found[:40].double().mean((0, 2, 3)).abs().max() < 2e-3


@BOTH
def test_chunks_do_not_change_anything(how):
    episodes = tasks(5)
    results = [gradients(linear_maml(tasks=how, tasks_per_chunk=n), episodes) for n in (1, 2, 5)]
    for other in results[1:]:
        for name, value in results[0].items():
            torch.testing.assert_close(other[name], value, rtol=0, atol=1e-12)


@BOTH
def test_tasks_do_not_touch_each_other(how):
    learner, episodes = linear_maml(tasks=how), tasks(4)
    order = torch.tensor([2, 0, 3, 1])
    logits = learner.predict(episodes)
    turned = Episodes(*(tensor[order] for tensor in episodes.tensors()))
    torch.testing.assert_close(learner.predict(turned), logits[order], rtol=0, atol=1e-12)
    alone = Episodes(*(tensor[1:2] for tensor in episodes.tensors()))
    torch.testing.assert_close(learner.predict(alone), logits[1:2], rtol=0, atol=1e-12)


@BOTH
def test_prediction_adapts_without_gradients_and_leaves_the_learner_as_it_was(how):
    learner, episodes = linear_maml(tasks=how), tasks()
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    with torch.no_grad():
        adapted = learner.predict(episodes)
    learner.test_steps = 0
    assert (learner.predict(episodes) - adapted).abs().max() > 1e-3
    assert not adapted.requires_grad
    for name, value in learner.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, equal_nan=True, msg=name)


def test_predictions_in_loop_and_vmap_agree():
    logits = [linear_maml(tasks=how, test_steps=5).predict(tasks()) for how in ("loop", "vmap")]
    torch.testing.assert_close(*logits, rtol=0, atol=1e-12)


@BOTH
def test_small_steps_lower_the_loss_of_the_support(how):
    learner, episodes = linear_maml(tasks=how, lr=0.05, steps=5, norm="transductive"), tasks()
    own = episodes.with_items(episodes.support, episodes.support)
    losses = []
    for steps in (0, 5):
        learner.test_steps = steps
        losses.append(cross_entropy(learner.predict(own).flatten(0, 1), episodes.support_labels.flatten()))
    assert losses[1] < losses[0]


def test_without_steps_it_is_the_plain_learner():
    torch.manual_seed(0)
    plain = MetricLearner(Net(norm=False), LinearHead(4, 3), CrossEntropy()).double()
    learner, episodes = linear_maml(norm_in_net=False, steps=0), tasks()
    assert torch.equal(learner.predict(episodes), plain.predict(episodes))
    found, expected = gradients(learner, episodes), gradients(plain, episodes)
    torch.testing.assert_close(learner.training_loss(episodes).total, plain.training_loss(episodes).total)
    for name, value in expected.items():
        torch.testing.assert_close(found[f"learner.{name}"], value, rtol=0, atol=1e-12)


@BOTH
@pytest.mark.parametrize("norm", ["support", "transductive"])
def test_a_loss_of_features_sees_support_and_queries_however_they_are_normalised(how, norm):
    torch.manual_seed(0)
    plain = MetricLearner(Net(norm=False), LinearHead(4, 3), ICNN(neighbours=2)).double()
    expected = plain.training_loss(tasks()).total
    learner = MAML(plain, 0, norm=norm, tasks=how)
    torch.testing.assert_close(learner.training_loss(tasks()).total, expected, rtol=0, atol=1e-12)


def test_weights_with_two_names_are_adapted_under_both():
    class Tied(Net):
        def __init__(self):
            super().__init__()
            self.third = nn.Conv2d(3, 4, 3)
            self.third.weight = self.second.weight

        def forward(self, images):
            hidden = torch.tanh(self.norm(self.first(images)))
            return torch.tanh(self.second(hidden) + self.third(hidden)).mean((2, 3)) / 2

    class Once(Tied):
        def forward(self, images):
            hidden = torch.tanh(self.norm(self.first(images)))
            third = conv2d(hidden, self.second.weight, self.third.bias)
            return torch.tanh(self.second(hidden) + third).mean((2, 3)) / 2

    losses = []
    for kind in (Tied, Once):
        torch.manual_seed(0)
        learner = MAML(MetricLearner(kind(), LinearHead(4, 3), CrossEntropy()), 2, lr=0.3, tasks="loop").double()
        losses.append(learner.training_loss(tasks(1)).total.detach())
    torch.testing.assert_close(*losses, rtol=0, atol=1e-12)

    torch.manual_seed(0)
    net = Tied()
    learner = MAML(MetricLearner(net, LinearHead(4, 3), CrossEntropy()), 2, lr=0.3, tasks="loop").double()
    episodes = tasks(1)
    found = gradients(learner, episodes)["learner.backbone.second.weight"]
    step, flat = 1e-5, net.second.weight.data.view(-1)
    values = []
    for change in (step, -2 * step):
        flat[3] += change
        values.append(float(learner.training_loss(episodes).total.detach()))
    assert float(found.view(-1)[3]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-6, abs=1e-8)


def test_a_step_that_fails_leaves_the_weights_in_their_places():
    learner, episodes = linear_maml(), tasks()
    before = dict(learner.named_parameters())
    broken = replace(episodes, support_labels=episodes.support_labels + 7)
    with pytest.raises((IndexError, RuntimeError)):
        learner.predict(broken)
    after = dict(learner.named_parameters())
    assert all(after[name] is weight for name, weight in before.items())


@BOTH
def test_training_and_tests_take_steps_of_their_own(how):
    episodes = tasks(2)
    learner = linear_maml(steps=2, test_steps=0, tasks=how)
    for name, value in gradients(linear_maml(steps=2, tasks=how), episodes).items():
        torch.testing.assert_close(gradients(learner, episodes)[name], value, rtol=0, atol=1e-12)
    torch.testing.assert_close(learner.predict(episodes), linear_maml(steps=0).predict(episodes), rtol=0, atol=1e-12)


@BOTH
def test_the_steps_take_the_inner_loss_and_no_other(how):
    found = []
    for loss, inner in ((ICNN(neighbours=2), None), (CrossEntropy(), ICNN(neighbours=2)), (CrossEntropy(), None)):
        torch.manual_seed(0)
        learner = MetricLearner(Net(), LinearHead(4, 3), loss)
        found.append(MAML(learner, 2, lr=0.3, inner_loss=inner, tasks=how).double().predict(tasks()))
    own, named, other = found
    torch.testing.assert_close(named, own, rtol=0, atol=1e-12)
    assert (named - other).abs().max() > 1e-3


@BOTH
def test_clipped_steps_are_short_and_their_meta_gradient_is_that_of_finite_differences(how):
    learner, episodes = linear_maml(clip=0.02, lr=1.0, steps=1, norm_in_net=False, tasks=how), tasks(2)
    plain = linear_maml(clip=None, lr=1.0, steps=1, norm_in_net=False, tasks=how)
    assert (learner.predict(episodes) - plain.predict(episodes)).abs().max() > 1e-3
    assert_finite_differences(learner, episodes, gradients(learner, episodes), rel=1e-5, abs=1e-8)


def test_a_rate_of_zero_is_no_adaptation():
    episodes = tasks()
    found, expected = (linear_maml(**o).predict(episodes) for o in ({"lr": 0.0, "steps": 3}, {"steps": 0}))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@BOTH
def test_anil_is_steps_on_a_linear_layer_over_features_that_stay(how):
    learner, episodes = linear_maml(adapts="head", norm="running", steps=3, tasks=how).eval(), tasks()
    features = episodes.map(learner.embed)
    expected = []
    for b in range(len(episodes)):
        w, v = learner.head.weight.detach(), learner.head.bias.detach()
        for _ in range(3):
            p = (features.support[b] @ w.T + v).softmax(-1)
            slope = (p - torch.eye(3).double()[episodes.support_labels[b]]) / len(p)
            w, v = w - 0.3 * slope.T @ features.support[b], v - 0.3 * slope.sum(0)
        expected.append(features.query[b] @ w.T + v)
    torch.testing.assert_close(learner.predict(episodes), torch.stack(expected), rtol=0, atol=1e-12)
    torch.testing.assert_close(learner.predict_features(features), torch.stack(expected), rtol=0, atol=1e-12)
    assert learner.scores_frozen_features


@BOTH
@pytest.mark.parametrize("norm", ["running", "support", "transductive"])
def test_the_gradient_of_an_adapted_head_reaches_the_backbone(how, norm):
    learner, episodes = linear_maml(adapts="head", norm=norm, tasks=how, norm_in_net=False), tasks()
    names = {name.removeprefix("learner."): p for name, p in learner.named_parameters()}
    loss = reference_loss(names, None, episodes, 2, 0.3, adapted=["head.weight", "head.bias"])
    expected = torch.autograd.grad(loss, list(names.values()))
    for (name, value), gradient in zip(gradients(learner, episodes).items(), expected, strict=True):
        torch.testing.assert_close(value, gradient, rtol=0, atol=1e-9, msg=name)


@BOTH
def test_first_order_takes_the_gradient_at_the_adapted_weights(how):
    learner, episodes = linear_maml(norm_in_net=False, first_order=True, tasks=how), tasks(1)
    names = {name.removeprefix("learner."): p.detach().clone() for name, p in learner.named_parameters()}
    w = {n: p.requires_grad_() for n, p in names.items()}
    for _ in range(2):
        loss = reference_loss(w, None, episodes.with_items(episodes.support, episodes.support), 0, 0)
        w = {n: (p - 0.3 * g).detach().requires_grad_() for (n, p), g in zip(w.items(), grad_of(loss, w), strict=True)}
    expected = grad_of(reference_loss(w, None, episodes, 0, 0), w)
    for value, gradient in zip(gradients(learner, episodes).values(), expected, strict=True):
        torch.testing.assert_close(value, gradient, rtol=0, atol=1e-9)


def grad_of(loss, weights):
    return torch.autograd.grad(loss, list(weights.values()))


# Learned rates.


@BOTH
def test_meta_sgd_with_one_rate_is_maml_and_its_rates_have_the_closed_gradient(how):
    episodes = tasks(1)
    learner = linear_maml(rates="per_weight", steps=1, tasks=how)
    plain = linear_maml(steps=1, tasks=how)
    found, expected = gradients(learner, episodes), gradients(plain, episodes)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-7)
    # d loss / d rate = - (gradient of the support) * (gradient of the query after the step).
    names = {name.removeprefix("learner."): p for name, p in plain.named_parameters()}
    inner = episodes.with_items(episodes.support, episodes.support)
    inner = replace(inner, query_labels=episodes.support_labels)
    slopes = dict(zip(names, grad_of(reference_loss(names, "transductive", inner, 0, 0), names), strict=True))
    moved = {n: (p - 0.3 * slopes[n]).detach().requires_grad_() for n, p in names.items()}
    outer = dict(zip(names, grad_of(reference_loss(moved, "support", episodes, 0, 0), moved), strict=True))
    for name, slope in slopes.items():
        rate = found[f"rates.learned.{name.replace('.', '/')}"]
        torch.testing.assert_close(rate, -slope * outer[name], rtol=0, atol=1e-7)


def test_rates_of_layers_are_of_each_step_and_the_last_one_goes_on():
    learner = linear_maml(rates="per_layer", steps=2, test_steps=4)
    rate = learner.rates.learned["head/bias"]
    assert rate.shape == (2,)
    with torch.no_grad():
        rate.copy_(torch.tensor([0.1, 0.7]))
    assert [float(learner.rates("head.bias", step).detach()) for step in range(4)] == pytest.approx(
        [0.1, 0.7, 0.7, 0.7]
    )


def test_learned_rates_are_trained(bank):
    torch.manual_seed(0)
    learner = MAML(MetricLearner(Net(), LinearHead(4, 3), CrossEntropy()), 2, rates="per_layer")
    meta_train(learner, bank, Protocol(3, 1, 2, episodes=8), settings=TrainingSettings(2), show_progress=False)
    assert all((rate != 0.05).all() for name, rate in learner.rates.learned.items())
    assert int(learner.episodes_trained) == 8


@BOTH
def test_multi_step_losses_are_a_weighted_sum(how):
    episodes = tasks()
    learner = linear_maml(steps=3, multi_step=100, tasks=how)
    found = learner.training_loss(episodes).total
    singles = [linear_maml(steps=n, tasks=how).training_loss(episodes).total for n in (1, 2, 3)]
    torch.testing.assert_close(found, sum(singles) / 3, rtol=0, atol=1e-12)
    learner.episodes_trained.fill_(100)
    torch.testing.assert_close(learner.training_loss(episodes).total, singles[-1], rtol=0, atol=1e-12)


# Where the linear layer starts.


def prototype_learner():
    torch.manual_seed(0)
    return MetricLearner(Net(norm=False), PrototypeHead(), CrossEntropy()).double()


def test_proto_maml_without_steps_is_prototypical_networks():
    learner, plain, episodes = linear_maml("prototypes", norm_in_net=False, steps=0), prototype_learner(), tasks()
    difference = learner.predict(episodes) - plain.predict(episodes)
    torch.testing.assert_close(difference, difference[..., :1].expand_as(difference), rtol=0, atol=1e-12)
    found, expected = gradients(learner, episodes), gradients(plain, episodes)
    torch.testing.assert_close(learner.training_loss(episodes).total, plain.training_loss(episodes).total)
    for name, value in expected.items():
        torch.testing.assert_close(found[f"learner.{name}"], value, rtol=0, atol=1e-12, msg=name)


@BOTH
@pytest.mark.parametrize("start", ["shared", "prototypes"])
def test_the_order_of_classes_does_not_matter_where_they_start_alike(how, start):
    learner, episodes = linear_maml(start, tasks=how), tasks()
    turn = torch.tensor([2, 0, 1])
    turned = replace(episodes, support_labels=turn[episodes.support_labels], query_labels=turn[episodes.query_labels])
    torch.testing.assert_close(learner.predict(turned)[..., turn], learner.predict(episodes), rtol=0, atol=1e-12)
    plain = linear_maml("weights", tasks=how)
    assert (plain.predict(turned)[..., turn] - plain.predict(episodes)).abs().max() > 1e-3


@BOTH
def test_the_query_loss_reaches_the_backbone_through_the_prototypes_in_first_order_too(how):
    learner, episodes = linear_maml("prototypes", first_order=True, adapts="head", norm="running", tasks=how), tasks()
    # The same by hand: steps on W and b with their gradients held fixed, W and b made of features.
    learner.train()
    features = episodes.map(learner.learner.embed)
    total = 0
    for b in range(len(episodes)):
        member = torch.eye(3).double()[episodes.support_labels[b]]
        centres = member.T @ features.support[b] / member.sum(0)[:, None]
        w, v = 2 * centres, -centres.square().sum(1)
        for _ in range(2):
            p = (features.support[b] @ w.T + v).softmax(-1)
            slope = ((p - member) / len(p)).detach()
            w, v = w - 0.3 * slope.T @ features.support[b].detach(), v - 0.3 * slope.sum(0)
        total = total + cross_entropy(features.query[b] @ w.T + v, episodes.query_labels[b]) / len(episodes)
    expected = torch.autograd.grad(total, list(learner.backbone.parameters()))
    found = gradients(learner, episodes)
    for (name, _), value in zip(learner.backbone.named_parameters(), expected, strict=True):
        torch.testing.assert_close(found[f"learner.backbone.{name}"], value, rtol=0, atol=1e-9, msg=name)


# BatchNorm.


def test_with_the_support_s_statistics_queries_do_not_see_each_other(bank):
    torch.manual_seed(0)
    for norm, differs in (("support", False), ("transductive", True)):
        learner = MAML(MetricLearner(Net(), LinearHead(4, 3), CrossEntropy()), 2, norm=norm).double()
        episodes = tasks()
        fewer = replace(episodes, query=episodes.query[:, :2], query_labels=episodes.query_labels[:, :2])
        change = (learner.predict(episodes)[:, :2] - learner.predict(fewer)).abs().max()
        assert (change > 1e-3) == differs
        assert learner.transductive == differs
        # `evaluate` refuses a learner that hides it.
        evaluate(learner.float(), bank, Protocol(3, 1, 3, episodes=4))


@pytest.mark.parametrize("norm", ["support", "transductive"])
def test_support_and_queries_are_normalised_as_the_norm_says_where_a_head_compares_them(norm):
    torch.manual_seed(0)
    learner = MAML(MetricLearner(Net(), PrototypeHead(), CrossEntropy()), 0, norm=norm, split="halves").double()
    torch.manual_seed(0)
    net, episodes = Net().double().train(), tasks(1)
    own = net(episodes.support[0])
    queries = net(episodes.query[0])
    if norm == "support":
        raw = net.first(episodes.support[0]).detach()
        net.norm.running_mean.copy_(raw.mean((0, 2, 3)))
        net.norm.running_var.copy_(raw.var((0, 2, 3), correction=0))
        queries = net.eval()(episodes.query[0])
    features = episodes.with_items(own[None], queries[None])
    torch.testing.assert_close(learner.predict(episodes), PrototypeHead()(features), rtol=0, atol=1e-12)


def test_without_batchnorm_nothing_is_transductive():
    assert not linear_maml(norm_in_net=False, norm="transductive").transductive


def test_weights_of_an_ordinary_batchnorm_fit():
    net = Net()
    nn.init.normal_(net.norm.weight)
    learner = linear_maml()
    learner.backbone.load_state_dict(net.double().state_dict())
    assert torch.equal(learner.backbone.norm.weight, net.norm.weight)


def test_a_batchnorm_with_an_activation_in_it_keeps_it():
    layers = pytest.importorskip("timm.layers")
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Conv2d(1, 3, 3), layers.BatchNormAct2d(3, act_layer=nn.ReLU, inplace=True), nn.Flatten()
    )
    backbone.feature_size = 48
    episodes = tasks(1, dtype=torch.float32)
    both = torch.cat([episodes.support[0], episodes.query[0]])
    expected = backbone(both)
    assert (expected == 0).any()
    learner = MAML(MetricLearner(backbone, LinearHead(48, 3), CrossEntropy()), 1)
    torch.testing.assert_close(learner.embed(both), expected)
    found = gradients(learner, episodes)
    assert (found["learner.backbone.1.weight"] != 0).any()


def test_a_batchnorm_that_does_something_else_is_refused():
    class Doubled(nn.BatchNorm2d):
        def forward(self, x):
            return 2 * super().forward(x)

    net = Net()
    net.norm = Doubled(3)
    with pytest.raises(FewshotError, match="Doubled does more than BatchNorm"):
        MAML(MetricLearner(net, LinearHead(4, 3), CrossEntropy()))


@pytest.mark.parametrize("by_hand", [False, True])
def test_task_norm_of_one_set_is_batchnorm_in_training(by_hand):
    ours, library = TaskNorm(3), nn.BatchNorm2d(3)
    ours.by_hand = by_hand
    x = torch.randn(4, 3, 5, 5)
    torch.testing.assert_close(ours(x), library(x))


# What cannot be done.


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rates": "own"}, "learner.rates=own; expected one of fixed"),
        ({"split": "thirds"}, "learner.split=thirds; expected one of items"),
        ({"norm": "batch"}, "learner.norm=batch; expected one of support"),
        ({"tasks": "fast"}, "learner.tasks=fast; expected one of auto"),
        ({"steps": -1}, "learner.steps=-1; expected at least 0"),
        ({"tasks_per_chunk": 0}, "learner.tasks_per_chunk=0; expected at least 1"),
        ({"lr": -0.1}, "learner.lr=-0.1; expected at least 0"),
        ({"lr": float("nan")}, "learner.lr=nan; expected at least 0, and a finite number"),
        ({"lr": float("inf")}, "learner.lr=inf; expected at least 0, and a finite number"),
        ({"clip": 0.0}, "learner.clip=0.0; expected more than 0"),
        ({"adapts": "neck"}, "learner.adapts=neck, of which there are no weights; expected all, backbone, head"),
        ({"adapts": []}, "learner.adapts names nothing; use learner.steps=0"),
        ({"norm": "running"}, "learner.norm=running goes with a backbone that is not adapted"),
    ],
)
def test_what_cannot_be_is_one_line(options, words):
    with pytest.raises(FewshotError) as caught:
        linear_maml(**options)
    assert str(caught.value).startswith(words)


def test_a_head_that_compares_needs_a_support_set_in_its_steps():
    with pytest.raises(FewshotError, match="leaves no support to PrototypeHead"):
        MAML(MetricLearner(Net(), PrototypeHead(), CrossEntropy()))


@pytest.mark.parametrize("start", ["shared", "prototypes"])
def test_rows_made_for_each_task_are_to_be_adapted(start):
    with pytest.raises(FewshotError, match="leaves out a head whose rows each task makes anew; add head to it"):
        linear_maml(start, adapts="backbone")


def test_features_of_images_alone_are_normalised_by_all_of_them():
    learner, images = linear_maml(), tasks(query=3).query[0]
    before = learner.embed(images)
    learner.predict(tasks())
    torch.testing.assert_close(learner.embed(images), before, rtol=0, atol=0)


def test_more_classes_than_rows_is_one_line():
    with pytest.raises(FewshotError, match="tasks of 4 classes for a linear head of 3"):
        linear_maml().predict(tasks(way=4))
    assert linear_maml().predict(tasks(way=2)).shape[-1] == 2
    assert linear_maml("shared").predict(tasks(way=4)).shape[-1] == 4
