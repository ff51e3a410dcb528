"""Files and folders into the library: only what changed, a document at a time, with a reason for what is left out."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from botkit.config import KnowledgeConfig
from botkit.errors import BotkitError, LibraryError
from botkit.knowledge.chunks import CountTokens, chunk_document
from botkit.knowledge.documents import UnreadableDocument, document_from_bytes, read_bytes
from botkit.knowledge.indexes import embed, embedded_text, text_digest
from botkit.knowledge.library import Entry, Library, Root
from botkit.messages import Language
from botkit.models import Encoder
from botkit.text import is_encodable

_log = logging.getLogger(__name__)

CHUNKING_VERSION = 3
"""Raise it when chunks or embedded texts are made differently: every document is then cut again."""
_ENCODED_AT_ONCE = 64
"""Chunks gathered from small documents before they are embedded and written together."""
_IGNORED_NAMES = frozenset({"__pycache__", "node_modules", "Thumbs.db", "desktop.ini"})


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an ingest is. Sizes in bytes, since files differ; `current` is the file being read."""

    files: int
    files_total: int
    bytes: int
    bytes_total: int
    current: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that was not read, a stable code for why, and the reason in words."""

    path: str
    reason: str
    message: str

    def __post_init__(self) -> None:
        """A name that is no UTF-8 is shown as Python writes such bytes."""
        object.__setattr__(self, "path", self.path.encode("utf-8", "backslashreplace").decode())


@dataclass(slots=True)
class IngestReport:
    """What an ingest did: document ids, and files left out.

    `skipped` are files that are no documents; `failed` are documents that could not be read this time, whose
    earlier state stays. `incomplete` are parts left out of documents that were read, such as a question without an answer.
    """

    read: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: int = 0
    skipped: list[LeftOut] = field(default_factory=list)
    failed: list[LeftOut] = field(default_factory=list)
    incomplete: list[LeftOut] = field(default_factory=list)
    chunks: int = 0
    seconds: float = 0.0
    dry_run: bool = False

    @property
    def changed(self) -> bool:
        """Whether the library is another than before."""
        return bool(self.read or self.replaced or self.removed)

    def as_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        from dataclasses import asdict

        return asdict(self) | {"seconds": round(self.seconds, 3)}


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    size: int
    problem: str = ""
    """Why it cannot be looked into, where that is known."""


class Ingester:
    """One run. The caller holds the library's write lock, except in a dry run."""

    def __init__(
        self,
        library: Library,
        encoder: Callable[[], Encoder],
        count_tokens: CountTokens,
        config: KnowledgeConfig,
        *,
        dry_run: bool = False,
        progress: Callable[[Progress], None] | None = None,
        committed: Callable[[int], None] | None = None,
    ) -> None:
        """`committed` is told the number of chunks after each write, so that indexes can follow a long run."""
        self.library = library
        self.encoder = encoder
        self.count_tokens = count_tokens
        self.config = config
        self.report = IngestReport(dry_run=dry_run)
        self._progress = progress
        self._committed = committed
        self._pending: list[Entry] = []
        self._done = [0, 0]
        self._total = [0, 0]
        self._at = ""

    def run(
        self,
        paths: Sequence[Path],
        *,
        tags: Sequence[str] = (),
        language: Language | None = None,
        name: str | None = None,
        leave_out: frozenset[str] = frozenset(),
    ) -> IngestReport:
        """Bring the library to the state of these files and folders.

        `tags` and `language` are remembered for each path and hold for what is found there later. `name` is the first part
        of the ids instead of the path's own name; ids in `leave_out` are not read. Raises `LibraryError` where a
        path does not exist and the library knows nothing of it.
        """
        started = time.perf_counter()
        tops = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100 resolve() would follow links
        for top in tops:
            if not top.exists() and not (top.parent.is_dir() and self.library.fingerprints(str(top))):
                raise LibraryError(f"There is no file or folder {top}.")
        for top in tops:
            for file in _walk(top, []):
                self._total = [self._total[0] + 1, self._total[1] + file.size]
        for top in tops:
            self._top(top, tags, language, name, leave_out)
        self._flush()
        self.report.seconds = time.perf_counter() - started
        return self.report

    # ---- one path of the command line -----------------------------------------------------------------------------

    def _top(
        self, top: Path, tags: Sequence[str], language: Language | None, name: str | None, leave_out: frozenset[str]
    ) -> None:
        roots = self._register(top, tags, language, name)
        known = self.library.fingerprints(str(top))
        loops: list[Path] = []
        for file in _walk(top, loops):
            path = str(file.path)
            root = _nearest(roots, path)
            assert root is not None
            id = document_id(root, path)
            self._advance(file)
            if id in leave_out:
                continue
            try:
                if file.problem:
                    raise UnreadableDocument("permission", f"cannot be opened: {file.problem}")
                if not is_encodable(path):
                    raise UnreadableDocument("name", "its name is not UTF-8. Rename it.")
                self._file(file.path, id, root, known.get(path))
                known.pop(path, None)
            except UnreadableDocument as error:
                left_out = LeftOut(path, error.reason, str(error))
                if error.temporary:
                    self.report.failed.append(left_out)
                    for one in [one for one in known if _inside(one, path)]:  # a folder keeps all that was below it
                        del known[one]
                else:
                    self.report.skipped.append(left_out)
        self.report.skipped += [
            LeftOut(str(loop), "symlink_loop", "the link leads back to a folder above it") for loop in loops
        ]
        self._remove([id for id, _, _ in known.values()])

    def _register(self, top: Path, tags: Sequence[str], language: Language | None, name: str | None) -> list[Root]:
        roots = self.library.roots()
        nearest = _nearest(roots, str(top))
        plain = not tags and language is None
        if nearest is not None and (plain or nearest.path == str(top)):
            root = Root(nearest.path, nearest.name, tuple(tags) or nearest.tags, language or nearest.language)
        elif nearest is not None:
            root = Root(
                str(top), document_id(nearest, str(top)), tuple(tags) or nearest.tags, language or nearest.language
            )
        else:
            root = Root(str(top), name or _free_name(top, roots), tuple(tags), language)
        if root != nearest and not self.report.dry_run:
            self.library.put_root(root)
        return [root, *(other for other in roots if other.path != root.path)]

    def _remove(self, ids: Sequence[str]) -> None:
        if ids and not self.report.dry_run:
            self.library.remove(ids)
        self.report.removed += ids

    # ---- one file -------------------------------------------------------------------------------------------------

    def _file(self, path: Path, id: str, root: Root, known: tuple[str, str, str] | None) -> None:
        data = read_bytes(path, int(self.config.max_file_mb * 1e6))
        recipe = self._recipe(root)
        if known is not None and known[1:] == (_sha256(data), recipe):
            self.report.unchanged += 1
            return
        try:
            document = document_from_bytes(data, path, id, tags=root.tags, language=root.language)
            del data
            chunks = chunk_document(
                document, self.count_tokens, limit=self.config.chunk_tokens, overlap=self.config.chunk_overlap
            )
        except BotkitError:
            raise
        except Exception as error:  # a converter met what nobody thought of: this file fails, the others are read
            _log.debug("%s", path, exc_info=error)
            raise UnreadableDocument("broken", f"cannot be read: {type(error).__name__}: {str(error)[:200]}") from error
        if not chunks:
            raise UnreadableDocument("empty", "there is no text in it")
        (self.report.read if known is None else self.report.replaced).append(id)
        self.report.incomplete += [LeftOut(str(path), "entry", part) for part in document.left_out]
        self.report.chunks += len(chunks)
        if not self.report.dry_run:
            self._pending.append(
                Entry(document, chunks, [text_digest(embedded_text(chunk)) for chunk in chunks], recipe)
            )
            if sum(len(entry.chunks) for entry in self._pending) >= _ENCODED_AT_ONCE:
                self._flush()

    def _recipe(self, root: Root) -> str:
        parts = (CHUNKING_VERSION, self.config.chunk_tokens, self.config.chunk_overlap, root.language or "", *root.tags)
        return "|".join(map(str, parts))

    def _flush(self) -> None:
        """Embed and write what is pending: each document changes with all its chunks and vectors, or not at all."""
        if not self._pending:
            return
        encoder = self.encoder()
        chunks = {
            digest: chunk for entry in self._pending for chunk, digest in zip(entry.chunks, entry.digests, strict=True)
        }
        missing = self.library.missing_embeddings(list(chunks), encoder.name)
        vectors = embed([chunks[digest] for digest in missing], encoder, self._tell)
        self.library.put(self._pending, vectors, encoder.name)
        written = sum(len(entry.chunks) for entry in self._pending)
        self._pending.clear()
        if self._committed is not None:
            self._committed(written)

    def _tell(self) -> None:
        """Say how far it is; whoever is told may end the work by raising, between files and while they are embedded."""
        if self._progress is not None:
            self._progress(Progress(self._done[0], self._total[0], self._done[1], self._total[1], self._at))

    def _advance(self, file: _File) -> None:
        self._at = str(file.path).encode("utf-8", "replace").decode()
        self._tell()
        self._done = [self._done[0] + 1, self._done[1] + file.size]


