"""`botkit doctor`: what is installed, what is missing, and whether all is well."""

from __future__ import annotations

import asyncio
import platform
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from botkit import __version__
from botkit.cli import common
from botkit.cli.common import ConfigOption, HomeOption, JsonOption, print_json, settings_from
from botkit.config import without_credentials
from botkit.errors import BotkitError
from botkit.extras import CORE, EXTRAS, install_line, installed, missing_extras

if TYPE_CHECKING:
    from botkit.config import Settings

app = typer.Typer(add_completion=False)
State = Literal["ok", "note", "problem"]
_LITTLE_DISK = 500_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; `remedy` says what to do where it is a problem."""

    what: str
    state: State
    said: str
    remedy: str = ""


@app.command()
def doctor(
    online: Annotated[
        bool, typer.Option("--online", help="Also ask the platforms whether tokens and permissions are in order.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Look at everything, ask one question, and say what to mend; exit code 1 where something is broken."""
    settings = settings_from(config, home)
    looks: tuple[Callable[[Settings], list[Finding]], ...] = (
        _system,
        _extras,
        _home,
        _models,
        _calibration,
        _knowledge,
        _adapters,
        *([_platforms] if online else []),
        _question,
    )
    findings: list[Finding] = []
    for look in looks:
        try:
            findings += look(settings)
        except BotkitError as error:
            findings.append(Finding(look.__name__.strip("_"), "problem", str(error)))
    broken = any(finding.state == "problem" for finding in findings)
    if as_json:
        print_json({"ok": not broken, "findings": [asdict(finding) for finding in findings]})
    else:
        _show(findings)
    if broken:
        raise typer.Exit(1)


def _system(settings: Settings) -> list[Finding]:
    said = f"botkit {__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}"
    packages = ", ".join(f"{name} {installed(name)}" for name in CORE)
    return [
        Finding("system", "ok", said),
        Finding("packages", "ok", packages),
        Finding("configuration", "ok", str(settings.source or "no file: the defaults apply")),
    ]


def _extras(settings: Settings) -> list[Finding]:
    missing = missing_extras()
    return [
        Finding(f"extra {extra}", "note", f"not installed: {', '.join(missing[extra])}", install_line(extra))
        if extra in missing
        else Finding(f"extra {extra}", "ok", ", ".join(f"{name} {installed(name)}" for name in names))
        for extra, names in EXTRAS.items()
    ]


def _home(settings: Settings) -> list[Finding]:
    home = settings.paths.home
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe = home / ".doctor"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return [
            Finding("home", "problem", f"{home}: cannot be written ({error.strerror})", "Choose another with --home.")
        ]
    free = shutil.disk_usage(home).free
    disk = Finding("disk", "ok", f"{free / 1e9:.1f} GB free")
    if free < _LITTLE_DISK:
        disk = Finding("disk", "problem", f"only {free / 1e6:.0f} MB free", "Make room, or choose another home.")
    return [Finding("home", "ok", str(home)), disk]


def _models(settings: Settings) -> list[Finding]:
    from botkit.models.manifest import ROLES, check_digest
    from botkit.models.registry import check_model, describe_model

    models = settings.config.models
    chosen = (models.encoder, models.reader, models.sentiment, models.generator.model)
    findings = []
    for role, name in zip(ROLES, chosen, strict=True):
        try:
            info = describe_model(name, role, settings.paths)
            check_model(info, role, name)
            if info.form == "onnx" and info.folder:
                check_digest(info.folder)
        except BotkitError as error:
            findings.append(Finding(f"model {role}", "problem", str(error), f"botkit models use {role} builtin"))
            continue
        endpoint = without_credentials(models.generator.base_url) or "api.openai.com"
        where = f"{info.folder}, {info.size / 1e6:.1f} MB" if info.folder else endpoint
        findings.append(Finding(f"model {role}", "ok", f"{name} ({info.form}; {where})"))
    return findings


