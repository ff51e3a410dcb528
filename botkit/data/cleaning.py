"""Cleaning rows, and saying what was changed.

A row is mended where it can be (markup, control characters, answers that a cleaned context has moved) and dropped where it
cannot, always for a named reason that the report counts and shows an example of.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from botkit.data.duplicates import AlikeRows, folded
from botkit.data.foreign import is_foreign
from botkit.data.rows import Kind, Row, check, kind_of, language_of, main_text
from botkit.errors import DataError
from botkit.messages import LANGUAGES, Language

_ELEMENTS: Final = (
    "a|abbr|address|area|article|aside|audio|b|base|bdi|bdo|big|blockquote|body|br|button|canvas|caption|center|cite|code|col|"
    "colgroup|data|datalist|dd|del|details|dfn|dialog|div|dl|dt|em|embed|fieldset|figcaption|figure|font|footer|form|frame|"
    "frameset|h[1-6]|head|header|hgroup|hr|html|i|iframe|img|input|ins|kbd|label|legend|li|link|main|map|mark|menu|meta|meter|"
    "nav|noscript|object|ol|optgroup|option|output|p|param|picture|pre|progress|q|rp|rt|ruby|s|samp|script|search|section|"
    "select|slot|small|source|span|strike|strong|style|sub|summary|sup|svg|table|tbody|td|template|textarea|tfoot|th|thead|"
    "time|title|tr|track|tt|u|ul|var|video|wbr|acronym|applet|basefont|blink|dir|marquee|nobr|noframes|"
    "path|g|rect|circle|ellipse|line|polyline|polygon|text|tspan|defs|use|symbol|math|mi|mo|mn|mrow"
)
_ATTRIBUTES: Final = r"(?:\s+(?:[\w:@.-]+\s*=|(?:async|checked|controls|defer|disabled|hidden|multiple|nowrap|open|readonly|required|selected)\b)[^<>]*)?"
_MARKUP: Final = rf"/?(?:{_ELEMENTS}|[a-z]+:[a-z]+){_ATTRIBUTES}\s*/?>|/?[a-z]+-[a-z-]+\s[^<>]*>|/[a-z]+-[a-z-]+>|!--|!\[|!DOCTYPE|\?xml"
_STRAY: Final = re.compile(rf"<(?!{_MARKUP})", re.IGNORECASE)
_TAG: Final = re.compile(f"<(?:{_MARKUP})", re.IGNORECASE)
"""Tags of HTML; other words between angle brackets, such as a mask or a type's parameter, are text."""
_BARE: Final = re.compile(r"<([a-z][a-z0-9]*)>", re.IGNORECASE)
_SURELY_TAGS: Final = frozenset(
    "a article b big blockquote body br center code dd del div dl dt em font footer h1 h2 h3 h4 h5 h6 head header hr html i img ins li "
    "main nav ol option p pre s section small span strike strong sub sup table tbody td tfoot th thead tr tt u ul wbr".split()
)
"""Tags also where nothing closes them. Of others, such as <time> or <script>, a sentence may speak."""
_LINE, _PARAGRAPH, _CELL = "\ue002", "\ue003", "\ue004"
"""Three private characters for where a browser begins another line, paragraph or cell."""
_BREAKS: Final = {
    _LINE: [
        "br",
        "div",
        "li",
        "tr",
        "dt",
        "dd",
        "option",
        "article",
        "section",
        "header",
        "footer",
        "address",
        "figcaption",
    ],
    _PARAGRAPH: ["p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl", "table", "blockquote", "pre", "hr"],
    _CELL: ["td", "th"],
}
_BROKEN: Final = re.compile(f"[ \\t\\n{_CELL}]*[{_LINE}{_PARAGRAPH}][ \\t\\n{_LINE}{_PARAGRAPH}{_CELL}]*")
_ENTITY: Final = re.compile(r"&(?:#\d+|#x[0-9a-fA-F]+|[a-zA-Z][a-zA-Z0-9]{1,31});")
_BLANKS: Final = re.compile(r"[^\S\n]+")
_LINES: Final = re.compile(r" ?\n ?(?:\n ?)+")
_PERSONAL: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    ("<email>", re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")),
    ("<url>", re.compile(r"https?://[^\s<>\"'，。）)㐀-鿿]+")),
    ("<card>", re.compile(r"(?<![A-Za-z0-9.])\d{4}(?:[ -]?\d{4}){2}[ -]?\d{1,7}(?![A-Za-z0-9]|\.\d)")),
    ("<phone>", re.compile(r"(?<![A-Za-z0-9.])\+?\(?\d{2,4}\)?(?:[ /-]?\d{2,4}){2,4}(?![A-Za-z0-9]|\.\d)")),
)
_NO_PHONE: Final = re.compile(r"\d{4}-\d{2}-\d{2}|(?:(?:19|20)\d\d[ /-]?)+")
"""Dates and years, which look like telephone numbers."""
_BEGIN, _END = "\ue000", "\ue001"
"""Two private characters that mark an answer while its context is cleaned, so that its new place is known."""


