"""The seen-unseen curve of generalised zero-shot and few-shot learning, exactly (Chao et al., 2016)."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from fewshot.errors import FewshotError


@dataclass(frozen=True, eq=False)
class SeenUnseenCurve:
    """Accuracies among all classes as scores of seen classes are lowered by gamma, from minus to plus infinity.

    An accuracy is the mean over classes of the share of right images of the class. Between two critical values of gamma
    nothing changes, so the curve is known exactly.

    Args:
        gammas: ascending `[m]`, where predictions change; from `gammas[i]` on `unseen[i + 1]` and `seen[i + 1]` hold.
        unseen: `[m + 1]`, accuracy of images of unseen classes, 0..1, never falling; the first is 0.
        seen: `[m + 1]`, accuracy of images of seen classes, 0..1, never rising; the last is 0.
    """

    gammas: Float[np.ndarray, " m"]
    unseen: Float[np.ndarray, " k"]
    seen: Float[np.ndarray, " k"]

    @property
    def area(self) -> float:
        """AUSUC, the area under the curve of `seen` over `unseen`, 0..1."""
        return float(np.trapezoid(self.seen, self.unseen))

    @property
    def unseen_alone(self) -> float:
        """Accuracy of images of unseen classes among the unseen classes."""
        return float(self.unseen[-1])

    @property
    def seen_alone(self) -> float:
        """Accuracy of images of seen classes among the seen classes."""
        return float(self.seen[0])

    @property
    def harmonic(self) -> Float[np.ndarray, " k"]:
        """Harmonic mean of both at each step; 0 where either is 0."""
        total = self.seen + self.unseen
        return np.divide(2 * self.seen * self.unseen, total, out=np.zeros_like(total), where=total > 0)

    def at(self, gamma: float) -> tuple[float, float]:
        """Accuracies of seen and of unseen classes at gamma; 0 is plain stacking."""
        step = int(np.searchsorted(self.gammas, gamma, side="right"))
        return float(self.seen[step]), float(self.unseen[step])

    def best_gamma(self) -> float:
        """The middle of the first stretch of gammas with the highest harmonic mean; 0 if it is 0 everywhere."""
        step = int(self.harmonic.argmax())
        if self.harmonic[step] == 0:
            return 0.0
        if step == len(self.gammas):
            return float(self.gammas[-1])
        return float((self.gammas[step - 1] + self.gammas[step]) / 2)


def harmonic_mean(seen: float, unseen: float) -> float:
    """`2 s u / (s + u)`, and 0 if both are 0."""
    return 2 * seen * unseen / (seen + unseen) if seen + unseen > 0 else 0.0


def random_area(seen_classes: int, unseen_classes: int) -> float:
    """The area that random scores have on average, `1 / (2 |S| |U|)`: a share p of all images goes to the seen side."""
    return 1 / (2 * seen_classes * unseen_classes)


def seen_unseen_curve(
    scores: Float[np.ndarray, "n c"], labels: Int[np.ndarray, " n"], seen: Bool[np.ndarray, " c"]
) -> SeenUnseenCurve:
    """The curve of scores among all classes.

    An image goes to the unseen side as soon as gamma reaches its best seen score less its best unseen score. Images with equal
    differences go together, which is a straight line on the curve: half of the box, as breaking the tie at random would give.

    Args:
        scores: of each test image for each class, finite.
        labels: of each image.
        seen: which classes are.

    Raises:
        FewshotError: no class or no image on one of the sides, or scores that are no numbers.

    Source: Chao et al., An Empirical Study and Analysis of Generalized Zero-Shot Learning for Object Recognition in the Wild,
    2016, sections 3.2 and 4.
    """
    of_seen = seen[labels]
    if seen.all() or not seen.any() or of_seen.all() or not of_seen.any():
        raise FewshotError("a seen-unseen curve needs seen and unseen classes, and images of both")
    if not np.isfinite(scores).all():
        raise FewshotError("a seen-unseen curve needs finite scores; these have infinities or NaN")
    # Differences of single precision would run into each other when a constant is added.
    scores = scores.astype(np.float64)
    sides = [(np.flatnonzero(mask), scores[:, mask]) for mask in (seen, ~seen)]
    right = [ids[part.argmax(1)] == labels for ids, part in sides]
    critical = sides[0][1].max(1) - sides[1][1].max(1)
    counts = np.bincount(labels, minlength=len(seen))
    share = 1.0 / counts[labels]
    gammas, step = np.unique(critical, return_inverse=True)
    gained, lost = (
        np.bincount(
            step, weights=np.where(mine & hit, share, 0.0) / np.count_nonzero(counts[side]), minlength=len(gammas)
        )
        for mine, hit, side in ((~of_seen, right[1], ~seen), (of_seen, right[0], seen))
    )
    # Summed from either end, so that both ends are what they should be to the last digit.
    unseen = np.concatenate([[0.0], np.cumsum(gained)])
    remaining = np.concatenate([np.cumsum(lost[::-1])[::-1], [0.0]])
    return SeenUnseenCurve(gammas, np.minimum(unseen, 1.0), np.minimum(remaining, 1.0))


def curve_rows(curve: SeenUnseenCurve, **more) -> list[dict]:
    """The curve as rows of a table: gamma from which accuracies hold, and their harmonic mean."""
    gammas = [-math.inf, *curve.gammas.tolist()]
    columns = zip(gammas, curve.unseen.tolist(), curve.seen.tolist(), curve.harmonic.tolist(), strict=True)
    return [more | dict(zip(("gamma", "unseen", "seen", "harmonic"), row, strict=True)) for row in columns]
