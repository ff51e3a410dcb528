"""Where data comes from: SQuAD JSON, tables, chat exports, botkit's own conversations; all become rows.

Chat exports become dialogues. Who opens is the person; everybody else is the one who answers. Messages of one side in a row
are joined; a silence longer than the gap, or a new thread, begins another dialogue.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final, Literal, get_args

from botkit.data.jsonl import objects, read_text
from botkit.data.rows import Kind, Row, as_time, kind_of
from botkit.errors import DataError

Source = Literal["jsonl", "squad", "table", "slack", "telegram", "botkit", "text"]
SOURCES: Final[tuple[Source, ...]] = get_args(Source)
_SLACK_MARKUP: Final = re.compile(r"<(?:https?|mailto|tel):[^>|]*\|([^>]*)>|<((?:https?|mailto|tel):[^>]*)>")
_SLACK_MENTION: Final = re.compile(r"<[@#!][^>|]*(?:\|@?([^>]*))?>")
_LOG: Final = logging.getLogger(__name__)
_LONGEST_FIELD: Final = 10_000_000
_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "text": ("text", "sentence", "review", "message", "content", "tweet", "文本", "内容", "评论"),
    "label": ("label", "class", "category", "sentiment", "intent", "topic", "标签", "类别", "情感"),
    "question": ("question", "问题"),
    "context": ("context", "passage", "paragraph", "原文", "段落"),
    "answer": ("answer", "答案"),
    "start": ("start", "answer_start"),
    "title": ("title", "标题"),
    "time": ("time", "date", "created_at", "timestamp", "时间", "日期"),
    "group": ("group", "document", "conversation"),
}


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a chat export."""

    who: str
    text: str
    at: datetime
    thread: str = ""


def guess_source(path: Path) -> Source:
    """The form of a file or folder, by its name and its first words."""
    if path.is_dir():
        return "slack"
    ending = _ending(path)
    if ending == ".zip":
        return "slack"
    if ending in (".csv", ".tsv"):
        return "table"
    if ending in (".txt", ".md"):
        return "text"
    text = read_text(path)
    try:
        whole = json.loads(text)
    except ValueError:
        first = next(objects(path, text))[1]
        return "botkit" if {"conversation", "role", "text"} <= set(first) else "jsonl"
    if isinstance(whole, dict) and isinstance(whole.get("data"), list):
        return "squad"
    if isinstance(whole, dict) and ("messages" in whole or "chats" in whole):
        return "telegram"
    if isinstance(whole, dict) and {"conversation", "role", "text"} <= set(whole):
        return "botkit"
    if isinstance(whole, dict) and kind_of(whole):
        return "jsonl"  # a file of one line
    if isinstance(whole, list) and whole and isinstance(whole[0], dict):
        if {"type", "ts"} <= set(whole[0]):
            return "slack"  # a day of one channel
        if kind_of(whole[0]):
            return "jsonl"  # a list of rows
    raise DataError(f"{path}: no known form. Say which it is with --from {'|'.join(SOURCES)}.")


