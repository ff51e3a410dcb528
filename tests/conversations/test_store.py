"""Conversations in a SQLite file: what is kept, found, exported, and gone for good."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from botkit.conversations.sqlite import SCHEMA_VERSION, SQLiteConversationStore
from botkit.errors import ConversationError
from botkit.messages import Message, Reply, Sentiment, Source

SOURCE = Source("returns.md", "Returns", "Deadline", None, 0, 11, "Thirty days.", 0, 0.9)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "conversations.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteConversationStore]:
    opened = SQLiteConversationStore(path)
    yield opened
    opened.close()


def say(
    store: SQLiteConversationStore, text: str, conversation: str = "c1", sender: str = "ann", *, days_ago: float = 0
) -> Message:
    """A message is recorded."""
    at = datetime.now(timezone.utc) - timedelta(days=days_ago)
    message = Message(text, conversation=conversation, sender=sender, adapter="test", sent_at=at)
    store.record_message(message, Sentiment("neutral", 0.8))
    return message


def reply(store: SQLiteConversationStore, message: Message, text: str) -> Reply:
    """And answered."""
    made = Reply(text, "answer", 0.75, message.conversation, answer=text, sources=(SOURCE,))
    store.record_reply(message, made)
    return made


def on_disk(path: Path) -> bytes:
    """All bytes of the store's files: the database, its log, its index."""
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


def test_a_turn_is_kept_with_all_that_belongs_to_it(store: SQLiteConversationStore) -> None:
    message = say(store, "How long can I return it?")
    answer = reply(store, message, "Thirty days")
    asked, told = store.history("c1")
    assert (asked.id, asked.role, asked.text, asked.sender, asked.adapter) == (
        message.id,
        "user",
        "How long can I return it?",
        "ann",
        "test",
    )
    assert asked.sentiment == Sentiment("neutral", 0.8) and asked.route is None and asked.reply is None
    assert (told.id, told.role, told.route, told.confidence) == (answer.id, "bot", "answer", 0.75)
    assert told.reply == answer.as_json()
    assert asked.created_at == message.sent_at <= told.created_at


def test_history_is_oldest_first_and_limited_from_the_end(store: SQLiteConversationStore) -> None:
    for number in range(5):
        say(store, str(number))
    assert [turn.text for turn in store.history("c1")] == list("01234")
    assert [turn.text for turn in store.history("c1", 2)] == ["3", "4"]
    assert store.history("c1", 0) == [] == store.history("unknown")


def test_the_same_message_twice_is_kept_once(store: SQLiteConversationStore) -> None:
    message = Message("hello", conversation="c1")
    assert store.record_message(message) is True
    assert store.record_message(message) is False
    assert len(store.history("c1")) == 1


def test_conversations_are_listed_the_latest_first(store: SQLiteConversationStore) -> None:
    say(store, "first   question\nof two lines", "old", days_ago=2)
    reply(store, say(store, "x" * 500, "new", "bob"), "yes")
    new, old = store.conversations()
    assert (new.id, new.turns, new.sender, new.title) == ("new", 2, "bob", "x" * 60)
    assert (old.id, old.turns, old.title) == ("old", 1, "first question of two lines")
    assert [one.id for one in store.conversations(sender="ann")] == ["old"]
    assert store.conversations(adapter="elsewhere") == []
    assert [one.id for one in store.conversations(limit=1)] == ["new"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("RETURN", 1),
        ("100%", 1),
        ("_", 1),
        ("退货", 1),
        ("%", 1),
        ("nothing", 0),
        ("\\", 1),
        ("'; DROP TABLE turns; --", 0),
    ],
)
def test_search_takes_the_text_literally(store: SQLiteConversationStore, wanted: str, found: int) -> None:
    for text in ("Can I return it?", "100% wool", "chunk_tokens", "怎么退货？", "C:\\temp"):
        say(store, text)
    assert len(store.search(wanted)) == found


def test_search_by_person_gives_the_latest_first(store: SQLiteConversationStore) -> None:
    for text, sender in (("lamp 1", "ann"), ("lamp 2", "bob"), ("lamp 3", "ann")):
        say(store, text, sender=sender)
    assert [turn.text for turn in store.search("lamp", sender="ann")] == ["lamp 3", "lamp 1"]
    assert [turn.text for turn in store.search("lamp", limit=1)] == ["lamp 3"]


def test_searching_for_a_very_long_text_is_no_error(store: SQLiteConversationStore) -> None:
    say(store, "short")
    assert store.search("x" * 1_000_000) == []


