import pytest
import torch
from sklearn.linear_model import LogisticRegression

from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.heads.contract import check_head
from fewshot.heads.logistic import LogisticHead, fit_logistic

from .conftest import episodes_of


@pytest.mark.parametrize("dimension", [4, 30])
@pytest.mark.parametrize("c", [0.1, 1.0, 100.0])
def test_it_is_the_logistic_regression_of_scikit_learn(dimension, c):
    episodes = episodes_of((3, 2, 4), dimension=dimension)
    found = LogisticHead(c=c, normalise=False, tolerance=1e-10)(episodes).softmax(-1)
    for b in range(len(episodes)):
        model = LogisticRegression(C=c, tol=1e-10, max_iter=10_000)
        model.fit(episodes.support[b].numpy(), episodes.support_labels[b].numpy())
        expected = torch.from_numpy(model.predict_proba(episodes.query[b].numpy()))
        torch.testing.assert_close(found[b], expected, rtol=1e-5, atol=1e-5)


def test_the_gradient_of_the_objective_is_zero_in_float32_too():
    episodes = episodes_of((5, 5, 5), dimension=64)
    support = episodes.support.float()
    weight, bias = (part.requires_grad_() for part in fit_logistic(support, episodes.support_labels, 3, 10.0))
    logits = support @ weight + bias
    fit = torch.nn.functional.cross_entropy(logits.flatten(0, 1), episodes.support_labels.flatten(), reduction="sum")
    (0.5 * weight.square().sum() + 10 * fit).backward()
    assert weight.grad.abs().max() < 1e-3
    assert bias.grad.abs().max() < 1e-3


def test_separable_support_is_fitted():
    episodes = episodes_of((5, 5, 5), query=15, dimension=64)
    itself = episodes.with_items(episodes.support, episodes.support)
    assert torch.equal(LogisticHead(c=1000.0)(itself).argmax(-1), episodes.support_labels)


def test_unit_length_makes_it_blind_to_scale():
    episodes = episodes_of()
    larger = episodes.with_items(7 * episodes.support, 3 * episodes.query)
    torch.testing.assert_close(LogisticHead()(larger), LogisticHead()(episodes))


@pytest.mark.parametrize("options", [{"c": 0.0}, {"iterations": 0}])
def test_what_makes_no_head_is_refused(options):
    with pytest.raises(FewshotError, match=f"head.{next(iter(options))}="):
        LogisticHead(**options)


@pytest.mark.parametrize(("way", "shot"), [(5, 1), (5, 5), (20, 2)])
@pytest.mark.parametrize("c", [1.0, 100.0])
def test_a_task_alone_has_the_scores_it_has_beside_others_in_float32(way, shot, c):
    both = episodes_of((shot,) * way, dimension=64, tasks=2)
    # One task that is easy to fit beside one that is not.
    scale = torch.tensor([10.0, 0.1])[:, None, None]
    both = both.with_items((scale * both.support).float(), (scale * both.query).float())
    head = LogisticHead(c=c, normalise=False)
    together = head(both)
    alone = [Episodes(*(part[i : i + 1] for part in both.tensors()[:5])) for i in range(2)]
    torch.testing.assert_close(together, torch.cat([head(task) for task in alone]), rtol=1e-3, atol=1e-3)
    # What is common to all classes is free, and must not run away.
    assert together.mean(-1).abs().max() < 1e-2 * together.std()


def test_it_keeps_what_evaluation_expects_of_a_head():
    for shot in (1, 2, 5):
        check_head(LogisticHead(), 64, way=5, shot=shot, query=3)
