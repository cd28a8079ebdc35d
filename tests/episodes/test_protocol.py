import pytest

from fewshot.episodes.protocol import Protocol
from fewshot.errors import FewshotError


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"way": 1}, "way=1"),
        ({"way": "five"}, "way='five'"),
        ({"way": 5.0}, "way=5.0"),
        ({"way": True}, "way=True"),
        ({"shot": -1}, "shot=-1"),
        ({"shot": "1"}, "shot='1'"),
        ({"shot": (1, 2)}, "shot=[1, 2]"),
        ({"shot": (1, 2, 3, 4, 0)}, "shot=0"),
        ({"query": 0}, "query=0"),
        ({"dirichlet": 0.0}, "dirichlet=0.0"),
        ({"dirichlet": "2"}, "dirichlet='2'"),
        ({"dirichlet": 1e-4}, "dirichlet=0.0001"),
        ({"dirichlet": float("inf")}, "dirichlet=inf"),
        ({"dirichlet": float("nan")}, "dirichlet=nan"),
        ({"seed": 2**63}, "below 2^63"),
        ({"episodes": 0}, "episodes=0"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_an_impossible_value_is_named_in_one_line(fields, word):
    with pytest.raises(FewshotError) as caught:
        Protocol(**fields)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sizes_follow_from_way_shot_and_query():
    even, uneven = Protocol(5, 3, 15), Protocol(3, (1, 2, 5), 4)
    assert (even.support_size, even.query_size, even.shots) == (15, 75, (3,) * 5)
    assert (uneven.support_size, uneven.query_size, uneven.shots) == (8, 12, (1, 2, 5))


def test_zero_shot_has_no_support_and_says_so():
    zero = Protocol(50, 0, 10)
    assert (zero.support_size, zero.query_size, zero.shots) == (0, 500, (0,) * 50)
    assert (str(zero), zero.shot_text) == ("50-way 0-shot 10-query", "0")


def test_text_for_rows_says_what_differs():
    assert str(Protocol(5, 1, 15)) == "5-way 1-shot 15-query"
    assert str(Protocol(3, (1, 2, 5), 15, dirichlet=2.0)) == "3-way 1,2,5-shot 15-query dirichlet(2)"
    assert Protocol().imbalance == "none"


def test_a_protocol_survives_its_own_dict():
    for protocol in (Protocol(), Protocol(3, 0, 5), Protocol(3, (1, 2, 3), dirichlet=0.5, seed=7)):
        fields = protocol.as_dict()
        assert Protocol(**fields) == protocol
