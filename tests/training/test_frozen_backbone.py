"""What is trained on a frozen backbone is trained on its features, which are computed once."""

import pytest
import torch
from torch import nn

from fewshot.backbones.conv4 import Conv4
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.heads.zero_shot import ZeroShotHead
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.training.frozen_backbone import features_of, freeze_backbone
from fewshot.training.meta_train import meta_train
from fewshot.training.settings import TrainingSettings

TASKS = Protocol(5, 0, 4, episodes=12)
SETTINGS = TrainingSettings(validate_every=6, checkpoint_every=3, log_every=3)


class Counting(nn.Module):
    """A backbone that says how many images it saw."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.feature_size = Conv4(channels=1, image_size=28, width=4), 4
        self.seen = []

    def forward(self, images):
        self.seen.append(len(images))
        return self.inner(images)


def learner_of(frozen=True):
    backbone = Counting()
    torch.manual_seed(1)
    learner = MetricLearner(backbone, ZeroShotHead(4, 3, dimension=8), CrossEntropy())
    if frozen:
        freeze_backbone(learner)
    return learner


@pytest.fixture
def known(bank):
    return bank.replacing(class_attributes=torch.rand(bank.num_classes, 3))


def train(learner, bank, folder=None, **more):
    bank = features_of(learner, {"train": bank})["train"]
    return meta_train(learner, bank, TASKS, bank, TASKS, settings=SETTINGS, folder=folder, show_progress=False, **more)


def test_the_backbone_stays_as_it_was_and_the_head_does_not(known):
    learner, fresh = learner_of(), learner_of()
    train(learner, known)
    before, after = fresh.state_dict(), learner.state_dict()
    for name, value in after.items():
        if name.startswith("backbone."):
            assert torch.equal(value, before[name]), name
    assert not torch.equal(after["head.features.weight"], before["head.features.weight"])


def test_it_is_what_training_by_hand_on_features_of_eval_mode_gives(known):
    learner, other = learner_of(), learner_of()
    bank = features_of(learner, {"train": known})["train"]
    meta_train(learner, bank, TASKS, settings=SETTINGS, show_progress=False)
    optimizer = torch.optim.Adam(other.head.parameters(), 1e-3)
    with torch.no_grad():
        features = other.backbone.eval()(known.items / 255)
    sampler = EpisodeSampler(known.with_features(features), TASKS)
    for i in range(12):
        episodes = sampler.episodes(i, 1)
        logits = other.head(episodes)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), episodes.query_labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for mine, theirs in zip(learner.head.parameters(), other.head.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-3)


def test_what_it_hears_of_the_base_classes_may_be_of_images(known):
    learner = learner_of()
    features = features_of(learner, {"train": known})["train"]
    meta_train(learner, features, TASKS, base_bank=known, settings=SETTINGS, show_progress=False)
    torch.testing.assert_close(learner.base_mean, features.items.mean(0), atol=1e-5, rtol=1e-4)


def test_training_itself_never_runs_the_backbone(known):
    learner = learner_of()
    train(learner, known)
    # Features are made by a copy of it, once, before.
    assert learner.backbone.seen == []


def test_a_resumed_run_ends_with_the_same_weights(known, tmp_path):
    class Stop(Exception):
        pass

    def stops(done, total):
        if done == 7:
            raise Stop
        return 1.0

    whole = learner_of()
    train(whole, known, tmp_path / "whole")
    with pytest.raises(Stop):
        train(learner_of(), known, tmp_path / "cut", schedule=stops)
    resumed = learner_of()
    train(resumed, known, tmp_path / "cut", resume=True)
    assert all(
        torch.equal(a, b) for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    )
    assert (tmp_path / "cut/metrics.csv").read_bytes() == (tmp_path / "whole/metrics.csv").read_bytes()
