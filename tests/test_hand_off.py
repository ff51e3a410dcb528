from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from botkit.config import HandOffConfig
from botkit.errors import ConfigError
from botkit.hand_off import HandOffError, call_hook, find_function
from botkit.messages import Message, Sentiment, Turn

MESSAGE = Message("I want a person", conversation="c1", sender="ann", adapter="terminal")
ANGRY = Sentiment("negative", 0.9)


async def call(hook: str, **settings: Any) -> None:
    config = HandOffConfig(hook=hook, **settings)
    await call_hook(config, MESSAGE, reason="asked", sentiment=ANGRY, transcript=[Turn("user", "secret words")])


received: list[dict[str, Any]] = []


def take(event: dict[str, Any]) -> None:
    received.append(event)


async def take_later(event: dict[str, Any]) -> None:
    received.append(event | {"later": True})


def refuse(event: dict[str, Any]) -> None:
    raise RuntimeError("desk closed")


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    received.clear()
    return


async def test_a_python_hook_learns_who_wants_a_human_and_why() -> None:
    await call(f"python:{__name__}:take")
    [event] = received
    assert (event["conversation"], event["sender"], event["reason"]) == ("c1", "ann", "asked")
    assert event["sentiment"] == {"label": "negative", "score": 0.9}


async def test_the_transcript_leaves_only_where_the_setting_says_so() -> None:
    await call(f"python:{__name__}:take_later")
    await call(f"python:{__name__}:take", include_transcript=True)
    assert "secret words" not in json.dumps(received[0])
    assert received[1]["transcript"] == [{"role": "user", "text": "secret words"}]


async def test_a_failing_python_hook_is_a_hand_off_error() -> None:
    with pytest.raises(HandOffError, match="RuntimeError: desk closed"):
        await call(f"python:{__name__}:refuse")


async def test_a_hook_that_names_nothing_fails_like_any_other_and_is_told_by_the_check() -> None:
    with pytest.raises(HandOffError, match=r"python:package\.module:function"):
        await call("python:no.such.module:function")
    with pytest.raises(ConfigError, match=r"python:package\.module:function"):
        find_function("python:no.such.module:function")


async def test_a_command_reads_the_event_on_standard_input(tmp_path: Path) -> None:
    target = tmp_path / "event.json"
    await call(f"{sys.executable} -c \"import sys; open(r'{target}','w').write(sys.stdin.read())\"")
    assert json.loads(target.read_text())["event"] == "hand_off"


async def test_what_a_command_prints_stays_out_of_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    await call(f'{sys.executable} -c "print(42)"')
    assert capfd.readouterr().out == ""


async def test_a_failing_command_is_named_with_its_exit_code() -> None:
    with pytest.raises(HandOffError, match="exit code 3: no desk"):
        await call(f"{sys.executable} -c \"import sys; print('no desk', file=sys.stderr); sys.exit(3)\"")


async def test_a_missing_command_is_a_hand_off_error() -> None:
    with pytest.raises(HandOffError, match="cannot be started"):
        await call("/no/such/command")


async def test_a_hook_that_does_not_answer_is_given_up() -> None:
    with pytest.raises(HandOffError, match="hook_timeout_s"):
        await call(f'{sys.executable} -c "import time; time.sleep(60)"', hook_timeout_s=0.2)


@pytest.fixture
def desk() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    posted: list[dict[str, Any]] = []

    class Desk(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if self.path.startswith("/broken") else 204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Desk)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", posted
    server.shutdown()
    server.server_close()


async def test_a_url_gets_a_json_post(desk: tuple[str, list[dict[str, Any]]]) -> None:
    url, posted = desk
    await call(f"{url}/desk")
    assert posted[0]["conversation"] == "c1"


async def test_a_url_that_says_no_is_a_hand_off_error_without_its_query(
    desk: tuple[str, list[dict[str, Any]]],
) -> None:
    url, _ = desk
    with pytest.raises(HandOffError, match="500") as caught:
        await call(f"{url}/broken?key=hidden")
    assert "hidden" not in str(caught.value)
