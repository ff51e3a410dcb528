"""Cleaning and comparing short texts, the same way everywhere."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache

from botkit.messages import Language, Reply
from botkit.sentences import boundaries, trim

LONGEST_QUERY = 1_000
"""Characters of a message that the models look at; no real question is longer."""

_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_BLANKS = re.compile(r"\s+")
_WORD = re.compile(r"[^\W_]+")
_DIVIDING = re.compile(r"[;!?…、。；！？·\"'`“”‘’「」『』《》]|(?<!\d)[.,:]|[.,:](?!\d)")
_HAN_RUN = re.compile(r"[㐀-䶿一-鿿豈-﫿]+")
_TABLE_RULE = re.compile(r"\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?")
_CELL_EDGE = re.compile(r"(?<!\\)\|")
_LIST_ITEM = re.compile(r"\n(?=\s*(?:[-*+•]|\d+[.)])\s)")

_STOP_EN = frozenset(
    """a about after all also am an and any are as at be been before being but by can could did do does doing for from
    get got had has have he her hers him his how i if in into is it its just me might my need no nor not of off on or
    our ours out over please shall she should so some tell than that the their them then there these they this those
    to too under up us very was we were what when where which while who whom whose why will with would you your
    yours s t d ll m o re ve""".split()
)
_STOP_ZH = frozenset(
    "的 了 吗 呢 吧 啊 呀 是 在 和 与 或 有 没 不 我 你 您 他 她 它 们 这 那 哪 谁 几 怎 么 什 为 何 多 少 请 问 能 可 以 会 要 "
    "想 把 被 就 都 也 还 很 个 些 到 从 对 于 给 让 用 上 下 里 中 时 候".split()
)


def clean(text: str) -> str:
    """One line of visible characters: NFC, control and format characters removed, blanks folded.

    Zero-width joiners stay, since emoji and several scripts need them.
    """
    kept = (
        character if character == "‍" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn") else " "
        for character in unicodedata.normalize("NFC", text)
    )
    return _BLANKS.sub(" ", "".join(kept)).strip()


def visible(text: str, *, instead: str = " ") -> str:
    """The text with each control character but the line break as a blank: no document may steer the terminal.

    Every character stays where it is, so offsets hold, unless something longer or shorter stands `instead`.
    """
    return "".join(instead if _steers(character) else character for character in text)


def _steers(character: str) -> bool:
    if character in _BIDI_CONTROLS:
        return True
    return character != "\n" and unicodedata.category(character) in ("Cc", "Cs")


def is_encodable(text: str) -> bool:
    """Whether a text has a form in UTF-8: half of a surrogate pair has none."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def has_words(text: str) -> bool:
    """Whether there is any letter or digit to work with."""
    return _WORD.search(text) is not None


def terms(text: str, language: Language) -> frozenset[str]:
    """What a text is about: stemmed content words, and pairs of neighbouring characters for Han text.

    The stem is a crude one (plural and verb endings off), enough to compare two texts with.
    """
    found: set[str] = set()
    lowered = unicodedata.normalize("NFKC", text).casefold()
    for run in _HAN_RUN.findall(lowered):
        pairs = [run[i : i + 2] for i in range(len(run) - 1)] or [run]
        found.update(pair for pair in pairs if not all(character in _STOP_ZH for character in pair))
    for word in _WORD.findall(_HAN_RUN.sub(" ", lowered)):
        if language == "zh" or word not in _STOP_EN:
            found.add(_stem(word))
    return frozenset(found)


def _stem(word: str) -> str:
    for ending in ("ingly", "edly", "ing", "ies", "ed", "es", "ly", "s", "y", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def same_words(first: str, second: str) -> bool:
    """Whether two texts differ in nothing but capitals, blanks and marks that only divide: C++ is not C#, nor 10.5 10 5."""
    one, other = (
        _DIVIDING.sub(" ", unicodedata.normalize("NFKC", text).casefold()).split() for text in (first, second)
    )
    return bool(one) and "".join(one) == "".join(other) if _HAN_RUN.search(first) else bool(one) and one == other


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known name most like a mistyped one, at least `cutoff` (0 to 1) alike; None where there is none."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


def coverage(wanted: frozenset[str], offered: frozenset[str]) -> float:
    """Share of `wanted` that stands in `offered`, 0 to 1; 0 where nothing is wanted."""
    return len(wanted & offered) / len(wanted) if wanted else 0.0


def dice(first: frozenset[str], second: frozenset[str]) -> float:
    """Overlap of two sets, 0 to 1 (Dice 1945)."""
    total = len(first) + len(second)
    return 2 * len(first & second) / total if total else 0.0


def enclosing_sentence(text: str, start: int, end: int) -> tuple[int, int]:
    """The range of the sentence, or the sentences, of `text` that hold text[start:end], blanks trimmed."""
    ends = _sentence_ends(text)
    first = bisect_right(ends, start)
    last = max(bisect_left(ends, end), first)
    left, right = ends[first - 1] if first else 0, ends[last] if last < len(ends) else len(text)
    while left < start and text[left].isspace():
        left += 1
    while right > end and text[right - 1].isspace():
        right -= 1
    return left, right


def table_row(table: str, start: int, end: int) -> str:
    """The row of a Markdown table that holds table[start:end], each cell behind the heading of its column; else the table as it is."""
    lines = table.splitlines(keepends=True)
    if len(lines) < 3 or not _TABLE_RULE.fullmatch(lines[1].strip()):
        return table
    begin = 0
    for number, line in enumerate(lines):
        if begin <= start and end <= begin + len(line) and number > 1:
            headings, cells = (
                [cell.strip().replace("\\|", "|") for cell in _CELL_EDGE.split(row.strip().strip("|"))]
                for row in (lines[0], line)
            )
            headings += [""] * len(cells)
            told = [f"{heading}: {cell}" if heading else cell for heading, cell in zip(headings, cells, strict=False)]
            return " · ".join(one for one, cell in zip(told, cells, strict=True) if cell)
        begin += len(line)
    return table


def answer_in_reply(reply: Reply) -> int:
    """Where the answer stands in the text of a reply, which is its sentence; -1 where it does not."""
    if reply.sources:
        source = reply.sources[0]
        start, end = source.span_in_passage
        at = start - enclosing_sentence(source.passage, start, end)[0]
        if at >= 0 and reply.text.startswith(reply.answer, at):
            return at
    return reply.text.find(reply.answer)


@lru_cache(maxsize=64)
def _sentence_ends(text: str) -> tuple[int, ...]:
    """Where the sentences and list items of a passage end: an answer asks for these several times over."""
    return tuple(sorted({*boundaries(text, 0, len(text)), *(match.end() for match in _LIST_ITEM.finditer(text))}))


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """The ranges of a text's sentences and list items, blanks trimmed."""
    left = 0
    for right in _sentence_ends(text):
        start, end = trim(text, left, right)
        if start < end:
            yield start, end
        left = right


def neighbourhood(text: str, start: int, end: int, before: int = 1, after: int = 1) -> tuple[int, int]:
    """The range of the sentences that hold text[start:end], with `before` sentences before and `after` behind them."""
    places = list(sentences(text))
    held = [n for n, (left, right) in enumerate(places) if left < end and right > start]
    if not held:
        return 0, len(text)
    return places[max(0, held[0] - before)][0], places[min(len(places) - 1, held[-1] + after)][1]
