"""Texts as counts of their character n-grams: vectors without a language model."""

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from fewshot.errors import FewshotError


class NgramEncoder:
    """Unit vectors of hashed character n-grams; texts that share pieces of words are near each other.

    A text in lower case, each word between spaces, is cut into all its n-grams. A hash gives each a place and a sign, and
    the sum is divided by its length. Nothing is trained and nothing is known of meaning.

    Args:
        size: of the vectors (d), at least 1.
        shortest: n-gram, in characters.
        longest: n-gram, at least as long.

    Raises:
        FewshotError: a size or length out of range.

    Source: Weinberger et al., Feature Hashing for Large Scale Multitask Learning, 2009, for hashes with signs; Bojanowski et
    al., Enriching Word Vectors with Subword Information, 2017, for n-grams of words with their borders.
    """

    def __init__(self, size: int = 256, shortest: int = 3, longest: int = 5):
        if size < 1:
            raise FewshotError(f"semantics.encoder.size={size}; expected at least 1")
        if not 1 <= shortest <= longest:
            raise FewshotError(
                f"semantics.encoder.shortest={shortest} longest={longest}; expected 1 <= shortest <= longest"
            )
        self.size, self.shortest, self.longest = size, shortest, longest

    @property
    def name(self) -> str:
        """What rows and files call it: equal names are equal vectors."""
        return f"ngrams-{self.shortest}-{self.longest}-of-{self.size}"

    def __call__(self, texts: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        """One vector a text; texts without a letter or digit are zero."""
        vectors = np.zeros((len(texts), self.size), dtype=np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for piece in self._pieces(text):
                number = int.from_bytes(hashlib.blake2b(piece.encode(), digest_size=8).digest(), "little")
                vector[(number >> 1) % self.size] += 1 - 2 * (number & 1)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def _pieces(self, text: str) -> list[str]:
        words = "".join(c if c.isalnum() else " " for c in text.lower()).split()
        padded = [f" {word} " for word in words]
        lengths = range(self.shortest, self.longest + 1)
        return [word[i : i + n] for word in padded for n in lengths for i in range(len(word) - n + 1)]
