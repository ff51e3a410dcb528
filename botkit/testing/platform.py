"""A platform played on loopback, as the conformance suite sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

Place = Literal["direct", "channel"]


@dataclass(frozen=True, slots=True)
class Shown:
    """A message of the bot as people see it now: plain text without markup, "\\n" between lines.

    `thread` is the id of the message it answers or stands under ("" for none); `streaming` is true while it is still being
    written; `buttons` are the labels under it.
    """

    id: str
    place: Place
    text: str
    thread: str = ""
    streaming: bool = False
    buttons: tuple[str, ...] = ()
    edits: int = 0


class Platform(Protocol):
    """The server side of a platform, speaking its real wire protocol to the real client library.

    Two places exist: "direct" (a private chat of each person with the bot) and "channel" (many people and the bot).
    Ids of messages are opaque strings.
    """

    adapter: str
    """The name of the adapter it is for."""

    async def start(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        ...

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        ...

    def section(self) -> dict[str, Any]:
        """The adapter's section of the configuration that leads it here, without `enabled`."""
        ...

    async def ready(self) -> None:
        """Return when the adapter has connected (or, where the platform calls the adapter, answers calls)."""
        ...

    async def say(
        self, text: str, *, person: str = "ada", place: Place = "direct", mention: bool = False, reply_to: str = ""
    ) -> str:
        """A person writes; the id of the message. `mention` names the bot in the platform's way; `reply_to` is the id of a
        message (a person's or the bot's) that this one replies to, or in whose thread it stands. Returns when it is handed
        over or queued for delivery, also where the adapter is not connected.
        """
        ...

    async def edit(self, message: str, text: str) -> None:
        """Its author edits a message."""
        ...

    async def delete(self, message: str) -> None:
        """Its author deletes a message. Platforms that do not tell bots do nothing."""
        ...

    async def deliver_again(self, message: str) -> None:
        """Deliver a message once more, as platforms do that are unsure whether it arrived."""
        ...

    async def disconnect(self) -> None:
        """Cut the adapter's connections; it may connect again at once."""
        ...

    def limit_rate(self, times: int, retry_after_s: float) -> None:
        """Refuse the next `times` calls that post or edit a message, naming the seconds to wait."""
        ...

    def break_down(self, times: int) -> None:
        """Answer the next `times` calls that post or edit a message with HTTP 500, posting nothing."""
        ...

    def shown(self, place: Place | None = None, *, person: str = "") -> list[Shown]:
        """The bot's messages that stand there now, in order; those deleted are gone. `person`: only the private chat
        with that person.
        """
        ...

    @property
    def longest(self) -> int:
        """The most characters of a message; longer ones are refused as the platform refuses them."""
        ...

    @property
    def tells_deletions(self) -> bool:
        """Whether bots hear of deleted messages."""
        ...
