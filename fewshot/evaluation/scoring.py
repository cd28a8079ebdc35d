"""Meta-test: a learner's accuracy on the episodes of a protocol."""

import time
from dataclasses import dataclass

import numpy as np
import torch

from fewshot.data.bank import Bank
from fewshot.device import keep_freed_memory
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeIndices, EpisodeSampler
from fewshot.evaluation.embedding import embed_bank
from fewshot.evaluation.intervals import mean_interval
from fewshot.learners.learner import Learner

_BATCH_NUMBERS = 2**23


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a meta-test found.

    Args:
        accuracies: float64 `[episodes]`, share of right queries in each episode, 0 to 1.
        protocol: what was played.
        data, split, pipeline, bank_fingerprint: on which images.
        episodes_sha256: hash of the drawn item indices; equal hashes mean identical tasks.
        transductive: whether the learner used queries jointly.
        seconds: wall time, embedding included.
        device: where it ran.
    """

    accuracies: np.ndarray
    protocol: Protocol
    data: str
    split: str
    pipeline: str
    bank_fingerprint: str
    episodes_sha256: str
    transductive: bool
    seconds: float
    device: torch.device

    @property
    def accuracy(self) -> float:
        """Mean accuracy in percent."""
        return 100 * mean_interval(self.accuracies).mean

    @property
    def ci95(self) -> float:
        """Half-width of the 95% interval over episodes (Student's t), in percent points."""
        return 100 * mean_interval(self.accuracies).half_width

    @property
    def episodes_per_second(self) -> float:
        return len(self.accuracies) / max(self.seconds, 1e-9)

    def to_frame(self):
        """One row as a pandas data frame, with columns named as in a leaderboard."""
        import pandas as pd

        columns = ("data", "split", "pipeline", "bank_fingerprint", "transductive")
        row = {name: getattr(self, name) for name in columns}
        row |= {"way": self.protocol.way, "shot": self.protocol.shot_text, "query": self.protocol.query}
        row |= {"imbalance": self.protocol.imbalance, "episodes": len(self.accuracies)}
        row |= {"episodes_sha256": self.episodes_sha256, "test_seed": self.protocol.seed}
        for name in ("accuracy", "ci95", "seconds", "episodes_per_second"):
            row[name] = getattr(self, name)
        return pd.DataFrame([row])

    def __str__(self) -> str:
        return f"{self.accuracy:.2f} ± {self.ci95:.2f}% ({self.protocol}, {len(self.accuracies)} episodes of {self.data}/{self.split})"


def evaluate(learner: Learner, bank: Bank, protocol: Protocol, tasks_per_batch: int | None = None) -> Evaluation:
    """Score `learner` on the first `protocol.episodes` episodes of `protocol` on `bank`.

    The learner is in eval mode meanwhile (BatchNorm uses what it saw in training) and is left in
    the mode it was in. A learner that scores frozen features has each image embedded once.

    Args:
        learner: on any device; `bank` is moved to it.
        bank: classes that the learner was not trained on.
        protocol: what an episode is, and how many.
        tasks_per_batch: tasks scored at a time; by default what fits about 32 MB.

    Raises:
        FewshotError: the protocol does not fit the bank.
    """
    keep_freed_memory()
    drawn = EpisodeSampler(bank, protocol).indices(0, protocol.episodes)
    parameter = next(iter(learner.parameters()), None)
    bank = bank.to(bank.device if parameter is None else parameter.device)
    started = time.perf_counter()
    mode = learner.training
    learner.eval()
    try:
        frozen = learner.scores_frozen_features and bank.is_images
        source = embed_bank(learner, bank, needed=_used(drawn)) if frozen else bank
        predict = learner.predict if source.is_images else learner.predict_features
        sampler = EpisodeSampler(source, protocol, channels_last=True)
        if tasks_per_batch is None:
            numbers = (protocol.support_size + protocol.query_size) * source.items[0].numel()
            tasks_per_batch = max(1, min(256, _BATCH_NUMBERS // numbers))
        parts = []
        for start in range(0, protocol.episodes, tasks_per_batch):
            episodes = sampler.episodes(start, min(tasks_per_batch, protocol.episodes - start))
            parts.append(_accuracies(predict, episodes))
        accuracies = torch.cat(parts).cpu().numpy()
    finally:
        learner.train(mode)
    return Evaluation(
        accuracies=accuracies,
        protocol=protocol,
        data=bank.name,
        split=bank.split,
        pipeline=bank.pipeline,
        bank_fingerprint=bank.fingerprint,
        episodes_sha256=drawn.sha256(),
        transductive=learner.transductive,
        seconds=time.perf_counter() - started,
        device=bank.device,
    )


def _used(drawn: EpisodeIndices) -> torch.Tensor:
    """The items that occur in any episode: few episodes need few of a large bank's images."""
    return torch.from_numpy(np.unique(np.concatenate([drawn.support.ravel(), drawn.query.ravel()])))


@torch.no_grad()
def _accuracies(predict, episodes: Episodes) -> torch.Tensor:
    right = predict(episodes).argmax(-1) == episodes.query_labels
    return right.double().mean(1)
