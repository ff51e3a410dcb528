"""`botkit conversations` as a person and a program see it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from botkit import cli
from botkit.cli import common
from botkit.conversations.erase import erase
from botkit.conversations.sqlite import SQLiteConversationStore
from botkit.errors import ConversationError
from botkit.messages import Message, Reply, Sentiment, Source
from botkit.training.improve import propose, read_proposals, write_data, write_proposals


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BOTKIT_CONFIG", raising=False)
    monkeypatch.setenv("BOTKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("console", "err_console"):
        monkeypatch.delattr(common, name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> Iterator[SQLiteConversationStore]:
    """Two conversations: Ann's of two turns forty days ago, Li's of one turn today."""
    opened = SQLiteConversationStore(home / "conversations.sqlite")
    then = datetime.now(timezone.utc) - timedelta(days=40)
    asked = Message(
        "Can I return\na [bold]lamp[/bold]\x1b[31m?", conversation="c1", sender="ann", adapter="terminal", sent_at=then
    )
    opened.record_message(asked, Sentiment("neutral", 0.9))
    reply = Reply("Yes, within 30 days.", "answer", 0.87, "c1")
    opened.record_reply(asked, reply)
    opened.rate(reply.id, -1, "wrong page")
    opened.record_message(Message("怎么退货？", conversation="c2", sender="李", adapter="web"))
    yield opened
    opened.close()


def run(capfd: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    """Standard output of `botkit conversations …`, which exits with `code`."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["conversations", *map(str, arguments)])
    assert (ended.value.code or 0) == code
    return capfd.readouterr().out


def run_json(capfd: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> dict[str, Any]:
    return json.loads(run(capfd, *arguments, "--json", code=code))  # type: ignore[no-any-return]


def test_list_names_who_and_how_much(store: SQLiteConversationStore, capfd: pytest.CaptureFixture[str]) -> None:
    listed = run_json(capfd, "list")
    assert listed["n"] == 2
    assert {(one["id"], one["turns"], one["sender"], one["adapter"]) for one in listed["conversations"]} == {
        ("c1", 2, "ann", "terminal"),
        ("c2", 1, "李", "web"),
    }
    assert [one["id"] for one in run_json(capfd, "list", "--sender", "李")["conversations"]] == ["c2"]
    assert [one["id"] for one in run_json(capfd, "list", "--adapter", "terminal")["conversations"]] == ["c1"]
    assert run_json(capfd, "list", "--limit", 1)["n"] == 1
    shown = run(capfd, "list")
    assert "怎么退货？" in shown and "[bold]lamp[/bold]" in shown and "\x1b" not in shown


def test_show_prints_the_talk_with_route_tone_and_rating(
    store: SQLiteConversationStore, capfd: pytest.CaptureFixture[str]
) -> None:
    shown = run(capfd, "show", "c1")
    assert "ann · neutral" in shown
    assert "bot · answer 0.87 · 👎 · wrong page" in shown
    assert "Can I return\na [bold]lamp[/bold] [31m?" in shown
    assert "\x1b" not in shown
    found = run_json(capfd, "show", "c1")
    assert [turn["role"] for turn in found["turns"]] == ["user", "bot"]
    assert (found["conversation"], found["n"], found["turns"][1]["rating"]) == ("c1", 2, -1)


def test_search_finds_a_text_in_either_case(store: SQLiteConversationStore, capfd: pytest.CaptureFixture[str]) -> None:
    assert [turn["text"] for turn in run_json(capfd, "search", "WITHIN")["turns"]] == ["Yes, within 30 days."]
    assert "怎么退货？" in run(capfd, "search", "退货")
    assert "No turn contains that" in run(capfd, "search", "zanzibar")
    assert run_json(capfd, "search", "退货", "--sender", "ann")["n"] == 0


def test_search_shows_the_place_in_a_long_text(
    store: SQLiteConversationStore, capfd: pytest.CaptureFixture[str]
) -> None:
    store.record_message(Message("left " * 1000 + "needle" + " right" * 1000, conversation="c3"))
    shown = run(capfd, "search", "NEEDLE")
    assert "needle" in shown and "…" in shown and len(shown) < 2000


def test_export_writes_json_lines_to_standard_output(
    store: SQLiteConversationStore, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) for line in run(capfd, "export").splitlines()]
    assert [(row["conversation"], row["role"]) for row in rows] == [("c1", "user"), ("c1", "bot"), ("c2", "user")]
    assert rows == list(store.export())
    assert "怎么退货" in run(capfd, "export", "--sender", "李")
    assert run_json(capfd, "export", "--conversation", "c1")["n"] == 2


