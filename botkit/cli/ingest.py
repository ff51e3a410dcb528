"""`botkit ingest`: files and folders into the knowledge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from botkit.cli import common
from botkit.cli.common import ConfigOption, HomeOption, JsonOption, language_of, print_json, settings_from
from botkit.errors import LibraryError

if TYPE_CHECKING:
    from botkit.knowledge.base import Knowledge
    from botkit.knowledge.ingest import IngestReport, LeftOut, Progress

app = typer.Typer()
_LEFT_OUT_SHOWN = 20


@app.command()
def ingest(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Files and folders; those of knowledge.paths in the configuration by default.", show_default=False
        ),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", help="Tag for these documents, remembered for the folder. May be repeated."),
    ] = None,
    language: Annotated[str | None, typer.Option("--lang", help="en or zh; detected by default.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and follow changes until interrupted.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    reindex: Annotated[
        bool, typer.Option("--reindex", help="Make all vectors anew that the configured encoder lacks.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Read new and edited documents, forget deleted ones, and say what was left out and why."""
    from botkit.knowledge.base import open_knowledge

    chosen = language_of(language, "--lang")
    settings = settings_from(config, home)
    wanted = paths or settings.config.knowledge.paths
    if not wanted and not reindex:
        raise LibraryError(
            "Name the files or folders to read: botkit ingest PATH…, or set knowledge.paths in the configuration."
        )
    knowledge = open_knowledge(settings)
    try:
        with progress_bar(hidden=as_json) as progress:
            if not dry_run:
                knowledge.prepare(progress)
            report = knowledge.ingest(
                wanted, tags=tag or (), language=chosen, dry_run=dry_run, reindex=reindex, progress=progress
            )
        _show(report, as_json)
        if settings.config.knowledge.include_builtin and not as_json:
            file = settings.source or settings.paths.config
            common.console.print(
                f"The example shop that ships with botkit answers as well: include_builtin: false, in the section knowledge of {file}, "
                "leaves it out.",
                style="dim",
                soft_wrap=True,
            )
        if watch and not dry_run:
            _follow(knowledge, wanted, as_json)
    finally:
        knowledge.close()
    if (report.skipped or report.failed) and not (report.changed or report.unchanged):
        raise typer.Exit(1)


@contextmanager
def progress_bar(*, hidden: bool = False) -> Iterator[Callable[[Progress], None]]:
    """A bar on standard error with files, rate and time left; yields what `Knowledge.ingest` wants to call."""
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", style="progress.description", markup=False),
        BarColumn(),
        TextColumn("{task.fields[files]}/{task.fields[files_total]} files"),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(
        *columns, console=common.err_console, transient=True, disable=hidden or not common.err_console.is_terminal
    ) as bar:
        task = bar.add_task("Reading", total=None, files=0, files_total=0)

        def show(step: Progress) -> None:
            bar.update(
                task,
                completed=step.bytes,
                total=max(1, step.bytes_total),
                description=Path(step.current).name[-32:],
                files=step.files,
                files_total=step.files_total,
            )

        yield show


def _follow(knowledge: Knowledge, paths: list[Path], as_json: bool) -> None:
    if not as_json:
        common.err_console.print("Watching for changes. Ctrl+C ends it.")
    for report in knowledge.watch(paths):
        _show(report, as_json)


def _show(report: IngestReport, as_json: bool) -> None:
    if as_json:
        print_json(report.as_json())
        return
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right", style="bold")
    table.add_column()
    verb = "would be " if report.dry_run else ""
    for count, words in (
        (len(report.read), f"{verb}read"),
        (len(report.replaced), f"{verb}replaced"),
        (len(report.removed), f"{verb}removed"),
        (report.unchanged, "unchanged"),
        (len(report.skipped), "skipped"),
        (len(report.failed), "failed"),
    ):
        if count:
            table.add_row(str(count), words)
    if not table.row_count:
        table.add_row("0", "documents found")
    common.console.print(table)
    common.console.print(f"{report.chunks} new passages in {report.seconds:.1f} s", style="dim")
    _show_left_out(report.failed, "failed", "red")
    _show_left_out(report.skipped, "skipped", "yellow")
    _show_left_out(report.incomplete, "left out", "yellow")


def _show_left_out(files: list[LeftOut], label: str, style: str) -> None:
    from rich.text import Text

    for file in files[:_LEFT_OUT_SHOWN]:
        common.console.print(Text.assemble((f"{label} ", style), f"{file.path}: {file.message}"), soft_wrap=True)
    if len(files) > _LEFT_OUT_SHOWN:
        common.console.print(f"… and {len(files) - _LEFT_OUT_SHOWN} more; --json lists all.", style="dim")
