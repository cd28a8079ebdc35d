"""Generalised evaluation: images of seen and unseen classes, scored among all of them."""

from dataclasses import dataclass

import numpy as np
import torch

from fewshot.data.bank import Bank
from fewshot.data.held_out import halves
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.errors import FewshotError
from fewshot.evaluation.seen_unseen import SeenUnseenCurve, harmonic_mean, seen_unseen_curve
from fewshot.heads.feature_transform import bare
from fewshot.learners.learner import Learner, check_tasks

_QUERIES = 256


@dataclass(frozen=True, eq=False)
class Generalised:
    """What was found with one draw of the shots of unseen classes.

    Args:
        curve: of the test images.
        validation: of the validation classes and other held-out images.
        gamma: with the highest harmonic mean on `validation`.
    """

    curve: SeenUnseenCurve
    validation: SeenUnseenCurve
    gamma: float

    def numbers(self) -> dict[str, float]:
        """Areas in 0..1, accuracies and harmonic means in percent, gamma in the unit of the scores."""
        found = {"ausuc": self.curve.area, "validation_ausuc": self.validation.area, "gamma": self.gamma}
        found |= {"unseen_alone": 100 * self.curve.unseen_alone, "seen_alone": 100 * self.curve.seen_alone}
        for name, gamma in (("plain", 0.0), ("calibrated", self.gamma)):
            seen, unseen = self.curve.at(gamma)
            found |= {f"{name}_seen": 100 * seen, f"{name}_unseen": 100 * unseen}
            found[f"{name}_harmonic"] = 100 * harmonic_mean(seen, unseen)
        return found


def evaluate_generalised(
    learner: Learner, base: Bank | None, held_out: Bank, validation: Bank, novel: Bank, shot: int, tasks: int, seed: int
) -> list[Generalised]:
    """Curves of a learner over base classes and novel ones, for each draw of the shots.

    Half of the held-out images and the validation classes choose gamma; the other half and the novel classes are tested. With
    shots, all base images are the support of the seen classes and `shot` of each other class that class's; what is left of it
    is tested. Without, no class has any support.

    Args:
        learner: of frozen features, inductive.
        base: features that were trained on; needed with shots.
        held_out: features of other images of the base classes.
        validation, novel: features of unseen classes.
        shot: support items of each unseen class.
        tasks: draws of them; without shots there is one.
        seed: of the draws.

    Raises:
        FewshotError: the learner is transductive, embeds images for each task anew, or cannot score such classes.
    """
    name = type(bare(getattr(learner, "head", learner))).__name__
    if not learner.scores_frozen_features:
        raise FewshotError(f"{type(learner).__name__} scores no frozen features, which mode=generalised needs")
    if learner.transductive:
        raise FewshotError(f"{name} is transductive; mode=generalised scores each image by itself")
    for bank in (held_out, validation, novel):
        check_tasks(learner, bank, Protocol(2, shot, 1))
    chosen, tested = halves(held_out)
    found = []
    for task in range(tasks if shot else 1):
        on_validation, on_test = (
            _curve(learner, base, images, unseen, shot, seed, task)
            for images, unseen in ((chosen, validation), (tested, novel))
        )
        found.append(Generalised(on_test, on_validation, on_validation.best_gamma()))
    return found


@torch.no_grad()
def _curve(
    learner: Learner, base: Bank | None, held_out: Bank, unseen: Bank, shot: int, seed: int, task: int
) -> SeenUnseenCurve:
    seen_classes, classes = held_out.num_classes, held_out.num_classes + unseen.num_classes
    support, support_labels = held_out.items[:0], held_out.labels[:0]
    asked = torch.ones(len(unseen), dtype=torch.bool, device=unseen.device)
    if shot:
        sampler = EpisodeSampler(unseen, Protocol(unseen.num_classes, shot, 1, seed=seed))
        shots = torch.from_numpy(sampler.indices(task, 1).support[0].copy()).to(unseen.device)
        support = torch.cat([base.items, unseen.items[shots]])
        support_labels = torch.cat([base.labels, seen_classes + unseen.labels[shots]])
        asked[shots] = False
    queries = torch.cat([held_out.items, unseen.items[asked]])
    labels = torch.cat([held_out.labels, seen_classes + unseen.labels[asked]])
    known = [bank.class_attributes for bank in (held_out, unseen)]
    attributes = None if any(table is None for table in known) else torch.cat(known)[None]
    mode = learner.training
    # A head that is fitted to the support is fitted once.
    at_once = _QUERIES if getattr(getattr(learner, "head", None), "trains_backbone", True) else len(queries)
    learner.eval()
    try:
        parts = [
            learner.predict_features(
                Episodes(
                    support[None],
                    support_labels[None],
                    part[None],
                    answers[None],
                    torch.arange(classes, device=labels.device)[None],
                    attributes,
                )
            )[0]
            for part, answers in zip(queries.split(at_once), labels.split(at_once), strict=True)
        ]
    finally:
        learner.train(mode)
    scores = torch.cat(parts).cpu().double().numpy()
    return seen_unseen_curve(scores, labels.cpu().numpy(), np.arange(classes) < seen_classes)
