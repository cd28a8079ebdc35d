import pytest
import torch

from fewshot.backbones.conv4 import Conv4
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation import picture
from fewshot.evaluation.scoring import evaluate
from fewshot.heads.prototype import PrototypeHead
from fewshot.heads.zero_shot import ZeroShotHead
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy


def learner_of(head):
    torch.manual_seed(0)
    return MetricLearner(Conv4(channels=1, image_size=28, width=4), head, CrossEntropy()).eval()


@pytest.mark.parametrize(
    "protocol", [Protocol(12, 2, 18), Protocol(12, 0, 20), Protocol(5, (1, 2, 3, 1, 1), 4)], ids=str
)
def test_what_is_drawn_is_what_the_test_predicts(bank, tmp_path, protocol):
    known = bank.replacing(class_attributes=torch.rand(bank.num_classes, 3))
    learner = learner_of(PrototypeHead() if protocol.shot else ZeroShotHead(4, 3, dimension=8))
    predicted = picture._predicted(learner, known, protocol, 3)
    whole = learner.predict(EpisodeSampler(known, protocol).episodes(3, 1)).argmax(-1)[0].numpy()
    assert (predicted == whole).mean() > 0.99
    found = evaluate(learner, known, Protocol(protocol.way, protocol.shot, protocol.query, episodes=4))
    labels = EpisodeSampler(known, protocol).indices(3, 1).query_labels[0]
    assert found.accuracies[3] == pytest.approx((predicted == labels).mean(), abs=0.01)
    path = tmp_path / "episode.png"
    picture.draw_episode(learner, known, protocol, path, episode=3)
    assert path.stat().st_size > 5000
