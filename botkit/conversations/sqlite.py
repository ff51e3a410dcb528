"""Conversations in one SQLite file (WAL), the default store."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from botkit.conversations.store import ConversationInfo, Rating, StoredTurn
from botkit.errors import ConversationError
from botkit.messages import Message, Reply, Sentiment

SCHEMA_VERSION: Final = 1
_TITLE: Final = 60
_SCHEMA: Final = """
CREATE TABLE conversations (
    id TEXT PRIMARY KEY, adapter TEXT NOT NULL, sender TEXT NOT NULL, title TEXT NOT NULL,
    started_at REAL NOT NULL, last_at REAL NOT NULL, state TEXT NOT NULL DEFAULT '{}'
) WITHOUT ROWID;
CREATE INDEX conversations_by_time ON conversations (last_at);
CREATE TABLE turns (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
    conversation TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    role TEXT NOT NULL CHECK (role IN ('user', 'bot')), text TEXT NOT NULL, created_at REAL NOT NULL,
    sender TEXT NOT NULL, adapter TEXT NOT NULL, sentiment TEXT, sentiment_score REAL,
    route TEXT, confidence REAL, reply TEXT, rating INTEGER, note TEXT NOT NULL DEFAULT ''
);
CREATE INDEX turns_by_conversation ON turns (conversation, number);
CREATE INDEX turns_by_sender ON turns (sender);
"""


class SQLiteConversationStore:
    """A `ConversationStore` in a file. One connection, guarded by a lock: calls are short.

    Deleted text is overwritten (`secure_delete`), also in the write-ahead log. Raises `ConversationError` where the file
    is no such store, is broken or comes from a newer botkit.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=10, check_same_thread=False, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise ConversationError(
                f"{path}: the conversations cannot be opened ({error}). Check that the folder exists and can be written, "
                "or set conversation.store to another file."
            ) from error
        self._connection.row_factory = sqlite3.Row
        with self._guarded("opened"):
            for setting in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON", "secure_delete = ON"):
                self._connection.execute(f"PRAGMA {setting}")
            self._prepare()

    def _prepare(self) -> None:
        [version] = self._connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise ConversationError(
                f"{self.path}: written by a newer botkit (schema {version}, this one knows {SCHEMA_VERSION}). Upgrade botkit."
            )
        if version == 0:
            with self._transaction():
                if not self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'turns'").fetchone():
                    for statement in _SCHEMA.strip().split(";\n"):
                        self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def record_message(self, message: Message, sentiment: Sentiment | None = None) -> bool:
        """Keep a message before it is answered; False where a message of this id is already kept."""
        with self._guarded("written"), self._transaction():
            self._touch(message, message.sent_at.timestamp(), message.text)
            done = self._connection.execute(
                "INSERT OR IGNORE INTO turns (id, conversation, role, text, created_at, sender, adapter, sentiment, "
                "sentiment_score) VALUES (?, ?, 'user', ?, ?, ?, ?, ?, ?)",
                (
                    message.id,
                    message.conversation,
                    _storable(message.text),
                    message.sent_at.timestamp(),
                    message.sender,
                    message.adapter,
                    sentiment.label if sentiment else None,
                    sentiment.score if sentiment else None,
                ),
            )
            return done.rowcount > 0

    def record_reply(self, message: Message, reply: Reply) -> None:
        """Keep the reply to a message."""
        now = datetime.now(timezone.utc).timestamp()
        with self._guarded("written"), self._transaction():
            self._touch(message, now, message.text)
            self._connection.execute(
                "INSERT OR IGNORE INTO turns (id, conversation, role, text, created_at, sender, adapter, route, confidence, "
                "reply) VALUES (?, ?, 'bot', ?, ?, ?, ?, ?, ?, ?)",
                (
                    reply.id,
                    message.conversation,
                    _storable(reply.text),
                    now,
                    message.sender,
                    message.adapter,
                    reply.route,
                    reply.confidence,
                    json.dumps(reply.as_json(), ensure_ascii=True),
                ),
            )

    def _touch(self, message: Message, now: float, text: str) -> None:
        title = " ".join(_storable(text[: 4 * _TITLE]).split())[:_TITLE]
        self._connection.execute(
            "INSERT INTO conversations (id, adapter, sender, title, started_at, last_at) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET last_at = max(last_at, excluded.last_at)",
            (message.conversation, message.adapter, message.sender, title, now, now),
        )

    def history(self, conversation: str, limit: int | None = None) -> list[StoredTurn]:
        """The last `limit` turns, oldest first."""
        rows = self._read(
            "SELECT * FROM turns WHERE conversation = ? ORDER BY number DESC LIMIT ?",
            (conversation, -1 if limit is None else limit),
        )
        return [_turn(row) for row in reversed(rows)]

    def conversations(
        self, *, sender: str | None = None, adapter: str | None = None, limit: int = 50
    ) -> list[ConversationInfo]:
        """Conversations, the latest first."""
        rows = self._read(
            "SELECT c.*, (SELECT count(*) FROM turns t WHERE t.conversation = c.id) AS turns FROM conversations c "
            "WHERE (?1 IS NULL OR sender = ?1) AND (?2 IS NULL OR adapter = ?2) ORDER BY last_at DESC LIMIT ?3",
            (sender, adapter, limit),
        )
        return [
            ConversationInfo(
                row["id"],
                row["adapter"],
                row["sender"],
                row["title"],
                _time(row["started_at"]),
                _time(row["last_at"]),
                row["turns"],
            )
            for row in rows
        ]

    def search(self, text: str, *, sender: str | None = None, limit: int = 50) -> list[StoredTurn]:
        """Turns whose text contains `text` (English letters in either case), the latest first."""
        pattern = "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        rows = self._read(
            "SELECT * FROM turns WHERE text LIKE ?1 ESCAPE '\\' AND (?2 IS NULL OR sender = ?2) "
            "ORDER BY number DESC LIMIT ?3",
            (pattern, sender, limit),
        )
        return [_turn(row) for row in rows]

    def rate(self, reply_id: str, rating: Rating, note: str = "") -> None:
        """Keep what a person thought of a reply; a second rating replaces the first."""
        with self._guarded("written"), self._transaction():
            done = self._connection.execute(
                "UPDATE turns SET rating = ?, note = ? WHERE id = ? AND role = 'bot'",
                (rating, _storable(note), reply_id),
            )
            if not done.rowcount:
                raise ConversationError(f"There is no reply {reply_id!r} to rate.")

    def export(self, *, conversation: str | None = None, sender: str | None = None) -> Iterator[dict[str, Any]]:
        """One JSON object a turn, oldest first."""
        rows = self._read(
            "SELECT * FROM turns WHERE (?1 IS NULL OR conversation = ?1) AND (?2 IS NULL OR sender = ?2) ORDER BY number",
            (conversation, sender),
        )
        for row in rows:
            turn = _turn(row)
            yield {
                "id": turn.id,
                "conversation": turn.conversation,
                "role": turn.role,
                "text": turn.text,
                "created_at": turn.created_at.isoformat(),
                "sender": turn.sender,
                "adapter": turn.adapter,
                "sentiment": turn.sentiment.label if turn.sentiment else None,
                "route": turn.route,
                "confidence": turn.confidence,
                "sources": list(turn.reply["sources"]) if turn.reply else [],
                "rating": turn.rating,
                "note": turn.note,
            }

    def delete(self, *, conversation: str | None = None, sender: str | None = None) -> int:
        """Delete a conversation, or all that a person said and was told."""
        if (conversation is None) == (sender is None):
            raise ValueError("name a conversation or a sender")
        with self._guarded("written"):
            with self._transaction():
                if conversation is not None:
                    deleted = self._drop("SELECT id FROM conversations WHERE id = ?", (conversation,))
                else:
                    done = self._connection.execute("DELETE FROM turns WHERE sender = ?", (sender,))
                    deleted = done.rowcount
                    empty = "SELECT id FROM conversations WHERE id NOT IN (SELECT conversation FROM turns)"
                    self._connection.execute(
                        f"DELETE FROM conversations WHERE sender = ? OR id IN ({empty})", (sender,)
                    )
            self._scrub()
        return deleted

    def expire(self, before: datetime) -> int:
        """Delete conversations whose last turn is older."""
        with self._guarded("written"):
            with self._transaction():
                deleted = self._drop("SELECT id FROM conversations WHERE last_at < ?", (before.timestamp(),))
            if deleted:
                self._scrub()
        return deleted

    def _drop(self, chosen: str, values: tuple[Any, ...]) -> int:
        deleted = self._connection.execute(f"DELETE FROM turns WHERE conversation IN ({chosen})", values).rowcount
        self._connection.execute(f"DELETE FROM conversations WHERE id IN ({chosen})", values)
        return deleted

    def _scrub(self) -> None:
        """Leave no deleted text in the write-ahead log either."""
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def state(self, conversation: str) -> dict[str, Any]:
        """What the engine remembers of a conversation besides its words."""
        rows = self._read("SELECT state FROM conversations WHERE id = ?", (conversation,))
        return dict(json.loads(rows[0]["state"])) if rows else {}

    def set_state(self, conversation: str, state: Mapping[str, Any]) -> None:
        """Replace that; nothing happens for a conversation that is not there."""
        with self._guarded("written"):
            self._connection.execute(
                "UPDATE conversations SET state = ? WHERE id = ?", (json.dumps(state, ensure_ascii=True), conversation)
            )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _read(self, query: str, values: tuple[Any, ...]) -> list[sqlite3.Row]:
        with self._guarded("read"):
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _guarded(self, done: str) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise ConversationError(
                    f"{self.path}: the conversations cannot be {done} ({error}). If the file is broken, move it away: "
                    "botkit starts a new one."
                ) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def _storable(text: str) -> str:
    """SQLite stores UTF-8: half a surrogate pair becomes a question mark, NUL a blank."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", " ")


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def _turn(row: sqlite3.Row) -> StoredTurn:
    sentiment = Sentiment(row["sentiment"], row["sentiment_score"]) if row["sentiment"] else None
    return StoredTurn(
        id=row["id"],
        conversation=row["conversation"],
        role=row["role"],
        text=row["text"],
        created_at=_time(row["created_at"]),
        sender=row["sender"],
        adapter=row["adapter"],
        sentiment=sentiment,
        route=row["route"],
        confidence=row["confidence"],
        reply=json.loads(row["reply"]) if row["reply"] else None,
        rating=row["rating"],
        note=row["note"],
    )
