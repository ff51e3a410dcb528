"""Keeps the derived indexes at the generation of the library."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from botkit.errors import LibraryError
from botkit.knowledge.lexical import LexicalIndex, discard
from botkit.knowledge.library import Library
from botkit.knowledge.types import Chunk
from botkit.knowledge.vectors import Batch, VectorIndex
from botkit.models import Encoder

_BATCH = 1_000
_ENCODING_BATCH = 32
_ENCODED_ON_THE_SPOT = 1_000
"""Chunks that are embedded again without asking when the encoder was changed; more need `botkit ingest --reindex`."""
_log = logging.getLogger(__name__)


class Indexes:
    """The lexical and the vector index of one library. Writing needs the library's write lock."""

    def __init__(self, folder: Path, library: Library) -> None:
        self.folder = folder
        self.library = library
        self.lexical = LexicalIndex(folder)
        self.vectors = VectorIndex(folder)

    def fresh(self, encoder: str) -> bool:
        """Whether both indexes are at the library's generation, with vectors of this encoder."""
        generation = self.library.generation()
        return (
            self.lexical.generation == generation
            and self.vectors.generation == generation
            and (self.vectors.encoder == encoder or not generation)
        )

    def reload(self) -> None:
        """See what another process wrote."""
        self.lexical.reload()
        self.vectors.reload()

    def catch_up(self, encoder: Callable[[], Encoder], *, name: str | None = None, patient: bool = False) -> None:
        """Bring both indexes to the library's generation.

        The encoder is loaded only where chunks lack its embeddings; `name` saves loading it just to know its name.
        Raises `LibraryError` where very many chunks must be embedded and the caller is not `patient`.
        """
        self.reload()
        name = encoder().name if name is None else name
        if self.vectors.encoder != name:
            self._embed_missing(encoder, patient)
        self._catch_up_lexical()
        self._catch_up_vectors(name)
        self.library.purge(min(self.lexical.generation, self.vectors.generation))

    def problems(self) -> list[str]:
        """What does not agree between the library and its indexes; empty where all is well."""
        self.reload()
        generation, wanted = self.library.generation(), set(self.library.chunk_ids())
        found = []
        for label, index in (("word", self.lexical), ("vector", self.vectors)):
            if index.generation != generation:
                found.append(f"the {label} index is at generation {index.generation}, the library at {generation}")
            elif index.ids() != wanted:
                found.append(f"the {label} index holds {len(index)} passages, the library {len(wanted)}")
        return found

    def _embed_missing(self, encoder: Callable[[], Encoder], patient: bool) -> None:
        model = encoder()
        missing = self.library.unembedded(model.name)
        if len(missing) > _ENCODED_ON_THE_SPOT and not patient:
            raise LibraryError(
                f"{len(missing)} passages have no vectors of the encoder {model.name!r} that the configuration names. "
                "Make them with: botkit ingest --reindex"
            )
        for start in range(0, len(missing), _BATCH):
            chunks = self.library.chunks(missing[start : start + _BATCH]).values()
            texts = [embedded_text(chunk) for chunk in chunks]
            self.library.put_vectors(embed({text_digest(text): text for text in texts}, model), model.name)

    def _catch_up_lexical(self) -> None:
        changes = self.library.changes(self.lexical.generation)
        if changes.generation != self.lexical.generation:
            added = (list(self.library.chunks(ids).values()) for ids in _batches(changes.added))
            self.lexical.update(changes.removed, added, changes.generation, anew=not changes.complete)

    def _catch_up_vectors(self, encoder: str) -> None:
        changes = self.library.changes(self.vectors.generation)
        if changes.generation == self.vectors.generation and self.vectors.encoder == encoder:
            return
        expected = self.library.count()[1]
        anew = not changes.complete or self.vectors.encoder != encoder or not self.vectors.suits(expected)
        ids = self.library.chunk_ids() if anew else changes.added
        added = self._vector_batches(ids, encoder)
        self.vectors.update(changes.removed, added, changes.generation, encoder, anew=anew, expected=expected)

    def _vector_batches(self, ids: Sequence[int], encoder: str) -> Iterator[Batch]:
        for batch in _batches(ids):
            vectors = self.library.vectors(batch, encoder)
            if vectors:
                yield np.fromiter(vectors, np.int64), np.stack(list(vectors.values()))


def open_indexes(folder: Path, library: Library, *, may_rebuild: bool) -> Indexes:
    """The indexes in a folder. A damaged one is discarded, to be built anew, where the caller holds the write lock."""
    try:
        return Indexes(folder, library)
    except LibraryError as error:
        if not may_rebuild:
            raise
        _log.warning("%s It is discarded and built anew now.", error)
        discard(folder)
        return Indexes(folder, library)


def embedded_text(chunk: Chunk) -> str:
    """What the encoder reads: the stored question of an FAQ entry, else title, heading path and text."""
    if chunk.question:
        return chunk.question
    names = [chunk.title, chunk.heading] if not chunk.heading.startswith(chunk.title) else [chunk.heading]
    return "\n".join([*(name for name in names if name), chunk.text])


def text_digest(text: str) -> bytes:
    """SHA-256 of a text, under which its embedding is kept."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def embed(texts: dict[bytes, str], encoder: Encoder) -> dict[bytes, NDArray[np.float32]]:
    """Embeddings by digest; texts of like length share a batch, which spares padding."""
    ordered = sorted(texts.items(), key=lambda item: len(item[1]))
    vectors: dict[bytes, NDArray[np.float32]] = {}
    for start in range(0, len(ordered), _ENCODING_BATCH):
        batch = ordered[start : start + _ENCODING_BATCH]
        rows = encoder.encode([text for _, text in batch])
        vectors |= {digest: row for (digest, _), row in zip(batch, rows, strict=True)}
    return vectors


def _batches(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), _BATCH):
        yield ids[start : start + _BATCH]
