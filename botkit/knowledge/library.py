"""The library: documents, chunks and embeddings in one SQLite file, which is the truth.

Every write makes a new generation. The search indexes are derived: each carries the generation it was made
from, asks `changes` what happened since, and catches up. A chunk that was replaced or removed stays,
marked with the generation in which it died, until the indexes have caught up (`purge`), so that another process
that still searches an older index finds the old state whole.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from botkit.errors import LibraryError
from botkit.knowledge.types import Chunk, Document, FaqEntry, Page, SearchFilter
from botkit.messages import Language

SCHEMA_VERSION = 2
_PARAMETERS_AT_ONCE = 500
_SCHEMA = """
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE roots (
    path TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, tags TEXT NOT NULL, language TEXT
) WITHOUT ROWID;
CREATE TABLE documents (
    id TEXT PRIMARY KEY, path TEXT NOT NULL UNIQUE, title TEXT NOT NULL, language TEXT NOT NULL, digest TEXT NOT NULL,
    media_type TEXT NOT NULL, tags TEXT NOT NULL, pages TEXT NOT NULL, faq TEXT NOT NULL, text TEXT NOT NULL,
    recipe TEXT NOT NULL, ingested_at TEXT NOT NULL
);
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, document TEXT NOT NULL, title TEXT NOT NULL, heading TEXT NOT NULL,
    page INTEGER, start INTEGER NOT NULL, end INTEGER NOT NULL, text TEXT NOT NULL, language TEXT NOT NULL,
    tags TEXT NOT NULL, kind TEXT NOT NULL, question TEXT NOT NULL, digest BLOB NOT NULL,
    born INTEGER NOT NULL, died INTEGER
);
CREATE INDEX chunks_by_document ON chunks (document);
CREATE INDEX chunks_by_birth ON chunks (born);
CREATE INDEX chunks_by_death ON chunks (died) WHERE died IS NOT NULL;
CREATE INDEX chunks_by_digest ON chunks (digest);
CREATE TABLE embeddings (
    digest BLOB NOT NULL, encoder TEXT NOT NULL, vector BLOB NOT NULL, rows INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (digest, encoder)
) WITHOUT ROWID;
"""
_CHUNK_COLUMNS = "id, document, title, heading, page, start, end, text, language, tags, kind, question"


@dataclass(frozen=True, slots=True)
class Root:
    """An ingested folder or single file: `name` begins the ids of its documents, tags and language are theirs too."""

    path: str
    name: str
    tags: tuple[str, ...] = ()
    language: Language | None = None


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """A line of the list of documents. `characters` is the length of the text, `chunks` the number of passages."""

    id: str
    path: str
    title: str
    language: Language
    media_type: str
    tags: tuple[str, ...]
    characters: int
    chunks: int
    pages: int
    ingested_at: str

    def as_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        from dataclasses import asdict

        return asdict(self)


@dataclass(frozen=True, slots=True)
class Entry:
    """A document ready to be written: its chunks, and for each the digest of the text that was embedded.

    `recipe` names the settings it was cut with: another recipe means that the document must be cut again.
    """

    document: Document
    chunks: Sequence[Chunk]
    digests: Sequence[bytes]
    recipe: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What an index made at some generation must do to reach `generation`: ids of chunks to drop and to add.

    `complete` is False where the history does not reach back so far: the index must be built anew from `added`.
    """

    generation: int
    added: tuple[int, ...]
    removed: tuple[int, ...]
    complete: bool = True


