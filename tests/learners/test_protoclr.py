"""ProtoCLR: Prototypical Networks on episodes without labels."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from fewshot.augment.image_augment import ImageAugment
from fewshot.backbones.conv4 import Conv4
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.views import ViewProtocol, ViewSampler
from fewshot.evaluation.scoring import evaluate
from fewshot.heads.prototune import ProtoTuneHead
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.training.meta_train import meta_train
from fewshot.training.settings import TrainingSettings

CHANGE = ImageAugment(shift=2, flip=True, dropout=0.3)


class Scaled(nn.Module):
    """Pixels times a number."""

    def __init__(self, scale, size=784):
        super().__init__()
        self.scale, self.feature_size = scale, size

    def forward(self, images):
        return self.scale * images.flatten(1)


def learner(backbone=None):
    torch.manual_seed(0)
    return MetricLearner(backbone or Conv4(1, 8, image_size=28), ProtoTuneHead(), CrossEntropy()).train()


def views(bank, augment=CHANGE, **options):
    return ViewSampler(bank, ViewProtocol(**({"way": 10} | options)), augment).episodes(0, 1)


@pytest.mark.parametrize("way", [2, 50])
def test_where_all_features_are_the_same_the_loss_is_the_logarithm_of_the_images(bank, way):
    loss = learner(Scaled(0.0)).training_loss(views(bank, way=way)).total
    assert float(loss) == pytest.approx(math.log(way), abs=1e-6)


def test_views_like_their_image_are_found_and_the_loss_falls_as_features_grow(bank):
    episodes = views(bank, augment=None)
    found = [learner(Scaled(scale)).training_loss(episodes) for scale in (0.01, 0.05, 0.25, 1.0)]
    assert all(float(part.accuracy) == 1 for part in found)
    losses = [float(part.total) for part in found]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1e-6


def test_the_loss_is_the_mean_over_views_of_minus_the_log_share_of_the_own_image(bank):
    made, episodes = learner().double(), views(bank, shot=2, augment=CHANGE, augment_support=True)
    episodes = episodes.with_items(episodes.support.double(), episodes.query.double())
    # One pass over all views, BatchNorm in training mode.
    features = made.backbone(torch.cat([episodes.support[0], episodes.query[0]]))
    prototypes = features[:20].view(10, 2, -1).mean(1)
    scores = -((features[20:, None] - prototypes[None]) ** 2).sum(-1)
    expected = -scores.log_softmax(1)[torch.arange(30), torch.arange(10).repeat_interleave(3)].mean()
    torch.testing.assert_close(made.training_loss(episodes).total, expected)


def test_the_order_of_the_images_is_nothing(bank):
    made, episodes = learner().eval(), views(bank)
    order = torch.randperm(10)
    support = episodes.support[:, order]
    labels = order.argsort()[episodes.query_labels]
    turned = Episodes(support, episodes.support_labels, episodes.query, labels, episodes.classes[:, order])
    torch.testing.assert_close(made.training_loss(turned).total, made.training_loss(episodes).total)


def test_so_many_plain_views_are_one(bank):
    made = learner().eval()
    one, three = views(bank, shot=1), views(bank, shot=3)
    assert three.support.shape[1] == 30
    # Other protocols draw other images: the same ones, three times.
    three = Episodes(
        one.support.repeat_interleave(3, 1), three.support_labels, one.query, one.query_labels, one.classes
    )
    torch.testing.assert_close(made.training_loss(three).total, made.training_loss(one).total)


def test_an_image_that_is_there_twice_costs_its_views_at_least_a_coin_toss(bank_of):
    bank = bank_of(classes=1, per_class=2)
    twice = bank.replacing(items=bank.items[:1].repeat(2, 1, 1, 1))
    episodes = views(twice, way=2)
    logits = learner().eval().head(episodes.map(learner().eval().backbone))
    loss = cross_entropy(logits.flatten(0, 1), episodes.query_labels.flatten(), reduction="none")
    torch.testing.assert_close(loss, torch.full_like(loss, math.log(2)))
    crowd = bank_of(classes=1, per_class=6)
    crowd = crowd.replacing(items=torch.cat([crowd.items[:1], crowd.items[:5]]))
    episodes = views(crowd, way=6)
    logits = learner().eval().head(episodes.map(learner().eval().backbone))
    loss = cross_entropy(logits.flatten(0, 1), episodes.query_labels.flatten(), reduction="none").view(6, 3)
    doubled = (episodes.classes[0] < 2).nonzero().flatten()
    assert len(doubled) == 2
    assert (loss[doubled] >= math.log(2) - 1e-6).all()


def train(bank, **more):
    made = learner()
    meta_train(
        made,
        bank,
        ViewProtocol(way=10, query=2, episodes=more.pop("episodes", 6)),
        optimizer=partial(torch.optim.Adam, lr=1e-2),
        settings=TrainingSettings(tasks_per_step=2, validate_every=0, checkpoint_every=2, log_every=2),
        augment=CHANGE,
        show_progress=False,
        **more,
    )
    return made


def test_other_labels_give_the_same_training_bit_for_bit(bank):
    # A bank's labels ascend, so other labels of the same items are other borders between its classes.
    borders = torch.tensor([1, 5, 100, 134])
    other = bank.replacing(labels=(torch.arange(len(bank))[:, None] >= borders).sum(1), class_names=list("abcde"))
    mine, others = train(bank), train(other)
    for name, value in mine.state_dict().items():
        assert torch.equal(value, others.state_dict()[name]), name


def test_a_resumed_training_is_the_same_training(bank, tmp_path):
    class Stopped(Exception):
        pass

    def stop_at_four(done, total):
        if done >= 4:
            raise Stopped
        return 1.0

    whole = train(bank)
    with pytest.raises(Stopped):
        train(bank, folder=tmp_path, schedule=stop_at_four)
    resumed = train(bank, folder=tmp_path, resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_training_without_labels_helps_to_tell_new_classes_apart(bank_of):
    base, novel = bank_of(), bank_of(classes=6, seed=5)
    protocol = Protocol(episodes=100)
    before = evaluate(learner(), novel, protocol).accuracy
    trained = train(base, episodes=60)
    assert evaluate(trained, novel, protocol).accuracy > before + 5


def test_tuning_on_tasks_leaves_the_backbone_as_it_was(bank):
    made = train(bank)
    kept = {name: value.clone() for name, value in made.state_dict().items()}
    evaluate(made, bank, Protocol(shot=3, episodes=5))
    made.eval().predict(ViewSampler(bank, ViewProtocol(way=5)).episodes(0, 2))
    for name, value in made.state_dict().items():
        assert torch.equal(value, kept[name]), name
