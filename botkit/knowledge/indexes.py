"""Keeps the derived indexes at the generation of the library."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from botkit.errors import LibraryError
from botkit.knowledge.lexical import LexicalIndex, discard
from botkit.knowledge.library import Library
from botkit.knowledge.types import Chunk
from botkit.knowledge.vectors import Batch, VectorIndex
from botkit.models import Encoder
from botkit.models.vectors import cosines
from botkit.sentences import sentences

_BATCH = 1_000
_ENCODING_BATCH = 32
_SHORTEST_SENTENCE = 4
_MOST_SENTENCES = 16
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

    @property
    def current(self) -> bool:
        """Whether both indexes are at the library's generation, whichever encoder made the vectors."""
        self.reload()
        return self.lexical.generation == self.vectors.generation == self.library.generation()

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
            self.library.put_vectors(embed(chunks, model), model.name)

    def _catch_up_lexical(self) -> None:
        changes = self.library.changes(self.lexical.generation)
        if changes.generation != self.lexical.generation:
            added = (list(self.library.chunks(ids).values()) for ids in _batches(changes.added))
            self.lexical.update(changes.removed, added, changes.generation, anew=not changes.complete)

    def _catch_up_vectors(self, encoder: str) -> None:
        changes = self.library.changes(self.vectors.generation)
        if changes.generation == self.vectors.generation and self.vectors.encoder == encoder:
            return
        expected = self.library.vector_count(encoder)
        anew = not changes.complete or self.vectors.encoder != encoder or not self.vectors.suits(expected)
        ids = self.library.chunk_ids() if anew else changes.added
        added = self._vector_batches(ids, encoder)
        self.vectors.update(changes.removed, added, changes.generation, encoder, anew=anew, expected=expected)

    def _vector_batches(self, ids: Sequence[int], encoder: str) -> Iterator[Batch]:
        for batch in _batches(ids):
            vectors = self.library.vectors(batch, encoder)
            if vectors:
                counts = [len(rows) for rows in vectors.values()]
                yield np.repeat(np.fromiter(vectors, np.int64), counts), np.concatenate(list(vectors.values()))


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


def embedded_texts(chunk: Chunk) -> list[str]:
    """What a chunk's embeddings are made of: the whole of it, then its sentences.

    The mean of a passage hides a fact that is one sentence of it: with the best sentence beside the whole, questions in other
    words than the document's find their passage far more often (docs/architecture.md has the figures).
    """
    whole = embedded_text(chunk)
    if chunk.question:
        return [whole]
    found = (chunk.text[start:end] for start, end in sentences(chunk.text))
    return [whole, *list(dict.fromkeys(text for text in found if len(text) >= _SHORTEST_SENTENCE))[:_MOST_SENTENCES]]


def embed(
    chunks: Iterable[Chunk], encoder: Encoder, between: Callable[[], None] = lambda: None
) -> dict[bytes, NDArray[np.float32]]:
    """Embeddings of shape (1 + sentences, dimension) by digest; texts of like length are encoded together, which spares a torch model padding.

    `between` is called before each group of texts; what it raises ends the work.
    """
    texts = {text_digest(embedded_text(chunk)): embedded_texts(chunk) for chunk in chunks}
    ordered = sorted({text for parts in texts.values() for text in parts}, key=len)
    vectors: dict[str, NDArray[np.float32]] = {}
    for start in range(0, len(ordered), _ENCODING_BATCH):
        between()
        batch = ordered[start : start + _ENCODING_BATCH]
        vectors |= zip(batch, encoder.encode(batch), strict=True)
    return {digest: np.stack([vectors[text] for text in parts]) for digest, parts in texts.items()}


def similarity(rows: NDArray[np.float32], query: NDArray[np.float32], common: int) -> float:
    """Cosine similarity of a chunk, given its embeddings: the mean of that of the whole and of its best sentence.

    `common` is as in `cosines`.
    """
    near = cosines(rows, query, common)
    return float(near[0] + near[1:].max(initial=near[0] if len(near) == 1 else -1.0)) / 2


def _batches(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), _BATCH):
        yield ids[start : start + _BATCH]
