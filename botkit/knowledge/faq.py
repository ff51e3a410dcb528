"""Tables of questions and answers (CSV, JSON, YAML, spreadsheets) become FAQ documents."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from botkit.knowledge.documents import Content, UnreadableDocument, as_language, as_tags
from botkit.knowledge.types import FaqEntry

QUESTION_NAMES = ("question", "questions", "q", "问题", "问", "提问", "標準問題", "标准问题", "問題")
ANSWER_NAMES = ("answer", "answers", "a", "答案", "答", "回答", "回复", "回覆", "解答")
TAG_NAMES = ("tags", "tag", "category", "标签", "分类", "標籤", "分類")
_LIST_NAMES = ("faq", "faqs", "entries", "items", "data", "questions", "qa", "rows")
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
    value = _parse(text, suffix)
    header: Mapping[str, Any] = value if isinstance(value, dict) else {}
    rows = next((header[name] for name in _LIST_NAMES if isinstance(header.get(name), list)), value)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _not_faq("it is not a list of entries")
    content = faq_content(
        [(number, row) for number, row in enumerate(rows, 1)],
        str(header.get("title") or title),
        _MEDIA_TYPES[suffix],
        tags=as_tags(header.get("tags")),
    )
    language = as_language(header.get("language") or header.get("lang"))
    return content if language is None else _with_language(content, language)


def faq_content(
    rows: Sequence[tuple[int, Mapping[str, Any]]], title: str, media_type: str, *, tags: tuple[str, ...] = ()
) -> Content:
    """Markdown with a heading for each question, and the entries with their places in it.

    `rows` pairs each row with its number in the file, for messages. A question given as a list is one entry
    for each wording. A row without a question or an answer is left out, and `left_out` says so.
    """
    names = [str(name) for name in dict.fromkeys(name for _, row in rows for name in row)]
    question_name, answer_name = _find(names, QUESTION_NAMES), _find(names, ANSWER_NAMES)
    if question_name is None or answer_name is None:
        raise _not_faq(f"its columns are {', '.join(names[:8]) or 'missing'}")
    tag_name = _find(names, TAG_NAMES)
    text = f"# {title}\n"
    entries: list[FaqEntry] = []
    left_out: list[str] = []
    for number, row in rows:
        answer = _cell(row.get(answer_name))
        asked = row.get(question_name)
        questions = [_cell(item) for item in (asked if isinstance(asked, list) else [asked])]
        questions = [" ".join(question.split()) for question in questions if question]
        if not answer or not questions:
            if any(_cell(value) for value in row.values()):
                missing = "answer" if questions else "question" if answer else "question and no answer"
                left_out.append(f"entry {number} has no {missing}")
            continue
        text += f"\n## {questions[0]}\n\n"
        start, end = len(text), len(text) + len(answer)
        text += f"{answer}\n"
        row_tags = as_tags(row.get(tag_name)) if tag_name is not None else ()
        entries.extend(FaqEntry(question, answer, start, end, row_tags) for question in questions)
    if left_out and not entries:
        raise UnreadableDocument("broken", left_out[0])
    if not entries:
        raise UnreadableDocument("empty", "there are no entries in it")
    return Content(text, media_type, title=title, tags=tags, faq=tuple(entries), left_out=tuple(left_out))


def _with_language(content: Content, language: Any) -> Content:
    from dataclasses import replace

    return replace(content, language=language)


def _not_faq(found: str) -> UnreadableDocument:
    return UnreadableDocument("not_faq", f"it is no FAQ table ({found}); it needs the columns question and answer")


def _find(names: Iterable[str], wanted: Sequence[str]) -> str | None:
    by_folded = {name.strip().lstrip("\ufeff").casefold(): name for name in names}
    return next((by_folded[name] for name in wanted if name in by_folded), None)


def _cell(value: Any) -> str:
    """The words of a cell; a lone surrogate, which JSON can spell, becomes a question mark."""
    text = "" if value is None else str(value)
    return text.encode("utf-8", "replace").decode("utf-8").replace("\r\n", "\n").strip()


def _csv_rows(text: str, suffix: str) -> list[tuple[int, Mapping[str, Any]]]:
    header = text.lstrip().split("\n", 1)[0]
    delimiter = "\t" if suffix == ".tsv" else max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return [(reader.line_num, {name: value for name, value in row.items() if name is not None}) for row in reader]
    except csv.Error as error:
        raise UnreadableDocument("broken", f"line {reader.line_num} is not valid CSV: {error}") from error


def _parse(text: str, suffix: str) -> Any:
    if suffix in (".yaml", ".yml"):
        import yaml

        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            line = getattr(getattr(error, "problem_mark", None), "line", 0) + 1
            raise UnreadableDocument("broken", f"line {line} is not valid YAML") from error
    try:
        if suffix == ".jsonl":
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        where = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "the nesting"
        raise UnreadableDocument("broken", f"{where} is not valid JSON") from error
