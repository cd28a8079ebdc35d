import numpy as np
import pytest

from fewshot.episodes.draw import Blocks, distinct, order, rearranged, words


@pytest.mark.parametrize("width", [1, 75, 1024, 1025])
def test_columns_are_ordered_by_their_words_equal_ones_from_left_to_right(width):
    drawn = words(3, 0, 40, width)
    # Few different words, the largest that there can be and the one above all among them.
    few = np.array([0, 1, 2**53 - 1, 2**53], dtype=np.uint64)[drawn % np.uint64(4)]
    for rows in (drawn, few):
        assert (order(rows) == np.argsort(rows, axis=1, kind="stable")).all()


def test_rows_of_a_table_do_not_depend_on_what_is_drawn_with_them():
    whole = words(2**100 + 7, 0, 50, 13)
    assert (whole == np.concatenate([words(2**100 + 7, start, 10, 13) for start in range(0, 50, 10)])).all()
    assert whole.max() < 2**53


@pytest.mark.parametrize(("smallest", "take"), [(16, 4), (9, 4), (5, 5)])
def test_each_ordered_choice_is_equally_likely(smallest, take):
    # The first two numbers of each row: `smallest * (smallest - 1)` pairs, each as often as the others.
    rows = 40000
    width = 2 * take if smallest >= 4 * take else smallest
    found = distinct(words(1, 0, rows, width), np.full(rows, smallest), smallest, take)
    assert all(len(set(row)) == take for row in found[:200].tolist())
    pairs = np.bincount(found[:, 0] * smallest + found[:, 1], minlength=smallest**2).reshape(smallest, smallest)
    expected = rows / (smallest * (smallest - 1))
    assert (np.diag(pairs) == 0).all()
    off = pairs[~np.eye(smallest, dtype=bool)]
    assert ((off - expected) ** 2 / expected).sum() < len(off) + 5 * np.sqrt(2 * len(off))


def test_rows_are_rearranged_each_by_its_own_columns():
    rows = np.arange(12).reshape(4, 3)[:, ::-1]
    columns = np.array([[0, 2], [1, 1], [2, 0], [0, 0]])
    assert (rearranged(rows, columns) == np.take_along_axis(rows, columns, axis=1)).all()


@pytest.mark.parametrize("step", [1, 7, 64, 100, 256])
def test_rows_asked_for_in_order_are_drawn_once_wherever_the_asking_begins(step):
    drawn = []

    def draw(first, count):
        drawn.extend(range(first, first + count))
        return np.arange(first, first + count)

    blocks = Blocks(draw, np.concatenate)
    for start in range(5, 1000, step):
        assert blocks.rows(start, step).tolist() == list(range(start, start + step))
    assert len(drawn) == len(set(drawn))


def test_more_rows_than_a_block_has_are_drawn_as_they_are_asked_for():
    blocks = Blocks(lambda first, count: np.arange(first, first + count), np.concatenate)
    assert blocks.rows(3, 1000).tolist() == list(range(3, 1003))
