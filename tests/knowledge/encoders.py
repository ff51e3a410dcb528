"""A small deterministic encoder and token counter for tests, and the script that the kill test starts."""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from botkit.config import KnowledgeConfig, Paths, RetrievalConfig
from botkit.knowledge.base import Knowledge

_WORD = re.compile(r"[㐀-鿿]|[^\W_]+|[^\w\s]")


class WordEncoder:
    """Sums a random direction for each word: texts that share words are near each other."""

    dimension = 32

    def __init__(self, name: str = "words-32") -> None:
        self.name = name
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.encoded.extend(texts)
        rows = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in _WORD.findall(text.lower()) or [""]:
                row += np.random.default_rng(zlib.crc32(word.encode())).standard_normal(self.dimension)
            row /= np.linalg.norm(row)
        return rows


def count_tokens(texts: Sequence[str]) -> list[int]:
    return [len(_WORD.findall(text)) for text in texts]


def open_knowledge(home: Path, encoder: WordEncoder | None = None, **config: object) -> Knowledge:
    """A knowledge in `home` without the documents that ship with botkit."""
    model = encoder or WordEncoder()
    values = {"include_builtin": False, "chunk_tokens": 32} | config
    return Knowledge(
        Paths(home=home),
        encoder=lambda: model,
        count_tokens=count_tokens,
        config=KnowledgeConfig.model_validate(values),
        retrieval=RetrievalConfig(vector_weight=0.5),  # the words of such an encoder say little more than BM25
    )


if __name__ == "__main__":
    ingested = open_knowledge(Path(sys.argv[1]))
    print("started", flush=True)
    ingested.ingest([Path(sys.argv[2])])
    print("done", flush=True)
