"""Tables of questions and answers (CSV, JSON, YAML, spreadsheets) become FAQ documents."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from botkit.knowledge.documents import Content, UnreadableDocument, as_language, as_tags, yaml_words
from botkit.knowledge.types import FaqEntry

QUESTION_NAMES = ("question", "questions", "q", "问题", "问", "提问", "標準問題", "标准问题", "問題")
ANSWER_NAMES = ("answer", "answers", "a", "答案", "答", "回答", "回复", "回覆", "解答")
TAG_NAMES = ("tags", "tag", "category", "标签", "分类", "標籤", "分類")
_LIST_NAMES = ("faq", "faqs", "entries", "items", "data", "questions", "qa", "rows")
_ABOVE_HEADER = re.compile(r"(?:[^\S\n]*\n)*(?:sep=(.)[^\S\n]*\n)?(?:[^\S\n]*\n)*", re.IGNORECASE)
_MEDIA_TYPES = {
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}


def read_table(text: str, suffix: str, title: str) -> Content:
    """The FAQ in a CSV, TSV, JSON, JSON Lines or YAML text.

    Raises `UnreadableDocument` with the reason "not_faq" where there are no question and answer columns, and
    "broken" where the text does not parse or no entry has both.
    """
    if suffix in (".csv", ".tsv"):
        return faq_content(_csv_rows(text, suffix), title, _MEDIA_TYPES[suffix])
    if suffix == ".jsonl":
        return _json_lines(text, title)
    value = _parse(text, suffix)
    header: Mapping[str, Any] = value if isinstance(value, dict) else {}
    rows = next((header[name] for name in _LIST_NAMES if isinstance(header.get(name), list)), value)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _not_faq("it is not a list of entries")
    content = faq_content(
        [(f"entry {number}", row) for number, row in enumerate(rows, 1)],
        str(header.get("title") or title),
        _MEDIA_TYPES[suffix],
        tags=as_tags(header.get("tags")),
    )
    language = as_language(header.get("language") or header.get("lang"))
    return content if language is None else _with_language(content, language)


def faq_content(
    rows: Sequence[tuple[str, Mapping[str, Any]]],
    title: str,
    media_type: str,
    *,
    tags: tuple[str, ...] = (),
    left_out: Sequence[str] = (),
) -> Content:
    """Markdown with a heading for each question, and the entries with their places in it.

    `rows` pairs each row with its place in the file, for messages. A question given as a list is one entry
    for each wording. A row without a question or an answer is left out, and the content's `left_out` says so.
    """
    names = [str(name) for name in dict.fromkeys(name for _, row in rows for name in row)]
    question_name, answer_name = _find(names, QUESTION_NAMES), _find(names, ANSWER_NAMES)
    if question_name is None or answer_name is None:
        raise _not_faq(f"its columns are {', '.join(names[:8]) or 'missing'}")
    tag_name = _find(names, TAG_NAMES)
    text = f"# {title}\n"
    entries: list[FaqEntry] = []
    missed = list(left_out)
    for place, row in rows:
        answer = _cell(row.get(answer_name))
        asked = row.get(question_name)
        questions = [_cell(item) for item in (asked if isinstance(asked, list) else [asked])]
        questions = [" ".join(question.split()) for question in questions if question]
        if not answer or not questions:
            if any(_cell(value) for value in row.values()):
                missing = "answer" if questions else "question" if answer else "question and no answer"
                missed.append(f"{place} has no {missing}")
            continue
        text += f"\n## {questions[0]}\n\n"
        start, end = len(text), len(text) + len(answer)
        text += f"{answer}\n"
        row_tags = as_tags(row.get(tag_name)) if tag_name is not None else ()
        entries.extend(FaqEntry(question, answer, start, end, row_tags) for question in questions)
    if missed and not entries:
        raise UnreadableDocument("broken", missed[0])
    if not entries:
        raise UnreadableDocument("empty", "there are no entries in it")
    return Content(text, media_type, title=title, tags=tags, faq=tuple(entries), left_out=tuple(missed))


def is_faq_header(cells: Sequence[str]) -> bool:
    """Whether a row names a column of questions and one of answers."""
    return _find(cells, QUESTION_NAMES) is not None and _find(cells, ANSWER_NAMES) is not None


def faq_names(header: Sequence[str]) -> list[str]:
    """The header with its question, answer and tag columns under one name each, so that sheets can be joined."""
    common = {_find(header, names): names[0] for names in (QUESTION_NAMES, ANSWER_NAMES, TAG_NAMES)}
    return [common.get(name, name) for name in header]


def _with_language(content: Content, language: Any) -> Content:
    from dataclasses import replace

    return replace(content, language=language)


def _not_faq(found: str) -> UnreadableDocument:
    return UnreadableDocument("not_faq", f"it is no FAQ table ({found}); it needs the columns question and answer")


def _find(names: Iterable[str], wanted: Sequence[str]) -> str | None:
    by_folded = {name.strip().lstrip("\ufeff").casefold(): name for name in names}
    return next((by_folded[name] for name in wanted if name in by_folded), None)


def _cell(value: Any) -> str:
    """The words of a cell, as they are written; a lone surrogate, which JSON can spell, becomes a question mark."""
    if isinstance(value, list):
        return "\n".join(filter(None, map(_cell, value)))
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text.encode("utf-8", "replace").decode("utf-8").replace("\r\n", "\n").strip()


def _csv_rows(text: str, suffix: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The rows below the header; blank lines and Excel's `sep=;` may stand above it."""
    above = _ABOVE_HEADER.match(text)
    assert above is not None, "the pattern matches nothing as well"
    skipped, body = above[0].count("\n"), text[above.end() :]
    header = body.split("\n", 1)[0]
    delimiter = "\t" if suffix == ".tsv" else above[1] or max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(body, newline=""), delimiter=delimiter)
    rows: list[tuple[str, Mapping[str, Any]]] = []
    begins = 2  # a quoted cell may go on for lines: a row is named by its first
    try:
        for row in reader:
            rows.append((f"line {skipped + begins}", {name: value for name, value in row.items() if name is not None}))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise UnreadableDocument("broken", f"line {skipped + reader.line_num} is not valid CSV: {error}") from error
    return rows


def _json_lines(text: str, title: str) -> Content:
    rows: list[tuple[str, Mapping[str, Any]]] = []
    broken: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = _loads(line)
        except (ValueError, RecursionError):
            broken.append(f"line {number} is not valid JSON")
            continue
        if not isinstance(row, dict):
            raise _not_faq("it is not a list of entries")
        rows.append((f"line {number}", row))
    if broken and not rows:
        raise UnreadableDocument("broken", broken[0])
    return faq_content(rows, title, _MEDIA_TYPES[".jsonl"], left_out=broken)


def _parse(text: str, suffix: str) -> Any:
    if suffix in (".yaml", ".yml"):
        return yaml_words(text)
    try:
        return _loads(text)
    except (ValueError, RecursionError) as error:
        where = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "the nesting"
        raise UnreadableDocument("broken", f"{where} is not valid JSON") from error


def _loads(text: str) -> Any:
    """JSON with its numbers as they are written: 10.50 stays 10.50."""
    return json.loads(text, parse_int=str, parse_float=str)
