"""Cuts a document into passages small enough for the reader.

A passage never crosses a heading or a page. Within a section whole blocks (paragraphs, lists, tables, code)
are put together up to the limit; a block that is too long is cut between list items, rows or lines, then
between sentences, then clauses, then words, and a run without any of these is cut hard. Every
passage is a slice of the document's text. Headings are not part of passages: their path goes with each.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from botkit.knowledge.types import Chunk, Document
from botkit.language import detect
from botkit.sentences import sentences, trim

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

CountTokens: TypeAlias = Callable[[Sequence[str]], list[int]]
"""Length of each text in tokens, without special tokens."""

_WITHOUT_MARKUP = ("text/plain", "application/pdf")
HEADING_SEPARATOR = " › "
_CHARACTERS_PER_TOKEN = 16
"""No natural text has so many characters to a token; a longer run (which a tokenizer may count as one
unknown word) is measured by its characters instead."""
_CLAUSE_END = re.compile(r"[,，、;；:：]+\s*|\s[-–—]+\s")
_LINE_END = re.compile(r"\n+")
_WORD_END = re.compile(r"\s+")
_FRONT_MATTER = re.compile(
    r"\A---[ \t]*\r?\n(?=(?:#[^\n]*\n)*(?:---|\.\.\.|[\w\"'][^\n:]*:\s)).*?^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)",
    re.DOTALL | re.MULTILINE,
)
"""Between two fences, and with a key on the first line: other texts that begin with a rule lose nothing."""
_HTML_HEADING = re.compile(r"<h([1-6])\b[^>]*>((?:(?!<h[1-6]\b).){0,2000}?)</h\1>", re.DOTALL | re.IGNORECASE)
_HEADING_ANCHOR = re.compile(r"\s*\{#[^}]*\}\s*$")
_LONGEST_HEADING = 1_000
"""Characters of the longest heading that is parsed for marks: parsing takes time by the square of the length."""
_HEADING_WORDS = ("text", "code_inline", "softbreak", "hardbreak")
"""Types of the inline tokens that hold the words of a heading, or part them."""


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of Markdown between two offsets; `by_lines` where lines are its parts (list, table, code)."""

    start: int
    end: int
    by_lines: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """The blocks under one heading, and the path of headings that leads there."""

    path: tuple[str, ...]
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    start: int
    end: int
    tokens: int


def front_matter(text: str) -> str:
    """The YAML front matter at the head of a Markdown text with its fences, or ""."""
    match = _FRONT_MATTER.match(text)
    return match.group() if match else ""


def first_heading(text: str) -> str:
    """The words of the first heading of a Markdown text, or ""."""
    found = sections(text)
    return next((section.path[0] for section in found if section.path), "")


def sections(text: str, media_type: str = "text/markdown") -> list[Section]:
    """The structure of a text; text that is not Markdown is one section of paragraphs.

    A heading with neither text nor headings below it is kept as a block of its own section, so that its words can
    still be found.
    """
    if media_type in _WITHOUT_MARKUP:
        return [Section((), tuple(_paragraphs(text, 0, len(text))))]
    return _markdown_sections(text)