def document_id(root: Root, path: str) -> str:
    """The id of the file: the root's name, then the path below the root, with "/" between the parts.

    A root is named as its folder or file; where that name is taken, folders above are put before it. So ids are
    stable, two folders of one name do not collide, and what was ingested as a part keeps its id when the
    whole is ingested later.
    """
    below = PurePath(os.path.relpath(path, root.path)).as_posix()
    return root.name if below == "." else f"{root.name}/{below}"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _nearest(roots: Sequence[Root], path: str) -> Root | None:
    """The root that is `path` or the closest folder above it."""
    above = [root for root in roots if _inside(path, root.path)]
    return max(above, key=lambda root: len(root.path), default=None)


def _free_name(top: Path, roots: Sequence[Root]) -> str:
    """The shortest end of the path that no other root's name equals, begins or continues."""
    parts = [part for part in top.parts if part != top.anchor] or ["root"]
    for count in range(1, len(parts) + 1):
        name = "/".join(parts[-count:])
        if not any(f"{name}/".startswith(f"{root.name}/") or f"{root.name}/".startswith(f"{name}/") for root in roots):
            return name
    taken = {root.name.split("/")[0] for root in roots}
    number = 2
    while f"{parts[-1]}-{number}" in taken:
        number += 1
    return f"{parts[-1]}-{number}"