def _ending(path: Path) -> str:
    """The ending of a file's name in lower case, that of the unzipped file where it is gzipped."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def load(
    path: Path,
    source: Source | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    gap: timedelta = timedelta(hours=2),
    rated: Literal["all", "good"] = "all",
) -> tuple[list[Row], Kind]:
    """The rows of a file or folder and their kind; `columns` names a table's columns ("text": "body").

    Raises `DataError` naming file and line.
    """
    if not path.exists():
        raise DataError(f"{path}: there is no such file.")
    source = source or guess_source(path)
    if source == "jsonl":
        rows = list(_listed(path, read_text(path)))
        kind = kind_of(rows[0].values)
        if kind is None:
            raise DataError(f"{rows[0].place}: of no known kind (keys: {', '.join(rows[0].values)}).")
        return rows, kind
    if source == "squad":
        return list(_squad(path)), "reading"
    if source == "table":
        return _table(path, columns or {})
    if source == "slack":
        return _dialogues(_slack(path), gap, path), "dialogue"
    if source == "telegram":
        return _dialogues(_telegram(path), gap, path), "dialogue"
    if source == "botkit":
        return list(_conversations(path, rated)), "dialogue"
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", read_text(path))]
    return [Row({"text": part}, f"{path}: paragraph {n}") for n, part in enumerate(paragraphs, 1) if part], "text"


def _listed(path: Path, text: str) -> Iterator[Row]:
    """Rows of JSON lines, or of one JSON list."""
    if not text.lstrip().startswith("["):
        yield from (Row(values, f"{path}:{line}") for line, values in objects(path, text))
        return
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON ({error.msg}).") from error
    for number, values in enumerate(whole, 1):
        if not isinstance(values, dict):
            raise DataError(f"{path}: item {number}: a JSON object is expected, found {type(values).__name__}.")
        yield Row(values, f"{path}: item {number}")
    if not whole:
        raise DataError(f"{path}: the list is empty.")


def _squad(path: Path) -> Iterator[Row]:
    where = "data"
    try:
        for number, article in enumerate(json.loads(read_text(path))["data"]):
            title = str(article.get("title", "")).replace("_", " ")
            for place, paragraph in enumerate(article["paragraphs"]):
                for count, asked in enumerate(paragraph["qas"]):
                    where = f"data[{number}].paragraphs[{place}].qas[{count}]"
                    golds = [] if asked.get("is_impossible") else asked["answers"]
                    answers = {(str(one["text"]), int(one["answer_start"])) for one in golds}
                    values = {
                        "id": str(asked.get("id", where)),
                        "title": title,
                        "question": str(asked["question"]),
                        "context": str(paragraph["context"]),
                        "answers": [
                            {"text": text, "start": start} for text, start in sorted(answers, key=lambda a: a[1])
                        ],
                        "group": title or f"article {number}",
                    }
                    yield Row(values, f"{path}: {where}")
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON ({error.msg}).") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{path}: not in the SQuAD format in or after {where} ({error!r}).") from error


def _table(path: Path, columns: Mapping[str, str]) -> tuple[list[Row], Kind]:
    text = read_text(path)
    delimiter = "\t" if _ending(path) == ".tsv" else _delimiter(text)
    lines = [line for line in text.splitlines() if line.strip()]
    # where each line has the fields of the header, a quote is a mark like others: tweets and film reviews are full of them
    plain = delimiter == "\t" and len({line.count(delimiter) for line in lines}) == 1
    reader = csv.DictReader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL,
        strict=not plain,
    )
    heads = [head for head in reader.fieldnames or [] if head]
    chosen = {}
    for name, column in columns.items():
        if column not in heads:
            raise DataError(f"{path}:1: there is no column {column!r}; there are {', '.join(heads)}.")
        chosen[name] = column
    for name, known in _COLUMNS.items():
        found = next((head for head in heads if head.strip().lower() in known), None)
        if name not in chosen and found:
            chosen[name] = found
    if {"question", "context"} <= set(chosen):
        kind: Kind = "reading"
    elif "text" in chosen:
        kind = "labelled" if "label" in chosen else "text"
    else:
        raise DataError(
            f"{path}:1: neither a text column nor question and context (columns: {', '.join(heads) or 'none'}). "
            "Name them: --column text=COLUMN --column label=COLUMN."
        )
    rows = []
    undated = 0
    for line in _lines(path, reader):
        place = f"{path}:{reader.line_num}"
        if None in line:
            raise DataError(f"{place}: more fields than the header has columns ({len(heads)}). Is a quote missing?")
        if lacking := next((column for column in chosen.values() if line[column] is None), None):
            raise DataError(f"{place}: ends before the column {lacking!r}. Is a quote too many?")
        values: dict[str, Any] = {name: _unquoted(line[column], plain) for name, column in chosen.items()}
        start = values.pop("start", "")
        if kind == "reading":
            answer = values.pop("answer", "")
            # without a place cleaning finds one, or drops the row
            told = {"start": int(start)} if start.strip().isdecimal() else {}
            values["answers"] = [{"text": answer, **told}] if answer else []
        for optional in ("time", "group", "title"):
            if not values.get(optional, "x"):
                del values[optional]
        if "time" in values and "time" not in columns and not _is_iso(values["time"]):
            del values["time"]  # nobody asked for the column, so it must not cost the row
            undated += 1
        rows.append(Row(values, place))
    if not rows:
        raise DataError(f"{path}: a header, and no rows below it.")
    if undated:
        _LOG.warning(
            "%s: %d values of the column %r are no dates like 2024-01-31 and are left out; a split by time needs them.",
            path, undated, chosen["time"],
        )  # fmt: skip
    return rows, kind


def _unquoted(field: str, plain: bool) -> str:
    """A field that stands in quotes without them, where the reader left quotes alone."""
    if plain and len(field) > 1 and field[0] == field[-1] == '"' and '"' not in field[1:-1].replace('""', ""):
        return field[1:-1].replace('""', '"')
    return field


def _is_iso(text: str) -> bool:
    try:
        as_time(text.strip())
    except ValueError:
        return False
    return True


def _delimiter(text: str) -> str:
    """What parts the columns of the header; csv.Sniffer looks at the texts as well, and takes their commas and quotes for it."""
    header = re.sub(r'"[^"]*"', "", text.lstrip().split("\n", 1)[0])
    return max(",;\t|", key=header.count)


def _lines(path: Path, reader: csv.DictReader[str]) -> Iterator[dict[str | None, Any]]:
    csv.field_size_limit(_LONGEST_FIELD)
    rows = iter(reader)
    while True:
        begun = reader.line_num + 1
        try:
            line = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{path}:{begun}: not a table ({error}). Is a quote missing?") from error
        yield line


def _dialogues(channels: Iterable[Sequence[Said]], gap: timedelta, path: Path) -> list[Row]:
    """Alternating turns, the person first."""
    rows = []
    alone = 0
    for said in channels:
        parts: list[list[Said]] = []
        for one in sorted(said, key=lambda one: one.at):
            # a thread tells by itself what belongs together, however late the answer
            if not parts or (not one.thread and one.at - parts[-1][-1].at > gap):
                parts.append([])
            parts[-1].append(one)
        for part in parts:
            turns: list[str] = []
            person, last = part[0].who, None
            for one in part:
                asks = one.who == person
                if asks == last:
                    turns[-1] += "\n" + one.text
                else:
                    turns.append(one.text)
                last = asks
            if len(turns) > 1:
                started = part[0].at.isoformat()
                rows.append(Row({"turns": turns, "time": started, "group": started}, f"{path}: {started}"))
            else:
                alone += 1
    if alone:
        _LOG.warning("%s: %d times somebody spoke and nobody answered; that is left out.", path, alone)
    if not rows:
        raise DataError(f"{path}: no dialogue of at least two people in it.")
    return rows


def _slack(path: Path) -> Iterator[list[Said]]:
    """Messages of a Slack export (its folder or zip), a list a thread and one for what is outside threads, per channel."""
    for channel, days in sorted(_slack_days(path).items()):
        threads: dict[str, list[Said]] = defaultdict(list)
        for name, text in days:
            try:
                messages = json.loads(text)
                for message in messages:
                    if message.get("type") != "message" or message.get("subtype") not in (
                        None,
                        "bot_message",
                        "file_share",
                        "thread_broadcast",
                    ):
                        continue
                    words = _slack_words(str(message.get("text") or ""))
                    who = str(message.get("user") or message.get("bot_id") or message.get("username") or "")
                    if words and who:
                        at = datetime.fromtimestamp(float(message["ts"]), timezone.utc)
                        thread = str(message.get("thread_ts") or "")
                        threads[thread].append(Said(who, words, at, thread))
            except (ValueError, KeyError, AttributeError, TypeError) as error:
                raise DataError(f"{path}: {channel}/{name}: not a day of a Slack export ({error!r}).") from error
        yield from threads.values()


def _slack_days(path: Path) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    if path.is_dir():
        for file in sorted(path.glob("*/*.json")):
            found[file.parent.name].append((file.name, read_text(file)))
    elif path.suffix.lower() == ".json":
        found[path.parent.name].append((path.name, read_text(path)))
    else:
        try:
            with zipfile.ZipFile(path) as archive:
                for name in sorted(archive.namelist()):
                    if (
                        name.endswith(".json")
                        and name.count("/") >= 1
                        and not re.search(r"(?:^|/)(?:__MACOSX|\._)", name)
                    ):
                        channel, _, day = name.rpartition("/")
                        found[channel].append((day, archive.read(name).decode("utf-8")))
        except (zipfile.BadZipFile, UnicodeDecodeError) as error:
            raise DataError(f"{path}: not a Slack export ({error}).") from error
    if not found:
        raise DataError(f"{path}: no CHANNEL/YYYY-MM-DD.json in it, as a Slack export has.")
    return found


def _slack_words(text: str) -> str:
    text = _SLACK_MARKUP.sub(lambda match: match[1] or match[2], text)
    text = _SLACK_MENTION.sub(lambda match: f"@{match[1]}" if match[1] else "", text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").strip()


def _telegram(path: Path) -> Iterator[list[Said]]:
    """Messages of a Telegram export (result.json), of one chat or of all, a list a chat."""
    try:
        whole = json.loads(read_text(path))
        chats = whole["chats"]["list"] if "chats" in whole else [whole]
        for chat in chats:
            said = []
            for message in chat["messages"]:
                if message.get("type") != "message":
                    continue
                text = message.get("text", "")
                if isinstance(text, list):
                    text = "".join(part if isinstance(part, str) else str(part.get("text", "")) for part in text)
                who = str(message.get("from_id") or message.get("from") or "")
                if text.strip() and who:
                    seconds = message.get("date_unixtime")
                    at = (
                        datetime.fromtimestamp(int(seconds), timezone.utc)
                        if seconds
                        else datetime.fromisoformat(message["date"]).replace(tzinfo=timezone.utc)
                    )
                    said.append(Said(who, text.strip(), at))
            yield said
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(f"{path}: not a Telegram export in JSON ({error!r}).") from error


def _conversations(path: Path, rated: Literal["all", "good"]) -> Iterator[Row]:
    """Conversations as `botkit conversations export` writes them. "good": they end where a reply was rated down."""
    by_conversation: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line, turn in objects(path, read_text(path)):
        if not {"conversation", "role", "text"} <= set(turn):
            raise DataError(f"{path}:{line}: not a turn of `botkit conversations export`.")
        by_conversation[str(turn["conversation"])].append(turn)
    found = 0
    for conversation, told in by_conversation.items():
        turns: list[str] = []
        last = "bot"
        ratings = []
        for turn in told:
            if rated == "good" and turn.get("rating") == -1:
                turns = turns[:-1] if last == "user" else turns
                break
            if turn["role"] == last and turns:
                turns[-1] += "\n" + turn["text"]
            elif turn["role"] == "user" or turns:
                turns.append(turn["text"])
            last = turn["role"]
            if turn.get("rating"):
                ratings.append(turn["rating"])
        if len(turns) > 1 and (rated == "all" or 1 in ratings):
            values = {"turns": turns, "group": conversation, "ratings": ratings}
            if told[0].get("created_at"):
                values["time"] = told[0]["created_at"]
            found += 1
            yield Row(values, f"{path}: conversation {conversation}")
    if not found:
        lacking = "has a reply that was rated 👍" if rated == "good" else "has two sides"
        raise DataError(f"{path}: none of {len(by_conversation)} conversations {lacking}.")
