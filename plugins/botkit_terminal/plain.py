"""Talking in plain lines: for pipes, screen readers and terminals without a screen."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from botkit.errors import BotkitError
from botkit.messages import Reply
from botkit.text import visible
from botkit_terminal.session import (
    Command,
    Session,
    explanation,
    help_lines,
    ingested,
    one_line,
    parse,
    place,
    reply_of,
)
from botkit_terminal.words import word

if TYPE_CHECKING:
    from botkit.knowledge.ingest import Progress

logger = logging.getLogger(__name__)


class LineReader(Protocol):
    """A binary stream, as far as it is needed here."""

    def readline(self, size: int = -1, /) -> bytes:
        """The next line with its end; nothing at the end of the stream."""
        ...


class PlainChat:
    """Reads a message a line and prints the reply with its sources.

    With `as_json` every line is a message, slashes and all, since a program may pass on what strangers type; each gets
    exactly one JSON object: the reply, or `{"error": {"type", "message"}}`.
    """

    def __init__(
        self,
        session: Session,
        *,
        as_json: bool = False,
        source: LineReader | None = None,
        target: TextIO | None = None,
        prompts: bool | None = None,
    ) -> None:
        """`prompts` says whether a person types; by default, whether standard input is a terminal."""
        self._session = session
        self._as_json = as_json
        # not sys.stdin.buffer: its lock, held by a reading thread, would make the interpreter fail at exit
        typed = sys.stdin  # None where it was closed before the start
        self._source = source or (io.FileIO(typed.fileno(), "rb", closefd=False) if typed else io.BytesIO())
        self._target = target or sys.stdout
        if isinstance(self._target, io.TextIOWrapper):
            self._target.reconfigure(encoding="utf-8" if as_json else None, errors="replace")
        self._leaving = threading.Event()
        self._prompts = not as_json and (bool(typed and typed.isatty()) if prompts is None else prompts)

    async def run(self) -> None:
        """Go on until the input ends or the person leaves."""
        warming = asyncio.create_task(self._warm_up())
        try:
            await self._talk()
        except asyncio.CancelledError:
            if self._prompts:
                self._say("")  # the shell's prompt begins a line of its own
            raise
        finally:
            self._leaving.set()
            warming.cancel()

    async def _talk(self) -> None:
        if not self._as_json:
            with contextlib.suppress(BotkitError):  # told by the first answer
                await self._session.resume()
        if self._prompts:
            self._say(word("plain_hello", self._session.speaks))
        lines = _lines(self._source)
        while True:
            if self._prompts:
                self._target.write("> ")
                self._target.flush()
            line = await anext(lines, None)
            if line is None:
                return
            text = line.decode("utf-8", errors="replace").rstrip("\r\n")
            if not self._as_json and not text.strip():
                continue
            try:
                command = None if self._as_json else parse(text.strip(), self._session.speaks)
                if command and command.name == "quit":
                    return
                await (self._obey(command) if command else _finished(self._answer(text)))
            except BotkitError as error:
                self._complain(type(error).__name__, str(error))
            except BrokenPipeError:
                raise
            except Exception as error:  # a bug in one answer must not cost the person the others
                logger.exception("the reply failed")
                self._complain(type(error).__name__, f"Something went wrong inside botkit: {error}")

    async def _warm_up(self) -> None:
        """Load documents and models while the first line is typed; what fails here is told by the answer that needs it."""
        engine = self._session.engine
        told = threading.Event()

        def show(step: Progress) -> None:
            self._stop_reading(step)
            if self._prompts and not told.is_set():
                told.set()
                sys.stderr.write(word("first_time", self._session.speaks) + "\n")

        try:
            await asyncio.gather(self._prepare(show), engine.warm_up(documents=False))
        except BotkitError as error:
            logger.info("warming up: %s", error)

    def _stop_reading(self, _: Progress) -> None:
        """What a reading of documents calls, in its own thread, at every step: nobody waits for it any more."""
        if self._leaving.is_set():
            raise BotkitError("the chat has ended")

    async def _prepare(self, show: Callable[[Progress], None]) -> None:
        async with self._session.reading:
            await asyncio.to_thread(self._session.engine.knowledge.prepare, show)

    async def _answer(self, text: str) -> None:
        async for event in self._session.respond(text):
            if isinstance(event, Reply):
                if self._as_json:
                    self._print_json(event.as_json())
                else:
                    self._show(event)

    def _show(self, reply: Reply) -> None:
        self._say(reply.text)
        for line in self._source_lines(reply):
            self._say(line)

    async def _obey(self, command: Command) -> None:
        session = self._session
        language = session.speaks
        match command.name:
            case "help":
                for name, what in help_lines(language):
                    self._say(f"{name:20}  {what}")
            case "explain":
                lines = explanation(session.last, language) if session.last else [word("nothing_to_explain", language)]
                self._say("\n".join(lines))
            case "sources":
                lines = self._source_lines(session.last, passages=True) if session.last else []
                self._say("\n".join(lines) or word("no_sources", language))
            case "ingest":
                path = session.existing(command.argument)
                async with session.reading:
                    report = await session.ingest(path, self._stop_reading)
                self._say(ingested(report, language))
            case "lang":
                session.set_language(command.argument)
                name = word(session.language or "auto", session.speaks)
                self._say(word("language_set", session.speaks, name=name))
            case "up" | "down":
                await session.rate(1 if command.name == "up" else -1, command.argument)
                self._say(word("thanks", language))
            case "new":
                session.new()
                self._say(word("new_conversation", language))
            case "switch":
                await self._switch(command.argument)
            case "search":
                found = await session.search(command.argument)
                for turn in found:
                    time = f"{turn.created_at.astimezone():%Y-%m-%d %H:%M}"
                    self._say(f"{turn.conversation}  {time}  {turn.role}: {one_line(turn.text)}")
                if not found:
                    self._say(word("nothing_found", language))
            case "export":
                self._say(word("written", language, path=await session.export(command.argument)))
            case "clear":
                self._say("")

    async def _switch(self, conversation: str) -> None:
        if not conversation:
            for info in await self._session.conversations():
                self._say(f"{info.id}  {info.last_at.astimezone():%Y-%m-%d %H:%M}  {one_line(info.title)}")
            return
        language = self._session.speaks
        for turn in await self._session.switch(conversation):
            reply = reply_of(turn)
            self._say(f"{word('you' if turn.role == 'user' else 'bot', language)}: {turn.text}")
            for line in self._source_lines(reply) if reply else ():
                self._say(line)

    def _source_lines(self, reply: Reply, *, passages: bool = False) -> list[str]:
        """The sources of a reply, numbered; with `passages`, the passage and its span between brackets."""
        lines = []
        for number, source in enumerate(reply.sources, 1):
            where = f"{source.document}:{source.start}-{source.end}, {source.score:.0%}"
            lines.append(f"  [{number}] {place(source, reply.language)} ({where})")
            if passages:
                begin, end = source.span_in_passage
                marked = f"{source.passage[:begin]}[{source.passage[begin:end]}]{source.passage[end:]}"
                lines += [f"      {line}" for line in marked.splitlines() if line.strip()]
        return lines

    def _complain(self, kind: str, message: str) -> None:
        if self._as_json:
            self._print_json({"error": {"type": kind, "message": message}})
        else:
            self._say(f"error: {message}")

    def _print_json(self, value: dict[str, Any]) -> None:
        self._say(json.dumps(value, ensure_ascii=False), raw=True)

    def _say(self, text: str, *, raw: bool = False) -> None:
        self._target.write((text if raw else visible(text)) + "\n")
        self._target.flush()


async def _finished(answering: Coroutine[Any, Any, None]) -> None:
    """Wait for an answer; where this is cancelled, only after the answer has been given."""
    task = asyncio.create_task(answering)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def _lines(source: LineReader) -> AsyncIterator[bytes]:
    """The lines of a stream, each read in a thread of its own that nobody has to wait for.

    A thread of an executor would keep a program that is told to stop waiting for one more line.
    """
    loop = asyncio.get_running_loop()
    while line := await _line(source, loop):
        yield line


def _line(source: LineReader, loop: asyncio.AbstractEventLoop) -> asyncio.Future[bytes]:
    coming: asyncio.Future[bytes] = loop.create_future()

    def deliver(line: bytes, error: OSError | None) -> None:
        if coming.done():
            return
        if error is None:
            coming.set_result(line)
        else:
            coming.set_exception(error)

    def read() -> None:
        line, failure = b"", None
        try:
            line = source.readline()
        except OSError as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
            loop.call_soon_threadsafe(deliver, line, failure)

    threading.Thread(target=read, name="botkit-input", daemon=True).start()
    return coming
