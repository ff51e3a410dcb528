"""What comes from Telegram, as messages to the engine: who is meant, which conversation, commands, buttons."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, Final, cast

from telegram import (
    CallbackQuery,
    Chat,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InlineQuery,
    InlineQueryResultArticle,
    InputTextMessageContent,
    LinkPreviewOptions,
    MessageEntity,
    Update,
    User,
)
from telegram import Message as TelegramMessage
from telegram.constants import ParseMode
from telegram.error import BadRequest, TelegramError

from botkit.delivery import AllowList, Attachment, Delivery, Dispatcher, Incoming, rate
from botkit.errors import BotkitError
from botkit.language import detect
from botkit.messages import Language, Message, Reply
from botkit.phrases import phrase
from botkit_telegram import html, words
from botkit_telegram.outlet import Context, as_source, language_rows, place, sources_text

logger = logging.getLogger(__name__)

_COMMAND: Final = re.compile(r"/([A-Za-z0-9_]+)(?:@(\w+))?\s*(.*)", re.DOTALL)
_TRANSCRIPT_TURNS: Final = 10
_INLINE_PAUSE_S: Final = 0.4
_INLINE_SHORTEST: Final = 2


class Receiver:
    """Takes updates, one after the other; returns from `take` once what must not be lost is on disk."""

    def __init__(self, context: Context, dispatcher: Dispatcher) -> None:
        self._context, self._dispatcher = context, dispatcher
        self._config, self._bot, self._inbox = context.config, context.bot, context.inbox
        self._users = AllowList.of(self._config.allow_users)
        self._chats = AllowList.of(self._config.allow_chats)
        self._mention = re.compile(rf"@{re.escape(self._bot.username)}\b[ ,:，：]*", re.IGNORECASE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._inline: dict[int, asyncio.Task[None]] = {}

    async def take(self, update: Update) -> None:
        """Handle one update. What is wrong with it is logged; raises only where it could not be kept."""
        try:
            if update.message is not None:
                await self._message(update.message)
            elif update.edited_message is not None:
                await self._edited(update.edited_message)
            elif update.callback_query is not None:
                await self._pressed(update.callback_query)
            elif update.inline_query is not None:
                self._asked_inline(update.inline_query)
        except BotkitError:
            raise
        except Exception:
            logger.exception("telegram: update %d could not be handled", update.update_id)

    async def close(self) -> None:
        """Finish what goes on beside the conversations."""
        for task in self._inline.values():
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _message(self, message: TelegramMessage) -> None:
        if await self._from_operator(message):
            return
        incoming = self._incoming(message)
        if incoming is None:
            return
        command = _COMMAND.match(incoming.text) if incoming.text.startswith("/") else None
        if command and await self._command(message, incoming, command[1].lower(), command[3].strip()):
            return
        if not incoming.text and not incoming.attachments:
            if message.chat.type == Chat.PRIVATE and _is_content(message):
                if self._config.human_chat and self._dispatcher.muted(incoming.conversation):
                    await self._accept(incoming)  # a human sees pictures, and hears voices
                    return
                await self._say(incoming, words.TEXT_ONLY[self._language(message.from_user, "")])
            return
        await self._accept(incoming)

    async def _accept(self, incoming: Incoming) -> None:
        new = await self._dispatcher.accept(incoming)
        if new and self._config.human_chat and incoming.address["private"]:
            if not self._dispatcher.muted(incoming.conversation):
                return
            await self._pass_on(incoming, self._human_chat, "forward", _about(incoming))

    async def _edited(self, message: TelegramMessage) -> None:
        """Answered as it now reads where its answer has not begun; answered at all where it only now names the bot."""
        if (about := self._about_of(message)) is not None:
            await self._correct(message, about)
            return
        incoming = self._incoming(message)
        if incoming is None or incoming.text.startswith("/"):
            return
        if not self._dispatcher.edited(incoming.origin, incoming.text) and (incoming.text or incoming.attachments):
            await self._accept(incoming)

    def _incoming(self, message: TelegramMessage) -> Incoming | None:
        """The message as the engine gets it; None where it is not for the bot, or not from somebody who may ask."""
        chat, user = message.chat, message.from_user
        if user is None or (user.is_bot and message.sender_chat is None) or message.via_bot is not None:
            return None
        private = chat.type == Chat.PRIVATE
        text = message.text or message.caption or ""
        if not private and not self._addressed(message, text):
            return None
        who = message.sender_chat or user
        if not self._users.allows(who.id, who.username) or not (private or self._chats.allows(chat.id, chat.username)):
            logger.info(
                "telegram: user %d in chat %d is not on adapters.telegram.allow_users, allow_chats", who.id, chat.id
            )
            return None
        text = (text if private or text.startswith("/") else self._mention.sub("", text)).strip()
        if not text and not private and message.reply_to_message is not None:  # "@bot" under another person's question
            text = message.reply_to_message.text or message.reply_to_message.caption or ""
        thread = message.message_thread_id if message.is_topic_message else None
        return Incoming(
            event=f"telegram:{self._bot.id}:{chat.id}:{message.message_id}",
            origin=f"{chat.id}:{message.message_id}",
            conversation=f"telegram:{chat.id}:{thread}" if thread is not None else f"telegram:{chat.id}",
            sender=f"telegram:{who.id}",
            text=text,
            language=cast("Language | None", self._inbox.noted(f"language:{who.id}")),
            tags=tuple(self._config.tags.get(str(chat.id), ())),
            attachments=_attachments(message),
            address={
                "chat": chat.id,
                "thread": thread,
                "message": message.message_id,
                "private": private,
                "person": user.full_name,
                **({} if private else {"reply_to": message.message_id}),
            },
        )

    def _addressed(self, message: TelegramMessage, text: str) -> bool:
        """In a group: by a command, a mention, or a reply to one of the bot's messages."""
        replied = message.reply_to_message
        if replied is not None and replied.from_user is not None and replied.from_user.id == self._bot.id:
            return replied.forum_topic_created is None
        command = _COMMAND.match(text)
        if command is not None:
            target = (command[2] or "").lower()
            return target == self._bot.username.lower() or (not target and command[1].lower() in words.COMMANDS)
        if not (message.entities or message.caption_entities):  # a gateway that leaves them out
            return re.search(rf"(?<![\w.@/]){self._mention.pattern}", text, re.IGNORECASE) is not None
        parse = message.parse_entities if message.text else message.parse_caption_entities
        for entity, named in parse([MessageEntity.MENTION, MessageEntity.TEXT_MENTION]).items():
            if named.lower() == f"@{self._bot.username}".lower() or (entity.user and entity.user.id == self._bot.id):
                return True
        return False

    async def _command(self, message: TelegramMessage, incoming: Incoming, name: str, rest: str) -> bool:
        """Answer a command; False where it is none of the bot's."""
        language = self._language(message.from_user, rest)
        if name == "start":
            await self._say(incoming, f"{phrase('welcome', language)}\n\n{self._help(language)}")
        elif name == "help":
            await self._say(incoming, self._help(language))
        elif name == "ask":
            replied = message.reply_to_message
            question = rest or ((replied.text or replied.caption or "") if replied is not None else "")
            if question:
                await self._accept(replace(incoming, text=question))
            else:
                await self._say(incoming, phrase("ask_what", language, command="/ask"))
        elif name == "lang":
            if rest.lower() in words.LANGUAGES:
                await self._say(incoming, self._set_language(incoming.sender, rest.lower()))
            else:
                await self._say(incoming, words.LANGUAGE_CHOICE[language], rows=language_rows())
        elif name == "forget":
            await self._say(incoming, words.FORGOTTEN[language], forget=incoming.sender)
        elif name == "human":
            if self._config.human_chat:
                await self._call_human(incoming, language)
                await self._say(incoming, phrase("human_called", language))
            else:
                await self._accept(replace(incoming, text=words.WANTS_HUMAN[language]))
        elif message.chat.type == Chat.PRIVATE:
            await self._say(incoming, self._help(language))
        else:
            return False
        return True

    def _help(self, language: Language) -> str:
        commands = "\n".join(f"/{name} – {html.escaped(said[language])}" for name, said in words.COMMANDS.items())
        return words.HELP[language].format(commands=commands, username=self._bot.username)

    def _set_language(self, sender: str, code: str) -> str:
        who = sender.rsplit(":", 1)[-1]
        if code == "auto":
            self._inbox.drop_note(f"language:{who}")
        else:
            self._inbox.note(f"language:{who}", code)
        return words.LANGUAGE_SET[code]

    def _language(self, user: User | None, text: str) -> Language:
        """In which language the bot's own words are: the one chosen, else of what was written, else of their Telegram."""
        chosen = self._inbox.noted(f"language:{user.id}") if user is not None else None
        if chosen in ("en", "zh"):
            return cast(Language, chosen)
        if text.strip():
            return detect(text)
        return "zh" if user is not None and (user.language_code or "").startswith("zh") else "en"

    async def _say(self, incoming: Incoming, text: str, **address: Any) -> bool:
        """Deliver the bot's own words in answer to a message, a command mostly: to a person who talks to a human, too."""
        answered = replace(
            incoming, text=incoming.text or "-", attachments=(), address={"rows": [], **incoming.address, **address}
        )
        reply = Reply(text, "chat", 1.0, incoming.conversation, answer=text, language=detect(text))
        return await self._dispatcher.accept(answered, reply=reply, even_muted=True)

    @property
    def _human_chat(self) -> int:
        return int(self._config.human_chat)

    async def call_human_for(self, delivery: Delivery, language: Language) -> None:
        """The engine hands a conversation over."""
        await self._call_human(delivery.incoming, language)

    async def _call_human(self, incoming: Incoming, language: Language) -> None:
        """Announce a person in the chat for it, with the last turns and a button to take over."""
        history = await asyncio.to_thread(self._context.engine.store.history, incoming.conversation, _TRANSCRIPT_TURNS)
        person = html.escaped(str(incoming.address.get("person", "")))
        lines = [f"> **{person if turn.role == 'user' else '🤖'}**: {html.escaped(turn.text)}" for turn in history]
        text = "\n".join(
            [phrase("human_wanted", language, person=f"**{person}**"), "", *("\n>\n".join(lines).split("\n"))]
        )
        announced = Incoming(
            event=f"human:{incoming.event}",
            conversation=f"human:{incoming.conversation}",
            sender=incoming.sender,
            text="-",
            address={
                "chat": self._human_chat,
                "rows": [[phrase("take_over", language), f"take:{incoming.conversation}"]],
                "about": _about(incoming),
            },
        )
        reply = Reply(text, "chat", 1.0, announced.conversation, language=language)
        await self._dispatcher.accept(announced, reply=reply)

    async def _from_operator(self, message: TelegramMessage) -> bool:
        """A reply in the chat for humans to what a person wrote: it goes to that person."""
        about = self._about_of(message)
        if about is None:
            return False
        conversation, chat, thread = about.split("|")
        operator = Incoming(
            event=f"telegram:{self._bot.id}:{message.chat.id}:{message.message_id}",
            conversation=conversation,
            sender="operator",
            text="-",
            address={"chat": message.chat.id, "message": message.message_id, "thread": None},
        )
        await self._pass_on(operator, int(chat), "copy", "", thread=int(thread) if thread else None)
        return True

    def _about_of(self, message: TelegramMessage) -> str | None:
        """Whom a message is for: one that replies, in the chat for humans, to what a person wrote; None for any other."""
        if not self._config.human_chat or message.chat.id != self._human_chat or message.reply_to_message is None:
            return None
        if (message.text or "").startswith("/"):
            return None
        return self._inbox.noted(f"about:{message.chat.id}:{message.reply_to_message.message_id}")

    async def _correct(self, message: TelegramMessage, about: str) -> None:
        """An operator mended what went to a person: so is the copy that the person got. One not yet sent goes as it is now."""
        posted = self._inbox.posted(f"copy:telegram:{self._bot.id}:{message.chat.id}:{message.message_id}")
        if not posted:
            return
        chat, copy = int(about.split("|")[1]), int(posted[0])
        if message.text is not None:
            edit = self._bot.edit_message_text(message.text, chat, copy, entities=message.entities)
        else:
            edit = self._bot.edit_message_caption(
                chat, copy, caption=message.caption, caption_entities=message.caption_entities
            )
        await self._quietly(edit)

    async def _pass_on(self, incoming: Incoming, chat: int, how: str, about: str, *, thread: int | None = None) -> None:
        passed = Incoming(
            event=f"{how}:{incoming.event}",
            conversation=f"human:{incoming.conversation}",
            sender=incoming.sender,
            text="-",
            address={
                "chat": chat,
                "thread": thread,
                "forward": [how, incoming.address["chat"], incoming.address["message"]],
                "about": about,
            },
        )
        await self._dispatcher.accept(passed, reply=Reply("-", "chat", 1.0, passed.conversation))

    async def _take_over(self, query: CallbackQuery, conversation: str, *, give_back: bool) -> None:
        language = self._language(query.from_user, "")
        person = query.from_user.full_name
        if give_back:
            self._dispatcher.unmute(conversation)
            said = phrase("given_back", language)
        else:
            self._dispatcher.mute(conversation, person)
            said = phrase("taken_over", language, person=html.escaped(person))
        parts = conversation.split(":")
        told = Incoming(
            event=f"telegram:{self._bot.id}:callback:{query.id}",
            conversation=f"human:{conversation}",
            sender="operator",
            text="-",
            address={"chat": int(parts[1]), "thread": int(parts[2]) if len(parts) > 2 else None, "rows": []},
        )
        await self._dispatcher.accept(told, reply=Reply(said, "chat", 1.0, told.conversation, language=language))
        label, data = ("take_over", "take") if give_back else ("give_back", "give")
        button = InlineKeyboardButton(phrase(label, language), callback_data=f"{data}:{conversation}")
        markup = InlineKeyboardMarkup.from_button(button)
        self._beside(self._quietly(query.edit_message_reply_markup(markup)))

    async def _pressed(self, query: CallbackQuery) -> None:
        data = query.data or ""
        kind, _, rest = data.partition(":")
        language = self._language(query.from_user, "")
        said = ""
        message = query.message if isinstance(query.message, TelegramMessage) else None
        if message is None:
            said = words.TOO_OLD[language]
        elif kind in ("take", "give"):
            if self._config.human_chat and message.chat.id == self._human_chat:
                await self._take_over(query, rest, give_back=kind == "give")
        elif not self._users.allows(query.from_user.id, query.from_user.username):
            logger.info("telegram: user %d is not on adapters.telegram.allow_users", query.from_user.id)
        elif kind == "rate":
            rated = await rate(self._context.engine, data)
            said = phrase("thanks_for_rating" if rated else "too_late_to_rate", language)
        elif kind == "sources":
            said = await self._show_sources(query, message, rest, language)
        elif kind == "option":
            said = await self._choose(query, message, rest, language)
        elif kind == "lang" and rest in words.LANGUAGES:
            said = self._set_language(f"telegram:{query.from_user.id}", rest)
        elif kind == "human":
            incoming = self._from_button(query, message, words.WANTS_HUMAN[language])
            if self._config.human_chat:
                await self._call_human(incoming, language)
                await self._say(incoming, phrase("human_called", language))
            else:
                await self._dispatcher.accept(incoming)
        self._beside(self._quietly(query.answer(said[:200] or None)))

    def _from_button(self, query: CallbackQuery, message: TelegramMessage, text: str, event: str = "") -> Incoming:
        """What a pressed button says, as if the person had written it."""
        private = message.chat.type == Chat.PRIVATE
        thread = message.message_thread_id if message.is_topic_message else None
        chat = message.chat.id
        return Incoming(
            event=event or f"telegram:{self._bot.id}:callback:{query.id}",
            conversation=f"telegram:{chat}:{thread}" if thread is not None else f"telegram:{chat}",
            sender=f"telegram:{query.from_user.id}",
            text=text,
            language=cast("Language | None", self._inbox.noted(f"language:{query.from_user.id}")),
            tags=tuple(self._config.tags.get(str(chat), ())),
            address={
                "chat": chat,
                "thread": thread,
                "message": message.message_id,
                "private": private,
                "person": query.from_user.full_name,
                "reply_to": message.message_id,
            },
        )

    async def _stored(self, message: TelegramMessage, reply_id: str) -> dict[str, Any] | None:
        """A reply as it is stored, by the chat it was given in."""
        thread = message.message_thread_id if message.is_topic_message else None
        conversation = f"telegram:{message.chat.id}:{thread}" if thread is not None else f"telegram:{message.chat.id}"
        turns = await asyncio.to_thread(self._context.engine.store.history, conversation)
        return next((dict(turn.reply) for turn in turns if turn.id == reply_id and turn.reply), None)

    async def _show_sources(
        self, query: CallbackQuery, message: TelegramMessage, reply_id: str, language: Language
    ) -> str:
        stored = await self._stored(message, reply_id)
        if stored is None:
            return phrase("too_late_to_rate", language)
        text = sources_text([as_source(one) for one in stored["sources"]], language)
        asked = self._from_button(query, message, "-", f"telegram:{self._bot.id}:sources:{reply_id}")
        await self._say(asked, text)
        return ""

    async def _choose(self, query: CallbackQuery, message: TelegramMessage, rest: str, language: Language) -> str:
        number, _, reply_id = rest.partition(":")
        stored = await self._stored(message, reply_id)
        options = stored["options"] if stored else []
        if not number.isdigit() or int(number) >= len(options):
            return words.TOO_OLD[language]
        await self._dispatcher.accept(self._from_button(query, message, options[int(number)]))
        return ""

    def _asked_inline(self, query: InlineQuery) -> None:
        """One question at a time for each person: what they type next replaces it."""
        person = query.from_user
        if (earlier := self._inline.pop(person.id, None)) is not None:
            earlier.cancel()
        if not self._config.inline or not self._users.allows(person.id, person.username):
            return
        if len(query.query.strip()) < _INLINE_SHORTEST:
            self._beside(self._quietly(query.answer([], cache_time=0, is_personal=True)))
            return
        task = asyncio.create_task(self._answer_inline(query))
        self._inline[person.id] = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer_inline(self, query: InlineQuery) -> None:
        await asyncio.sleep(_INLINE_PAUSE_S)
        conversation = f"telegram:inline:{query.id}"
        engine = self._context.engine
        try:
            message = Message(query.query, conversation, f"telegram:{query.from_user.id}", "telegram")
            reply = await engine.answer(message)
            text = reply.text
            if reply.sources and reply.route == "answer":
                text += f"\n\n📄 *{place(reply.sources[0], reply.language)}*"
            article = InlineQueryResultArticle(
                id=reply.id,
                title=reply.text[:64],
                description=query.query[:128],
                input_message_content=InputTextMessageContent(
                    html.pieces(text)[0],
                    parse_mode=ParseMode.HTML,
                    link_preview_options=LinkPreviewOptions(is_disabled=True),
                ),
            )
            await query.answer([article], cache_time=0, is_personal=True)
        except BadRequest as error:
            logger.debug("telegram: an inline query could not be answered in time: %s", error)
        except (TelegramError, BotkitError) as error:
            logger.warning("telegram: an inline query could not be answered: %s", error)
        finally:
            self._inline.pop(query.from_user.id, None)
            with contextlib.suppress(BotkitError):
                await asyncio.to_thread(engine.store.delete, conversation=conversation)

    def _beside(self, call: Awaitable[None]) -> None:
        task = asyncio.ensure_future(call)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _quietly(self, call: Awaitable[Any]) -> None:
        try:
            await call
        except TelegramError as error:
            logger.debug("telegram: %s", error)


def _about(incoming: Incoming) -> str:
    return f"{incoming.conversation}|{incoming.address['chat']}|{incoming.address.get('thread') or ''}"


def _attachments(message: TelegramMessage) -> tuple[Attachment, ...]:
    document = message.document
    if document is None:
        return ()
    return (Attachment(document.file_name or document.file_unique_id, document.file_id, document.file_size or 0),)


def _is_content(message: TelegramMessage) -> bool:
    """Whether a person sent something, and it is no note of Telegram's about the chat."""
    return bool(
        message.photo or message.sticker or message.voice or message.video or message.video_note or message.audio
        or message.animation or message.location or message.contact or message.poll or message.dice
    )  # fmt: skip