def test_export_to_a_file_never_overwrites_one(
    store: SQLiteConversationStore, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "talk.jsonl"
    assert run_json(capfd, "export", "--out", file) == {"written": str(file), "n": 3}
    written = file.read_text(encoding="utf-8")
    assert [json.loads(line) for line in written.splitlines()] == list(store.export())
    assert "exists already" in run_json(capfd, "export", "--out", file, code=1)["error"]["message"]
    assert file.read_text(encoding="utf-8") == written
    told = run_json(capfd, "export", "--out", tmp_path / "no" / "folder.jsonl", code=1)
    assert told["error"]["type"] == "ConversationError"


def test_exporting_from_an_empty_store_writes_nothing(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(capfd, "export") == ""
    assert run_json(capfd, "export") == {"turns": [], "n": 0}
    assert "no conversations" in run(capfd, "list")


def test_delete_asks_first_and_without_a_terminal_wants_yes(
    store: SQLiteConversationStore, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "--yes" in run_json(capfd, "delete", "--conversation", "c1", code=1)["error"]["message"]
    assert len(store.history("c1")) == 2
    assert run_json(capfd, "delete", "--conversation", "c1", "--yes") == {"deleted": 2}
    assert store.history("c1") == [] and len(store.history("c2")) == 1
    assert "Deleted 1 turn." in run(capfd, "delete", "--sender", "李", "-y")
    assert list(store.export()) == []


@pytest.mark.parametrize(("answer", "left", "code"), [("n", 2, 1), ("y", 0, 0)])
def test_in_a_terminal_the_answer_to_the_question_counts(
    store: SQLiteConversationStore, answer: str, left: int, code: int
) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "botkit", "conversations", "delete", "--conversation", "c1"]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        os.write(ours, f"{answer}\n".encode())
        out, err = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code, err
    assert "Delete 2 turns for good?" in err and "Delete 2" not in out
    assert len(store.history("c1")) == left


def test_what_was_collected_for_training_goes_with_the_conversation(
    store: SQLiteConversationStore, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    span = Source("d.md", "D", "", None, 0, 7, "30 days.", 0, 0.9)
    for sender in ("bo", "cy", "di"):
        asked = Message(f"How long, asks {sender}?", conversation="shared", sender=sender)
        store.record_message(asked)
        reply = Reply("30 days.", "answer", 0.9, "shared", sources=(span,))
        store.record_reply(asked, reply)
        store.rate(reply.id, 1)
    folder = home / "improve"
    found = propose(store.export())
    write_proposals(folder, [replace(one, decision="accepted") for one in found])
    write_data(folder, read_proposals(folder))
    run(capfd, "delete", "--sender", "bo", "--yes")
    kept = [path.read_text(encoding="utf-8") for path in folder.iterdir()]
    assert kept and not any("bo?" in text for text in kept)
    assert {one.question for one in read_proposals(folder)} == {"How long, asks cy?", "How long, asks di?"}
    run(capfd, "delete", "--conversation", "shared", "--yes")
    assert read_proposals(folder) == []


def test_a_store_that_deletes_and_then_complains_leaves_no_proposal(tmp_path: Path) -> None:
    source = {"passage": "At nine.", "passage_start": 0, "start": 0, "span": "At nine.", "title": "Hours"}

    def told(who: str, note: str) -> list[dict[str, Any]]:
        answered = {"role": "bot", "text": "", "route": "answer", "rating": 1, "note": note, "sources": [source]}
        return [{"conversation": who, "role": "user", "text": "When?"}, {"conversation": who, **answered}]

    class Store:
        def __init__(self) -> None:
            self.turns = [*told("a", "Ann was here"), *told("b", "fine")]

        def export(self) -> Iterator[dict[str, Any]]:
            return iter(self.turns)

        def delete(self, count: int) -> int:
            del self.turns[:count]
            raise ConversationError("deleted, but another program is reading")

    store, folder = Store(), tmp_path / "improve"
    write_proposals(folder, [replace(one, note="Ann was here") for one in propose(store.export())])
    with pytest.raises(ConversationError):
        erase(lambda: store.delete(2), store, tmp_path)  # type: ignore[arg-type]
    assert [one.note for one in read_proposals(folder)] == ["fine"]
    with pytest.raises(ConversationError):
        erase(lambda: store.delete(2), store, tmp_path)  # type: ignore[arg-type]
    assert read_proposals(folder) == []


def test_expire_counts_days_since_the_last_turn(
    store: SQLiteConversationStore, capfd: pytest.CaptureFixture[str]
) -> None:
    store.record_message(
        Message("old", conversation="c0", sent_at=datetime.now(timezone.utc) - timedelta(days=31)),
    )
    assert run_json(capfd, "expire", "--days", 60) == {"deleted": 0}
    assert run_json(capfd, "expire", "--days", 30) == {"deleted": 1}
    assert store.history("c0") == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "c9"), "botkit conversations list"),
        (("export", "--conversation", "c9"), "conversation 'c9'"),
        (("export", "--sender", "nobody"), "sender 'nobody'"),
        (("delete", "--sender", "nobody", "--yes"), "sender 'nobody'"),
        (("delete",), "--conversation ID or --sender ID"),
        (("delete", "--sender", "ann", "--conversation", "c1"), "--conversation ID or --sender ID"),
        (("search", "  "), "nothing to search for"),
        (("expire", "--days", "99999999"), "smaller number"),
    ],
)
def test_mistakes_are_told_in_words(
    store: SQLiteConversationStore, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    told = run_json(capfd, *arguments, code=1)["error"]
    assert told["type"] == "ConversationError" and words in told["message"]


@pytest.mark.parametrize("arguments", [("expire", "--days", "0"), ("expire",), ("list", "--limit", "0"), ("show",)])
def test_wrong_usage_exits_with_2(home: Path, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    run(capfd, *arguments, code=2)


def test_the_file_named_in_the_configuration_is_used(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    elsewhere = SQLiteConversationStore(tmp_path / "talk.sqlite")
    elsewhere.record_message(Message("hi", conversation="there"))
    elsewhere.close()
    (tmp_path / "config.yaml").write_text(
        f"conversation:\n  store: {json.dumps(str(tmp_path / 'talk.sqlite'))}\n", encoding="utf-8"
    )
    assert [one["id"] for one in run_json(capfd, "list")["conversations"]] == ["there"]


def test_a_broken_store_is_told_in_words(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    home.mkdir()
    (home / "conversations.sqlite").write_bytes(b"no database" * 100)
    assert "move it away" in run_json(capfd, "list", code=1)["error"]["message"]
