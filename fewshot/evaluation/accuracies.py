"""The file of per-episode accuracies that stands behind a row, and how a mean of them is written."""

import hashlib
import math
from pathlib import Path

import numpy as np

from fewshot.errors import FewshotError
from fewshot.files import replacing


def accuracy_text(accuracy: float, ci95: float) -> str:
    """`98.12 ± 0.15`, or the mean alone where there is no interval, as of a single episode."""
    return f"{accuracy:.2f}" if math.isnan(ci95) else f"{accuracy:.2f} ± {ci95:.2f}"


def accuracies_sha256(accuracies: np.ndarray) -> str:
    """Hash of the accuracies `[episodes]` as little-endian float64."""
    return hashlib.sha256(np.ascontiguousarray(accuracies, dtype="<f8").tobytes()).hexdigest()


def save_accuracies(path: Path | str, accuracies: np.ndarray) -> None:
    """Write accuracies `[episodes]`, all of them or nothing."""
    with replacing(path) as temporary:
        np.save(temporary, accuracies, allow_pickle=False)


def load_accuracies(path: Path | str) -> np.ndarray:
    """Read what `save_accuracies` wrote.

    Raises:
        FewshotError: there is no such file, or it holds something else.
    """
    try:
        found = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise FewshotError(f"there are no accuracies at {path}; test again") from error
    except (OSError, ValueError, EOFError) as error:
        raise FewshotError(f"{path} is no file of accuracies: {error}; test again") from error
    if not isinstance(found, np.ndarray) or found.ndim != 1 or found.dtype != np.float64:
        raise FewshotError(f"{path} holds no float64 [episodes]; test again")
    return found
