"""The signal-to-noise-ratio distance (Yuan et al., 2019)."""

from jaxtyping import Float
from torch import Tensor

from fewshot.distances.euclidean import squared_euclidean

_EPSILON = 1e-8


def snr_distance(noise: Float[Tensor, "*b q d"], signal: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b q n"]:
    """`Var(x_q - y_n) / Var(y_n)` for all pairs, variances over the d features; `signal` is the anchor.

    Not symmetric. A signal without variance, such as features that are all zero, counts as one of a tiny variance.

    Source: Yuan et al., Signal-to-Noise Ratio: A Robust Distance Metric for Deep Metric Learning, 2019, equation 4.
    """
    noise, signal = (part - part.mean(-1, keepdim=True) for part in (noise, signal))
    strength = signal.square().sum(-1).unsqueeze(-2)
    return squared_euclidean(noise, signal) / (strength + _EPSILON)
