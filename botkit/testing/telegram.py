"""Telegram's Bot API on loopback (https://core.telegram.org/bots/api), as far as a bot meets it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from html import unescape
from typing import Any, Final, Literal

from aiohttp import ClientError, ClientSession, web

from botkit.testing.platform import Place, Shown

BOT_ID: Final = 7_000_000_001
USERNAME: Final = "botkit_test_bot"
GROUP: Final = -1_001_000_000_001
LONGEST: Final = 4096

_TAG: Final = re.compile(r"<(/?)([a-z]+)((?:\s+[a-z-]+(?:=\"[^\"<>]*\")?)*)\s*>")
_TAGS: Final = frozenset("b strong i em u ins s strike del span tg-spoiler a code pre blockquote tg-emoji".split())
_POSTING: Final = frozenset({"sendMessage", "editMessageText", "copyMessage", "forwardMessage"})


class _Refused(Exception):
    """An answer of the API with `ok` false."""

    def __init__(self, code: int, description: str, **parameters: Any) -> None:
        super().__init__(description)
        self.code, self.description, self.parameters = code, description, parameters


@dataclass
class Posted:
    """A message as it stands in a chat; `html` is what the bot sent."""

    chat: int
    id: int
    text: str
    sender: int
    thread: int | None = None
    reply_to: int | None = None
    html: str = ""
    keyboard: list[list[dict[str, Any]]] = field(default_factory=list)
    edits: int = 0
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Its id as the tests know it."""
        return f"{self.chat}:{self.id}"