def _calibration(settings: Settings) -> list[Finding]:
    """Whether the probabilities were fitted for the reader in use."""
    from botkit.models.registry import load_reader
    from botkit.parts import Parts

    fitted, reader = Parts.of(settings).calibration().reader, load_reader(settings.config.models, settings.paths).name
    if fitted == reader:
        return [Finding("calibration", "ok", f"fitted for {reader}")]
    target = settings.paths.home / "calibration.json"
    return [
        Finding(
            "calibration",
            "note",
            f"fitted for {fitted}, in use is {reader}: confidence is a guess",
            f"python -m botkit.training.calibration --data DATA --out {target}",
        )
    ]


def _knowledge(settings: Settings) -> list[Finding]:
    from botkit.knowledge.base import open_knowledge

    knowledge = open_knowledge(settings)
    try:
        knowledge.prepare()
        found = knowledge.check()
    finally:
        knowledge.close()
    said = f"{found.documents} documents, {found.chunks} passages"
    if found.writing:
        return [Finding("knowledge", "ok", f"{said}; another process is writing, and the indexes follow it")]
    if found.ok:
        return [Finding("knowledge", "ok", f"{said}; library and indexes agree")]
    return [Finding("knowledge", "problem", f"{said}: {'; '.join(found.problems)}", "botkit ingest --reindex")]


def _adapters(settings: Settings) -> list[Finding]:
    from botkit.plugins import discover, enabled

    on = enabled(settings)
    findings = []
    for one in discover(settings):
        if one.problem:
            state: State = "problem" if one.name in on else "note"
            findings.append(Finding(f"front end {one.name}", state, f"{one.source}: {one.problem}"))
        else:
            said = "enabled" if one.name in on else "ready"
            findings.append(Finding(f"front end {one.name}", "ok", f"{one.source}, {said}"))
    return findings


def _platforms(settings: Settings) -> list[Finding]:
    """What the platforms of the enabled front ends say of their tokens; nothing is posted."""
    from botkit.plugins import Checkable, enabled, make_adapter

    findings = []
    for name in enabled(settings):
        try:
            adapter = make_adapter(name, settings)
        except BotkitError as error:
            findings.append(Finding(f"online {name}", "problem", str(error)))
            continue
        if isinstance(adapter, Checkable):
            for one in asyncio.run(adapter.check()):
                state: State = "ok" if one.ok else "problem"
                findings.append(Finding(f"online {name} {one.what}", state, one.said, one.remedy))
    return findings or [Finding("online", "note", "no front end is enabled that could be asked")]


def _question(settings: Settings) -> list[Finding]:
    """Ask about something that stands in the first document there is."""
    from botkit.engine import engine_from
    from botkit.messages import Message, Reply

    async def ask() -> tuple[Reply | None, float]:
        engine = engine_from(settings)
        try:
            await engine.warm_up()
            documents = engine.knowledge.documents()
            if not documents:
                return None, 0.0
            begun = time.perf_counter()
            question = f"What is {documents[0].title} about?"
            reply = await engine.answer(Message(question, conversation="doctor", sender="doctor"))
            taken = (time.perf_counter() - begun) * 1000
            engine.store.delete(conversation="doctor")
            return reply, taken
        finally:
            await engine.close()

    reply, taken = asyncio.run(ask())
    if reply is None:
        return [Finding("self-test", "note", "there are no documents yet", "botkit ingest PATH")]
    return [Finding("self-test", "ok", f"a question was answered in {taken:.0f} ms (route: {reply.route})")]


def _show(findings: list[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    marks = {"ok": Text("✓", style="green"), "note": Text("·", style="dim"), "problem": Text("✗", style="red")}
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    table.add_column()
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        said = Text(finding.said, style="dim" if finding.state == "note" else "")
        if finding.remedy:
            said.append(f"\n{finding.remedy}", style="bold")
        table.add_row(marks[finding.state], finding.what, said)
    common.console.print(table)
    if sys.stdout.isatty() and not any(finding.state == "problem" for finding in findings):
        common.console.print("All is well.")
