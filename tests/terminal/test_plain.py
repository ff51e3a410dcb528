from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from botkit_terminal.plain import PlainChat

from botkit.errors import BotkitError, ModelError
from botkit.knowledge.ingest import IngestReport, LeftOut, Progress
from botkit.messages import Delta, Message, Reply, Status

from .engines import PASSAGE, ScriptedEngine, answer, session

ROOT = Path(__file__).resolve().parents[2]


async def talk(
    engine: ScriptedEngine, typed: str | bytes, *, as_json: bool = False, prompts: bool = False, **config: Any
) -> str:
    """What is printed for what is typed."""
    source = io.BytesIO(typed.encode() if isinstance(typed, str) else typed)
    target = io.StringIO()
    chat = PlainChat(session(engine, **config), as_json=as_json, source=source, target=target, prompts=prompts)
    await asyncio.wait_for(chat.run(), timeout=60)
    return target.getvalue()


async def objects(engine: ScriptedEngine, typed: str | bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (await talk(engine, typed, as_json=True)).splitlines()]


async def test_a_reply_is_printed_with_its_sources(engine: ScriptedEngine) -> None:
    assert (await talk(engine, "When?\n")).splitlines() == [
        "Refunds take five days.",
        "  [1] Returns › Refunds › p. 3 (shop/returns.md:137-146, 92%)",
    ]


async def test_the_last_line_needs_no_end_and_blank_lines_are_passed_over(engine: ScriptedEngine) -> None:
    await talk(engine, "\none\r\n   \n\ntwo")
    assert [message.text for message in engine.heard] == ["one", "two"]
    assert len({message.conversation for message in engine.heard}) == 1


async def test_only_a_person_sees_a_prompt(engine: ScriptedEngine) -> None:
    assert (await talk(engine, "a\n", prompts=True)).count("> ") == 2
    assert "> " not in await talk(engine, "a\n")


async def test_json_prints_one_object_a_line_and_nothing_else(engine: ScriptedEngine) -> None:
    first, second = await objects(engine, "When?\n退款？\n")
    assert first["answer"] == "Refunds take five days." and first["route"] == "answer"
    assert first["sources"][0]["passage"] == PASSAGE
    assert first["conversation"] == second["conversation"]


async def test_with_json_every_line_is_a_message(engine: ScriptedEngine) -> None:
    assert len(await objects(engine, "\n/quit\n/ingest /etc\nlast\n")) == 4
    assert [message.text for message in engine.heard] == ["", "/quit", "/ingest /etc", "last"]
    assert not engine.knowledge.ingested


