"""`botkit plugins`: list front ends, or start a new one."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from string import Template
from typing import Annotated, Final

import typer

from botkit.cli import common
from botkit.cli.common import ConfigOption, HomeOption, JsonOption, print_json, settings_from
from botkit.errors import AdapterError

app = typer.Typer(add_completion=False, no_args_is_help=True, help="List front ends, or start a new one.")
_NAME: Final = re.compile(r"[a-z](?:[a-z0-9_]{0,38}[a-z0-9])?")
TEMPLATE: Final = Path(__file__).parent.parent / "templates" / "adapter"


@app.command("list")
def list_plugins(as_json: JsonOption = False, config: ConfigOption = None, home: HomeOption = None) -> None:
    """Show the front ends that are installed or lie in plugins_dir, and what is wrong with broken ones."""
    from botkit.plugins import discover, enabled

    settings = settings_from(config, home)
    on = enabled(settings)
    rows = [
        {
            "name": one.name,
            "source": one.source,
            "enabled": one.name in on,
            "ok": one.adapter is not None,
            "problem": one.problem,
        }
        for one in discover(settings)
    ]
    if as_json:
        print_json({"plugins": rows})
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("name", "enabled", "from", "state"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        state = Text("ready") if row["ok"] else Text(str(row["problem"]), style="red")
        table.add_row(Text(str(row["name"])), "yes" if row["enabled"] else "no", Text(str(row["source"])), state)
    common.console.print(table)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the front end: lower-case letters, digits, underscores.")],
    folder: Annotated[Path, typer.Option("--dir", help="Where to make the package.")] = Path(),
    as_json: JsonOption = False,
) -> None:
    """Write a working adapter package, with a test that passes."""
    from importlib.metadata import entry_points

    from botkit.plugins import ENTRY_POINT_GROUP

    if not _NAME.fullmatch(name):
        raise AdapterError(
            f"{name!r}: a name has lower-case letters, digits and underscores, begins with a letter, and has 40 of them at most."
        )
    if keyword.iskeyword(name):
        raise AdapterError(f"{name!r}: this is a word of the Python language. Choose another name.")
    if any(point.name == name for point in entry_points(group=ENTRY_POINT_GROUP)):
        raise AdapterError(f"{name!r}: a front end of this name is installed already. Choose another name.")
    target = folder / f"botkit_{name}"
    if target.exists():
        raise AdapterError(f"{target} exists already. Choose another name, or another folder with --dir.")
    values = {"name": name, "title": name.replace("_", " ").title().replace(" ", "")}
    written = []
    try:
        for template in sorted(TEMPLATE.rglob("*.tmpl")):
            place = Template(str(template.relative_to(TEMPLATE)).removesuffix(".tmpl").replace("NAME", name))
            path = target / place.template
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(Template(template.read_text(encoding="utf-8")).substitute(values), encoding="utf-8")
            written.append(str(path))
    except OSError as error:
        raise AdapterError(f"{error.filename}: cannot be written ({error.strerror}).") from error
    if as_json:
        print_json({"folder": str(target), "files": written})
        return
    common.console.print(f"Written: {target}", markup=False)
    common.console.print(
        f"Try it: cd {target} && pip install -e '.[test]' && python -m pytest\n"
        f"Then enable it: adapters.{name}.enabled: true, and run `botkit serve`.",
        markup=False,
    )
