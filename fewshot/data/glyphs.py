"""`glyphs`: letters of many scripts, drawn on this machine by seeded hands."""

import hashlib

import numpy as np
import torch

from fewshot.data.bank import Bank
from fewshot.data.dataset import DataSet
from fewshot.data.glyph_outlines import font_sha256, letters_in_font, outline
from fewshot.data.glyph_raster import fill, shrink, thicken
from fewshot.data.manifest import class_list
from fewshot.errors import FewshotError

_SIZE = 28
# Longer side of a letter before its hand changes it, and the margin that ink never enters, in pixels.
_LETTER, _MARGIN = 18.0, 1.0
_GRID = 4


class Glyphs(DataSet):
    """The embedded data set: no download, one class per letter, disjoint scripts in train, val and test.

    The letters of DejaVu Sans (it comes with matplotlib), each drawn by a number of seeded hands that
    differ in slant, size, proportions, stroke width and a smooth distortion. Letters that a hand could
    turn into each other are kept out: see data_manifests/glyphs/README.md.

    Args:
        root: not used; there is nothing to read.
        prepared: folder in which prepared banks are kept.
        hands: drawings per letter.
        seed: of the hands.

    Raises:
        FewshotError: fewer than one hand, or a seed that is negative or has more than 64 bits.
    """

    name = "glyphs"

    def __init__(self, root="data/raw", prepared="data/prepared", hands: int = 20, seed: int = 0):
        super().__init__(root, prepared)
        for name, value, least in (("hands", hands, 1), ("seed", seed, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise FewshotError(f"data.{name}={value!r}; expected a whole number of at least {least}")
        if seed >= 2**64:
            raise FewshotError(f"data.seed={seed}; expected a whole number below 2**64")
        self.hands, self.seed = hands, seed

    def recipe(self, split: str) -> dict:
        listed = hashlib.sha256("\n".join(class_list("glyphs", split)).encode()).hexdigest()
        return {"version": 1, "letters": listed, "font": font_sha256(), "hands": self.hands, "seed": self.seed}

    def build(self, split: str) -> Bank:
        # Names come from the list too: Python's own table of them differs between versions.
        names = class_list("glyphs", split)
        codes = [int(name.split()[0].removeprefix("U+"), 16) for name in names]
        missing = sorted(set(codes) - set(letters_in_font()))
        if missing:
            raise FewshotError(
                f"this version of DejaVu Sans lacks U+{missing[0]:04X} and {len(missing) - 1} more; update matplotlib"
            )
        drawings = np.concatenate([draw_letter(code, self.hands, self.seed) for code in codes])
        return Bank(
            items=torch.from_numpy(drawings[:, None]),
            labels=torch.arange(len(codes)).repeat_interleave(self.hands),
            class_names=names,
            name=self.name,
            split=split,
            pipeline="glyphs28",
        )


def draw_letter(code: int, hands: int, seed: int) -> np.ndarray:
    """A letter as drawn by each hand, uint8 `[hands, 28, 28]`, ink = 255.

    Hand h of a letter is the same whatever else is drawn.
    """
    widths = {"affine": 6, "grid": 2 * _GRID * _GRID, "stroke": 1}
    words = np.random.Philox(key=(seed << 32) + code).random_raw(hands * sum(widths.values()))
    # Uniform on [-1, 1).
    u = ((words >> np.uint64(11)) * 2.0**-52 - 1.0).reshape(hands, -1)
    affine, grid, stroke = np.split(u, np.cumsum(list(widths.values()))[:-1], axis=1)
    shapes = _bent(normalised(outline(code)), affine, grid.reshape(hands, _GRID, _GRID, 2))
    ink = fill(_inside_frame(shapes), _SIZE)
    radius = np.floor(stroke[:, 0] * 2 + 1).astype(int)
    for r in np.unique(radius):
        ink[radius == r] = thicken(ink[radius == r], int(r))
    return shrink(ink)


def normalised(contours: list[np.ndarray]) -> list[np.ndarray]:
    """The letter moved to the origin, its longer side 2 (so x and y lie in -1..1), y downwards."""
    points = np.concatenate(contours)
    low, high = points.min(axis=0), points.max(axis=0)
    half = (high - low).max() / 2
    return [(contour - (low + high) / 2) / half * np.array([1.0, -1.0]) for contour in contours]


def _bent(contours: list[np.ndarray], affine: np.ndarray, grid: np.ndarray) -> list[np.ndarray]:
    """Each contour `[points, 2]` in the manner of each hand: `[hands, points, 2]`, in pixels."""
    turn, slant, wide, tall, right, down = (affine[:, i, None] for i in range(6))
    # Rotation by rational numbers instead of sine and cosine, whose last bits differ between machines.
    t = 0.13 * turn
    cos, sin = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    out = []
    for contour in contours:
        x, y = contour[None, :, 0], contour[None, :, 1]
        shift = 0.22 * _interpolated(grid, contour)
        x, y = x + shift[..., 0], y + shift[..., 1]
        x, y = x * (1 + 0.22 * wide) + 0.3 * slant * y, y * (1 + 0.22 * tall)
        x, y = cos * x - sin * y, sin * x + cos * y
        out.append(np.stack([x * (_LETTER / 2) + 2 * right, y * (_LETTER / 2) + 2 * down], axis=-1) + _SIZE / 2)
    return out


def _interpolated(grid: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A smooth field through the values at a grid over -1..1: `[hands, points, 2]`."""
    place = np.clip((points + 1) / 2 * (_GRID - 1), 0, _GRID - 1)
    cell = np.minimum(place.astype(int), _GRID - 2)
    t = place - cell
    # Smoothstep has no kink at the cells' borders.
    t = t * t * (3 - 2 * t)
    (i, j), (s, r) = cell.T, t.T
    s, r = s[:, None], r[:, None]
    upper = grid[:, j, i] * (1 - s) + grid[:, j, i + 1] * s
    lower = grid[:, j + 1, i] * (1 - s) + grid[:, j + 1, i + 1] * s
    return upper * (1 - r) + lower * r


def _inside_frame(shapes: list[np.ndarray]) -> list[np.ndarray]:
    """Moved, and made smaller where need be, so that nothing is cut off."""
    points = np.concatenate(shapes, axis=1)
    low, high = points.min(axis=1, keepdims=True), points.max(axis=1, keepdims=True)
    room = _SIZE - 2 * _MARGIN
    factor = np.minimum(1.0, room / (high - low).max(axis=2, keepdims=True))
    middle = (low + high) / 2
    half = (high - low) / 2 * factor
    target = np.clip(middle, _MARGIN + half, _SIZE - _MARGIN - half)
    return [(shape - middle) * factor + target for shape in shapes]
