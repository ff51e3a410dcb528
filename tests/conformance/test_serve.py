"""`botkit serve` as people run it: a process of its own, the shipped models, one configuration, both platforms."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from botkit.testing.conformance import until
from botkit.testing.platform import Platform
from botkit.testing.slack import FakeSlack
from botkit.testing.telegram import FakeTelegram

ROOT = Path(__file__).parent.parent.parent
QUESTION = "How long do I have to return something?"


class Process:
    """`botkit serve` on a configuration."""

    def __init__(self, folder: Path, platforms: list[Platform], **changes: object) -> None:
        self.folder = folder
        adapters = {one.adapter: {"enabled": True, **one.section()} for one in platforms}
        config = {"adapters": adapters, "logging": {"level": "debug"}} | changes
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        self.process: asyncio.subprocess.Process | None = None
        self.log = folder / "serve.log"

    async def run(self, *arguments: str) -> tuple[int, str]:
        """A command on the same configuration; its exit code and output."""
        process = await self._start(arguments, asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT)
        out, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode()

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await self._start(("serve",), log.fileno(), log.fileno())

    async def _start(self, arguments: tuple[str, ...], out: int, err: int) -> asyncio.subprocess.Process:
        path = os.pathsep.join((str(ROOT), str(ROOT / "plugins")))
        environment = os.environ | {"PYTHONPATH": path, "BOTKIT_HOME": str(self.folder / "home"), "COLUMNS": "300"}
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "botkit", *arguments, "--config", str(self.folder / "config.yaml")),
            stdout=out,
            stderr=err,
            env=environment,
        )

    async def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 60)


@pytest.fixture
async def platforms() -> AsyncIterator[list[Platform]]:
    both: list[Platform] = [FakeSlack(mode="socket"), FakeTelegram()]
    for one in both:
        await one.start()
    yield both
    for one in both:
        await one.stop()


@pytest.fixture
async def serve(tmp_path: Path, platforms: list[Platform]) -> AsyncIterator[Process]:
    process = Process(tmp_path, platforms)
    yield process
    if process.process is not None:
        await process.end(signal.SIGKILL)


def finished(platform: Platform) -> list[str]:
    return [one.text for one in platform.shown("direct") if not one.streaming]


async def test_both_platforms_from_one_configuration(serve: Process, platforms: list[Platform]) -> None:
    await serve.start()
    await asyncio.gather(*(asyncio.wait_for(one.ready(), 60) for one in platforms))
    for one in platforms:
        await one.say(QUESTION)
    for one in platforms:
        await until(lambda one=one: any("30 days" in text for text in finished(one)), f"{one.adapter}", timeout_s=60)  # type: ignore[misc]
    assert await serve.end(signal.SIGTERM) == 0, serve.log.read_text(encoding="utf-8")
    log = serve.log.read_text(encoding="utf-8")
    assert "slack: connected" in log and "Traceback" not in log
    assert "return something" not in log and "30 days" not in log
    for one in platforms:
        assert not any(value in log for name, value in one.section().items() if name.endswith("token")), log
    for one in platforms:
        assert len(finished(one)) == 1


async def test_kill_9_again_and_again_loses_and_repeats_nothing(serve: Process, platforms: list[Platform]) -> None:
    """Each round asks on both platforms and kills the process a little later, wherever it then is."""
    asked: list[str] = []
    for delay in (0.0, 0.15, 0.4):
        await serve.start()
        await asyncio.gather(*(asyncio.wait_for(one.ready(), 60) for one in platforms))
        text = f"hello number {len(asked)}"
        asked.append(text)
        for one in platforms:
            await one.say(text)
        await asyncio.sleep(delay)
        await serve.end(signal.SIGKILL)
    await serve.start()
    await asyncio.gather(*(asyncio.wait_for(one.ready(), 60) for one in platforms))
    for one in platforms:
        await until(lambda one=one: len(finished(one)) >= len(asked), f"{one.adapter}: {finished(one)}", timeout_s=60)  # type: ignore[misc]
    await asyncio.sleep(0.5)
    assert await serve.end(signal.SIGTERM) == 0
    for one in platforms:
        assert len(finished(one)) == len(asked), finished(one)


async def test_doctor_asks_the_platforms(serve: Process, platforms: list[Platform]) -> None:
    code, out = await serve.run("doctor", "--online", "--json")
    findings = [one for one in json.loads(out)["findings"] if one["what"].startswith("online")]
    assert code == 0 and {one["state"] for one in findings} == {"ok"}
    assert any("slack" in one["what"] for one in findings) and any("telegram" in one["what"] for one in findings)


async def test_a_wrong_token_names_the_setting_and_the_page(tmp_path: Path, platforms: list[Platform]) -> None:
    process = Process(tmp_path, platforms)
    config = yaml.safe_load((tmp_path / "config.yaml").read_text(encoding="utf-8"))
    config["adapters"]["slack"]["bot_token"] = "xoxb-wrong"
    config["adapters"]["telegram"]["token"] = "1:wrong"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    code, out = await process.run("doctor", "--online")
    assert code == 1 and "Traceback" not in out
    for named in ("adapters.slack.bot_token", "api.slack.com/apps", "adapters.telegram.token", "BotFather"):
        assert named in out.replace("\n", ""), out
    assert "xoxb-wrong" not in out and "1:wrong" not in out
