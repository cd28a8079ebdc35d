"""Outlines of letters from the DejaVu fonts that matplotlib carries."""

import hashlib
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from fontTools.pens.recordingPen import DecomposingRecordingPen
from fontTools.ttLib import TTFont

from fewshot.errors import FewshotError

_CURVE_PIECES = 5
_LONGEST_PIECE = 0.12


@cache
def font_file() -> Path:
    """The font file all letters come from."""
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    if not path.is_file():
        raise FewshotError(f"the font {path} is missing; install matplotlib again")
    return path


@cache
def font_sha256() -> str:
    """What tells one version of the font from another."""
    return hashlib.sha256(font_file().read_bytes()).hexdigest()


@cache
def _font() -> TTFont:
    return TTFont(font_file())


def letters_in_font() -> list[int]:
    """Code points that the font has a glyph for, ascending."""
    return sorted(_font().getBestCmap())


def outline(code: int) -> list[np.ndarray]:
    """The closed contours of a letter as polygons.

    Curves are cut into straight pieces and long lines into short ones, so that a displacement of
    the points bends the letter.

    Args:
        code: Unicode code point.

    Returns:
        float64 `[points, 2]` per contour, x to the right and y upwards, in units of the em.
    """
    glyphs, em = _font().getGlyphSet(), _font()["head"].unitsPerEm
    pen = DecomposingRecordingPen(glyphs)
    glyphs[_font().getBestCmap()[code]].draw(pen)
    contours, points = [], []
    for verb, arguments in pen.value:
        if verb == "moveTo":
            points = [np.array(arguments[0], dtype=np.float64) / em]
        elif verb == "lineTo":
            points += _line(points[-1], np.array(arguments[0]) / em)
        elif verb == "qCurveTo":
            controls = [np.array(p) / em for p in arguments if p is not None]
            if arguments[-1] is None:
                # A round contour without any point on the curve starts between its last and first control point.
                start = (controls[-1] + controls[0]) / 2
                points, controls = [start], [*controls, start]
            points += _quadratic_spline(points[-1], controls)
        elif verb in ("closePath", "endPath") and len(points) > 2:
            contours.append(np.array(points + _line(points[-1], points[0])))
    return contours


def _line(start: np.ndarray, end: np.ndarray) -> list[np.ndarray]:
    length = float(np.abs(end - start).max())
    pieces = max(1, int(-(-length // _LONGEST_PIECE)))
    return [start + (end - start) * (i / pieces) for i in range(1, pieces + 1)]


def _quadratic_spline(start: np.ndarray, points: list[np.ndarray]) -> list[np.ndarray]:
    """TrueType's spline: control points whose middles are points of the curve, then the end point."""
    out, controls, end = [], points[:-1], points[-1]
    for i, control in enumerate(controls):
        stop = end if i == len(controls) - 1 else (control + controls[i + 1]) / 2
        for piece in range(1, _CURVE_PIECES + 1):
            t = piece / _CURVE_PIECES
            out.append((1 - t) * (1 - t) * start + 2 * t * (1 - t) * control + t * t * stop)
        start = stop
    return out or _line(start, end)
