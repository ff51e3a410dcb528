"""The tone of a text: negative, neutral or positive."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast, get_args

import numpy as np
from numpy.typing import NDArray

from botkit.errors import ModelError
from botkit.messages import Sentiment, SentimentLabel
from botkit.models.classifier import TextClassifier

LABELS: Final[tuple[SentimentLabel, ...]] = get_args(SentimentLabel)
_STARS: Final = re.compile(r"^([1-5])\s*stars?$")
_BY_STARS: Final[tuple[SentimentLabel, ...]] = ("negative", "negative", "neutral", "positive", "positive")


class TextSentimentClassifier:
    """A classifier whose labels are tones; `onnx` and `transformers` make one from a model folder."""

    def __init__(self, classifier: TextClassifier) -> None:
        """Raises `ModelError` for labels that are no tones."""
        self.name = classifier.name
        self._classifier = classifier
        self._tones = [tone_of(label, classifier.labels) for label in classifier.labels]

    @classmethod
    def onnx(cls, folder: Path, *, threads: int = 0) -> TextSentimentClassifier:
        """A classifier in botkit's form; raises `ModelError`."""
        return cls(TextClassifier.onnx(folder, threads=threads))

    @classmethod
    def transformers(cls, folder: Path, *, threads: int = 0) -> TextSentimentClassifier:
        """Any `AutoModelForSequenceClassification`, run by torch; raises `MissingExtraError` or `ModelError`."""
        return cls(TextClassifier.transformers(folder, threads=threads))

    def classify(self, texts: Sequence[str]) -> list[Sentiment]:
        """One `Sentiment` per text, in order. A long text counts with its first tokens."""
        return [self._sentiment(shares) for shares in self._classifier.probabilities(texts)]

    def _sentiment(self, shares: NDArray[np.float64]) -> Sentiment:
        probabilities: dict[SentimentLabel, float] = dict.fromkeys(LABELS, 0.0)
        for tone, share in zip(self._tones, shares, strict=True):
            probabilities[tone] += float(share)
        label = max(LABELS, key=probabilities.__getitem__)
        return Sentiment(label, probabilities[label], cast("dict[str, float]", probabilities))


def tone_of(label: str, labels: Sequence[str]) -> SentimentLabel:
    """The tone that a model's label names: its first three letters, or one to five stars. Raises `ModelError`."""
    folded = label.strip().casefold()
    for tone in LABELS:
        if folded.startswith(tone[:3]):
            return tone
    if stars := _STARS.match(folded):
        return _BY_STARS[int(stars[1]) - 1]
    raise ModelError(
        f"The model's labels are {', '.join(labels)}: {label!r} names no tone. A sentiment model must say negative, "
        "neutral or positive (or stars); set id2label in its config.json, or choose another model."
    )
