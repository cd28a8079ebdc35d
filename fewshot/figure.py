"""`ShownFigure`: a matplotlib figure that a notebook shows by itself."""

import io
from pathlib import Path

from matplotlib.figure import Figure

from fewshot.files import replacing


class ShownFigure(Figure):
    """A figure that no window keeps: a notebook shows it where a cell ends with it, without pyplot and without a back end.

    Modules import this one inside their functions, so that matplotlib is read when something is drawn and not before.
    """

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.savefig(out, format="png", dpi=100)
        return out.getvalue()

    def save(self, path: Path | str, dpi: int = 150) -> None:
        """Write the picture, whole or not at all, in the form of the name's end.

        Args:
            path: such as `curve.png`, `curve.pdf` or `curve.svg`.
            dpi: dots per inch, for pictures that have dots.
        """
        with replacing(path) as temporary:
            self.savefig(temporary, dpi=dpi)
