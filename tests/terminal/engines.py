"""An engine that answers from a script, on a real conversation store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from botkit_terminal import TerminalConfig
from botkit_terminal.session import Session

from botkit.config import Config, Paths, Settings
from botkit.conversations.sqlite import SQLiteConversationStore
from botkit.errors import BotkitError, LibraryError
from botkit.knowledge.ingest import IngestReport, Progress
from botkit.messages import Delta, Event, Message, Reply, Sentiment, Source, Status, Trace, TraceCandidate

PASSAGE = "You may return an item. Refunds take five days. We pay the postage."
REFUND = Source(
    document="shop/returns.md",
    title="Returns",
    heading="Returns › Refunds",
    page=3,
    start=100 + PASSAGE.index("five days"),
    end=100 + PASSAGE.index("five days") + len("five days"),
    passage=PASSAGE,
    passage_start=100,
    score=0.92,
)


def answer(text: str = "Refunds take five days.", **changes: Any) -> Reply:
    reply = Reply(
        text=text,
        route="answer",
        confidence=0.92,
        conversation="",
        answer=REFUND.span,
        sources=(REFUND,),
        sentiment=Sentiment("neutral", 0.8),
        timings_ms={"read": 40.0, "total": 143.0},
        trace=Trace(
            "How long do refunds take?",
            True,
            "the best span is sure enough",
            (TraceCandidate("shop/returns.md", "Refunds", "five days", 7.5, 0.61, 0.9, 5.25, -3.0, 0.92),),
        ),
    )
    return replace(reply, **changes)


class Library:
    """Knowledge with a gate before it, so that a test can look at the screen while documents are read."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.reading = 0
        self.ingested: list[Path] = []
        self.steps: list[Progress] = []
        self.fails: BotkitError | None = None

    def prepare(self, progress: Callable[[Progress], None] | None = None) -> None:
        for step in self.steps:
            assert progress is not None
            progress(step)
        self._read()
        if self.fails:
            raise self.fails

    def documents(self) -> list[str]:
        return ["a", "b", "c"]

    def ingest(self, paths: Sequence[Path], progress: Callable[[Progress], None] | None = None) -> IngestReport:
        self.ingested += paths
        if progress:
            progress(Progress(1, 1, 10, 10, str(paths[0])))
        self._read()
        return IngestReport(read=["new.md"])

    def _read(self) -> None:
        if self.reading:
            raise LibraryError("Another process is writing.")
        self.reading += 1
        self.gate.wait(20)
        self.reading -= 1

    def close(self) -> None:
        pass


@dataclass
class Rated:
    reply: str
    rating: int
    note: str


class ScriptedEngine:
    """Says what `script` holds for a message: a reply, an error to raise, or events with gates to wait at between them."""

    def __init__(self, home: Path, **bot: Any) -> None:
        config = Config.model_validate({"bot": bot})
        self.settings = Settings(config=config, source=None, paths=Paths(home=home))
        self.store = SQLiteConversationStore(home / "conversations.sqlite")
        self.knowledge = Library()
        self.script: dict[str, Reply | Exception | list[Event | asyncio.Event]] = {}
        self.heard: list[Message] = []
        self.loaded = asyncio.Event()
        self.loaded.set()
        self.closed = False
        self.prepares_by_itself: bool | None = None

    async def warm_up(self, *, chat: bool = True, documents: bool = True) -> None:
        self.prepares_by_itself = documents
        await self.loaded.wait()

    async def respond(self, message: Message) -> AsyncIterator[Event]:
        self.heard.append(message)
        self.store.record_message(message, Sentiment("neutral", 0.8))
        said = self.script.get(message.text, answer())
        if isinstance(said, Exception):
            yield Status("thinking")
            raise said
        if isinstance(said, Reply):
            said = [Status("searching"), Delta(said.text), said]
        for step in said:
            match step:
                case asyncio.Event():
                    await step.wait()
                case Reply():
                    reply = replace(step, conversation=message.conversation, id=f"reply-{len(self.heard)}")
                    self.store.record_reply(message, reply)
                    yield reply
                case _:
                    yield step

    async def rate(self, reply_id: str, rating: Any, note: str = "") -> None:
        self.store.rate(reply_id, rating, note)

    async def close(self) -> None:
        self.closed = True
        self.store.close()


def session(engine: ScriptedEngine, **config: Any) -> Session:
    return Session(engine, TerminalConfig(**config))  # type: ignore[arg-type]
