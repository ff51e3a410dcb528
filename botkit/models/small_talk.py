"""Telling small talk from questions about documents: a linear classifier on character and word n-grams.

It is tiny (one small file), takes microseconds and needs no other model, so every message can pass through it.
Weights come from `botkit.training.small_talk`.
"""

from __future__ import annotations

import itertools
import json
import math
import unicodedata
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from botkit.errors import ModelError

BUILTIN: Final = Path(__file__).parent / "builtin" / "small_talk"
BUCKETS: Final = 1 << 15
_CHARACTER_NGRAMS: Final = (1, 2, 3, 4)
_LONGEST: Final = 300


def ngram_buckets(text: str) -> NDArray[np.int64]:
    """The hashed n-grams of a text: distinct bucket numbers below `BUCKETS`, ascending.

    Character n-grams (1 to 4, with word boundaries) and word pairs, hashed by CRC-32 (the hashing trick,
    Weinberger et al. 2009).
    """
    folded = unicodedata.normalize("NFKC", text[:_LONGEST]).casefold()
    words = "".join(character if character.isalnum() else " " for character in folded).split()
    line = f" {' '.join(words)} "
    grams = {line[i : i + size] for size in _CHARACTER_NGRAMS for i in range(len(line) - size + 1)}
    grams.update(f"{first}_{second}" for first, second in itertools.pairwise(words))
    if words:
        grams.update((f"^{words[0]}", f"#{min(len(line) // 8, 12)}"))
    return np.array(sorted({zlib.crc32(gram.encode()) % BUCKETS for gram in grams}), dtype=np.int64)


@dataclass(frozen=True)
class SmallTalkDetector:
    """`weights` is float32 of shape (BUCKETS,); a text's n-gram vector is scaled to length one."""

    weights: NDArray[np.float32]
    bias: float

    def probability(self, text: str) -> float:
        """Probability (0 to 1) that a text is small talk and no question about documents."""
        buckets = ngram_buckets(text)
        if not len(buckets):
            return 0.0
        logit = float(self.weights[buckets].sum()) / math.sqrt(len(buckets)) + self.bias
        return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, logit))))

    def write(self, folder: Path) -> None:
        """Save as int8 weights with one scale."""
        folder.mkdir(parents=True, exist_ok=True)
        scale = float(np.abs(self.weights).max()) / 127 or 1.0
        np.save(folder / "weights.npy", np.round(self.weights / scale).astype(np.int8))
        (folder / "small_talk.json").write_text(
            json.dumps({"scale": scale, "bias": self.bias}) + "\n", encoding="utf-8"
        )

    @classmethod
    def read(cls, folder: Path = BUILTIN) -> SmallTalkDetector:
        """Load what `write` saved; raises `ModelError` where it is missing or broken."""
        try:
            stored = json.loads((folder / "small_talk.json").read_text(encoding="utf-8"))
            weights = np.load(folder / "weights.npy").astype(np.float32) * np.float32(stored["scale"])
            if weights.shape != (BUCKETS,):
                raise ValueError(f"{BUCKETS} weights expected, {weights.shape} found")
            return cls(weights, float(stored["bias"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{folder}: the small-talk detector cannot be read ({error}). Reinstall botkit."
            ) from error
