from functools import partial

import pytest
import torch
from torch.nn.functional import cross_entropy

from fewshot.backbones.conv4 import Conv4
from fewshot.classifiers.linear import LinearClassifier
from fewshot.episodes.images import ImageProtocol, ImageSampler
from fewshot.episodes.protocol import Protocol
from fewshot.errors import FewshotError
from fewshot.evaluation.embedding import embed_bank
from fewshot.evaluation.scoring import evaluate
from fewshot.heads.feat import FEATHead
from fewshot.heads.nearest_centroid import NearestCentroidHead
from fewshot.heads.prototype import PrototypeHead
from fewshot.learners.classifier import ClassifierLearner
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.training.checkpoint import load_weights
from fewshot.training.meta_train import meta_train
from fewshot.training.settings import ClassificationSettings
from fewshot.training.training_run import BEST, CHECKPOINT, LAST


def classifier(classes=12, head=None, **options):
    torch.manual_seed(0)
    head = head or NearestCentroidHead("cl2n", 8)
    return ClassifierLearner(Conv4(1, 8, image_size=28), head, LinearClassifier(8, classes), **options)


def test_the_loss_is_that_of_all_images_of_the_batch(bank):
    learner = classifier(label_smoothing=0.1).eval()
    batch = ImageSampler(bank, ImageProtocol(100)).episodes(0, 10)
    logits = learner.classifier(learner.backbone(batch.query[0]))
    found = learner.training_loss(batch)
    torch.testing.assert_close(found.total, cross_entropy(logits, batch.query_labels[0], label_smoothing=0.1))
    assert float(found.accuracy) == float((logits.argmax(1) == batch.query_labels[0]).float().mean())


def test_rotation_asks_for_quarters_of_every_image(bank):
    learner = classifier(rotation=0.5).eval()
    batch = ImageSampler(bank, ImageProtocol(100)).episodes(0, 10)
    images, labels = batch.query[0], batch.query_labels[0]
    turned = [
        cross_entropy(learner.turned(learner.backbone(images.rot90(k, (2, 3)))), torch.full((10,), k)) for k in range(4)
    ]
    plain = cross_entropy(learner.classifier(learner.backbone(images)), labels)
    found = learner.training_loss(batch)
    torch.testing.assert_close(found.total, plain + 0.5 * torch.stack(turned).mean())
    assert set(found.parts) == {"cross_entropy", "rotation"}


def test_training_learns_the_base_classes_and_keeps_their_mean(bank, bank_of, tmp_path):
    learner, novel = classifier(), bank_of(classes=6, seed=5)
    settings = ClassificationSettings(epochs=12, batch_size=32, validate_every=4)
    result = meta_train(
        learner,
        bank,
        settings.protocol(len(bank), 0),
        novel,
        Protocol(episodes=20),
        optimizer=partial(torch.optim.Adam, lr=0.02),
        settings=settings.counted_in_images(len(bank)),
        folder=tmp_path,
        show_progress=False,
    )
    assert result.episodes == 12 * 240 // 32 * 32
    assert result.curve[-1]["train_accuracy"] > 90
    mean = embed_bank(learner, bank).items.mean(0)
    torch.testing.assert_close(learner.base_mean, mean)
    torch.testing.assert_close(learner.head.transform.base_mean, mean)
    for name in (BEST, LAST):
        weights, facts = load_weights(tmp_path / name)
        again = classifier()
        again.load_state_dict(weights)
        assert not again.head.transform.base_mean.isnan().any()
        assert (facts["episodes"] == result.best_episode) == (name == BEST) or result.best_episode == result.episodes
    again.load_state_dict(load_weights(tmp_path / BEST)[0])
    protocol = Protocol(episodes=30)
    assert evaluate(again, novel, protocol).accuracy == evaluate(learner, novel, protocol).accuracy


def test_a_resumed_training_is_the_same_training(bank, bank_of, tmp_path):
    settings, novel = ClassificationSettings(epochs=4, batch_size=30, validate_every=1), bank_of(classes=6, seed=5)

    def train(folder, **more):
        learner = classifier()
        meta_train(
            learner,
            bank,
            settings.protocol(len(bank), 0),
            novel,
            Protocol(episodes=10),
            settings=settings.counted_in_images(len(bank)),
            folder=folder,
            show_progress=False,
            **more,
        )
        return learner

    class Stopped(Exception):
        pass

    def stop_after_two_epochs(done, total):
        if done >= 2 * len(bank):
            raise Stopped
        return 1.0

    whole = train(tmp_path / "whole")
    with pytest.raises(Stopped):
        train(tmp_path / "cut", schedule=stop_after_two_epochs)
    assert (tmp_path / "cut" / CHECKPOINT).is_file()
    resumed = train(tmp_path / "cut", resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_head_without_base_features_says_so(bank):
    with pytest.raises(FewshotError, match="no mean of base features"):
        evaluate(classifier(), bank, Protocol(episodes=2))


def test_terms_of_a_head_join_the_loss(bank):
    from fewshot.episodes.sampler import EpisodeSampler

    torch.manual_seed(0)
    head = FEATHead(8, balance=0.5)
    learner = MetricLearner(Conv4(1, 8, image_size=28), head, CrossEntropy()).eval()
    episodes = EpisodeSampler(bank, Protocol()).episodes(0, 2)
    found, features = learner.training_loss(episodes), episodes.map(learner.backbone)
    term = head.training_terms(features)["feat_regulariser"]
    plain = CrossEntropy()(features, head(features)).total
    torch.testing.assert_close(found.total, plain + term)
    assert set(found.parts) == {"cross_entropy", "feat_regulariser"}
    without = MetricLearner(learner.backbone, PrototypeHead(), CrossEntropy()).training_loss(episodes)
    assert set(without.parts) == {"cross_entropy"}


@pytest.mark.parametrize("options", [{"label_smoothing": 2.0}, {"rotation": -1.0}])
def test_what_makes_no_learner_is_refused(options):
    with pytest.raises(FewshotError, match=rf"learner\.{next(iter(options))}="):
        classifier(**options)


@pytest.mark.parametrize("options", [{"epochs": 0}, {"batch_size": 0}, {"validate_every": -1}])
def test_settings_that_train_nothing_are_refused(options):
    with pytest.raises(FewshotError, match=rf"training\.{next(iter(options))}="):
        ClassificationSettings(**options)
    with pytest.raises(FewshotError, match="use a smaller one"):
        ClassificationSettings(epochs=1, batch_size=500).protocol(100, 0)
