"""`ClassNameText`: the names of classes as what is known of them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from fewshot.data.bank import Bank
from fewshot.errors import FewshotError
from fewshot.semantics.class_words import class_words
from fewshot.semantics.embedding_cache import kept

_PLACE = "{class}"


class ClassNameText:
    """Gives a bank the text vectors of its class names for class attributes.

    Args:
        encoder: texts to vectors `[n, d]`, with a `name`.
        prompt: around the name, with `{class}` in it; of several the vectors are averaged.
        shuffle: a seed by which the classes of a bank exchange their names, to see what the right names are worth; None
            leaves them.
        cache: folder in which vectors are kept; None keeps none.

    Raises:
        FewshotError: a prompt without `{class}`, or a seed that is none.
    """

    def __init__(
        self,
        encoder: Callable[[Sequence[str]], np.ndarray],
        prompt: str | Sequence[str] = "a photo of a {class}",
        shuffle: int | None = None,
        cache: str | Path | None = None,
    ):
        self.encoder, self.shuffle, self.cache = encoder, shuffle, cache
        self.prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        for text in self.prompts or [prompt]:
            if not isinstance(text, str) or _PLACE not in text:
                raise FewshotError(f"semantics.prompt={text!r}; expected text with {_PLACE} in it")
        if shuffle is not None and shuffle < 0:
            raise FewshotError(f"semantics.shuffle={shuffle}; expected null or a seed of at least 0")

    @property
    def name(self) -> str:
        """What a row says of it."""
        prompts = " + ".join(repr(prompt) for prompt in self.prompts)
        mixed = "" if self.shuffle is None else f", shuffled by seed {self.shuffle}"
        return f"class names ({self.encoder.name}, {prompts}{mixed})"

    def described(self, bank: Bank) -> Bank:
        """The bank with `class_attributes` `[classes, d]`.

        Raises:
            FewshotError: its classes have no names, or the encoder cannot be had.
        """
        words = class_words(bank)
        vectors = np.mean([self._encoded([p.replace(_PLACE, w) for w in words]) for p in self.prompts], axis=0)
        if self.shuffle is not None:
            vectors = vectors[np.random.Generator(np.random.Philox(self.shuffle)).permutation(len(words))]
        return bank.replacing(class_attributes=torch.from_numpy(vectors).to(bank.device), attributes_name=self.name)

    def _encoded(self, texts: list[str]) -> np.ndarray:
        return kept(self.cache, self.encoder.name, texts, self.encoder)
