"""Evaluations in pairs: the numbers of `paired_difference`, corrected together, and nothing that was tested elsewhere."""

import numpy as np
import pytest
import torch

from fewshot.backbones.pixels import Pixels
from fewshot.episodes.protocol import Protocol
from fewshot.errors import FewshotError
from fewshot.evaluation.comparing import compare
from fewshot.evaluation.paired import paired_difference
from fewshot.evaluation.scoring import evaluate
from fewshot.heads.matching import MatchingHead
from fewshot.heads.prototype import PrototypeHead
from fewshot.heads.ridge import RidgeHead
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy

PROTOCOL = Protocol(5, 2, 8, episodes=120)


def scored(bank, head, protocol=PROTOCOL):
    return evaluate(MetricLearner(Pixels(1, 28), head, CrossEntropy()), bank, protocol)


@pytest.fixture
def tested(bank_of):
    bank = bank_of(noise=0.93)
    heads = {"<proto>": PrototypeHead(), "match": MatchingHead(), "ridge": RidgeHead()}
    return {name: scored(bank, head) for name, head in heads.items()}


def test_pairs_are_those_of_the_paired_difference_better_first(tested):
    found = compare(tested)
    assert len(found.pairs) == 3
    for first, second, difference, holm_p in found.pairs:
        one, other = tested[first].accuracies, tested[second].accuracies
        assert difference == pytest.approx(paired_difference(100 * one, 100 * other))
        assert difference.mean == pytest.approx(tested[first].accuracy - tested[second].accuracy)
        assert difference.mean >= 0
        assert holm_p >= difference.t_p
    # Holm by hand: the k-th smallest of m times m - k, never less than one before it.
    raw = sorted(pair.difference.t_p for pair in found.pairs)
    expected = np.maximum.accumulate(np.minimum(1, np.array(raw) * [3, 2, 1]))
    assert sorted(pair.holm_p for pair in found.pairs) == pytest.approx(expected)
    frame = found.to_frame()
    assert frame["difference"].tolist() == [pair.difference.mean for pair in found.pairs]
    assert (frame["ci95"] < frame["unpaired_ci95"]).all(), "what pairing is for"


def test_a_learner_and_itself_do_not_differ(tested):
    twice = compare({"a": tested["ridge"], "b": tested["ridge"]})
    assert twice.pairs[0].difference.mean == 0
    assert twice.pairs[0].holm_p == 1


def test_a_notebook_sees_the_numbers_and_no_name_becomes_html(tested, cells):
    found = compare(tested)
    text = found._repr_html_()
    means, pairs = cells(text)
    best = max(tested, key=lambda name: tested[name].accuracy)
    assert means[:2] == [["name", "accuracy %"], [best, f"{tested[best].accuracy:.2f} ± {tested[best].ci95:.2f}"]]
    assert [row[1] for row in pairs[1:]] == [
        f"{pair.difference.mean:+.2f} ± {pair.difference.half_width:.2f}" for pair in found.pairs
    ]
    assert "<proto>" not in text
    assert repr(found).count(" ± ") == 3


def test_bars_are_the_intervals(tested):
    found = compare(tested)
    axes = found.draw().axes[0]
    points = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert points == pytest.approx([pair.difference.mean for pair in found.pairs])
    dotted = [np.ptp(line.get_xdata()) for line in axes.lines if line.get_linestyle() == ":"]
    assert dotted == pytest.approx([2 * pair.difference.unpaired_half_width for pair in found.pairs])


def test_what_was_tested_elsewhere_is_refused_by_the_field_that_differs(bank, bank_of, tested):
    mine = scored(bank, PrototypeHead())
    with pytest.raises(
        FewshotError, match=r"'a' and 'b' cannot be paired: they differ in test_seed \(0, 1\), episodes_sha"
    ):
        compare({"a": mine, "b": scored(bank, PrototypeHead(), Protocol(5, 2, 8, episodes=120, seed=1))})
    with pytest.raises(FewshotError, match="bank_fingerprint"):
        compare({"a": mine, "b": scored(bank_of(seed=5), PrototypeHead())})
    with pytest.raises(FewshotError, match="1 evaluations to compare"):
        compare({"a": mine})


def test_an_evaluation_and_a_bank_show_what_they_are(bank, cells):
    found = scored(bank, PrototypeHead())
    (table,) = cells(found._repr_html_())
    said = dict(table)
    assert said["accuracy"].startswith(f"{found.accuracy:.2f} ± {found.ci95:.2f} %")
    assert "macro accuracy" not in said
    assert "macro accuracy" in scored(bank, PrototypeHead(), Protocol(5, 1, 5, dirichlet=1, episodes=9))._repr_html_()
    assert repr(found) == f"<Evaluation {found}>"
    (table,) = cells(bank._repr_html_())
    assert dict(table)["images"] == "240, 20 per class"
    assert repr(bank) == "<Bank bank/all: 240 images (1x28x28) of 12 classes, cpu>"
    features = bank.with_features(torch.zeros(len(bank), 3))
    assert "240 features (3)" in repr(features)
