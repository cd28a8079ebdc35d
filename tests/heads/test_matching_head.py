import pytest
import torch

from fewshot.errors import FewshotError
from fewshot.heads.matching import MatchingHead
from fewshot.heads.prototype import PrototypeHead

from .conftest import episodes_of


def cosine(x, y):
    return float(x @ y / (x.norm() * y.norm()))


@pytest.mark.parametrize(("scale", "relu"), [(1.0, False), (100.0, True)])
@pytest.mark.parametrize("shots", [(2, 2, 2), (1, 4, 2)])
def test_probabilities_are_those_of_a_plain_loop(shots, scale, relu):
    episodes = episodes_of(shots)
    found = MatchingHead(scale, relu)(episodes).exp()
    for b in range(len(episodes)):
        for q, x in enumerate(episodes.query[b]):
            weights = [cosine(x, s) for s in episodes.support[b]]
            weights = torch.tensor([scale * (max(w, 0) if relu else w) for w in weights], dtype=torch.float64).exp()
            for c in range(3):
                expected = weights[episodes.support_labels[b] == c].sum() / weights.sum()
                torch.testing.assert_close(found[b, q, c], expected)


def test_rows_are_distributions():
    for head in (MatchingHead(), MatchingHead(10.0, context_steps=2, feature_size=6).double()):
        torch.testing.assert_close(head(episodes_of()).exp().sum(-1), torch.ones(4, 12, dtype=torch.float64))


def test_with_one_shot_it_is_the_prototype_head_of_the_same_kernel():
    episodes = episodes_of((1, 1, 1))
    prototype = PrototypeHead("cosine", temperature=0.2).double()(episodes).log_softmax(-1)
    torch.testing.assert_close(MatchingHead(5.0)(episodes), prototype)


def test_a_support_item_as_a_query_finds_itself():
    episodes = episodes_of(query=6)
    itself = episodes.with_items(episodes.support, episodes.support)
    assert torch.equal(MatchingHead(100.0)(itself).argmax(-1), episodes.support_labels)


def test_context_of_zero_weights_changes_nothing():
    head = MatchingHead(context_steps=3, feature_size=6).double()
    for parameter in head.parameters():
        torch.nn.init.zeros_(parameter)
    torch.testing.assert_close(head(episodes_of()), MatchingHead()(episodes_of()))


def test_context_is_that_of_a_plain_loop():
    torch.manual_seed(3)
    head, episodes = MatchingHead(context_steps=2, feature_size=6).double(), episodes_of()
    support = head.support_in_context(episodes.support)
    for b in range(2):
        both = head.support_lstm(episodes.support[b : b + 1])[0][0]
        g = both[:, :6] + both[:, 6:] + episodes.support[b]
        torch.testing.assert_close(support[b], g)
        x = episodes.query[b, 5]
        h, c = x, torch.zeros(6, dtype=torch.float64)
        for _ in range(2):
            read = torch.softmax(g @ h, 0) @ g
            out, c = head.query_lstm(torch.cat([x, read])[None], (h[None], c[None] if c.ndim == 1 else c))
            h = out[0] + x
        torch.testing.assert_close(head.query_in_context(episodes.query, support)[b, 5], h)


@pytest.mark.parametrize("options", [{"scale": 0.0}, {"context_steps": -1}, {"context_steps": 2}])
def test_what_makes_no_head_is_refused(options):
    with pytest.raises(FewshotError, match=f"head.{next(iter(options))}="):
        MatchingHead(**options)
