"""Choose the letters of the `glyphs` data set and write `data_manifests/glyphs/*.txt`.

    python scripts/make_glyph_manifest.py [--apart 0.75] [--folder data_manifests/glyphs]

A letter is kept if its drawings can be told from those of every letter kept before it: of its own
split, or of an earlier one. Takes about two minutes.
"""

import argparse
import unicodedata
from pathlib import Path

import numpy as np
from PIL import Image

from fewshot.data.glyph_outlines import letters_in_font, outline
from fewshot.data.glyphs import draw_letter
from fewshot.files import write_text
from fewshot.resources import manifests_folder

# Old Italic and Lisu are shapes of Latin and Greek once more: in another split they would leak.
SCRIPTS = {
    "train": ("LATIN", "GREEK", "CYRILLIC", "COPTIC", "ARABIC LETTER", "OLD ITALIC", "LISU", "NKO", "OGHAM"),
    "val": ("GEORGIAN", "ARMENIAN", "HEBREW"),
    "test": ("CANADIAN SYLLABICS", "TIFINAGH", "LAO"),
}
# Other hands than those of the data set, so that the choice is not fitted to its very drawings.
HANDS, SEED = 40, 999
FRAME, BOX = 24, 20
NEIGHBOURS = 3
# Letters whose mean drawings correlate less than this are never confused; it only saves time.
FAR = 0.55


def letters(scripts: tuple[str, ...]) -> list[int]:
    """Letters of the scripts that the font draws, plain ones before those with accents.

    Forms for joining, ligatures and mathematical letters are left out.
    """
    codes = []
    for code in letters_in_font():
        name = unicodedata.name(chr(code), "")
        is_letter = unicodedata.category(chr(code)) in ("Lu", "Ll", "Lo")
        compatible = unicodedata.normalize("NFKC", chr(code)) == chr(code)
        if is_letter and compatible and any(name.startswith(script + " ") for script in scripts):
            contours = outline(code)
            if contours and sum(len(c) for c in contours) > 3:
                codes.append(code)
    return sorted(codes, key=lambda code: (unicodedata.decomposition(chr(code)) != "", code))


def looks(code: int) -> np.ndarray:
    """The letter by each hand, cut out, scaled to one size and blurred, as unit vectors `[HANDS, FRAME * FRAME]`.

    Place and size say nothing about a letter (o and O), since hands change them.
    """
    vectors = []
    for drawing in draw_letter(code, HANDS, SEED):
        ys, xs = np.nonzero(drawing)
        cut = Image.fromarray(drawing[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1])
        scale = BOX / max(cut.size)
        width, height = (max(1, round(side * scale)) for side in cut.size)
        frame = np.zeros((FRAME, FRAME))
        top, left = (FRAME - height) // 2, (FRAME - width) // 2
        frame[top : top + height, left : left + width] = cut.resize((width, height), Image.Resampling.BILINEAR)
        soft = sum(np.roll(frame, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)).ravel()
        vectors.append(soft / np.linalg.norm(soft))
    return np.array(vectors, dtype=np.float32)


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """The share of drawings of two letters whose nearest neighbours say which letter it is: 0.5 is chance."""
    both = np.concatenate([one, other])
    likeness = both @ both.T
    np.fill_diagonal(likeness, -1)
    nearest = np.argpartition(-likeness, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    says_other = (nearest >= len(one)).sum(axis=1) * 2 > NEIGHBOURS
    return float((says_other == (np.arange(len(both)) >= len(one))).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--apart", type=float, default=0.75, help="share of drawings that must be told apart")
    parser.add_argument("--folder", type=Path, default=manifests_folder() / "glyphs", help="where the lists go")
    arguments = parser.parse_args()
    kept, means = [], np.zeros((0, FRAME * FRAME), dtype=np.float32)
    for split, scripts in SCRIPTS.items():
        chosen, candidates = [], letters(scripts)
        for code in candidates:
            drawings = looks(code)
            mean = drawings.mean(axis=0)
            mean /= np.linalg.norm(mean)
            likeness = means @ mean
            rivals = [i for i in np.argsort(-likeness) if likeness[i] > FAR]
            if all(apart(kept[i], drawings) >= arguments.apart for i in rivals):
                kept.append(drawings)
                means = np.concatenate([means, mean[None]])
                chosen.append(code)
        lines = [f"U+{code:04X} {unicodedata.name(chr(code))}" for code in sorted(chosen)]
        write_text(arguments.folder / f"{split}.txt", "\n".join(lines) + "\n")
        print(f"{split}: {len(lines)} of {len(candidates)} letters")


if __name__ == "__main__":
    main()
