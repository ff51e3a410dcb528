"""`botkit chat`: talk in the terminal, through the adapter that is registered for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import Annotated, Any

import typer

from botkit.cli import common
from botkit.cli.common import ConfigOption, HomeOption, language_of, settings_from

app = typer.Typer(add_completion=False)


@app.command()
def chat(
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines, for pipes and screen readers.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --plain: one JSON object for each line, and nothing else.")
    ] = False,
    conversation: Annotated[str, typer.Option(help="Go on with this conversation.", show_default=False)] = "",
    language: Annotated[str | None, typer.Option("--lang", help="en or zh; detected by default.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="Answer only from documents with this tag.")] = None,
    theme: Annotated[str | None, typer.Option(help="auto, light or dark.")] = None,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Talk with the bot in the terminal; plain lines where there is none."""
    from botkit.engine import engine_from
    from botkit.logs import set_up
    from botkit.plugins import make_adapter

    settings = settings_from(config, home)
    set_up(settings.config.logging)
    overrides: dict[str, Any] = {"plain": plain or as_json, "json_lines": as_json}
    if theme not in (None, "auto", "light", "dark"):
        raise typer.BadParameter("choose auto, light or dark", param_hint="--theme")
    chosen = {"conversation": conversation, "language": language_of(language, "--lang"), "tags": tag, "theme": theme}
    overrides |= {name: value for name, value in chosen.items() if value}
    adapter = make_adapter("terminal", settings, **overrides)

    told: list[signal.Signals] = []

    async def talk() -> None:
        _leave_when_told(told)
        engine = engine_from(settings)
        try:
            if tag:
                with common.err_console.status("Reading the documents …"):
                    await asyncio.to_thread(engine.knowledge.prepare)  # tags are known once the documents are in
                engine.knowledge.check_filter((), tag)
            await adapter.serve(engine)
        finally:
            await engine.close()

    try:
        asyncio.run(talk())
    except BrokenPipeError:
        # whoever read our output has enough; what is still in the buffer goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except asyncio.CancelledError:
        raise typer.Exit(128 + (told[0] if told else signal.SIGTERM)) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None  # not click's "Aborted!": leaving so is no mishap


def _leave_when_told(told: list[signal.Signals]) -> None:
    """Where a person, the system or a closed window ends the program, finish the answer under way and give the screen back.

    A second Ctrl-C does not wait. The handlers run in the loop: asyncio's own for Ctrl-C cancels in the midst of whatever runs.
    """
    loop, talking = asyncio.get_running_loop(), asyncio.current_task()
    assert talking is not None, "called from a task"

    def leave(number: signal.Signals) -> None:
        told.append(number)
        if number == signal.SIGINT:
            loop.remove_signal_handler(number)
        talking.cancel()

    with contextlib.suppress(
        NotImplementedError, AttributeError
    ):  # Windows has neither handlers in the loop nor SIGHUP
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, leave, number)
