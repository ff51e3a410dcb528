"""`botkit conversations`: what was said, and its export and deletion."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from botkit.cli import common
from botkit.cli.common import ConfigOption, HomeOption, JsonOption, print_json, settings_from
from botkit.conversations.erase import erase
from botkit.errors import ConversationError
from botkit.text import clean

if TYPE_CHECKING:
    from botkit.config import Settings
    from botkit.conversations.sqlite import SQLiteConversationStore

app = typer.Typer(no_args_is_help=True, help="List, show, export and delete conversations.")

SenderOption = Annotated[str | None, typer.Option("--sender", help="Only this person.", show_default=False)]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="At most so many, the latest first.")]


@app.command("list")
def list_conversations(
    sender: SenderOption = None,
    adapter: Annotated[
        str | None, typer.Option("--adapter", help="Only this front end, such as terminal.", show_default=False)
    ] = None,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """List conversations, the latest first."""
    with _opened(config, home) as store:
        found = store.conversations(sender=sender, adapter=adapter, limit=limit)
    if as_json:
        print_json({"conversations": [one.as_json() for one in found], "n": len(found)})
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("conversation", "last", "turns", "sender", "front end", "begins"):
        table.add_column(name, justify="right" if name == "turns" else "left", overflow="fold")
    for one in found:
        last = _when(one.last_at)
        table.add_row(
            *(Text(clean(cell)) for cell in (one.id, last, str(one.turns), one.sender, one.adapter, one.title))
        )
    common.console.print(table if found else "There are no conversations.")


@app.command()
def show(
    conversation: Annotated[str, typer.Argument(help="Its id, as `botkit conversations list` prints it.")],
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Print a conversation, oldest turn first."""
    with _opened(config, home) as store:
        turns = _known(list(store.export(conversation=conversation)), conversation=conversation)
    if as_json:
        print_json({"conversation": conversation, "turns": turns, "n": len(turns)})
        return
    from rich.text import Text

    for turn in turns:
        common.console.print(
            Text(_headline(turn), style="bold cyan" if turn["role"] == "user" else "bold"), soft_wrap=True
        )
        common.console.print(Text("\n".join(clean(line) for line in turn["text"].splitlines()) + "\n"))


