"""`botkit chat` as a process of its own, with a scripted engine in place of the models."""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
import botkit.engine
from botkit.cli import main
from tests.terminal.engines import ScriptedEngine

botkit.engine.engine_from = lambda settings: ScriptedEngine(settings.paths.home)
main(["chat", *sys.argv[1:]])
"""
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and pseudo-terminals")


def start(home: Path, *options: str, **streams: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", PROGRAM, "--home", str(home), *options]
    environment = {**os.environ, "TERM": "xterm-256color", "LANG": "en_GB.UTF-8", "LC_ALL": ""}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **{"stderr": subprocess.PIPE, **streams})


def test_where_there_is_no_terminal_the_chat_is_plain(tmp_path: Path) -> None:
    process = start(tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    output, errors = process.communicate(b"When?\n", timeout=60)
    assert output.decode().startswith("Refunds take five days.\n  [1] Returns")
    assert (process.returncode, errors) == (0, b"")


def test_json_lines_carry_the_chosen_conversation(tmp_path: Path) -> None:
    process = start(
        tmp_path, "--plain", "--json", "--conversation", "mine", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    output, errors = process.communicate("When?\n退款？\n".encode(), timeout=60)
    assert [json.loads(line)["conversation"] for line in output.splitlines()] == ["mine", "mine"]
    assert (process.returncode, errors) == (0, b"")


def test_a_wrong_option_is_named(tmp_path: Path) -> None:
    process = start(tmp_path, "--lang", "fr", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2 and b"choose en or zh" in errors


def test_control_c_leaves_without_a_word(tmp_path: Path) -> None:
    process = start(tmp_path, "--plain", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b"When?\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"Refunds take five days.\n"
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)  # before its input ends, which would be another way out
    _, errors = process.communicate()
    assert (process.returncode, errors) == (130, b"")


def test_a_reader_that_has_enough_ends_the_chat_quietly(tmp_path: Path) -> None:
    process = start(tmp_path, "--plain", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdout.close()
    process.stdin.write(b"When?\n" * 3)
    process.stdin.close()
    assert (process.wait(timeout=60), process.stderr.read()) == (0, b"")
    process.stderr.close()


def test_a_chat_that_is_ended_from_outside_gives_the_screen_back(tmp_path: Path) -> None:
    pytest.importorskip("textual", reason="needs the extra terminal")
    import fcntl
    import pty
    import termios

    near, far = pty.openpty()
    fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    process = start(tmp_path, stdin=far, stdout=far, stderr=far, start_new_session=True)
    os.close(far)
    shown = b""
    try:
        while b"Hello!" not in shown:
            shown += _read(near)
        process.send_signal(signal.SIGTERM)
        while piece := _read(near):
            shown += piece
    finally:
        os.close(near)
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    assert shown.rindex(b"\x1b[?1049l") > shown.rindex(b"\x1b[?1049h"), "back from the alternate screen"


def _read(descriptor: int) -> bytes:
    ready, _, _ = select.select([descriptor], [], [], 60)
    assert ready, "the chat shows nothing more"
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # Linux says so when the other end has closed
        return b""
