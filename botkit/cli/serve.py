"""`botkit serve`: run the front ends that the configuration enables."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from botkit.cli import common
from botkit.cli.common import ConfigOption, HomeOption, settings_from
from botkit.errors import AdapterError, MissingExtraError

app = typer.Typer(add_completion=False)


@app.command()
def serve(
    adapter: Annotated[
        list[str] | None, typer.Option("--adapter", help="Run only this front end. May be repeated.")
    ] = None,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Run every enabled front end until SIGTERM or Ctrl+C; answers in flight are finished."""
    from botkit.engine import engine_from
    from botkit.logs import set_up
    from botkit.plugins import enabled, make_adapter
    from botkit.serving import serve as run

    settings = settings_from(config, home)
    set_up(settings.config.logging)
    names = adapter or enabled(settings)
    if not names:
        where = settings.source or settings.paths.config
        raise AdapterError(
            f"No front end is enabled. Write `enabled: true` under adapters.NAME in {where}; `botkit plugins list` shows "
            "the names. To talk in this terminal, run `botkit chat`."
        )
    adapters, broken = [], []
    for name in names:
        try:
            adapters.append(make_adapter(name, settings))
        except (AdapterError, MissingExtraError) as error:  # a broken one must not silence the others
            broken.append(error)
    if not adapters:
        raise AdapterError("\n".join(map(str, broken)))
    for told in broken:
        common.err_console.print(f"error: {told}", style="red", markup=False, soft_wrap=True)
    served = ", ".join(adapter.name for adapter in adapters)
    common.err_console.print(f"Serving {served}. Ctrl+C ends it.", markup=False)
    asyncio.run(run(engine_from(settings), adapters))
