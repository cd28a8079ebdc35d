"""Vectorised draws from a counter-based generator: the random part of an episode.

Every function works on many rows at once and is exact: uniform over what it says, whatever the
number of rows drawn together.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np

_BLOCK = 256
# What 64 bits have left beside a word, or the one above all words.
_BITS = 10


Rows = TypeVar("Rows")


def stream_key(fields: Mapping[str, object]) -> int:
    """The key of `uniforms` for what these fields say, in 128 bits: other fields, other numbers."""
    digest = hashlib.sha256(json.dumps(dict(fields), sort_keys=True).encode()).digest()
    return int.from_bytes(digest[:16], "little")


class Blocks:
    """Rows of a draw for those who ask for a few at a time, in order: a block is drawn and slices are cut.

    Args:
        draw: `(first, how many)` to rows that depend on their numbers alone.
        join: rows of two blocks to those of both.
    """

    def __init__(self, draw: Callable[[int, int], Rows], join: Callable[[Sequence[Rows]], Rows]):
        self._draw, self._join = draw, join
        self._kept: tuple[int, Rows] | None = None

    def rows(self, start: int, count: int) -> Rows:
        """Rows `start..start+count`; nobody may write into them."""
        if count > _BLOCK:
            return self._draw(start, count)
        block, offset = divmod(start, _BLOCK)
        first = self._block(block)[offset : offset + count]
        more = offset + count - _BLOCK
        return first if more <= 0 else self._join([first, self._block(block + 1)[:more]])

    def _block(self, number: int) -> Rows:
        if self._kept is None or self._kept[0] != number:
            self._kept = (number, self._draw(number * _BLOCK, _BLOCK))
        return self._kept[1]


def words(key: int, start: int, count: int, width: int) -> np.ndarray:
    """Rows `start..start+count` of an endless table of uniform whole numbers below 2^53, `width` per row.

    The table depends on `key` (128 bits) alone. Philox makes four words per tick of its counter, so a row is a
    whole number of ticks and any row can be reached without drawing those before it.
    """
    ticks = -(-width // 4)
    raw = np.random.Philox(key=key, counter=start * ticks).random_raw(count * ticks * 4)
    raw >>= np.uint64(11)
    return raw.reshape(count, ticks * 4)[:, :width]


def uniform(words: np.ndarray) -> np.ndarray:
    """Words as numbers in [0, 1)."""
    return words * 2.0**-53


def distinct_width(smallest: int, largest: int, take: int) -> int:
    """How many words `distinct` needs per row."""
    return 2 * take if _few_of_many(smallest, take) else largest


def distinct(words: np.ndarray, sizes: np.ndarray, smallest: int, take: int) -> np.ndarray:
    """For each row, `take` different numbers of `range(sizes[row])`, in uniformly random order.

    Args:
        words: `[rows, distinct_width(smallest, largest, take)]`.
        sizes: int `[rows]`.
        smallest: a lower bound of `sizes` that is the same in every call that must agree.
        take: how many; where a row has fewer items, its surplus columns are not valid.

    Returns:
        int64 `[rows, take]`.
    """
    if not _few_of_many(smallest, take):
        return order(np.where(np.arange(words.shape[1]) < sizes[:, None], words, np.uint64(2**53)))[:, :take]
    # Floyd's algorithm: a uniform subset at a cost that does not grow with the size of the range;
    # its order is not uniform, so a random permutation of the subset follows. Numbers of one place lie side by side,
    # in 32 bits, which are compared faster than 64.
    tops = (sizes - take).astype(np.int32) + np.arange(take, dtype=np.int32)[:, None]
    chosen = (uniform(words[:, :take].T) * (tops + 1)).astype(np.int32)
    for place in range(1, take):
        taken = (chosen[:place] == chosen[place]).any(axis=0)
        np.copyto(chosen[place], tops[place], where=taken)
    return rearranged(chosen.T, order(words[:, take : 2 * take])).astype(np.int64)


def order(words: np.ndarray) -> np.ndarray:
    """The columns of each row by their words, at most 2^53, equal ones from left to right; int64 `[rows, width]`."""
    width = words.shape[1]
    if width > 1 << _BITS:
        return np.argsort(words, axis=1, kind="stable")
    # A word and its column fit into 64 bits, and numbers are sorted much faster than positions.
    keys = words << np.uint64(_BITS)
    keys |= np.arange(width, dtype=np.uint64)
    keys.sort(axis=1)
    keys &= np.uint64((1 << _BITS) - 1)
    return keys.view(np.int64)


def rearranged(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """`rows[i, columns[i, j]]`, for any number of columns."""
    if rows.strides[0] == 0:
        # One row for all, as the labels of tasks with as many queries of each class.
        return rows[0].take(columns)
    first = np.arange(len(rows))[:, None] * rows.shape[1]
    return np.ascontiguousarray(rows).ravel().take(first + columns)


def _few_of_many(smallest: int, take: int) -> bool:
    return smallest >= 4 * take


def dirichlet_counts(u: np.ndarray, alpha: float, total: int, caps: np.ndarray) -> np.ndarray:
    """For each row, whole numbers that sum to `total`, in proportions drawn from Dirichlet(alpha).

    Rounded by largest remainder; what exceeds a cap goes to the other columns in their proportions.

    Args:
        u: uniform numbers `[rows, n]`.
        alpha: concentration, the same for all columns.
        total: what each row sums to.
        caps: int `[rows, n]`, most that a column may hold; each row sums to at least `total`.

    Returns:
        int64 `[rows, n]`.
    """
    # Slow to import, and for uneven queries alone.
    from scipy.special import gammaincinv

    gamma = gammaincinv(alpha, u)
    weights = np.maximum(gamma, np.finfo(float).tiny)
    counts = np.zeros(u.shape, dtype=np.int64)
    left = np.full(len(u), total)
    while left.any():
        share = np.where(counts < caps, weights, 0.0)
        ideal = left[:, None] * (share / np.maximum(share.sum(axis=1, keepdims=True), np.finfo(float).tiny))
        more = np.floor(ideal).astype(np.int64)
        by_remainder = np.argsort(more - ideal, axis=1, kind="stable")
        extra = np.arange(u.shape[1]) < (left - more.sum(axis=1))[:, None]
        np.put_along_axis(more, by_remainder, np.take_along_axis(more, by_remainder, axis=1) + extra, axis=1)
        counts += np.minimum(more, caps - counts)
        left = total - counts.sum(axis=1)
    return counts


# The order of an epoch is asked for at each of its batches.
@lru_cache(maxsize=4)
def order_of_epoch(n: int, seed: int, epoch: int) -> np.ndarray:
    """The numbers of `range(n)` in an order that depends on the seed and the epoch alone; nobody may write into it."""
    words = np.random.Philox(key=(seed << 64) + epoch).random_raw(n)
    order = np.argsort(words, kind="stable")
    order.flags.writeable = False
    return order
