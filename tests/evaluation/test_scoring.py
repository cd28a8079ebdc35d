import numpy as np
import pytest
import torch
from torch import nn

from fewshot.backbones.conv4 import Conv4
from fewshot.backbones.pixels import Pixels
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.errors import FewshotError
from fewshot.evaluation.embedding import embed_bank
from fewshot.evaluation.scoring import evaluate
from fewshot.heads.prototype import PrototypeHead
from fewshot.learners.learner import Learner
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.training.meta_train import meta_train
from fewshot.training.settings import TrainingSettings


class Says(nn.Module):
    """A head that says what it is told to."""

    transductive = False

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, episodes):
        return self.logits(episodes)


def learner_with(head, backbone=None) -> MetricLearner:
    return MetricLearner(backbone or Pixels(1, 28), head, CrossEntropy())


def one_hot(episodes):
    return torch.nn.functional.one_hot(episodes.query_labels, episodes.way).float()


def random_logits(episodes):
    return torch.randn(
        *episodes.query_labels.shape,
        episodes.way,
        generator=torch.Generator().manual_seed(int(episodes.query.sum()) % 1000),
    )


def test_an_oracle_is_always_right(bank):
    assert evaluate(learner_with(Says(one_hot)), bank, Protocol(episodes=50)).accuracy == 100


def test_random_and_constant_answers_are_right_one_time_in_way(bank):
    guesses = Says(random_logits)
    # Other numbers at each call: to those who ask, as if other queries mattered.
    guesses.transductive = True
    found = evaluate(learner_with(guesses), bank, Protocol(episodes=400), tasks_per_batch=1)
    assert abs(found.accuracy - 20) < 4 * found.ci95 / 1.96
    constant = Says(lambda e: torch.zeros(*e.query_labels.shape, e.way))
    assert evaluate(learner_with(constant), bank, Protocol(episodes=20)).accuracy == pytest.approx(20)


def test_more_shots_help_and_more_ways_hurt_nearest_mean(bank_of):
    bank, head = bank_of(classes=20, noise=0.9), learner_with(PrototypeHead())
    score = {(n, k): evaluate(head, bank, Protocol(n, k, 10, episodes=200)).accuracy for n in (5, 15) for k in (1, 5)}
    assert score[5, 5] > score[5, 1] + 2
    assert score[15, 1] < score[5, 1] - 2
    assert 25 < score[5, 1] < 95


def test_accuracies_are_those_of_a_plain_loop_over_episodes(bank_of):
    bank, protocol = bank_of(noise=0.85), Protocol(5, 2, 6, episodes=40)
    learner = learner_with(PrototypeHead(), Conv4(1, image_size=28)).eval()
    sampler = EpisodeSampler(bank, protocol)
    expected = []
    for i in range(40):
        episodes = sampler.episodes(i, 1)
        with torch.no_grad():
            expected.append(float((learner.predict(episodes).argmax(-1) == episodes.query_labels).double().mean()))
    for batch in (None, 1, 7):
        np.testing.assert_allclose(evaluate(learner, bank, protocol, batch).accuracies, expected, atol=1e-9)


def test_features_do_not_depend_on_how_many_go_through_together(bank):
    learner = learner_with(PrototypeHead(), Conv4(1, image_size=28)).eval()
    with torch.no_grad():
        expected = learner.backbone(bank.items / 255)
    for batch in (None, 7):
        torch.testing.assert_close(embed_bank(learner, bank, batch).items, expected, rtol=1e-4, atol=1e-5)


def test_only_needed_images_are_embedded(bank):
    learner, needed = learner_with(PrototypeHead()), torch.tensor([3, 100, 239])
    features = embed_bank(learner, bank, needed=needed).items
    assert torch.equal(features.isnan().any(1).logical_not().nonzero().flatten(), needed)
    torch.testing.assert_close(features[needed], bank.items[needed].flatten(1) / 255)


def test_a_head_can_be_trained_on_the_features_of_a_bank(bank):
    head = PrototypeHead("cosine", learn_temperature=True)
    features = embed_bank(learner_with(head), bank)
    head(EpisodeSampler(features, Protocol()).episodes(0, 2)).sum().backward()
    assert head.log_temperature.grad is not None


def test_evaluation_leaves_the_learner_as_it_was(bank):
    learner = learner_with(PrototypeHead(), Conv4(1, image_size=28)).train()
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    evaluate(learner, bank, Protocol(episodes=5))
    assert learner.training
    for name, value in learner.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, equal_nan=True)


def test_a_learner_that_adapts_to_each_task_sees_images(bank):
    class Adapts(Learner):
        def training_loss(self, episodes):
            raise NotImplementedError

        def predict(self, episodes):
            assert episodes.support.shape[2:] == (1, 28, 28)
            return one_hot(episodes)

    assert evaluate(Adapts(), bank, Protocol(episodes=5)).accuracy == 100


def test_what_is_said_about_a_test_is_what_was_tested(bank):
    found = evaluate(learner_with(PrototypeHead()), bank, Protocol(episodes=30, seed=4))
    again = evaluate(learner_with(PrototypeHead("cosine")), bank, Protocol(episodes=30, seed=4))
    assert found.episodes_sha256 == again.episodes_sha256
    assert found.bank_fingerprint == bank.fingerprint
    assert len(found.accuracies) == 30
    assert not found.transductive


