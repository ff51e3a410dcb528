"""What every adapter of a chat platform must do, as tests.

Subclass `AdapterConformance` in a test module, give it the fixture `platform` (a `Platform` that plays the server), and
run pytest. The adapter is found by name as `botkit serve` finds it, and its own client library talks to the platform.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from botkit.delivery.dispatch import Dispatcher
from botkit.messages import Message
from botkit.plugins import Adapter, discover
from botkit.testing.engine import ScriptedEngine
from botkit.testing.platform import Platform, Shown

WAIT_S = 20.0
"""How long a test waits for what must come."""


async def until(met: Callable[[], Any], what: str, *, timeout_s: float = WAIT_S) -> Any:
    """Wait until `met` returns something true, and return it; fails the test, naming `what`, where it does not."""
    end = time.monotonic() + timeout_s
    while not (value := met()):
        if time.monotonic() > end:
            pytest.fail(f"not within {timeout_s:g} s: {what}")
        await asyncio.sleep(0.02)
    return value


class Service:
    """An adapter in service on a platform, with an engine of which the test knows the answers."""

    def __init__(self, platform: Platform, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.platform, self.engine = platform, engine
        self._monkeypatch = monkeypatch
        self._task: asyncio.Task[None] | None = None

    def make(self) -> Adapter:
        """A new adapter with the platform's section of the configuration."""
        found = next((one for one in discover(self.engine.settings) if one.name == self.platform.adapter), None)
        assert found is not None and found.adapter is not None, found and found.problem
        return found.adapter(found.adapter.Config.model_validate(self.platform.section()))

    async def start(self) -> None:
        """Start the adapter; returns when it is connected."""
        self._task = asyncio.create_task(self.make().serve(self.engine))  # type: ignore[arg-type]
        ready = asyncio.create_task(self.platform.ready())
        await asyncio.wait({self._task, ready}, timeout=WAIT_S, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            ready.cancel()
            self._task.result()
        assert ready.done(), "the adapter did not connect"

    async def stop(self) -> None:
        """As on SIGTERM: answers in flight are finished."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait_for(asyncio.gather(self._task, return_exceptions=True), WAIT_S)
            self._task = None

    async def kill(self) -> None:
        """As in a crash: what is in flight is cut off where it stands."""
        finish = Dispatcher.drain
        with self._monkeypatch.context() as patch:
            patch.setattr(Dispatcher, "drain", lambda self, timeout_s=0.0: finish(self, 0.0))
            await self.stop()

    async def answers(self, *texts: str, **where: Any) -> list[Shown]:
        """Wait until the bot's finished messages contain all these texts; its messages then."""

        def met() -> list[Shown] | None:
            shown = [one for one in self.platform.shown(**where) if not one.streaming]
            joined = "\n".join(one.text for one in shown)
            return shown if all(text in joined for text in texts) else None

        found: list[Shown] = await until(
            met, f"{texts} among {[one.text[:80] for one in self.platform.shown(**where)]}"
        )
        return found

    async def quiet(self, seconds: float = 0.4) -> None:
        """Give the bot time to say what it must not say."""
        await asyncio.sleep(seconds)

    def said(self, text: str, **where: Any) -> int:
        """In how many of the bot's messages a text stands."""
        return sum(text in one.text for one in self.platform.shown(**where))


@pytest.mark.asyncio
class AdapterConformance:
    """The scenarios. Every one ends with each message answered exactly once."""

    @pytest_asyncio.fixture
    async def service(
        self, platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[Service]:
        """The adapter under test, started."""
        engine = ScriptedEngine(tmp_path / "home", answer=_answer)
        await platform.start()
        service = Service(platform, engine, monkeypatch)
        try:
            await service.start()
            yield service
        finally:
            engine.gate.set()
            await service.kill()
            await platform.stop()
            await engine.close()

    async def test_a_private_talk(self, service: Service) -> None:
        """Each message is answered, in order, in one conversation."""
        await service.platform.say("hello there")
        await service.answers("You said: hello there")
        await service.platform.say("你好，在吗？")
        await service.answers("You said: hello there", "You said: 你好，在吗？")
        first, second = service.engine.heard
        assert first.conversation == second.conversation and first.sender == second.sender
        assert first.adapter == service.platform.adapter

    async def test_markup_in_an_answer_is_shown_as_written(self, service: Service) -> None:
        """What looks like markup of the platform is shown, not obeyed."""
        await service.platform.say("if a < b & c > d")
        await service.answers("You said: if a < b & c > d")

    async def test_silence_in_a_channel_unless_mentioned(self, service: Service) -> None:
        """People talk among themselves; the bot answers only the one who names it."""
        for number in range(5):
            await service.platform.say(f"chatter {number}", person="bob", place="channel")
        await service.platform.say("what is the time", person="ada", place="channel", mention=True)
        for number in range(5, 8):
            await service.platform.say(f"chatter {number}", person="bob", place="channel")
        await service.answers("You said: what is the time", place="channel")
        await service.quiet()
        assert [message.text for message in service.engine.heard] == ["what is the time"]
        assert len(service.platform.shown("channel")) == 1

    async def test_a_follow_up_to_the_bots_answer(self, service: Service) -> None:
        """A reply to the bot (in its thread) needs no mention and goes on with the conversation."""
        await service.platform.say("who founded it", place="channel", mention=True)
        [shown] = await service.answers("You said: who founded it", place="channel")
        await service.platform.say("and when", place="channel", reply_to=shown.id)
        await service.answers("You said: and when", place="channel")
        first, second = service.engine.heard
        assert first.conversation == second.conversation

    async def test_two_people_in_one_thread(self, service: Service) -> None:
        """Both are answered, and told apart."""
        await service.platform.say("first of ada", person="ada", place="channel", mention=True)
        [shown] = await service.answers("You said: first of ada", place="channel")
        await service.platform.say("then of bob", person="bob", place="channel", reply_to=shown.id)
        await service.platform.say("again of ada", person="ada", place="channel", reply_to=shown.id)
        await service.answers("You said: then of bob", "You said: again of ada", place="channel")
        senders = [message.sender for message in service.engine.heard]
        assert senders[0] == senders[2] != senders[1]
        assert len({message.conversation for message in service.engine.heard}) == 1

    async def test_order_within_a_conversation(self, service: Service) -> None:
        """Messages sent in a burst are answered one after the other, as they came."""
        for number in range(12):
            await service.platform.say(f"number {number:02}.")
        await service.answers(*(f"number {number:02}." for number in range(12)))
        assert [message.text for message in service.engine.heard] == [f"number {number:02}." for number in range(12)]
        shown = [re.findall(r"number (\d\d)\.", one.text)[-1] for one in service.platform.shown("direct")]
        assert shown == sorted(shown) and len(shown) == 12

    async def test_a_slow_conversation_does_not_hold_up_others(self, service: Service) -> None:
        """While one person waits, another is answered."""
        service.engine.hold("slow one")
        await service.platform.say("slow one", person="ada")
        await until(lambda: service.engine.started, "the slow answer under way")
        await service.platform.say("quick one", person="bob")
        await service.answers("You said: quick one", person="bob")
        assert service.said("You said: slow one") == 0
        service.engine.gate.set()
        await service.answers("You said: slow one", person="ada")

    async def test_a_message_edited_before_its_answer(self, service: Service) -> None:
        """It is answered as it now reads, and once."""
        service.engine.gate.clear()
        await service.platform.say("take your time")
        await until(lambda: service.engine.started, "the first answer under way")
        message = await service.platform.say("what is the prise")
        await service.quiet()
        await service.platform.edit(message, "what is the price")
        await service.quiet()
        service.engine.gate.set()
        await service.answers("You said: what is the price")
        await service.quiet()
        assert service.said("prise") == 0 and service.said("what is the price") == 1

    async def test_a_message_edited_after_its_answer(self, service: Service) -> None:
        """It is not answered again."""
        message = await service.platform.say("hello")
        await service.answers("You said: hello")
        await service.platform.edit(message, "hello again")
        await service.quiet()
        assert len(service.platform.shown("direct")) == 1

    async def test_a_message_deleted_before_its_answer(self, service: Service) -> None:
        """It is not answered."""
        if not service.platform.tells_deletions:
            pytest.skip("this platform does not tell bots of deleted messages")
        service.engine.gate.clear()
        await service.platform.say("take your time")
        await until(lambda: service.engine.started, "the first answer under way")
        message = await service.platform.say("never mind this")
        await service.quiet()
        await service.platform.delete(message)
        await service.quiet()
        service.engine.gate.set()
        await service.answers("You said: take your time")
        await service.quiet()
        assert service.said("never mind") == 0

    async def test_a_duplicate_delivery(self, service: Service) -> None:
        """A message delivered three times is answered once."""
        message = await service.platform.say("only once please")
        await service.platform.deliver_again(message)
        await service.answers("You said: only once please")
        await service.platform.deliver_again(message)
        await service.quiet()
        assert service.said("only once please") == 1 and len(service.engine.heard) == 1

    async def test_a_duplicate_delivery_after_a_restart(self, service: Service) -> None:
        """Also by another process."""
        message = await service.platform.say("only once please")
        await service.answers("You said: only once please")
        await service.stop()
        await service.start()
        await service.platform.deliver_again(message)
        await service.platform.say("the next")
        await service.answers("You said: the next")
        assert service.said("only once please") == 1

    async def test_a_reconnect_in_mid_answer(self, service: Service) -> None:
        """The connection is cut while the bot writes: the answer comes, once, and so does the next."""
        service.engine.gate.clear()
        await service.platform.say("tell me more")
        await until(lambda: service.engine.started, "the answer under way")
        await service.platform.disconnect()
        service.engine.gate.set()
        await service.answers("You said: tell me more")
        await service.platform.ready()
        await service.platform.say("still there")
        await service.answers("You said: still there")
        assert service.said("tell me more") == 1

    async def test_a_rate_limit(self, service: Service) -> None:
        """The bot waits as long as it is told, then answers, once."""
        service.platform.limit_rate(2, 0.3)
        await service.platform.say("patience")
        await service.answers("You said: patience")
        await service.quiet()
        assert service.said("patience") == 1

    async def test_a_broken_server(self, service: Service) -> None:
        """HTTP 500 twice, then all is well: the answer comes, once."""
        service.platform.break_down(2)
        await service.platform.say("are you well")
        await service.answers("You said: are you well")
        await service.quiet()
        assert service.said("are you well") == 1

    async def test_a_stop_in_mid_answer(self, service: Service) -> None:
        """On SIGTERM the answer under way is finished."""
        service.engine.gate.clear()
        await service.platform.say("finish this")
        await until(lambda: service.engine.started, "the answer under way")
        stopping = asyncio.create_task(service.stop())
        await asyncio.sleep(0.1)
        service.engine.gate.set()
        await stopping
        await service.answers("You said: finish this")

    async def test_a_crash_in_mid_answer(self, service: Service) -> None:
        """After the next start the answer is there, whole and once."""
        service.engine.gate.clear()
        await service.platform.say("do not lose this")
        await until(lambda: service.engine.started, "the answer under way")
        await service.kill()
        service.engine.gate.set()
        await service.start()
        await service.answers("You said: do not lose this")
        await service.quiet()
        assert len(service.platform.shown("direct")) == 1

    async def test_a_crash_between_receipt_and_answer(self, service: Service) -> None:
        """What was received and waits in line is answered after the next start, once and in order."""
        service.engine.gate.clear()
        for text in ("first in line", "second in line", "third in line"):
            await service.platform.say(text)
        await until(lambda: service.engine.started, "the first answer under way")
        await service.quiet()
        await service.kill()
        service.engine.gate.set()
        await service.start()
        await service.answers("first in line", "second in line", "third in line")
        await service.quiet()
        assert [message.text for message in service.engine.heard] == [
            "first in line",
            "second in line",
            "third in line",
        ]
        assert len(service.platform.shown("direct")) == 3

    async def test_a_message_sent_while_the_bot_was_away(self, service: Service) -> None:
        """The platform delivers it when the bot is back."""
        await service.stop()
        await service.platform.say("anybody home")
        await service.start()
        await service.answers("You said: anybody home")
        await service.quiet()
        assert service.said("anybody home") == 1

    async def test_a_very_long_answer(self, service: Service) -> None:
        """12,000 characters of Chinese with code and tables: all of it, in order, no message too long."""
        await service.platform.say("LONG")
        whole = long_answer()
        shown = await service.answers("（全文完）")
        assert all(len(one.text) <= service.platform.longest for one in shown)
        seen = _bare("".join(one.text for one in shown))
        wanted = _bare(whole)
        position = 0
        for word in re.findall(r"第\d+句[^。]*|print\(\d+\)|项目\d+", whole):
            found = seen.find(_bare(word), position)
            assert found >= 0, f"{word} is missing or out of order"
            position = found
        assert len(seen) >= len(wanted) * 0.95

    async def test_odd_messages(self, service: Service) -> None:
        """Control characters, emoji, right-to-left text, 3,000 characters: answered; nothing stops the bot."""
        for text in ("👩‍👩‍👧‍👦", "שלום עולם", "a\u0000b\u0007c", "x" * 3000, "*_~`[](<>)&"):
            await service.platform.say(text)
        await service.platform.say("and now a plain one")
        await service.answers("You said: and now a plain one")
        assert len(service.engine.heard) == 6


def long_answer() -> str:
    """About 12,000 characters of Chinese Markdown: prose, a code block, a table."""
    prose = "".join(f"第{number}句说明退货的规定，请在三十天之内寄回，运费由我们承担。" for number in range(250))
    code = "\n".join(f"print({number})  # 打印第 {number} 个数" for number in range(120))
    rows = "\n".join(f"| 项目{number} | {number} 元 |" for number in range(120))
    return f"# 说明\n\n{prose}\n\n```python\n{code}\n```\n\n| 名称 | 价格 |\n|---|---|\n{rows}\n\n（全文完）"


def _answer(message: Message) -> str:
    return long_answer() if message.text == "LONG" else f"You said: {message.text}"


def _bare(text: str) -> str:
    """Without white space and the marks of Markdown, which a platform may show in its own way."""
    return re.sub(r"[\s`|#*_\-─│+]|python", "", text)
