"""What the full-screen app and the plain lines share: the conversation under way and the slash commands."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from botkit.errors import BotkitError, ConversationError
from botkit.messages import Event, Language, Message, Reply, Source, new_id

if TYPE_CHECKING:
    from botkit.conversations.store import ConversationInfo, StoredTurn
    from botkit.engine import Engine
    from botkit.knowledge.ingest import IngestReport, Progress
    from botkit_terminal import TerminalConfig

COMMANDS: Final = {
    "help": ("", "this list"),
    "explain": ("", "how the last reply came about: scores, rule, times"),
    "sources": ("", "the sources of the last reply"),
    "ingest": ("PATH", "read documents into the knowledge"),
    "lang": ("en | zh | auto", "language of your messages"),
    "up": ("[note]", "👍 the last reply was good"),
    "down": ("[note]", "👎 the last reply was bad"),
    "new": ("", "start a new conversation"),
    "switch": ("[ID]", "go on with another conversation"),
    "search": ("WORDS", "find what was said before"),
    "export": ("[FILE]", "write this conversation to a file (.md or .jsonl)"),
    "clear": ("", "empty the screen; the conversation is kept"),
    "quit": ("", "leave"),
}


_COMMAND: Final = re.compile(r"(?s)^/([A-Za-z]+)(?:\s+(.*)|)$")


@dataclass(frozen=True, slots=True)
class Command:
    """A slash command with what follows it."""

    name: str
    argument: str


def parse(text: str) -> Command | None:
    """The command that a message is, or None. A message may begin with a path such as /etc/hosts.

    Raises `BotkitError` for a slash and a word that is no command.
    """
    found = _COMMAND.match(text)
    if found is None:
        return None
    word = found[1].lower()
    if word not in COMMANDS:
        near = get_close_matches(word, COMMANDS, n=1)
        hint = f"did you mean /{near[0]}?" if near else "/help lists them."
        raise BotkitError(f"There is no command /{word}; {hint}")
    return Command(word, (found[2] or "").strip())


def help_lines() -> list[tuple[str, str]]:
    """Each command with its argument, and what it does."""
    return [(f"/{name} {argument}".strip(), what) for name, (argument, what) in COMMANDS.items()]


class Session:
    """One person at one terminal."""

    def __init__(self, engine: Engine, config: TerminalConfig) -> None:
        self.engine = engine
        self.sender = config.sender
        self.language: Language | None = config.language
        self.conversation = config.conversation or self._fresh()
        self.last: Reply | None = None
        self._tags = tuple(config.tags)

    def respond(self, text: str) -> AsyncIterator[Event]:
        """The engine's events for what the person typed."""
        message = Message(
            text,
            conversation=self.conversation,
            sender=self.sender,
            adapter="terminal",
            language=self.language,
            tags=self._tags,
        )
        return self.engine.respond(message)

    def new(self) -> None:
        """Start another conversation."""
        self.conversation, self.last = self._fresh(), None

    async def switch(self, conversation: str) -> list[StoredTurn]:
        """Go on with a stored conversation; returns what was said in it. Raises `ConversationError`."""
        turns = await asyncio.to_thread(self.engine.store.history, conversation)
        if not turns:
            raise ConversationError(f"There is no conversation {conversation!r}.")
        self.conversation, self.last = conversation, None
        return turns

    async def conversations(self) -> list[ConversationInfo]:
        """This person's conversations, the latest first."""
        return await asyncio.to_thread(self.engine.store.conversations, sender=self.sender)

    async def search(self, words: str) -> list[StoredTurn]:
        """What was said before with these words in it, the latest first."""
        return await asyncio.to_thread(self.engine.store.search, words, sender=self.sender)

    async def ingest(self, path: str, progress: Callable[[Progress], None] | None = None) -> IngestReport:
        """Read documents; raises `BotkitError`."""
        place = Path(path.strip("\"'")).expanduser()
        if not path or not place.exists():
            raise BotkitError(f"{path or '/ingest'}: name a file or folder that exists, as in /ingest ~/Documents.")
        return await asyncio.to_thread(lambda: self.engine.knowledge.ingest([place], progress=progress))

    async def rate(self, rating: Literal[1, -1], note: str = "") -> None:
        """Rate the last reply; raises `BotkitError` where there is none."""
        if self.last is None:
            raise BotkitError("There is no reply to rate yet.")
        await self.engine.rate(self.last.id, rating, note)

    async def export(self, file: str = "") -> Path:
        """Write the conversation: JSON lines for a name in .jsonl, else Markdown. Raises `BotkitError`."""
        path = Path(file).expanduser() if file else Path(f"conversation-{self.conversation}.md")
        rows = await asyncio.to_thread(lambda: list(self.engine.store.export(conversation=self.conversation)))
        if not rows:
            raise BotkitError("Nothing was said yet, so there is nothing to export.")
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        if path.suffix != ".jsonl":
            text = _markdown(rows)
        if path.exists():
            raise BotkitError(f"{path} exists already. Name another file: /export FILE.")
        try:
            await asyncio.to_thread(path.write_text, text, encoding="utf-8")
        except OSError as error:
            raise BotkitError(f"{path}: cannot be written ({error.strerror}).") from error
        return path

    def set_language(self, chosen: str) -> None:
        """Fix the language of the messages, or detect it again; raises `BotkitError`."""
        languages: dict[str, Language | None] = {"en": "en", "zh": "zh", "auto": None}
        if chosen not in languages:
            raise BotkitError(f"{chosen or '/lang'}: choose en, zh or auto.")
        self.language = languages[chosen]

    def _fresh(self) -> str:
        return f"terminal-{new_id()[:12]}"


def place(source: Source) -> str:
    """Title, heading and page of a source."""
    heading = source.heading.removeprefix(source.title).removeprefix(" › ")
    page = f"p. {source.page}" if source.page else ""
    return " › ".join(part for part in (source.title, heading, page) if part) or source.document


def ingested(report: IngestReport) -> str:
    """One line about what was read and what was not."""
    left_out = len(report.skipped) + len(report.failed)
    reasons = "; ".join(f"{one.path}: {one.message}" for one in (*report.failed, *report.skipped)[:5])
    told = (
        f"{len(report.read)} documents read, {len(report.replaced)} replaced, {len(report.removed)} removed, "
        f"{report.unchanged} unchanged"
    )
    return f"{told}, {left_out} left out ({reasons})." if left_out else f"{told}."


def _markdown(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        who = "You" if row["role"] == "user" else "Bot"
        lines += [f"**{who}** ({row['created_at'][:16].replace('T', ' ')})", "", row["text"], ""]
        for source in row["sources"]:
            heading = " › ".join(part for part in (source["title"], source["heading"]) if part)
            lines.append(f"- {heading} (`{source['document']}` {source['start']}–{source['end']})")
        lines += [""] if row["sources"] else []
    return "\n".join(lines)
