"""`botkit knowledge`: what the bot knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from botkit.cli import common
from botkit.cli.common import ConfigOption, HomeOption, JsonOption, print_json, settings_from

if TYPE_CHECKING:
    from botkit.knowledge.base import Knowledge

app = typer.Typer(no_args_is_help=True, help="List, show and remove documents.")


@app.command("list")
def list_documents(as_json: JsonOption = False, config: ConfigOption = None, home: HomeOption = None) -> None:
    """List the documents."""
    with _opened(config, home, as_json) as knowledge:
        infos = knowledge.documents()
    if as_json:
        print_json({"documents": [info.as_json() for info in infos], "n": len(infos)})
        return
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("document", "title", "lang", "passages", "tags"):
        table.add_column(name, justify="right" if name == "passages" else "left", overflow="fold")
    for info in infos:
        table.add_row(info.id, info.title, info.language, str(info.chunks), ", ".join(info.tags))
    common.console.print(table if infos else "There are no documents yet. Add some with: botkit ingest PATH…")


@app.command()
def show(
    document: Annotated[str, typer.Argument(help="The document's id, as `botkit knowledge list` prints it.")],
    chunks: Annotated[bool, typer.Option("--chunks", help="Show the passages and their places instead.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Print a document's text exactly: the offsets of sources count in it."""
    with _opened(config, home, as_json) as knowledge:
        found = knowledge.document(document)
        passages = knowledge.chunks(document) if chunks or as_json else []
    if as_json:
        print_json(asdict(found) | {"chunks": [asdict(passage) for passage in passages]})
    elif not chunks:
        typer.echo(found.text.encode("utf-8"), nl=False)
    else:
        from rich.text import Text

        for passage in passages:
            page = f", page {passage.page}" if passage.page else ""
            place = f"[{passage.start}:{passage.end}]{page} {passage.heading or passage.question}"
            common.console.print(Text(place, style="bold"), soft_wrap=True)
            common.console.print(Text(passage.text + "\n"), soft_wrap=True)


@app.command()
def remove(
    documents: Annotated[list[str], typer.Argument(help="Ids of documents; one ending in / means all below it.")],
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Forget documents. Their files are not touched."""
    with _opened(config, home, as_json) as knowledge:
        removed = knowledge.remove(documents)
    if as_json:
        print_json({"removed": removed, "n": len(removed)})
    else:
        common.console.print(f"Removed {len(removed)} document{'' if len(removed) == 1 else 's'}.")


@app.command()
def stats(as_json: JsonOption = False, config: ConfigOption = None, home: HomeOption = None) -> None:
    """Count documents and passages, and check that the indexes agree with the library."""
    with _opened(config, home, as_json) as knowledge:
        numbers, check = knowledge.stats(), knowledge.check()
    if as_json:
        print_json(numbers.as_json() | {"ok": check.ok, "problems": check.problems})
        return
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in (
        ("documents", f"{numbers.documents:,}"),
        ("passages", f"{numbers.chunks:,}"),
        ("characters", f"{numbers.characters:,}"),
        ("languages", ", ".join(f"{language} {count}" for language, count in numbers.languages.items())),
        ("tags", ", ".join(f"{tag} {count}" for tag, count in numbers.tags.items()) or "none"),
        ("encoder", numbers.encoder),
        ("on disk", f"{numbers.bytes / 1e6:.1f} MB"),
        (
            "indexes",
            "being written" if check.writing else "agree with the library" if check.ok else "; ".join(check.problems),
        ),
    ):
        table.add_row(name, value)
    common.console.print(table)


@contextmanager
def _opened(config: Path | None, home: Path | None, as_json: bool) -> Iterator[Knowledge]:
    from botkit.cli.ingest import progress_bar
    from botkit.knowledge.base import open_knowledge

    knowledge = open_knowledge(settings_from(config, home))
    try:
        with progress_bar(hidden=as_json) as progress:
            knowledge.prepare(progress)
        yield knowledge
    finally:
        knowledge.close()
