"""Text to vectors whose inner product is cosine similarity."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from botkit.errors import MissingExtraError, ModelError
from botkit.models.manifest import GRAPH, read_manifest, read_model_config
from botkit.models.pretrained import PURPOSE, identity, import_transformers
from botkit.models.runtime import OnnxForward, first_line, load_tokenizer, run_each

_AT_ONCE: Final = 256
"""Texts tokenised together: enough to be quick, few enough to stay small."""


class OnnxEncoder:
    """A sentence encoder in botkit's form.

    Its one output, `embedding`, is float32 of shape (batch, dimension), rows of length one. A text longer
    than the model's `max_length` counts with its first tokens.
    """

    def __init__(self, folder: Path, *, threads: int = 0) -> None:
        """Open the model of `folder`; raises `ModelError`."""
        manifest = read_manifest(folder, "encoder")
        self.name = manifest.identity
        self.dimension = int(read_model_config(folder).get("hidden_size", 0))
        self._tokenizer = load_tokenizer(folder)
        self._tokenizer.enable_truncation(manifest.max_length)
        self._pad_id = int(read_model_config(folder).get("pad_token_id") or 0)
        self._forward = OnnxForward(folder / GRAPH, threads=threads, one_each=True, shared=manifest.shared_file(folder))
        if self.dimension <= 0:
            raise ModelError(f"{folder / 'config.json'}: hidden_size is missing. Export the model again.")

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 of shape (len(texts), dimension), rows of length one."""
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
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