class FakeTelegram:
    """A `Platform`: the Bot API's server side, with one group and a private chat for each person.

    `mode` is how updates are delivered; `drafts` whether `sendMessageDraft` works; `privacy` whether the group's talk among
    people is withheld from the bot, as Telegram does unless told otherwise.
    """

    adapter = "telegram"
    longest = LONGEST
    tells_deletions = False

    def __init__(
        self, mode: Literal["polling", "webhook"] = "polling", *, drafts: bool = True, privacy: bool = False
    ) -> None:
        self.mode, self.drafts, self.privacy = mode, drafts, privacy
        self.token = f"{BOT_ID}:test-token"
        self.secret = "a-secret"  # noqa: S105 - of a server that exists for a test
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.commands: dict[tuple[str, str], list[str]] = {}
        self.alerts: list[str] = []
        self.actions: list[tuple[int, str]] = []
        self.inline_answers: dict[str, list[dict[str, Any]]] = {}
        self.blocked: set[int] = set()
        self.lacking: set[str] = set()
        """Methods that this server does not have, as an older one of one's own."""
        self.waits = True
        """Whether getUpdates waits for news, as it is asked to."""
        self.files: dict[str, bytes] = {}
        self.lost_files = False
        self.refused: list[int] = []
        self.port = 0
        self._webhook: dict[str, Any] = {}
        self._webhook_port = _free_port()
        self._people: dict[str, int] = {}
        self._messages: dict[tuple[int, int], Posted] = {}
        self._drafts: dict[int, tuple[int, str]] = {}
        self._updates: list[dict[str, Any]] = []
        self._delivered: dict[str, dict[str, Any]] = {}
        self._next_update, self._next_message = 100, 10
        self._news = asyncio.Event()
        self._poll: asyncio.Task[Any] | None = None
        self._refusals: list[tuple[int, float]] = []
        self._transports: set[Any] = set()
        self._runner: web.AppRunner | None = None
        self._sender: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/bot{token}/{method}", self._handle)
        app.router.add_get("/file/bot{token}/{path:.*}", self._download)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        self.port = self._runner.addresses[0][1]
        if self.mode == "webhook":
            self._sender = asyncio.create_task(self._deliver())

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
        if self._runner is not None:
            await self.disconnect()
            await self._runner.cleanup()

    def section(self) -> dict[str, Any]:
        """The adapter's section of the configuration that leads it here."""
        section = {"mode": self.mode, "token": self.token, "api_url": f"http://127.0.0.1:{self.port}"}
        if self.mode == "webhook":
            section |= {"host": "127.0.0.1", "port": self._webhook_port, "secret_token": self.secret}  # type: ignore[dict-item]
        return section

    async def ready(self) -> None:
        """Return when the bot polls, or its webhook is set and answers."""
        while True:
            if self.mode == "polling" and self._poll is not None:
                return
            if self.mode == "webhook" and self._webhook:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self._webhook_port)
                    writer.close()
                    return
            await asyncio.sleep(0.01)

    def person_id(self, name: str) -> int:
        """The id of a person, and of the private chat with them."""
        return self._people.setdefault(name, 5_000_000_000 + len(self._people))

    async def say(
        self,
        text: str,
        *,
        person: str = "ada",
        place: Place = "direct",
        mention: bool = False,
        reply_to: str = "",
        topic: int | None = None,
    ) -> str:
        """A person writes; `topic` is the id of a topic of the group."""
        if mention:
            text = f"@{USERNAME} {text}"
        return self._write(text, person, place, reply_to, topic)

    async def send_document(
        self, name: str, content: bytes, *, person: str = "ada", caption: str = "", size: int | None = None
    ) -> str:
        """A person sends a file in the private chat."""
        file_id = f"file-{len(self.files)}"
        self.files[file_id] = content
        document = {"file_id": file_id, "file_unique_id": file_id, "file_name": name, "mime_type": "text/plain"}
        document["file_size"] = len(content) if size is None else size  # type: ignore[assignment]
        extra: dict[str, Any] = {"document": document} | ({"caption": caption} if caption else {})
        return self._write("", person, "direct", "", None, extra)

    async def send_sticker(self, *, person: str = "ada") -> str:
        """A person sends a sticker: a message without text."""
        sticker = {"file_id": "s", "file_unique_id": "s", "type": "regular", "width": 9, "height": 9}
        return self._write(
            "", person, "direct", "", None, {"sticker": sticker | {"is_animated": False, "is_video": False}}
        )

    async def press(self, message: str, label: str, *, person: str = "ada") -> str:
        """A person presses the button under a message whose label begins so; the id of the callback query."""
        posted = self._at(message)
        button = next(one for row in posted.keyboard for one in row if one["text"].startswith(label))
        id = f"callback-{self._next_update}"
        self._update(
            "callback_query",
            {
                "id": id,
                "from": self._user(person),
                "chat_instance": "1",
                "data": button["callback_data"],
                "message": self._json(posted),
            },
        )
        return id

    async def inline(self, query: str, *, person: str = "ada") -> str:
        """A person types an inline query; its id."""
        id = f"inline-{self._next_update}"
        self._update("inline_query", {"id": id, "from": self._user(person), "query": query, "offset": ""})
        return id

    async def edit(self, message: str, text: str) -> None:
        """Its author edits a message."""
        posted = self._at(message)
        before = f"@{USERNAME} " if posted.text.startswith(f"@{USERNAME} ") else ""
        posted.text = before + text
        self._update("edited_message", self._json(posted) | {"edit_date": int(time.time())})

    async def delete(self, message: str) -> None:
        """Its author deletes a message; Telegram does not tell bots."""
        chat, id = map(int, message.split(":"))
        self._messages.pop((chat, id), None)

    async def deliver_again(self, message: str) -> None:
        """Deliver a message once more, under the same update id."""
        self._updates.append(self._delivered[message])
        self._news.set()

    async def disconnect(self) -> None:
        """Cut the connections to the bot."""
        for transport in list(self._transports):
            transport.abort()
        self._transports.clear()
        if self._poll is not None:
            self._poll = None

    def limit_rate(self, times: int, retry_after_s: float) -> None:
        """Refuse the next calls that post or edit with HTTP 429."""
        self._refusals += [(429, retry_after_s)] * times

    def break_down(self, times: int) -> None:
        """Answer the next calls that post or edit with HTTP 500."""
        self._refusals += [(500, 0.0)] * times

    def revoke(self) -> None:
        """The owner makes a new token: the old one no longer works."""
        self.token = f"{BOT_ID}:another-token"

    def shown(self, place: Place | None = None, *, person: str = "") -> list[Shown]:
        """The bot's messages, drafts at the end."""
        found = []
        wanted = {self.person_id(person)} if person else None
        for one in self._messages.values():
            where: Place = "channel" if one.chat < 0 else "direct"
            if one.sender != BOT_ID or (place and where != place) or (wanted and one.chat not in wanted):
                continue
            buttons = tuple(button["text"] for row in one.keyboard for button in row)
            thread = f"{one.chat}:{one.reply_to}" if one.reply_to else ""
            found.append(Shown(one.key, where, one.text, thread, False, buttons, one.edits))
        for chat, (id, text) in self._drafts.items():
            if place != "channel" and (not wanted or chat in wanted):
                found.append(Shown(f"{chat}:draft-{id}", "direct", text, streaming=True))
        return found

    def message(self, key: str) -> Posted:
        """A message as it stands in its chat."""
        return self._at(key)

    def in_chat(self, chat: int) -> list[Posted]:
        """All messages of a chat."""
        return [one for one in self._messages.values() if one.chat == chat]

    # ------------------------------------------------------------------------------------ what people do

    def _write(
        self,
        text: str,
        person: str,
        place: Place,
        reply_to: str,
        topic: int | None,
        extra: dict[str, Any] | None = None,
    ) -> str:
        sender = self.person_id(person)
        chat = GROUP if place == "channel" else sender
        replied = int(reply_to.split(":")[1]) if reply_to else None
        posted = Posted(chat, self._new_id(), text, sender, topic, replied, extra=extra or {})
        self._messages[(chat, posted.id)] = posted
        told = self._json(posted)
        if not (chat < 0 and self.privacy and not self._concerns_bot(posted)):
            self._update("message", told)
            self._delivered[posted.key] = self._updates[-1]
        return posted.key

    def _concerns_bot(self, posted: Posted) -> bool:
        replied = self._messages.get((posted.chat, posted.reply_to or 0))
        return (
            posted.text.startswith("/")
            or f"@{USERNAME}" in posted.text
            or (replied is not None and replied.sender == BOT_ID)
        )

    def _update(self, kind: str, content: Mapping[str, Any]) -> None:
        self._updates.append({"update_id": self._next_update, kind: dict(content)})
        self._next_update += 1
        self._news.set()

    def _new_id(self) -> int:
        self._next_message += 1
        return self._next_message

    def _at(self, key: str) -> Posted:
        chat, id = map(int, key.split(":"))
        return self._messages[(chat, id)]

    def _user(self, person: str | int) -> dict[str, Any]:
        if person == BOT_ID:
            return {"id": BOT_ID, "is_bot": True, "first_name": "Botkit", "username": USERNAME}
        name = person if isinstance(person, str) else next(n for n, id in self._people.items() if id == person)
        return {"id": self.person_id(name), "is_bot": False, "first_name": name.title(), "username": name}

    def _chat(self, chat: int) -> dict[str, Any]:
        if chat < 0:
            return {"id": chat, "type": "supergroup", "title": "The office", "is_forum": False}
        return {"id": chat, "type": "private", "first_name": self._user(chat)["first_name"]}

    def _json(self, posted: Posted, *, shallow: bool = False) -> dict[str, Any]:
        told: dict[str, Any] = {
            "message_id": posted.id,
            "date": int(time.time()),
            "chat": self._chat(posted.chat),
            "from": self._user(posted.sender),
            **posted.extra,
        }
        if posted.text:
            told["text"] = posted.text
            told["entities"] = list(_entities(posted.text))
        if posted.thread is not None:
            told |= {"message_thread_id": posted.thread, "is_topic_message": True}
        replied = self._messages.get((posted.chat, posted.reply_to or 0))
        if replied is not None and not shallow:
            told["reply_to_message"] = self._json(replied, shallow=True)
        if posted.keyboard:
            told["reply_markup"] = {"inline_keyboard": posted.keyboard}
        return told

    # ------------------------------------------------------------------------------------ delivery to a webhook

    async def _deliver(self) -> None:
        """Post the updates to the webhook, in order, each until it is taken."""
        async with ClientSession() as session:
            while True:
                if not self._updates or not self._webhook:
                    self._news.clear()
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(self._news.wait(), 0.05)
                    continue
                headers = {"X-Telegram-Bot-Api-Secret-Token": self._webhook["secret_token"]}
                try:
                    async with session.post(self._webhook["url"], json=self._updates[0], headers=headers) as answer:
                        taken = answer.status < 300
                        if not taken:
                            self.refused.append(answer.status)
                except (ClientError, OSError):
                    taken = False
                if taken:
                    self._updates.pop(0)
                else:
                    await asyncio.sleep(0.05)

    async def call_webhook(self, secret: str | None, body: str = "{}") -> int:
        """Call the bot's webhook as a stranger might; the HTTP status it answers with."""
        headers = {"Content-Type": "application/json"}
        if secret is not None:
            headers["X-Telegram-Bot-Api-Secret-Token"] = secret
        async with ClientSession() as session, session.post(self._webhook["url"], data=body, headers=headers) as answer:
            return answer.status

    # ------------------------------------------------------------------------------------ the API

    async def _handle(self, request: web.Request) -> web.Response:
        self._transports.add(request.transport)
        method = request.match_info["method"]
        try:
            if request.match_info["token"] != self.token:
                raise _Refused(401, "Unauthorized")
            arguments = await _arguments(request)
            self.calls.append((method, arguments))
            if method in _POSTING and self._refusals:
                code, wait = self._refusals.pop(0)
                if code == 429:
                    raise _Refused(429, f"Too Many Requests: retry after {wait:g}", retry_after=wait)
                raise _Refused(code, "Internal Server Error")
            handler: Callable[[dict[str, Any]], Awaitable[Any]] | None = getattr(self, f"_do_{_snake(method)}", None)
            if handler is None or method in self.lacking:
                raise _Refused(404, "Not Found: method not found")
            result = await handler(arguments)
        except _Refused as refused:
            told: dict[str, Any] = {"ok": False, "error_code": refused.code, "description": refused.description}
            if refused.parameters:
                told["parameters"] = refused.parameters
            return web.json_response(told, status=refused.code)
        return web.json_response({"ok": True, "result": result})

    async def _download(self, request: web.Request) -> web.Response:
        content = self.files.get(request.match_info["path"].removeprefix("documents/"))
        if request.match_info["token"] != self.token or content is None or self.lost_files:
            return web.Response(status=404)
        return web.Response(body=content)

    async def _do_get_me(self, _: dict[str, Any]) -> Any:
        return self._user(BOT_ID) | {
            "can_join_groups": True,
            "can_read_all_group_messages": not self.privacy,
            "supports_inline_queries": True,
        }

    async def _do_get_updates(self, given: dict[str, Any]) -> Any:
        if self._webhook:
            raise _Refused(409, "Conflict: can't use getUpdates method while webhook is active")
        if self._poll is not None:
            self._poll.cancel()
        me = asyncio.current_task()
        self._poll = me
        try:
            if "offset" in given:
                self._updates = [one for one in self._updates if one["update_id"] >= int(given["offset"])]
            end = time.monotonic() + float(given.get("timeout", 0) if self.waits else 0)
            while not self._updates and time.monotonic() < end:
                self._news.clear()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._news.wait(), max(0.0, end - time.monotonic()))
            return self._updates[: int(given.get("limit", 100))]
        except asyncio.CancelledError:
            if self._poll is not me and self._poll is not None:
                raise _Refused(409, "Conflict: terminated by other getUpdates request") from None
            raise
        finally:
            if self._poll is me and not self._updates:
                self._poll = None

    async def _do_set_webhook(self, given: dict[str, Any]) -> Any:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", str(given.get("secret_token", "x"))):
            raise _Refused(400, "Bad Request: secret token contains unallowed characters")
        self._webhook = {"url": given.get("url", ""), "secret_token": given.get("secret_token", "")}
        if not self._webhook["url"]:
            self._webhook = {}
        self._news.set()
        return True

    async def _do_delete_webhook(self, given: dict[str, Any]) -> Any:
        self._webhook = {}
        if given.get("drop_pending_updates"):
            self._updates.clear()
        return True

    async def _do_get_webhook_info(self, _: dict[str, Any]) -> Any:
        return {
            "url": self._webhook.get("url", ""),
            "has_custom_certificate": False,
            "pending_update_count": len(self._updates),
        }

    async def _do_set_my_commands(self, given: dict[str, Any]) -> Any:
        scope = (given.get("scope") or {}).get("type", "default")
        names = [one["command"] for one in given["commands"]]
        if any(not re.fullmatch(r"[a-z0-9_]{1,32}", one) for one in names):
            raise _Refused(400, "Bad Request: BOT_COMMAND_INVALID")
        self.commands[(scope, given.get("language_code", ""))] = names
        return True

    async def _do_get_chat(self, given: dict[str, Any]) -> Any:
        chat = self._known(given)
        kinds = ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription", "gifts_from_channels")
        gifts = dict.fromkeys(kinds, False)
        return self._chat(chat) | {"accent_color_id": 0, "max_reaction_count": 11, "accepted_gift_types": gifts}

    async def _do_send_message(self, given: dict[str, Any]) -> Any:
        chat = self._known(given)
        text = _parsed(given)
        reply = given.get("reply_parameters") or {}
        if reply and (chat, reply["message_id"]) not in self._messages:
            if not reply.get("allow_sending_without_reply"):
                raise _Refused(400, "Bad Request: message to be replied not found")
            reply = {}
        thread = given.get("message_thread_id")
        posted = Posted(
            chat, self._new_id(), text, BOT_ID, int(thread) if thread else None, reply.get("message_id"),
            str(given["text"]), _keyboard(given),
        )  # fmt: skip
        self._messages[(chat, posted.id)] = posted
        self._drafts.pop(chat, None)
        return self._json(posted)

    async def _do_send_message_draft(self, given: dict[str, Any]) -> Any:
        chat = self._known(given)
        if not self.drafts or chat < 0:
            raise _Refused(400, "Bad Request: TEXTDRAFT_PEER_INVALID")
        if not int(given["draft_id"]):
            raise _Refused(400, "Bad Request: draft_id must be non-zero")
        text = _parsed(given) if given.get("text") else ""
        self._drafts[chat] = (int(given["draft_id"]), text)
        return True

    async def _do_edit_message_text(self, given: dict[str, Any]) -> Any:
        posted = self._own(given)
        text, keyboard = _parsed(given), _keyboard(given)
        if str(given["text"]) == posted.html and keyboard == posted.keyboard:
            raise _Refused(
                400,
                "Bad Request: message is not modified: specified new message content and reply markup are exactly the same",
            )
        posted.text, posted.html, posted.keyboard = text, str(given["text"]), keyboard
        posted.edits += 1
        return self._json(posted)

    async def _do_edit_message_reply_markup(self, given: dict[str, Any]) -> Any:
        posted = self._own(given)
        keyboard = _keyboard(given)
        if keyboard == posted.keyboard:
            raise _Refused(400, "Bad Request: message is not modified")
        posted.keyboard = keyboard
        return self._json(posted)

    async def _do_delete_message(self, given: dict[str, Any]) -> Any:
        posted = self._own(given)
        del self._messages[(posted.chat, posted.id)]
        return True

    async def _do_copy_message(self, given: dict[str, Any]) -> Any:
        chat = self._known(given)
        source = self._messages.get((int(given["from_chat_id"]), int(given["message_id"])))
        if source is None:
            raise _Refused(400, "Bad Request: message to copy not found")
        posted = Posted(chat, self._new_id(), source.text, BOT_ID, extra=dict(source.extra))
        self._messages[(chat, posted.id)] = posted
        return {"message_id": posted.id}

    async def _do_forward_message(self, given: dict[str, Any]) -> Any:
        copied = await self._do_copy_message(given)
        return self._json(self._messages[(self._known(given), copied["message_id"])])

    async def _do_send_chat_action(self, given: dict[str, Any]) -> Any:
        self.actions.append((self._known(given), str(given["action"])))
        return True

    async def _do_answer_callback_query(self, given: dict[str, Any]) -> Any:
        if len(str(given.get("text", ""))) > 200:
            raise _Refused(400, "Bad Request: MESSAGE_TOO_LONG")
        self.alerts.append(str(given.get("text", "")))
        return True

    async def _do_answer_inline_query(self, given: dict[str, Any]) -> Any:
        results = given["results"]
        for one in results:
            if not 1 <= len(str(one["id"]).encode()) <= 64 or not one.get("title"):
                raise _Refused(400, "Bad Request: RESULT_ID_INVALID")
            _parsed({"text": one["input_message_content"]["message_text"], **one["input_message_content"]})
        self.inline_answers[given["inline_query_id"]] = results
        return True

    async def _do_get_file(self, given: dict[str, Any]) -> Any:
        id = str(given["file_id"])
        if id not in self.files:
            raise _Refused(400, "Bad Request: invalid file_id")
        return {"file_id": id, "file_unique_id": id, "file_path": f"documents/{id}", "file_size": len(self.files[id])}

    def _known(self, given: Mapping[str, Any]) -> int:
        chat = int(given["chat_id"])
        if chat in self.blocked:
            raise _Refused(403, "Forbidden: bot was blocked by the user")
        if chat != GROUP and chat not in self._people.values():
            raise _Refused(400, "Bad Request: chat not found")
        return chat

    def _own(self, given: Mapping[str, Any]) -> Posted:
        posted = self._messages.get((self._known(given), int(given["message_id"])))
        if posted is None or posted.sender != BOT_ID:
            raise _Refused(400, "Bad Request: message to edit not found")
        return posted


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda match: f"_{match[0].lower()}", name)


