import pytest
import torch

from fewshot.errors import FewshotError
from fewshot.heads.linear import LinearHead
from fewshot.learners.gradient.maml import MAML
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.task_augmentation.augmentation import fresh_rng
from fewshot.task_augmentation.task_mixup import TaskMixup

from .conftest import Linear, conv4, learner_of, rng, tasks


@pytest.mark.parametrize("level", [0, 1, 4])
def test_the_loss_is_that_of_soft_labels(level):
    """lambda CE(y) + (1 - lambda) CE(y') is the cross-entropy against lambda e_y + (1 - lambda) e_y', prototypes clean."""
    episodes, mixup = tasks(), TaskMixup(levels=[level])
    learner = learner_of(mixup).eval()
    torch.manual_seed(4)
    found = learner.training_loss(episodes)
    torch.manual_seed(4)
    drawn = mixup.draw(episodes, fresh_rng())
    backbone, lam = learner.backbone, drawn.factor
    z = backbone.forward_to(level, episodes.query.flatten(0, 1)).unflatten(0, (3, 12))
    one_hot = torch.eye(4).double()[episodes.query_labels]
    loss = 0
    for b in range(3):
        perm = drawn.query[b]
        share = float(drawn.share[b])
        assert share == pytest.approx(lam)
        queries = backbone.forward_from(level, share * z[b] + (1 - share) * z[b][perm])
        soft = lam * one_hot[b] + (1 - lam) * one_hot[b][perm]
        torch.testing.assert_close(soft.sum(1), torch.ones(12).double())
        same = episodes.query_labels[b] == episodes.query_labels[b][perm]
        assert bool((soft[same].amax(1) > 1 - 1e-12).all()), "equal labels stay one-hot"
        centres = backbone(episodes.support[b]).unflatten(0, (4, 2)).mean(1)
        logits = -(queries[:, None] - centres).square().sum(-1)
        loss = loss - (soft * logits.log_softmax(-1)).sum(-1).mean() / 3
    torch.testing.assert_close(found.total, loss)


def test_support_is_mixed_within_its_classes_and_keeps_a_linear_encoders_prototypes():
    episodes, backbone = tasks(shot=3), Linear().double()
    drawn = TaskMixup(levels=[1], support=True).draw(episodes, rng())
    labels = episodes.support_labels
    assert torch.equal(labels.gather(1, drawn.support), labels)
    assert bool((drawn.support != torch.arange(12)).all())
    found, plain = drawn.features(episodes, backbone), episodes.map(backbone)
    assert not torch.allclose(found.support, plain.support)
    # Each item is once itself and once another's: the class means stay.
    torch.testing.assert_close(found.support.unflatten(1, (4, 3)).mean(2), plain.support.unflatten(1, (4, 3)).mean(2))


def test_without_support_the_support_stays_as_it_is():
    episodes = tasks()
    drawn = TaskMixup(levels=[0]).draw(episodes, rng())
    torch.testing.assert_close(drawn.items(episodes).support, episodes.support)


def test_maml_says_that_it_takes_one_label():
    backbone = conv4()
    learner = MetricLearner(backbone, LinearHead(backbone.feature_size, 4), CrossEntropy(), TaskMixup())
    with pytest.raises(FewshotError, match="tasks of one label an item, and TaskMixup makes others; use"):
        MAML(learner)