def test_a_rating_is_kept_and_can_be_changed(store: SQLiteConversationStore) -> None:
    answer = reply(store, say(store, "q"), "a")
    store.rate(answer.id, -1, "wrong page")
    store.rate(answer.id, 1, "no, right")
    assert [(turn.rating, turn.note) for turn in store.history("c1")] == [(None, ""), (1, "no, right")]


def test_only_a_reply_can_be_rated(store: SQLiteConversationStore) -> None:
    message = say(store, "q")
    for unknown in (message.id, "nothing"):
        with pytest.raises(ConversationError, match="no reply"):
            store.rate(unknown, 1)


def test_export_gives_json_of_every_turn(store: SQLiteConversationStore) -> None:
    reply(store, say(store, "q", "c1", "ann"), "a")
    say(store, "other", "c2", "bob")
    rows = list(store.export())
    assert [row["text"] for row in rows] == ["q", "a", "other"]
    assert json.loads(json.dumps(rows)) == rows
    assert rows[1]["sources"] == [SOURCE.as_json()] and rows[0]["sources"] == []
    assert datetime.fromisoformat(rows[0]["created_at"]).tzinfo is not None
    assert [row["text"] for row in store.export(conversation="c2")] == ["other"]
    assert [row["text"] for row in store.export(sender="ann")] == ["q", "a"]
    assert list(store.export(conversation="c2", sender="ann")) == []


def test_state_is_kept_with_its_conversation(store: SQLiteConversationStore) -> None:
    say(store, "q")
    assert store.state("c1") == {} == store.state("unknown")
    store.set_state("c1", {"offered": True, "pending": "退货？"})
    assert store.state("c1") == {"offered": True, "pending": "退货？"}
    store.set_state("unknown", {"offered": True})
    assert store.state("unknown") == {}
    store.delete(conversation="c1")
    say(store, "again")
    assert store.state("c1") == {}


def test_deleting_a_conversation_leaves_the_others(store: SQLiteConversationStore) -> None:
    reply(store, say(store, "q", "c1"), "a")
    say(store, "other", "c2")
    assert store.delete(conversation="c1") == 2
    assert store.delete(conversation="c1") == 0
    assert [one.id for one in store.conversations()] == ["c2"]


def test_deleting_a_person_deletes_what_they_said_and_were_told_everywhere(store: SQLiteConversationStore) -> None:
    reply(store, say(store, "q1", "c1", "ann"), "a1")
    say(store, "q2", "c2", "ann")
    say(store, "bob here", "c3", "bob")
    assert store.delete(sender="ann") == 3
    assert [one.id for one in store.conversations()] == ["c3"]


def test_deleting_the_person_who_began_a_shared_conversation_keeps_what_others_said(
    store: SQLiteConversationStore, path: Path
) -> None:
    say(store, "confidential beginning", "team", "ann")
    reply(store, say(store, "bob's question", "team", "bob"), "an answer for bob")
    store.set_state("team", {"pending_question": "confidential beginning"})
    assert store.delete(sender="ann") == 1
    [left] = store.conversations()
    assert (left.sender, left.title, left.turns) == ("bob", "bob's question", 2)
    assert b"confidential" not in on_disk(path)


def test_one_thing_at_a_time_is_deleted(store: SQLiteConversationStore) -> None:
    with pytest.raises(ValueError, match="conversation or a sender"):
        store.delete()
    with pytest.raises(ValueError, match="conversation or a sender"):
        store.delete(conversation="c1", sender="ann")


@pytest.mark.parametrize("how", ["conversation", "sender", "expire"])
def test_deleted_words_are_gone_from_the_disk(store: SQLiteConversationStore, path: Path, how: str) -> None:
    for number in range(200):
        message = say(store, f"my secret word is zanzibar{number} " + "filler " * 100, days_ago=9)
        store.rate(reply(store, message, f"zanzibar{number} it is").id, 1, "a note on zanzibar")
        if how == "expire":  # a reply is written now, so that the conversation would be recent
            break
    assert b"zanzibar" in on_disk(path)
    if how == "conversation":
        store.delete(conversation="c1")
    elif how == "sender":
        store.delete(sender="ann")
    else:
        store.expire(datetime.now(timezone.utc) + timedelta(days=1))
    assert b"zanzibar" not in on_disk(path)


def test_a_deletion_that_cannot_reach_the_log_says_so(path: Path) -> None:
    store = SQLiteConversationStore(path)
    say(store, "secret")
    store._connection.execute("PRAGMA busy_timeout = 50")
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM turns").fetchall()
    with pytest.raises(ConversationError, match="still stands on the disk"):
        store.delete(conversation="c1")
    reader.execute("COMMIT")
    reader.close()
    assert store.history("c1") == []
    store.close()
    assert b"secret" not in on_disk(path)