@dataclass(frozen=True)
class Rules:
    """What to clean. Lengths are in characters of the main text; for reading rows, of the context."""

    html: bool = True
    simplify: bool = False
    mask: bool = False
    languages: tuple[Language, ...] = ()
    shortest: int = 1
    longest: int = 20_000
    duplicates: bool = True
    near_duplicates: float | None = 0.8
    labels: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    """Labels to write otherwise: {"1": "positive"}."""


@dataclass
class Report:
    """How many rows there were, what was done to them, and an example of each change."""

    read: int = 0
    kept: int = 0
    mended: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def note(self, counter: Counter[str], reason: str, place: str, text: str) -> None:
        """Count a change."""
        counter[reason] += 1
        shown = " ".join(text.split())
        self.examples.setdefault(reason, f"{place}: {shown[:80]}{'…' if len(shown) > 80 else ''}")

    def as_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return {
            "read": self.read,
            "kept": self.kept,
            "mended": dict(self.mended),
            "dropped": dict(self.dropped),
            "examples": self.examples,
        }


def clean(
    rows: Sequence[Row], kind: Kind, rules: Rules, track: Callable[[Sequence[Row]], Iterable[Row]] = iter
) -> tuple[list[Row], Report]:
    """The rows that are left, cleaned and valid, and what was done."""
    report = Report(read=len(rows))
    cleaners = _cleaners(rules)
    seen: dict[str, Row] = {}
    near = AlikeRows(kind, rules.near_duplicates, by_label=True) if rules.near_duplicates else None
    places: list[str] = []
    kept = []
    for row in track(rows):
        text = _safe_text(row, kind)
        values = _mend(row, kind, cleaners, rules, report)
        reason = _fault(values, kind, rules, row.place) if values is not None else "answer not in its context"
        if values is not None and not reason and rules.duplicates:
            key = folded(main_text(values, kind))
            before = seen.setdefault(key, Row(values, row.place))
            if before.values is not values:
                reason = "conflicting label" if values.get("label") != before.values.get("label") else "duplicate"
                if kind == "reading" and _joined(before.values, values):
                    reason = "duplicate, its answers joined to those of the first"
        if values is not None and not reason and near is not None:
            found = near.like(values)
            if found is not None:
                reason = "near duplicate"
                text = f"{text[:60]} (like {places[found]})"
            else:
                places.append(row.place)
        if reason or values is None:
            report.note(report.dropped, reason, row.place, text)
            continue
        kept.append(Row(values, row.place))
    report.kept = len(kept)
    return kept, report


