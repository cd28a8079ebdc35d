import pytest
import torch

from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.heads.relation import RelationHead

from .conftest import episodes_of


@pytest.fixture
def head():
    torch.manual_seed(0)
    return RelationHead((3, 5, 4), width=6).double().eval()


def test_scores_are_those_of_a_plain_loop(head):
    episodes = episodes_of(dimension=60)
    found = head(episodes)
    assert ((found > 0) & (found < 1)).all()
    for b in range(2):
        for c in range(3):
            centre = episodes.support[b][episodes.support_labels[b] == c].mean(0).view(3, 5, 4)
            for q in (0, 7):
                pair = torch.cat([centre, episodes.query[b, q].view(3, 5, 4)])[None]
                torch.testing.assert_close(found[b, q, c], head.score(head.compare(pair).flatten(1)).sigmoid()[0, 0])


def test_equal_shots_are_one_shot(head):
    one = episodes_of((1, 1, 1), dimension=60)
    many = Episodes(
        one.support.repeat(1, 3, 1), one.support_labels.repeat(1, 3), one.query, one.query_labels, one.classes
    )
    torch.testing.assert_close(head(many), head(one))


def test_logits_are_what_the_sigmoid_is_taken_of(head):
    episodes = episodes_of(dimension=60)
    probabilities = head(episodes)
    head.scores = "logit"
    torch.testing.assert_close(head(episodes).sigmoid(), probabilities)


def test_features_without_places_are_refused():
    with pytest.raises(FewshotError, match=r"pools to one position; use backbone=conv4 backbone\.poolings=2"):
        RelationHead((64, 1, 1))
    with pytest.raises(FewshotError, match=r"head\.scores=odds"):
        RelationHead((3, 5, 5), scores="odds")
