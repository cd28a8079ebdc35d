"""Mixed pairs against mixtures that are made one by one."""

import pytest
import torch
from torch.nn.functional import normalize

from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.losses.metrix import Metrix, mixed_cosines
from fewshot.losses.pairs import PairLoss

from .conftest import episodes_of, no_logits, pooled

MIXES = pytest.mark.parametrize("mixes", ["positive_negative", "anchor_negative"])


def test_a_test_draws_no_mixtures():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat_interleave(2)[None]
    episodes = Episodes(
        torch.randn(1, 6, 4, generator=generator), labels, torch.randn(1, 6, 4, generator=generator), labels,
        torch.arange(3)[None],
    )  # fmt: skip
    logits = torch.zeros(1, 6, 3)
    loss = Metrix().eval()
    state = torch.get_rng_state()
    assert torch.equal(loss(episodes, logits).total, loss.clean(episodes, logits).total)
    assert torch.equal(torch.get_rng_state(), state)


def mixtures(z, y, a, share, mixes):
    """The cosines of anchor a with all its mixtures, made one by one."""
    found = []
    for n in range(len(z)):
        if y[n] == y[a]:
            continue
        firsts = [a] if mixes == "anchor_negative" else [p for p in range(len(z)) if y[p] == y[a] and p != a]
        for p in firsts:
            v = normalize(share * normalize(z[p], dim=0) + (1 - share) * normalize(z[n], dim=0), dim=0)
            found.append(normalize(z[a], dim=0) @ v)
    return torch.stack(found)


@MIXES
@pytest.mark.parametrize("kind", ["multi_similarity", "contrastive"])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_value_and_gradient_are_those_of_mixtures_made_one_by_one(kind, mixes, share):
    episodes = episodes_of(way=3, shot=1, query=2, tasks=2, spread=0.5)
    loss = Metrix(kind, alpha=2.0, beta=10.0, base=0.4, margin=0.7)
    parts = [(episodes.support.requires_grad_(), episodes.query.requires_grad_())]
    per_task = []
    for b in range(2):
        z, y = pooled(episodes, b)
        if kind == "multi_similarity":
            values = []
            for a in range(len(z)):
                s = mixtures(z, y, a, share, mixes)
                near = torch.log(1 + (share * torch.exp(-2.0 * (s - 0.4))).sum()) / 2.0
                values.append(near + torch.log(1 + ((1 - share) * torch.exp(10.0 * (s - 0.4))).sum()) / 10.0)
            per_task.append(torch.stack(values).mean())
        else:
            per_task.append(torch.cat([mixtures(z, y, a, share, mixes) for a in range(len(z))]))
    if kind == "multi_similarity":
        expected = torch.stack(per_task).mean()
    else:
        d = (2 - 2 * torch.cat(per_task)).sqrt()
        hinge = (0.7 - d).clamp_min(0)
        expected = share * d.mean() + (1 - share) * hinge[hinge > 0].mean()
    found = loss.mixed_loss(episodes, share, mixes)
    torch.testing.assert_close(found, expected)
    for part in parts[0]:
        ours, theirs = (torch.autograd.grad(value, part, retain_graph=True)[0] for value in (found, expected))
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


def test_whole_shares_are_the_pairs_themselves():
    z = normalize(torch.randn(1, 6, 5).double(), dim=-1)
    cosines, same = z @ z.transpose(1, 2), (torch.arange(6) % 2)[None, :, None] == (torch.arange(6) % 2)[None, None]
    for share, partners in (
        (1.0, lambda a: (a + 2, a + 4)),
        (0.0, lambda a: (a + 1, a + 3, a + 5)),
    ):
        likeness, there = mixed_cosines(cosines, same, share, "positive_negative")
        for a in range(6):
            expected = {round(float(cosines[0, a, p % 6]), 9) for p in partners(a)}
            assert {round(float(value), 9) for value in likeness[0, a][there[0, a]]} == expected
    # An anchor with nothing of a negative is itself.
    likeness, there = mixed_cosines(cosines, same, 1.0, "anchor_negative")
    torch.testing.assert_close(likeness[there], torch.ones(18).double())


def test_gradients_reach_both_ends_of_a_mixture():
    episodes = episodes_of(way=2, shot=1, query=1, tasks=1)
    for mixes in ("positive_negative", "anchor_negative"):
        support = episodes.support.clone().requires_grad_()
        value = Metrix().mixed_loss(episodes.with_items(support, episodes.query), 0.6, mixes)
        (gradient,) = torch.autograd.grad(value, support)
        assert bool((gradient.norm(dim=-1) > 1e-6).all())


def test_without_weight_it_is_the_loss_over_pairs_and_a_seed_makes_it_repeatable():
    episodes = episodes_of()
    plain = PairLoss("multi_similarity", alpha=2.0, beta=50.0, base=0.5)(episodes, no_logits(episodes)).total
    assert torch.equal(Metrix(weight=0.0)(episodes, no_logits(episodes)).total, plain)

    def drawn(seed):
        torch.manual_seed(seed)
        return float(Metrix()(episodes, no_logits(episodes)).total)

    assert drawn(0) == drawn(0)
    assert len({drawn(seed) for seed in range(5)}) == 5


def test_uneven_classes_count_with_the_positives_that_they_have():
    episodes = episodes_of(way=2, shot=1, query=3, tasks=1)
    labels = torch.tensor([[0, 0, 0, 0, 0, 1]])
    episodes = type(episodes)(episodes.support, episodes.support_labels, episodes.query, labels, episodes.classes)
    z, y = pooled(episodes, 0)
    same = (y[:, None] == y)[None]
    unit = normalize(z, dim=-1)
    likeness, there = mixed_cosines((unit @ unit.T)[None], same, 0.4, "positive_negative")
    for a in range(len(z)):
        ours = likeness[0, a][there[0, a]].sort().values
        torch.testing.assert_close(ours, mixtures(z, y, a, 0.4, "positive_negative").sort().values)


def test_what_it_cannot_do_is_refused():
    for options, message in (
        ({"kind": "nca"}, "loss.kind=nca; expected one of multi_similarity, contrastive"),
        ({"mixes": "all"}, "loss.mixes=all"),
        ({"weight": -1.0}, "loss.weight=-1"),
        ({"mixing": (0.0, 1.0)}, "loss.mixing="),
    ):
        with pytest.raises(FewshotError, match=message):
            Metrix(**options)
