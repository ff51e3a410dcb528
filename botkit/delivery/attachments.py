"""Files that people send to the bot become documents, where the configuration allows it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from pydantic import Field

from botkit.config import Section
from botkit.delivery.inbox import Attachment
from botkit.engine import Engine
from botkit.errors import AdapterError, BotkitError
from botkit.messages import Language
from botkit.phrases import phrase


class Uploads(Section):
    """Whether files sent to the bot are read into its knowledge. Off unless asked for: all who ask see what was read."""

    enabled: bool = False
    users: list[str] = Field(default_factory=list, description="Who may; empty for everyone the bot answers.")
    max_mb: float = Field(20.0, gt=0, description="Largest file, in megabytes.")
    tags: list[str] = Field(default_factory=list, description="Tags given to such documents.")


async def take_in(
    engine: Engine,
    rules: Uploads,
    attachment: Attachment,
    fetch: Callable[[], Awaitable[bytes]],
    *,
    adapter: str,
    sender: str,
    tags: tuple[str, ...],
    language: Language,
) -> str:
    """Ingest one file and say what became of it. A file of the same name from the same person replaces the earlier one."""
    name = attachment.name
    if not rules.enabled or (rules.users and sender not in rules.users):
        return phrase("upload_not_allowed", language, file=name)
    limit = int(rules.max_mb * 1e6)
    if attachment.size > limit:
        return phrase("upload_too_large", language, file=name, limit=f"{rules.max_mb:g}")
    try:
        content = await fetch()
        if len(content) > limit:
            return phrase("upload_too_large", language, file=name, limit=f"{rules.max_mb:g}")
        path = await asyncio.to_thread(_keep, engine.settings.paths.home / "uploads", adapter, sender, name, content)
        report = await asyncio.to_thread(engine.knowledge.ingest, [path], tags=[*rules.tags, *tags])
    except (AdapterError, BotkitError, OSError) as error:
        return phrase("upload_failed", language, file=name, why=str(error))
    if report.failed or report.skipped:
        why = [*report.failed, *report.skipped][0].reason
        return phrase("upload_failed", language, file=name, why=why)
    return phrase("upload_read", language, file=name)


def _keep(folder: Path, adapter: str, sender: str, name: str, content: bytes) -> Path:
    """Write the file whole or not at all; its name is stripped of all that leads elsewhere."""
    plain = re.sub(r"[^\w.\- ]", "_", name.replace("\\", "/").rsplit("/", 1)[-1]).strip(". ")[-100:] or "file"
    path = folder / re.sub(r"\W", "_", adapter) / re.sub(r"\W", "_", sender) / plain
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{plain}.part")
    partial.write_bytes(content)
    return partial.replace(path)
