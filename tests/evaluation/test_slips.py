"""What is given in the wrong place in Python is one line that says what belongs there."""

import pytest
import torch

from fewshot import (
    Bank,
    Conv4,
    CrossEntropy,
    FewshotError,
    MetricLearner,
    Protocol,
    PrototypeHead,
    compare,
    evaluate,
    meta_train,
)
from fewshot.backbones.pixels import Pixels
from fewshot.data.glyphs import Glyphs
from fewshot.evaluation.embedding import embed_bank
from fewshot.learners.classifier import ClassifierLearner

PROTOCOL = Protocol(5, 1, 3, episodes=2)


@pytest.fixture
def learner():
    return MetricLearner(Pixels(1, 28), PrototypeHead(), CrossEntropy())


def test_a_data_set_is_no_bank(learner, tmp_path):
    data = Glyphs(prepared=tmp_path)
    for verb in (evaluate, meta_train):
        with pytest.raises(FewshotError, match=r'bank is of type Glyphs; expected open_dataset\("glyphs"\)\.bank'):
            verb(learner, data, PROTOCOL)


def test_numbers_are_no_protocol(learner, bank):
    with pytest.raises(FewshotError, match=r"protocol is of type tuple; expected Protocol\(way=5, shot=1\)"):
        evaluate(learner, bank, (5, 1, 15))
    with pytest.raises(FewshotError, match="protocol is of type int"):
        meta_train(learner, bank, 5)
    with pytest.raises(FewshotError, match="learner is of type Pixels"):
        meta_train(learner.backbone, bank, PROTOCOL)
    with pytest.raises(FewshotError, match="validation_bank is of type Protocol"):
        meta_train(learner, bank, PROTOCOL, PROTOCOL)
    with pytest.raises(FewshotError, match=r"protocol is of type Protocol; expected ImageProtocol\(images"):
        meta_train(ClassifierLearner(Pixels(1, 28), PrototypeHead(), torch.nn.Linear(784, 12)), bank, PROTOCOL)
    for tasks in (0, -1, 2.5):
        with pytest.raises(FewshotError, match=f"tasks_per_batch={tasks}; expected a whole number"):
            evaluate(learner, bank, PROTOCOL, tasks_per_batch=tasks)


def test_an_optimiser_that_was_made_is_none_that_can_be_made(bank):
    learner = MetricLearner(Conv4(channels=1, image_size=28, width=4), PrototypeHead(), CrossEntropy())
    with pytest.raises(FewshotError, match=r"optimizer is a Adam; expected what makes one.*partial"):
        meta_train(learner, bank, PROTOCOL, optimizer=torch.optim.Adam(learner.parameters()))


def test_learners_are_compared_by_what_they_scored(learner):
    with pytest.raises(FewshotError, match="'one' is of type MetricLearner; expected what evaluate"):
        compare({"one": learner, "other": learner})


def test_a_backbone_made_for_other_images_is_found_out(bank):
    wrong = MetricLearner(Conv4(channels=1, image_size=84, width=4), PrototypeHead(), CrossEntropy())
    with pytest.raises(
        FewshotError, match=r"Conv4 makes features \[4\] of images 1x28x28 of bank/all, and was made for 100"
    ):
        embed_bank(wrong, bank)

    class Projects(MetricLearner):
        def embed(self, images):
            return super().embed(images)[:, :3]

    own = Projects(Pixels(1, 28), PrototypeHead(), CrossEntropy())
    features = embed_bank(own, bank)
    assert features.items.shape == (240, 3), "what a learner makes of features is for it to say"
    evaluate(own, features, PROTOCOL)


def test_features_that_are_not_the_learners_are_refused(learner, bank):
    features = embed_bank(learner, bank)
    evaluate(learner, features, PROTOCOL)
    few = features.with_features(features.items[:, :9])
    with pytest.raises(FewshotError, match="bank/all has 9 features, the learner makes 784"):
        evaluate(learner, few, PROTOCOL)
    for wrong in (bank, features.replacing(items=features.items[:60], labels=features.labels[:60], class_names="abc")):
        with pytest.raises(FewshotError, match="embedded is of other items than bank"):
            evaluate(learner, bank, PROTOCOL, embedded=wrong)


def test_scores_of_another_shape_are_refused(bank):
    class Extra(PrototypeHead):
        def forward(self, episodes):
            scores = super().forward(episodes)
            return torch.cat([scores, scores[..., :1]], -1)

    class Tuple(MetricLearner):
        def predict_features(self, episodes):
            return super().predict_features(episodes), None

    with pytest.raises(FewshotError, match=r"scores of the queries are a tuple; expected real numbers \[2, 15, 5\]"):
        evaluate(Tuple(Pixels(1, 28), PrototypeHead(), CrossEntropy()), bank, PROTOCOL)
    with pytest.raises(FewshotError, match=r"float32 \[2, 15, 6\]; expected real numbers \[2, 15, 5\]"):
        evaluate(MetricLearner(Pixels(1, 28), Extra(), CrossEntropy()), bank, PROTOCOL)


def test_features_of_the_same_images_are_compared(learner, bank):
    features = embed_bank(learner, bank)
    found = {
        "images": evaluate(learner, bank, PROTOCOL),
        "features": evaluate(PrototypeHead("cosine"), features, PROTOCOL),
    }
    assert len(compare(found).pairs) == 1
    one, other = (Bank.of(scale * features.items, bank.labels, made_of="my photos") for scale in (1, 2))
    assert (
        len(
            compare(
                {"one": evaluate(PrototypeHead(), one, PROTOCOL), "other": evaluate(PrototypeHead(), other, PROTOCOL)}
            ).pairs
        )
        == 1
    )
    with pytest.raises(FewshotError, match="bank_fingerprint"):
        compare({"one": evaluate(PrototypeHead(), one, PROTOCOL), **found})