def chunk_document(document: Document, count_tokens: CountTokens, *, limit: int, overlap: int = 0) -> list[Chunk]:
    """Passages of at most `limit` tokens in the order of the text, with `id` 0 until the library numbers them.

    `overlap` is the most tokens that neighbouring passages of one section share. An FAQ document yields one
    chunk for each entry, whatever its length, since its answer is given whole, and then passages of what follows the entries.
    """
    chunks: list[Chunk] = []
    entries_end = max((entry.end for entry in document.faq), default=0)
    if document.faq:
        chunks = [
            Chunk(
                id=0,
                document=document.id,
                title=document.title,
                heading="",
                page=None,
                start=entry.start,
                end=entry.end,
                text=document.text[entry.start : entry.end],
                language=detect(entry.question + entry.answer, document.language),
                tags=tuple(dict.fromkeys((*document.tags, *entry.tags))),
                kind="faq",
                question=entry.question,
            )
            for entry in document.faq
        ]
        if not document.text[entries_end:].strip():
            return chunks
    cutter = _Cutter(document.text, count_tokens, limit, min(overlap, limit // 2))
    for section, page in _sections_by_page(document, entries_end):
        for start, end in cutter.cut(section.blocks):
            chunks.append(
                Chunk(
                    id=0,
                    document=document.id,
                    title=document.title,
                    heading=HEADING_SEPARATOR.join(section.path),
                    page=page,
                    start=start,
                    end=end,
                    text=document.text[start:end],
                    language=document.language,
                    tags=document.tags,
                )
            )
    return chunks


def _sections_by_page(document: Document, begin: int) -> Iterator[tuple[Section, int | None]]:
    """The sections from `begin` on; what stands before, such as a stored answer with half a code block, does not matter."""
    for found in sections(document.text[begin:], document.media_type):
        moved = (Block(block.start + begin, block.end + begin, block.by_lines) for block in found.blocks)
        section = Section(found.path, tuple(moved))
        if not document.pages:
            yield section, None
            continue
        starts = [page.start for page in document.pages]
        by_page = groupby(section.blocks, key=lambda block: max(0, bisect_right(starts, block.start) - 1))
        for index, blocks in by_page:
            yield Section(section.path, tuple(blocks)), document.pages[index].number


def _paragraphs(text: str, start: int, end: int) -> list[Block]:
    blocks = []
    left = start
    for match in re.finditer(r"\n[ \t]*(?:\r?\n[ \t]*)+", text[start:end]):
        blocks.append(trim(text, left, start + match.start()))
        left = start + match.end()
    blocks.append(trim(text, left, end))
    return [Block(first, last) for first, last in blocks if first < last]


def _markdown_sections(text: str) -> list[Section]:
    from markdown_it import MarkdownIt  # CommonMark block structure; installed with rich

    parser = MarkdownIt("commonmark", {"maxNesting": 20}).enable("table").disable(["inline", "text_join"])
    headings = MarkdownIt("commonmark", {"maxNesting": 20})
    head = len(front_matter(text))
    body = text[head:].replace("\r\n", " \n").replace("\r", "\n").replace("\0", " ")  # as long as the original
    line_starts = [head, *(head + match.end() for match in re.finditer(r"\n", body)), len(text)]

    def offsets(lines: list[int]) -> tuple[int, int]:
        return trim(
            text, line_starts[min(lines[0], len(line_starts) - 1)], line_starts[min(lines[1], len(line_starts) - 1)]
        )

    found: list[Section] = []
    path: list[tuple[int, str]] = []
    blocks: list[Block] = []
    bare_heading: Block | None = None

    def close_section() -> None:
        nonlocal bare_heading
        if blocks or bare_heading:
            kept = tuple(blocks) or ((bare_heading,) if bare_heading else ())
            found.append(Section(tuple(words for _, words in path), kept))
        blocks.clear()
        bare_heading = None

    references: MutableMapping[str, Any] = {}
    tokens = parser.parse(body, references)
    position = head
    for index, token in enumerate(tokens):
        if token.level != 0 or token.map is None:
            continue
        start, end = offsets(token.map)
        blocks.extend(_paragraphs(text, position, start))  # what the parser gives no token for: link definitions
        position = max(position, end)
        if heading := _heading(tokens, index):
            level, written = heading
            if bare_heading and path and level > path[-1][0]:
                bare_heading = None  # its words stand in the path of the heading below
            close_section()
            path[:] = [entry for entry in path if entry[0] < level]
            words = _heading_words(headings, written, references)
            if words:
                path.append((level, words))
            bare_heading = Block(start, end) if start < end else None
        elif start < end:
            blocks.append(Block(start, end, by_lines=token.type not in ("paragraph_open", "blockquote_open")))
    blocks.extend(_paragraphs(text, position, len(text)))
    close_section()
    return found


def _heading(tokens: Sequence[Token], index: int) -> tuple[int, str] | None:
    """Level and text of the heading that a token opens, or is: READMEs often have <h1 align="center">."""
    token = tokens[index]
    if token.type == "heading_open":
        return int(token.tag[1]), tokens[index + 1].content
    found = _HTML_HEADING.fullmatch(token.content.strip()) if token.type == "html_block" else None
    return (int(found[1]), found[2].strip()) if found else None


def _heading_words(parser: MarkdownIt, markdown: str, references: MutableMapping[str, Any]) -> str:
    """Words of a heading without marks; images (badges, mostly) give theirs only where there are no others."""
    if len(markdown) > _LONGEST_HEADING:
        return " ".join(markdown.split())
    parts = parser.parseInline(_HEADING_ANCHOR.sub("", markdown), references)[0].children or []
    images = " ".join(_words(part.children or []) for part in parts if part.type == "image")
    return " ".join((_words(parts).strip() or images).split())


def _words(parts: Sequence[Token]) -> str:
    return "".join(
        " " if part.type.endswith("break") else part.content for part in parts if part.type in _HEADING_WORDS
    )


class _Cutter:
    """Cuts the sections of one text into ranges of at most `limit` tokens."""

    def __init__(self, text: str, count_tokens: CountTokens, limit: int, overlap: int) -> None:
        self.text = text
        self.count_tokens = count_tokens
        self.limit = limit
        self.overlap = overlap

    def cut(self, blocks: Sequence[Block]) -> list[tuple[int, int]]:
        pieces = self._fit(self._measure([(block.start, block.end) for block in blocks]), blocks)
        return self._verified(self._group(pieces))

    def _measure(self, ranges: Sequence[tuple[int, int]]) -> list[_Piece]:
        texts = [self.text[start:end] for start, end in ranges]
        return [
            _Piece(start, end, max(tokens, -(-(end - start) // _CHARACTERS_PER_TOKEN), 1))
            for (start, end), tokens in zip(ranges, self.count_tokens(texts) if texts else [], strict=True)
        ]

    def _fit(self, pieces: Sequence[_Piece], blocks: Sequence[Block]) -> list[_Piece]:
        fitting: list[_Piece] = []
        for piece, block in zip(pieces, blocks, strict=True):
            if piece.tokens <= self.limit:
                fitting.append(piece)
            elif block.by_lines:
                for line in self._measure(_split(self.text, piece.start, piece.end, _LINE_END)):
                    fitting.extend(self._sentences(line))
            else:
                fitting.extend(self._sentences(piece))
        return fitting

    def _sentences(self, piece: _Piece) -> list[_Piece]:
        if piece.tokens <= self.limit:
            return [piece]
        fitting: list[_Piece] = []
        for sentence in self._measure(sentences(self.text, piece.start, piece.end)):
            if sentence.tokens <= self.limit:
                fitting.append(sentence)
                continue
            for clause in self._measure(_split(self.text, sentence.start, sentence.end, _CLAUSE_END)):
                fitting.extend(self._hard(clause))
        return fitting

    def _hard(self, piece: _Piece) -> list[_Piece]:
        """Equal parts, cut at the blank nearest to each cut, again until all fit."""
        if piece.tokens <= self.limit or piece.end - piece.start == 1:
            return [piece]
        parts = max(2, -(-piece.tokens // self.limit))
        length = piece.end - piece.start
        cuts = [piece.start]
        for number in range(1, parts):
            ideal = piece.start + length * number // parts
            cut = self._blank_near(ideal, cuts[-1] + 1, min(ideal + length // (2 * parts), piece.end))
            if cuts[-1] < cut < piece.end:
                cuts.append(cut)
        cuts.append(piece.end)
        ranges = [trim(self.text, start, end) for start, end in pairwise(cuts)]
        measured = self._measure([(start, end) for start, end in ranges if start < end])
        return [part for smaller in measured for part in self._hard(smaller)]

    def _blank_near(self, ideal: int, low: int, high: int) -> int:
        window = 40
        before = [
            match.end() for match in _WORD_END.finditer(self.text, max(low, ideal - window), min(high, ideal + window))
        ]
        inside = [cut for cut in before if low <= cut < high]
        return min(inside, key=lambda cut: abs(cut - ideal), default=max(low, ideal))

    def _group(self, pieces: Sequence[_Piece]) -> list[list[_Piece]]:
        """Neighbours together up to the limit, spread evenly rather than leaving a scrap at the end."""
        remaining = sum(piece.tokens for piece in pieces)
        groups: list[list[_Piece]] = []
        group: list[_Piece] = []
        size = 0
        for piece in pieces:
            target = (size + remaining) / max(1, -(-(size + remaining) // self.limit))
            over = size + piece.tokens - target
            if group and (size + piece.tokens > self.limit or (over > 0 and over > target - size)):
                groups.append(group)
                group = self._shared_tail(group, piece)
                size = sum(shared.tokens for shared in group)
            group.append(piece)
            size += piece.tokens
            remaining -= piece.tokens
        if group:
            groups.append(group)
        return groups

    def _shared_tail(self, group: Sequence[_Piece], following: _Piece) -> list[_Piece]:
        tail: list[_Piece] = []
        room = min(self.overlap, self.limit - following.tokens)
        for piece in reversed(group[1:]):
            if piece.tokens > room:
                break
            tail.insert(0, piece)
            room -= piece.tokens
        return tail

    def _verified(self, groups: list[list[_Piece]]) -> list[tuple[int, int]]:
        """Each group as one range; one whose pieces count more tokens together than apart is halved."""
        measured = self._measure([(group[0].start, group[-1].end) for group in groups])
        found: list[tuple[int, int]] = []
        for group, whole in zip(groups, measured, strict=True):
            if whole.tokens <= self.limit or len(group) == 1:
                found.append((whole.start, whole.end))
            else:
                middle = len(group) // 2
                found.extend(self._verified([group[:middle], group[middle:]]))
        return found


def _split(text: str, start: int, end: int, boundary: re.Pattern[str]) -> list[tuple[int, int]]:
    cuts = [start, *(match.end() for match in boundary.finditer(text, start, end)), end]
    trimmed = [trim(text, left, right) for left, right in pairwise(cuts)]
    return [(left, right) for left, right in trimmed if left < right]
