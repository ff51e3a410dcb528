"""Conversations in one SQLite file (WAL), the default store."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from botkit.conversations.store import ConversationInfo, Rating, StoredTurn
from botkit.errors import ConversationError
from botkit.messages import Message, Reply, Sentiment

if TYPE_CHECKING:
    from botkit.config import Settings

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


def open_store(settings: Settings) -> SQLiteConversationStore:
    """The store that the configuration names; raises `ConversationError` where it cannot be opened."""
    store = settings.config.conversation.store
    return SQLiteConversationStore(settings.paths.conversations if store == "sqlite" else Path(store))


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
            done = self._execute(
                "INSERT OR IGNORE INTO turns (id, conversation, role, text, created_at, sender, adapter, sentiment, "
                "sentiment_score) VALUES (?, ?, 'user', ?, ?, ?, ?, ?, ?)",
                (
                    message.id,
                    message.conversation,
                    message.text,
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
            self._execute(
                "INSERT OR IGNORE INTO turns (id, conversation, role, text, created_at, sender, adapter, route, confidence, "
                "reply) VALUES (?, ?, 'bot', ?, ?, ?, ?, ?, ?, ?)",
                (
                    reply.id,
                    message.conversation,
                    reply.text,
                    now,
                    message.sender,
                    message.adapter,
                    reply.route,
                    reply.confidence,
                    json.dumps(reply.as_json(), ensure_ascii=False),
                ),
            )

    def _touch(self, message: Message, now: float, text: str) -> None:
        title = " ".join(text[: 4 * _TITLE].split())[:_TITLE]
        self._execute(
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
        rows = self._read(
            "SELECT * FROM turns WHERE instr(lower(text), lower(?1)) AND (?2 IS NULL OR sender = ?2) "
            "ORDER BY number DESC LIMIT ?3",
            (text, sender, limit),
        )
        return [_turn(row) for row in rows]

    def rate(self, reply_id: str, rating: Rating, note: str = "") -> None:
        """Keep what a person thought of a reply; a second rating replaces the first."""
        with self._guarded("written"), self._transaction():
            done = self._execute(
                "UPDATE turns SET rating = ?, note = ? WHERE id = ? AND role = 'bot'",
                (rating, note, reply_id),
            )
            if not done.rowcount:
                raise ConversationError(
                    f"There is no reply {reply_id!r} to rate; its conversation may have been deleted."
                )

    def export(self, *, conversation: str | None = None, sender: str | None = None) -> Iterator[dict[str, Any]]:
        """One JSON object a turn, oldest first."""
        rows = self._read(
            "SELECT * FROM turns WHERE (?1 IS NULL OR conversation = ?1) AND (?2 IS NULL OR sender = ?2) ORDER BY number",
            (conversation, sender),
        )
        for row in rows:
            yield _turn(row).as_json()

    def delete(self, *, conversation: str | None = None, sender: str | None = None) -> int:
        """Delete a conversation, or all that a person said and was told."""
        if (conversation is None) == (sender is None):
            raise ValueError("name a conversation or a sender")
        with self._guarded("written"):
            with self._transaction():
                if conversation is not None:
                    deleted = self._drop("SELECT id FROM conversations WHERE id = ?", (conversation,))
                else:
                    deleted = self._drop_sender(sender)
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
        deleted = self._execute(f"DELETE FROM turns WHERE conversation IN ({chosen})", values).rowcount
        self._execute(f"DELETE FROM conversations WHERE id IN ({chosen})", values)
        return deleted

    def _drop_sender(self, sender: str | None) -> int:
        """Delete a person's turns; what others said in the same conversation stays, under their name."""
        shared = "SELECT DISTINCT conversation FROM turns WHERE sender = ?1"
        self._execute(f"UPDATE conversations SET state = '{{}}' WHERE id IN ({shared})", (sender,))
        deleted = self._execute("DELETE FROM turns WHERE sender = ?", (sender,)).rowcount
        self._execute("DELETE FROM conversations WHERE id NOT IN (SELECT conversation FROM turns)")
        first = "(SELECT {} FROM turns WHERE conversation = conversations.id ORDER BY number LIMIT 1)"
        self._execute(
            f"UPDATE conversations SET sender = {first.format('sender')}, "
            f"title = {first.format(f'substr(text, 1, {_TITLE})')} WHERE sender = ?",
            (sender,),
        )
        return deleted

    def _scrub(self) -> None:
        """Leave no deleted text in the write-ahead log either."""
        [busy, *_] = self._execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise ConversationError(
                f"{self.path}: deleted, but another program is reading the file, so the text still stands "
                f"on the disk. It goes when the last program that has the file open ({self.path.name}-wal too) closes it."
            )

    def state(self, conversation: str) -> dict[str, Any]:
        """What the engine remembers of a conversation besides its words."""
        rows = self._read("SELECT state FROM conversations WHERE id = ?", (conversation,))
        return dict(json.loads(rows[0]["state"])) if rows else {}

    def set_state(self, conversation: str, state: Mapping[str, Any]) -> None:
        """Replace that; nothing happens for a conversation that is not there."""
        with self._guarded("written"):
            self._execute(
                "UPDATE conversations SET state = ? WHERE id = ?", (json.dumps(state, ensure_ascii=False), conversation)
            )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _read(self, query: str, values: tuple[Any, ...]) -> list[sqlite3.Row]:
        with self._guarded("read"):
            return self._execute(query, values).fetchall()

    def _execute(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        safe = tuple(_storable(value) if isinstance(value, str) else value for value in values)
        return self._connection.execute(statement, safe)

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
        self._execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._execute("ROLLBACK")
            raise
        self._execute("COMMIT")


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
