"""The tone of a text: negative, neutral or positive."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast, get_args

import numpy as np
from numpy.typing import NDArray

from botkit.errors import ModelError
from botkit.messages import Sentiment, SentimentLabel
from botkit.models.manifest import GRAPH, read_manifest, read_model_config
from botkit.models.pretrained import load_pretrained
from botkit.models.runtime import Forward, OnnxForward, load_tokenizer, run_padded

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LABELS: Final[tuple[SentimentLabel, ...]] = get_args(SentimentLabel)
_STARS: Final = re.compile(r"^([1-5])\s*stars?$")
_BY_STARS: Final[tuple[SentimentLabel, ...]] = ("negative", "negative", "neutral", "positive", "positive")


class TextSentimentClassifier:
    """A sequence classifier whose labels are tones; `onnx` and `transformers` make one from a model folder."""

    def __init__(
        self,
        name: str,
        forward: Forward,
        tokenizer: Tokenizer,
        labels: Sequence[str],
        *,
        max_length: int,
        pad_id: int = 0,
    ) -> None:
        """`forward` returns logits of shape (batch, len(labels)); raises `ModelError` for labels that are no tones."""
        self.name = name
        self._tones = [tone_of(label, labels) for label in labels]
        self._forward = forward
        self._pad_id = pad_id
        self._tokenizer = tokenizer
        self._tokenizer.enable_truncation(max_length)

    @classmethod
    def onnx(cls, folder: Path, *, threads: int = 0) -> TextSentimentClassifier:
        """A classifier in botkit's form; raises `ModelError`."""
        manifest = read_manifest(folder, "sentiment")
        return cls(
            manifest.identity,
            OnnxForward(folder / GRAPH, threads=threads),
            load_tokenizer(folder),
            manifest.labels,
            max_length=manifest.max_length,
            pad_id=int(read_model_config(folder).get("pad_token_id") or 0),
        )

    @classmethod
    def transformers(cls, folder: Path, *, threads: int = 0) -> TextSentimentClassifier:
        """Any `AutoModelForSequenceClassification`, run by torch; raises `MissingExtraError` or `ModelError`."""
        loaded = load_pretrained("AutoModelForSequenceClassification", folder, ("logits",), threads=threads)
        labels = [loaded.config.id2label[number] for number in range(len(loaded.config.id2label))]
        return cls(
            loaded.identity,
            loaded.forward,
            loaded.tokenizer,
            labels,
            max_length=loaded.max_length,
            pad_id=loaded.pad_id,
        )

    def classify(self, texts: Sequence[str]) -> list[Sentiment]:
        """One `Sentiment` per text, in order. A long text counts with its first tokens."""
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        return [self._sentiment(logits) for (logits,) in run_padded(self._forward, encodings, self._pad_id)]

    def _sentiment(self, logits: NDArray[np.float32]) -> Sentiment:
        shifted = np.exp(logits.astype(np.float64) - float(logits.max()))
        shares = shifted / shifted.sum()
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
