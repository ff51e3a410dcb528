"""What has come in and is not yet answered, in a file: no message is answered twice, none is lost.

A platform delivers a message again when it is unsure whether we have it, and a bot may be stopped at any moment. So each
message is kept under the platform's id of its delivery before it is acknowledged, with its reply once there is one and
the ids of what has been posted of it. Its words are removed as soon as it is answered; the id stays for `keep_days`.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from botkit.errors import AdapterError
from botkit.messages import Language, Reply, Sentiment, Source, new_id

_SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY, event TEXT NOT NULL UNIQUE, conversation TEXT NOT NULL, origin TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'done', 'withdrawn', 'failed')), received_at REAL NOT NULL,
    incoming TEXT, reply TEXT, posted TEXT NOT NULL DEFAULT '[]', problem TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS events_waiting ON events (number) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS events_by_origin ON events (origin);
CREATE TABLE IF NOT EXISTS notes (
    key TEXT PRIMARY KEY, value TEXT NOT NULL, written_at REAL NOT NULL
) WITHOUT ROWID;
"""
_DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file sent with a message: how the platform names it, and what it needs to be fetched (`reference`)."""

    name: str
    reference: str
    size: int = 0


@dataclass(frozen=True, slots=True)
class Incoming:
    """One message that a platform delivered.

    `event` is the same for each delivery of the same message; `origin` the platform's id of the message, by which
    it is later edited or deleted; `address` what the adapter needs to answer there (JSON values only). `id` becomes
    the id of the engine's `Message`.
    """

    event: str
    conversation: str
    sender: str
    text: str
    address: Mapping[str, Any] = field(default_factory=dict)
    origin: str = ""
    language: Language | None = None
    tags: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    id: str = field(default_factory=new_id)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that is not answered yet; `reply` is there where only its delivery is missing."""

    incoming: Incoming
    reply: Reply | None = None
    posted: tuple[str, ...] = ()


