"""What is given in the wrong place in Python is one line that says what belongs there."""

import pytest
import torch

from fewshot import (
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

PROTOCOL = Protocol(5, 1, 3, episodes=2)


@pytest.fixture
def learner():
    return MetricLearner(Pixels(1, 28), PrototypeHead(), CrossEntropy())


def test_a_data_set_is_no_bank(learner, tmp_path):
    data = Glyphs(prepared=tmp_path)
    for verb in (evaluate, meta_train):
        with pytest.raises(FewshotError, match=r'bank is a Glyphs; expected open_dataset\("glyphs"\)\.bank'):
            verb(learner, data, PROTOCOL)


def test_numbers_are_no_protocol(learner, bank):
    with pytest.raises(FewshotError, match=r"protocol is a tuple; expected Protocol\(way=5, shot=1\)"):
        evaluate(learner, bank, (5, 1, 15))
    with pytest.raises(FewshotError, match="protocol is a int"):
        meta_train(learner, bank, 5)
    with pytest.raises(FewshotError, match="learner is a Pixels"):
        meta_train(learner.backbone, bank, PROTOCOL)


def test_an_optimiser_that_was_made_is_none_that_can_be_made(bank):
    learner = MetricLearner(Conv4(channels=1, image_size=28, width=4), PrototypeHead(), CrossEntropy())
    with pytest.raises(FewshotError, match=r"optimizer is a Adam; expected what makes one.*partial"):
        meta_train(learner, bank, PROTOCOL, optimizer=torch.optim.Adam(learner.parameters()))


def test_learners_are_compared_by_what_they_scored(learner):
    with pytest.raises(FewshotError, match="'one' is a MetricLearner; expected what evaluate"):
        compare({"one": learner, "other": learner})


def test_a_backbone_made_for_other_images_is_found_out(bank):
    wrong = MetricLearner(Conv4(channels=1, image_size=84, width=4), PrototypeHead(), CrossEntropy())
    with pytest.raises(
        FewshotError, match=r"Conv4 makes features \[4\] of images 1x28x28 of bank/all, and was made for 100"
    ):
        embed_bank(wrong, bank)
