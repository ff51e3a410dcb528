"""The knowledge of a bot: one object over library, indexes, ingest and search."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botkit.config import KnowledgeConfig, Paths, RetrievalConfig, Settings
from botkit.errors import LibraryBusyError, LibraryError
from botkit.knowledge.library import DocumentInfo, Library
from botkit.knowledge.types import Chunk, Document, Hit, SearchFilter
from botkit.messages import Language
from botkit.models import Encoder
from botkit.text import nearest

if TYPE_CHECKING:
    import numpy as np
    from filelock import FileLock
    from numpy.typing import NDArray

    from botkit.knowledge.indexes import Indexes
    from botkit.knowledge.ingest import IngestReport, Progress

BUILTIN_NAME = "knowledge"
"""First part of the ids of the documents that ship with botkit."""
_CATCH_UP_EVERY = 5_000
"""Chunks after which a long ingest lets the indexes follow, so that other processes see the documents."""
_WAIT_S = 5.0
_LOOK_AGAIN_S = 1.0
"""How often a watch looks for folders that were replaced as a whole, of which the system tells nothing."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KnowledgeStats:
    """Sizes of the library; `bytes` counts the library file and the indexes."""

    documents: int
    chunks: int
    characters: int
    languages: dict[str, int]
    tags: dict[str, int]
    generation: int
    encoder: str
    bytes: int

    def as_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        from dataclasses import asdict

        return asdict(self)


@dataclass(frozen=True, slots=True)
class KnowledgeCheck:
    """Whether library and indexes agree, and in words what does not."""

    ok: bool
    documents: int
    chunks: int
    problems: list[str] = field(default_factory=list)
    writing: bool = False
    """Another process is writing; the indexes follow what it wrote when it is done."""