def _walk(top: Path, loops: list[Path]) -> Iterator[_File]:
    """The files at or below `top` in a stable order; hidden ones and what programs leave behind are passed over.

    A link that leads out of `top` is followed once; one that leads to something inside is passed over, since that is
    visited itself; `loops` collects links to a folder above themselves.
    """
    if top.is_file():
        yield _File(top, top.stat().st_size)
    elif top.exists():
        yield from _walk_folder(top, os.path.realpath(top), set(), loops)


def _walk_folder(folder: Path, real_top: str, visited: set[str], loops: list[Path]) -> Iterator[_File]:
    visited.add(os.path.realpath(folder))
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield _File(folder, 0, error.strerror or str(error))
        return
    for entry in entries:
        if passed_over(entry.name):
            continue
        path = Path(entry.path)
        try:
            is_folder, size = entry.is_dir(), entry.stat().st_size
        except OSError:  # a link to nothing, or a loop of links
            yield _File(path, 0)
            continue
        if entry.is_symlink():
            real = os.path.realpath(path)
            if is_folder and _inside(os.path.realpath(folder), real):
                loops.append(path)
                continue
            if real in visited or _inside(real, real_top):
                continue
        if is_folder:
            yield from _walk_folder(path, real_top, visited, loops)
        elif entry.is_file():
            yield _File(path, size)


def passed_over(name: str) -> bool:
    """Whether a file or folder of this name is kept by programs, not by people: hidden ones, caches, editors' backups."""
    return name.startswith((".", "~$")) or name.endswith("~") or name in _IGNORED_NAMES


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
