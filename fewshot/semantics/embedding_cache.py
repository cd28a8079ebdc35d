"""Vectors of texts, kept in a file."""

import hashlib
import json
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from fewshot.files import replacing


def kept(
    folder: Path | str | None,
    encoder: str,
    texts: Sequence[str],
    encode: Callable[[Sequence[str]], Float32[np.ndarray, "n d"]],
) -> Float32[np.ndarray, "n d"]:
    """The vectors of texts, read from a file of `folder` if an encoder of this name has made them before.

    The file's name holds a hash of the encoder's name and the texts, and its content both; one that is damaged, or of other
    texts, is made anew.

    Args:
        folder: where files are kept; None keeps none.
        encoder: its name.
        texts: as the encoder gets them, prompt and all.
        encode: texts to vectors.

    Raises:
        FewshotError: the folder cannot be written to.
    """
    if folder is None:
        return encode(texts)
    key = hashlib.sha256(json.dumps([encoder, list(texts)]).encode()).hexdigest()
    path = Path(folder) / f"{re.sub(r'[^A-Za-z0-9.@-]+', '-', encoder)}-{key[:16]}.npz"
    try:
        # Opened here: of a damaged file the library leaves the handle open.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            if str(stored["encoder"]) == encoder and stored["texts"].tolist() == list(texts):
                return stored["vectors"].astype(np.float32, copy=False)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass
    vectors = encode(texts)
    with replacing(path) as temporary:
        np.savez(temporary, vectors=vectors, texts=np.array(texts), encoder=np.array(encoder))
    return vectors
