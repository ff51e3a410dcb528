"""What the engine asks of a conversation store. SQLite is the default; any class with these methods will do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from botkit.messages import Message, Reply, Role, Route, Sentiment

Rating = Literal[1, -1]


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """One side's words as stored. What only a reply has is None (or empty) for a person's message, and the other way round.

    `id` is the id of the `Message` or `Reply`; `reply` the documented JSON object of a reply.
    """

    id: str
    conversation: str
    role: Role
    text: str
    created_at: datetime
    sender: str
    adapter: str
    sentiment: Sentiment | None = None
    route: Route | None = None
    confidence: float | None = None
    reply: Mapping[str, Any] | None = None
    rating: Rating | None = None
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """The documented JSON object for one turn, as exported."""
        return {
            "id": self.id,
            "conversation": self.conversation,
            "role": self.role,
            "text": self.text,
            "created_at": self.created_at.isoformat(),
            "sender": self.sender,
            "adapter": self.adapter,
            "sentiment": self.sentiment.label if self.sentiment else None,
            "route": self.route,
            "confidence": self.confidence,
            "question": self.reply.get("question", "") if self.reply else "",
            "sources": list(self.reply["sources"]) if self.reply else [],
            "rating": self.rating,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class ConversationInfo:
    """A conversation in a list; `title` is the beginning of its first message, `turns` counts both sides."""

    id: str
    adapter: str
    sender: str
    title: str
    started_at: datetime
    last_at: datetime
    turns: int

    def as_json(self) -> dict[str, Any]:
        """A JSON object, times in ISO 8601."""
        return asdict(self) | {"started_at": self.started_at.isoformat(), "last_at": self.last_at.isoformat()}


class ConversationStore(Protocol):
    """Keeps conversations. Methods block and are thread-safe; they raise `ConversationError` where the store fails."""

    def record_message(self, message: Message, sentiment: Sentiment | None = None) -> bool:
        """Keep a message before it is answered; False where a message of this id is already kept."""
        ...

    def record_reply(self, message: Message, reply: Reply) -> None:
        """Keep the reply to a message."""
        ...

    def history(self, conversation: str, limit: int | None = None) -> list[StoredTurn]:
        """The last `limit` turns (both sides counted), oldest first."""
        ...

    def conversations(
        self, *, sender: str | None = None, adapter: str | None = None, limit: int = 50
    ) -> list[ConversationInfo]:
        """Conversations, the latest first."""
        ...

    def search(self, text: str, *, sender: str | None = None, limit: int = 50) -> list[StoredTurn]:
        """Turns whose text contains `text`, the latest first."""
        ...

    def rate(self, reply_id: str, rating: Rating, note: str = "") -> None:
        """Keep what a person thought of a reply; raises `ConversationError` for an unknown reply."""
        ...

    def export(self, *, conversation: str | None = None, sender: str | None = None) -> Iterator[dict[str, Any]]:
        """One JSON object a turn, oldest first."""
        ...

    def delete(self, *, conversation: str | None = None, sender: str | None = None) -> int:
        """Delete for good a conversation, or all that a person said and was told; the number of turns deleted."""
        ...

    def expire(self, before: datetime) -> int:
        """Delete conversations whose last turn is older; the number of turns deleted."""
        ...

    def state(self, conversation: str) -> dict[str, Any]:
        """What the engine remembers of a conversation besides its words."""
        ...

    def set_state(self, conversation: str, state: Mapping[str, Any]) -> None:
        """Replace that."""
        ...

    def close(self) -> None:
        """Close the store."""
        ...
