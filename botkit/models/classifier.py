"""Texts into classes, whatever the labels: topics, spam, intents, tones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from botkit.errors import ModelError
from botkit.language import detect
from botkit.messages import Language
from botkit.models.manifest import GRAPH, is_botkit_folder, read_manifest, read_model_config
from botkit.models.pretrained import load_pretrained
from botkit.models.runtime import Forward, OnnxForward, load_tokenizer, run_each

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class TextClassifier:
    """A sequence classifier (Devlin et al. 2019); `load`, `onnx` and `transformers` make one from a model folder."""

    def __init__(
        self,
        name: str,
        forward: Forward,
        tokenizer: Tokenizer,
        labels: Sequence[str],
        *,
        max_length: int,
        pad_id: int = 0,
        companions: Mapping[Language, TextClassifier] | None = None,
    ) -> None:
        """`forward` returns logits of shape (batch, len(labels)).

        Texts in the language of one of the `companions` are read by that classifier too, and the mean of the logits counts.
        Raises `ModelError` for one with other labels.
        """
        self.name: str = name
        self.labels: tuple[str, ...] = tuple(labels)
        self._companions: dict[Language, TextClassifier] = dict(companions or {})
        for companion in self._companions.values():
            if companion.labels != self.labels:
                raise ModelError(
                    f"{companion.name}: its labels are {', '.join(companion.labels)}, those of {name}, whose companion it is, "
                    f"{', '.join(labels)}. Export a classifier with the same labels, in the same order."
                )
        self._forward = forward
        self._pad_id = pad_id
        self._tokenizer = tokenizer
        self._tokenizer.enable_truncation(max_length)

    @classmethod
    def load(cls, folder: Path, *, threads: int = 0) -> TextClassifier:
        """A classifier in botkit's form or in transformers'; raises `ModelError` or `MissingExtraError`."""
        return (cls.onnx if is_botkit_folder(folder) else cls.transformers)(folder, threads=threads)

    @classmethod
    def onnx(cls, folder: Path, *, threads: int = 0) -> TextClassifier:
        """A classifier in botkit's form; raises `ModelError`."""
        manifest = read_manifest(folder)
        if manifest.role not in ("classifier", "sentiment"):
            raise ModelError(f"{folder}: this model is a {manifest.role}, not a classifier.")
        with ThreadPoolExecutor() as pool:  # opening a graph takes one core a tenth of a second
            companions = {
                language: pool.submit(cls.onnx, folder / inside, threads=threads)
                for language, inside in manifest.companions.items()
            }
            forward = OnnxForward(folder / GRAPH, threads=threads, one_each=True, shared=manifest.shared_file(folder))
            tokenizer = load_tokenizer(folder)
        return cls(
            manifest.identity,
            forward,
            tokenizer,
            manifest.labels,
            max_length=manifest.max_length,
            pad_id=int(read_model_config(folder).get("pad_token_id") or 0),
            companions={language: opening.result() for language, opening in companions.items()},
        )

    @classmethod
    def transformers(cls, folder: Path, *, threads: int = 0) -> TextClassifier:
        """Any `AutoModelForSequenceClassification`, run by torch; raises `MissingExtraError` or `ModelError`."""
        loaded = load_pretrained("AutoModelForSequenceClassification", folder, ("logits",), threads=threads)
        return cls(
            loaded.identity,
            loaded.forward,
            loaded.tokenizer,
            [loaded.config.id2label[number] for number in range(len(loaded.config.id2label))],
            max_length=loaded.max_length,
            pad_id=loaded.pad_id,
        )

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Probabilities of shape (texts, labels), in order. A long text counts with its first tokens."""
        logits = self._logits(texts)
        for language, companion in self._companions.items():
            places = [place for place, text in enumerate(texts) if detect(text) == language]
            logits[places] = (logits[places] + companion._logits([texts[place] for place in places])) / 2
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
        return shares

    def _logits(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """What this classifier alone says, of shape (texts, labels)."""
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        rows = [row for (row,) in run_each(self._forward, encodings, self._pad_id)]
        return np.stack(rows).astype(np.float64) if rows else np.zeros((0, len(self.labels)))
