"""What every command shares: options, consoles, and how errors and JSON are printed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from botkit.errors import DataError
from botkit.text import visible

if TYPE_CHECKING:
    from rich.console import Console

    from botkit.config import Settings
    from botkit.messages import Language

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", help="Configuration file; default ./config.yaml, then HOME/config.yaml.", show_default=False
    ),
]
HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Folder of botkit's data (or BOTKIT_HOME).", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


_UNBROKEN: Final = 10_000
"""Columns of a line that nobody sees on a screen."""


class Root:
    """The options given before the command; those after it win."""

    config: Path | None = None
    home: Path | None = None


def chosen(config: Path | None, home: Path | None) -> tuple[Path | None, Path | None]:
    """The options of the command, or else those given before it."""
    return config or Root.config, home or Root.home


def settings_from(config: Path | None, home: Path | None) -> Settings:
    """The settings that a command runs with."""
    from botkit.config import load_settings

    return load_settings(*chosen(config, home))


def language_of(name: str | None, option: str) -> Language | None:
    """The language that an option names, if it is given. Raises `BadParameter` for another word than en and zh."""
    if name is None:
        return None
    if name == "en":
        return "en"
    if name == "zh":
        return "zh"
    raise typer.BadParameter("choose en or zh", param_hint=option)


def piped() -> str:
    """What comes on standard input; raises `DataError` where it is no UTF-8."""
    data = getattr(sys.stdin, "buffer", None)
    try:
        return data.read().decode("utf-8-sig") if data is not None else sys.stdin.read()
    except UnicodeDecodeError as error:
        raise DataError(
            f"Standard input is not UTF-8 (byte {error.start}). Convert it: iconv -f GB18030 -t UTF-8 FILE | botkit …"
        ) from error


def print_json(value: Any) -> None:
    """One JSON object on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def _console(*, stderr: bool) -> Console:
    """A console for people and pipes.

    Names and texts are printed as they are, square brackets and all, but for the characters that would steer the terminal.
    Where nobody looks at a screen no line is broken, so that `grep` finds what is there.
    """
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class Patient(Console):
        def on_broken_pipe(self) -> None:
            """Whoever reads the output, as `head` does, has enough: that is no error of ours (rich would exit with 1)."""
            raise BrokenPipeError

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
            """As rich does it, without what a document or a message could steer the terminal with."""
            for segment in super().render(renderable, options):
                yield segment if segment.control else segment._replace(text=visible(segment.text, instead=""))

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _UNBROKEN
    return Patient(stderr=stderr, highlight=False, soft_wrap=False, markup=False, width=width)


def __getattr__(name: str) -> Any:
    """`console` and `err_console`, made when first used, since rich takes a while to import."""
    if name in ("console", "err_console"):
        made = _console(stderr=name == "err_console")
        globals()[name] = made
        return made
    raise AttributeError(name)


if TYPE_CHECKING:
    console: Console
    err_console: Console
