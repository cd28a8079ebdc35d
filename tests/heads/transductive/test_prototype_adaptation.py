"""The reconstruction of prototype adaptation: its limits, and what its two iterated parts bring."""

import pytest
import torch
from torch.nn.functional import normalize

from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.heads.prototype import PrototypeHead
from fewshot.heads.transductive.prototype_adaptation import PrototypeAdaptationHead

from .conftest import clustered, random, task_by_task


def simulated(counts=(15,) * 5, tasks=200):
    """5-way 1-shot tasks whose queries are shifted as a whole: the simulation that the method files describe."""
    labels = torch.arange(5).repeat_interleave(torch.tensor(counts)).expand(tasks, -1)
    centres = 0.5 * random(tasks, 5, 64, seed=1) + 1
    shift = 0.3 * random(tasks, 1, 64, seed=2)
    support = centres + 0.96 * random(tasks, 5, 64, seed=3)
    query = (
        centres.gather(1, labels[..., None].expand(-1, -1, 64))
        + 0.96 * random(tasks, len(labels[0]), 64, seed=4)
        + shift
    )
    own = torch.arange(5).expand(tasks, -1)
    return Episodes(support, own.contiguous(), query, labels.contiguous(), own)


def accuracy(head, tasks):
    return float((head(tasks).argmax(-1) == tasks.query_labels).double().mean())


def test_each_part_helps_and_repeating_them_helps_more():
    tasks = simulated()
    plain = accuracy(PrototypeHead("cosine"), tasks)
    once = accuracy(PrototypeAdaptationHead(rounds=1), tasks)
    often = accuracy(PrototypeAdaptationHead(), tasks)
    assert plain + 0.05 < once
    assert once + 0.05 < often
    assert plain + 0.05 < accuracy(PrototypeAdaptationHead(centring="none"), tasks) < often
    assert accuracy(PrototypeAdaptationHead(adapt=False), tasks) < often


def test_uneven_queries_are_helped_too():
    tasks = simulated((35, 20, 10, 6, 4))
    assert accuracy(PrototypeHead("cosine"), tasks) + 0.05 < accuracy(PrototypeAdaptationHead(), tasks)


def plain(rounds, centring):
    def unit(v):
        return v / v.norm(dim=-1, keepdim=True)

    def score(support, labels, query):
        s0, x0 = unit(support), unit(query)

        def means(s, x, z):
            return torch.stack(
                [(s[labels == c].sum(0) + z[:, c] @ x) / ((labels == c).sum() + z[:, c].sum()) for c in range(3)]
            )

        def cent(z):
            if centring == "joint":
                mu = torch.cat([s0, x0]).mean(0) if z is None else means(s0, x0, z).mean(0)
                return unit(s0 - mu), unit(x0 - mu)
            mu_s = torch.stack([s0[labels == c].mean(0) for c in range(3)]).mean(0)
            mu_q = x0.mean(0) if z is None else torch.stack([z[:, c] @ x0 / z[:, c].sum() for c in range(3)]).mean(0)
            return unit(s0 - mu_s), unit(x0 - mu_q)

        s, x = cent(None)
        p, z = unit(torch.stack([s[labels == c].mean(0) for c in range(3)])), None
        for _ in range(rounds):
            new = (10 * x @ p.T).softmax(1)
            if z is not None and (new - z).abs().max() < 1e-4:
                break
            z = new
            s, x = cent(z)
            p = unit(0.8 * p + 0.2 * unit(means(s, x, z)))
        return 10 * x @ p.T

    return score


@pytest.mark.parametrize("centring", ["separate", "joint"])
def test_it_is_the_plain_loop(episodes, centring):
    head = PrototypeAdaptationHead(rounds=7, centring=centring)
    torch.testing.assert_close(head(episodes), task_by_task(episodes, plain(7, centring)), rtol=0, atol=1e-9)


@pytest.mark.parametrize("options", [{"rounds": 0}, {"rate": 0.0}])
def test_without_centring_and_steps_it_is_cosine_prototypes_of_unit_features(episodes, options):
    unit = episodes.with_items(normalize(episodes.support, dim=-1), normalize(episodes.query, dim=-1))
    found = PrototypeAdaptationHead(centring="none", **options)(episodes)
    torch.testing.assert_close(found, 10 * PrototypeHead("cosine")(unit))


def test_lengths_do_not_matter_and_the_support_is_its_own_class():
    tasks = clustered(3, (1, 1, 1), (1, 1, 1))
    longer = tasks.with_items(7 * tasks.support, 7 * tasks.query)
    torch.testing.assert_close(PrototypeAdaptationHead()(longer), PrototypeAdaptationHead()(tasks))
    same = tasks.with_items(tasks.support, tasks.support.clone())
    assert torch.equal(PrototypeAdaptationHead()(same).argmax(-1), tasks.support_labels)


@pytest.mark.parametrize("options", [{"rounds": -1}, {"scale": 0.0}, {"rate": 1.1}, {"centring": "mean"}])
def test_numbers_out_of_range_are_refused(options):
    (name,) = options
    with pytest.raises(FewshotError, match=rf"head\.{name}="):
        PrototypeAdaptationHead(**options)