def _joined(first: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the other row has answers that the first lacks, which it has then: a table gives each a row of its own."""
    if not first["answers"] or first["context"] != other["context"]:
        return False
    new = [answer for answer in other["answers"] if answer not in first["answers"]]
    first["answers"].extend(new)
    return bool(new)


def _safe_text(row: Row, kind: Kind) -> str:
    try:
        return main_text(row.values, kind)
    except (KeyError, TypeError):
        return str(dict(row.values))


def _cleaners(rules: Rules) -> list[tuple[str, Callable[[str], str]]]:
    steps: list[tuple[str, Callable[[str], str]]] = []
    if rules.html:
        steps.append(("HTML removed", without_html))
    steps.append(("control characters removed", without_controls))
    steps.append(("white space and Unicode form made even", even))
    if rules.simplify:
        from opencc import OpenCC

        steps.append(("converted to Simplified Chinese", OpenCC("t2s").convert))
    if rules.mask:
        steps.append(("personal details masked", without_personal))
    return steps


def without_html(text: str) -> str:
    """The text that a browser would show; a text without tags or entities stays as it is."""
    if _TAG.search(text):
        from bs4 import BeautifulSoup, XMLParsedAsHTMLWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", XMLParsedAsHTMLWarning)
            soup = BeautifulSoup(_STRAY.sub("&lt;", _without_words_like_tags(text)), "html.parser")
        for element in soup(["script", "style"]):
            element.decompose()
        for mark, names in _BREAKS.items():
            for element in soup(names):
                if element.parent is not None:
                    element.insert_before(mark)
                    element.insert_after(mark)
        shown = _BROKEN.sub(lambda run: "\n\n" if _PARAGRAPH in run[0] else "\n", soup.get_text())
        return shown.replace(_CELL * 2, " ").replace(_CELL, " ")
    return html.unescape(text) if _ENTITY.search(text) else text


def _without_words_like_tags(text: str) -> str:
    """The text with what may be a word in angle brackets, since nothing closes it, made no tag."""
    lowered = text.lower()

    def kept(found: re.Match[str]) -> str:
        name = found[1].lower()
        return found[0] if name in _SURELY_TAGS or f"</{name}" in lowered else f"&lt;{found[1]}>"

    return _BARE.sub(kept, text)


def without_controls(text: str) -> str:
    """The text without control and invisible format characters (joiners of emoji stay), surrogates and U+FFFD."""
    return "".join(
        c
        for c in text.replace("\r\n", "\n").replace("\r", "\n")
        if c in "\n\t\u200d" or (unicodedata.category(c) not in ("Cc", "Cf", "Cs") and c != "\ufffd")
    )


def even(text: str) -> str:
    """Composed Unicode (NFC), single blanks, at most one empty line in a row."""
    return _LINES.sub("\n\n", _BLANKS.sub(" ", unicodedata.normalize("NFC", text))).strip()


def without_personal(text: str) -> str:
    """Mail addresses, web addresses, card and telephone numbers replaced by what they are."""
    for name, pattern in _PERSONAL:
        text = pattern.sub(partial(_masked, name), text)
    return text


def _masked(name: str, found: re.Match[str]) -> str:
    return found[0] if name == "<phone>" and _NO_PHONE.fullmatch(found[0]) else name


def _mend(
    row: Row, kind: Kind, cleaners: Sequence[tuple[str, Callable[[str], str]]], rules: Rules, report: Report
) -> dict[str, Any] | None:
    """The row cleaned, or None where one of its answers is nowhere in the context."""
    values = dict(row.values)
    if not _is_of(values, kind):
        return values  # told by _fault
    _mend_common(values)

    noted: set[str] = set()

    def cleaned(text: Any) -> Any:
        if not isinstance(text, str):
            return text
        for name, step in cleaners:
            after = step(text)
            if after != text and name not in noted and _BEGIN not in text:
                noted.add(name)
                report.note(report.mended, name, row.place, text)
            text = after
        return text

    if kind == "reading":
        context, golds = values["context"], _golds(values.get("answers"))
        if golds is None:
            return values
        if golds != values["answers"]:
            report.note(
                report.mended, "answers as Hugging Face's SQuAD has them", row.place, json.dumps(values["answers"])
            )
        found = []
        for gold in golds:
            text, start = (
                (gold.get("text"), gold.get("start", gold.get("answer_start")))
                if isinstance(gold, dict)
                else (gold, None)
            )
            if not isinstance(text, str) or not isinstance(context, str):
                return values
            if not isinstance(start, int) or context[start : start + len(text)] != text:
                said = start
                start = _nearest(context, text, start if isinstance(start, int) else 0)
                if start is None:
                    return None
                mended = "answer's place corrected"
                if said is None:
                    mended = (
                        "answer's place found"
                        if context.count(text) == 1
                        else "answer stands there several times, the first taken"
                    )
                report.note(report.mended, mended, row.place, text)
            marked = context[:start] + _BEGIN + context[start : start + len(text)] + _END + context[start + len(text) :]
            marked = cleaned(marked)
            begin, end = marked.find(_BEGIN), marked.find(_END)
            if begin < 0 or end < begin:
                return None
            words = marked[begin + 1 : end]
            left = len(words) - len(words.lstrip())
            found.append({"text": words.strip(), "start": begin + left})
        values["context"] = cleaned(context)
        values["question"] = cleaned(values["question"])
        values["answers"] = [one for one in found if one["text"]]
        if isinstance(values.get("title"), str):
            values["title"] = cleaned(values["title"])
        if any(values["context"][a["start"] : a["start"] + len(a["text"])] != a["text"] for a in values["answers"]):
            # blanks at the marks were made even otherwise; find the words again
            for answer in values["answers"]:
                start = _nearest(values["context"], answer["text"], answer["start"])
                if start is None:
                    return None
                answer["start"] = start
        return values
    if kind == "dialogue":
        if isinstance(values.get("turns"), list):
            values["turns"] = [cleaned(turn) for turn in values["turns"]]
        return values
    if kind == "intents":
        if isinstance(values["questions"], list):
            values["questions"] = [cleaned(question) for question in values["questions"]]
        values["answers"] = {persona: cleaned(answer) for persona, answer in values["answers"].items()}
        return values
    values["text"] = cleaned(values["text"])
    if kind == "labelled":
        if not isinstance(values["label"], (str, int, float)) or isinstance(values["label"], bool):
            return values
        label = str(values["label"]).strip()
        if label in rules.rename:
            report.note(report.mended, "label renamed", row.place, label)
            label = rules.rename[label]
        values["label"] = label
    return values


def _mend_common(values: dict[str, Any]) -> None:
    """Write a language as "en" where it is "en-US", a number of a group as words, and a time without blanks."""
    language = values.get("lang")
    if isinstance(language, str) and (plain := re.split(r"[-_]", language.strip().lower())[0]) in LANGUAGES:
        values["lang"] = plain
    if isinstance(values.get("group"), int):
        values["group"] = str(values["group"])
    if isinstance(values.get("time"), str):
        values["time"] = values["time"].strip()


def _is_of(values: Mapping[str, Any], kind: Kind) -> bool:
    """Whether a row is of a kind; of a labelled one the text alone is taken too."""
    found = kind_of(values)
    return found == kind or (found == "labelled" and kind == "text")


def _golds(answers: Any) -> list[Any] | None:
    """The answers as a list, None where they are none; Hugging Face keeps the fields of all of them in lists instead."""
    if isinstance(answers, dict):
        texts, starts = answers.get("text"), answers.get("answer_start")
        if isinstance(texts, list) and isinstance(starts, list) and len(texts) == len(starts):
            return [{"text": text, "start": start} for text, start in zip(texts, starts, strict=True)]
    return answers if isinstance(answers, list) else None


def _nearest(context: str, text: str, start: int) -> int | None:
    """The place of `text` in the context that is nearest to `start`."""
    places = [match.start() for match in re.finditer(re.escape(text), context)] if text.strip() else []
    return min(places, key=lambda at: abs(at - start)) if places else None


def _is_in(values: Mapping[str, Any], kind: Kind, languages: Sequence[Language]) -> bool:
    if language_of(values, kind) not in languages:
        return False
    text = values["context"] if kind == "reading" else main_text(values, kind)
    return values.get("lang") is not None or not is_foreign(text)


def _fault(values: Mapping[str, Any], kind: Kind, rules: Rules, place: str) -> str:
    """Why a row cannot stay, or nothing."""
    if not _is_of(values, kind):
        return f"not a {kind} row"
    try:
        check(values, kind, place)
    except DataError as error:
        told = str(error)
        if "no words" in told or "at least 1 character" in told:
            return "empty"
        if "the context has" in told:
            return "answer not in its context"
        field = re.search(r"`([\w.]+)`", told)
        return f"{field[0] if field else 'a field'} missing or of the wrong type"
    if rules.languages and not _is_in(values, kind, rules.languages):
        return "another language"
    length = len(values["context"] if kind == "reading" else main_text(values, kind))
    if length < rules.shortest:
        return "too short"
    if length > rules.longest:
        return "too long"
    if kind == "labelled" and rules.labels and values["label"] not in rules.labels:
        return f"label not among {', '.join(rules.labels)}"
    return ""
