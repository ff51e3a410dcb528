"""What every command shares: options, consoles, and how errors and JSON are printed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from botkit.config import Settings

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


def print_json(value: Any) -> None:
    """One JSON object on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    class Patient(Console):
        def on_broken_pipe(self) -> None:
            """Whoever reads the output, as `head` does, has enough: that is no error of ours (rich would exit with 1)."""
            raise BrokenPipeError

    return Patient(stderr=stderr, highlight=False, soft_wrap=False)


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
