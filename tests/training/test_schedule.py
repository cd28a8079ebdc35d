import pytest

from fewshot.training.schedule import Constant, Cosine, StepDecay


def test_constant_and_halving():
    assert Constant()(123, 1000) == 1
    assert [StepDecay(2000)(n, 10**6) for n in (0, 1999, 2000, 3999, 4000)] == [1, 1, 0.5, 0.5, 0.25]


def test_cosine_rises_then_falls_to_its_end():
    rate = Cosine(warmup=10, final=0.1)
    assert [rate(n, 110) for n in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert [rate(n, 110) for n in (10, 60, 110, 500)] == pytest.approx([1.0, 0.55, 0.1, 0.1])
