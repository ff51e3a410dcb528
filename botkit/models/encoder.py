"""Text to vectors whose inner product is cosine similarity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from botkit.errors import MissingExtraError, ModelError
from botkit.language import detect
from botkit.messages import Language
from botkit.models.manifest import GRAPH, read_manifest, read_model_config
from botkit.models.pretrained import PURPOSE, identity, import_transformers
from botkit.models.runtime import OnnxForward, first_line, load_tokenizer, run_each

_AT_ONCE: Final = 256
"""Texts tokenised together: enough to be quick, few enough to stay small."""


class OnnxEncoder:
    """A sentence encoder in botkit's form.

    The one output of its graph, `embedding`, is float32 of shape (batch, width), rows of length one. A text longer
    than the model's `max_length` counts with its first tokens.

    Where the manifest names companions, a text in the language of one is embedded by that encoder too, and both vectors stand side by side
    in one of length one: the cosine of two such texts is the weighted mean of both encoders' cosines (`Manifest.companion_share`).
    Between a text with a companion and one without, the encoder alone tells, on a scale that is shorter by the root of its own part;
    `botkit.models.vectors.cosines` undoes that for a question without a companion.
    """

    def __init__(self, folder: Path, *, threads: int = 0) -> None:
        """Open the model of `folder`, and its companions; raises `ModelError`."""
        manifest = read_manifest(folder, "encoder")
        self._width = int(read_model_config(folder).get("hidden_size", 0))
        self._pad_id = int(read_model_config(folder).get("pad_token_id") or 0)
        with ThreadPoolExecutor() as pool:  # opening a graph takes one core a tenth of a second
            companions = {
                language: pool.submit(OnnxEncoder, folder / inside, threads=threads)
                for language, inside in manifest.companions.items()
            }
            self._forward = OnnxForward(
                folder / GRAPH, threads=threads, one_each=True, shared=manifest.shared_file(folder)
            )
            self._tokenizer = load_tokenizer(folder)
        self._tokenizer.enable_truncation(manifest.max_length)
        if self._width <= 0:
            raise ModelError(f"{folder / 'config.json'}: hidden_size is missing. Export the model again.")
        self._companions: dict[Language, OnnxEncoder] = {
            language: opening.result() for language, opening in companions.items()
        }
        self._share = manifest.companion_share
        beside = "".join(f" + {self._share:g} {one.name}" for one in self._companions.values())
        self.name: str = f"{manifest.identity}{beside}"
        self.common: int = self._width
        """Columns that the vectors of all texts have (see `botkit.models.vectors`)."""
        self.dimension: int = self._width + sum(one.dimension for one in self._companions.values())

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 of shape (len(texts), dimension), rows of length one."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        vectors[:, : self._width] = self._alone(texts)
        begin = self._width
        for language, companion in self._companions.items():
            end = begin + companion.dimension
            places = [place for place, text in enumerate(texts) if detect(text) == language]
            if places:
                vectors[places, : self._width] *= math.sqrt(1 - self._share)
                vectors[places, begin:end] = math.sqrt(self._share) * companion.encode([texts[i] for i in places])
            begin = end
        return vectors

    def _alone(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """What this encoder without its companions says, of shape (texts, width)."""
        vectors = np.empty((len(texts), self._width), dtype=np.float32)
        for begin in range(0, len(texts), _AT_ONCE):
            encodings = self._tokenizer.encode_batch_fast(list(texts[begin : begin + _AT_ONCE]))
            for i, (vector,) in enumerate(run_each(self._forward, encodings, self._pad_id), begin):
                vectors[i] = vector
        return vectors


class SentenceTransformerEncoder:
    """Any sentence-transformers model, run by torch; a plain transformers encoder is mean-pooled."""

    def __init__(self, folder: Path, *, threads: int = 0) -> None:
        """Load `folder`; raises `MissingExtraError` or, where it holds no encoder, `ModelError`."""
        import_transformers(threads)
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingExtraError(PURPOSE, "torch") from error
        self.name = identity(folder)
        try:
            self._model: Any = SentenceTransformer(str(folder), local_files_only=True)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(f"{folder}: sentence-transformers cannot load it ({first_line(error)}).") from error
        self.dimension = int(self._model.encode(["dimension"], show_progress_bar=False).shape[1])

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 of shape (len(texts), dimension), rows of length one."""
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        vectors = self._model.encode(
            list(texts), normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
        )
        return np.asarray(vectors, dtype=np.float32)
