"""Where sentences end, in English and Chinese.

A careful regular expression instead of a library: pysbd, the best known rule set, is unmaintained and
quadratic on long lines, and statistical splitters would bring a model. Offsets are exact: the ranges
tile the text, blanks between sentences aside.
"""

from __future__ import annotations

import re

_CLOSERS = "\"'”’」』）)】\\]》*_"
_END = re.compile(
    rf"[。！？!?；…]+[{_CLOSERS}]*(?=[㐀-鿿豈-﫿“‘「『（【《])"  # Chinese: no blank needed before Han text
    rf"|[。！？；][{_CLOSERS}]*"
    rf"|[.!?…]+[{_CLOSERS}]*(?=\s)"
)
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_LAST_WORD = re.compile(r"[\w.&'’-]*$")
_ABBREVIATIONS = frozenset(
    [
        "mr",
        "mrs",
        "ms",
        "dr",
        "prof",
        "sr",
        "jr",
        "st",
        "mt",
        "ft",
        "gen",
        "col",
        "lt",
        "sgt",
        "capt",
        "cmdr",
        "gov",
        "sen",
        "rep",
        "hon",
        "rev",
        "pres",
        "vs",
        "etc",
        "al",
        "ca",
        "cf",
        "e.g",
        "i.e",
        "eg",
        "ie",
        "eds",
        "dept",
        "univ",
        "assn",
        "bros",
        "inc",
        "ltd",
        "co",
        "corp",
        "approx",
        "a.m",
        "p.m",
        "u.s",
        "u.k",
        "u.n",
        "ph.d",
        "m.d",
        "b.a",
        "m.a",
        "d.c",
    ]
)
_BEFORE_NUMBERS = frozenset(
    [
        "fig",
        "figs",
        "eq",
        "no",
        "nos",
        "vol",
        "vols",
        "ch",
        "sec",
        "p",
        "pp",
        "tel",
        "ext",
        "max",
        "min",
        "est",
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sep",
        "sept",
        "oct",
        "nov",
        "dec",
    ]
)
"""Words that are abbreviations only where a number follows: "No. 4", but "No. We do not."."""
_MAY_END = frozenset(
    [
        "etc",
        "al",
        "inc",
        "ltd",
        "co",
        "corp",
        "bros",
        "jr",
        "sr",
        "a.m",
        "p.m",
        "u.s",
        "u.k",
        "u.n",
        "ph.d",
        "m.d",
        "b.a",
        "m.a",
        "d.c",
    ]
)
"""Abbreviations that often stand last in a sentence: there a capital letter after them decides."""
_LOOK_BEHIND = 24


def sentences(text: str, start: int = 0, end: int | None = None) -> list[tuple[int, int]]:
    """Ranges of the sentences of text[start:end], blanks trimmed, in order; offsets count from the start of `text`."""
    stop = len(text) if end is None else end
    found: list[tuple[int, int]] = []
    left = start
    for right in boundaries(text, start, stop):
        trimmed = trim(text, left, right)
        if trimmed[0] < trimmed[1]:
            found.append(trimmed)
        left = right
    return found


def trim(text: str, start: int, end: int) -> tuple[int, int]:
    """The range without the blanks at its ends; empty where there is nothing but blanks."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def boundaries(text: str, start: int, stop: int) -> list[int]:
    """Where the sentences of text[start:stop] end, in order; blanks that follow belong to the next one."""
    ends = [match.end() for match in _END.finditer(text, start, stop) if _ends_sentence(text, match, start, stop)]
    ends.extend(match.end() for match in _PARAGRAPH.finditer(text, start, stop))
    return sorted({*ends, stop})


def _ends_sentence(text: str, match: re.Match[str], start: int, stop: int) -> bool:
    mark = match.group()
    if mark[0] not in ".…":
        following = _next_visible(text, match.end(), stop)
        return mark[0] in "。！？；" or not following.islower()
    following = _next_visible(text, match.end(), stop)
    if following.islower() or following in ",;:)":
        return False
    if not mark.startswith(".") or len(mark) > 1:
        return True
    before = _LAST_WORD.search(text[max(start, match.start() - _LOOK_BEHIND) : match.start()])
    word = before.group().lower().lstrip("'’-") if before else ""
    if word in _MAY_END:
        return following.isupper()
    if word in _BEFORE_NUMBERS:
        return not following.isdigit()
    initial = len(word) == 1 and word.isalpha() and word != "i"
    return not (word in _ABBREVIATIONS or initial)


def _next_visible(text: str, position: int, stop: int) -> str:
    """The first letter or mark after `position`, opening quotes and brackets skipped; "" at the end."""
    while position < stop and (text[position].isspace() or text[position] in "\"'“‘([*_"):
        position += 1
    return text[position] if position < stop else ""