def test_an_impossible_protocol_is_refused_before_embedding(bank):
    def never(images):
        raise AssertionError("embedded")

    learner = learner_with(PrototypeHead())
    learner.embed = never
    with pytest.raises(FewshotError, match="way=50"):
        evaluate(learner, bank, Protocol(way=50))


class _Mean(torch.nn.Module):
    """A head that looks at the mean of the queries."""

    def __init__(self, transductive):
        super().__init__()
        self.transductive = transductive

    def forward(self, episodes):
        return PrototypeHead()(
            episodes.with_items(episodes.support, episodes.query - episodes.query.mean(1, keepdim=True))
        )


def test_a_head_that_uses_queries_jointly_and_does_not_say_so_is_found_out(bank):
    protocol = Protocol(5, 1, 5, episodes=3)
    features = bank.with_features(bank.items.flatten(1).float())
    for told in (True, False):
        learner = MetricLearner(Pixels(1, 28), _Mean(told), CrossEntropy())
        if told:
            assert evaluate(learner, features, protocol).transductive
        else:
            with pytest.raises(FewshotError, match=r"_Mean says that it is inductive, .* set transductive = True"):
                evaluate(learner, features, protocol)


def test_scores_that_are_no_numbers_are_one_line(bank):
    with pytest.raises(FewshotError, match=r"scores of Says are no numbers; .*learner\.lr"):
        evaluate(learner_with(Says(lambda e: random_logits(e) * torch.nan)), bank, Protocol(episodes=3))


def test_a_query_whose_scores_are_no_numbers_is_wrong(bank):
    def logits(episodes):
        said = one_hot(episodes)
        said[:, ::2, -1] = torch.nan
        return said

    head = Says(logits)
    for transductive in (False, True):
        head.transductive = transductive
        assert evaluate(learner_with(head), bank, Protocol(5, 1, 4, episodes=5)).accuracy == 50
    head.logits, head.transductive = lambda e: one_hot(e) * torch.nan, True
    # The largest of NaN is the first: one in five would be right.
    assert evaluate(learner_with(head), bank, Protocol(5, 1, 4, episodes=5)).accuracy == 0


@pytest.mark.parametrize("says", [True, False])
def test_attributes_are_shown_to_those_alone_that_say_they_read_them(bank, says):
    informed = bank.replacing(class_attributes=torch.eye(bank.num_classes), attributes_name="one-hot")
    shown = []

    def logits(episodes):
        shown.append(episodes.attributes)
        return one_hot(episodes)

    head = Says(logits)
    head.reads_attributes = says
    learner, protocol = learner_with(head), Protocol(5, 1, 2, episodes=3)
    found = evaluate(learner, informed, protocol)
    assert found.side_information == ("one-hot" if says else "none")
    settings = TrainingSettings(validate_every=0)
    head.weight = nn.Parameter(torch.zeros(()))
    head.logits = lambda episodes: logits(episodes) + head.weight
    meta_train(learner, informed, protocol, settings=settings, show_progress=False)
    assert shown
    assert all((attributes is not None) == says for attributes in shown)
    if says:
        rows = torch.eye(bank.num_classes)[EpisodeSampler(bank, protocol).episodes(0, 1).classes]
        torch.testing.assert_close(shown[-3], rows)


def test_macro_accuracy_is_the_mean_over_the_classes_that_have_queries(bank):
    class First(torch.nn.Module):
        transductive = False

        def forward(self, episodes):
            scores = torch.zeros(len(episodes), episodes.query.shape[1], episodes.way)
            scores[..., 0] = 1
            return scores

    learner = MetricLearner(Pixels(1, 28), First(), CrossEntropy())
    protocol = Protocol(5, 1, 5, dirichlet=0.5, episodes=50)
    found = evaluate(learner, bank, protocol)
    labels = EpisodeSampler(bank, protocol).indices(0, 50).query_labels
    present = [len(np.unique(row)) for row in labels]
    assert found.accuracies == pytest.approx((labels == 0).mean(1))
    assert found.macro_accuracies == pytest.approx([(0 in row) / n for row, n in zip(labels, present, strict=True)])
    balanced = evaluate(learner, bank, Protocol(5, 1, 5, episodes=20))
    assert balanced.macro_accuracies == pytest.approx(balanced.accuracies)


@pytest.mark.parametrize("transductive", [False, True])
def test_features_that_are_no_numbers_are_told_as_such(bank, transductive):
    head = Says(one_hot)
    head.transductive = transductive
    features = bank.with_features(bank.items.flatten(1).float())
    features.items[7, 3] = torch.nan
    features.items[9, 0] = -torch.inf
    with pytest.raises(FewshotError, match=r"2 of 240 items of bank/all have features that are infinite or no numbers"):
        evaluate(head, features, Protocol(5, 1, 15, episodes=50))
    # Of items that no episode draws it does not matter.
    few = evaluate(learner_with(head), bank, Protocol(2, 1, 1, episodes=1))
    assert few.accuracy == 100


def test_one_episode_has_no_interval_and_says_none(bank):
    found = evaluate(learner_with(Says(one_hot)), bank, Protocol(2, 1, 1, episodes=1))
    assert str(found) == "100.00% (2-way 1-shot 1-query, 1 episode of bank/all)"
    assert "nan" not in found._repr_html_()
