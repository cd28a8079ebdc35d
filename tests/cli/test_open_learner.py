"""Weights that the command wrote, opened in Python."""

import csv

import pytest
import torch

from fewshot import FewshotError, Protocol, evaluate, in_format, open_dataset, open_learner
from fewshot.backbones.conv4 import Conv4
from fewshot.heads.prototype import PrototypeHead
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.training.checkpoint import load_facts
from fewshot.training.meta_train import meta_train

from .conftest import only_run

CLASSIFIER = ("training.epochs=1", "training.batch_size=8")


@pytest.mark.parametrize(
    "options",
    [
        ("head=ridge", "head.features=l2n"),
        ("head=matching", "head.context_steps=1"),
        ("learner=anil", "learner.steps=1"),
        ("learner=classifier", "head=nearest_centroid", "classifier=cosine"),
    ],
    ids=" ".join,
)
def test_it_scores_as_the_row_says(fewshot, tmp_path, options):
    without = ("experiment=debug",) if "learner=classifier" in options else ()
    more = (*CLASSIFIER, "episodes.test.episodes=50") if without else ()
    assert fewshot(*options, *more, without=without) == 0
    (row,) = csv.DictReader((tmp_path / "leaderboard.csv").read_text().splitlines())
    best = only_run(tmp_path) / "best.safetensors"
    drawn = torch.random.get_rng_state()
    learner = open_learner(best)
    assert torch.equal(torch.random.get_rng_state(), drawn), "the caller's draws go on as if there had been none"
    assert not learner.training
    bank = open_dataset("folder", root="images", prepared="prepared", size=28, channels=1).bank("test")
    found = evaluate(learner, bank, Protocol(**load_facts(best)["config"]["episodes"]["test"]))
    assert found.episodes_sha256 == row["episodes_sha256"]
    assert found.accuracy == pytest.approx(float(row["accuracy"]), abs=1e-3)


def test_images_of_another_form_are_refused_until_they_are_brought_to_it(bank_of, tmp_path):
    learner, protocol = python_trained(bank_of(), tmp_path), Protocol(5, 1, 3, episodes=4)
    larger = bank_of(size=40, seed=1)
    with pytest.raises(FewshotError, match=r"40x40 pixels of 1 channel.*trained on 28x28.*in_format\(bank"):
        evaluate(learner, larger, protocol)
    with pytest.raises(FewshotError, match=r"std \(0\.5\)"):
        evaluate(learner, bank_of(seed=1).replacing(std=(0.5,)), protocol)
    evaluate(learner, in_format(larger, learner.image_format), protocol)


def test_a_file_that_does_not_say_what_it_is_of_is_refused(bank, tmp_path):
    python_trained(bank, tmp_path)
    with pytest.raises(FewshotError, match=r"does not say what learner it is of.*load_state_dict"):
        open_learner(tmp_path / "last.safetensors")
    with pytest.raises(FewshotError, match="no checkpoint at"):
        open_learner(tmp_path / "none.safetensors")


def python_trained(bank, folder):
    learner = MetricLearner(Conv4(channels=1, image_size=28, width=4), PrototypeHead(), CrossEntropy())
    meta_train(learner, bank, Protocol(5, 1, 3, episodes=2), folder=folder, show_progress=False)
    return learner
