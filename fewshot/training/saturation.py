"""A training that begins with a saturated softmax, and what to do about it."""

import math

from fewshot.heads.prototype import PrototypeHead
from fewshot.learners.learner import Learner

# Of the loss that chance has.
_TOO_MUCH = 4.0
# Squared distances of d features behind BatchNorm are near d at first; a sixteenth of it is a temperature that lets them differ by some units.
_FEATURES_PER_DEGREE = 16


def saturation_note(learner: Learner, loss: float, way: int) -> str | None:
    """One line where the first episodes' loss is several times that of chance and a larger temperature would help; else None.

    Args:
        learner: in training; something is said of prototypes by squared distances alone.
        loss: mean over the first episodes.
        way: of the tasks.
    """
    chance = math.log(way)
    head, size = getattr(learner, "head", None), getattr(getattr(learner, "backbone", None), "feature_size", None)
    if (
        not isinstance(head, PrototypeHead)
        or head.distance != "euclidean"
        or size is None
        or loss <= _TOO_MUCH * chance
    ):
        return None
    better = max(1, round(size / _FEATURES_PER_DEGREE))
    if float(head.log_temperature.detach().exp()) >= better:
        return None
    return (
        f"note: the loss of the first episodes is {loss:.1f}, of guessing {chance:.1f}: scores of {size} features are too far apart to learn "
        f"from; head.temperature={better} usually trains faster and better"
    )
