"""TIM and alpha-TIM against autograd, torch's Adam and the authors' alternating updates, task by task."""

import math

import pytest
import torch

from fewshot.errors import FewshotError
from fewshot.heads.transductive.tim import TIMHead, entropy

from .conftest import clustered, means, random, task_by_task


def plain_gradient_descent(head):
    def score(support, labels, query):
        w = means(support, labels, 3).requires_grad_()
        optimizer = torch.optim.Adam([w], lr=head.lr)

        def p(items):
            return (-head.temperature / 2 * (items[:, None] - w).square().sum(-1)).softmax(1)

        for _ in range(head.iterations):
            of_query = p(query)
            ce = -p(support)[range(len(labels)), labels].log().mean()
            a = head.alpha

            def h(q, a=a):
                return -(q * q.log()).sum(-1) if a == 1 else (1 - (q**a).sum(-1)) / (a - 1)

            loss = head.weights[0] * ce - head.weights[1] * h(of_query.mean(0)) + head.weights[2] * h(of_query).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return p(query).log().detach()

    return score


@pytest.mark.parametrize(
    ("alpha", "weights"),
    [(1.0, (0.1, 1.0, 0.1)), (2.0, (1.0, 1.0, 1.0)), (7.0, (1.0, 1.0, 1.0)), (1.0, (1.0, 0.0, 1.0))],
)
def test_gradient_descent_is_that_of_autograd_and_adam(episodes, alpha, weights):
    head = TIMHead("gd", weights, alpha, temperature=2.0, iterations=25, lr=1e-2)
    expected = task_by_task(episodes, plain_gradient_descent(head))
    torch.testing.assert_close(head(episodes), expected, rtol=0, atol=1e-7)


def plain_alternation(head):
    l_ce, l_h, l_c = head.weights

    def score(support, labels, query):
        w = means(support, labels, 3)
        y = torch.nn.functional.one_hot(labels, 3).double()
        b, r = l_ce / (1 + l_c), len(support) / len(query)

        def p(items):
            return (-head.temperature / 2 * (items[:, None] - w).square().sum(-1)).softmax(1)

        for _ in range(head.iterations):
            ps, pq = p(support), p(query)
            q = pq ** (1 + l_c) / (pq ** (1 + l_c)).sum(0, keepdim=True) ** (l_h / (l_h + 1))
            q = q / q.sum(1, keepdim=True)
            new = w.clone()
            for c in range(3):
                num = b * (y[:, c] @ support + (ps[:, c, None] * (w[c] - support)).sum(0))
                num = num + r * (q[:, c] @ query + (pq[:, c, None] * (w[c] - query)).sum(0))
                new[c] = num / (b * y[:, c].sum() + r * q[:, c].sum())
            w = new
        return p(query).log()

    return score


@pytest.mark.parametrize("dimension", [4, 30])
def test_alternation_is_the_authors_update_in_all_dimensions(dimension):
    tasks = clustered(shots=(2, 1, 3), counts=(5, 2, 6), dimension=dimension)
    head = TIMHead("adm", temperature=2.0, iterations=40)
    torch.testing.assert_close(head(tasks), task_by_task(tasks, plain_alternation(head)), rtol=0, atol=1e-8)


def test_the_loss_falls():
    tasks = clustered(20, (1, 1, 1), (10, 10, 10), spread=1.0)

    def loss(scores_of_support, p):
        return -entropy(p.mean(1)) + 0.1 * entropy(p).mean(1) + 0.1 * scores_of_support

    start = TIMHead("gd", iterations=0, temperature=3.0)(tasks).exp()
    for head in (TIMHead("gd", iterations=200, lr=1e-2, temperature=3.0), TIMHead("adm", temperature=3.0)):
        end = head(tasks).exp()
        # Information of the predictions: what the queries add to the loss.
        before, after = (entropy(p.mean(1)) - 0.1 * entropy(p).mean(1) for p in (start, end))
        assert (after > before - 1e-6).double().mean() > 0.9
        assert (before >= -1e-9).all()
        assert entropy(end.mean(1)).max() <= math.log(3) + 1e-9


def test_without_entropies_queries_do_not_matter_and_without_their_spread_they_do():
    tasks = clustered(shots=(2, 2, 2))
    half = type(tasks)(
        tasks.support, tasks.support_labels, tasks.query[:, :5], tasks.query_labels[:, :5], tasks.classes
    )
    alone = TIMHead("gd", (1.0, 0.0, 0.0), iterations=20, lr=1e-2)
    torch.testing.assert_close(alone(half), alone(tasks)[:, :5])
    minimised = TIMHead("gd", (1.0, 0.0, 1.0), iterations=20, lr=1e-2)
    assert (minimised(half) - minimised(tasks)[:, :5]).abs().max() > 1e-4


def test_alpha_entropies_and_their_limits():
    p = random(6, 5).softmax(-1)
    torch.testing.assert_close(entropy(p, 1.0 + 1e-7), entropy(p), rtol=1e-5, atol=1e-5)
    uniform, certain = torch.full((5,), 0.2, dtype=torch.float64), torch.eye(5, dtype=torch.float64)[0]
    assert float(entropy(uniform, 2.0)) == pytest.approx(0.8)
    assert float(entropy(uniform, 7.0)) == pytest.approx(0.16666, abs=1e-5)
    assert float(entropy(uniform)) == pytest.approx(math.log(5))
    assert float(entropy(uniform, 1.0001)) == pytest.approx(1.6093, abs=2e-4)
    assert [float(entropy(certain, a)) for a in (1.0, 2.0, 7.0)] == [0, 0, 0]
    tasks = clustered()
    close = TIMHead("gd", alpha=1.0 + 1e-9, iterations=10, lr=1e-2)(tasks)
    torch.testing.assert_close(close, TIMHead("gd", iterations=10, lr=1e-2)(tasks), rtol=0, atol=1e-5)


def test_even_predictions_are_sought_where_queries_are_even_and_harm_where_they_are_not():
    def accuracy(head, counts):
        tasks = clustered(60, (1, 1, 1), counts, spread=1.3, dimension=16)
        unit = tasks.with_items(*(torch.nn.functional.normalize(x, dim=-1) for x in (tasks.support, tasks.query)))
        return (head(unit).argmax(-1) == tasks.query_labels).double().mean()

    tim, start = TIMHead("adm"), TIMHead("adm", iterations=0)
    assert accuracy(tim, (12, 12, 12)) > accuracy(start, (12, 12, 12)) + 0.05
    assert accuracy(tim, (12, 12, 12)) > accuracy(tim, (30, 3, 3)) + 0.1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"solver": "sgd"}, r"head\.solver=sgd"),
        ({"weights": (1.0, 1.0)}, r"head\.weights=\[1\.0, 1\.0\]"),
        ({"weights": (1.0, -1.0, 1.0)}, r"head\.weights="),
        ({"alpha": 2.0}, r"head\.alpha=2\.0 needs head\.solver=gd"),
        ({"alpha": 0.0, "solver": "gd"}, r"head\.alpha=0"),
        ({"temperature": 0.0}, r"head\.temperature=0"),
        ({"iterations": -1}, r"head\.iterations=-1"),
    ],
)
def test_numbers_out_of_range_are_refused(options, words):
    with pytest.raises(FewshotError, match=words):
        TIMHead(**options)
