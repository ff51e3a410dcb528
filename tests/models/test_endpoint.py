"""The generator behind an endpoint, against a server on loopback that speaks the protocol."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

pytest.importorskip("openai", reason="needs the extra openai")

from botkit.errors import GeneratorError
from botkit.messages import Turn
from botkit.models import Sampling
from botkit.models.endpoint import OpenAIGenerator

PIECES = ["Hel", "lo", ", ", "世界"]


class Endpoint(ThreadingHTTPServer):
    """An OpenAI-compatible server. `mode` says how it behaves; `asked` keeps the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.mode = "well"
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.release = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Endpoint

    def log_message(self, *arguments: object) -> None:
        return

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body | {"path": self.path})
        self.server.keys.append(self.headers["Authorization"])
        mode = self.server.mode
        errors = {
            "key": (401, "Incorrect API key provided"),
            "model": (404, "model not found"),
            "limit": (429, "Rate limit reached"),
            "broken": (500, "out of memory"),
            "request": (400, "max_tokens is too large"),
        }
        if mode in errors:
            self._error(*errors[mode])
        elif mode == "hangs":
            self.server.release.wait(20)
            self.close_connection = True
        elif mode == "once" and len(self.server.asked) == 1:
            self._error(503, "starting")
        else:
            self._stream(body, break_off=mode == "breaks")

    def _error(self, status: int, message: str) -> None:
        data = json.dumps({"error": {"message": message, "type": "test", "code": None}}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Retry-After-Ms", "1")
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, body: dict[str, Any], *, break_off: bool) -> None:
        assert body["stream"] is True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, piece in enumerate(PIECES):
            if break_off and number == 2:
                self.close_connection = True
                self.connection.close()
                return
            self._event({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
        if self.server.mode == "odd":
            for odd in ({"choices": [{"index": 0, "delta": None}]}, {"choices": [{"index": 0}]}, {"choices": None}):
                self._event(odd)
            self._event({"choices": [{"index": 0, "delta": {"content": ["a part"]}, "finish_reason": None}]})
            self._chunk(b"data: null\n\n")
        self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self._event({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 4, "total_tokens": 5}})
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _event(self, value: dict[str, Any]) -> None:
        frame = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "tiny"} | value
        self._chunk(f"data: {json.dumps(frame)}\n\n".encode())

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


def ask(endpoint: Endpoint, text: str = "hello", **options: Any) -> list[str]:
    generator = OpenAIGenerator("tiny", base_url=endpoint.url, api_key="sk-secret", **options)
    return list(
        generator.stream([Turn("user", "hi"), Turn("bot", "Hi."), Turn("user", text)], sampling=Sampling(seed=3))
    )


def test_the_reply_streams_piece_by_piece(endpoint: Endpoint) -> None:
    assert ask(endpoint) == PIECES


def test_chunks_that_hold_no_words_are_passed_over(endpoint: Endpoint) -> None:
    endpoint.mode = "odd"
    assert ask(endpoint) == PIECES


def test_a_password_in_the_address_is_in_no_error() -> None:
    generator = OpenAIGenerator("tiny", base_url="http://bob:hunter2@127.0.0.1:9/v1", timeout_s=5)
    with pytest.raises(GeneratorError) as told:
        list(generator.stream([Turn("user", "hi")]))
    assert "bob:***" in str(told.value).replace("****", "***") and "hunter2" not in str(told.value)


def test_the_request_holds_the_conversation_and_the_sampling(endpoint: Endpoint) -> None:
    ask(endpoint, system_prompt="Be brief.")
    [sent] = endpoint.asked
    assert sent["path"] == "/v1/chat/completions"
    assert sent["model"] == "tiny"
    assert [message["role"] for message in sent["messages"]] == ["system", "user", "assistant", "user"]
    assert sent["messages"][0]["content"] == "Be brief."
    assert sent["messages"][-1]["content"] == "hello"
    assert (sent["temperature"], sent["top_p"], sent["max_tokens"], sent["seed"]) == (0.7, 0.9, 80, 3)
    assert endpoint.keys == ["Bearer sk-secret"]


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("key", "models.generator.api_key"),
        ("model", "models.generator.model"),
        ("limit", "too many requests"),
        ("broken", "out of memory"),
        ("request", "max_tokens is too large"),
    ],
)
def test_an_error_of_the_endpoint_says_what_to_do(endpoint: Endpoint, mode: str, said: str) -> None:
    endpoint.mode = mode
    with pytest.raises(GeneratorError, match=said) as caught:
        ask(endpoint)
    assert "sk-secret" not in str(caught.value)


def test_an_endpoint_that_starts_slowly_is_asked_again(endpoint: Endpoint) -> None:
    endpoint.mode = "once"
    assert ask(endpoint) == PIECES
    assert len(endpoint.asked) == 2


def test_a_stream_that_breaks_off_gives_its_beginning_and_then_an_error(endpoint: Endpoint) -> None:
    endpoint.mode = "breaks"
    generator = OpenAIGenerator("tiny", base_url=endpoint.url)
    pieces = []
    with pytest.raises(GeneratorError, match="broke off"):  # noqa: PT012
        for piece in generator.stream([Turn("user", "hello")]):
            pieces.append(piece)  # noqa: PERF402 the pieces before the error count
    assert pieces == PIECES[:2]


def test_an_endpoint_that_does_not_answer_is_given_up(endpoint: Endpoint) -> None:
    endpoint.mode = "hangs"
    with pytest.raises(GeneratorError, match="timeout_s"):
        ask(endpoint, timeout_s=0.2)


def test_an_endpoint_that_is_not_there_names_the_setting(endpoint: Endpoint) -> None:
    generator = OpenAIGenerator("tiny", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(GeneratorError, match="models.generator.base_url"):
        list(generator.stream([Turn("user", "hello")]))


def test_a_reader_who_stops_early_leaves_nothing_open(endpoint: Endpoint) -> None:
    stream = OpenAIGenerator("tiny", base_url=endpoint.url).stream([Turn("user", "hello")])
    assert next(stream) == PIECES[0]
    stream.close()  # type: ignore[attr-defined]
    assert ask(endpoint) == PIECES
