from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from botkit.delivery import Attachment, Inbox, Incoming
from botkit.errors import AdapterError
from botkit.messages import Reply, Sentiment, Source


def incoming(event: str = "e1", text: str = "hello", **changes: object) -> Incoming:
    values: dict[str, object] = {"conversation": "c", "sender": "ada", "origin": f"o-{event}", "address": {"chat": 7}}
    return Incoming(event=event, text=text, **(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "inbox.sqlite")


def test_a_message_is_kept_once(inbox: Inbox) -> None:
    assert inbox.add(incoming())
    assert not inbox.add(incoming(text="the same event"))
    assert [one.incoming.text for one in inbox.waiting()] == ["hello"]
    inbox.done("e1")
    assert not inbox.add(incoming())
    assert inbox.waiting() == [] and inbox.knows("e1")


def test_all_of_a_message_survives_a_restart(inbox: Inbox) -> None:
    kept = incoming(language="zh", tags=("shop",), attachments=(Attachment("a.pdf", "ref", 3),))
    source = Source("d.md", "D", "H", 2, 5, 8, "ab cde", 2, 0.5)
    reply = Reply("Text", "answer", 0.75, "c", answer="span", language="zh", sources=(source,),
                  sentiment=Sentiment("neutral", 0.5), options=("a", "b"), hand_off_offered=True)  # fmt: skip
    inbox.add(kept)
    inbox.keep_reply("e1", reply)
    inbox.keep_posted("e1", ("77", "78"))
    inbox.close()
    [found] = Inbox(inbox.path).waiting()
    assert found.incoming == kept and found.reply == reply and found.posted == ("77", "78")


def test_the_words_of_an_answered_message_are_gone_from_the_file(inbox: Inbox) -> None:
    inbox.add(incoming(text="my secret is swordfish"))
    inbox.add(incoming("e2", text="blocked swordfish"))
    inbox.done("e1")
    inbox.fail("e2", "the bot was blocked")
    inbox.close()
    assert not any(b"swordfish" in path.read_bytes() for path in inbox.path.parent.iterdir())
    assert Inbox(inbox.path).counts() == {"done": 1, "failed": 1}


def test_edits_and_deletions_count_until_the_answer(inbox: Inbox) -> None:
    inbox.add(incoming("e1"))
    inbox.add(incoming("e2"))
    assert inbox.edit("o-e1", "better") and inbox.withdraw("o-e2")
    assert [one.incoming.text for one in inbox.waiting()] == ["better"]
    inbox.keep_reply("e1", Reply("x", "chat", 1.0, "c"))
    assert not inbox.edit("o-e1", "too late")
    inbox.done("e1")
    assert not inbox.withdraw("o-e1") and not inbox.edit("nothing", "x")


def test_notes(inbox: Inbox) -> None:
    inbox.note("lang:7", "zh")
    inbox.note("lang:7", "en")
    assert Inbox(inbox.path).noted("lang:7") == "en"
    assert inbox.drop_note("lang:7") and not inbox.drop_note("lang:7")
    assert inbox.noted("lang:7") is None


def test_old_ids_are_forgotten_and_waiting_messages_never(inbox: Inbox) -> None:
    inbox.add(incoming("old"))
    inbox.done("old")
    inbox.add(incoming("unanswered"))
    with sqlite3.connect(inbox.path) as connection:
        connection.execute("UPDATE events SET received_at = received_at - 10 * 86400")
    connection.close()
    again = Inbox(inbox.path, keep_days=7)
    assert not again.knows("old") and len(again.waiting()) == 1


def test_a_file_that_is_no_inbox_is_named(tmp_path: Path) -> None:
    path = tmp_path / "inbox.sqlite"
    path.write_bytes(b"not a database at all, but long enough to be read as one" * 40)
    with pytest.raises(AdapterError, match=r"inbox\.sqlite"):
        Inbox(path)


def test_an_inbox_of_a_newer_botkit_is_left_alone(inbox: Inbox) -> None:
    inbox.close()
    with sqlite3.connect(inbox.path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(AdapterError, match="newer botkit"):
        Inbox(inbox.path)


_WRITER = """
import sys
from pathlib import Path
from botkit.delivery import Inbox, Incoming
inbox = Inbox(Path(sys.argv[1]))
for number in range(100_000):
    inbox.add(Incoming(str(number), "c", "ada", "hello"))
    print(number, flush=True)
"""


def test_what_was_accepted_survives_kill_9(tmp_path: Path) -> None:
    """Every message that was said to be kept is there after the process is killed at any moment."""
    path = tmp_path / "inbox.sqlite"
    process = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(200):
        process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    told = process.stdout.read().split()
    process.wait()
    last = int(told[-1]) if told else 199
    kept = {one.incoming.event for one in Inbox(path).waiting()}
    assert kept >= {str(number) for number in range(last + 1)}
