import pytest
import torch

from fewshot.errors import FewshotError
from fewshot.heads.nearest_centroid import NearestCentroidHead
from fewshot.heads.prototype import PrototypeHead

from .conftest import episodes_of, random


def test_untransformed_it_is_the_prototype_head():
    episodes = episodes_of()
    torch.testing.assert_close(NearestCentroidHead("un")(episodes), PrototypeHead().double()(episodes))


def test_logits_are_those_of_a_plain_loop():
    episodes, base = episodes_of(), random(40, 6, seed=8) + 2
    head = NearestCentroidHead("cl2n", 6).double()
    head.transform.base_mean.copy_(base.mean(0))
    found = head(episodes)
    mean = base.mean(0)
    for b in range(len(episodes)):
        support = torch.stack([(s - mean) / (s - mean).norm() for s in episodes.support[b]])
        for q, x in enumerate(episodes.query[b]):
            unit = (x - mean) / (x - mean).norm()
            for c in range(3):
                centre = support[episodes.support_labels[b] == c].mean(0)
                torch.testing.assert_close(found[b, q, c], -(unit - centre).square().sum())


def test_transformed_features_have_unit_length_and_no_mean_is_l2n():
    episodes, head = episodes_of(), NearestCentroidHead("cl2n", 6).double()
    head.transform.base_mean.zero_()
    torch.testing.assert_close(head(episodes), NearestCentroidHead("l2n")(episodes))
    torch.testing.assert_close(head.transform(episodes.query).norm(dim=-1), torch.ones(4, 12, dtype=torch.float64))


def test_the_base_mean_must_be_known():
    with pytest.raises(FewshotError, match="no mean of base features"):
        NearestCentroidHead("cl2n", 6).double()(episodes_of())


def test_what_makes_no_head_is_refused():
    with pytest.raises(FewshotError, match=r"head\.transform=zscore; expected one of un, l2n, cl2n"):
        NearestCentroidHead("zscore")
    with pytest.raises(FewshotError, match="features=cl2n needs to know how many features there are"):
        NearestCentroidHead("cl2n")
