"""An engine that answers as told, on a real conversation store: for tests of adapters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from botkit.config import Config, Paths, Settings
from botkit.conversations.sqlite import SQLiteConversationStore
from botkit.knowledge.ingest import IngestReport
from botkit.messages import Delta, Event, Message, Reply, Source, Status


@dataclass
class RecordingKnowledge:
    """Knowledge that remembers which files it was given."""

    ingested: list[tuple[Path, tuple[str, ...]]] = field(default_factory=list)

    def ingest(self, paths: Sequence[Path], *, tags: Sequence[str] = (), **_: Any) -> IngestReport:
        """Remember the paths and their tags."""
        self.ingested += [(path, tuple(tags)) for path in paths]
        return IngestReport(read=[str(path) for path in paths])

    def close(self) -> None:
        """Nothing to close."""


class ScriptedEngine:
    """Has an engine's methods that adapters use. Says "You said: TEXT", or what `answer` makes of the message: its text,
    or a whole reply.

    `heard` are the messages answered, in order; `started` those whose answer has begun. Clear `gate` to hold answers back
    in the middle (after half of the text), set it to let them go on; `hold` holds back only the answers to one text.
    `pause_s` is the time between two pieces of a reply.
    """

    def __init__(
        self,
        home: Path,
        *,
        answer: Callable[[Message], str | Reply] | None = None,
        sources: Sequence[Source] = (),
        pieces: int = 8,
        pause_s: float = 0.0,
        **config: Any,
    ) -> None:
        self.settings = Settings(config=Config.model_validate(config), source=None, paths=Paths(home=home))
        self.store = SQLiteConversationStore(self.settings.paths.conversations)
        self.knowledge = RecordingKnowledge()
        self.heard: list[Message] = []
        self.started: list[Message] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._held = ""
        self._answer: Callable[[Message], str | Reply] = answer or (lambda message: f"You said: {message.text}")
        self._sources = tuple(sources)
        self._pieces, self._pause_s = pieces, pause_s
        self._locks: dict[str, asyncio.Lock] = {}

    def hold(self, text: str) -> None:
        """Hold back the answers to this text alone, until `gate` is set."""
        self._held = text
        self.gate.clear()

    async def warm_up(self, *, chat: bool = True, documents: bool = True) -> None:
        """Nothing to load."""

    async def respond(self, message: Message) -> AsyncGenerator[Event, None]:
        """Status, the pieces of the text, the reply."""
        async with self._locks.setdefault(message.conversation, asyncio.Lock()):
            self.started.append(message)
            yield Status("searching")
            self.store.record_message(message)
            said = self._answer(message)
            text = said if isinstance(said, str) else said.text
            step = max(1, -(-len(text) // self._pieces))
            for start in range(0, len(text), step):
                if start >= len(text) // 2:
                    await self._wait(message)
                if self._pause_s:
                    await asyncio.sleep(self._pause_s)
                yield Delta(text[start : start + step])
            await self._wait(message)
            reply = (
                Reply(
                    text,
                    "answer" if self._sources else "chat",
                    0.9,
                    message.conversation,
                    answer=text,
                    language=message.language or "en",
                    sources=self._sources,
                )
                if isinstance(said, str)
                else replace(said, conversation=message.conversation)
            )
            self.store.record_reply(message, reply)
            self.heard.append(message)
            yield reply

    async def _wait(self, message: Message) -> None:
        if not self._held or self._held == message.text:
            await self.gate.wait()

    async def answer(self, message: Message) -> Reply:
        """The reply alone."""
        async for event in self.respond(message):
            if isinstance(event, Reply):
                return event
        raise AssertionError("respond ends with a reply")

    async def rate(self, reply_id: str, rating: Literal[1, -1], note: str = "") -> None:
        """Keep a rating."""
        self.store.rate(reply_id, rating, note)

    async def close(self) -> None:
        """Close the store."""
        self.store.close()
