"""The project's five kinds of rows, and their validation.

- reading: `{"question", "context", "answers": [{"text", "start"}], "title"}`, no answers where the context has none
- labelled: `{"text", "label"}`
- dialogue: `{"turns": [...]}`, the person first
- intents: `{"questions": [...], "answers": {persona: text}}`, ways to say one thing and what each persona replies
- text: `{"text"}`, plain text to continue

Any row may carry `lang`, `time` (ISO 8601), `group` (rows that must not be parted by a split) and further keys, which are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from botkit.data.jsonl import objects, read_text
from botkit.errors import DataError
from botkit.language import detect
from botkit.messages import Language

Kind = Literal["reading", "labelled", "dialogue", "intents", "text"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
Words = Annotated[str, StringConstraints(strip_whitespace=False, min_length=1, pattern=r"\S")]


class _Row(BaseModel):
    model_config = ConfigDict(extra="allow")
    lang: Language | None = None
    time: datetime | None = None
    group: str | None = None


class Answer(BaseModel):
    """An answer's words and the character of the context at which they begin."""

    model_config = ConfigDict(extra="forbid")
    text: Words
    start: int = Field(ge=0, strict=True)


class Reading(_Row):
    """A question about a context."""

    question: Words
    context: Words
    answers: list[Answer]
    title: str = ""


class Labelled(_Row):
    """A text and its label."""

    text: Words
    label: Annotated[str, StringConstraints(min_length=1)]


class Dialogue(_Row):
    """What was said in turn, the person first."""

    turns: Annotated[list[Words], Field(min_length=2)]


class Intents(_Row):
    """Ways to say one thing, and the replies by persona."""

    questions: Annotated[list[Words], Field(min_length=1)]
    answers: Annotated[dict[str, Words], Field(min_length=1)]


class Text(_Row):
    """Plain text."""

    text: Words


MODELS: Final[dict[Kind, type[_Row]]] = {
    "reading": Reading,
    "labelled": Labelled,
    "dialogue": Dialogue,
    "intents": Intents,
    "text": Text,
}
_SHAPES: Final[dict[Kind, str]] = {
    "reading": '{"question", "context", "answers": [{"text", "start"}]}',
    "labelled": '{"text", "label"}',
    "dialogue": '{"turns": [...]}',
    "intents": '{"questions": [...], "answers": {persona: text}}',
    "text": '{"text"}',
}


@dataclass(frozen=True, slots=True)
class Row:
    """A row's values, and the file and line (or place) it comes from."""

    values: Mapping[str, Any]
    place: str


def as_time(text: str) -> datetime:
    """A point in time in ISO 8601; raises `ValueError` for anything else."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def check(values: Mapping[str, Any], kind: Kind, place: str) -> None:
    """Raise `DataError` where a row is not of its kind, or an answer does not stand where it says."""
    try:
        MODELS[kind].model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        told = "missing" if first["type"] == "missing" else first["msg"].lower()
        if first["type"] == "string_pattern_mismatch":
            told = "no words"
        raise DataError(f"{place}: `{where}`: {told}. A {kind} row is {_SHAPES[kind]}.") from error
    if kind == "reading":
        context = values["context"]
        for answer in values["answers"]:
            found = context[answer["start"] : answer["start"] + len(answer["text"])]
            if found != answer["text"]:
                at = context.find(answer["text"])
                hint = f"It is found at {at}." if at >= 0 else "It is not in the context."
                raise DataError(
                    f"{place}: the context has {found[:40]!r} at character {answer['start']}, not the answer "
                    f"{answer['text'][:40]!r}. {hint} `botkit data prepare` mends or drops such rows."
                )


def kind_of(values: Mapping[str, Any]) -> Kind | None:
    """The kind a row seems to be of, by its keys."""
    if "question" in values and "context" in values:
        return "reading"
    if "turns" in values:
        return "dialogue"
    if "questions" in values and isinstance(values.get("answers"), dict):
        return "intents"
    if "text" in values:
        return "labelled" if "label" in values else "text"
    return None


def read_rows(path: Path, kind: Kind | None = None, *, broken: list[DataError] | None = None) -> tuple[list[Row], Kind]:
    """The rows of a JSON-lines file, validated; the kind is told by the first row where none is given.

    The first row that is not of its kind raises `DataError`; with `broken`, its error is added to that list instead.
    """
    rows = []
    for line, values in objects(path, read_text(path)):
        place = f"{path}:{line}"
        kind = kind or kind_of(values)
        if kind is None:
            known = "; ".join(f"{name} {shape}" for name, shape in _SHAPES.items())
            raise DataError(f"{place}: of no known kind: {known}.")
        try:
            check(values, kind, place)
        except DataError as error:
            if broken is None:
                raise
            broken.append(error)
            continue
        rows.append(Row(values, place))
    assert kind is not None
    return rows, kind


def main_text(values: Mapping[str, Any], kind: Kind) -> str:
    """The words that make a row what it is: by them duplicates are known."""
    if kind == "reading":
        return f"{values['question']}\n{values['context']}"
    if kind == "dialogue":
        return "\n".join(values["turns"])
    if kind == "intents":
        return "\n".join(values["questions"])
    return str(values["text"])


def language_of(values: Mapping[str, Any], kind: Kind) -> Language:
    """The row's `lang`, or the language of its words."""
    named = values.get("lang")
    if named in ("en", "zh"):
        return "zh" if named == "zh" else "en"
    return detect(values["context"] if kind == "reading" else main_text(values, kind))


def labels_of(rows: Iterable[Row]) -> list[str]:
    """The labels that occur, in alphabetical order."""
    return sorted({str(row.values["label"]) for row in rows})


def plain(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows' values."""
    return [dict(row.values) for row in rows]
