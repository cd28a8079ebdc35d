"""learn2learn's algorithms and ours from the same weights on the same episodes: the same meta-gradients and predictions."""

import sys
from importlib.util import find_spec

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.episodes.taskset import Taskset
from fewshot.errors import FewshotError
from fewshot.evaluation.scoring import evaluate
from fewshot.heads.linear import LinearHead
from fewshot.heads.prototype import PrototypeHead
from fewshot.learners.gradient.learn2learn import Learn2Learn, learn2learn
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.training.meta_train import meta_train
from fewshot.training.settings import TrainingSettings

from .conftest import Net, gradients, linear_maml, tasks

installed = pytest.mark.skipif(
    find_spec("learn2learn") is None,
    reason="learn2learn is not installed: pip install --no-deps -r requirements/learn2learn.txt",
)
PRECISION = pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
NORM = pytest.mark.parametrize("norm", ["support", "transductive"])


def theirs(algorithm="maml", dtype=torch.float64, **options) -> Learn2Learn:
    torch.manual_seed(0)
    options = {"steps": 2, "lr": 0.3, **options}
    return Learn2Learn(Net(), LinearHead(4, 3), CrossEntropy(), algorithm, **options).to(dtype)


def assert_same(found: dict, expected: dict, atol: float) -> None:
    """Gradients of the adapter and of ours, by the names of weights in backbone and head."""
    found = {name.removeprefix("algorithm.module.").replace("body.", "backbone."): g for name, g in found.items()}
    expected = {name.removeprefix("learner."): g for name, g in expected.items() if name.startswith("learner.")}
    assert expected.keys() <= found.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=atol, msg=name)


@installed
@PRECISION
@NORM
@pytest.mark.parametrize("first_order", [False, True])
def test_maml(dtype, atol, norm, first_order):
    episodes = tasks(dtype=dtype)
    ours = linear_maml(norm=norm, first_order=first_order, tasks="loop").to(dtype)
    other = theirs("maml", dtype, norm=norm, first_order=first_order)
    assert_same(gradients(other, episodes), gradients(ours, episodes), atol)
    found, expected = other.training_loss(episodes), ours.training_loss(episodes)
    torch.testing.assert_close(found.total, expected.total, rtol=0, atol=atol)
    torch.testing.assert_close(found.accuracy, expected.accuracy)
    torch.testing.assert_close(other.predict(episodes), ours.predict(episodes), rtol=0, atol=10 * atol)


@installed
def test_tests_take_steps_of_their_own():
    episodes = tasks()
    found, expected = (theirs(steps=a, test_steps=b) for a, b in ((1, 3), (3, None)))
    torch.testing.assert_close(found.predict(episodes), expected.predict(episodes), rtol=0, atol=1e-12)
    assert (found.predict(episodes) - theirs(steps=1).predict(episodes)).abs().max() > 1e-3


@installed
@PRECISION
def test_meta_sgd_and_the_gradients_of_its_rates(dtype, atol):
    episodes = tasks(dtype=dtype)
    ours, other = linear_maml(rates="per_weight", tasks="loop").to(dtype), theirs("meta_sgd", dtype)
    found, expected = gradients(other, episodes), gradients(ours, episodes)
    assert_same(found, expected, atol)
    names = [name.removeprefix("learner.") for name in expected if name.startswith("learner.")]
    for i, name in enumerate(names):
        rates = expected[f"rates.learned.{name.replace('.', '/')}"]
        torch.testing.assert_close(found[f"algorithm.lrs.{i}"], rates, rtol=0, atol=atol, msg=name)


@installed
@PRECISION
@pytest.mark.parametrize("norm", ["running", "support", "transductive"])
def test_anil(dtype, atol, norm):
    episodes = tasks(dtype=dtype)
    ours, other = linear_maml(adapts="head", norm=norm, tasks="loop").to(dtype), theirs("anil", dtype, norm=norm)
    assert_same(gradients(other, episodes), gradients(ours, episodes), atol)
    torch.testing.assert_close(other.eval().predict(episodes), ours.eval().predict(episodes), rtol=0, atol=10 * atol)
    assert other.scores_frozen_features == ours.scores_frozen_features == (norm == "running")


@installed
@pytest.mark.parametrize("transform", ["meta_curvature", "kronecker"])
def test_gbml_starts_as_maml_and_learns_its_transform(transform):
    episodes = tasks()
    plain, other = theirs("maml"), theirs("gbml", transform=transform)
    torch.testing.assert_close(other.predict(episodes), plain.predict(episodes), rtol=0, atol=1e-10)
    found = gradients(other, episodes)
    assert_same(
        found,
        {f"learner.{n.removeprefix('algorithm.module.')}": g for n, g in gradients(plain, episodes).items()},
        1e-10,
    )
    assert all(g.abs().max() > 0 for name, g in found.items() if "compute_update" in name)


