from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from botkit.errors import ConfigError
from botkit.plugins import AdapterConfig, Capabilities
from botkit.serving import Backoff, Supervisor
from tests.parts import MakeBot


class Scripted:
    """Fails as often as told, then serves until cancelled."""

    name: ClassVar[str] = "scripted"
    Config = AdapterConfig
    capabilities = Capabilities()
    death: BaseException = ConnectionError("the platform is away")

    def __init__(self, failures: int = 0, *, ends: bool = False) -> None:
        self.failures, self.ends = failures, ends
        self.starts = 0
        self.serving, self.finished = asyncio.Event(), False

    async def serve(self, engine: Any) -> None:
        self.starts += 1
        if self.starts <= self.failures:
            raise self.death
        self.serving.set()
        if self.ends:
            return
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # an answer in flight
            self.finished = True


async def test_an_adapter_that_dies_starts_again_ever_later(make_bot: MakeBot) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    adapter = Scripted(failures=4)
    supervisor = Supervisor(make_bot(shop=False).engine, [adapter], sleep=sleep, clock=lambda: 0.0)  # type: ignore[list-item]
    running = asyncio.create_task(supervisor.run())
    await adapter.serving.wait()
    supervisor.stop()
    await running
    assert adapter.starts == 5
    assert len(waited) == 4
    assert all(0.75 * 2**i <= seconds <= 1.25 * 2**i for i, seconds in enumerate(waited))


@pytest.mark.parametrize("death", [ConnectionError("away"), SystemExit(5)])
async def test_one_that_dies_does_not_stop_the_others(make_bot: MakeBot, death: BaseException) -> None:
    async def sleep(seconds: float) -> None:
        await asyncio.Event().wait()

    dying, healthy = Scripted(failures=99), Scripted()
    dying.death = death
    supervisor = Supervisor(make_bot(shop=False).engine, [dying, healthy], sleep=sleep)  # type: ignore[list-item]
    running = asyncio.create_task(supervisor.run())
    await healthy.serving.wait()
    supervisor.stop()
    await running
    assert healthy.finished


async def test_stopping_lets_an_adapter_finish(make_bot: MakeBot) -> None:
    adapter = Scripted()
    supervisor = Supervisor(make_bot(shop=False).engine, [adapter])  # type: ignore[list-item]
    running = asyncio.create_task(supervisor.run())
    await adapter.serving.wait()
    supervisor.stop()
    await running
    assert adapter.finished


async def test_serving_ends_when_every_adapter_has_ended(make_bot: MakeBot) -> None:
    adapter = Scripted(ends=True)
    await asyncio.wait_for(Supervisor(make_bot(shop=False).engine, [adapter]).run(), 10)  # type: ignore[list-item]
    assert adapter.starts == 1


async def test_what_the_configuration_forbids_is_not_tried_again(
    make_bot: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    engine = make_bot(shop=False).engine
    faulty, other = Scripted(failures=9), Scripted(ends=True)
    faulty.death = ConfigError("the token is empty.")
    with pytest.raises(ConfigError, match="the token is empty"):
        await Supervisor(engine, [faulty]).run()  # type: ignore[list-item]
    assert "the token" not in caplog.text, "it is told once, at the end"
    await Supervisor(engine, [faulty, other]).run()  # type: ignore[list-item]
    assert (faulty.starts, other.starts) == (2, 1)
    assert "scripted is left out: the token is empty." in caplog.text


def test_the_delay_grows_to_a_limit() -> None:
    backoff = Backoff(first_s=1, longest_s=60)
    assert backoff.delay_s(1, 0.5) == 1
    assert backoff.delay_s(3, 0.5) == 4
    assert backoff.delay_s(1_000, 1.0) == 75


SLOW = """
import asyncio, pathlib
from botkit import Message
from botkit.plugins import AdapterConfig, Capabilities

class Slow:
    name = "slow"
    Config = AdapterConfig
    capabilities = Capabilities()
    def __init__(self, config): pass
    async def serve(self, engine):
        async def answer():
            reply = await engine.answer(Message("hello there", conversation="slow"))
            await asyncio.sleep(0.3)
            pathlib.Path("answered").write_text(reply.text)
        answering = asyncio.create_task(answer())
        await asyncio.sleep(0)
        pathlib.Path("serving").write_text("")
        try:
            await asyncio.Event().wait()
        finally:
            await answering
"""


@contextmanager
def serving(folder: Path, config: str, **plugins: str) -> Iterator[subprocess.Popen[bytes]]:
    """`botkit serve` in a process of its own, from the moment that the adapter `slow` serves."""
    (folder / "plugins").mkdir()
    for name, text in plugins.items():
        (folder / "plugins" / f"{name}.py").write_text(text, encoding="utf-8")
    (folder / "config.yaml").write_text(
        f"plugins_dir: plugins\nknowledge:\n  include_builtin: false\n{config}", encoding="utf-8"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "botkit", "serve", "--home", str(folder / "home")],
        cwd=folder,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    try:
        while not (folder / "serving").exists():
            assert process.poll() is None, process.stderr and process.stderr.read()
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.05)
        yield process
    finally:
        process.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_a_second_signal_ends_what_the_first_one_waits_for(tmp_path: Path) -> None:
    never = SLOW.replace("asyncio.sleep(0.3)", "asyncio.sleep(600)")
    with serving(tmp_path, "adapters:\n  slow:\n    enabled: true\n", slow=never) as process:
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.0)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == -signal.SIGTERM


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM is a POSIX signal")
def test_sigterm_finishes_the_answer_in_flight_and_a_broken_plugin_is_told_of_and_left_out(tmp_path: Path) -> None:
    config = "adapters:\n  broken:\n    enabled: true\n  slow:\n    enabled: true\n"
    with serving(tmp_path, config, slow=SLOW, broken="import no_such_module") as process:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 0, said
        assert b"'broken'" in said and b"Serving slow." in said
        assert (tmp_path / "answered").read_text(encoding="utf-8")
