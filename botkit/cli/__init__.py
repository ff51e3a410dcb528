"""The command line. Each command is a module of this package, imported only when it is run."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from botkit import __version__
from botkit.cli.common import Root
from botkit.errors import BotkitError

COMMANDS: Final = {
    "chat": "Talk with the bot in the terminal.",
    "ask": "Answer one question from the documents, with its source.",
    "ingest": "Read files and folders into the knowledge library.",
    "knowledge": "List, show and remove documents.",
    "conversations": "List, show, export and delete conversations.",
    "serve": "Run every front end that the configuration enables.",
    "plugins": "List front ends, or start a new one.",
    "models": "List, choose, fetch and export models.",
    "data": "Clean, split, augment, balance and describe training data.",
    "train": "Fine-tune a model, or train a small one from nothing.",
    "tune": "Search for better hyperparameters.",
    "improve": "Make the reader better from rated conversations.",
    "generate": "Continue a text, or reply to a message.",
    "classify": "Sort texts into classes.",
    "evaluate": "Measure retrieval, reading, answering and the other models.",
    "config": "Check and show the configuration.",
    "doctor": "Say what is installed, what is missing, and whether all is well.",
}


class _LazyGroup(TyperGroup):
    """Commands come from `COMMANDS`; only the one that runs is imported."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"botkit.cli.{cmd_name}")
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


app = typer.Typer(cls=_LazyGroup, no_args_is_help=True, add_completion=True, rich_markup_mode=None)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"botkit {__version__}")
        raise typer.Exit


@app.callback()
def root(
    config: Annotated[Path | None, typer.Option("--config", help="Configuration file.", show_default=False)] = None,
    home: Annotated[Path | None, typer.Option("--home", help="Folder of botkit's data.", show_default=False)] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A bot that answers from your own documents, word for word, and says where each answer stands."""
    Root.config, Root.home = config, home


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exit codes: 0 well, 1 an error told in words, 2 wrong usage, 130 interrupted."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        app(args=given, prog_name="botkit")
    except BotkitError as error:
        _tell(error, as_json="--json" in given)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # whoever read our output has enough; keep the interpreter from complaining when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        _tell(BotkitError(f"{error.filename or 'output'}: {error.strerror}."), as_json="--json" in given)
        sys.exit(1)


def _tell(error: BotkitError, *, as_json: bool) -> None:
    print(f"error: {error}", file=sys.stderr)
    if as_json:
        from botkit.cli.common import print_json

        told: dict[str, Any] = {"error": {"type": type(error).__name__, "message": str(error)}}
        print_json(told)
