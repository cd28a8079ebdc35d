"""Choose the letters of the `glyphs` data set and write `data_manifests/glyphs/*.txt`.

    python scripts/make_glyph_manifest.py [--alike 0.91]

A letter is kept if no letter kept before it looks alike: of its own split, or of an earlier one.
"""

import argparse
import unicodedata

import numpy as np

from fewshot.data.glyph_outlines import letters_in_font, outline
from fewshot.data.glyph_raster import fill, shrink
from fewshot.data.glyphs import normalised
from fewshot.files import write_text
from fewshot.resources import manifests_folder

SCRIPTS = {
    "train": ("LATIN", "GREEK", "CYRILLIC", "ARABIC LETTER", "COPTIC"),
    "val": ("GEORGIAN", "ARMENIAN", "HEBREW"),
    "test": ("CANADIAN SYLLABICS", "TIFINAGH", "LAO", "NKO", "OGHAM", "OLD ITALIC"),
}
SIZE = 24


def letters(scripts: tuple[str, ...]) -> list[int]:
    """Letters of the scripts that the font draws; forms for joining and ligatures are left out."""
    codes = []
    for code in letters_in_font():
        name = unicodedata.name(chr(code), "")
        is_letter = unicodedata.category(chr(code)) in ("Lu", "Ll", "Lo")
        compatible = unicodedata.normalize("NFKC", chr(code)) == chr(code)
        if is_letter and compatible and any(name.startswith(script + " ") for script in scripts):
            contours = outline(code)
            if contours and sum(len(c) for c in contours) > 3:
                codes.append(code)
    return codes


def looks(code: int) -> np.ndarray:
    """The letter stretched to a square, blurred, as unit vectors at small shifts: `[9, pixels]`.

    Stretched, because hands change size and proportions.
    """
    contours = normalised(outline(code))
    points = np.concatenate(contours)
    span = np.maximum(np.abs(points).max(axis=0), 0.35)
    ink = shrink(fill([(c / span * (SIZE / 2 - 3) + SIZE / 2)[None] for c in contours], SIZE))[0].astype(float)
    soft = sum(np.roll(ink, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
    shifted = np.stack([np.roll(soft, (dy, dx), (0, 1)).ravel() for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    shifted -= shifted.mean(axis=1, keepdims=True)
    return shifted / np.linalg.norm(shifted, axis=1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--alike", type=float, default=0.91, help="correlation above which two letters look alike")
    limit = parser.parse_args().alike
    kept = np.zeros((0, SIZE * SIZE))
    for split, scripts in SCRIPTS.items():
        lines = []
        candidates = letters(scripts)
        for code in candidates:
            shifts = looks(code)
            if len(kept) and (shifts @ kept.T).max() > limit:
                continue
            kept = np.concatenate([kept, shifts[4:5]])
            lines.append(f"U+{code:04X} {unicodedata.name(chr(code))}")
        write_text(manifests_folder() / "glyphs" / f"{split}.txt", "\n".join(lines) + "\n")
        print(f"{split}: {len(lines)} of {len(candidates)} letters")


if __name__ == "__main__":
    main()