async def test_errors_are_told_and_the_next_line_is_answered(
    engine: ScriptedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.script["bad"] = ModelError("The reader is missing.")
    engine.script["bug"] = ZeroDivisionError("division by zero")
    bad, bug, good = await objects(engine, "bad\nbug\ngood\n")
    assert bad == {"error": {"type": "ModelError", "message": "The reader is missing."}}
    assert bug["error"]["type"] == "ZeroDivisionError"
    assert good["answer"] == "Refunds take five days."
    assert (await talk(engine, "bad\ngood\n")).startswith("error: The reader is missing.\nRefunds take five days.\n")


async def test_models_that_cannot_be_loaded_are_told_with_the_answer_that_needs_them(engine: ScriptedEngine) -> None:
    engine.knowledge.fails = ModelError("There is no model 'x'.")
    engine.script["a"] = engine.knowledge.fails
    assert await talk(engine, "/lang en\na\n") == "Language: English.\nerror: There is no model 'x'.\n"


async def test_bytes_that_are_no_text_do_no_harm(engine: ScriptedEngine) -> None:
    assert len(await objects(engine, b"\xff\xfe\x00caf\xe9\n\x80\n" + "好\n".encode("gb18030"))) == 3
    assert engine.heard[0].text == "\ufffd\ufffd\x00caf\ufffd"


async def test_control_characters_of_a_document_do_not_reach_the_terminal(engine: ScriptedEngine) -> None:
    engine.script["x"] = answer("red \x1b[31m\x07")
    assert "\x1b" not in await talk(engine, "x\n")
    assert (await objects(engine, "x\n"))[0]["answer"] == "red \x1b[31m\x07", "a program gets the text as it is"


async def test_sources_shows_the_span_in_its_passage(engine: ScriptedEngine) -> None:
    printed = await talk(engine, "/sources\nWhen?\n/sources\n")
    assert printed.startswith("The last reply has no sources.\n")
    assert "Refunds take [five days]. We pay" in printed


async def test_commands_work_without_a_screen(engine: ScriptedEngine, tmp_path: Path) -> None:
    engine.store.record_message(Message("long ago", conversation="old", sender="terminal"))
    printed = await talk(
        engine,
        f"When?\n/explain\n/up good one\n/ingest {tmp_path}\n/lang zh\nhi\n/lang en\n/export {tmp_path / 'talk.md'}\n"
        "/search LONG AGO\n/switch\n/new\n/switch nowhere\n/switch old\n/clear\n/help\n/nonsense\n/quit\nnever sent\n",
    )
    for expected in (
        "route       answer: the best span is sure enough",
        "Thank you.",
        "Documents: 1 read",
        "语言：中文。",
        "Written: ",
        "user: long ago",
        "A new conversation.",
        "error: There is no conversation 'nowhere'.",
        "You: long ago",
        "/switch [ID]",
        "error: There is no command /nonsense; /help lists them.",
    ):
        assert expected in printed
    assert [(message.text, message.language) for message in engine.heard] == [("When?", None), ("hi", "zh")]
    assert [turn.note for turn in engine.store.history(engine.heard[0].conversation) if turn.rating == 1] == [
        "good one"
    ]
    assert "👍 good one" in (tmp_path / "talk.md").read_text("utf-8")


@pytest.mark.skipif(sys.platform == "win32", reason="needs tzset")
async def test_an_export_tells_the_local_time(
    engine: ScriptedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        sent = datetime(2026, 1, 31, 20, 5, tzinfo=timezone.utc)
        engine.store.record_message(Message("hi", conversation="mine", sender="terminal", sent_at=sent))
        await talk(engine, f"/export {tmp_path / 'talk.md'}\n", conversation="mine")
        assert "**You** (2026-02-01 04:05)" in (tmp_path / "talk.md").read_text("utf-8")
    finally:
        monkeypatch.undo()
        time.tzset()


async def test_what_an_ingest_left_out_is_named(engine: ScriptedEngine, tmp_path: Path) -> None:
    report = IngestReport(failed=[LeftOut("secret.pdf", "encrypted", "it is encrypted")])
    engine.knowledge.ingest = lambda paths, progress=None: report  # type: ignore[method-assign]
    assert "1 left out: secret.pdf: it is encrypted." in await talk(engine, f"/ingest {tmp_path}\n")


async def test_conversation_language_and_tags_come_from_the_settings(engine: ScriptedEngine) -> None:
    await talk(engine, "a\n", conversation="mine", language="zh", tags=["shop"])
    [message] = engine.heard
    assert (message.conversation, message.language, message.tags) == ("mine", "zh", ("shop",))
    assert (message.adapter, message.sender) == ("terminal", "terminal")


async def test_the_first_reading_of_documents_is_announced_on_standard_error(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.knowledge.steps = [Progress(0, 2, 0, 9, "a.md"), Progress(1, 2, 4, 9, "b.md")]
    engine.script["a"] = [engine.loaded, answer()]
    await talk(engine, "a\n", prompts=True)
    assert capsys.readouterr().err == "Reading the documents for the first time …\n"


async def test_told_to_stop_it_finishes_the_answer_under_way(engine: ScriptedEngine) -> None:
    gate, begun = asyncio.Event(), asyncio.Event()

    async def respond(message: Message) -> Any:
        begun.set()
        yield Status("reading")
        await gate.wait()
        yield Delta("done")
        yield Reply("done", "chat", 1.0, message.conversation)

    engine.respond = respond  # type: ignore[method-assign]
    target = io.StringIO()
    running = asyncio.create_task(
        PlainChat(session(engine), source=io.BytesIO(b"a\nb\n"), target=target, prompts=False).run()
    )
    await begun.wait()
    running.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert target.getvalue() == "done\n"


PROGRAM = """
import asyncio, sys
from pathlib import Path
from botkit_terminal import TerminalAdapter, TerminalConfig
from tests.terminal.engines import ScriptedEngine

engine = ScriptedEngine(Path(sys.argv[1]))
asyncio.run(TerminalAdapter(TerminalConfig(plain=True)).serve(engine))
"""


def start(home: Path, **streams: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(home)], cwd=ROOT, stderr=subprocess.PIPE, **streams)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_person_at_a_plain_terminal_is_prompted(tmp_path: Path) -> None:
    import pty

    near, far = pty.openpty()
    process = start(tmp_path, stdin=far, stdout=subprocess.PIPE, start_new_session=True)
    os.close(far)
    try:
        os.write(near, b"When?\n/quit\n")
        output, errors = process.communicate(timeout=60)
    finally:
        os.close(near)
    assert output.decode().startswith("Ask something, or type /help.\n> Refunds take five days.\n")
    assert (process.returncode, errors) == (0, b"")


async def test_an_ingest_waits_for_the_first_documents(engine: ScriptedEngine, tmp_path: Path) -> None:
    engine.knowledge.gate.clear()
    asyncio.get_running_loop().call_later(0.3, engine.knowledge.gate.set)

    assert await talk(engine, f"/ingest {tmp_path}\n") == "Documents: 1 read, 0 replaced, 0 removed, 0 unchanged.\n"


async def test_a_conversation_that_goes_on_has_a_reply_to_rate(engine: ScriptedEngine) -> None:
    await talk(engine, "When?\n", conversation="kept")
    assert "Thank you" in await talk(engine, "/up\n", conversation="kept")
    [turn] = [turn for turn in engine.store.history("kept") if turn.role == "bot"]
    assert turn.rating == 1


async def test_leaving_stops_a_reading_of_documents(engine: ScriptedEngine, tmp_path: Path) -> None:
    stopped, begun, left = threading.Event(), threading.Event(), threading.Event()

    def ingest(paths: object, progress: Callable[[Progress], None] | None = None) -> IngestReport:
        begun.set()
        left.wait(20)
        assert progress is not None
        try:
            progress(Progress(1, 9, 1, 9, "a.md"))
        except BotkitError:
            stopped.set()
            raise
        return IngestReport()

    engine.knowledge.ingest = ingest  # type: ignore[method-assign]
    chat = PlainChat(
        session(engine), source=io.BytesIO(f"/ingest {tmp_path}\n".encode()), target=io.StringIO(), prompts=False
    )
    running = asyncio.create_task(chat.run())
    assert await asyncio.to_thread(begun.wait, 20)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    left.set()
    assert await asyncio.to_thread(stopped.wait, 20)
    assert engine.prepares_by_itself is False, "or leaving would begin the reading anew"


def test_a_closed_standard_input_is_the_end_of_the_talk(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.stdin = None; from botkit.cli import main; main(['chat'])"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"BOTKIT_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr) == (0, "")
