import pytest

from fewshot.errors import FewshotError
from fewshot.training.schedule import Constant, Cosine, Linear, MultiStep, StepDecay, check_schedule


def test_constant_and_halving():
    assert Constant()(123, 1000) == 1
    assert [StepDecay(2000)(n, 10**6) for n in (0, 1999, 2000, 3999, 4000)] == [1, 1, 0.5, 0.5, 0.25]


def test_cosine_rises_then_falls_to_its_end():
    rate = Cosine(warmup=10, final=0.1)
    assert [rate(n, 110) for n in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert [rate(n, 110) for n in (10, 60, 110, 500)] == pytest.approx([1.0, 0.55, 0.1, 0.1])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (StepDecay, {"factor": -0.5}),
        (MultiStep, {"factor": -3.0}),
        (Cosine, {"final": -1.0}),
        (Linear, {"final": -1.0}),
    ],
)
def test_rates_that_would_climb_the_loss_are_refused(kind, options):
    with pytest.raises(FewshotError, match=rf"schedule\.{next(iter(options))}=-.*at least 0"):
        kind(**options)


def test_a_rate_that_is_gone_before_half_of_the_training_is_told():
    for schedule in (Constant(), StepDecay(2000), MultiStep(), Cosine(), Linear()):
        check_schedule(schedule, 40_000, "episodes")
    # The images of a classifier's 90 epochs of mini-ImageNet.
    with pytest.raises(FewshotError, match=r"StepDecay leaves .* after 1728000 of 3456000 images"):
        check_schedule(StepDecay(2000), 3_456_000, "images")
