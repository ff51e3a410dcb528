"""What the full-screen app and the plain lines share: the conversation under way and the slash commands."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from botkit.config import at_home
from botkit.errors import BotkitError, ConversationError
from botkit.messages import Event, Language, Message, Reply, Sentiment, Source, new_id
from botkit.text import nearest, visible
from botkit_terminal.words import language_of, word

if TYPE_CHECKING:
    from botkit.conversations.store import ConversationInfo, StoredTurn
    from botkit.engine import Engine
    from botkit.knowledge.ingest import IngestReport, Progress
    from botkit_terminal import TerminalConfig

COMMANDS: Final = {
    "help": "",
    "explain": "",
    "sources": "",
    "ingest": "PATH",
    "lang": "en|zh|auto",
    "up": "[NOTE]",
    "down": "[NOTE]",
    "new": "",
    "switch": "[ID]",
    "search": "WORDS",
    "export": "[FILE]",
    "clear": "",
    "quit": "",
}
"""Each command and what may follow it; `word("do_NAME")` says what it does."""

_ALL: Final = 100_000
_COMMAND: Final = re.compile(r"(?s)^[/／]\s*([^\W\d_]+)(?:\s+(.*)|)$")
_CHINESE: Final = {word(f"name_{name}", "zh"): name for name in COMMANDS}


@dataclass(frozen=True, slots=True)
class Command:
    """A slash command with what follows it."""

    name: str
    argument: str = ""


def parse(text: str, language: Language = "en") -> Command | None:
    """The command that a message is, by its English or Chinese name, or None.

    A message may begin with a path such as /etc/hosts. Raises `BotkitError` for a slash and a word that is no command.
    """
    found = _COMMAND.match(text)
    if found is None:
        return None
    said = found[1].lower()
    name = _CHINESE.get(said, said)
    if name not in COMMANDS:
        near = nearest(said, [*COMMANDS, *_CHINESE])
        hint = word("did_you_mean", language, name=near) if near else word("see_help", language)
        raise BotkitError(word("no_command", language, name=said, hint=hint))
    return Command(name, (found[2] or "").strip())


def help_lines(language: Language) -> list[tuple[str, str]]:
    """Each command with its argument, and what it does; in Chinese also with its Chinese name."""
    lines = []
    for name, argument in COMMANDS.items():
        written = f"/{name} {argument}".strip()
        also = f"，/{word(f'name_{name}', language)}" if language == "zh" else ""
        lines.append((written + also, word(f"do_{name}", language)))
    return lines


class Session:
    """One person at one terminal."""

    def __init__(self, engine: Engine, config: TerminalConfig) -> None:
        self.engine = engine
        self.language: Language | None = config.language
        self.conversation = config.conversation or self._fresh()
        self.last: Reply | None = None
        self._sender = config.sender
        self._tags = tuple(config.tags)
        self.reading = asyncio.Lock()
        """Held while documents are read: the library has one writer at a time."""

    @property
    def speaks(self) -> Language:
        """The language to talk to the person in: the chosen one, else the last reply's, else the system's."""
        if self.language:
            return self.language
        chosen = self.engine.settings.config.bot.language
        if chosen != "auto":
            return chosen
        return self.last.language if self.last else language_of()

    async def respond(self, text: str) -> AsyncIterator[Event]:
        """The engine's events for what the person typed. The reply becomes the last one of its conversation."""
        message = Message(
            text,
            conversation=self.conversation,
            sender=self._sender,
            adapter="terminal",
            language=self.language,
            tags=self._tags,
        )
        async for event in self.engine.respond(message):
            if isinstance(event, Reply) and message.conversation == self.conversation:
                self.last = event
            yield event

    def new(self) -> None:
        """Start another conversation."""
        self.conversation, self.last = self._fresh(), None

    async def resume(self) -> list[StoredTurn]:
        """What was said in the conversation under way, oldest first; its last reply can be rated and shown again."""
        turns = await asyncio.to_thread(self.engine.store.history, self.conversation)
        if self.last is None:
            self.last = next((reply for turn in reversed(turns) if (reply := reply_of(turn))), None)
        return turns

    async def switch(self, conversation: str) -> list[StoredTurn]:
        """Go on with a stored conversation; returns what was said in it. Raises `ConversationError`."""
        if not await asyncio.to_thread(self.engine.store.history, conversation, 1):
            raise ConversationError(word("no_conversation", self.speaks, name=repr(conversation)))
        self.conversation, self.last = conversation, None
        return await self.resume()

    async def conversations(self) -> list[ConversationInfo]:
        """All of this person's conversations, the latest first."""
        return await asyncio.to_thread(self.engine.store.conversations, sender=self._sender, limit=_ALL)

    async def search(self, words: str) -> list[StoredTurn]:
        """What was said before with these words in it, the latest first."""
        return await asyncio.to_thread(self.engine.store.search, words, sender=self._sender)

    def existing(self, path: str) -> Path:
        """The file or folder that the person named, quoted or with escaped blanks as in a shell; raises `BotkitError`."""
        for written in (path, re.sub(r"\\(.)", r"\1", path)):
            found = _path(written)
            if _unquoted(written) and os.path.exists(found):  # noqa: PTH110 Path.exists raises for a name that is too long
                return found
        raise BotkitError(word("no_such_path", self.speaks, path=path or "/ingest"))

    async def ingest(self, path: Path, progress: Callable[[Progress], None] | None = None) -> IngestReport:
        """Read documents; raises `BotkitError`."""
        return await asyncio.to_thread(lambda: self.engine.knowledge.ingest([path], progress=progress))

    async def rate(self, rating: Literal[1, -1], note: str = "", reply: Reply | None = None) -> Reply:
        """Rate a reply, by default the last one, and return it; raises `BotkitError` where there is none."""
        rated = reply or self.last
        if rated is None:
            raise BotkitError(word("nothing_to_rate", self.speaks))
        await self.engine.rate(rated.id, rating, note)
        return rated

    @property
    def export_name(self) -> str:
        """The file that a conversation is written to where none is named."""
        return re.sub(r"[^\w.-]", "_", f"{self.conversation}.md")

    async def export(self, file: str = "") -> Path:
        """Write the conversation: JSON lines for a name in .jsonl, else Markdown. Raises `BotkitError`."""
        path = _path(file or self.export_name).absolute()
        rows = await asyncio.to_thread(lambda: list(self.engine.store.export(conversation=self.conversation)))
        if not rows:
            raise BotkitError(word("nothing_to_export", self.speaks))
        if path.suffix == ".jsonl":
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            text = _markdown(rows, self.speaks)
        try:
            await asyncio.to_thread(_write_new, path, text)
        except FileExistsError as error:
            raise BotkitError(word("exists_already", self.speaks, path=path)) from error
        except OSError as error:
            raise BotkitError(word("cannot_be_written", self.speaks, path=path, reason=error.strerror)) from error
        return path

    def set_language(self, chosen: str) -> None:
        """Fix the language of the messages, or detect it again; raises `BotkitError`."""
        languages: dict[str, Language | None] = {"en": "en", "英文": "en", "zh": "zh", "中文": "zh", "auto": None}
        if chosen not in languages:
            raise BotkitError(word("no_such_language", self.speaks, name=chosen or "/lang"))
        self.language = languages[chosen]

    def _fresh(self) -> str:
        return f"terminal-{new_id()[:12]}"


