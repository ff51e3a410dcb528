"""What comes from Slack, as messages to the engine: who is meant, which thread, commands, shortcuts, buttons."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import aiohttp
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.errors import SlackApiError

from botkit.delivery import AllowList, Attachment, Delivery, Dispatcher, Incoming, rate
from botkit.errors import AdapterError
from botkit.language import detect
from botkit.messages import Language, Reply, new_id
from botkit.phrases import phrase
from botkit_slack.errors import check
from botkit_slack.outlet import Context
from botkit_slack.text import mentioned, mrkdwn, names, readable

logger = logging.getLogger(__name__)

COMMAND: Final = "/ask"
SHORTCUT: Final = "answer_this"
EVENTS: Final = ("message", "app_mention", "assistant_thread_started", "assistant_thread_context_changed")

_SUBTYPES: Final = frozenset({None, "file_share", "thread_broadcast", "me_message"})
_TRANSCRIPT_TURNS: Final = 10


class Receiver:
    """Registers what the app listens to. A listener returns, and Slack is told "OK", once what it got is on disk."""

    def __init__(self, context: Context, dispatcher: Dispatcher) -> None:
        self._context, self._dispatcher = context, dispatcher
        self._config, self._inbox = context.config, context.inbox
        self._workspaces = AllowList.of(self._config.allow_workspaces)
        self._channels = AllowList.of(self._config.allow_channels)
        self._users = AllowList.of(self._config.allow_users)
        self._tasks: set[asyncio.Task[None]] = set()

    def register(self, app: AsyncApp) -> None:
        """Attach the listeners."""
        app.event("message")(self._on_message)
        app.event("app_mention")(self._on_message)
        app.event("assistant_thread_started")(self._on_assistant)
        app.event("assistant_thread_context_changed")(_on_nothing)
        app.command(COMMAND)(self._on_command)
        app.shortcut(SHORTCUT)(self._on_shortcut)
        app.action(re.compile(".*"))(self._on_action)

    async def close(self) -> None:
        """Finish what goes on beside the conversations."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _on_message(self, body: dict[str, Any], event: dict[str, Any], context: Mapping[str, Any]) -> None:
        team, bot_user = self._team(body, event), _bot_user(body, event, context)
        subtype = event.get("subtype")
        if subtype == "message_changed":
            await self._edited(team, event, bot_user)
        elif subtype == "message_deleted":
            self._dispatcher.deleted(f"{team}:{event['channel']}:{event['deleted_ts']}")
        elif subtype in _SUBTYPES and event.get("user") and not event.get("bot_id"):
            if await self._from_operator(team, event, bot_user):
                return
            incoming = self._incoming(team, event, bot_user)
            if incoming is not None:
                await self._accept(incoming)

    async def _accept(self, incoming: Incoming) -> None:
        address = incoming.address
        if not incoming.text and not incoming.attachments:
            await self._say(incoming, phrase("welcome", self._config.language))
            return
        if not address["direct"]:
            self._inbox.note(_thread_key(address), "1")
        new = await self._dispatcher.accept(incoming)
        if new and address["direct"] and self._config.human_channel and self._dispatcher.muted(incoming.conversation):
            thread = self._inbox.noted(f"announced:{incoming.conversation}")
            if thread is not None:
                passed = f"👤 <@{address['user']}>: {_with_files(mrkdwn(incoming.text), incoming.attachments)}"
                await self._pass_on(incoming, self._config.human_channel, thread, passed)

    async def _edited(self, team: str, event: dict[str, Any], bot_user: str) -> None:
        """Answered as it now reads where its answer has not begun; answered at all where it only now names the bot."""
        message, before = event["message"], event.get("previous_message") or {}
        if message.get("subtype") == "tombstone":  # deleted, with replies below
            self._dispatcher.deleted(f"{team}:{event['channel']}:{message['ts']}")
            return
        if message.get("bot_id") or not message.get("user") or message.get("text") == before.get("text"):
            return
        told = {**message, "channel": event["channel"], "channel_type": event.get("channel_type")}
        incoming = self._incoming(team, told, bot_user)
        if incoming is None or self._dispatcher.edited(incoming.origin, incoming.text):
            return
        if names(message.get("text") or "", bot_user) and not names(before.get("text") or "", bot_user):
            await self._accept(incoming)

    def _incoming(self, team: str, event: Mapping[str, Any], bot_user: str) -> Incoming | None:
        """The message as the engine gets it; None where it is not for the bot, or not from somebody who may ask."""
        channel, ts, user = str(event["channel"]), str(event["ts"]), str(event["user"])
        direct = event.get("channel_type") == "im" or channel.startswith("D")
        thread = str(event.get("thread_ts") or "")
        text = str(event.get("text") or "")
        if not direct:
            ours = thread and self._inbox.noted(_thread_key({"team": team, "channel": channel, "thread": thread}))
            if not ours and event.get("type") != "app_mention" and not names(text, bot_user):
                return None
            thread = thread or ts
        if not self._allowed(team, channel if not direct else "", user):
            return None
        return Incoming(
            event=f"slack:{team}:{channel}:{ts}",
            origin=f"{team}:{channel}:{ts}",
            conversation=_conversation(team, channel, thread),
            sender=f"slack:{team}:{user}",
            text=readable(text, bot_user),
            tags=tuple(self._config.tags.get(channel, ())),
            attachments=_files(event),
            address={
                "team": team,
                "channel": channel,
                "thread": thread,
                "ts": ts,
                "user": user,
                "direct": direct,
                "assistant": direct and bool(thread),
            },
        )

    def _allowed(self, team: str, channel: str, user: str) -> bool:
        if (
            self._workspaces.allows(team)
            and self._users.allows(user)
            and (not channel or self._channels.allows(channel))
        ):
            return True
        logger.info("slack: %s in %s of %s is not on adapters.slack.allow_…", user, channel or "a private chat", team)
        return False

    async def _on_assistant(self, body: dict[str, Any], event: dict[str, Any]) -> None:
        """Somebody opens the Assistant: a greeting and questions to begin with."""
        thread = event["assistant_thread"]
        team, channel, ts = self._team(body, event), str(thread["channel_id"]), str(thread["thread_ts"])
        if not self._allowed(team, "", str(thread["user_id"])):
            return
        opened = Incoming(
            event=f"slack:{team}:{channel}:{ts}:assistant",
            conversation=_conversation(team, channel, ts),
            sender=f"slack:{team}:{thread['user_id']}",
            text="-",
            language=self._config.language,
            address={
                "team": team,
                "channel": channel,
                "thread": ts,
                "ts": ts,
                "user": str(thread["user_id"]),
                "prompts": True,
            },
        )
        await self._say(opened, phrase("welcome", self._config.language))

    async def _on_command(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """`/ask question`: only the person who asks sees the answer."""
        team, channel, user = self._team(body), str(body["channel_id"]), str(body["user_id"])
        question = readable(str(body.get("text") or ""), "")
        if self._allowed(team, "" if channel.startswith("D") else channel, user):
            asked = Incoming(
                event=f"slack:{team}:command:{body.get('trigger_id') or new_id()}",
                conversation=f"slack:{team}:{channel}:ask:{user}",
                sender=f"slack:{team}:{user}",
                text=question,
                tags=tuple(self._config.tags.get(channel, ())),
                address={
                    "team": team,
                    "channel": channel,
                    "thread": "",
                    "ts": "",
                    "user": user,
                    "direct": False,
                    "response_url": str(body["response_url"]),
                },
            )
            if question:
                await self._dispatcher.accept(asked)
            else:
                await self._say(asked, phrase("ask_what", self._config.language, command=COMMAND))
        await ack()

    async def _on_shortcut(self, ack: AsyncAck, body: dict[str, Any], context: Mapping[str, Any]) -> None:
        """ "Answer this" on somebody's message: the answer stands in its thread."""
        message, team, channel = body["message"], self._team(body), str(body["channel"]["id"])
        user = str(body["user"]["id"])
        direct = channel.startswith("D")
        if self._allowed(team, "" if direct else channel, user):
            ts = str(message["ts"])
            asked = Incoming(
                event=f"slack:{team}:{channel}:{ts}:shortcut:{body.get('trigger_id') or new_id()}",
                conversation=_conversation(team, channel, str(message.get("thread_ts") or ts)),
                sender=f"slack:{team}:{user}",
                text=readable(str(message.get("text") or ""), _bot_user(body, {}, context)),
                tags=tuple(self._config.tags.get(channel, ())),
                address={
                    "team": team,
                    "channel": channel,
                    "thread": str(message.get("thread_ts") or ts),
                    "ts": ts,
                    "user": user,
                    "direct": direct,
                    **({"else_respond": str(body["response_url"])} if body.get("response_url") else {}),
                },
            )
            await self._accept(asked)
        await ack()

    async def _on_action(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """A button."""
        action, team = body["actions"][0], self._team(body)
        kind = str(action["action_id"]).partition(":")[0]
        value, user = str(action.get("value") or ""), str(body["user"]["id"])
        channel = str(body.get("channel", {}).get("id", ""))
        if kind in ("take", "give"):
            if channel == self._config.human_channel:
                await self._take_over(body, value, give_back=kind == "give")
        elif not self._allowed(team, "" if channel.startswith("D") else channel, user):
            pass
        elif kind == "rate":
            rated = await rate(self._context.engine, value)
            said = phrase("thanks_for_rating" if rated else "too_late_to_rate", _language(body))
            self._beside(self._whisper(body, said))
        elif kind == "option":
            await self._dispatcher.accept(self._pressed(body, value))
        elif kind == "human":
            language: Language = "zh" if value == "zh" else "en"
            pressed = self._pressed(body, phrase("suggestion_3", language))
            if self._config.human_channel:
                await self._call_human(pressed, language)
                await self._say(pressed, phrase("human_called", language))
            else:
                await self._dispatcher.accept(pressed)
        await ack()

    def _pressed(self, body: Mapping[str, Any], text: str) -> Incoming:
        """What a pressed button says, as if the person had written it."""
        team, channel, user = self._team(body), str(body["channel"]["id"]), str(body["user"]["id"])
        message, container = body.get("message") or {}, body["container"]
        direct = channel.startswith("D")
        ts = str(container["message_ts"])
        thread = str(message.get("thread_ts") or container.get("thread_ts") or "")
        hidden = bool(container.get("is_ephemeral"))
        return Incoming(
            event=f"slack:{team}:{channel}:{ts}:action:{body['actions'][0]['action_ts']}",
            conversation=f"slack:{team}:{channel}:ask:{user}" if hidden else _conversation(team, channel, thread),
            sender=f"slack:{team}:{user}",
            text=text,
            tags=tuple(self._config.tags.get(channel, ())),
            address={
                "team": team,
                "channel": channel,
                "thread": thread,
                "ts": ts,
                "user": user,
                "direct": direct,
                **({"response_url": str(body["response_url"])} if hidden else {}),
            },
        )

    async def _say(self, incoming: Incoming, text: str) -> None:
        """Deliver the bot's own words in answer to something."""
        answered = replace(
            incoming, text=incoming.text or "-", attachments=(), address={**incoming.address, "bare": True}
        )
        reply = Reply(text, "chat", 1.0, incoming.conversation, answer=text, language=detect(text))
        await self._dispatcher.accept(answered, reply=reply)

    async def call_human_for(self, delivery: Delivery, language: Language) -> None:
        """The engine hands a conversation over."""
        await self._call_human(delivery.incoming, language)

    async def _call_human(self, incoming: Incoming, language: Language) -> None:
        """Announce a person in the channel for it, with the last turns, a link and a button to take over."""
        history = await asyncio.to_thread(self._context.engine.store.history, incoming.conversation, _TRANSCRIPT_TURNS)
        address = incoming.address
        person = f"<@{address['user']}>"
        lines = [
            f"> {person if turn.role == 'user' else '🤖'}: {mrkdwn(' '.join(turn.text.split()))}" for turn in history
        ]
        text = "\n".join([phrase("human_wanted", language, person=person), *lines])
        taken: dict[str, Any] = {
            "take": incoming.conversation,
            "permalink": [address["channel"], address.get("thread") or address.get("ts") or ""],
            "about": f"{incoming.conversation}|{address['channel']}|{address.get('thread') or ''}",
        }
        if "response_url" in address:  # only the person sees what is said there: nobody could take it over
            taken = {"bare": True}
        announced = Incoming(
            event=f"human:{incoming.event}",
            conversation=f"human:{incoming.conversation}",
            sender=incoming.sender,
            text="-",
            address={
                "team": address["team"],
                "channel": self._config.human_channel,
                "thread": "",
                "user": address["user"],
                "own": True,
                **taken,
            },
        )
        await self._dispatcher.accept(
            announced, reply=Reply(text, "chat", 1.0, announced.conversation, language=language)
        )

    async def _from_operator(self, team: str, event: Mapping[str, Any], bot_user: str) -> bool:
        """In the thread of an announcement, of somebody's private chat that a human has taken over: it goes there."""
        thread = event.get("thread_ts")
        if not self._config.human_channel or event["channel"] != self._config.human_channel or not thread:
            return False
        about = self._inbox.noted(f"about:{team}:{event['channel']}:{thread}")
        if about is None:
            return False
        conversation, channel, where = about.split("|")
        if channel.startswith("D") and self._dispatcher.muted(conversation):
            operator = Incoming(
                event=f"slack:{team}:{event['channel']}:{event['ts']}",
                conversation=conversation,
                sender="operator",
                text="-",
                address={"team": team, "user": str(event["user"])},
            )
            said = mrkdwn(readable(str(event.get("text") or ""), bot_user))
            await self._pass_on(operator, channel, where, f"👤 <@{event['user']}>: {_with_files(said, _files(event))}")
        return True

    async def _pass_on(self, incoming: Incoming, channel: str, thread: str, text: str) -> None:
        passed = Incoming(
            event=f"pass:{incoming.event}",
            conversation=f"human:{incoming.conversation}",
            sender=incoming.sender,
            text="-",
            address={
                "team": incoming.address["team"],
                "channel": channel,
                "thread": thread,
                "user": incoming.address["user"],
                "own": True,
                "bare": True,
            },
        )
        await self._dispatcher.accept(passed, reply=Reply(text, "chat", 1.0, passed.conversation))

    async def _take_over(self, body: Mapping[str, Any], conversation: str, *, give_back: bool) -> None:
        team, user = self._team(body), str(body["user"]["id"])
        language = _language(body)
        ts = str(body["container"]["message_ts"])
        about = self._inbox.noted(f"about:{team}:{self._config.human_channel}:{ts}")
        if give_back:
            self._dispatcher.unmute(conversation)
            said = phrase("given_back", language)
        else:
            self._dispatcher.mute(conversation, user)
            said = phrase("taken_over", language, person=f"<@{user}>")
        if about is not None:
            _, channel, thread = about.split("|")
            told = Incoming(
                event=f"slack:{team}:{ts}:action:{body['actions'][0]['action_ts']}",
                conversation=f"human:{conversation}",
                sender="operator",
                text="-",
                address={"team": team, "channel": channel, "thread": thread, "user": user, "own": True, "bare": True},
            )
            await self._dispatcher.accept(told, reply=Reply(said, "chat", 1.0, told.conversation, language=language))
        self._beside(self._turn_button(body, "take" if give_back else "give", language))

    async def _turn_button(self, body: Mapping[str, Any], kind: str, language: Language) -> None:
        """The button of an announcement says what it does next."""
        label = phrase("take_over" if kind == "take" else "give_back", language)
        blocks = [dict(block) for block in body["message"].get("blocks", [])]
        for block in blocks:
            if block["type"] == "actions":
                block["elements"] = [
                    {**one, "action_id": kind, "text": {"type": "plain_text", "text": label, "emoji": True}}
                    if one["action_id"] in ("take", "give")
                    else one
                    for one in block["elements"]
                ]
        client = await self._context.client(self._team(body))
        await client.chat_update(
            channel=self._config.human_channel,
            ts=str(body["container"]["message_ts"]),
            text=str(body["message"].get("text") or label),
            blocks=blocks,
        )

    async def _whisper(self, body: Mapping[str, Any], text: str) -> None:
        """Only the person who pressed sees it; nobody where Slack gives no address for it."""
        if not body.get("response_url"):
            return
        told = {"response_type": "ephemeral", "replace_original": False, "text": text}
        async with self._context.session.post(str(body["response_url"]), json=told) as answer:
            check(answer, f"Slack does not take it any more ({answer.status})")

    def _team(self, body: Mapping[str, Any], event: Mapping[str, Any] | None = None) -> str:
        """The workspace something comes from, the same for each thing that Slack tells of one message."""
        given = [body.get("team_id"), (body.get("team") or {}).get("id")]
        given += [one.get("team_id") for one in body.get("authorizations") or ()]
        given += [self._context.home, (body.get("user") or {}).get("team_id"), (event or {}).get("team")]
        return str(next((one for one in given if one), ""))

    def _beside(self, call: Awaitable[None]) -> None:
        async def quietly() -> None:
            try:
                await call
            except (AdapterError, SlackApiError, aiohttp.ClientError, asyncio.TimeoutError) as error:
                logger.debug("slack: %s", error)

        task = asyncio.create_task(quietly())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _on_nothing() -> None:
    """Acknowledged, and that is all."""


def _bot_user(body: Mapping[str, Any], event: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    """The bot's own id, from its token; else as Slack tells it with an event."""
    given = [context.get("bot_user_id")]
    given += [one.get("user_id") for one in body.get("authorizations") or () if one.get("is_bot")]
    if event.get("type") == "app_mention":
        given.append(mentioned(str(event.get("text") or "")))
    return str(next((one for one in given if one), ""))


def _files(event: Mapping[str, Any]) -> tuple[Attachment, ...]:
    return tuple(
        Attachment(
            str(file.get("name") or file["id"]),
            str(file.get("url_private_download") or file.get("url_private") or ""),
            int(file.get("size") or 0),
        )
        for file in event.get("files") or ()
    )


def _with_files(text: str, files: Sequence[Attachment]) -> str:
    """What is passed on between a person and a human: the words, and where the files are, which each may open or ask for."""
    named = [f"📎 <{one.reference}|{mrkdwn(one.name)}>" if one.reference else f"📎 {mrkdwn(one.name)}" for one in files]
    return "\n".join(part for part in (text, *named) if part)


def _conversation(team: str, channel: str, thread: str) -> str:
    return f"slack:{team}:{channel}:{thread}" if thread else f"slack:{team}:{channel}"


def _thread_key(address: Mapping[str, Any]) -> str:
    return f"thread:{address['team']}:{address['channel']}:{address['thread']}"


def _language(body: Mapping[str, Any]) -> Language:
    """Of the message under which a button was pressed."""
    message = body.get("message") or {}
    words = " ".join(str(block.get("text") or "") for block in message.get("blocks", []) if block["type"] == "markdown")
    return detect(words or str(message.get("text") or ""))
