"""What training leaves beside weights."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fewshot import html_tables
from fewshot.training.curve import draw_curve

if TYPE_CHECKING:
    from fewshot.figure import ShownFigure


@dataclass(frozen=True, eq=False, repr=False)
class TrainingResult:
    """What training left.

    Args:
        curve: rows of the training curve.
        episodes: trained on.
        best_episode: after which the kept weights were taken.
        best_accuracy: validation accuracy of the kept weights in percent; NaN without validation.
    """

    curve: list[dict]
    episodes: int
    best_episode: int
    best_accuracy: float

    def __repr__(self) -> str:
        return f"<TrainingResult: {self.episodes} episodes, {self._kept}>"

    def _repr_html_(self) -> str:
        last = self.curve[-1] if self.curve else {"loss": math.nan, "train_accuracy": math.nan}
        known = {
            "trained on": f"{self.episodes} episodes or images",
            "weights": self._kept,
            "last loss": f"{last['loss']:.4f}",
            "last training accuracy": f"{last['train_accuracy']:.2f} %",
        }
        return html_tables.facts("Training", known)

    @property
    def _kept(self) -> str:
        if math.isnan(self.best_accuracy):
            return "the last ones, nothing was validated"
        return f"those after {self.best_episode}, validated at {self.best_accuracy:.2f} %"

    def draw(self) -> "ShownFigure":
        """Loss and accuracies along the training, as a figure."""
        return draw_curve(self.curve)
