"""`botkit config`: check and show the configuration."""

from __future__ import annotations

from typing import Any

import typer

from botkit.cli import common
from botkit.cli.common import ConfigOption, HomeOption, JsonOption, print_json, settings_from
from botkit.config import shown
from botkit.errors import ConfigError
from botkit.text import nearest

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Check and show the configuration.")


@app.command()
def check(as_json: JsonOption = False, config: ConfigOption = None, home: HomeOption = None) -> None:
    """Say whether the configuration is right; every mistake with file, line and key."""
    from botkit.hand_off import find_function
    from botkit.plugins import discover, enabled, section_of

    settings = settings_from(config, home)
    found = {one.name: one for one in discover(settings)}
    warnings, mistakes = [], []
    for name in settings.config.adapters:
        one = found.get(name)
        if one is None:
            near = nearest(name, found)
            hint = f"did you mean `{near}`?" if near else "`botkit plugins list` shows those that are."
            warnings.append(f"adapters.{name}: no such adapter is installed; {hint}")
        elif one.adapter is None:
            warnings.append(f"adapters.{name}: {one.problem}.")
        else:
            try:
                section_of(one.adapter, settings)
            except ConfigError as error:  # tell those of the other adapters as well
                mistakes.append(str(error))
            except (Exception, SystemExit) as error:  # a plugin's validator may raise anything
                mistakes.append(f"adapters.{name}: cannot be checked by {one.source}: {type(error).__name__}: {error}")
    try:
        enabled(settings)
    except ConfigError as error:
        mistakes.append(str(error))
    missing = [path for path in settings.config.knowledge.paths if not path.exists()]
    warnings += [f"knowledge.paths: there is no file or folder {path}" for path in missing]
    if (hook := settings.config.hand_off.hook).startswith("python:"):
        try:
            find_function(hook)
        except ConfigError as error:
            mistakes.append(str(error))
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    if as_json:
        print_json({"ok": True, "file": str(settings.source) if settings.source else None, "warnings": warnings})
        return
    for warning in warnings:
        common.console.print(f"warning: {warning}", markup=False)
    where = settings.source or "There is no configuration file; the defaults apply. They"
    common.console.print(f"{where} is right." if settings.source else f"{where} are right.", markup=False)


@app.command()
def show(as_json: JsonOption = False, config: ConfigOption = None, home: HomeOption = None) -> None:
    """Show the settings in effect, secrets masked, and which come from the file.

    What the environment filled in stands there as the file names it.
    """
    settings = settings_from(config, home)
    values, given = shown(settings)
    if as_json:
        print_json({"file": str(settings.source) if settings.source else None, "settings": values})
        return
    from rich.text import Text

    none = f"no file: all defaults; {settings.paths.config} would be read"
    common.console.print(Text(f"# {settings.source or none}", style="dim"), soft_wrap=True)
    for line, path in rendered(values):
        style = "" if path in given else "dim"
        common.console.print(Text(line, style=style), soft_wrap=True)
    if settings.source:
        common.console.print(Text("# dim: defaults", style="dim"))


def rendered(values: dict[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, tuple[str, ...]]]:
    """Lines of YAML, each with the path of its key."""
    import yaml

    lines: list[tuple[str, tuple[str, ...]]] = []
    for key, value in values.items():
        path = (*above, key)
        indent = "  " * len(above)
        if isinstance(value, dict) and value:
            lines.append((f"{indent}{key}:", path))
            lines += rendered(value, path)
        else:
            written = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
            lines.append((f"{indent}{key}: {written.removesuffix(chr(10)).removesuffix('...').strip()}", path))
    return lines