@app.command()
def search(
    text: Annotated[str, typer.Argument(help="Words as they stand in a message or reply, in either case.")],
    sender: SenderOption = None,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Find turns that contain a text, the latest first."""
    if not text.strip():
        raise ConversationError("There is nothing to search for. Give the words: botkit conversations search TEXT")
    with _opened(config, home) as store:
        found = store.search(text, sender=sender, limit=limit)
    if as_json:
        print_json({"turns": [turn.as_json() for turn in found], "n": len(found)})
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("conversation", "time", "who", "text"):
        table.add_column(name, overflow="fold")
    for turn in found:
        excerpt = Text(_excerpt(turn.text, text))
        excerpt.highlight_words([clean(text)], "bold yellow", case_sensitive=False)
        who = turn.sender if turn.role == "user" else "bot"
        table.add_row(Text(clean(turn.conversation)), _when(turn.created_at), Text(clean(who)), excerpt)
    common.console.print(table if found else "No turn contains that.")


@app.command()
def export(
    conversation: Annotated[
        str | None, typer.Option("--conversation", help="Only this conversation.", show_default=False)
    ] = None,
    sender: SenderOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="A new file to write; standard output if left out.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Export turns as JSON lines, oldest first; all of them where neither a conversation nor a sender is named."""
    with _opened(config, home) as store:
        turns = list(store.export(conversation=conversation, sender=sender))
    if conversation is not None or sender is not None:
        _known(turns, conversation=conversation, sender=sender)
    if out is not None:
        _write_lines(out, turns)
    if as_json:
        print_json({"written": str(out), "n": len(turns)} if out is not None else {"turns": turns, "n": len(turns)})
    elif out is not None:
        common.console.print(f"Wrote {_count(len(turns))} to {out}.", markup=False)
    else:
        for turn in turns:
            sys.stdout.write(json.dumps(turn, ensure_ascii=False) + "\n")


@app.command()
def delete(
    conversation: Annotated[
        str | None, typer.Option("--conversation", help="Delete this conversation.", show_default=False)
    ] = None,
    sender: Annotated[
        str | None,
        typer.Option("--sender", help="Delete all that this person said and was told.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Delete a conversation, or a person, for good: the text is overwritten, and gone from `botkit improve` too."""
    if (conversation is None) == (sender is None):
        raise ConversationError("Name what to delete: either --conversation ID or --sender ID.")
    settings = settings_from(config, home)
    with _stored(settings) as store:
        there = _known(list(store.export(conversation=conversation, sender=sender)), conversation, sender)
        if not yes:
            if as_json or not sys.stdin.isatty():
                raise ConversationError(f"This would delete {_count(len(there))} for good. Add --yes to do so.")
            typer.confirm(f"Delete {_count(len(there))} for good?", abort=True, err=True)
        deleted = erase(
            lambda: store.delete(conversation=conversation, sender=sender),
            store,
            settings.paths.home,
        )
    _tell_deleted(deleted, as_json)


@app.command()
def expire(
    days: Annotated[int, typer.Option("--days", min=1, help="Days since a conversation's last turn.")],
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Delete, for good, conversations in which nothing was said for some days."""
    try:
        before = datetime.now(timezone.utc) - timedelta(days=days)
    except OverflowError as error:
        raise ConversationError(f"--days {days} reaches back before the year 1. Give a smaller number.") from error
    settings = settings_from(config, home)
    with _stored(settings) as store:
        deleted = erase(lambda: store.expire(before), store, settings.paths.home)
    _tell_deleted(deleted, as_json)


def _opened(config: Path | None, home: Path | None) -> AbstractContextManager[SQLiteConversationStore]:
    return _stored(settings_from(config, home))


@contextmanager
def _stored(settings: Settings) -> Iterator[SQLiteConversationStore]:
    from botkit.conversations.sqlite import open_store

    store = open_store(settings)
    try:
        yield store
    finally:
        store.close()


def _known(
    turns: list[dict[str, Any]], conversation: str | None = None, sender: str | None = None
) -> list[dict[str, Any]]:
    """The turns, or an error naming what there is none of."""
    if turns:
        return turns
    asked = [f"conversation {conversation!r}"] if conversation is not None else []
    asked += [f"sender {sender!r}"] if sender is not None else []
    raise ConversationError(f"Nothing is stored of {' and '.join(asked)}. See: botkit conversations list")


def _write_lines(path: Path, turns: list[dict[str, Any]]) -> None:
    """Write JSON lines to a file that is not there yet, since an export may be the only copy."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.writelines(json.dumps(turn, ensure_ascii=False) + "\n" for turn in turns)
    except FileExistsError as error:
        raise ConversationError(f"{path} exists already. Name another file with --out.") from error
    except OSError as error:
        raise ConversationError(f"{path}: the export cannot be written ({error.strerror}).") from error


def _headline(turn: Mapping[str, Any]) -> str:
    """Who spoke and when; for a reply its route, confidence and rating, for a message its tone."""
    parts = [_when(datetime.fromisoformat(turn["created_at"])), turn["sender"] if turn["role"] == "user" else "bot"]
    if turn["route"]:
        parts.append(f"{turn['route']} {turn['confidence']:.2f}")
    if turn["sentiment"]:
        parts.append(turn["sentiment"])
    if turn["rating"]:
        parts.append("👍" if turn["rating"] > 0 else "👎")
    if turn["note"]:
        parts.append(turn["note"])
    return clean(" · ".join(parts))


def _excerpt(text: str, wanted: str, around: int = 60) -> str:
    """Some of a long text, with `wanted` in it."""
    at = max(0, text.casefold().find(wanted.casefold()))
    start, end = max(0, at - around), at + len(wanted) + around
    return f"{'…' if start else ''}{clean(text[start:end])}{'…' if end < len(text) else ''}"


def _when(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M}"


def _count(turns: int) -> str:
    return f"{turns:,} turn{'' if turns == 1 else 's'}"


def _tell_deleted(deleted: int, as_json: bool) -> None:
    if as_json:
        print_json({"deleted": deleted})
    else:
        common.console.print(f"Deleted {_count(deleted)}.")