def reply_of(turn: StoredTurn) -> Reply | None:
    """The reply that a stored turn holds, without its trace; None for what the person said."""
    stored = turn.reply
    if turn.role != "bot" or stored is None or turn.route is None:
        return None
    sentiment = stored["sentiment"]
    return Reply(
        text=turn.text,
        route=turn.route,
        confidence=turn.confidence or 0.0,
        conversation=turn.conversation,
        answer=stored.get("span", ""),
        language=stored["language"],
        sources=tuple(_source(source) for source in stored["sources"]),
        options=tuple(stored.get("options", ())),
        sentiment=Sentiment(sentiment["label"], sentiment["score"]),
        timings_ms=stored["timings_ms"],
        id=turn.id,
    )


def _source(stored: Mapping[str, Any]) -> Source:
    names = ("document", "title", "heading", "page", "start", "end", "passage", "passage_start", "score")
    return Source(**{name: stored[name] for name in names})


def one_line(text: str, longest: int = 200) -> str:
    """The beginning of a text for a list."""
    line = " ".join(visible(text[: 4 * longest]).split())
    return line if len(line) <= longest else f"{line[:longest]}…"


def place(source: Source, language: Language = "en") -> str:
    """Title, heading and page of a source."""
    heading = source.heading.removeprefix(source.title).removeprefix(" › ")
    page = word("page", language, n=source.page) if source.page else ""
    return one_line(" › ".join(part for part in (source.title, heading, page) if part) or source.document)


