"""Many conversations at once through Slack and Telegram, against platforms played on loopback.

Each person sends a few messages in a burst; every one must be answered exactly once, in order within its conversation. Told
are the messages answered a second, the time from sending to the finished answer (with 500 people asking in the same moment
that is mostly waiting in line), and the share of the engine: the same messages put to the same engine without an adapter.

    python benchmarks/adapters_load.py                     # the shipped models
    python benchmarks/adapters_load.py --engine scripted   # an engine that costs nothing: the adapters alone
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from botkit.config import Config, Paths, Settings
from botkit.delivery import Inbox
from botkit.engine import engine_from
from botkit.messages import Message
from botkit.plugins import discover
from botkit.testing import ScriptedEngine
from botkit.testing.platform import Platform

QUESTIONS = (
    "How long do I have to return something?",
    "Who pays for the return postage?",
    "Do you ship to Norway?",
    "How long does delivery take?",
    "Which payment methods do you take?",
    "退货需要在多少天之内？",
    "运费由谁承担？",
    "支持哪些付款方式？",
)


def text_of(person: int, number: int, engine: str) -> str:
    if engine == "scripted":
        return f"message {person}.{number}."
    return QUESTIONS[(person + number) % len(QUESTIONS)]


@contextlib.asynccontextmanager
async def engine_of(kind: str, home: Path) -> AsyncIterator[Any]:
    if kind == "scripted":
        engine: Any = ScriptedEngine(home)
    else:
        engine = engine_from(Settings(config=Config(), source=None, paths=Paths(home=home)))
    try:
        await engine.warm_up()
        yield engine
    finally:
        await engine.close()


async def alone(engine: Any, people: int, messages: int, kind: str) -> float:
    """Seconds the engine takes for all messages by itself."""

    async def talk(person: int) -> None:
        for number in range(messages):
            await engine.answer(Message(text_of(person, number, kind), conversation=f"alone-{person}"))

    begun = time.perf_counter()
    turn = asyncio.Semaphore(32)

    async def limited(person: int) -> None:
        async with turn:
            await talk(person)

    await asyncio.gather(*(limited(person) for person in range(people)))
    return time.perf_counter() - begun


async def through(
    platform: Platform, engine: Any, people: int, messages: int, kind: str, settings: dict[str, Any]
) -> dict[str, Any]:
    """All messages through an adapter."""
    found = next(one.adapter for one in discover(engine.settings) if one.name == platform.adapter)
    assert found is not None
    sent: dict[str, list[float]] = {}
    latencies: list[float] = []
    done = Inbox.done

    def noted(self: Inbox, event: str) -> None:
        waiting = self.find(event)
        done(self, event)
        if waiting is not None:
            latencies.append(time.perf_counter() - sent[waiting.incoming.sender.rsplit(":", 1)[-1]].pop(0))

    await platform.start()
    service = asyncio.create_task(found(found.Config.model_validate(platform.section() | settings)).serve(engine))
    Inbox.done = noted  # type: ignore[method-assign]
    try:
        await asyncio.wait_for(platform.ready(), 60)

        async def talk(person: int) -> None:
            name = f"person{person}"
            for number in range(messages):
                sent.setdefault(str(platform.person_id(name)), []).append(time.perf_counter())  # type: ignore[attr-defined]
                await platform.say(text_of(person, number, kind), person=name)

        begun = time.perf_counter()
        await asyncio.gather(*(talk(person) for person in range(people)))
        while len(latencies) < people * messages:
            if service.done():
                service.result()
            await asyncio.sleep(0.05)
        seconds = time.perf_counter() - begun
        await asyncio.sleep(1.0)  # what is said twice would come now
        wrong = 0
        for person in range(people):
            shown = [one.text for one in platform.shown("direct", person=f"person{person}") if not one.streaming]
            right = len(shown) == messages
            if kind == "scripted":
                right = right and all(f"message {person}.{number}." in text for number, text in enumerate(shown))
            wrong += not right
    finally:
        Inbox.done = done  # type: ignore[method-assign]
        service.cancel()
        await asyncio.gather(service, return_exceptions=True)
        await platform.stop()
    milliseconds = np.array(latencies) * 1000
    return {
        "messages": people * messages,
        "conversations_not_answered_exactly_once_in_order": wrong,
        "seconds": seconds,
        "messages_per_second": people * messages / seconds,
        "median_ms": float(np.median(milliseconds)),
        "p95_ms": float(np.percentile(milliseconds, 95)),
    }


async def measure(people: int, messages: int, kind: str, only: str) -> dict[str, Any]:
    from botkit.testing.slack import FakeSlack
    from botkit.testing.telegram import FakeTelegram

    unlimited = {"messages_per_second": 1e6}
    platforms: dict[str, tuple[Callable[[], Platform], dict[str, Any]]] = {
        "slack, Socket Mode": (lambda: FakeSlack(mode="socket"), {}),
        "slack, HTTP": (lambda: FakeSlack(mode="http"), {}),
        "telegram, polling, 30 messages/s": (FakeTelegram, {}),
        "telegram, polling, its limit lifted": (FakeTelegram, unlimited),
        "telegram, webhook, its limit lifted": (lambda: FakeTelegram(mode="webhook"), unlimited),
    }
    results: dict[str, Any] = {"engine": kind, "people": people, "messages_each": messages}
    with tempfile.TemporaryDirectory() as folder:
        async with engine_of(kind, Path(folder) / "alone") as engine:
            results["engine alone"] = seconds = await alone(engine, people, messages, kind)
        for name, (make, settings) in platforms.items():
            if only not in name:
                continue
            async with engine_of(kind, Path(folder) / name.replace(", ", "-").replace("/", "-")) as engine:
                results[name] = await through(make(), engine, people, messages, kind, settings)
                results[name]["engine_share"] = min(1.0, seconds / results[name]["seconds"])
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=500)
    parser.add_argument("--messages", type=int, default=2, help="from each person")
    parser.add_argument("--engine", choices=["shipped", "scripted"], default="shipped")
    parser.add_argument("--only", default="", help="only front ends whose name contains this")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    results = asyncio.run(measure(chosen.people, chosen.messages, chosen.engine, chosen.only))
    if chosen.json:
        json.dump(results, sys.stdout, indent=1)
        return
    table = Table("front end", "answered", "messages/s", "median", "p95", "engine's share")
    total = chosen.people * chosen.messages
    alone_s = results["engine alone"]
    table.add_row("engine alone", str(total), f"{total / alone_s:.1f}", "", "", "")
    for name, one in results.items():
        if isinstance(one, dict):
            wrong = one["conversations_not_answered_exactly_once_in_order"]
            table.add_row(
                name,
                f"{one['messages']}, {wrong} conversations wrong",
                f"{one['messages_per_second']:.1f}",
                f"{one['median_ms'] / 1000:.2f} s",
                f"{one['p95_ms'] / 1000:.2f} s",
                f"{one['engine_share']:.0%}",
            )
    Console().print(table)


if __name__ == "__main__":
    main()
