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
from typing import Any, Final

from botkit.data.duplicates import AlikeRows, folded
from botkit.data.foreign import is_foreign
from botkit.data.rows import Kind, Row, check, kind_of, language_of, main_text
from botkit.errors import DataError
from botkit.messages import Language

_ELEMENTS: Final = (
    "a|abbr|address|area|article|aside|audio|b|base|bdi|bdo|big|blockquote|body|br|button|canvas|caption|center|cite|code|col|"
    "colgroup|data|datalist|dd|del|details|dfn|dialog|div|dl|dt|em|embed|fieldset|figcaption|figure|font|footer|form|frame|"
    "frameset|h[1-6]|head|header|hgroup|hr|html|i|iframe|img|input|ins|kbd|label|legend|li|link|main|map|mark|menu|meta|meter|"
    "nav|noscript|object|ol|optgroup|option|output|p|param|picture|pre|progress|q|rp|rt|ruby|s|samp|script|search|section|"
    "select|slot|small|source|span|strike|strong|style|sub|summary|sup|svg|table|tbody|td|template|textarea|tfoot|th|thead|"
    "time|title|tr|track|tt|u|ul|var|video|wbr|acronym|applet|basefont|blink|dir|marquee|nobr|noframes|"
    "path|g|rect|circle|ellipse|line|polyline|polygon|text|tspan|defs|use|symbol|math|mi|mo|mn|mrow"
)
_MARKUP: Final = rf"/?(?:{_ELEMENTS}|[a-z]+:[a-z]+)(?:\s[^<>]*)?/?>|/?[a-z]+-[a-z-]+\s[^<>]*>|/[a-z]+-[a-z-]+>|!--|!\[|!DOCTYPE|\?xml"
_STRAY: Final = re.compile(rf"<(?!{_MARKUP})", re.IGNORECASE)
_TAG: Final = re.compile(f"<(?:{_MARKUP})", re.IGNORECASE)
"""Tags of HTML; other words between angle brackets, such as a mask or a type's parameter, are text."""
_ENTITY: Final = re.compile(r"&(?:#\d+|#x[0-9a-fA-F]+|[a-zA-Z][a-zA-Z0-9]{1,31});")
_BLANKS: Final = re.compile(r"[^\S\n]+")
_LINES: Final = re.compile(r" ?\n ?(?:\n ?)+")
_PERSONAL: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    ("<email>", re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")),
    ("<url>", re.compile(r"https?://[^\s<>\"'，。）)]+")),
    ("<card>", re.compile(r"(?<![A-Za-z0-9.])\d{4}(?:[ -]?\d{4}){2}[ -]?\d{1,7}(?![A-Za-z0-9]|\.\d)")),
    ("<phone>", re.compile(r"(?<![A-Za-z0-9.])\+?\(?\d{2,4}\)?(?:[ /-]?\d{2,4}){2,4}(?![A-Za-z0-9]|\.\d)")),
)
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
    seen: dict[str, str] = {}
    near = AlikeRows(kind, rules.near_duplicates) if rules.near_duplicates else None
    places: list[str] = []
    kept = []
    for row in track(rows):
        text = _safe_text(row, kind)
        values = _mend(row, kind, cleaners, rules, report)
        reason = _fault(values, kind, rules, row.place) if values is not None else "answer not in its context"
        if values is not None and not reason and rules.duplicates:
            key = folded(main_text(values, kind))
            if key in seen:
                reason = "conflicting label" if values.get("label", "") != seen[key] else "duplicate"
            seen.setdefault(key, str(values.get("label", "")))
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
            soup = BeautifulSoup(_STRAY.sub("&lt;", text), "html.parser")
        for element in soup(["script", "style"]):
            element.decompose()
        for element in soup(["br", "p", "div", "li", "tr", "h1", "h2", "h3", "h4"]):
            element.append("\n")
        return soup.get_text()
    return html.unescape(text) if _ENTITY.search(text) else text


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
        text = pattern.sub(name, text)
    return text


def _mend(
    row: Row, kind: Kind, cleaners: Sequence[tuple[str, Callable[[str], str]]], rules: Rules, report: Report
) -> dict[str, Any] | None:
    """The row cleaned, or None where one of its answers is nowhere in the context."""
    values = dict(row.values)
    if not _is_of(values, kind):
        return values  # told by _fault

    def cleaned(text: Any) -> Any:
        if not isinstance(text, str):
            return text
        for name, step in cleaners:
            after = step(text)
            if after != text:
                report.note(report.mended, name, row.place, text.replace(_BEGIN, "").replace(_END, ""))
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
            text, start = (gold.get("text"), gold.get("start")) if isinstance(gold, dict) else (gold, None)
            if not isinstance(text, str) or not isinstance(context, str):
                return values
            if not isinstance(start, int) or context[start : start + len(text)] != text:
                start = _nearest(context, text, start if isinstance(start, int) else 0)
                if start is None:
                    return None
                report.note(report.mended, "answer's place corrected", row.place, text)
            marked = context[:start] + _BEGIN + context[start : start + len(text)] + _END + context[start + len(text) :]
            counted = Counter(report.mended)
            marked = cleaned(marked)
            report.mended = counted  # the context itself is counted below
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