class Library:
    """One SQLite file (WAL). Thread-safe: one connection behind a lock; other processes may read and write too.

    Raises `LibraryError` where the file cannot be opened or was written by a newer botkit.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._create()
        except (sqlite3.Error, OSError) as error:
            raise LibraryError(
                f"The knowledge library {path} cannot be opened: {error}. Check the folder's permissions and free space; "
                "if the file is damaged, delete it and run `botkit ingest` again."
            ) from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    # ---- reading --------------------------------------------------------------------------------------------------

    def generation(self) -> int:
        """The number of the last write; 0 for an empty library."""
        return int(self.note("generation") or 0)

    def note(self, name: str) -> str | None:
        """A remembered value."""
        row = self._one("SELECT value FROM notes WHERE name = ?", (name,))
        return None if row is None else str(row[0])

    def roots(self) -> list[Root]:
        """The ingested folders and files."""
        rows = self._all("SELECT path, name, tags, language FROM roots ORDER BY path")
        return [Root(path, name, tuple(json.loads(tags)), language) for path, name, tags, language in rows]

    def documents(self) -> list[DocumentInfo]:
        """All documents, by id."""
        rows = self._all(
            "SELECT id, path, title, language, media_type, tags, length(text), "
            "(SELECT count(*) FROM chunks WHERE document = documents.id AND died IS NULL), "
            "json_array_length(pages), ingested_at FROM documents ORDER BY id"
        )
        return [
            DocumentInfo(id, path, title, language, media_type, tuple(json.loads(tags)), characters, chunks, pages, at)
            for id, path, title, language, media_type, tags, characters, chunks, pages, at in rows
        ]

    def count(self) -> tuple[int, int]:
        """Numbers of documents and of living chunks."""
        row = self._one("SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM chunks WHERE died IS NULL)")
        assert row is not None
        return int(row[0]), int(row[1])

    def document(self, id: str) -> Document:
        """One document. Raises `LibraryError` where there is none of this id."""
        row = self._one(
            "SELECT id, path, title, text, language, digest, media_type, tags, pages, faq FROM documents WHERE id = ?",
            (id,),
        )
        if row is None:
            raise LibraryError(f"There is no document {id!r}. `botkit knowledge list` shows the documents.")
        id, path, title, text, language, digest, media_type, tags, pages, faq = row
        return Document(
            id,
            path,
            title,
            text,
            language,
            digest,
            media_type,
            tuple(json.loads(tags)),
            tuple(Page(*page) for page in json.loads(pages)),
            tuple(
                FaqEntry(question, answer, start, end, tuple(own))
                for question, answer, start, end, own in json.loads(faq)
            ),
        )

    def fingerprints(self, path: str) -> dict[str, tuple[str, str, str]]:
        """Path to (id, digest, recipe) of the documents that were read from `path` or from below it."""
        below = path.rstrip("/\\")
        rows = self._all("SELECT path, id, digest, recipe FROM documents")
        return {
            row[0]: (row[1], row[2], row[3])
            for row in rows
            if row[0] == path or row[0].startswith((below + "/", below + "\\"))
        }

    def chunks(self, ids: Sequence[int]) -> dict[int, Chunk]:
        """The chunks of these ids that exist, dead ones that were not purged yet included."""
        return {row[0]: _chunk(row) for row in self._by_ids(f"SELECT {_CHUNK_COLUMNS} FROM chunks WHERE id IN", ids)}

    def document_chunks(self, document: str) -> list[Chunk]:
        """A document's living chunks in the order of its text."""
        rows = self._all(
            f"SELECT {_CHUNK_COLUMNS} FROM chunks WHERE document = ? AND died IS NULL ORDER BY start, id", (document,)
        )
        return [_chunk(row) for row in rows]

    def tags(self) -> list[str]:
        """All tags of living chunks: those of their documents, and an FAQ entry's own."""
        rows = self._all("SELECT DISTINCT tags FROM chunks WHERE died IS NULL")
        return sorted({tag for (tags,) in rows for tag in json.loads(tags)})

    def vectors(self, ids: Sequence[int], encoder: str) -> dict[int, NDArray[np.float32]]:
        """Chunk id to embeddings of shape (1 + sentences, dimension), for those that this encoder has embedded."""
        rows = self._by_ids(
            "SELECT chunks.id, vector, rows FROM chunks JOIN embeddings ON embeddings.digest = chunks.digest "
            "AND embeddings.encoder = ? WHERE chunks.id IN",
            ids,
            encoder,
        )
        return {row[0]: np.frombuffer(row[1], np.float16).astype(np.float32).reshape(row[2], -1) for row in rows}

    def vector_count(self, encoder: str) -> int:
        """Number of embeddings of this encoder that the living chunks have together."""
        row = self._one(
            "SELECT SUM(rows) FROM chunks JOIN embeddings ON embeddings.digest = chunks.digest "
            "AND embeddings.encoder = ? WHERE died IS NULL",
            (encoder,),
        )
        return int(row[0] or 0) if row else 0

    def missing_embeddings(self, digests: Sequence[bytes], encoder: str) -> set[bytes]:
        """Those digests that this encoder has not embedded yet."""
        known = self._by_ids("SELECT digest FROM embeddings WHERE encoder = ? AND digest IN", digests, encoder)
        return set(digests) - {row[0] for row in known}

    def unembedded(self, encoder: str) -> list[int]:
        """Ids of the living chunks that this encoder has not embedded."""
        rows = self._all(
            "SELECT id FROM chunks WHERE died IS NULL AND NOT EXISTS "
            "(SELECT 1 FROM embeddings WHERE embeddings.digest = chunks.digest AND encoder = ?)",
            (encoder,),
        )
        return [row[0] for row in rows]

    def chunk_ids(self, where: SearchFilter | None = None) -> list[int]:
        """Ids of the living chunks that a filter lets through."""
        conditions, values = ["died IS NULL"], list[Any]()
        if where is not None and where.documents:
            conditions.append("document IN (SELECT value FROM json_each(?))")
            values.append(json.dumps(where.documents))
        if where is not None and where.tags:
            conditions.append(
                "EXISTS (SELECT 1 FROM json_each(chunks.tags) AS tag "
                "WHERE tag.value IN (SELECT value FROM json_each(?)))"
            )
            values.append(json.dumps(where.tags))
        if where is not None and where.language:
            conditions.append("language = ?")
            values.append(where.language)
        rows = self._all(f"SELECT id FROM chunks WHERE {' AND '.join(conditions)} ORDER BY id", values)
        return [row[0] for row in rows]

    def changes(self, since: int) -> Changes:
        """What happened after the generation `since`."""
        with self._lock, self._transaction("DEFERRED"):
            generation = self.generation()
            complete = int(self.note("purged") or 0) <= since <= generation
            start = since if complete else 0
            added = self._all("SELECT id FROM chunks WHERE born > ? AND died IS NULL ORDER BY id", (start,))
            removed = (
                self._all("SELECT id FROM chunks WHERE died > ? AND born <= ?", (start, start)) if complete else []
            )
        return Changes(generation, tuple(row[0] for row in added), tuple(row[0] for row in removed), complete)

    # ---- writing --------------------------------------------------------------------------------------------------

    def put(self, entries: Sequence[Entry], vectors: Mapping[bytes, NDArray[np.float32]], encoder: str) -> int:
        """Write documents with their chunks and embeddings, all or none; return the new generation.

        A document already there is replaced. Chunks that did not change get new ids as well.
        """
        with self._lock, self._transaction("IMMEDIATE"):
            generation = self._advance()
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            for entry in entries:
                self._bury(entry.document.id, generation)
                self._write(entry, generation, now)
            self._store_vectors(vectors, encoder)
        return generation

    def put_vectors(self, vectors: Mapping[bytes, NDArray[np.float32]], encoder: str) -> None:
        """Write embeddings of chunks that are there, for another encoder than they were ingested with."""
        with self._lock, self._transaction("IMMEDIATE"):
            self._store_vectors(vectors, encoder)

    def remove(self, ids: Iterable[str]) -> int:
        """Forget documents; return the new generation, or the present one where there are none to forget."""
        with self._lock, self._transaction("IMMEDIATE"):
            known = [id for id in ids if self._one("SELECT 1 FROM documents WHERE id = ?", (id,))]
            if not known:
                return self.generation()
            generation = self._advance()
            for id in known:
                self._bury(id, generation)
        return generation

    def put_root(self, root: Root) -> None:
        """Remember an ingested folder or file."""
        with self._lock:
            self._connection.execute(
                "INSERT OR REPLACE INTO roots VALUES (?, ?, ?, ?)",
                (root.path, root.name, json.dumps(root.tags, ensure_ascii=False), root.language),
            )

    def put_note(self, name: str, value: str) -> None:
        """Remember a value."""
        with self._lock:
            self._connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, value))

    def purge(self, generation: int) -> None:
        """Forget the dead chunks that no index at `generation` or later can name, and embeddings of no chunk."""
        with self._lock, self._transaction("IMMEDIATE"):
            dead = self._connection.execute("DELETE FROM chunks WHERE died <= ?", (generation,)).rowcount
            if dead:
                self.put_note("purged", str(generation))
                self._connection.execute("DELETE FROM embeddings WHERE digest NOT IN (SELECT digest FROM chunks)")

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _create(self) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            with self._transaction("IMMEDIATE"):
                if self._connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                    for statement in _SCHEMA.split(";"):
                        self._connection.execute(statement)
                    self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif version == 1:
            with self._transaction("IMMEDIATE"):
                if self._connection.execute("PRAGMA user_version").fetchone()[0] == 1:
                    self._connection.execute("ALTER TABLE embeddings ADD COLUMN rows INTEGER NOT NULL DEFAULT 1")
                    self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif version > SCHEMA_VERSION:
            raise LibraryError(
                f"The knowledge library {self.path} was written by a newer botkit (format {version}, this botkit knows "
                f"{SCHEMA_VERSION}). Upgrade botkit, or use another folder with --home."
            )

    @contextmanager
    def _transaction(self, mode: str) -> Iterator[None]:
        self._connection.execute(f"BEGIN {mode}")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def _advance(self) -> int:
        generation = self.generation() + 1
        self.put_note("generation", str(generation))
        return generation

    def _bury(self, id: str, generation: int) -> None:
        self._connection.execute("UPDATE chunks SET died = ? WHERE document = ? AND died IS NULL", (generation, id))
        self._connection.execute("DELETE FROM documents WHERE id = ?", (id,))

    def _write(self, entry: Entry, generation: int, now: str) -> None:
        document = entry.document
        self._connection.execute(
            "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                document.id,
                document.path,
                document.title,
                document.language,
                document.digest,
                document.media_type,
                json.dumps(document.tags, ensure_ascii=False),
                json.dumps([(page.number, page.start, page.end) for page in document.pages]),
                json.dumps(
                    [(item.question, item.answer, item.start, item.end, item.tags) for item in document.faq],
                    ensure_ascii=False,
                ),
                document.text,
                entry.recipe,
                now,
            ),
        )
        self._connection.executemany(
            "INSERT INTO chunks (document, title, heading, page, start, end, text, language, tags, kind, question, digest, born) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    chunk.document,
                    chunk.title,
                    chunk.heading,
                    chunk.page,
                    chunk.start,
                    chunk.end,
                    chunk.text,
                    chunk.language,
                    json.dumps(chunk.tags, ensure_ascii=False),
                    chunk.kind,
                    chunk.question,
                    digest,
                    generation,
                )
                for chunk, digest in zip(entry.chunks, entry.digests, strict=True)
            ],
        )

    def _store_vectors(self, vectors: Mapping[bytes, NDArray[np.float32]], encoder: str) -> None:
        """Half precision: it moves a cosine by less than 0.0005 and halves the file."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO embeddings (digest, encoder, vector, rows) VALUES (?, ?, ?, ?)",
            [
                (digest, encoder, rows.astype(np.float16).tobytes(), len(rows))
                for digest, rows in ((digest, np.atleast_2d(vector)) for digest, vector in vectors.items())
            ],
        )

    def _one(self, statement: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        with self._lock:
            row: tuple[Any, ...] | None = self._connection.execute(statement, values).fetchone()
            return row

    def _all(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    def _by_ids(self, statement: str, ids: Sequence[Any], *values: Any) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        for start in range(0, len(ids), _PARAMETERS_AT_ONCE):
            batch = ids[start : start + _PARAMETERS_AT_ONCE]
            rows += self._all(f"{statement} ({', '.join('?' * len(batch))})", (*values, *batch))
        return rows


def _chunk(row: Sequence[Any]) -> Chunk:
    id, document, title, heading, page, start, end, text, language, tags, kind, question = row
    return Chunk(
        id, document, title, heading, page, start, end, text, language, tuple(json.loads(tags)), kind, question
    )