async def _arguments(request: web.Request) -> dict[str, Any]:
    """A call's arguments, from a form (values of structure are JSON there), a query or a JSON body."""
    given: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        return given | dict(await request.json())
    form = await request.post()
    structured = ("reply_markup", "reply_parameters", "commands", "scope", "results", "allowed_updates", "entities")
    for name, value in form.items():
        given[name] = json.loads(value) if name in structured and isinstance(value, str) else value
    return given


def _keyboard(given: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    rows: list[list[dict[str, Any]]] = (given.get("reply_markup") or {}).get("inline_keyboard") or []
    for row in rows:
        for button in row:
            if not str(button.get("text", "")).strip():
                raise _Refused(400, "Bad Request: text buttons are unallowed in the inline keyboard")
            if "callback_data" in button and not 1 <= len(str(button["callback_data"]).encode()) <= 64:
                raise _Refused(400, "Bad Request: BUTTON_DATA_INVALID")
    return rows


def _parsed(given: Mapping[str, Any]) -> str:
    """What is shown of a text; raises as the API does where its markup is wrong, or it is empty or too long."""
    text = str(given.get("text", ""))
    if str(given.get("parse_mode", "")).upper() == "HTML":
        text = read_html(text)
    text = text.strip()
    if not text:
        raise _Refused(400, "Bad Request: message text is empty")
    if len(text.encode("utf-16-le")) // 2 > LONGEST:
        raise _Refused(400, "Bad Request: message is too long")
    return text


def read_html(source: str) -> str:
    """The text of Telegram's HTML; raises where the API would refuse it."""
    out: list[str] = []
    open_tags: list[str] = []
    position = 0
    while position < len(source):
        if source[position] != "<":
            end = source.find("<", position)
            end = len(source) if end < 0 else end
            out.append(unescape(source[position:end]))
            position = end
            continue
        match = _TAG.match(source, position)
        if match is None or match[2] not in _TAGS:
            raise _Refused(400, f"Bad Request: can't parse entities: Unsupported start tag at byte offset {position}")
        if match[1]:
            if not open_tags or open_tags.pop() != match[2]:
                raise _Refused(400, f"Bad Request: can't parse entities: Unexpected end tag at byte offset {position}")
        else:
            inside = open_tags and open_tags[-1]
            if ("code" in open_tags or "pre" in open_tags) and not (inside == "pre" and match[2] == "code"):
                raise _Refused(400, "Bad Request: can't parse entities: nested in code")
            if match[2] in open_tags and match[2] in {"a", "blockquote"}:
                raise _Refused(400, f"Bad Request: can't parse entities: nested {match[2]}")
            open_tags.append(match[2])
        position = match.end()
    if open_tags:
        raise _Refused(400, f"Bad Request: can't parse entities: Can't find end tag corresponding to {open_tags[-1]}")
    return "".join(out)


def _entities(text: str) -> Any:
    """What Telegram's clients mark in a person's text: commands and mentions, in UTF-16 units."""
    for match in re.finditer(r"(?<!\S)/[a-zA-Z0-9_]+(?:@\w+)?|@\w{5,}", text):
        yield {
            "type": "bot_command" if match[0].startswith("/") else "mention",
            "offset": len(text[: match.start()].encode("utf-16-le")) // 2,
            "length": len(match[0].encode("utf-16-le")) // 2,
        }


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
