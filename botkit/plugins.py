"""Front ends: what an adapter is, and how adapters are found.

An adapter translates one platform's events into `Message`s and the engine's events back. It is
found through the entry-point group `botkit.adapters`, or as a file in `plugins_dir`; the
first-party adapters use the same door.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import BaseModel

if TYPE_CHECKING:
    from botkit.engine import Engine

ENTRY_POINT_GROUP = "botkit.adapters"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a platform can show. `max_length` is in characters, None for no limit."""

    max_length: int | None = None
    markup: Literal["plain", "markdown", "html", "mrkdwn"] = "plain"
    edits: bool = False
    streaming: bool = False
    typing: bool = False
    buttons: bool = False
    threads: bool = False


@runtime_checkable
class Adapter(Protocol):
    """One front end.

    `Config` is the pydantic model of its section under `adapters:` in the configuration; an instance of it is
    given to the constructor. `serve` runs until cancelled; when cancelled it finishes the
    answers in flight and returns.
    """

    name: ClassVar[str]
    Config: ClassVar[type[BaseModel]]
    capabilities: ClassVar[Capabilities]

    def __init__(self, config: BaseModel) -> None: ...

    async def serve(self, engine: Engine) -> None:
        """Serve the platform until cancelled."""
        ...
