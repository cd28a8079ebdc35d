"""`Evaluation`: what a meta-test found."""

from dataclasses import dataclass

import numpy as np
import torch

from fewshot import html_tables
from fewshot.episodes.protocol import Protocol
from fewshot.evaluation.accuracies import accuracy_text
from fewshot.evaluation.intervals import mean_interval


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """What a meta-test found.

    Args:
        accuracies: float64 `[episodes]`, share of right queries in each episode, 0 to 1.
        macro_accuracies: float64 `[episodes]`, the mean of that share over the classes that have queries; the same where
            queries are balanced.
        protocol: what was played.
        data: name of the data set whose images were played with.
        split: the part of it.
        pipeline: how its images were made from files.
        bank_fingerprint: sha256 of those images and their labels; of features, that of what they were made of, where it is known.
        episodes_sha256: hash of the drawn item indices; equal hashes mean identical tasks.
        transductive: whether the learner used queries jointly.
        side_information: what was shown to it of the classes beside their images, or `none`.
        seconds: wall time, embedding included.
        device: where it ran.
    """

    accuracies: np.ndarray
    macro_accuracies: np.ndarray
    protocol: Protocol
    data: str
    split: str
    pipeline: str
    bank_fingerprint: str
    episodes_sha256: str
    transductive: bool
    side_information: str
    seconds: float
    device: torch.device

    @property
    def accuracy(self) -> float:
        """Mean accuracy in percent."""
        return 100 * mean_interval(self.accuracies).mean

    @property
    def macro_accuracy(self) -> float:
        """Mean macro accuracy in percent."""
        return 100 * mean_interval(self.macro_accuracies).mean

    @property
    def ci95(self) -> float:
        """Half-width of the 95% interval over episodes (Student's t), in percent points."""
        return 100 * mean_interval(self.accuracies).half_width

    @property
    def tasks(self) -> dict:
        """What must agree before this test may be paired with another, named as in a leaderboard row."""
        return {
            "data": self.data,
            "split": self.split,
            "pipeline": self.pipeline,
            "bank_fingerprint": self.bank_fingerprint,
            "way": self.protocol.way,
            "shot": self.protocol.shot_text,
            "query": self.protocol.query,
            "imbalance": self.protocol.imbalance,
            "episodes": len(self.accuracies),
            "test_seed": self.protocol.seed,
            "episodes_sha256": self.episodes_sha256,
        }

    @property
    def episodes_per_second(self) -> float:
        return len(self.accuracies) / max(self.seconds, 1e-9)

    def to_frame(self):
        """One row as a pandas data frame, with columns named as in a leaderboard."""
        import pandas as pd

        row = self.tasks | {"transductive": self.transductive, "side_information": self.side_information}
        for name in ("accuracy", "ci95", "macro_accuracy", "seconds", "episodes_per_second"):
            row[name] = getattr(self, name)
        return pd.DataFrame([row])

    def __repr__(self) -> str:
        return f"<Evaluation {self}>"

    def _repr_html_(self) -> str:
        uneven = self.protocol.dirichlet is not None
        known = {
            "accuracy": f"{accuracy_text(self.accuracy, self.ci95)} %{' (95%, over episodes)' * (len(self.accuracies) > 1)}",
            "macro accuracy": f"{self.macro_accuracy:.2f} %" if uneven else None,
            "episodes": f"{len(self.accuracies)} x {self.protocol}, seed {self.protocol.seed}",
            "images": f"{self.data}/{self.split} ({self.pipeline})",
            "queries": "used jointly (transductive)" if self.transductive else "one by one (inductive)",
            "side information": None if self.side_information == "none" else self.side_information,
            "time": f"{self.seconds:.2f} s, {self.episodes_per_second:.0f} episodes a second, {self.device}",
            "tasks": self.episodes_sha256[:12],
        }
        return html_tables.facts("Evaluation", known)

    def __str__(self) -> str:
        macro = "" if self.protocol.dirichlet is None else f", macro {self.macro_accuracy:.2f}%"
        count = len(self.accuracies)
        episodes = f"{count} episode{'s' if count > 1 else ''} of {self.data}/{self.split}"
        return f"{accuracy_text(self.accuracy, self.ci95)}%{macro} ({self.protocol}, {episodes})"
