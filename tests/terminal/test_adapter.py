from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import botkit_terminal
import pytest
from botkit_terminal import TerminalAdapter, TerminalConfig, has_light_background, has_screen, log_afterwards
from botkit_terminal.session import COMMANDS, Command, help_lines, parse
from botkit_terminal.words import language_of

from botkit.errors import BotkitError, MissingExtraError
from botkit.plugins import ENTRY_POINT_GROUP, Adapter
from botkit.text import visible

from .engines import ScriptedEngine


def test_the_adapter_is_found_through_its_entry_point() -> None:
    [point] = entry_points(group=ENTRY_POINT_GROUP, name="terminal")
    assert point.load() is TerminalAdapter
    assert isinstance(TerminalAdapter(TerminalConfig()), Adapter)


def test_importing_the_adapter_imports_no_textual() -> None:
    code = "import botkit_terminal, sys; sys.exit('textual' in sys.modules or 'rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_without_textual_the_missing_extra_is_named(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(botkit_terminal, "has_screen", lambda: True)
    monkeypatch.delitem(sys.modules, "botkit_terminal.app", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == "textual"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "textual", None)
    with pytest.raises(MissingExtraError, match=r"botkit chat --plain.*pip install 'botkit\[terminal\]'"):
        await TerminalAdapter(TerminalConfig()).serve(engine)  # type: ignore[arg-type]


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert has_screen()
    monkeypatch.setenv("TERM", term)
    assert not has_screen()


@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_where_one_stream_is_no_terminal_the_chat_is_plain(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for stream in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(getattr(sys, stream), "isatty", lambda known=stream != name: known, raising=False)
    assert not has_screen()


async def test_a_cancelled_app_closes_before_serve_returns(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    app_module = pytest.importorskip("botkit_terminal.app", reason="needs the extra terminal")
    events: list[str] = []

    class Running(app_module.ChatApp):  # type: ignore[misc, name-defined]
        async def run_async(self, **options: Any) -> None:
            began.set()
            await super().run_async(headless=True, **options)
            events.append("closed")

    began = asyncio.Event()
    monkeypatch.setattr(botkit_terminal, "has_screen", lambda: True)
    monkeypatch.setattr(app_module, "ChatApp", Running)
    serving = asyncio.create_task(TerminalAdapter(TerminalConfig()).serve(engine))  # type: ignore[arg-type]
    await began.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(serving, timeout=60)
    assert events == ["closed"]


async def test_an_app_that_crashed_is_no_success(engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    app_module = pytest.importorskip("botkit_terminal.app", reason="needs the extra terminal")

    class Broken(app_module.ChatApp):  # type: ignore[misc, name-defined]
        CSS_PATH = Path(app_module.__file__).with_name("app.tcss")

        async def run_async(self, **options: Any) -> None:
            await super().run_async(headless=True, **options)

        def on_mount(self) -> None:
            raise RuntimeError("a bug")

    monkeypatch.setattr(botkit_terminal, "has_screen", lambda: True)
    monkeypatch.setattr(app_module, "ChatApp", Broken)
    with pytest.raises(SystemExit) as left:
        await TerminalAdapter(TerminalConfig()).serve(engine)  # type: ignore[arg-type]
    assert left.value.code == 1


def test_the_log_waits_until_the_screen_is_given_back() -> None:
    root = logging.getLogger("botkit")
    before = root.handlers[:]
    written: list[str] = []

    class Stream:
        def write(self, text: str) -> None:
            written.append(text)

        def flush(self) -> None:
            pass

    handler = logging.StreamHandler(Stream())
    root.handlers[:] = [handler]
    try:
        with log_afterwards():
            logging.getLogger("botkit.engine").error("the generator failed")
            assert not written
        assert "the generator failed" in "".join(written)
        assert root.handlers == [handler]
    finally:
        root.handlers[:] = before


@pytest.mark.parametrize(("value", "light"), [("0;15", True), ("15;0", False), ("0;default;15", True), ("", False)])
def test_the_terminals_colours_choose_the_theme(value: str, light: bool) -> None:
    assert has_light_background({"COLORFGBG": value}) is light


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LC_ALL": "zh_TW", "LANG": "en_US"}, "zh"),
        ({"LC_ALL": "", "LC_MESSAGES": "en_US", "LANG": "zh_CN"}, "en"),
        ({}, "en"),
    ],
)
def test_the_system_s_language_is_read_as_posix_says(environment: dict[str, str], language: str) -> None:
    assert language_of(environment) == language


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/help", Command("help")),
        ("/INGEST  my docs/a b.md ", Command("ingest", "my docs/a b.md")),
        ("/up line one\nline two", Command("up", "line one\nline two")),
        ("/etc/hosts says what?", None),
        ("what is /help?", None),
        ("/ 5", None),
        ("/ help", Command("help")),
        ("/帮助", Command("help")),
        ("／导入 文档", Command("ingest", "文档")),
        ("/新对话", Command("new")),
        ("/踩 不对", Command("down", "不对")),
        ("/数据/手册.md 是什么？", None),
    ],
)
def test_commands_are_told_from_messages(text: str, command: Command | None) -> None:
    assert parse(text) == command


@pytest.mark.parametrize("text", ["/你好", "/explane", "/帮助我", "/naïve"])
def test_other_letters_after_a_slash_are_no_command(text: str) -> None:
    with pytest.raises(BotkitError, match=f"There is no command {text}"):
        parse(text)


def test_every_command_has_a_chinese_name_that_the_help_shows() -> None:
    shown = [written.rpartition("，")[2] for written, _ in help_lines("zh")]
    assert [parse(name) for name in shown] == [Command(name) for name in COMMANDS]


def test_every_command_says_what_it_does_in_both_languages() -> None:
    for language in ("en", "zh"):
        assert len(help_lines(language)) == len(COMMANDS)


def test_visible_text_keeps_its_offsets() -> None:
    text = "a\x1b[2J\r\nb\u202ec\t好\ud800"
    assert len(visible(text)) == len(text)
    assert visible(text) == "a [2J \nb c 好 "


def test_no_file_of_the_adapter_reaches_behind_the_public_door() -> None:
    folder = Path(botkit_terminal.__file__).parent
    for file in folder.glob("*.py"):
        assert "botkit.parts" not in file.read_text("utf-8")
        assert "botkit.cli" not in file.read_text("utf-8")
