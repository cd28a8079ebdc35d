"""The same tasks and weights through easyfsl 1.5.0, one task after the other."""

import pytest
import torch
from easyfsl.methods.feat import FEAT
from easyfsl.methods.matching_networks import MatchingNetworks
from easyfsl.methods.prototypical_networks import PrototypicalNetworks
from easyfsl.methods.simple_shot import SimpleShot
from easyfsl.modules.attention_modules import MultiHeadAttention
from easyfsl.modules.feat_resnet12 import feat_resnet12
from torch import nn

from fewshot.backbones.resnet12 import ResNet12
from fewshot.episodes.episodes import Episodes
from fewshot.heads.feat import FEATHead
from fewshot.heads.matching import MatchingHead
from fewshot.heads.prototype import PrototypeHead

D = 16


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def episodes(tasks=3, way=5, shot=3, query=4):
    labels = torch.arange(way).repeat_interleave(shot).expand(tasks, -1).contiguous()
    query_labels = torch.arange(way).repeat(query).expand(tasks, -1).contiguous()
    support, queries = torch.randn(tasks, way * shot, D), torch.randn(tasks, way * query, D)
    return Episodes(support, labels, queries, query_labels, torch.arange(way).expand(tasks, -1))


def one_by_one(theirs, tasks):
    scores = []
    for support, labels, query in zip(tasks.support, tasks.support_labels, tasks.query, strict=True):
        theirs.process_support_set(support, labels)
        scores.append(theirs(query).detach())
    return torch.stack(scores)


def test_prototypes_have_the_same_distances_which_easyfsl_does_not_square():
    tasks = episodes()
    found = -(-PrototypeHead()(tasks)).sqrt()
    torch.testing.assert_close(found, one_by_one(PrototypicalNetworks(nn.Identity()), tasks))


def test_simple_shot_of_easyfsl_is_the_cosine_to_the_mean_feature():
    tasks = episodes()
    torch.testing.assert_close(PrototypeHead("cosine")(tasks), one_by_one(SimpleShot(nn.Identity()), tasks))


def test_full_context_embeddings_of_matching_networks():
    tasks = episodes()
    theirs = MatchingNetworks(nn.Identity(), feature_dimension=D).eval()
    # easyfsl reads the support as often as it has items.
    mine = MatchingHead(context_steps=15, feature_size=D).eval()
    mine.support_lstm.load_state_dict(theirs.support_features_encoder.state_dict())
    mine.query_lstm.load_state_dict(theirs.query_features_encoding_cell.state_dict())
    support = mine.support_in_context(tasks.support)
    query = mine.query_in_context(tasks.query, support)
    for b in range(len(tasks)):
        theirs.process_support_set(tasks.support[b], tasks.support_labels[b])
        torch.testing.assert_close(support[b], theirs.contextualized_support_features, rtol=0, atol=1e-5)
        torch.testing.assert_close(query[b], theirs.encode_query_features(tasks.query[b]), rtol=0, atol=1e-5)


def test_feat_adapts_prototypes_alike():
    tasks, attention = episodes(), MultiHeadAttention(1, D, D, D).eval()
    mine = FEATHead(D, temperature=1.0).eval()
    names = {"query": "w_qs", "key": "w_ks", "value": "w_vs", "out": "fc", "norm": "layer_norm"}
    weights = attention.state_dict()
    renamed = {}
    for name in mine.adapt.state_dict():
        part, _, kind = name.partition(".")
        renamed[name] = weights[f"{names[part]}.{kind}"]
    mine.adapt.load_state_dict(renamed)
    theirs = FEAT(nn.Identity(), attention_module=attention).eval()
    torch.testing.assert_close(-(-mine(tasks)).sqrt(), one_by_one(theirs, tasks), rtol=0, atol=1e-5)


def test_resnet12_is_that_of_feat():
    mine, theirs = ResNet12().eval(), feat_resnet12().eval()
    # Running means of their own for each layer, so that no two could be exchanged.
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    weights, renamed = theirs.state_dict(), {}
    places = {"0": "conv1", "1": "bn1", "3": "conv2", "4": "bn2", "6": "conv3", "7": "bn3"}
    for name in mine.state_dict():
        _, block, part, place, kind = name.split(".")
        where = places[place] if part == "body" else f"downsample.{place}"
        renamed[name] = weights[f"layer{int(block) + 1}.0.{where}.{kind}"]
    mine.load_state_dict(renamed)
    images = torch.randn(2, 3, 84, 84)
    torch.testing.assert_close(mine(images), theirs(images), rtol=1e-4, atol=1e-4)
