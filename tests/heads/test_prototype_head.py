"""Properties of the prototype head, on random episodes of features."""

import pytest
import torch
from torch.nn.functional import log_softmax

from fewshot.episodes.episodes import Episodes
from fewshot.episodes.prototypes import prototypes
from fewshot.errors import FewshotError
from fewshot.heads.prototype import PrototypeHead

from .conftest import episodes_of, random


@pytest.fixture(params=["euclidean", "cosine"])
def head(request):
    return PrototypeHead(request.param).double()


@pytest.mark.parametrize("shots", [(2, 2, 2), (1, 4, 2)])
def test_logits_are_those_of_a_plain_loop(head, shots):
    episodes = episodes_of(shots)
    logits = head(episodes)
    for b in range(len(episodes)):
        for c in range(3):
            mean = torch.stack(
                [x for x, y in zip(episodes.support[b], episodes.support_labels[b], strict=True) if y == c]
            ).mean(0)
            for q, x in enumerate(episodes.query[b]):
                score = (
                    -(x - mean).square().sum() if head.distance == "euclidean" else x @ mean / (x.norm() * mean.norm())
                )
                torch.testing.assert_close(logits[b, q, c], score)


def test_euclidean_is_invariant_to_translation_and_rotation():
    head, episodes = PrototypeHead().double(), episodes_of()
    rotation = torch.linalg.qr(random(6, 6, seed=9)).Q
    moved = episodes.with_items(episodes.support @ rotation + 3, episodes.query @ rotation + 3)
    torch.testing.assert_close(head(moved), head(episodes))


def test_cosine_is_invariant_to_the_length_of_queries_and_of_single_shots():
    head, episodes = PrototypeHead("cosine").double(), episodes_of(shots=(1, 1, 1))
    stretched = episodes.with_items(
        episodes.support * random(4, 3, 1, seed=5).exp(), episodes.query * random(4, 12, 1, seed=6).exp()
    )
    torch.testing.assert_close(head(stretched), head(episodes))


def test_permuting_classes_permutes_columns(head):
    episodes, order = episodes_of(), torch.tensor([2, 0, 1])
    relabelled = Episodes(
        episodes.support, order[episodes.support_labels], episodes.query, episodes.query_labels, episodes.classes
    )
    torch.testing.assert_close(head(relabelled)[..., order], head(episodes))


def test_support_order_does_not_matter(head):
    episodes, order = episodes_of(), torch.randperm(6, generator=torch.Generator().manual_seed(1))
    shuffled = Episodes(
        episodes.support[:, order],
        episodes.support_labels[:, order],
        episodes.query,
        episodes.query_labels,
        episodes.classes,
    )
    torch.testing.assert_close(head(shuffled), head(episodes))


def test_repeating_every_shot_changes_nothing(head):
    episodes = episodes_of()
    doubled = Episodes(
        torch.cat([episodes.support] * 2, 1),
        torch.cat([episodes.support_labels] * 2, 1),
        episodes.query,
        episodes.query_labels,
        episodes.classes,
    )
    torch.testing.assert_close(head(doubled), head(episodes))


def test_a_query_is_scored_without_the_others(head):
    episodes = episodes_of()
    alone = Episodes(
        episodes.support,
        episodes.support_labels,
        episodes.query[:, 3:4],
        episodes.query_labels[:, 3:4],
        episodes.classes,
    )
    torch.testing.assert_close(head(alone)[:, 0], head(episodes)[:, 3])


def test_euclidean_is_the_linear_classifier_of_its_prototypes():
    # -||x - p||^2 = 2 p.x - ||p||^2 - ||x||^2 (Snell et al. 2017, section 2.4): the last term drops out of the softmax.
    episodes = episodes_of()
    centres = prototypes(episodes.support, episodes.support_labels, 3)
    linear = 2 * episodes.query @ centres.transpose(1, 2) - centres.square().sum(-1)[:, None]
    logits = PrototypeHead().double()(episodes)
    torch.testing.assert_close(log_softmax(logits, -1), log_softmax(linear, -1))


def test_temperature_divides_and_can_be_learned():
    episodes = episodes_of()
    plain, cool = PrototypeHead().double(), PrototypeHead(temperature=0.1).double()
    torch.testing.assert_close(cool(episodes), plain(episodes) / 0.1, rtol=1e-6, atol=1e-6)
    assert not list(cool.parameters())
    learned = PrototypeHead("cosine", temperature=0.1, learn_temperature=True).double()
    log_softmax(learned(episodes), -1)[..., 0].sum().backward()
    assert learned.log_temperature.grad.abs() > 0


@pytest.mark.parametrize("arguments", [{"distance": "manhattan"}, {"temperature": 0.0}])
def test_what_makes_no_head_is_refused(arguments):
    with pytest.raises(FewshotError, match=str(next(iter(arguments.values())))):
        PrototypeHead(**arguments)