class Inbox:
    """A SQLite file (WAL). Methods are short and thread-safe; they raise `AdapterError` where the file cannot be used."""

    def __init__(self, path: Path, *, keep_days: float = 7.0) -> None:
        """`keep_days`: how long ids of answered messages are known, longer than any platform delivers again."""
        self.path = path
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=10, check_same_thread=False, isolation_level=None)
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version > _SCHEMA_VERSION:
                raise AdapterError(f"{path} was written by a newer botkit. Update botkit, or move the file away.")
            self._connection.executescript(
                f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA secure_delete=ON; {_SCHEMA}"
                f"PRAGMA user_version={_SCHEMA_VERSION};"
            )
        except (OSError, sqlite3.Error) as error:
            raise AdapterError(f"{path}: the inbox cannot be opened: {error}. Mend it, or move it away.") from error
        self._run("DELETE FROM events WHERE state != 'waiting' AND received_at < ?", time.time() - keep_days * _DAY_S)

    def add(self, incoming: Incoming, *, answered: bool = False, reply: Reply | None = None) -> bool:
        """Keep a message; False where it is already known. `answered`: only its id is kept, nothing is to be said.
        `reply`: what is to be said to it.
        """
        payload = None if answered else json.dumps(_plain(incoming), ensure_ascii=False)
        state = "done" if answered else "waiting"
        rows = self._run(
            "INSERT OR IGNORE INTO events (event, conversation, origin, state, received_at, incoming, reply) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(incoming.event, incoming.conversation, incoming.origin, state, time.time(), payload),
            None if reply is None else json.dumps(reply.as_json(), ensure_ascii=False),
        )
        return rows.rowcount == 1

    def knows(self, event: str) -> bool:
        """Whether a message of this id has come before."""
        return self._run("SELECT 1 FROM events WHERE event = ?", event).fetchone() is not None

    def waiting(self) -> list[Waiting]:
        """All that is not answered yet, in the order it came."""
        rows = self._run("SELECT incoming, reply, posted FROM events WHERE state = 'waiting' ORDER BY number")
        return [_waiting(*row) for row in rows.fetchall()]

    def find(self, event: str) -> Waiting | None:
        """One that is not answered yet, as it stands now; None where it is answered or withdrawn."""
        row = self._run(
            "SELECT incoming, reply, posted FROM events WHERE event = ? AND state = 'waiting'", event
        ).fetchone()
        return _waiting(*row) if row else None

    def keep_reply(self, event: str, reply: Reply) -> None:
        """Keep the reply, so that after a restart it is delivered and not thought of anew."""
        self._run("UPDATE events SET reply = ? WHERE event = ?", json.dumps(reply.as_json(), ensure_ascii=False), event)

    def taken_in(self, event: str) -> None:
        """Its files are read, and it is told what became of them: only its text is left to answer."""
        waiting = self.find(event)
        if waiting is not None:
            payload = json.dumps(_plain(replace(waiting.incoming, attachments=())), ensure_ascii=False)
            self._run("UPDATE events SET incoming = ? WHERE event = ? AND state = 'waiting'", payload, event)

    def posted(self, event: str) -> tuple[str, ...]:
        """The platform's ids of what has been posted in answer to it, answered or not."""
        row = self._run("SELECT posted FROM events WHERE event = ?", event).fetchone()
        return tuple(json.loads(row[0])) if row else ()

    def keep_posted(self, event: str, ids: tuple[str, ...]) -> None:
        """Keep the platform's ids of what has been posted of the reply."""
        self._run("UPDATE events SET posted = ? WHERE event = ?", json.dumps(ids), event)

    def done(self, event: str) -> None:
        """It is answered: forget its words."""
        self._close(event, "done", "")

    def fail(self, event: str, problem: str) -> None:
        """It cannot be answered (the bot was blocked, the channel is gone): forget its words, keep why."""
        self._close(event, "failed", problem)

    def withdraw(self, origin: str) -> bool:
        """Its sender deleted it; True where it was not answered yet."""
        changed = self._run(
            "UPDATE events SET state = 'withdrawn', incoming = NULL, reply = NULL "
            "WHERE origin = ? AND state = 'waiting'",
            origin,
        )
        return changed.rowcount > 0

    def edit(self, origin: str, text: str) -> bool:
        """Its sender edited it; True where it was not answered yet, and is now answered as edited."""
        row = self._run(
            "SELECT event, incoming FROM events WHERE origin = ? AND state = 'waiting' AND reply IS NULL", origin
        ).fetchone()
        if row is None:
            return False
        payload = json.dumps(json.loads(row[1]) | {"text": text}, ensure_ascii=False)
        self._run("UPDATE events SET incoming = ? WHERE event = ?", payload, row[0])
        return True

    def note(self, key: str, value: str) -> None:
        """Remember something small across restarts."""
        self._run("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", key, value, time.time())

    def noted(self, key: str) -> str | None:
        """What was remembered under the key."""
        row = self._run("SELECT value FROM notes WHERE key = ?", key).fetchone()
        return None if row is None else str(row[0])

    def drop_note(self, key: str) -> bool:
        """Forget it; True where there was something."""
        return self._run("DELETE FROM notes WHERE key = ?", key).rowcount > 0

    def counts(self) -> dict[str, int]:
        """How many messages are in each state."""
        return dict(self._run("SELECT state, COUNT(*) FROM events GROUP BY state").fetchall())

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _close(self, event: str, state: str, problem: str) -> None:
        self._run(
            "UPDATE events SET state = ?, problem = ?, incoming = NULL, reply = NULL "
            "WHERE event = ? AND state = 'waiting'",
            *(state, problem, event),
        )

    def _run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        try:
            with self._lock:
                return self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise AdapterError(f"{self.path}: {error}. Is the disk full, or the file in use elsewhere?") from error


def _plain(incoming: Incoming) -> dict[str, Any]:
    values = {one.name: getattr(incoming, one.name) for one in fields(incoming)}
    values["address"] = dict(incoming.address)
    values["attachments"] = [[one.name, one.reference, one.size] for one in incoming.attachments]
    return values


def _waiting(incoming: str, reply: str | None, posted: str) -> Waiting:
    values = json.loads(incoming)
    values["tags"] = tuple(values["tags"])
    values["attachments"] = tuple(Attachment(*one) for one in values["attachments"])
    return Waiting(Incoming(**values), _reply(json.loads(reply)) if reply else None, tuple(json.loads(posted)))


def _reply(stored: Mapping[str, Any]) -> Reply:
    """A reply as `Reply.as_json` told it (less its trace, and with rounded scores)."""
    sources = tuple(
        Source(**{name: value for name, value in one.items() if name != "span"}) for one in stored["sources"]
    )
    return Reply(
        text=stored["answer"],
        answer=stored["span"],
        question=stored.get("question", ""),
        route=stored["route"],
        confidence=stored["confidence"],
        conversation=stored["conversation"],
        language=stored["language"],
        sources=sources,
        sentiment=Sentiment(stored["sentiment"]["label"], stored["sentiment"]["score"]),
        options=tuple(stored["options"]),
        hand_off_offered=stored["hand_off_offered"],
        timings_ms=stored["timings_ms"],
        id=stored["id"],
    )
