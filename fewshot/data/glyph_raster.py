"""From polygons to pixels, in arithmetic that gives the same bytes on every machine.

Only additions, multiplications, divisions and comparisons are used, which IEEE 754 rounds
correctly everywhere, and sums of whole numbers.
"""

import numpy as np

# Sub-pixels along each side of a pixel.
FINE = 4


def fill(contours: list[np.ndarray], size: int) -> np.ndarray:
    """Which sub-pixels lie inside the polygons, by the nonzero winding rule, for several shapes at once.

    Args:
        contours: each `[shapes, points, 2]`, closed, x to the right and y downwards, in pixels.
        size: side of the image in pixels.

    Returns:
        bool `[shapes, size * FINE, size * FINE]`; a sub-pixel counts by its middle.
    """
    shapes, side = len(contours[0]), size * FINE
    turns = np.zeros((shapes, side, side + 1), dtype=np.int32)
    rows = (np.arange(side) + 0.5) / FINE
    for contour in contours:
        x0, y0 = contour[:, :, 0], contour[:, :, 1]
        x1, y1 = np.roll(x0, -1, axis=1), np.roll(y0, -1, axis=1)
        down = (y0[..., None] <= rows) & (rows < y1[..., None])
        up = (y1[..., None] <= rows) & (rows < y0[..., None])
        shape, edge, row = np.nonzero(down | up)
        a, b = (shape, edge), rows[row]
        x = x0[a] + (b - y0[a]) * (x1[a] - x0[a]) / (y1[a] - y0[a])
        # The first sub-pixel whose middle lies to the right of the crossing.
        column = np.clip(np.floor(x * FINE + 0.5), 0, side).astype(np.int64)
        np.add.at(turns, (shape, row, column), np.where(down[shape, edge, row], 1, -1).astype(np.int32))
    return np.cumsum(turns, axis=2)[:, :, :side] != 0


def thicken(ink: np.ndarray, radius: int) -> np.ndarray:
    """Grow (or with a negative radius, shrink) the ink of `[shapes, h, w]` by a disc of so many sub-pixels."""
    if radius == 0:
        return ink
    grow, reach = radius > 0, abs(radius)
    source = np.pad(ink if grow else ~ink, ((0, 0), (reach, reach), (reach, reach)), constant_values=not grow)
    out = np.zeros_like(ink)
    height, width = ink.shape[1:]
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            if dx * dx + dy * dy <= reach * reach:
                out |= source[:, reach + dy : reach + dy + height, reach + dx : reach + dx + width]
    return out if grow else ~out


def shrink(ink: np.ndarray) -> np.ndarray:
    """The share of ink in each pixel as uint8 0..255, `[shapes, size, size]`."""
    shapes, height, width = ink.shape
    blocks = ink.reshape(shapes, height // FINE, FINE, width // FINE, FINE).sum(axis=(2, 4))
    return (blocks * 255 // (FINE * FINE)).astype(np.uint8)
