"""The terminal front end: a full-screen app, or plain lines for pipes and screen readers."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Final, Literal, cast

from pydantic import BaseModel, Field

from botkit.errors import MissingExtraError
from botkit.messages import Language
from botkit.plugins import AdapterConfig, Capabilities

if TYPE_CHECKING:
    from botkit.engine import Engine

__all__ = ["TerminalAdapter", "TerminalConfig"]

_LIGHT_COLOURS: Final = frozenset({"7", "9", "10", "11", "12", "13", "14", "15"})
_KEPT_RECORDS: Final = 1_000


class TerminalConfig(AdapterConfig):
    """The section `adapters.terminal`."""

    theme: Literal["auto", "light", "dark"] = Field(
        "auto", description="Colours at the start; auto asks the terminal (COLORFGBG), and Ctrl+T switches."
    )
    plain: bool = Field(False, description="Plain lines instead of the full-screen app.")
    json_lines: bool = Field(False, description="One JSON object a line, for programs.")
    conversation: str = Field("", description="Go on with this conversation; empty for a new one.")
    language: Language | None = Field(None, description="Language of the messages; empty to detect it.")
    tags: list[str] = Field(default_factory=list, description="Answer only from documents with one of these tags.")
    sender: str = Field("terminal", description="Who is talking, as conversations are stored.")


class TerminalAdapter:
    """Talks with the person at this terminal."""

    name: ClassVar[str] = "terminal"
    Config: ClassVar[type[BaseModel]] = TerminalConfig
    capabilities: ClassVar[Capabilities] = Capabilities(streaming=True, edits=True, typing=True, buttons=True)

    def __init__(self, config: BaseModel) -> None:
        self._config = cast(TerminalConfig, config)

    async def serve(self, engine: Engine) -> None:
        """Talk until the person leaves; where cancelled, until the answers under way are given.

        Raises `MissingExtraError` where the full-screen app is wanted and textual is not installed.
        """
        from botkit_terminal.session import Session

        session = Session(engine, self._config)
        if self._config.json_lines or self._config.plain or not has_screen():
            from botkit_terminal.plain import PlainChat

            await PlainChat(session, as_json=self._config.json_lines).run()
            return
        try:
            from botkit_terminal.app import ChatApp
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "textual":
                raise
            raise MissingExtraError(
                "The full-screen chat (`botkit chat --plain` works without it)", "terminal"
            ) from error
        dark = self._config.theme == "dark" or (self._config.theme == "auto" and not has_light_background())
        app = ChatApp(session, dark=dark)
        with log_afterwards():
            running = asyncio.create_task(app.run_async())
            try:
                await asyncio.shield(running)
            except asyncio.CancelledError:
                await app.leave()
                await running
                raise
        if app.return_code:  # Textual has shown what it died of
            raise SystemExit(app.return_code)


def has_screen() -> bool:
    """Whether all ends are a terminal that can move its cursor; Textual draws on standard error."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    terminals = all(stream is not None and stream.isatty() for stream in streams)
    return terminals and os.environ.get("TERM", "dumb") not in ("dumb", "")


def has_light_background(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the terminal says, in COLORFGBG as rxvt set it first, that it writes dark on light."""
    return environment.get("COLORFGBG", "").rpartition(";")[2] in _LIGHT_COLOURS


@contextmanager
def log_afterwards() -> Iterator[None]:
    """Keep what would be logged to standard error until the screen is given back, and log it then."""
    root = logging.getLogger("botkit")
    streams = [handler for handler in root.handlers if type(handler) is logging.StreamHandler]
    kept = _Kept()
    for handler in streams:
        root.removeHandler(handler)
        root.addHandler(kept)
    try:
        yield
    finally:
        root.removeHandler(kept)
        for handler in streams:
            root.addHandler(handler)
            for record in kept.records:
                handler.handle(record)


class _Kept(logging.Handler):
    """Remembers the latest records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: deque[logging.LogRecord] = deque(maxlen=_KEPT_RECORDS)

    def emit(self, record: logging.LogRecord) -> None:
        """Remember one."""
        self.records.append(record)