def explanation(reply: Reply, language: Language = "en") -> list[str]:
    """How a reply came about: the rule, the query, the times, and the candidates with the scores of every stage."""
    trace = reply.trace
    if trace is None:
        return [word("no_trace", language)]
    rewritten = word("rewritten", language) if trace.rewritten else ""
    sentiment = reply.sentiment
    times = ", ".join(f"{stage} {ms:.0f} ms" for stage, ms in reply.timings_ms.items())
    lines = [
        word("told_route", language, route=word(reply.route, language), rule=trace.rule),
        word("told_query", language, query=one_line(trace.query), rewritten=rewritten),
        word("told_confidence", language, score=f"{reply.confidence:.2f}"),
        word("told_sentiment", language, label=word(sentiment.label, language), score=f"{sentiment.score:.2f}"),
        word("told_time", language, times=times),
    ]
    for number, candidate in enumerate(trace.candidates, 1):
        scores = {
            "score_span": candidate.span_score,
            "score_no_answer": candidate.no_answer_score,
            "score_fused": candidate.fused_score,
            "score_bm25": candidate.lexical_score,
            "score_cosine": candidate.vector_score,
        }
        told = ", ".join(f"{word(name, language)} {score:.2f}" for name, score in scores.items() if score is not None)
        where = " › ".join(part for part in (candidate.document, candidate.heading) if part)
        lines += [
            f"{number}. {candidate.confidence:.2f}  {one_line(candidate.text, 120)}",
            f"   {one_line(where)}",
            f"   {told}",
        ]
    return lines


def ingested(report: IngestReport, language: Language) -> str:
    """One line about what was read, and what was not and why."""
    left_out = len(report.skipped) + len(report.failed)
    reasons = "; ".join(f"{one.path}: {one.message}" for one in (*report.failed, *report.skipped)[:5])
    told = word(
        "ingested",
        language,
        read=len(report.read),
        replaced=len(report.replaced),
        removed=len(report.removed),
        unchanged=report.unchanged,
    )
    return f"{told} {word('left_out', language, n=left_out, reasons=reasons)}" if left_out else told


def _unquoted(written: str) -> str:
    quoted = re.fullmatch(r"(?s)([\"'])(.*)\1", written)
    return quoted[2] if quoted else written


def _path(written: str) -> Path:
    """The path that a person wrote, perhaps in quotes and from the home folder."""
    return at_home(_unquoted(written))


def _write_new(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.write(text)


def _markdown(rows: list[dict[str, Any]], language: Language) -> str:
    lines = []
    for row in rows:
        who = word("you" if row["role"] == "user" else "bot", language)
        time = f"{datetime.fromisoformat(row['created_at']).astimezone():%Y-%m-%d %H:%M}"
        lines += [f"**{who}** ({time})", "", row["text"], ""]
        for source in map(_source, row["sources"]):
            lines.append(f"- {place(source, language)} (`{source.document}` {source.start}–{source.end})")
        lines += [""] if row["sources"] else []
        if row["rating"]:
            lines += [f"{'👍' if row['rating'] > 0 else '👎'} {row['note']}".strip(), ""]
    return "\n".join(lines)
