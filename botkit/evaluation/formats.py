"""Reading evaluation files. Every fault is told with file and line, before anything is measured."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from botkit.data.jsonl import objects, read_text
from botkit.errors import DataError
from botkit.language import detect
from botkit.messages import Language, Turn


@dataclass(frozen=True, slots=True)
class ReadingExample:
    """A question, the paragraph it is asked of, and the accepted answers; none where the paragraph does not answer it."""

    id: str
    title: str
    context: str
    question: str
    answers: tuple[str, ...]
    language: Language


@dataclass(frozen=True, slots=True)
class RoutedQuestion:
    """A question for the whole bot. `history` are the person's earlier messages; `route` is what should come of it."""

    id: str
    language: Language
    kind: str
    question: str
    answers: tuple[str, ...]
    history: tuple[str, ...]
    route: Literal["answer", "unknown"]
    document: str = ""


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A text and its tone."""

    text: str
    label: str
    language: Language


@dataclass(frozen=True, slots=True)
class Intent:
    """Ways to say one thing and the accepted replies, by persona."""

    language: Language
    questions: tuple[str, ...]
    answers: Mapping[str, str]


def read_reading(path: Path) -> list[ReadingExample]:
    """Examples of a SQuAD 1.1 or 2.0 file (JSON), or of JSON lines `{"title", "question", "context", "answers"}`."""
    text = read_text(path)
    if _is_squad(text):
        return list(_squad(path, text))
    examples = []
    for line, row in objects(path, text):
        question, context = _field(path, line, row, "question"), _field(path, line, row, "context")
        if "answers" not in row:
            raise DataError(f"{path}:{line}: `answers` is missing; write [] where the context does not answer.")
        golds = tuple(_answer(path, line, answer) for answer in _list(path, line, row, "answers"))
        number = str(row.get("id", line))
        examples.append(ReadingExample(number, str(row.get("title", "")), context, question, golds, detect(context)))
    return examples


def _is_squad(text: str) -> bool:
    """Whether a file's text is one JSON object with a list under `data`, and not lines of objects."""
    if not text.lstrip().startswith("{") or not re.search(r'"data"\s*:\s*\[', text[:2000]):
        return False
    try:
        first = json.loads(text.lstrip().partition("\n")[0])
    except json.JSONDecodeError:  # an object over several lines, or a broken one
        return True
    return isinstance(first.get("data"), list)


def _squad(path: Path, text: str) -> Iterator[ReadingExample]:
    where = "data"
    try:
        for number, article in enumerate(json.loads(text)["data"]):
            title = str(article.get("title", "")).replace("_", " ")
            for place, paragraph in enumerate(article["paragraphs"]):
                where = f"data[{number}].paragraphs[{place}]"
                context = str(paragraph["context"])
                for count, asked in enumerate(paragraph["qas"]):
                    where = f"data[{number}].paragraphs[{place}].qas[{count}]"
                    answers = [] if asked.get("is_impossible") else asked["answers"]
                    golds = tuple(str(answer["text"]) for answer in answers)
                    yield ReadingExample(
                        str(asked["id"]), title, context, str(asked["question"]), golds, detect(context)
                    )
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON ({error.msg}).") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not in the SQuAD format in or after {where} ({error!r}).") from error


def read_questions(path: Path) -> list[RoutedQuestion]:
    """Questions for the whole bot: JSON lines with `question`, `route`, and where there are any `answers`, `history`, `lang`."""
    questions = []
    for line, row in objects(path, read_text(path)):
        question = _field(path, line, row, "question")
        answers = tuple(str(answer) for answer in _list(path, line, row, "answers"))
        route = row.get("route", "answer" if answers else "unknown")
        if route not in ("answer", "unknown"):
            raise DataError(f"{path}:{line}: route is {route!r}; write answer or unknown.")
        if route == "answer" and not answers:
            raise DataError(f"{path}:{line}: a question with the route answer needs `answers`.")
        language = _language(path, line, row, question)
        questions.append(
            RoutedQuestion(
                str(row.get("id", line)),
                language,
                str(row.get("kind", route)),
                question,
                answers,
                tuple(str(text) for text in _list(path, line, row, "history")),
                route,
                str(row.get("document", "")),
            )
        )
    return questions


def is_routed(path: Path) -> bool:
    """Whether a file holds questions for the whole bot, rather than paragraphs with questions."""
    text = read_text(path)
    if _is_squad(text):
        return False
    return "context" not in next(objects(path, text))[1]


def read_labelled(path: Path, labels: Sequence[str] = ("negative", "neutral", "positive")) -> list[LabelledText]:
    """Texts with labels, tones by default: JSON lines `{"text", "label", "lang"}`."""
    found = []
    for line, row in objects(path, read_text(path)):
        text, label = _field(path, line, row, "text"), _field(path, line, row, "label")
        if label not in labels:
            raise DataError(
                f"{path}:{line}: label is {label!r}; write {' or '.join((', '.join(labels[:-1]), labels[-1]))}."
            )
        found.append(LabelledText(text, label, _language(path, line, row, text)))
    return found


def read_dialogues(path: Path, texts: list[str] | None = None) -> tuple[list[list[Turn]], list[Intent]]:
    """Conversations (`{"turns"}`, the person first) and intents (`{"questions", "answers"}`) of a file of JSON lines.

    Plain texts (`{"text"}`) are added to `texts`, where that list is given.
    """
    conversations: list[list[Turn]] = []
    intents: list[Intent] = []
    for line, row in objects(path, read_text(path)):
        if "turns" in row:
            turns = [str(text) for text in _list(path, line, row, "turns")]
            conversations.append([Turn("bot" if number % 2 else "user", text) for number, text in enumerate(turns)])
        elif isinstance(row.get("answers"), dict) and row["answers"]:
            questions = tuple(str(text) for text in _list(path, line, row, "questions"))
            language = _language(path, line, row, " ".join(questions))
            intents.append(Intent(language, questions, {str(k): str(v) for k, v in row["answers"].items()}))
        elif texts is not None and "text" in row:
            texts.append(_field(path, line, row, "text"))
        elif texts is not None:
            raise DataError(f"{path}:{line}: neither `turns`, `text`, nor `questions` with `answers` by persona.")
        else:
            raise DataError(f"{path}:{line}: neither `turns` nor `questions` with `answers` by persona.")
    return conversations, intents


def _field(path: Path, line: int, row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{path}:{line}: `{name}` is missing or no text.")
    return value


def _language(path: Path, line: int, row: Mapping[str, Any], text: str) -> Language:
    """The line's `lang`, or the language of its words."""
    named = row.get("lang")
    if named is None:
        return detect(text)
    if named not in ("en", "zh"):
        raise DataError(f"{path}:{line}: lang is {named!r}; write en or zh.")
    return "zh" if named == "zh" else "en"


def _list(path: Path, line: int, row: Mapping[str, Any], name: str) -> list[Any]:
    value = row.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise DataError(f"{path}:{line}: `{name}` must be a list.")
    return value


def _answer(path: Path, line: int, answer: Any) -> str:
    text = answer.get("text") if isinstance(answer, dict) else answer
    if not isinstance(text, str):
        raise DataError(f"{path}:{line}: an answer must be text, or an object with `text`.")
    return text
