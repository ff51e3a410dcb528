"""How a reply is shown in Slack."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from botkit.delivery import Attachment, Delivery, Inbox
from botkit.engine import Engine
from botkit.errors import AdapterError
from botkit.language import detect
from botkit.messages import Language, Reply
from botkit.phrases import phrase
from botkit_slack import text as texts
from botkit_slack.config import SlackConfig
from botkit_slack.errors import ABSENT, OAUTH_PAGE, again, check, code_of, refused
from botkit_slack.text import Block

logger = logging.getLogger(__name__)

_TITLE: Final = 60
_BLOCKS_REFUSED: Final = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long"})
_POSTED_ANEW: Final = _BLOCKS_REFUSED | {"message_not_found", "msg_too_long"}


@dataclass
class Context:
    """What the outlets of one adapter share. `home` is the workspace of the configured token ("" for several), `native`
    tells whether Slack streams for this app.
    """

    config: SlackConfig
    engine: Engine
    inbox: Inbox
    session: aiohttp.ClientSession
    client: Callable[[str], Awaitable[AsyncWebClient]]
    call_human: Callable[[Delivery, Language], Awaitable[None]]
    home: str = ""
    native: bool = True


class SlackOutlet:
    """Shows one reply: streamed where Slack allows it, else a message that is edited.

    The address of a message holds `team`, `channel`, `thread` (the ts of its first message, or ""), `user`, `ts`; and for
    what the adapter says by itself `response_url` (only the asker sees it), `own` (Slack's markup), `prompts`, `take` (the
    conversation that a button takes over), `permalink` ([channel, ts]), `about`.
    """

    def __init__(self, context: Context, delivery: Delivery) -> None:
        self._context, self._delivery = context, delivery
        self._address: dict[str, Any] = dict(delivery.incoming.address)
        self._channel: str = self._address["channel"]
        self._thread: str | None = self._address.get("thread") or None
        self._language: Language = delivery.incoming.language or detect(delivery.incoming.text)
        self._streamed: str | None = None
        self._quiet_until = 0.0

    async def status(self, stage: str) -> None:
        """What the Assistant is doing; the title of its thread is the first question."""
        if self._thread is None or "response_url" in self._address:
            return
        client = await self._client()
        if self._address.get("assistant"):
            key = f"title:{self._channel}:{self._thread}"
            if self._context.inbox.noted(key) is None:
                self._context.inbox.note(key, "1")
                title = " ".join(self._delivery.incoming.text.split())[:_TITLE]
                await _for_the_eye(
                    client.assistant_threads_setTitle(channel_id=self._channel, thread_ts=self._thread, title=title)
                )
        await client.assistant_threads_setStatus(
            channel_id=self._channel, thread_ts=self._thread, status=phrase(stage, self._language)
        )

    async def show(self, text: str) -> None:
        """The reply so far. Its first message only; what is longer comes with the whole."""
        if not self._context.config.stream or "response_url" in self._address or time.monotonic() < self._quiet_until:
            return
        pieces = texts.pieces(text)
        if not text.strip() or len(pieces) != 1:
            return
        try:
            await self._show(pieces[0])
        except SlackApiError as error:
            passes = again(error)
            if passes is not None:
                self._quiet_until = time.monotonic() + (passes.after_s or 1.0)
            raise

    async def finish(self, reply: Reply) -> None:
        """The whole reply, with its sources and buttons."""
        human = bool(self._context.config.human_channel)
        called = human and reply.route == "hand_off"
        text = phrase("human_called", reply.language) if called else reply.text
        pieces = [text] if self._address.get("own") else texts.pieces(text)
        extras = await self._extras(reply)
        try:
            if "response_url" in self._address:
                await self._respond(pieces, extras)
            else:
                await self._delivery.post(
                    pieces, send=self._sender(len(pieces), extras), edit=self._editor(len(pieces), extras)
                )
        except SlackApiError as error:
            if again(error) is not None:
                raise
            instead = self._address.get("else_respond")
            if instead is None or code_of(error) not in ABSENT:
                raise refused(error, self._channel) from error
            self._address["response_url"] = instead
            await self._respond(pieces, extras)
        for surplus in self._delivery.posted[len(pieces) :]:
            await self._erase(surplus)
        if about := self._address.get("about"):
            team = self._address["team"]
            self._context.inbox.note(f"about:{team}:{self._channel}:{self._delivery.posted[0]}", about)
            self._context.inbox.note(f"announced:{about.split('|')[0]}", self._delivery.posted[0])
        if self._address.get("prompts"):
            await self._suggest()
        if called:
            await self._context.call_human(self._delivery, reply.language)

    async def notice(self, text: str) -> None:
        """A message of its own; in place of a reply begun, where there is one."""
        piece = texts.pieces(text)[0]
        try:
            if "response_url" in self._address:
                await self._post_response(piece, [])
            elif self._delivery.posted:
                await self._editor(1, [])(self._delivery.posted[0], 0, piece)
            else:
                await self._sender(1, [])(0, piece)
        except SlackApiError as error:
            if again(error) is not None:
                raise
            raise refused(error, self._channel) from error

    async def withdraw(self) -> None:
        """Delete what has been posted."""
        if self._streamed is not None and self._delivery.posted:
            await self._stop(self._delivery.posted[0], None, None)
        for id in self._delivery.posted:
            await self._erase(id)

    async def fetch(self, attachment: Attachment) -> bytes:
        """A file's content. The token goes to Slack and to nobody else."""
        host = urlsplit(attachment.reference).hostname or ""
        own = urlsplit(self._context.config.api_url).hostname
        if host != own and host != "slack.com" and not host.endswith(".slack.com"):
            raise AdapterError("it is kept outside of Slack")
        client = await self._client()
        headers = {"Authorization": f"Bearer {client.token}"}
        async with self._context.session.get(attachment.reference, headers=headers) as answer:
            check(answer, f"Slack does not give it to me ({answer.status}): it may have been deleted")
            page = answer.content_type == "text/html" and not attachment.name.lower().endswith((".html", ".htm"))
            if page:  # the sign-in page
                raise AdapterError(f"the bot needs the scope files:read ({OAUTH_PAGE})")
            return await answer.read()

    async def _client(self) -> AsyncWebClient:
        return await self._context.client(self._address["team"])

    async def _show(self, piece: str) -> None:
        client = await self._client()
        posted = self._delivery.posted
        if self._streamed is not None:
            if piece.startswith(self._streamed) and piece != self._streamed:
                await client.chat_appendStream(
                    channel=self._channel, ts=posted[0], markdown_text=piece[len(self._streamed) :]
                )
                self._streamed = piece
        elif not posted:
            if not await self._start_stream(client, piece):
                self._delivery.record(await self._sender(0, [])(0, piece))
        elif not self._delivery.resumed:
            await self._update(client, posted[0], piece, [])

    async def _start_stream(self, client: AsyncWebClient, piece: str) -> bool:
        """Begin a stream; False where Slack does not stream here."""
        if self._thread is None or not self._context.native:
            return False
        try:
            answer = await client.chat_startStream(
                channel=self._channel,
                thread_ts=self._thread,
                markdown_text=piece,
                recipient_team_id=self._address["team"],
                recipient_user_id=self._address["user"],
            )
        except SlackApiError as error:
            if again(error) is not None and code_of(error) != "not_allowed_token_type":
                raise
            logger.info("slack: no streaming here (%s); replies are edited while they are written", code_of(error))
            self._context.native = False
            return False
        if not answer.get("ts"):  # a gateway that says "ok" to what it does not know
            self._context.native = False
            return False
        self._delivery.record(str(answer["ts"]))
        self._streamed = piece
        return True

    def _sender(self, count: int, extras: list[Block]) -> Callable[[int, str], Awaitable[str]]:
        async def send(number: int, piece: str) -> str:
            client = await self._client()

            async def post(blocks: list[Block] | None) -> str:
                answer = await client.chat_postMessage(
                    channel=self._channel,
                    thread_ts=self._thread,
                    text=texts.fallback(piece),
                    blocks=blocks,
                    unfurl_links=False,
                    unfurl_media=False,
                )
                return str(answer["ts"])

            try:
                return await post(self._blocks(piece, extras if number == count - 1 else []))
            except SlackApiError as error:
                if code_of(error) not in _BLOCKS_REFUSED:
                    raise
                logger.warning("slack: a reply is shown without its sources and buttons (%s)", code_of(error))
                return await post(None)

        return send

    def _editor(self, count: int, extras: list[Block]) -> Callable[[str, int, str], Awaitable[None]]:
        async def edit(id: str, number: int, piece: str) -> None:
            client = await self._client()
            under = extras if number == count - 1 else []
            if number == 0 and self._streamed is not None:
                rest = piece[len(self._streamed) :] if piece.startswith(self._streamed) else None
                if await self._stop(id, rest, under) and rest is not None:
                    return
            elif number == 0 and self._delivery.resumed and self._thread is not None:
                await self._stop(id, None, None)
            try:
                await self._update(client, id, piece, under)
            except SlackApiError as error:
                if code_of(error) not in _POSTED_ANEW:
                    raise
                self._delivery.replace(number, await self._sender(count, extras)(number, piece))
                if code_of(error) != "message_not_found":
                    await self._erase(id)

        return edit

    async def _stop(self, id: str, rest: str | None, under: list[Block] | None) -> bool:
        """End a stream; False where it had ended before. What is cut off by an error that passes is tried again whole."""
        client = await self._client()
        try:
            await client.chat_stopStream(
                channel=self._channel,
                ts=id,
                markdown_text=rest or None,
                blocks=under if rest is not None and under else None,
            )
        except SlackApiError as error:
            if again(error) is not None:
                raise
            self._streamed = None
            return False
        self._streamed = None
        return True

    async def _update(self, client: AsyncWebClient, id: str, piece: str, under: list[Block]) -> None:
        text = texts.fallback(piece, edited=True)
        await client.chat_update(channel=self._channel, ts=id, text=text, blocks=self._blocks(piece, under))

    def _blocks(self, piece: str, under: list[Block]) -> list[Block]:
        body = texts.own_blocks(piece) if self._address.get("own") else texts.markdown_blocks(piece)
        return [*body, *under]

    async def _extras(self, reply: Reply) -> list[Block]:
        if take := self._address.get("take"):
            buttons = [texts.button(phrase("take_over", reply.language), "take", take, style="primary")]
            channel, ts = self._address["permalink"]
            if ts and not channel.startswith("D") and (link := await self._permalink(channel, ts)):
                buttons.append(texts.button(phrase("transcript", reply.language), "transcript", "-") | {"url": link})
            return [{"type": "actions", "elements": buttons}]
        if self._address.get("bare"):
            return []
        return texts.extras(reply, human=bool(self._context.config.human_channel))

    async def _permalink(self, channel: str, ts: str) -> str:
        """The address of a message; "" where Slack does not tell it: a human is called all the same."""
        client = await self._client()
        try:
            return str((await client.chat_getPermalink(channel=channel, message_ts=ts)).get("permalink") or "")
        except SlackApiError as error:
            if again(error) is not None:
                raise
            logger.warning("slack: no link to the thread of somebody who wants a human: %s", code_of(error))
            return ""

    async def _respond(self, pieces: list[str], extras: list[Block]) -> None:
        """Only the person who asked sees it. A response_url tells no ids, and takes five messages."""
        for number, piece in enumerate(pieces[:5]):
            if number >= len(self._delivery.posted):
                await self._post_response(piece, extras if number == min(len(pieces), 5) - 1 else [])
                self._delivery.record(f"response:{number}")

    async def _post_response(self, piece: str, under: list[Block]) -> None:
        told = {
            "response_type": "ephemeral",
            "replace_original": False,
            "text": texts.fallback(piece),
            "blocks": self._blocks(piece, under),
        }
        async with self._context.session.post(self._address["response_url"], json=told) as answer:
            check(answer, "the question is too old: Slack takes answers to a command for 30 minutes")

    async def _suggest(self) -> None:
        """Questions to begin with, in the Assistant."""
        client = await self._client()
        language = self._delivery.incoming.language or self._context.config.language
        suggestions = [phrase(f"suggestion_{number}", language) for number in (1, 2, 3)]
        await _for_the_eye(
            client.assistant_threads_setSuggestedPrompts(
                channel_id=self._channel,
                thread_ts=self._thread or "",
                prompts=[{"title": one, "message": one} for one in suggestions],
            )
        )

    async def _erase(self, id: str) -> None:
        client = await self._client()
        try:
            await client.chat_delete(channel=self._channel, ts=id)
        except SlackApiError:  # gone already
            return


async def _for_the_eye(call: Awaitable[Any]) -> None:
    """What a workspace without the Assistant, or without this method, does not show."""
    try:
        await call
    except SlackApiError as error:
        logger.debug("slack: %s", code_of(error) or error)
