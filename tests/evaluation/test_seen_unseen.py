import numpy as np
import pytest

from fewshot.errors import FewshotError
from fewshot.evaluation.seen_unseen import curve_rows, harmonic_mean, random_area, seen_unseen_curve

S, U = 4, 3
SEEN = np.arange(S + U) < S


def scored(n=210, signal=1.5, bias=0.0, seed=0):
    """Scores in which the right class stands out, classes of uneven sizes, seen ones raised by a bias."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(S + U, size=n, p=np.arange(1, S + U + 1) / 28)
    scores = rng.normal(size=(n, S + U))
    scores[np.arange(n), labels] += signal
    return scores + bias * SEEN, labels


def accuracies(scores, labels, gamma):
    """The mean over classes of the share of right images, from the definition."""
    predicted = (scores - gamma * SEEN).argmax(1)
    of_class = [(predicted[labels == c] == c).mean() for c in range(S + U)]
    return np.mean(of_class[:S]), np.mean(of_class[S:])


def test_the_curve_is_that_of_the_definition_at_every_gamma():
    scores, labels = scored(bias=0.7)
    curve = seen_unseen_curve(scores, labels, SEEN)
    between = (curve.gammas[:-1] + curve.gammas[1:]) / 2
    for gamma in (-99.0, 0.0, *between[::7], 99.0):
        assert curve.at(gamma) == pytest.approx(accuracies(scores, labels, gamma), abs=1e-12)


def test_a_fine_grid_of_gammas_comes_near_the_exact_area():
    scores, labels = scored()
    curve = seen_unseen_curve(scores, labels, SEEN)
    points = np.array([accuracies(scores, labels, gamma) for gamma in np.linspace(-9, 9, 4001)])
    assert curve.area == pytest.approx(np.trapezoid(points[:, 0], points[:, 1]), abs=2e-3)


def test_it_begins_and_ends_with_the_accuracies_of_either_side_alone():
    scores, labels = scored()
    curve = seen_unseen_curve(scores, labels, SEEN)
    alone = [
        np.mean([(scores[labels == c][:, side].argmax(1) + first == c).mean() for c in range(first, last)])
        for side, first, last in ((SEEN, 0, S), (~SEEN, S, S + U))
    ]
    assert (curve.unseen[0], curve.seen[-1]) == (0.0, 0.0)
    assert (curve.seen_alone, curve.unseen_alone) == pytest.approx(alone, abs=1e-12)


def test_unseen_never_falls_and_seen_never_rises():
    curve = seen_unseen_curve(*scored(signal=0.5), SEEN)
    assert (np.diff(curve.gammas) > 0).all()
    assert (np.diff(curve.unseen) >= 0).all()
    assert (np.diff(curve.seen) <= 0).all()


def test_a_constant_on_all_seen_scores_moves_gamma_and_not_the_area():
    scores, labels = scored()
    plain, raised = (seen_unseen_curve(scores + c * SEEN, labels, SEEN) for c in (0.0, 7.0))
    assert raised.area == pytest.approx(plain.area, abs=1e-12)
    assert raised.best_gamma() == pytest.approx(plain.best_gamma() + 7.0, abs=1e-9)
    assert raised.at(raised.best_gamma()) == pytest.approx(plain.at(plain.best_gamma()), abs=1e-12)
    # Which plain stacking does not survive: that is what the curve is for.
    assert raised.at(0.0)[1] < plain.at(0.0)[1] - 0.3


def test_a_constant_of_each_image_changes_nothing():
    scores, labels = scored()
    shift = np.random.default_rng(1).normal(size=(len(labels), 1))
    plain, moved = (seen_unseen_curve(s, labels, SEEN) for s in (scores, scores + 5 * shift))
    np.testing.assert_allclose(moved.gammas, plain.gammas, atol=1e-12)
    np.testing.assert_array_equal(moved.unseen, plain.unseen)
    np.testing.assert_array_equal(moved.seen, plain.seen)


def test_positive_affine_maps_scale_gamma_and_keep_the_area():
    scores, labels = scored()
    plain, mapped = (seen_unseen_curve(s, labels, SEEN) for s in (scores, 3 * scores - 2))
    assert mapped.area == pytest.approx(plain.area, abs=1e-12)
    assert mapped.best_gamma() == pytest.approx(3 * plain.best_gamma(), abs=1e-9)


def test_seen_and_unseen_exchanged_mirror_the_curve():
    scores, labels = scored()
    curve, mirror = seen_unseen_curve(scores, labels, SEEN), seen_unseen_curve(scores, labels, ~SEEN)
    np.testing.assert_allclose(mirror.unseen, curve.seen[::-1], atol=1e-12)
    np.testing.assert_allclose(mirror.seen, curve.unseen[::-1], atol=1e-12)
    assert mirror.area == pytest.approx(curve.area, abs=1e-12)


def test_an_oracle_has_the_whole_area():
    labels = np.arange(S + U).repeat(3)
    curve = seen_unseen_curve(np.eye(S + U)[labels], labels, SEEN)
    assert curve.area == 1.0
    assert curve.at(0.0) == (1.0, 1.0)
    assert curve.at(curve.best_gamma()) == (1.0, 1.0)


def test_an_oracle_of_the_class_but_not_of_the_side_has_less():
    # The right class leads its own side, and a fair coin says which side leads.
    rng = np.random.default_rng(0)
    labels = np.arange(S + U).repeat(2000)
    scores = np.eye(S + U)[labels] * 0.5
    own = np.where(SEEN[labels][:, None], SEEN, ~SEEN)
    scores = np.where(own, scores, -9.0 * rng.random((len(labels), S + U)))
    scores += 20 * rng.random((len(labels), 1)) * np.where(rng.random((len(labels), 1)) < 0.5, SEEN, ~SEEN)
    curve = seen_unseen_curve(scores, labels, SEEN)
    assert (curve.seen_alone, curve.unseen_alone) == pytest.approx((1.0, 1.0))
    assert 0.3 < curve.area < 0.9


def test_random_scores_have_the_area_of_the_formula():
    rng = np.random.default_rng(0)
    labels = np.arange(10).repeat(4000)
    seen = np.arange(10) < 5
    area = seen_unseen_curve(rng.normal(size=(len(labels), 10)), labels, seen).area
    assert random_area(5, 5) == 0.02
    # Standard error of an accuracy of a fifth over 20,000 images: 0.003.
    assert area == pytest.approx(0.02, abs=0.001)


def test_constant_scores_tie_and_share_the_box():
    labels = np.arange(S + U).repeat(5)
    curve = seen_unseen_curve(np.zeros((len(labels), S + U)), labels, SEEN)
    assert curve.area == pytest.approx(random_area(S, U))
    assert len(curve.gammas) == 1


def test_classes_count_alike_whatever_their_images():
    scores, labels = scored()
    again = np.concatenate([np.arange(len(labels)), np.flatnonzero(labels == S + U - 1).repeat(5)])
    plain, uneven = seen_unseen_curve(scores, labels, SEEN), seen_unseen_curve(scores[again], labels[again], SEEN)
    assert uneven.area == pytest.approx(plain.area, abs=1e-12)


def test_the_best_gamma_is_the_best_of_a_grid():
    scores, labels = scored(bias=2.0)
    curve = seen_unseen_curve(scores, labels, SEEN)
    best = max(harmonic_mean(*accuracies(scores, labels, gamma)) for gamma in np.linspace(-9, 9, 2001))
    assert harmonic_mean(*accuracies(scores, labels, curve.best_gamma())) >= best - 1e-12
    assert curve.best_gamma() > 0


def test_nothing_right_on_a_side_leaves_gamma_at_nought():
    labels = np.arange(S + U).repeat(3)
    # The next class of the same side is predicted.
    wrong = np.where(labels < S, (labels + 1) % S, labels)
    curve = seen_unseen_curve(np.eye(S + U)[wrong], labels, SEEN)
    assert curve.best_gamma() == 0.0
    assert curve.area == 0.0


def test_rows_hold_the_whole_curve():
    curve = seen_unseen_curve(*scored(), SEEN)
    rows = curve_rows(curve, task=3)
    assert list(rows[0]) == ["task", "gamma", "unseen", "seen", "harmonic"]
    assert rows[0]["gamma"] == -np.inf
    assert len(rows) == len(curve.gammas) + 1
    middle = rows[len(rows) // 2]
    assert curve.at(middle["gamma"]) == (middle["seen"], middle["unseen"])
    assert middle["harmonic"] == pytest.approx(harmonic_mean(middle["seen"], middle["unseen"]))


@pytest.mark.parametrize(
    ("scores", "labels", "seen", "words"),
    [
        (np.zeros((2, 3)), np.array([0, 2]), np.array([True] * 3), "needs seen and unseen classes"),
        (np.zeros((2, 3)), np.array([0, 1]), np.array([True, True, False]), "images of both"),
        (np.full((2, 3), np.nan), np.array([0, 2]), np.array([True, True, False]), "needs finite scores"),
    ],
)
def test_what_has_no_curve_is_one_line(scores, labels, seen, words):
    with pytest.raises(FewshotError, match=words):
        seen_unseen_curve(scores, labels, seen)
