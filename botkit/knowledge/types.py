"""The types of the knowledge room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from botkit.messages import Language

ChunkKind = Literal["passage", "faq"]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the original, as the half-open range [start, end) of the document's text; numbered from 1."""

    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class FaqEntry:
    """A stored question and answer, with the place of the answer in the document's text."""

    question: str
    answer: str
    start: int
    end: int
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """One file as Markdown.

    `id` is the path as the library knows it (relative to the ingested folder where there is one, "/" as the
    separator) and `path` the absolute path it was read from. For Markdown and plain text, `text` is
    the decoded file itself, so offsets hold in the original too. `digest` is the SHA-256 of the file's bytes.
    `left_out` names parts that could not be read; the library does not keep it.
    """

    id: str
    path: str
    title: str
    text: str
    language: Language
    digest: str
    media_type: str
    tags: tuple[str, ...] = ()
    pages: tuple[Page, ...] = ()
    faq: tuple[FaqEntry, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage that is searched and read as one; `start` and `end` are offsets in the document's text.

    `text == document.text[start:end]`. For `kind` "faq", `question` is the stored question and `text` the stored answer.
    `heading` is the heading path joined by " › " ("" where there is none).
    """

    id: int
    document: str
    title: str
    heading: str
    page: int | None
    start: int
    end: int
    text: str
    language: Language
    tags: tuple[str, ...] = ()
    kind: ChunkKind = "passage"
    question: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that a search found, best first.

    `score` is the fused score (comparable within one search only); `lexical_score` is the BM25 score and `vector_score`
    the cosine similarity, None where that half did not return the chunk; ranks count from 1.
    """

    chunk: Chunk
    score: float
    lexical_score: float | None = None
    vector_score: float | None = None
    lexical_rank: int | None = None
    vector_rank: int | None = None


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """Restricts a search; an empty field does not restrict."""

    documents: tuple[str, ...] = field(default=())
    tags: tuple[str, ...] = field(default=())
    language: Language | None = None


class Retriever(Protocol):
    """Finds the passages most likely to answer a query."""

    def search(self, query: str, k: int = 10, *, where: SearchFilter | None = None) -> Sequence[Hit]:
        """Up to `k` hits, best first."""
        ...
