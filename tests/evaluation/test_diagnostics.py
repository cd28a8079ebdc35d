"""Diagnostics: closed forms, limits, invariances, and the libraries that have them."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score
from torch.nn.functional import one_hot

from fewshot.backbones.pixels import Pixels
from fewshot.episodes.protocol import Protocol
from fewshot.errors import FewshotError
from fewshot.evaluation.accuracies import accuracies_sha256, load_accuracies, save_accuracies
from fewshot.evaluation.calibration import calibration
from fewshot.evaluation.confusion import confusion
from fewshot.evaluation.diagnostics import diagnose
from fewshot.evaluation.diagnostics_picture import draw_diagnostics
from fewshot.evaluation.embedding import embed_bank
from fewshot.evaluation.geometry import geometry
from fewshot.evaluation.predictions import Predictions
from fewshot.evaluation.risk_coverage import risk_coverage
from fewshot.evaluation.scoring import evaluate
from fewshot.heads.prototype import PrototypeHead
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy


@pytest.mark.parametrize("levels", [5, 1000])
def test_augrc_is_its_closed_form_in_the_area_under_the_roc_ties_included(levels):
    rng = np.random.default_rng(0)
    confidence = rng.integers(0, levels, 500) / levels
    errors = (rng.random(500) > 0.3 + 0.6 * confidence).astype(float)
    right = 1 - errors.mean()
    area = roc_auc_score(1 - errors, confidence)
    found = risk_coverage(confidence, errors)
    assert found.augrc == pytest.approx((1 - area) * right * (1 - right) + 0.5 * (1 - right) ** 2)
    assert found.excess_augrc == pytest.approx((1 - area) * right * (1 - right))
    order = rng.permutation(500)
    assert risk_coverage(np.exp(confidence[order]), errors[order]).augrc == pytest.approx(found.augrc)


def test_augrc_by_hand_and_at_its_limits():
    assert risk_coverage(np.array([0.9, 0.8, 0.7, 0.6]), np.array([0, 1, 0, 1])).augrc == pytest.approx(0.1875)
    confidence, errors = np.arange(1000.0), np.repeat([1.0, 0.0], [300, 700])
    assert risk_coverage(confidence, errors).augrc == pytest.approx(0.045)
    assert risk_coverage(-confidence, errors).augrc == pytest.approx(0.255)
    assert risk_coverage(np.zeros(1000), errors).augrc == pytest.approx(0.15)
    assert risk_coverage(confidence, np.zeros(1000)).augrc == 0
    assert risk_coverage(confidence, np.ones(1000)).augrc == pytest.approx(0.5)
    # The risk among accepted answers is that of all answers where confidence says nothing.
    assert risk_coverage(np.zeros(1000), errors).aurc == pytest.approx(0.3)
    with pytest.raises(FewshotError, match="numbers"):
        risk_coverage(np.array([np.nan]), np.array([1.0]))


def test_of_equal_losses_every_order_is_the_best():
    assert risk_coverage(np.arange(10.0), np.full(10, 0.5)).excess_augrc == pytest.approx(0, abs=1e-12)


def test_answers_of_squared_distances_keep_their_order_and_their_loss_where_probabilities_round_to_one(bank_of):
    generator = torch.Generator().manual_seed(0)
    logits = 60 * torch.randn(40, 30, 5, generator=generator)
    labels = torch.randint(5, (40, 30), generator=generator)
    episodes = SimpleNamespace(query_labels=labels, classes=torch.arange(5).expand(40, 5))
    said = Predictions()
    said.add(episodes, logits)
    assert (said.probabilities.float().max(-1).values == 1).double().mean() > 0.5
    down = logits.double().sort(-1, descending=True).values
    assert torch.allclose(said.log_odds, down[..., 0] - down[..., 1:].logsumexp(-1))
    assert len(said.log_odds.unique()) == 1200, "no ties"
    exact = (logits.double().logsumexp(-1) - logits.double().gather(-1, labels[..., None])[..., 0]).mean()
    assert calibration(said.probabilities.flatten(0, 1), labels.flatten()).nll == pytest.approx(float(exact))


def test_a_probability_of_one_lies_in_the_last_bin():
    confidence = torch.tensor([0.95] * 100 + [1.0] * 100)
    probabilities = torch.stack([confidence, 1 - confidence], 1)
    found = calibration(probabilities, torch.tensor([0] * 190 + [1] * 10))
    # One bin of mean confidence 0.975, of which 95% are right.
    assert (found.ece, found.mce, len(found.bins)) == pytest.approx((0.025, 0.025, 1), abs=1e-6)


def test_calibration_of_oracles_of_the_uncertain_and_of_the_calibrated():
    labels = torch.arange(5).repeat(400)
    sure = calibration(one_hot(labels, 5).float(), labels)
    assert (sure.ece, sure.mce, sure.brier) == pytest.approx((0, 0, 0), abs=1e-6)
    even = calibration(torch.full((2000, 5), 0.2), labels)
    assert even.ece == pytest.approx(0, abs=1e-5)
    assert even.nll == pytest.approx(math.log(5), rel=1e-6)
    assert even.brier == pytest.approx(0.8)
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.randn(7500, 5, generator=generator).mul(2).softmax(-1)
    drawn = torch.multinomial(probabilities, 1, generator=generator).squeeze(1)
    found = calibration(probabilities, drawn)
    assert found.ece < 0.03
    # scikit-learn wants sums of one to more digits than single precision has.
    as_exact = probabilities.double() / probabilities.double().sum(1, keepdim=True)
    assert found.ece_if_calibrated == pytest.approx(found.ece, abs=0.01)
    assert found.nll == pytest.approx(log_loss(drawn.numpy(), as_exact.numpy()), rel=1e-5)
    few = calibration(probabilities[:75], drawn[:75])
    assert few.ece_if_calibrated > 5 * found.ece_if_calibrated, "few queries look badly calibrated"


def test_bins_add_up_to_the_calibration_error():
    probabilities = torch.randn(3000, 5, generator=torch.Generator().manual_seed(1)).softmax(-1)
    found = calibration(probabilities, torch.arange(3000) % 5)
    _, shares, confidence, right = np.array(found.bins).T
    assert shares.sum() == pytest.approx(1)
    assert (shares * np.abs(confidence - right)).sum() == pytest.approx(found.ece, abs=1e-5)
    assert np.abs(confidence - right).max() == pytest.approx(found.mce, abs=1e-5)
    with pytest.raises(FewshotError, match="not numbers"):
        calibration(torch.full((3, 5), torch.nan), torch.zeros(3, dtype=torch.int64))


def clusters(spread, classes=6, items=60, dimensions=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(classes, dimensions, generator=generator).double()
    labels = torch.arange(classes).repeat_interleave(items)
    noise = torch.randn(len(labels), dimensions, generator=generator).double()
    return means[labels] + spread * noise, labels


def test_geometry_does_not_see_rotation_scale_and_order_and_sees_spread():
    features, labels = clusters(0.5)
    found = geometry(features, labels)
    turn = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(1)).double()).Q
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(2))
    moved = geometry(3.0 * (features @ turn)[order], labels[order])
    assert moved == pytest.approx(found, rel=1e-3)
    wider = geometry(*clusters(1.5))
    for name, sign in (("alignment", 1), ("intra_inter_ratio", 1), ("icnn", -1), ("effective_rank", 1)):
        assert sign * (wider[name] - found[name]) > 0
    tight = geometry(*clusters(0.0))
    assert tight["alignment"] == pytest.approx(0, abs=1e-9)
    assert tight["intra_inter_ratio"] == pytest.approx(0, abs=1e-9)


def test_the_ratio_is_that_of_the_truth_however_few_items_a_class_has():
    # Within a class 16 * 0.25, between two means 2 * 16, whatever the number of items.
    for items in (3, 200):
        ratios = [
            geometry(*clusters(0.5, classes=40, items=items, seed=seed))["intra_inter_ratio"] for seed in range(5)
        ]
        assert np.mean(ratios) == pytest.approx(16 * 0.25 / 32, rel=0.06)


def test_uniformity_and_hubness_against_known_values():
    generator = torch.Generator().manual_seed(0)
    points, labels = torch.randn(1500, 64, generator=generator), torch.arange(1500) % 10
    found = geometry(points, labels)
    # Two independent points of a sphere: |u - v|^2 = 2 - 2 t, whose mean of exp(-2 |u - v|^2) is a known integral.
    t = np.linspace(-1, 1, 200_001)
    density = (1 - t**2) ** ((64 - 3) / 2)
    expected = math.log((np.exp(-2 * (2 - 2 * t)) * density).sum() / density.sum())
    assert found["uniformity"] == pytest.approx(expected, abs=0.01)
    assert found["alignment"] == pytest.approx(2, abs=0.02)
    assert found["hubness"] > 3 > 1 > found["hubness_on_sphere"]
    assert geometry(torch.randn(1500, 2, generator=generator), labels)["hubness"] < 0.3
    assert geometry(points, labels)["effective_rank"] == pytest.approx(64, rel=0.05)


def test_items_that_no_episode_needed_are_left_out():
    features, labels = clusters(0.5)
    with_nan = torch.cat([features, torch.full((5, 16), torch.nan).double()])
    assert geometry(with_nan, torch.cat([labels, torch.full((5,), 5)])) == geometry(features, labels)
    with pytest.raises(FewshotError, match="two classes"):
        geometry(features[:1], labels[:1])


@pytest.fixture
def tested(bank_of):
    bank = bank_of(noise=0.9, classes=8)
    learner = MetricLearner(Pixels(1, 28), PrototypeHead(), CrossEntropy()).eval()
    said = Predictions()
    found = evaluate(learner, bank, Protocol(5, 1, 6, episodes=60), observe=said)
    return learner, bank, found, said


def test_diagnostics_add_up_to_the_accuracy_of_the_test(tested, tmp_path):
    learner, bank, found, said = tested
    counted, met = confusion(said, bank.num_classes)
    assert int(counted.sum()) == 60 * 30
    assert 100 * float(counted.diagonal().sum() / counted.sum()) == pytest.approx(found.accuracy)
    assert (counted <= met).all()
    assert (met.diagonal() == counted.sum(1)).all(), "a query's own class is always there"
    told = diagnose(learner, bank, embed_bank(learner, bank), found, said)
    again = json.loads(json.dumps(told))
    assert sum(line["right"] for line in again["classes"]) == int(counted.diagonal().sum())
    intervals = again["intervals"]
    assert intervals["classes"]["accuracy"] == pytest.approx(found.accuracy)
    assert intervals["disjoint"]["tasks"] == 3, "eight classes of 20 items, five of 7 a task"
    assert abs(intervals["disjoint"]["accuracy"] - found.accuracy) < 25
    assert again["risk_coverage"]["generalised_risk"][0] == pytest.approx(1 - found.accuracy / 100)
    assert 0 < again["prior"]["lowest"] <= again["prior"]["mean_relative_entropy"] <= 1
    assert again["geometry"]["points"] == len(bank)
    draw_diagnostics(told, tmp_path / "a.png", "title")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_learner_without_features_of_its_own_has_no_geometry(tested):
    learner, bank, found, said = tested
    told = diagnose(learner, bank, None, found, said)
    assert told["geometry"] is None
    assert told["intervals"]["disjoint"]["tasks"] == 3


def test_accuracies_come_back_bit_for_bit_and_other_files_are_refused(tmp_path):
    values = np.random.default_rng(0).random(100)
    save_accuracies(tmp_path / "a.npy", values)
    again = load_accuracies(tmp_path / "a.npy")
    assert accuracies_sha256(again) == accuracies_sha256(values) != accuracies_sha256(values[::-1])
    np.save(tmp_path / "b.npy", np.zeros((2, 2)))
    (tmp_path / "c.npy").write_text("no")
    for name, words in (("b.npy", "holds no float64"), ("c.npy", "no file of accuracies"), ("d.npy", "there are no")):
        with pytest.raises(FewshotError, match=words):
            load_accuracies(tmp_path / name)
