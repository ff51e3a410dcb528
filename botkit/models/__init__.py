"""What the engine asks of a model. Any class with these methods will do.

The shipped models (ONNX Runtime), hub models (transformers) and remote endpoints all stand behind
these four protocols; none of the engine knows which.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from botkit.messages import Language, Sentiment, Turn


@dataclass(frozen=True, slots=True)
class Span:
    """A candidate answer inside one passage.

    `start` and `end` are character offsets in `passages[passage]`. `score` is the sum of the start and end
    logits, `no_answer_score` the same sum at the null position, of the window the span was found in, or the mean of two looks.
    """

    passage: int
    start: int
    end: int
    text: str
    score: float
    no_answer_score: float

    def overlaps(self, other: Span) -> bool:
        """Whether both share a character."""
        return self.passage == other.passage and self.start < other.end and other.start < self.end


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the generator chooses tokens. `temperature` 0 is greedy; `seed` None is random."""

    temperature: float = 0.7
    top_k: int = 40
    top_p: float = 0.9
    repetition_penalty: float = 1.1
    max_new_tokens: int = 80
    stop: tuple[str, ...] = field(default=())
    seed: int | None = None


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into vectors whose inner product is cosine similarity."""

    name: str
    """Identifies the weights (a digest or a hub id): vectors of different names do not mix."""
    dimension: int

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 of shape (len(texts), dimension), rows of length one."""
        ...


@runtime_checkable
class Reader(Protocol):
    """Marks the words of a passage that answer a question."""

    name: str

    def read(self, question: str, passages: Sequence[str], *, top_k: int = 3) -> list[Span]:
        """Return up to `top_k` non-overlapping spans for each passage, best first over all passages."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Length of each text in the reader's tokens, without special tokens."""
        ...


@runtime_checkable
class SentimentClassifier(Protocol):
    """Names the tone of a text."""

    name: str

    def classify(self, texts: Sequence[str]) -> list[Sentiment]:
        """One `Sentiment` per text, in order."""
        ...


@runtime_checkable
class Generator(Protocol):
    """Continues a conversation."""

    name: str

    def stream(
        self,
        turns: Sequence[Turn],
        *,
        sampling: Sampling | None = None,
        language: Language = "en",
        persona: str = "friendly",
    ) -> Iterator[str]:
        """Yield the reply piece by piece. Raises `GeneratorError` where an endpoint fails."""
        ...


__all__ = ["Encoder", "Generator", "Reader", "Sampling", "SentimentClassifier", "Span"]
