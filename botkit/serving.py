"""Running front ends: each in its own task, restarted with back-off when it dies, stopped without losing an answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Final

from botkit.conversations.erase import erase
from botkit.engine import Engine
from botkit.errors import BotkitError, ConfigError
from botkit.logs import include
from botkit.plugins import Adapter

logger = logging.getLogger(__name__)

_DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next start: `first_s`, then twice as long each time up to `longest_s`, give or take
    a quarter. After `healthy_s` of service the count starts anew.
    """

    first_s: float = 1.0
    longest_s: float = 60.0
    healthy_s: float = 60.0

    def delay_s(self, failures: int, jitter: float) -> float:
        """Seconds to wait after the `failures`-th failure in a row (from 1); `jitter` is between 0 and 1."""
        return float(min(self.longest_s, self.first_s * 2 ** min(failures - 1, 16)) * (0.75 + 0.5 * jitter))


class Supervisor:
    """Runs adapters on one engine until told to stop."""

    def __init__(
        self,
        engine: Engine,
        adapters: Sequence[Adapter],
        *,
        backoff: Backoff | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`sleep` and `clock` are replaced in tests."""
        self._engine = engine
        self._adapters = adapters
        for adapter in adapters:
            include(type(adapter).__module__.partition(".")[0])
        self._backoff = backoff or Backoff()
        self._sleep = sleep
        self._clock = clock
        self._stop = asyncio.Event()
        self._refused: list[ConfigError] = []

    def stop(self) -> None:
        """Ask all adapters to finish; `run` returns when they have."""
        self._stop.set()

    async def run(self) -> None:
        """Serve until `stop`, or until every adapter has ended by itself; answers in flight are finished.

        Raises `ConfigError` where the configuration lets none of them serve.
        """
        tasks = [asyncio.create_task(self._keep(adapter), name=adapter.name) for adapter in self._adapters]
        chores = [asyncio.create_task(self._expire(), name="retention")]
        if self._engine.settings.config.knowledge.watch:
            chores.append(asyncio.create_task(self._watch(), name="watch"))
        ended = asyncio.create_task(_all(tasks))
        stopped = asyncio.create_task(self._until_stopped())
        try:
            await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            stopped.cancel()
            for task in (*tasks, *chores):
                task.cancel()
            await asyncio.gather(*tasks, *chores, return_exceptions=True)
        if self._refused and len(self._refused) == len(self._adapters):
            raise self._refused[0]

    async def _until_stopped(self) -> None:
        await self._stop.wait()

    async def _keep(self, adapter: Adapter) -> None:
        """Serve one adapter, and start it again when it dies."""
        failures = 0
        while True:
            begun = self._clock()
            try:
                await adapter.serve(self._engine)
            except asyncio.CancelledError:
                raise
            except ConfigError as error:  # another start cannot mend it
                self._refused.append(error)
                if len(self._adapters) > 1:
                    logger.error("%s is left out: %s", adapter.name, error)
                return
            except (Exception, SystemExit) as error:  # whatever an adapter dies of, the others go on
                if self._clock() - begun >= self._backoff.healthy_s:
                    failures = 0
                failures += 1
                delay = self._backoff.delay_s(failures, random.random())
                told = str(error).rstrip(".") if isinstance(error, BotkitError) else f"{type(error).__name__}: {error}"
                logger.error("%s stopped: %s. It starts again in %.0f s.", adapter.name, told, delay)
                logger.debug("%s", adapter.name, exc_info=error)
                await self._sleep(delay)
            else:
                logger.info("%s has ended", adapter.name)
                return

    async def _expire(self) -> None:
        """Delete conversations older than the configured retention, once a day."""
        days = self._engine.settings.config.conversation.retention_days
        while days is not None:
            before = datetime.now(timezone.utc) - timedelta(days=days)
            try:
                store, home = self._engine.store, self._engine.settings.paths.home
                deleted = await asyncio.to_thread(erase, partial(store.expire, before), store, home)
                logger.info("retention: %d turns older than %d days deleted", deleted, days)
            except BotkitError as error:
                logger.error("retention: %s", error)
            await self._sleep(_DAY_S)

    async def _watch(self) -> None:
        """Follow changes of the configured documents in a thread."""
        paths = self._engine.settings.config.knowledge.paths
        if not paths:
            logger.warning("knowledge.watch is set, but knowledge.paths is empty: nothing to follow")
            return
        ended = threading.Event()

        def follow() -> None:
            for report in self._engine.knowledge.watch(paths, stop=ended):
                logger.info(
                    "documents: %d read, %d removed", len(report.read) + len(report.replaced), len(report.removed)
                )

        try:
            await asyncio.to_thread(follow)
        except (BotkitError, OSError) as error:  # the system watches only so many folders
            logger.error("watching the documents ended: %s", error)
        finally:
            ended.set()


async def _all(tasks: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks)


async def serve(engine: Engine, adapters: Sequence[Adapter]) -> None:
    """Run adapters until SIGTERM or SIGINT, then finish the answers in flight and close the engine."""
    supervisor = Supervisor(engine, adapters)
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)

    def stop() -> None:
        supervisor.stop()
        for number in signals:  # a second one ends the process at once
            loop.remove_signal_handler(number)

    for number in signals:
        with contextlib.suppress(NotImplementedError):  # Windows has no handlers in the loop
            loop.add_signal_handler(number, stop)
    try:
        await engine.warm_up()
        await supervisor.run()
    finally:
        await engine.close()
