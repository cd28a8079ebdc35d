"""Learners take banks of features as they take images, where their features are the same in every task."""

import torch

from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.embedding import embed_bank
from fewshot.heads.prototype import PrototypeHead
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.training import frozen_backbone
from fewshot.training.frozen_backbone import features_of, freeze_backbone
from fewshot.training.meta_train import meta_train

from .gradient.conftest import Net


def learner_of():
    torch.manual_seed(0)
    return MetricLearner(Net(), PrototypeHead("mahalanobis", learn_temperature=True, feature_size=4), CrossEntropy())


def test_frozen_training_gives_what_plain_gradients_of_features_give(bank):
    learner, protocol = learner_of(), Protocol(3, 2, 2, episodes=6)
    before = {name: p.detach().clone() for name, p in learner.named_parameters()}
    freeze_backbone(learner)
    (made,) = features_of(learner, {"train": bank}).values()
    assert learner.training
    meta_train(learner, made, protocol, optimizer=lambda p: torch.optim.SGD(p, lr=0.1), show_progress=False)
    # The same by hand: images through the backbone as in tests, every episode anew.
    plain = learner_of().eval()
    sampler, optimizer = EpisodeSampler(bank, protocol), torch.optim.SGD(plain.head.parameters(), lr=0.1)
    for i in range(6):
        with torch.no_grad():
            features = sampler.episodes(i, 1).map(plain.backbone)
        optimizer.zero_grad()
        plain.loss_of_features(features).total.backward()
        optimizer.step()
    for name, p in learner.named_parameters():
        if name.startswith("backbone."):
            assert (p == before[name]).all()
        else:
            torch.testing.assert_close(p, dict(plain.named_parameters())[name], rtol=1e-4, atol=1e-6)
            assert (p != before[name]).any()


def test_features_are_kept_for_the_same_weights_and_images_alone(bank, bank_of, tmp_path, monkeypatch):
    learner, asked = learner_of(), []

    def counting(learner, bank, **options):
        if not options:
            asked.append(bank.split)
        return embed_bank(learner, bank, **options)

    monkeypatch.setattr(frozen_backbone, "embed_bank", counting)
    first, again = (features_of(learner, {"train": bank}, tmp_path)["train"] for _ in range(2))
    assert len(asked) == 1
    assert (first.items == again.items).all()
    assert first.class_names == again.class_names == bank.class_names
    with torch.no_grad():
        learner.backbone.first.weight.mul_(1.01)
    other = features_of(learner, {"train": bank}, tmp_path)["train"]
    assert (other.items != first.items).any()
    features_of(learner, {"train": bank_of(seed=1)}, tmp_path)
    assert len(asked) == len(list(tmp_path.iterdir())) == 3
    # The same weights in a network that does something else with them.
    learner.backbone.forward = lambda images: Net.forward(learner.backbone, images) + 1
    features_of(learner, {"train": bank}, tmp_path)
    assert len(asked) == 4


def test_damaged_features_are_made_anew(bank, tmp_path):
    learner = learner_of()
    first = features_of(learner, {"train": bank}, tmp_path)["train"]
    (path,) = tmp_path.iterdir()
    for damage in (path.read_bytes()[:100], b""):
        path.write_bytes(damage)
        assert (features_of(learner, {"train": bank}, tmp_path)["train"].items == first.items).all()
