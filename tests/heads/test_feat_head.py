import pytest
import torch
from torch.nn.functional import cross_entropy, layer_norm

from fewshot.distances.euclidean import squared_euclidean
from fewshot.episodes.prototypes import prototypes
from fewshot.errors import FewshotError
from fewshot.heads.feat import FEATHead, SetToSet

from .conftest import episodes_of, random


@pytest.fixture
def head():
    torch.manual_seed(0)
    return FEATHead(6, temperature=3.0, balance=0.5, regulariser_temperature=2.0).double().eval()


def test_the_transformer_is_the_formula(head):
    p = random(5, 6)
    adapt = head.adapt
    q, k, v = (p @ layer.weight.T for layer in (adapt.query, adapt.key, adapt.value))
    attention = torch.stack([torch.softmax(torch.stack([a @ b for b in k]) / 6**0.5, 0) for a in q])
    out = attention @ v @ adapt.out.weight.T + adapt.out.bias
    torch.testing.assert_close(adapt(p), layer_norm(p + out, (6,), adapt.norm.weight, adapt.norm.bias))


def test_without_output_weights_it_is_layer_norm_alone(head):
    torch.nn.init.zeros_(head.adapt.out.weight)
    torch.nn.init.zeros_(head.adapt.out.bias)
    p = random(5, 6)
    torch.testing.assert_close(head.adapt(p), layer_norm(p, (6,)))


def test_permuting_a_set_permutes_the_result():
    adapt, p, order = SetToSet(6).double().eval(), random(2, 5, 6), torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(adapt(p[:, order]), adapt(p)[:, order])


def test_logits_are_distances_to_adapted_prototypes(head):
    episodes = episodes_of()
    centres = head.adapt(prototypes(episodes.support, episodes.support_labels, 3))
    torch.testing.assert_close(head(episodes), -squared_euclidean(episodes.query, centres) / 3)


def test_the_regulariser_is_that_of_a_plain_loop(head):
    episodes = episodes_of()
    total = 0
    for b in range(len(episodes)):
        items = torch.cat([episodes.support[b], episodes.query[b]])
        labels = torch.cat([episodes.support_labels[b], episodes.query_labels[b]])
        centres = torch.stack([head.adapt(items[labels == c]).mean(0) for c in range(3)])
        logits = -torch.stack([(items - centre).square().sum(1) for centre in centres], 1) / 2
        total = total + cross_entropy(logits, labels)
    torch.testing.assert_close(head.training_terms(episodes)["feat_regulariser"], 0.5 * total / len(episodes))
    assert FEATHead(6, balance=0.0).training_terms(episodes) == {}


def test_uneven_classes_are_refused_by_the_regulariser(head):
    with pytest.raises(FewshotError, match="as many items of each class"):
        head.training_terms(episodes_of((1, 2, 2)))
    # Eighteen items for three classes, but not six of each.
    with pytest.raises(FewshotError, match="as many items of each class"):
        head.training_terms(episodes_of((1, 2, 3)))


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"balance": -1.0}, {"regulariser_temperature": -1.0}])
def test_what_makes_no_head_is_refused(options):
    with pytest.raises(FewshotError, match=f"head.{next(iter(options))}="):
        FEATHead(6, **options)
