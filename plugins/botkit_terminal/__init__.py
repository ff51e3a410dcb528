"""The terminal front end: a full-screen app, or plain lines for pipes and screen readers."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from pydantic import BaseModel, Field

from botkit.errors import MissingExtraError
from botkit.messages import Language
from botkit.plugins import AdapterConfig, Capabilities

if TYPE_CHECKING:
    from botkit.engine import Engine

__all__ = ["TerminalAdapter", "TerminalConfig"]


class TerminalConfig(AdapterConfig):
    """The section `adapters.terminal`."""

    theme: Literal["dark", "light"] = Field("dark", description="Colours at the start; F8 switches.")
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
        """Talk until the person leaves."""
        from botkit_terminal.plain import PlainChat
        from botkit_terminal.session import Session

        session = Session(engine, self._config)
        if self._config.json_lines or self._config.plain or not has_screen():
            await PlainChat(session, as_json=self._config.json_lines).run()
            return
        try:
            from botkit_terminal.app import ChatApp
        except ImportError as error:
            raise MissingExtraError(
                "The full-screen chat (`botkit chat --plain` works without it)", "terminal"
            ) from error
        await ChatApp(session, theme=self._config.theme).run_async()


def has_screen() -> bool:
    """Whether both ends are a terminal that can move its cursor."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "")
