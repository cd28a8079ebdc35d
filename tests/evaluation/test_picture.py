import pytest
import torch

from fewshot.backbones.conv4 import Conv4
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.errors import FewshotError
from fewshot.evaluation import picture
from fewshot.evaluation.scoring import evaluate
from fewshot.heads.prototype import PrototypeHead
from fewshot.heads.zero_shot import ZeroShotHead
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy


def learner_of(head):
    torch.manual_seed(0)
    return MetricLearner(Conv4(channels=1, image_size=28, width=4), head, CrossEntropy()).eval()


def words_under_queries(figure):
    return [text.get_text() for text in figure.axes[0].texts if text.get_text().endswith("%")]


@pytest.mark.parametrize(
    "protocol", [Protocol(12, 2, 18), Protocol(12, 0, 20), Protocol(5, (1, 2, 3, 1, 1), 4)], ids=str
)
def test_what_is_drawn_is_what_the_test_predicts(bank, tmp_path, protocol):
    known = bank.replacing(class_attributes=torch.rand(bank.num_classes, 3))
    learner = learner_of(PrototypeHead() if protocol.shot else ZeroShotHead(4, 3, dimension=8))
    predicted = picture.query_probabilities(learner, known, protocol, 3).argmax(-1).numpy()
    whole = learner.predict(EpisodeSampler(known, protocol).episodes(3, 1)).argmax(-1)[0].numpy()
    assert (predicted == whole).mean() > 0.99
    found = evaluate(learner, known, Protocol(protocol.way, protocol.shot, protocol.query, episodes=4))
    labels = EpisodeSampler(known, protocol).indices(3, 1).query_labels[0]
    assert found.accuracies[3] == pytest.approx((predicted == labels).mean(), abs=0.01)
    path = tmp_path / "episode.png"
    picture.draw_episode(learner, known, protocol, path, episode=3)
    assert path.stat().st_size > 5000


def test_under_each_query_stands_what_was_said_and_how_surely(bank_of):
    bank, protocol = bank_of(noise=0.9), Protocol(5, 2, 4)
    learner = learner_of(PrototypeHead()).train()
    figure = picture.draw_episode(learner, bank, protocol, episode=1)
    assert learner.training, "left as it was"
    said = picture.query_probabilities(learner, bank, protocol, 1)
    torch.testing.assert_close(said.sum(1), torch.ones(20))
    labels = EpisodeSampler(bank, protocol).indices(1, 1).query_labels[0]
    expected = []
    for label in range(5):
        for probabilities in said[torch.from_numpy(labels == label)]:
            sure, answer = probabilities.max(0)
            words = f"{100 * sure:.0f}%"
            expected.append(words if answer == label else f"{answer}? {words}")
    shown = words_under_queries(figure)
    assert shown == expected
    assert any("?" in words for words in shown)
    assert any("?" not in words for words in shown)
    plain = picture.draw_episode(None, bank, protocol)
    assert not words_under_queries(plain), "nothing was said"
    assert len(figure.axes[0].images) == len(plain.axes[0].images) == 5 * (2 + 4)


def test_features_are_no_pictures(bank):
    with pytest.raises(FewshotError, match="has features, which cannot be drawn"):
        picture.draw_episode(None, bank.with_features(torch.zeros(len(bank), 3)), Protocol(5, 1, 1))


def test_a_class_is_drawn_by_its_name(bank):
    assert "class 7: 20 of 20 images" in picture.draw_class(bank, "class 7").get_suptitle()