@installed
@PRECISION
def test_maml_is_that_of_code_written_for_learn2learn(dtype, atol):
    """No line of the adapter: a task set of ours, `nn.BatchNorm2d` as it is, clone and adapt."""
    episodes, ours = tasks(dtype=dtype), linear_maml(norm="transductive", tasks="loop").to(dtype)
    torch.manual_seed(0)
    net = Net()
    rows = LinearHead(4, 3)
    layer = nn.Linear(4, 3)
    layer.load_state_dict(rows.state_dict())
    maml = learn2learn().algorithms.MAML(nn.Sequential(net, layer).to(dtype), lr=0.3)
    for task in range(len(episodes)):
        clone = maml.clone()
        for _ in range(2):
            clone.adapt(cross_entropy(clone(episodes.support[task]), episodes.support_labels[task]))
        (cross_entropy(clone(episodes.query[task]), episodes.query_labels[task]) / len(episodes)).backward()
    for mine, other in zip(gradients(ours, episodes).values(), maml.parameters(), strict=True):
        torch.testing.assert_close(mine, other.grad, rtol=0, atol=atol)


@installed
@pytest.mark.parametrize("query", [2, 3])
def test_our_episodes_in_learn2learn_s_own_split(bank, query):
    sampler = EpisodeSampler(bank, Protocol(3, 2, query, episodes=4))
    tasks = Taskset(sampler)
    for index, (items, labels) in enumerate(tasks):
        support, queries = learn2learn().data.partition_task(items, labels, shots=2)
        episode = sampler.episodes(index, 1)
        assert torch.equal(support[0], episode.support[0])
        assert torch.equal(support[1], episode.support_labels[0])
        by_class = episode.query_labels[0].argsort(stable=True)
        assert torch.equal(queries[0], episode.query[0][by_class])
        assert torch.equal(queries[1], episode.query_labels[0][by_class])


@installed
@pytest.mark.parametrize("algorithm", ["maml", "meta_sgd", "gbml", "anil"])
def test_it_trains_and_predicts_and_leaves_the_weights_as_they_were(bank, algorithm):
    learner = theirs(algorithm, torch.float32)
    before = {name: p.detach().clone() for name, p in learner.named_parameters()}
    meta_train(learner, bank, Protocol(3, 1, 2, episodes=8), settings=TrainingSettings(2), show_progress=False)
    kept = {name for name, p in learner.named_parameters() if torch.equal(p, before[name])}
    # A bias that goes into BatchNorm has no gradient but rounding, nor has its rate or its transform; it is the second weight.
    assert all(name.endswith(("first.bias", "lrs.1", "transforms_modules.1.mc")) for name in kept)
    state = {name: value.clone() for name, value in learner.state_dict().items()}
    with torch.no_grad():
        logits = learner.predict(tasks(dtype=torch.float32))
    assert not logits.requires_grad
    for name, value in learner.state_dict().items():
        assert torch.equal(value, state[name]), name
    again = theirs(algorithm, torch.float32)
    again.load_state_dict(state)
    torch.testing.assert_close(again.eval().predict(tasks(dtype=torch.float32)), logits)


@installed
@pytest.mark.parametrize("algorithm", ["maml", "anil"])
@NORM
def test_a_row_says_whether_queries_see_each_other(bank, algorithm, norm):
    learner = theirs(algorithm, torch.float32, norm=norm)
    assert learner.transductive == (norm == "transductive")
    # `evaluate` refuses a learner that hides it.
    evaluate(learner.eval(), bank, Protocol(3, 1, 3, episodes=4))


# What cannot be done.


def test_without_learn2learn_it_is_one_line_that_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "learn2learn", None)
    with pytest.raises(FewshotError, match=r"pip install --no-deps -r requirements/learn2learn\.txt"):
        theirs()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"algorithm": "reptile"}, "learner.algorithm=reptile; expected one of maml, meta_sgd, gbml, anil"),
        ({"norm": "batch"}, "learner.norm=batch; expected one of support"),
        ({"transform": "own"}, "learner.transform=own; expected one of meta_curvature"),
        ({"steps": -1}, "learner.steps=-1; expected at least 0"),
        ({"lr": -0.5}, "learner.lr=-0.5; expected at least 0"),
        ({"norm": "running"}, "learner.norm=running goes with learner.algorithm=anil"),
    ],
)
def test_what_cannot_be_is_one_line(options, words):
    with pytest.raises(FewshotError) as caught:
        theirs(**options)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("head", [PrototypeHead(), LinearHead(4, 3, "prototypes")])
def test_a_head_without_weights_for_each_class_is_one_line(head):
    with pytest.raises(FewshotError, match="adapts weights that a head has for each class"):
        Learn2Learn(Net(), head, CrossEntropy())
