"""Long Markdown in pieces that each stand for themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from botkit.sentences import sentences

_FENCE: Final = re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n`]*)$")


def split(text: str, limit: int, *, measure: Callable[[str], int] = len) -> list[str]:
    """Cut Markdown into pieces that measure at most `limit`, at paragraphs where possible, else at lines, sentences, words.

    A code block that is cut is closed in one piece and opened again, with its language, in the next. A table that is cut
    repeats its head. `measure` says how long a piece is to the platform, markup included; `limit` should be at least 100.
    Nothing but white space at the cuts is lost. An empty text gives no piece.
    """
    pieces: list[str] = []
    current = ""
    for block in _blocks(text.rstrip().lstrip("\n")):
        joined = f"{current}{block}" if current else block.lstrip("\n")
        if measure(joined.strip("\n")) <= limit:
            current = joined
            continue
        if current.strip():
            pieces.append(current.strip("\n"))
        current = ""
        parts = list(_cut(block.strip("\n"), limit, measure))
        pieces += parts[:-1]
        current = parts[-1] if parts else ""
    if current.strip():
        pieces.append(current.strip("\n"))
    return pieces


def _blocks(text: str) -> Iterator[str]:
    """Paragraphs, tables and code blocks, each with the empty lines before it."""
    lines = text.split("\n")
    block: list[str] = []
    fence = ""
    gap = False
    for line in lines:
        match = _FENCE.match(line)
        if fence:
            block.append(line)
            if match and match[1].startswith(fence) and not match[2].strip():
                fence, gap = "", True
            continue
        if match:
            if any(one.strip() for one in block):
                yield "\n" + "\n".join(block) if block[0].strip() else "\n".join(["", *block])
                block = []
            fence = match[1]
            block.append(line)
            gap = False
            continue
        if (gap or not line.strip()) and any(one.strip() for one in block):
            yield "\n" + "\n".join(block)
            block = []
        gap = False
        block.append(line)
    if any(one.strip() for one in block):
        yield "\n" + "\n".join(block)


def _cut(block: str, limit: int, measure: Callable[[str], int]) -> Iterator[str]:
    """A block that is too long, in pieces."""
    lines = block.split("\n")
    opening = _FENCE.match(lines[0])
    head: list[str] = []
    tail: list[str] = []
    if opening:
        head, tail = [lines[0]], [opening[1]]
        lines = lines[1:-1] if len(lines) > 1 and lines[-1].strip().startswith(opening[1]) else lines[1:]
    elif len(lines) > 2 and "|" in lines[0] and re.fullmatch(r"[\s|:\-]+", lines[1]) and "-" in lines[1]:
        head, lines = lines[:2], lines[2:]
    if head and measure("\n".join([*head, *tail])) > limit // 2:
        head, tail, lines = [], [], block.split("\n")
    held: list[str] = []

    def whole(inner: list[str]) -> str:
        return "\n".join([*head, *inner, *tail])

    for line in lines:
        if measure(whole([*held, line])) <= limit:
            held.append(line)
            continue
        if held:
            yield whole(held)
            held = []
        if measure(whole([line])) <= limit:
            held = [line]
            continue
        parts = list(_pieces(line, lambda part: measure(whole([part])) <= limit, prose=not head))
        for part in parts[:-1]:
            yield whole([part])
        held = parts[-1:]
    if held:
        yield whole(held)


def _pieces(line: str, fits: Callable[[str], bool], *, prose: bool) -> Iterator[str]:
    """A line that is too long: at the ends of sentences, else between words, else anywhere."""
    ends = [end for _, end in sentences(line)] if prose else []
    rest, offset = line, 0
    while rest and not fits(rest):
        size = _longest(rest, fits)
        cut = max((end - offset for end in ends if 0 < end - offset <= size), default=0)
        if cut < size // 3:
            cut = max(rest.rfind(" ", 1, size + 1), *(rest.rfind(mark, 1, size) + 1 for mark in "，、；,;"))
        if cut <= size // 3:
            cut = size
            while cut > 1 and _joined(rest, cut):
                cut -= 1
        piece = rest[:cut].rstrip() if prose else rest[:cut]
        if piece:
            yield piece
        left = rest[cut:].lstrip() if prose else rest[cut:]
        offset += len(rest) - len(left)
        rest = left
    if rest:
        yield rest


def _joined(text: str, cut: int) -> bool:
    """Whether a cut here would part a character from what is joined to it."""
    return text[cut] in "\u200d\ufe0f" or text[cut - 1] == "\u200d" or "\u0300" <= text[cut] <= "\u036f"


def _longest(text: str, fits: Callable[[str], bool]) -> int:
    """The most characters from the beginning that fit, at least 1."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if fits(text[:middle]):
            low = middle
        else:
            high = middle - 1
    return low
