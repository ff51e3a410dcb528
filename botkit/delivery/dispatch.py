"""From a message received to a reply delivered: in order within a conversation, once, whatever happens in between."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol, TypeVar

import tenacity

from botkit.delivery.attachments import Uploads, take_in
from botkit.delivery.inbox import Attachment, Inbox, Incoming, Waiting
from botkit.engine import Engine
from botkit.errors import AdapterError, BotkitError
from botkit.language import detect
from botkit.messages import Delta, Message, Reply, Status
from botkit.phrases import phrase

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

_LONGEST_WAIT_S: Final = 60.0
_EVEN_MUTED: Final = "even_muted"
"""Key of an address: what is said all the same where a human has taken over."""


@dataclass(frozen=True, slots=True)
class Again:
    """An error that passes: try again, after `after_s` seconds where the platform named them."""

    after_s: float | None = None


class Outlet(Protocol):
    """Where one reply is shown: what an adapter writes for its platform.

    `status` and `show` are for the eye: what they raise is logged and forgotten. `finish` and `notice` may raise an error
    that `Dispatcher`'s `again` calls passing; then they are called again, and must go on where they stopped
    (`Delivery.post` does).
    """

    async def status(self, stage: str) -> None:
        """Show that the bot is at work ("thinking", "searching", "reading", "writing")."""
        ...

    async def show(self, text: str) -> None:
        """Show the reply as far as it is written; called at most every `interval_s` seconds."""
        ...

    async def finish(self, reply: Reply) -> None:
        """Show the whole reply, with its sources and buttons."""
        ...

    async def notice(self, text: str) -> None:
        """Say something that is no reply: what became of a file, or that something failed."""
        ...

    async def withdraw(self) -> None:
        """Take back what has been shown: the question was deleted."""
        ...

    async def fetch(self, attachment: Attachment) -> bytes:
        """The content of a file; raises `AdapterError` where it cannot be had."""
        ...


class Delivery:
    """One message on its way, and what has been posted in answer to it; kept in the inbox at each step."""

    def __init__(self, waiting: Waiting, inbox: Inbox) -> None:
        self.incoming = waiting.incoming
        self.posted: list[str] = list(waiting.posted)
        self.resumed = bool(waiting.posted)
        self._inbox = inbox

    def record(self, id: str) -> None:
        """Remember that a message of this id has been posted."""
        self.posted.append(id)
        self._inbox.keep_posted(self.incoming.event, tuple(self.posted))

    def replace(self, number: int, id: str) -> None:
        """Remember that the message posted as the `number`-th is gone, and another stands for it."""
        self.posted[number] = id
        self._inbox.keep_posted(self.incoming.event, tuple(self.posted))

    async def post(
        self,
        pieces: Sequence[str],
        *,
        send: Callable[[int, str], Awaitable[str]],
        edit: Callable[[str, int, str], Awaitable[None]],
    ) -> None:
        """Show a reply's pieces, each in a message of its own: `send(number, text)` posts one and returns its id,
        `edit(id, number, text)` changes one. What was posted before (a placeholder, or pieces before a restart) is edited.
        """
        for number, piece in enumerate(pieces):
            if number < len(self.posted):
                await edit(self.posted[number], number, piece)
            else:
                self.record(await send(number, piece))


class Dispatcher:
    """Takes messages from an adapter, has the engine answer them, and sees the replies delivered."""

    def __init__(
        self,
        engine: Engine,
        inbox: Inbox,
        outlet: Callable[[Delivery], Outlet],
        *,
        adapter: str,
        again: Callable[[Exception], Again | None],
        interval_s: float = 1.0,
        concurrency: int = 32,
        uploads: Uploads | None = None,
        mend_wait_s: float = 10.0,
    ) -> None:
        """`outlet` makes the place where a reply is shown; `again` says which errors of the platform pass (None: it is
        final, as when the bot was blocked); `interval_s` is the least time between two `show`s of one reply;
        `concurrency` how many conversations are answered at once, those that came first before the others; `mend_wait_s`
        how long it waits for an inbox that cannot be written.
        """
        self.engine = engine
        self.inbox = inbox
        self._outlet = outlet
        self._adapter = adapter
        self._again = again
        self._interval_s = interval_s
        self._mend_wait_s = mend_wait_s
        self._turn = asyncio.Semaphore(concurrency)
        self._uploads = uploads or Uploads()
        self._queues: dict[str, deque[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._begun: set[str] = set()
        self._stopping = False

    async def resume(self) -> int:
        """Answer what was left waiting when the bot was last stopped; how many messages that is."""
        left = await asyncio.to_thread(self.inbox.waiting)
        for one in left:
            self._enqueue(one.incoming)
        if left:
            logger.info("%s: %d messages from before the restart are answered now", self._adapter, len(left))
        return len(left)

    async def accept(self, incoming: Incoming, *, reply: Reply | None = None, even_muted: bool = False) -> bool:
        """Keep a message and answer it in its turn; False where it had come before. Returns once it is on disk.

        `reply` is for what the adapter answers by itself (a command, a button): it is delivered with the same care, and
        the engine is not asked. `even_muted`: a command to the bot is obeyed while a human talks to the person, too.
        """
        if even_muted:
            incoming = replace(incoming, address={**incoming.address, _EVEN_MUTED: True})
        silent = self._silent(incoming)
        new = self.inbox.add(incoming, answered=silent, reply=reply)
        if new and not silent and not self._stopping:
            self._enqueue(incoming)
        return new

    def edited(self, origin: str, text: str) -> bool:
        """The message was edited: answered as it is now, where its answer has not begun. True where that is so."""
        return origin not in self._begun and self.inbox.edit(origin, text)

    def deleted(self, origin: str) -> bool:
        """The message was deleted: it is not answered, and an answer begun is taken back. True where it still could be."""
        return self.inbox.withdraw(origin)

    def mute(self, conversation: str, by: str) -> None:
        """A human takes over: the bot is silent in this conversation until `unmute`."""
        self.inbox.note(f"muted:{conversation}", by)

    def unmute(self, conversation: str) -> bool:
        """The bot answers again; True where it was silent."""
        return self.inbox.drop_note(f"muted:{conversation}")

    def muted(self, conversation: str) -> bool:
        """Whether a human has taken over."""
        return self.inbox.noted(f"muted:{conversation}") is not None

    def _silent(self, incoming: Incoming) -> bool:
        return self.muted(incoming.conversation) and not incoming.address.get(_EVEN_MUTED)

    async def drain(self, timeout_s: float = 25.0) -> None:
        """Finish the answers in flight, no new ones; what is not done in time is answered after the next start."""
        self._stopping = True
        for queue in self._queues.values():
            queue.clear()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def idle(self) -> None:
        """Return when nothing is left to answer."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _enqueue(self, incoming: Incoming) -> None:
        queue = self._queues.get(incoming.conversation)
        if queue is not None:
            queue.append(incoming.event)
            return
        self._queues[incoming.conversation] = deque([incoming.event])
        task = asyncio.create_task(self._work(incoming.conversation), name=f"{self._adapter}:{incoming.conversation}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, conversation: str) -> None:
        """Answer a conversation's messages one after the other."""
        queue = self._queues[conversation]
        try:
            while queue:
                async with self._turn:
                    if not queue:  # drained while it waited for its turn
                        return
                    event = queue.popleft()
                    try:
                        await self._answer(event)
                        continue
                    except AdapterError as error:  # the inbox cannot be read or written; what is in it waits
                        logger.error("%s: %s Tried again in %.0f s.", self._adapter, error, self._mend_wait_s)
                if self._stopping:
                    return
                queue.appendleft(event)
                await asyncio.sleep(self._mend_wait_s)
        finally:
            del self._queues[conversation]

    async def _answer(self, event: str) -> None:
        waiting = self.inbox.find(event)
        if waiting is None:
            return
        if self._silent(waiting.incoming):
            self.inbox.done(event)
            return
        outlet = self._outlet(Delivery(waiting, self.inbox))
        self._begun.add(waiting.incoming.origin)
        try:
            if waiting.incoming.attachments and waiting.reply is None:
                await self._take_in(waiting.incoming, outlet)
                if waiting.incoming.text.strip():
                    self.inbox.taken_in(event)
            if waiting.incoming.text.strip() or not waiting.incoming.attachments:
                reply = waiting.reply or await self._reply(waiting.incoming, outlet)
                if reply is not None:
                    await self._until_done(partial(self._finish, event, outlet, reply))
                if self.inbox.find(event) is None:  # deleted meanwhile: nothing of the answer stays
                    await self._quietly(outlet.withdraw())
                    return
            self.inbox.done(event)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # what the platform or the engine says for good; the next message is answered
            told = str(error) if isinstance(error, BotkitError) else f"{type(error).__name__}: {error}"
            logger.error("%s: a message could not be answered: %s", self._adapter, told)
            logger.debug("%s", self._adapter, exc_info=error)
            self.inbox.fail(event, told)
        finally:
            self._begun.discard(waiting.incoming.origin)

    async def _finish(self, event: str, outlet: Outlet, reply: Reply) -> None:
        """Deliver the reply, unless the message was deleted while the platform let it wait."""
        if self.inbox.find(event) is not None:
            await outlet.finish(reply)

    async def _reply(self, incoming: Incoming, outlet: Outlet) -> Reply | None:
        """The engine's reply; where the engine fails, the person is told so."""
        try:
            return await self._think(incoming, outlet)
        except Exception:
            sorry = phrase("failed", incoming.language or detect(incoming.text))
            await self._until_done(partial(outlet.notice, sorry))
            raise

    async def _think(self, incoming: Incoming, outlet: Outlet) -> Reply | None:
        """The engine's reply, shown as it comes; None where the message was deleted meanwhile."""
        message = Message(
            incoming.text,
            conversation=incoming.conversation,
            sender=incoming.sender,
            adapter=self._adapter,
            language=incoming.language,
            tags=incoming.tags,
            id=incoming.id,
        )
        written, shown_at, status = "", time.monotonic(), None
        async with contextlib.aclosing(self.engine.respond(message)) as events:
            async for event in events:
                if isinstance(event, Status) and status != event.stage:
                    status = event.stage
                    await self._quietly(outlet.status(event.stage))
                elif isinstance(event, Delta):
                    written += event.text
                    if time.monotonic() - shown_at >= self._interval_s:
                        await self._quietly(outlet.show(written))
                        shown_at = time.monotonic()
                elif isinstance(event, Reply):
                    if self.inbox.find(incoming.event) is None:
                        return None
                    self.inbox.keep_reply(incoming.event, event)
                    return event
        raise BotkitError("the engine ended without a reply")

    async def _take_in(self, incoming: Incoming, outlet: Outlet) -> None:
        """Ingest the files that came with a message, where the configuration allows it, and say what became of them."""
        language = incoming.language or (detect(incoming.text) if incoming.text.strip() else "en")
        said = []
        for attachment in incoming.attachments:
            fetch = partial(self._until_done, partial(outlet.fetch, attachment))
            said.append(
                await take_in(
                    self.engine,
                    self._uploads,
                    attachment,
                    fetch,
                    adapter=self._adapter,
                    sender=incoming.sender,
                    tags=incoming.tags,
                    language=language,
                )
            )
        told = [text for text in said if text]
        if told:
            await self._until_done(partial(outlet.notice, "\n".join(told)))

    async def _until_done(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """Call until it succeeds or fails for good, waiting as long as the platform asks."""

        def passes(error: BaseException) -> bool:
            return isinstance(error, Exception) and self._again(error) is not None

        def wait_s(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            again = self._again(error) if isinstance(error, Exception) else None
            if again is not None and again.after_s is not None:
                return again.after_s
            return float(min(_LONGEST_WAIT_S, 0.5 * 2 ** min(state.attempt_number - 1, 8)))

        def told(state: tenacity.RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            wait = state.next_action.sleep if state.next_action else 0.0
            logger.warning("%s: %s; again in %.1f s", self._adapter, error, wait)

        async for attempt in tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(passes), wait=wait_s, before_sleep=told, reraise=True
        ):
            with attempt:
                return await call()
        raise AssertionError("retrying ends with a result or an error")

    async def _quietly(self, call: Awaitable[None]) -> None:
        """What is only for the eye may fail."""
        try:
            await call
        except Exception as error:  # a rate limit, a message that is gone: the reply itself is what counts
            logger.debug("%s: %s", self._adapter, error)