def test_retention_counts_from_the_last_turn(store: SQLiteConversationStore) -> None:
    say(store, "old", "forgotten", days_ago=40)
    say(store, "old", "revived", days_ago=40)
    say(store, "new", "revived", days_ago=1)
    assert store.expire(datetime.now(timezone.utc) - timedelta(days=30)) == 1
    assert [one.id for one in store.conversations()] == ["revived"]
    assert len(store.history("revived")) == 2


def test_the_file_is_in_wal_mode_so_that_readers_never_wait_for_a_writer(
    store: SQLiteConversationStore, path: Path
) -> None:
    say(store, "q")
    other = sqlite3.connect(path, timeout=0)
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store._connection.execute("BEGIN IMMEDIATE")
    assert other.execute("SELECT count(*) FROM turns").fetchone() == (1,)
    store._connection.execute("ROLLBACK")
    other.close()


def test_many_threads_and_two_connections_lose_nothing(store: SQLiteConversationStore, path: Path) -> None:
    second = SQLiteConversationStore(path)
    failures: list[Exception] = []

    def work(number: int) -> None:
        chosen = second if number % 2 else store
        try:
            for turn in range(15):
                reply(chosen, say(chosen, f"{number}-{turn}", f"c{number % 3}"), "ok")
                chosen.history(f"c{number % 3}", 4)
        except Exception as error:  # told by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    second.close()
    assert failures == []
    assert sum(one.turns for one in store.conversations()) == 8 * 15 * 2


def test_a_killed_process_loses_no_recorded_message(path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from botkit.messages import Message\n"
        "from botkit.conversations.sqlite import SQLiteConversationStore\n"
        "store = SQLiteConversationStore(Path(sys.argv[1]))\n"
        "store.record_message(Message('kept', conversation='c1'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode != 0
    store = SQLiteConversationStore(path)
    assert [turn.text for turn in store.history("c1")] == ["kept"]
    store.close()


def test_what_was_said_is_there_after_opening_again(path: Path) -> None:
    first = SQLiteConversationStore(path)
    say(first, "q")
    first.close()
    again = SQLiteConversationStore(path)
    assert [turn.text for turn in again.history("c1")] == ["q"]
    again.close()


@pytest.mark.parametrize(
    "content", [b"this is no database at all, only some text" * 50, b"SQLite format 3\x00" + b"\xff" * 5000]
)
def test_a_broken_file_is_named_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "conversations.sqlite"
    path.write_bytes(content)
    with pytest.raises(ConversationError, match=r"conversations\.sqlite: .*move it away"):
        SQLiteConversationStore(path)
    assert path.read_bytes() == content


def test_a_newer_file_asks_for_a_newer_botkit(path: Path) -> None:
    SQLiteConversationStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(ConversationError, match="newer botkit"):
        SQLiteConversationStore(path)


def test_a_folder_that_cannot_be_made_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(ConversationError, match=r"cannot be opened"):
        SQLiteConversationStore(tmp_path / "file" / "conversations.sqlite")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write_is_an_error_in_words(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ConversationError, match=r"cannot be opened"):
            SQLiteConversationStore(tmp_path / "conversations.sqlite")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    "text", ["half a pair \ud83d", "NUL \x00 inside", "👩‍👩‍👧 مرحبا 你好", "", "\x1b[31m red", "x" * 100_000]
)
def test_any_text_is_kept_found_and_exported(store: SQLiteConversationStore, text: str) -> None:
    message = say(store, text, conversation=f"c {text[:20]}", sender=f"s {text[:20]}")
    store.rate(reply(store, message, text).id, 1, text[:100])
    store.set_state(message.conversation, {"pending": text})
    kept = store.history(message.conversation)
    assert [len(turn.text) for turn in kept] == [len(text)] * 2
    for turn in kept:
        turn.text.encode("utf-8")
    json.dumps(list(store.export(sender=message.sender)), ensure_ascii=False).encode("utf-8")
    assert len(store.search(text)) == 2
    assert len(store.state(message.conversation)["pending"]) == len(text)
    assert store.delete(sender=message.sender) == 2


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(), st.text(), st.text())
def test_no_identifier_or_text_upsets_it(
    store: SQLiteConversationStore, text: str, conversation: str, sender: str
) -> None:
    before = len(store.history(conversation))
    say(store, text, conversation, sender)
    assert len(store.history(conversation)) == before + 1
    store.search(text, sender=sender)
