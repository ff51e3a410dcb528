"""How a reply is shown in a Telegram chat."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal, TypeVar

from telegram import InlineKeyboardButton, InlineKeyboardMarkup, LinkPreviewOptions, Message, ReplyParameters
from telegram.constants import ChatAction, ParseMode
from telegram.error import BadRequest, ChatMigrated, Forbidden, InvalidToken, TelegramError
from telegram.ext import ExtBot

from botkit.conversations.erase import erase
from botkit.delivery import Attachment, Delivery, Inbox, button_data
from botkit.engine import Engine
from botkit.errors import AdapterError
from botkit.messages import Language, Reply, Source
from botkit.phrases import phrase
from botkit_telegram import html, words
from botkit_telegram.config import TelegramConfig
from botkit_telegram.errors import lacking, refused

Result = TypeVar("Result")
Rows = list[list[InlineKeyboardButton]]

_NO_PREVIEW: Final = LinkPreviewOptions(is_disabled=True)
_GROUP_INTERVAL_S: Final = 5.0
_LONGEST_LABEL: Final = 60
_GONE: Final = ("message to edit not found", "message can't be edited", "message_id_invalid")


@dataclass
class Context:
    """What the outlets of one adapter share. `without_drafts` are the chats that refused drafts."""

    bot: ExtBot[Any]
    config: TelegramConfig
    engine: Engine
    inbox: Inbox
    call_human: Callable[[Delivery, Language], Awaitable[None]]
    without_drafts: set[int] = field(default_factory=set)


class TelegramOutlet:
    """Shows one reply: drafts or edits while it is written, then the whole in as many messages as it takes.

    The address of a message holds `chat`, `thread` (a topic), `reply_to`, `private`, `person`; and for what the
    adapter itself says `rows` (buttons as [label, data]), `forward` ([how, chat, message]), `about`, `forget`.
    """

    def __init__(self, context: Context, delivery: Delivery) -> None:
        self._context, self._delivery = context, delivery
        self._address: dict[str, Any] = dict(delivery.incoming.address)
        self._chat: int = self._address["chat"]
        self._shown: dict[str, str] = {}
        self._last_edit = 0.0

    async def status(self, stage: str) -> None:
        """The typing action."""
        await self._context.bot.send_chat_action(self._chat, ChatAction.TYPING, message_thread_id=self._thread)

    async def show(self, text: str) -> None:
        """A draft where the chat allows one, else the message itself, edited."""
        if not self._context.config.stream or not text.strip():
            return
        pieces = html.pieces(text)
        if (
            self._address.get("private")
            and self._chat not in self._context.without_drafts
            and not self._delivery.posted
        ):
            try:
                await self._draft(pieces[-1])
                return
            except (BadRequest, InvalidToken):  # not in this chat; or a server that has no drafts
                self._context.without_drafts.add(self._chat)
        if not self._address.get("private"):  # few calls a minute are allowed in a group
            if time.monotonic() - self._last_edit < _GROUP_INTERVAL_S:
                return
            self._last_edit = time.monotonic()
        await self._delivery.post(pieces, send=self._sender(), edit=self._editor())

    async def finish(self, reply: Reply) -> None:
        """The whole reply, its first source named, with buttons for sources, rating, choices and a human."""
        if "forget" in self._address:
            store, home = self._context.engine.store, self._context.engine.settings.paths.home
            await asyncio.to_thread(erase, partial(store.delete, sender=self._address["forget"]), store, home)
        if "forward" in self._address:
            await self._forward(*self._address["forward"])
            return
        human = bool(self._context.config.human_chat)
        text = phrase("human_called", reply.language) if reply.route == "hand_off" and human else reply.text
        pieces = html.pieces(f"{text}\n\n{_citation(reply)}" if reply.sources and reply.route == "answer" else text)
        rows = self._rows(reply)
        await self._delivery.post(pieces, send=self._sender(len(pieces), rows), edit=self._editor(len(pieces), rows))
        for surplus in self._delivery.posted[len(pieces) :]:
            await self._erase(surplus)
        if about := self._address.get("about"):
            self._remember(about)
        if reply.route == "hand_off" and human:
            await self._context.call_human(self._delivery, reply.language)

    async def notice(self, text: str) -> None:
        """A message of its own; in place of a reply begun, where there is one."""
        [piece, *_] = html.pieces(text)
        if self._delivery.posted:
            await self._editor()(self._delivery.posted[0], 0, piece)
        else:
            await self._sender()(0, piece)

    async def withdraw(self) -> None:
        """Delete what has been posted."""
        for id in self._delivery.posted:
            await self._erase(id)

    async def fetch(self, attachment: Attachment) -> bytes:
        """A document's content; Telegram gives bots files of up to 20 MB."""
        try:
            file = await self._context.bot.get_file(attachment.reference)
            return bytes(await file.download_as_bytearray())
        except BadRequest as error:
            raise AdapterError(
                f"Telegram does not give it to me ({error.message}); files may have up to 20 MB"
            ) from error
        except InvalidToken as error:
            if not lacking(error):
                raise
            raise AdapterError(
                f"Telegram does not give it to me ({error.message}): it may have been deleted"
            ) from error

    @property
    def _thread(self) -> int | None:
        return self._address.get("thread")

    async def _draft(self, piece: str) -> None:
        await self._context.bot.send_message_draft(
            self._chat,
            int(self._delivery.incoming.id[:7], 16) + 1,
            piece,
            message_thread_id=self._thread,
            parse_mode=ParseMode.HTML,
        )

    def _sender(self, count: int = 0, rows: Rows | None = None) -> Callable[[int, str], Awaitable[str]]:
        async def send(number: int, piece: str) -> str:
            answers = self._address.get("reply_to") if number == 0 else None
            reply = ReplyParameters(answers, allow_sending_without_reply=True) if answers else None

            async def call(text: str, parse_mode: str | None) -> Message:
                return await self._context.bot.send_message(
                    self._chat,
                    text,
                    parse_mode=parse_mode,
                    message_thread_id=self._thread,
                    reply_parameters=reply,
                    link_preview_options=_NO_PREVIEW,
                    reply_markup=_markup(rows, number, count),
                )

            message = await self._call(lambda: self._either(call, piece))
            self._shown[str(message.message_id)] = piece
            return str(message.message_id)

        return send

    def _editor(self, count: int = 0, rows: Rows | None = None) -> Callable[[str, int, str], Awaitable[None]]:
        async def edit(id: str, number: int, piece: str) -> None:
            markup = _markup(rows, number, count)
            if self._shown.get(id) == piece and markup is None:
                return

            async def call(text: str, parse_mode: str | None) -> Any:
                return await self._context.bot.edit_message_text(
                    text,
                    self._chat,
                    int(id),
                    parse_mode=parse_mode,
                    link_preview_options=_NO_PREVIEW,
                    reply_markup=markup,
                )

            try:
                await self._call(lambda: self._either(call, piece))
                self._shown[id] = piece
            except BadRequest as error:
                said = error.message.lower()
                if any(gone in said for gone in _GONE):
                    self._delivery.replace(number, await self._sender(count, rows)(number, piece))
                elif "not modified" not in said:
                    raise

        return edit

    async def _either(self, call: Callable[[str, str | None], Awaitable[Result]], piece: str) -> Result:
        """As HTML; as plain text where Telegram cannot read it, and a mark where it finds nothing to show."""
        try:
            return await call(piece, ParseMode.HTML)
        except BadRequest as error:
            said = error.message.lower()
            if "parse entities" in said:
                return await call(html.plain(piece), None)
            if "text is empty" in said or "must be non-empty" in said:
                return await call("…", None)
            raise

    async def _call(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """Follow a group that has become a supergroup; say plainly where the bot may not write."""
        try:
            return await call()
        except ChatMigrated as moved:
            self._chat = moved.new_chat_id
            return await call()
        except Forbidden as error:
            raise refused(error, self._chat, self._context.bot.username) from error

    async def _forward(self, how: Literal["forward", "copy"], chat: int, message: int) -> None:
        """Between the person and the human who has taken over."""
        if self._delivery.posted:
            return
        bot = self._context.bot
        if how == "forward":
            sent = await self._call(
                lambda: bot.forward_message(self._chat, chat, message, message_thread_id=self._thread)
            )
            id = sent.message_id
        else:
            id = (
                await self._call(lambda: bot.copy_message(self._chat, chat, message, message_thread_id=self._thread))
            ).message_id
        self._delivery.record(str(id))
        if about := self._address.get("about"):
            self._remember(about)

    def _remember(self, about: str) -> None:
        """A reply to what was posted here is meant for the conversation `about`."""
        for id in self._delivery.posted:
            self._context.inbox.note(f"about:{self._chat}:{id}", about)

    async def _erase(self, id: str) -> None:
        try:
            await self._context.bot.delete_message(self._chat, int(id))
        except TelegramError:  # gone already, or older than the 48 hours in which a bot may
            return

    def _rows(self, reply: Reply) -> Rows:
        rows = [[InlineKeyboardButton(label, callback_data=data)] for label, data in self._address.get("rows", [])]
        if self._address.get("rows") is not None:
            return rows
        language = reply.language
        for number, option in enumerate(reply.options):
            label = option if len(option) <= _LONGEST_LABEL else f"{option[: _LONGEST_LABEL - 1]}…"
            rows.append([InlineKeyboardButton(label or str(number + 1), callback_data=f"option:{number}:{reply.id}")])
        if reply.sources:
            label = f"📄 {phrase('sources', language)} ({len(reply.sources)})"
            rows.append([InlineKeyboardButton(label, callback_data=f"sources:{reply.id}")])
        if reply.route in ("answer", "unknown"):
            ratings: tuple[tuple[str, Literal[1, -1]], ...] = (("helpful", 1), ("not_helpful", -1))
            rows.append(
                [
                    InlineKeyboardButton(phrase(name, language), callback_data=button_data(reply.id, rating))
                    for name, rating in ratings
                ]
            )
        if reply.hand_off_offered:
            rows.append([InlineKeyboardButton(phrase("talk_to_human", language), callback_data="human")])
        return rows


def sources_text(sources: list[Source], language: Language) -> str:
    """The sources in full, as Markdown: where each stands, and its passage."""
    parts = [f"**{phrase('sources', language)}**"]
    for number, source in enumerate(sources, 1):
        quoted = "\n".join(f"> {html.escaped(line)}" for line in source.passage.split("\n") if line.strip())
        parts.append(f"{number}\\. {place(source, language)}\n\n{quoted}")
    return "\n\n".join(parts)


def place(source: Source, language: Language) -> str:
    """Title, heading and page of a source, as Markdown."""
    named = [source.title or source.document, *([source.heading] if source.heading != source.title else [])]
    if source.page is not None:
        named.append(phrase("page", language, page=str(source.page)))
    return " › ".join(html.escaped(one) for one in named if one)


def _citation(reply: Reply) -> str:
    return f"📄 *{place(reply.sources[0], reply.language)}*"


def _markup(rows: Rows | None, number: int, count: int) -> InlineKeyboardMarkup | None:
    """Buttons stand under the last message."""
    return InlineKeyboardMarkup(rows) if rows and number == count - 1 else None


def language_rows() -> list[list[str]]:
    """Buttons for the choice of a language."""
    return [[label, f"lang:{code}"] for code, label in words.LANGUAGES.items()]


def as_source(stored: dict[str, Any]) -> Source:
    """A source as a stored reply's JSON object has it."""
    return Source(**{name: value for name, value in stored.items() if name != "span"})
