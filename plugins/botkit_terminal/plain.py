"""Talking in plain lines: for pipes, screen readers and terminals without a screen."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from typing import Any, BinaryIO, TextIO

from botkit.errors import BotkitError
from botkit.messages import Reply
from botkit_terminal.session import Command, Session, help_lines, ingested, parse, place

logger = logging.getLogger(__name__)


class PlainChat:
    """Reads a message a line and prints the reply; with `as_json` exactly one JSON object for each line."""

    def __init__(
        self, session: Session, *, as_json: bool = False, source: BinaryIO | None = None, target: TextIO | None = None
    ) -> None:
        self._session = session
        self._as_json = as_json
        self._source = source or sys.stdin.buffer
        self._target = target or sys.stdout
        if isinstance(self._target, io.TextIOWrapper):
            self._target.reconfigure(encoding="utf-8" if as_json else None, errors="replace")
        self._prompts = not as_json and source is None and sys.stdin.isatty()

    async def run(self) -> None:
        """Go on until the input ends or the person leaves."""
        if self._prompts:
            self._say("Ask something, or type /help.")
        while True:
            if self._prompts:
                self._target.write("> ")
                self._target.flush()
            line = await asyncio.to_thread(self._source.readline)
            if not line:
                return
            text = line.decode("utf-8", errors="replace").rstrip("\r\n")
            if not self._as_json and not text.strip():
                continue
            try:
                command = None if self._as_json else parse(text)
                if command and command.name == "quit":
                    return
                await (self._obey(command) if command else self._answer(text))
            except BotkitError as error:
                self._complain(error)

    async def _answer(self, text: str) -> None:
        async for event in self._session.respond(text):
            if isinstance(event, Reply):
                self._session.last = event
                if self._as_json:
                    self._print_json(event.as_json())
                else:
                    self._say(event.text)
                    for line in source_lines(event):
                        self._say(line)

    async def _obey(self, command: Command) -> None:
        session = self._session
        match command.name:
            case "help":
                for name, what in help_lines():
                    self._say(f"{name:22}{what}")
            case "explain":
                self._say(explanation(session.last) if session.last else "There is no reply to explain yet.")
            case "sources":
                lines = source_lines(session.last, passages=True) if session.last else []
                self._say("\n".join(lines) or "The last reply has no sources.")
            case "ingest":
                self._say(ingested(await session.ingest(command.argument)))
            case "lang":
                session.set_language(command.argument)
                self._say(f"Language: {command.argument}.")
            case "up" | "down":
                await session.rate(1 if command.name == "up" else -1, command.argument)
                self._say("Thank you.")
            case "new":
                session.new()
                self._say("A new conversation.")
            case "switch":
                await self._switch(command.argument)
            case "search":
                for turn in await session.search(command.argument):
                    self._say(f"{turn.created_at:%Y-%m-%d %H:%M} {turn.conversation} {turn.role}: {turn.text}")
            case "export":
                self._say(f"Written: {await session.export(command.argument)}")
            case "clear":
                self._target.write("\n")

    async def _switch(self, conversation: str) -> None:
        if not conversation:
            for info in await self._session.conversations():
                self._say(f"{info.id}  {info.last_at:%Y-%m-%d %H:%M}  {info.title}")
            return
        for turn in await self._session.switch(conversation):
            self._say(f"{turn.role}: {turn.text}")

    def _complain(self, error: BotkitError) -> None:
        if self._as_json:
            self._print_json({"error": {"type": type(error).__name__, "message": str(error)}})
        else:
            self._say(f"error: {error}")

    def _print_json(self, value: dict[str, Any]) -> None:
        self._say(json.dumps(value, ensure_ascii=False))

    def _say(self, text: str) -> None:
        self._target.write(text + "\n")
        self._target.flush()


def source_lines(reply: Reply | None, *, passages: bool = False) -> list[str]:
    """The sources of a reply, numbered; with `passages`, the passage and its span between brackets."""
    lines = []
    for number, source in enumerate(reply.sources if reply else (), 1):
        lines.append(f"  [{number}] {place(source)} ({source.document}:{source.start}-{source.end})")
        if passages:
            begin, end = source.start - source.passage_start, source.end - source.passage_start
            passage = f"{source.passage[:begin]}[{source.passage[begin:end]}]{source.passage[end:]}"
            lines += [f"      {line}" for line in passage.splitlines()]
    return lines


def explanation(reply: Reply) -> str:
    """The trace of a reply as lines."""
    if reply.trace is None:
        return "This reply has no trace."
    lines = [
        f"route: {reply.route} ({reply.trace.rule})",
        f"query: {reply.trace.query}",
        f"confidence: {reply.confidence:.2f}; sentiment: {reply.sentiment.label} {reply.sentiment.score:.2f}",
        "times: " + ", ".join(f"{stage} {ms:.0f} ms" for stage, ms in reply.timings_ms.items()),
    ]
    for number, candidate in enumerate(reply.trace.candidates, 1):
        lines.append(
            f"  {number}. {candidate.confidence:.2f} {candidate.text!r} ({candidate.document} › {candidate.heading}; "
            f"span {candidate.span_score or 0:.1f}, no answer {candidate.no_answer_score or 0:.1f}, "
            f"found {candidate.fused_score:.2f})"
        )
    return "\n".join(lines)