def builtin_knowledge_path() -> Path | None:
    """The folder of the documents that ship with botkit; None where they were left out of the installation."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "_knowledge", package.parent / "knowledge"):
        if folder.is_dir():
            return folder
    return None


class Knowledge:
    """Finds passages, and keeps the library up to date.

    Nothing is opened before it is needed, and ingest's converters are not imported for a search. Thread-safe. `encoder`
    returns the (cached) model; `count_tokens` measures texts in the reader's tokens.
    """

    def __init__(
        self,
        paths: Paths,
        *,
        encoder: Callable[[], Encoder],
        count_tokens: Callable[[Sequence[str]], list[int]],
        config: KnowledgeConfig,
        retrieval: RetrievalConfig,
    ) -> None:
        self.paths = paths
        self.config = config
        self.retrieval = retrieval
        self._encoder = encoder
        self._count_tokens = count_tokens
        self._lock = threading.RLock()
        self._library: Library | None = None
        self._indexes: Indexes | None = None
        self._prepared = False
        self._preparing = threading.Lock()
        self._file_lock: FileLock | None = None

    # ---- searching ------------------------------------------------------------------------------------------------

    def search(self, query: str, k: int, *, where: SearchFilter | None = None) -> list[Hit]:
        """Up to `k` passages, best first; what another process has ingested meanwhile is found as well.

        On first use in a new home the documents that ship with botkit are ingested.
        """
        from botkit.knowledge.retriever import HybridRetriever

        self.prepare()
        encoder = self._encoder()
        return HybridRetriever(self._fresh_indexes(encoder), encoder, self.retrieval).search(query, k, where=where)

    def embeddings(self, hits: Sequence[Hit]) -> dict[str, NDArray[np.float32]]:
        """The vectors that the library keeps of these passages, by what each is of: a passage or a stored question, and the sentences."""
        from botkit.knowledge.indexes import embedded_texts

        stored = self.library.vectors([hit.chunk.id for hit in hits], self._encoder().name)
        found: dict[str, NDArray[np.float32]] = {}
        for hit in hits:
            texts, rows = embedded_texts(hit.chunk), stored.get(hit.chunk.id)
            # another number was made by a version that cut sentences differently
            if rows is not None and len(texts) == len(rows):
                found.update(zip(texts, rows, strict=True))
        return found

    def prepare(self, progress: Callable[[Progress], None] | None = None) -> None:
        """Ingest what ships with botkit and the configuration's `knowledge.paths`; later calls do nothing.

        Where an earlier process was killed between its last write and the indexes, they catch up here.
        """
        with self._preparing:
            if self._prepared:
                return
            self._mend()
            if self.config.include_builtin:
                self.ensure_builtin(progress)
            else:
                self._forget_builtin()
            there = [path for path in self.config.paths if self._present_or_known(path)]
            for path in self.config.paths:
                if path not in there:
                    _log.warning("knowledge.paths: there is no file or folder %s", path)
            if there:
                self.ingest(there, progress=progress)
            self._prepared = True

    def _mend(self) -> None:
        """Let the indexes catch up with the library, unless another process is writing, which does so itself."""
        with contextlib.suppress(LibraryBusyError):
            if not self._open_indexes().current:
                with self._writing(wait_s=0):
                    self._catch_up(known_encoder=True)

    def _being_written(self) -> bool:
        try:
            with self._writing(wait_s=0):
                return False
        except LibraryBusyError:
            return True

    def _fresh_indexes(self, encoder: Encoder) -> Indexes:
        with self._lock:
            indexes = self._open_indexes()
            if not indexes.fresh(encoder.name):
                try:
                    with self._writing(wait_s=0):
                        indexes.catch_up(self._encoder, name=encoder.name)
                except LibraryBusyError:
                    indexes.reload()  # the writer's own catch-up, so far as it has come
            return indexes

    # ---- documents ------------------------------------------------------------------------------------------------

    def documents(self) -> list[DocumentInfo]:
        """All documents, by id."""
        return self.library.documents()

    def document(self, id: str) -> Document:
        """One document with its text. Raises `LibraryError` where there is none of this id."""
        return self.library.document(id)

    def chunks(self, document: str) -> list[Chunk]:
        """The passages of a document in the order of its text. Raises `LibraryError` for an unknown id."""
        self.library.document(document)
        return self.library.document_chunks(document)

    def check_filter(self, documents: Sequence[str], tags: Sequence[str]) -> None:
        """Raise `LibraryError` for a document or a tag that nothing has: a search among them finds nothing."""
        known = {info.id for info in self.documents()}
        for id in documents:
            if id not in known:
                raise LibraryError(f"There is no document {id!r}.{_nearest(id, known)} See: botkit knowledge list")
        if tags:
            used = self.library.tags()
            for tag in tags:
                if tag not in used:
                    raise LibraryError(
                        f"No document has the tag {tag!r}.{_nearest(tag, used)} See: botkit knowledge stats"
                    )

    def remove(self, ids: Sequence[str]) -> list[str]:
        """Forget documents; return their ids. An id that ends in "/" stands for all documents below it.

        The files stay where they are: ingesting them again brings them back, except those that ship with botkit. Raises
        `LibraryError` for an unknown id; then nothing is removed.
        """
        with self._writing():
            known = [info.id for info in self.library.documents()]
            found: dict[str, None] = {}
            for id in ids:
                matching = [name for name in known if name == id or (id.endswith("/") and name.startswith(id))]
                if not matching:
                    hint = (
                        f" Did you mean {id + '/'!r}, all below it?"
                        if any(n.startswith(f"{id}/") for n in known)
                        else ""
                    )
                    raise LibraryError(
                        f"There is no document {id!r}.{hint or _nearest(id, known)} `botkit knowledge list` shows the documents."
                    )
                found.update(dict.fromkeys(matching))
            removed = list(found)
            self.library.remove(removed)
            shipped = {id for id in removed if id.startswith(f"{BUILTIN_NAME}/")}
            if shipped:
                self.library.put_note("builtin_removed", json.dumps(sorted(self._removed_builtins() | shipped)))
            self._catch_up()
        return removed

    def stats(self) -> KnowledgeStats:
        """Sizes and counts."""
        infos = self.library.documents()
        files = [*self.paths.home.glob(f"{self.paths.library.name}*"), *self.paths.indexes.rglob("*")]
        return KnowledgeStats(
            documents=len(infos),
            chunks=sum(info.chunks for info in infos),
            characters=sum(info.characters for info in infos),
            languages=_counts([info.language for info in infos]),
            tags=_counts([tag for info in infos for tag in info.tags]),
            generation=self.library.generation(),
            encoder=self._open_indexes().vectors.encoder,
            bytes=sum(file.stat().st_size for file in files if file.is_file()),
        )

    def check(self) -> KnowledgeCheck:
        """Whether the library and its indexes agree; while another process writes, they are behind and nothing is wrong."""
        documents, chunks = self.library.count()
        problems = self._open_indexes().problems()
        if problems and self._being_written():
            return KnowledgeCheck(True, documents, chunks, writing=True)
        return KnowledgeCheck(not problems, documents, chunks, problems)

    # ---- ingest ---------------------------------------------------------------------------------------------------

    def ingest(
        self,
        paths: Sequence[Path],
        *,
        tags: Sequence[str] = (),
        language: Language | None = None,
        dry_run: bool = False,
        reindex: bool = False,
        progress: Callable[[Progress], None] | None = None,
    ) -> IngestReport:
        """Bring the library to the state of these files and folders: new and edited ones are read, deleted ones forgotten.

        `reindex` also makes the vectors that the present encoder lacks. Raises `LibraryError` where a path does not exist or
        another process is writing.
        """
        return self._ingest(paths, {"tags": tags, "language": language}, dry_run, reindex, progress)

    def ensure_builtin(self, progress: Callable[[Progress], None] | None = None) -> IngestReport | None:
        """Ingest the documents that ship with botkit where they are new or were changed by an upgrade.

        Those that a user removed stay away. None where there was nothing to do.
        """
        folder = builtin_knowledge_path()
        if folder is None:
            return None
        state = _folder_state(folder)
        if self.library.note("builtin") == state:
            return None
        options: dict[str, Any] = {"name": BUILTIN_NAME, "leave_out": frozenset(self._removed_builtins())}
        report = self._ingest([folder], options, False, False, progress)
        self.library.put_note("builtin", state)
        return report

    def _forget_builtin(self) -> None:
        """Take the documents that ship with botkit out again; they come back when the setting does."""
        if not self.library.note("builtin"):
            return
        with self._writing():
            ids = [info.id for info in self.library.documents() if info.id.startswith(f"{BUILTIN_NAME}/")]
            self.library.remove(ids)
            self.library.put_note("builtin", "")
            self._catch_up()

    def watch(self, paths: Sequence[Path], *, stop: threading.Event | None = None) -> Iterator[IngestReport]:
        """Follow changes below these paths: one report for each batch of changes, until `stop` is set.

        What another process keeps from being written is tried again, and a path that is away for a while, or replaced as a
        whole, is followed again when it is there.
        """
        ended = stop or threading.Event()
        tops = [path.absolute() for path in paths]
        before = [_identity(top) for top in tops]
        waiting: set[Path] = set()
        replaced = False
        while not ended.is_set():
            following = [top for top, identity in zip(tops, before, strict=True) if identity]
            for changes in self._changes(following, ended):
                touched = [*changes, *(tops if replaced else ())]
                replaced = False
                waiting |= {path for path in touched if not _hidden(path, tops)}
                waiting = {path for path in waiting if self._present_or_known(path)}
                if waiting:
                    try:
                        report = self.ingest(_topmost(waiting))
                    except LibraryBusyError:
                        _log.info("another process is writing; %d changes wait", len(waiting))
                    except LibraryError:
                        if all(map(self._present_or_known, waiting)):
                            raise
                        _log.debug("a changed file went away before it was read")
                    else:
                        waiting = set()
                        if report.changed or report.failed or report.skipped:
                            yield report
                now = [_identity(top) for top in tops]
                if replaced := now != before:
                    before = now
                    break
            else:
                if following:
                    return  # stopped, or interrupted

    def _changes(self, tops: Sequence[Path], stop: threading.Event) -> Iterator[set[Path]]:
        """Batches of changed paths; now and then an empty one, to look whether the watched paths are still the same."""
        from watchfiles import watch

        if not tops:
            stop.wait(_LOOK_AGAIN_S)
            yield set()
            return
        timeout_ms = int(_LOOK_AGAIN_S * 1000)
        try:
            for changes in watch(
                *tops, stop_event=stop, raise_interrupt=False, yield_on_timeout=True, rust_timeout=timeout_ms
            ):
                yield {Path(path) for _, path in changes}
        except FileNotFoundError:  # it went away just now
            yield set()

    def _ingest(
        self,
        paths: Sequence[Path],
        options: dict[str, Any],
        dry_run: bool,
        reindex: bool,
        progress: Callable[[Progress], None] | None,
    ) -> IngestReport:
        from botkit.knowledge.ingest import Ingester

        if dry_run:
            ingester = Ingester(
                self.library, self._encoder, self._count_tokens, self.config, dry_run=True, progress=progress
            )
            return ingester.run(paths, **options)
        since_catch_up = 0

        def committed(chunks: int) -> None:
            nonlocal since_catch_up
            since_catch_up += chunks
            if since_catch_up >= _CATCH_UP_EVERY:
                since_catch_up = 0
                self._catch_up()

        with self._writing():
            ingester = Ingester(
                self.library, self._encoder, self._count_tokens, self.config, progress=progress, committed=committed
            )
            report = ingester.run(paths, **options)
            self._catch_up(patient=reindex, known_encoder=not (reindex or report.read or report.replaced))
        return report

    # ---- inside ---------------------------------------------------------------------------------------------------

    @property
    def library(self) -> Library:
        """The library, opened at first use."""
        with self._lock:
            if self._library is None:
                self._library = Library(self.paths.library)
            return self._library

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            self._indexes = None
            if self._library is not None:
                self._library.close()
                self._library = None

    def _open_indexes(self) -> Indexes:
        from botkit.knowledge.indexes import open_indexes

        with self._lock:
            if self._indexes is None:
                library = self.library
                try:
                    self._indexes = open_indexes(self.paths.indexes, library, may_rebuild=False)
                except LibraryError:
                    with self._writing():
                        self._indexes = open_indexes(self.paths.indexes, library, may_rebuild=True)
            return self._indexes

    def _catch_up(self, *, patient: bool = True, known_encoder: bool = False) -> None:
        """Called with the write lock held. With `known_encoder` the model is not loaded where the index names it."""
        with self._lock:
            indexes = self._open_indexes()
            name = indexes.vectors.encoder if known_encoder else ""
            if known_encoder and name and indexes.fresh(name):
                return
            indexes.catch_up(self._encoder, name=name or None, patient=patient)

    @contextmanager
    def _writing(self, wait_s: float | None = None) -> Iterator[None]:
        """Be the only writer; may be nested in a thread. The system frees the lock when the process dies."""
        from filelock import FileLock, Timeout

        try:
            with self._lock:
                if self._file_lock is None:
                    self.paths.home.mkdir(parents=True, exist_ok=True)
                    self._file_lock = FileLock(self.paths.home / "library.lock")
                lock = self._file_lock
            lock.acquire(timeout=_WAIT_S if wait_s is None else wait_s)
        except Timeout as error:
            raise LibraryBusyError(
                "Another botkit process is writing to the knowledge library. "
                "Wait until it is done, or stop it, and try again."
            ) from error
        except OSError as error:
            raise LibraryError(
                f"{self.paths.home}: cannot be written ({error.strerror or error}). Check its permissions, or choose another "
                "folder with --home."
            ) from error
        try:
            yield
        finally:
            lock.release()

    def _present_or_known(self, path: Path) -> bool:
        return path.exists() or (path.parent.is_dir() and bool(self.library.fingerprints(str(path))))

    def _removed_builtins(self) -> set[str]:
        return set(json.loads(self.library.note("builtin_removed") or "[]"))


def open_knowledge(settings: Settings) -> Knowledge:
    """The knowledge of a configuration, with its models loaded when first needed."""
    from functools import cache

    from botkit.models.registry import load_encoder, load_reader

    models, paths = settings.config.models, settings.paths
    encoder = cache(lambda: load_encoder(models, paths))
    reader = cache(lambda: load_reader(models, paths))
    return Knowledge(
        paths,
        encoder=encoder,
        count_tokens=lambda texts: reader().count_tokens(texts),
        config=settings.config.knowledge,
        retrieval=settings.config.retrieval,
    )


def _counts(values: Sequence[str]) -> dict[str, int]:
    return {value: values.count(value) for value in sorted(set(values))}


def _folder_state(folder: Path) -> str:
    """A digest of the names, sizes and times of all files: cheap, and another after any edit."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            status = file.stat()
            digest.update(f"{file.relative_to(folder).as_posix()}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _nearest(name: str, known: Iterable[str]) -> str:
    near = nearest(name, known)
    return f" Did you mean {near!r}?" if near else ""


def _identity(path: Path) -> tuple[int, int] | None:
    """What the system knows a file or folder by; None where there is nothing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _topmost(paths: Iterable[Path]) -> list[Path]:
    """The paths without those below another of them."""
    chosen: list[Path] = []
    for path in sorted(paths):
        if not any(path.is_relative_to(above) for above in chosen):
            chosen.append(path)
    return chosen


def _hidden(path: Path, tops: Sequence[Path]) -> bool:
    """Whether a part of the path below the watched folder says that programs, not people, keep the file."""
    from botkit.knowledge.ingest import passed_over

    above = [top for top in tops if path.is_relative_to(top)]
    top = max(above, key=lambda top: len(top.parts), default=path)
    return any(map(passed_over, path.relative_to(top).parts))
