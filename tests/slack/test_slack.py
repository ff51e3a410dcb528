from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from botkit_slack import SlackAdapter, SlackConfig
from botkit_slack.receiver import COMMAND, EVENTS, SHORTCUT
from botkit_slack.workspaces import Workspaces, manifest
from pydantic import ValidationError
from slack_sdk.oauth.installation_store import Installation

from botkit.errors import AdapterError, ConfigError
from botkit.messages import Message, Reply
from botkit.testing.conformance import Service, until
from botkit.testing.engine import ScriptedEngine
from botkit.testing.slack import BOT_USER, CHANNEL, HUMANS, TEAM, FakeSlack, Posted, Workspace
from tests.slack.conftest import SOURCE, Start


def fake(service: Service) -> FakeSlack:
    assert isinstance(service.platform, FakeSlack)
    return service.platform


def methods(service: Service) -> list[str]:
    return [method for method, _ in fake(service).calls]


async def heard(service: Service, count: int) -> list[Message]:
    await until(lambda: len(service.engine.heard) >= count, f"{count} messages answered")
    return service.engine.heard


async def whispered(service: Service, text: str) -> dict[str, Any]:
    def met() -> dict[str, Any] | None:
        return next((one for one in fake(service).ephemeral if text in one["shown"]), None)

    found: dict[str, Any] = await until(met, f"{text} among {fake(service).ephemeral}")
    return found


# ---------------------------------------------------------------------------------------- the wire


async def test_http_checks_signature_and_age_and_answers_the_url_verification(start: Start) -> None:
    service = await start(FakeSlack("http"))
    slack = fake(service)
    challenge = json.dumps({"type": "url_verification", "challenge": "abc", "token": "x"})
    status, body = await slack.call_app(challenge)
    assert status == 200 and "abc" in body
    assert (await slack.call_app(challenge, secret="wrong"))[0] == 401
    assert (await slack.call_app(challenge, timestamp=time.time() - 600))[0] == 401
    assert (await slack.call_app(challenge, path="/elsewhere"))[0] == 404


@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_acknowledged_within_three_seconds_while_the_engine_is_slow(start: Start, mode: Any) -> None:
    service = await start(FakeSlack(mode, retry_s=30.0))
    service.engine.gate.clear()
    for number in range(5):
        await service.platform.say(f"number {number}")
    await until(lambda: len(fake(service).ack_seconds) >= 5, "five acknowledgements")
    assert max(fake(service).ack_seconds) < 3.0 and not service.engine.heard
    service.engine.gate.set()
    await service.answers("number 4")


async def test_what_is_not_acknowledged_comes_again_and_is_answered_once(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start(FakeSlack("socket", retry_s=0.2))
    acknowledged = FakeSlack._acknowledged
    calls = 0

    def lose_the_first_two(self: FakeSlack, answer: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > 2:
            acknowledged(self, answer)

    monkeypatch.setattr(FakeSlack, "_acknowledged", lose_the_first_two)
    await service.platform.say("only once")
    await until(lambda: calls > 2, "three deliveries")
    await service.answers("You said: only once")
    await service.quiet()
    assert service.said("only once") == 1


async def test_events_without_what_slack_may_leave_out_are_answered_once(start: Start) -> None:
    """No `team_id`, no `authorizations`, no `channel_type`: as gateways and tests of other people send them."""
    service = await start()
    slack = fake(service)
    slack.direct("ada")
    bare = {"channel": CHANNEL, "user": "U0001", "text": f"<@{BOT_USER}|botkit> who is it", "ts": "1700000000.000100"}
    posted = Posted(TEAM, CHANNEL, bare["ts"], bare["user"], bare["text"])
    slack._event(posted, {"type": "app_mention", **bare}, again=False)
    slack._waiting[-1].payload = {
        "type": "event_callback",
        "event_id": "Ev-bare",
        "event": slack._waiting[-1].payload["event"],
    }
    slack._event(posted, {"type": "message", "channel_type": "channel", **bare}, again=False)
    slack._event(posted, {"type": "assistant_thread_started", "assistant_thread": {
        "user_id": "U0001", "channel_id": slack.direct("ada"), "thread_ts": "1700000000.000200", "context": {}}}, again=False)  # fmt: skip
    del slack._waiting[-1].payload["team_id"], slack._waiting[-1].payload["authorizations"]
    [shown] = await service.answers("You said: who is it", place="channel")
    await service.answers("Hello", place="direct")
    await service.quiet()
    assert shown.thread == f"{CHANNEL}:{bare['ts']}"
    assert len(service.platform.shown("channel")) == 1 and len(service.platform.shown("direct")) == 1


async def test_a_command_without_a_trigger_is_answered(start: Start) -> None:
    service = await start()
    await fake(service).command("/ask", "who is it")
    del fake(service)._waiting[-1].payload["trigger_id"]
    await whispered(service, "You said: who is it")


async def test_other_events_are_acknowledged_and_left_alone(start: Start) -> None:
    service = await start()
    slack = fake(service)
    message = await slack.say("chatter", place="channel")
    slack._event(slack.message(message), {"type": "reaction_added", "user": "U1", "reaction": "+1"}, again=False)
    channel_join = {"type": "message", "subtype": "channel_join", "channel": CHANNEL, "user": "U1", "ts": "1.2"}
    slack._event(slack.message(message), channel_join | {"text": f"<@{BOT_USER}> joined"}, again=False)
    await until(lambda: len(slack.ack_seconds) >= 3, "three acknowledgements")
    await service.quiet()
    assert not service.platform.shown() and not slack._sent


async def test_slacks_markup_is_read(start: Start) -> None:
    service = await start()
    slack = fake(service)
    key = await slack.say("x")
    event = slack._json(slack.message(key)) | {"ts": "17.5", "channel_type": "im", "type": "message"}
    text = f"<@{BOT_USER}>: is <https://a.b/c|this> &lt; <@U9|bob> in <#C1|general>, <!here>?"
    slack._event(slack.message(key), event | {"text": text}, again=False)
    assert (await heard(service, 2))[-1].text == "is this < @bob in #general, @here?"


async def test_an_answer_notifies_nobody(start: Start) -> None:
    service = await start(answer=lambda message: "hello <!channel> and <@U1>")
    await service.platform.say("go")
    await service.answers("hello <!channel> and <@U1>")
    posted = fake(service).message(service.platform.shown()[0].id)
    assert "<!" not in json.dumps(posted.blocks) and "<@" not in json.dumps(posted.blocks)
    assert "<!" not in posted.text


# ---------------------------------------------------------------------------------------- ways to ask


async def test_ask_answers_only_the_one_who_asks_also_where_the_bot_is_not(start: Start) -> None:
    service = await start(sources=[SOURCE])
    fake(service).outside.add(CHANNEL)
    await fake(service).command("/ask", "how long is it")
    answer = await whispered(service, "You said: how long is it")
    assert answer["response_type"] == "ephemeral"
    assert {block["type"] for block in answer["blocks"]} == {"markdown", "context", "actions"}
    assert not service.platform.shown()
    await fake(service).command("/ask", "")
    await whispered(service, "/ask")
    assert len(service.engine.heard) == 1


async def test_ask_survives_a_crash(start: Start) -> None:
    service = await start()
    service.engine.gate.clear()
    await fake(service).command("/ask", "do not lose this")
    await until(lambda: service.engine.started, "the answer under way")
    await service.kill()
    service.engine.gate.set()
    await service.start()
    await whispered(service, "do not lose this")
    assert len(fake(service).ephemeral) == 1


async def test_the_shortcut_answers_a_message_in_its_thread(start: Start) -> None:
    service = await start()
    message = await service.platform.say("what does it cost", person="bob", place="channel")
    await fake(service).shortcut("answer_this", message)
    [shown] = await service.answers("You said: what does it cost", place="channel")
    assert shown.thread == message
    await service.platform.say("and postage", person="bob", place="channel", reply_to=message)
    await service.answers("You said: and postage", place="channel")


async def test_the_shortcut_where_the_bot_is_not_answers_the_one_who_used_it(start: Start) -> None:
    service = await start()
    message = await service.platform.say("what does it cost", person="bob", place="channel")
    fake(service).outside.add(CHANNEL)
    await fake(service).shortcut("answer_this", message)
    await whispered(service, "You said: what does it cost")
    assert not service.platform.shown()


async def test_the_assistant(start: Start) -> None:
    service = await start(settings={"language": "zh"})
    thread = await fake(service).open_assistant()
    [shown] = await service.answers("我会在文档里为您找答案")
    assert shown.thread.endswith(thread)
    await until(lambda: fake(service).prompts, "the suggested prompts")
    assert fake(service).prompts[0][0]["title"] == "你能做什么？"
    for text in ("退货要多久？", "运费呢？"):
        await fake(service).say(text, thread=thread)
    await service.answers("You said: 退货要多久？", "You said: 运费呢？")
    assert fake(service).titles == ["退货要多久？"]
    assert "正在查找文档……" in fake(service).statuses
    assert len({one.conversation for one in service.engine.heard}) == 1


async def test_a_mention_alone_gets_a_greeting(start: Start) -> None:
    service = await start()
    await service.platform.say("", place="channel", mention=True)
    await service.answers("Ask me a question", place="channel")
    assert not service.engine.heard


async def test_a_mention_that_an_edit_adds_is_answered_and_an_unfurled_link_is_not(start: Start) -> None:
    service = await start()
    message = await service.platform.say("what is the price", place="channel")
    fake(service).message(message).text = f"<@{BOT_USER}> what is the price"
    fake(service)._event(
        fake(service).message(message),
        {
            "type": "message",
            "subtype": "message_changed",
            "channel": CHANNEL,
            "channel_type": "channel",
            "message": fake(service)._json(fake(service).message(message)),
            "previous_message": {"text": "what is the price"},
        },
        again=False,
    )
    await service.answers("You said: what is the price", place="channel")
    direct = await service.platform.say("see https://a.b")
    await service.answers("You said: see https://a.b")
    await service.platform.edit(direct, "see https://a.b")
    await service.quiet()
    assert len(service.engine.heard) == 2


async def test_a_deleted_question_takes_its_answer_with_it(start: Start) -> None:
    service = await start(pieces=20, pause_s=0.15)
    message = await service.platform.say("a question of some length that is deleted in mid-answer")
    await until(lambda: service.platform.shown(), "an answer begun")
    await service.platform.delete(message)
    await until(lambda: not service.platform.shown(), "the answer taken back")


async def test_a_deleted_question_with_replies_below_is_one_too(start: Start) -> None:
    service = await start(pieces=20, pause_s=0.15)
    message = await service.platform.say("a question of some length that is deleted in mid-answer")
    await until(lambda: service.platform.shown(), "an answer begun")
    await fake(service).delete(message, tombstone=True)
    await until(lambda: not service.platform.shown(), "the answer taken back")
    await service.quiet()
    assert len(service.engine.heard) == 1


# ---------------------------------------------------------------------------------------- who, where, what


async def test_allow_lists(start: Start) -> None:
    platform = FakeSlack()
    allowed = {"allow_users": [platform.person_id("ada")], "allow_channels": ["C0OTHER"], "allow_workspaces": [TEAM]}
    service = await start(platform, allowed)
    await service.platform.say("I am bob", person="bob")
    await service.platform.say("in a channel", place="channel", mention=True)
    await fake(service).command("/ask", "in a channel")
    await service.platform.say("I am ada")
    await service.answers("I am ada")
    await service.quiet()
    assert [one.text for one in service.engine.heard] == ["I am ada"] and not fake(service).ephemeral


async def test_tags_of_a_channel(start: Start) -> None:
    service = await start(settings={"tags": {CHANNEL: ["shop"]}})
    await service.platform.say("here", place="channel", mention=True)
    await service.platform.say("there")
    assert {one.text: one.tags for one in await heard(service, 2)} == {"here": ("shop",), "there": ()}


async def test_a_file_is_read_where_allowed(start: Start) -> None:
    service = await start(settings={"uploads": {"enabled": True, "max_mb": 0.001, "tags": ["sent"]}})
    slack = fake(service)
    await slack.say("what does it say", files=[slack.file("manual.md", b"# Manual")])
    await service.answers("I have read manual.md", "You said: what does it say")
    [(path, tags)] = service.engine.knowledge.ingested
    assert path.read_bytes() == b"# Manual" and tags == ("sent",)
    await slack.say("", files=[slack.file("big.txt", b"x" * 2000)])
    await service.answers("big.txt is too large")


async def test_a_file_that_is_gone_is_told_and_holds_up_nothing(start: Start) -> None:
    service = await start(settings={"uploads": {"enabled": True}})
    slack = fake(service)
    gone = slack.file("manual.md", b"# Manual")
    slack.files.clear()
    await slack.say("what does it say", files=[gone])
    await service.answers("could not read manual.md", "(404)", "You said: what does it say")
    assert not service.engine.knowledge.ingested


async def test_a_busy_server_is_waited_out_and_its_address_is_in_no_log(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    service = await start()
    fake(service).busy_responses = 1
    await fake(service).command("/ask", "how long")
    await whispered(service, "You said: how long")
    assert logging.getLogger("botkit").level == logging.NOTSET, "Slack's library leaves botkit's log alone"
    assert "Slack answers 503" in caplog.text and "/response/" not in caplog.text


async def test_the_token_goes_to_slack_only(start: Start) -> None:
    service = await start(settings={"uploads": {"enabled": True}})
    slack = fake(service)
    await slack.say("", files=[slack.file("odd.md", b"x", url=f"http://localhost:{slack.port}/files/F0")])
    await service.answers("kept outside of Slack")
    assert not service.engine.knowledge.ingested


async def test_a_file_is_left_alone_otherwise(start: Start) -> None:
    service = await start()
    slack = fake(service)
    await slack.say("", files=[slack.file("manual.md", b"# Manual")])
    await service.answers("not allowed to read files")
    assert not service.engine.knowledge.ingested


# ---------------------------------------------------------------------------------------- replies and buttons


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_reply_in_a_thread_is_streamed(start: Start, streaming: bool) -> None:
    service = await start(FakeSlack(streaming=streaming), pieces=6, pause_s=0.5, sources=[SOURCE])
    await service.platform.say("a long story, please, of many words", place="channel", mention=True)
    await until(lambda: any(one.buttons for one in service.platform.shown("channel")), "the whole reply")
    done = methods(service)
    if streaming:
        assert done.count("chat.startStream") == done.count("chat.stopStream") == 1 and "chat.appendStream" in done
        assert "chat.postMessage" not in done
    else:
        assert done.count("chat.postMessage") == 1 and "chat.update" in done and done.count("chat.startStream") == 1
    [shown] = service.platform.shown("channel")
    assert shown.text == "You said: a long story, please, of many words" and len(shown.buttons) == 2


async def test_a_broken_server_in_mid_stream(start: Start) -> None:
    service = await start(pieces=6, pause_s=0.5)
    await service.platform.say("a long story, please, of many words", place="channel", mention=True)
    await until(lambda: "chat.startStream" in methods(service), "the stream begun")
    service.platform.break_down(3)
    [shown] = await service.answers("You said: a long story, please, of many words", place="channel")
    assert shown.text == "You said: a long story, please, of many words"


async def test_a_crash_in_mid_stream_leaves_one_whole_message(start: Start) -> None:
    service = await start(pieces=6, pause_s=0.5)
    await service.platform.say("a long story, please, of many words", place="channel", mention=True)
    await until(lambda: "chat.startStream" in methods(service), "the stream begun")
    await service.kill()
    await service.start()
    [shown] = await service.answers("You said: a long story, please, of many words", place="channel")
    assert shown.text == "You said: a long story, please, of many words"


@pytest.mark.parametrize("error", ["unknown_method", "not_allowed_token_type", "missing_scope", "method_deprecated"])
async def test_what_a_workspace_lacks_is_done_without(start: Start, error: str) -> None:
    """Streams, the Assistant's status and titles are newer than other workspaces, gateways and tokens."""
    service = await start(pieces=6, pause_s=0.3)
    newer = ("chat.startStream", "assistant.threads.setStatus", "assistant.threads.setTitle")
    fake(service).lacking = dict.fromkeys((*newer, "assistant.threads.setSuggestedPrompts"), error)
    await fake(service).open_assistant()
    [shown] = await service.answers("Hello")
    await service.platform.say("in the Assistant " + "word " * 8 + "fin", reply_to=shown.id)
    await service.answers("fin")
    assert set(fake(service).lacking) <= set(methods(service)) and "chat.update" in methods(service)
    assert service.said("in the Assistant") == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 500, "text": "upstream connect error"},
        {"status": 503, "text": "<h1>503</h1>", "content_type": "text/html"},
        {"status": 500, "text": "no JSON", "content_type": "application/json"},
        {"status": 504},
        {"status": 429, "text": "slow down", "headers": {"Retry-After": "0.2"}},
        {"status": 429, "headers": {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}},
    ],
)
async def test_a_gateway_that_answers_in_slacks_place_is_waited_out(start: Start, answer: dict[str, Any]) -> None:
    service = await start()
    fake(service).instead["chat.postMessage"] = [web.Response(**answer) for _ in range(2)]
    await service.platform.say("patience")
    await service.answers("You said: patience")
    assert service.said("patience") == 1 and not fake(service).instead["chat.postMessage"]


async def test_a_method_that_a_gateway_does_not_have_is_done_without(start: Start) -> None:
    service = await start(pieces=6, pause_s=0.3)
    fake(service).instead["chat.startStream"] = [web.Response(status=404, text="404: Not Found")]
    await service.platform.say("word " * 8 + "fin", place="channel", mention=True)
    await service.answers("fin", place="channel")
    assert methods(service).count("chat.startStream") == 1 and "chat.update" in methods(service)


async def test_a_long_chinese_answer_that_was_shown_while_written_is_whole(start: Start) -> None:
    """`chat.update` takes 4,000 bytes of text, which 1,334 Chinese characters exceed."""
    service = await start(answer=lambda message: "退货的规定很长。" * 450 + "（全文完）", pieces=6, pause_s=0.3)
    await service.platform.say("规定")
    shown = await service.answers("（全文完）")
    assert len(shown) == 1 and "chat.update" in methods(service)
    texts = [given["text"] for method, given in fake(service).calls if method == "chat.update"]
    assert len(texts[-1]) > 1300 and all(len(text.encode()) <= 4000 for text in texts)


async def test_blocks_that_are_refused_leave_the_text(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    service = await start(answer=long_answer_of_slack)
    fake(service).instead["chat.postMessage"] = [web.json_response({"ok": False, "error": "invalid_blocks"})]
    await service.platform.say("regulations")
    await until(lambda: any("the end" in one.text for one in fake(service).shown("direct")), "the whole text")
    [posted] = [one for one in fake(service)._messages.values() if one.user == BOT_USER]
    assert posted.text.endswith("the end") and not posted.blocks
    assert "invalid_blocks" in caplog.text


def long_answer_of_slack(message: Message) -> str:
    return "A sentence of the regulations. " * 120 + "the end"


async def test_stream_off_shows_only_the_whole(start: Start) -> None:
    service = await start(settings={"stream": False}, pieces=6, pause_s=0.3)
    await service.platform.say("a long story", place="channel", mention=True)
    await service.answers("a long story", place="channel")
    assert methods(service).count("chat.postMessage") == 1
    assert not {"chat.startStream", "chat.update"} & set(methods(service))


async def test_sources_and_rating(start: Start) -> None:
    service = await start(sources=[SOURCE, SOURCE])
    await service.platform.say("how long")
    [shown] = await service.answers("You said: how long")
    [context] = [one for one in fake(service).message(shown.id).blocks if one["type"] == "context"]
    assert context["elements"][0]["text"] == "*Sources*: 📄 Returns › How long"
    await fake(service).press(shown.id, "👎")
    await whispered(service, "Thank you")
    assert [turn["rating"] for turn in service.engine.store.export() if turn["role"] == "bot"] == [-1]
    service.engine.store.delete(sender=f"slack:{TEAM}:{fake(service).person_id('ada')}")
    await fake(service).press(shown.id, "👍")
    await whispered(service, "no longer stored")


def hand_over(message: Message) -> str | Reply:
    return Reply("-", "hand_off", 1.0, message.conversation) if "human" in message.text else f"You said: {message.text}"


def ask_back(message: Message) -> str | Reply:
    if message.text != "which":
        return f"You said: {message.text}"
    return Reply("Which do you mean?", "clarify", 0.5, "", options=("the first one", "x" * 200), hand_off_offered=True)


async def test_options_are_buttons_that_ask(start: Start) -> None:
    service = await start(answer=ask_back)
    await service.platform.say("which", place="channel", mention=True)
    [shown] = await service.answers("Which do you mean?", place="channel")
    await fake(service).press(shown.id, "xxx")
    await service.answers("You said: " + "x" * 200, place="channel")
    assert len({one.conversation for one in service.engine.heard}) == 1
    await fake(service).press(shown.id, "Talk to a human")
    assert (await heard(service, 3))[-1].text == "I would like to talk to a human"


# ---------------------------------------------------------------------------------------- a human takes over


async def announced(service: Service) -> str:
    def met() -> str | None:
        posted = [one for one in fake(service).in_channel(HUMANS) if one.user == BOT_USER]
        return posted[0].key if posted else None

    found: str = await until(met, "an announcement")
    return found


async def test_a_human_takes_over_a_thread_and_gives_it_back(start: Start) -> None:
    service = await start(settings={"human_channel": HUMANS}, answer=ask_back)
    await service.platform.say("which", place="channel", mention=True)
    [shown] = await service.answers("Which do you mean?", place="channel")
    await fake(service).press(shown.id, "Talk to a human")
    await service.answers("I have told a human colleague", place="channel")
    key = await announced(service)
    blocks = fake(service).message(key).blocks
    text = blocks[0]["text"]["text"]
    assert f"<@{fake(service).person_id('ada')}> would like to talk to a human" in text and "Which do you mean?" in text
    link = blocks[-1]["elements"][1]["url"]
    root = shown.thread.split(":")[1].replace(".", "")
    assert link == f"https://{TEAM.lower()}.slack.com/archives/{CHANNEL}/p{root}"
    await fake(service).press(key, "Take over", person="bob")
    await service.answers("has taken over this conversation", place="channel")
    await service.platform.say("are you there", place="channel", reply_to=shown.id)
    await service.quiet()
    assert len(service.engine.heard) == 1
    await until(
        lambda: fake(service).message(key).blocks[-1]["elements"][0]["action_id"] == "give", "the button turned"
    )
    await fake(service).press(key, "Give back", person="bob")
    await service.answers("I am answering here again", place="channel")
    await service.platform.say("and now", place="channel", reply_to=shown.id)
    await service.answers("You said: and now", place="channel")


async def test_a_human_is_called_also_where_there_is_no_link_to_the_thread(start: Start) -> None:
    service = await start(settings={"human_channel": HUMANS}, answer=ask_back)
    fake(service).lacking["chat.getPermalink"] = "channel_not_found"
    await service.platform.say("which", place="channel", mention=True)
    [shown] = await service.answers("Which do you mean?", place="channel")
    await fake(service).press(shown.id, "Talk to a human")
    key = await announced(service)
    [button] = fake(service).message(key).blocks[-1]["elements"]
    assert button["action_id"] == "take"


async def taken_over(start: Start) -> tuple[Service, str]:
    """A private chat that a human has taken over, and the thread of its announcement."""
    service = await start(settings={"human_channel": HUMANS}, answer=ask_back)
    await service.platform.say("which")
    [shown] = await service.answers("Which do you mean?")
    await fake(service).press(shown.id, "Talk to a human")
    key = await announced(service)
    thread = key.split(":")[1]
    await fake(service).press(key, "Take over", person="bob")
    await service.answers("has taken over this conversation")
    return service, thread


async def test_a_private_chat_is_carried_to_the_humans_and_back(start: Start) -> None:
    service, thread = await taken_over(start)
    await service.platform.say("my parcel is <lost>")
    await until(
        lambda: any("my parcel is &lt;lost&gt;" in one.text for one in fake(service).in_channel(HUMANS)),
        "the person's words in the thread",
    )
    await fake(service).say("what is the number", person="bob", channel=HUMANS, thread=thread)
    await service.answers("what is the number", person="ada")
    assert len(service.engine.heard) == 1


async def test_files_are_carried_to_the_humans_and_back(start: Start) -> None:
    service, thread = await taken_over(start)
    slack = fake(service)
    await slack.say("", files=[slack.file("screenshot.png", b"x")])
    passed = await until(
        lambda: [one for one in slack.in_channel(HUMANS) if "screenshot.png" in one.text],
        "the person's file in the thread",
    )
    assert f"📎 <http://127.0.0.1:{slack.port}/files/F0|screenshot.png>" in json.dumps(
        passed[0].blocks, ensure_ascii=False
    )
    await slack.say("", person="bob", channel=HUMANS, thread=thread, files=[slack.file("label.pdf", b"x")])
    await service.answers("label.pdf", person="ada")


async def test_who_asks_with_a_command_is_announced_and_not_taken_over(start: Start) -> None:
    service = await start(settings={"human_channel": HUMANS}, answer=hand_over)
    await fake(service).command("/ask", "a human please")
    key = await announced(service)
    assert "would like to talk to a human" in fake(service).message(key).text
    assert all(block["type"] != "actions" for block in fake(service).message(key).blocks)
    await fake(service).command("/ask", "and this")
    await whispered(service, "You said: and this")


async def test_only_the_channel_for_humans_can_take_over(start: Start) -> None:
    service = await start(settings={"human_channel": HUMANS})
    await service.platform.say("hello")
    [shown] = await service.answers("You said: hello")
    posted = fake(service).message(shown.id)
    button = {"type": "button", "action_id": "take", "value": f"slack:{TEAM}:{posted.channel}"}
    posted.blocks.append({"type": "actions", "elements": [button | {"text": {"type": "plain_text", "text": "Take"}}]})
    await fake(service).press(shown.id, "Take")
    await service.platform.say("still answered")
    await service.answers("You said: still answered")


# ---------------------------------------------------------------------------------------- several workspaces


async def test_two_workspaces_install_the_app(start: Start, tmp_path: Path) -> None:
    platform = FakeSlack("http")
    section = {"bot_token": "", "client_id": platform.client_id, "client_secret": platform.client_secret}
    service = await start(platform, section)
    root = f"http://127.0.0.1:{platform.app_port}"
    for team in (TEAM, "T0SECOND"):
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
            async with browser.get(f"{root}/slack/install") as page:
                text = await page.text()
                cookie = page.headers["Set-Cookie"].split(";")[0]
            state = re.search(r"state=([0-9a-f-]+)", text)
            assert state is not None and "scope=app_mentions" in text
            platform.codes[f"code-{team}"] = team
            back = f"{root}/slack/oauth_redirect?code=code-{team}&state={state[1]}"
            async with browser.get(back, headers={"Cookie": cookie}) as page:
                assert page.status == 200, await page.text()
            async with browser.get(back, headers={"Cookie": cookie}) as page:
                assert page.status >= 400
    assert (tmp_path / "home" / "slack-workspaces.sqlite").stat().st_mode & 0o077 == 0
    await service.stop()
    await service.start()
    for team in (TEAM, "T0SECOND"):
        await platform.say(f"hello from {team}", team=team)
    await service.answers(f"hello from {TEAM}", "hello from T0SECOND")
    assert len({one.conversation for one in service.engine.heard}) == 2
    second = next(one for one in platform._messages.values() if one.team == "T0SECOND" and one.user == BOT_USER)
    platform._event(second, {"type": "app_uninstalled"}, again=False)
    store = Workspaces(SlackConfig.model_validate(platform.section()), aiohttp.ClientSession(), tmp_path / "home")
    await until(lambda: store.teams() == [TEAM], "the tokens of the workspace deleted")
    await store._session.close()
    await platform.say("still there", team="T0SECOND")
    await platform.say("still here")
    await service.answers("You said: still here")
    assert service.said("still there") == 0


async def test_a_workspace_of_an_organisation_is_known_after_a_restart(tmp_path: Path) -> None:
    """What waits names the workspace only; its installation is kept under the organisation too."""
    config = SlackConfig(mode="http", client_id="1.2", client_secret="s", signing_secret="s")  # type: ignore[arg-type]
    async with aiohttp.ClientSession() as session:
        before = Workspaces(config, session, tmp_path)
        assert before.installation_flow() is not None and before.store is not None
        installed = {"bot_token": "xoxb-1", "bot_id": "B1", "bot_user_id": "U0BOT", "user_id": "U1", "app_id": "A1"}
        before.store.save(Installation(enterprise_id="E1", team_id="T1", **installed))
        after = Workspaces(config, session, tmp_path)
        assert (await after.client("T1")).token == "xoxb-1"
        await after.forget(None, "T1")
        with pytest.raises(AdapterError):
            await after.client("T1")


# ---------------------------------------------------------------------------------------- what goes wrong


def test_a_channels_name_is_no_id() -> None:
    with pytest.raises(ValidationError, match="C0123ABCD"):
        SlackConfig(human_channel="#support")


async def serve(section: dict[str, Any], home: Path) -> str:
    """What an adapter says that cannot start."""
    engine = ScriptedEngine(home)
    try:
        with pytest.raises((AdapterError, ConfigError)) as raised:
            await asyncio.wait_for(SlackAdapter(SlackConfig.model_validate(section)).serve(engine), 20)  # type: ignore[arg-type]
        return str(raised.value)
    finally:
        await engine.close()


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"bot_token": ""}, "adapters.slack.bot_token"),
        ({"bot_token": "xoxb-wrong"}, "adapters.slack.bot_token"),
        ({"app_token": ""}, "adapters.slack.app_token"),
        ({"app_token": "xapp-wrong"}, "adapters.slack.app_token"),
        ({"mode": "http"}, "adapters.slack.signing_secret"),
        ({"bot_token": "", "client_id": "1.2", "client_secret": "s"}, "adapters.slack.mode"),
        ({"bot_token": "", "client_id": "1.2"}, "adapters.slack.client_secret"),
        ({"client_id": "1.2", "client_secret": "s"}, "adapters.slack.client_id"),
        ({"api_url": "http://127.0.0.1:9/"}, "adapters.slack.api_url"),
    ],
)
async def test_what_is_missing_or_wrong_is_named(
    tmp_path: Path, change: dict[str, Any], setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET", "SLACK_CLIENT_ID"):
        monkeypatch.setenv(name, "of-another-program")
    platform = FakeSlack()
    await platform.start()
    try:
        said = await serve(platform.section() | change, tmp_path)
    finally:
        await platform.stop()
    assert setting in said and ("https://api.slack.com/apps" in said or "https://status.slack.com" in said)
    assert "xoxb-wrong" not in said and "xapp-wrong" not in said
    assert os.environ["SLACK_BOT_TOKEN"] == "of-another-program"


@pytest.mark.parametrize("error", ["token_revoked", "account_inactive"])
async def test_a_token_revoked_in_service_stops_it_with_the_reason_and_loses_nothing(start: Start, error: str) -> None:
    service = await start()
    service.engine.gate.clear()
    await service.platform.say("do not lose this")
    await until(lambda: service.engine.started, "the answer under way")
    fake(service).workspaces[TEAM].revoked = error
    service.engine.gate.set()
    assert service._task is not None
    with pytest.raises(AdapterError, match=r"adapters\.slack\.bot_token.*api\.slack\.com/apps"):
        await asyncio.wait_for(service._task, 60)
    fake(service).workspaces[TEAM].revoked = ""
    await service.start()
    await service.answers("You said: do not lose this")


async def test_a_channel_the_bot_was_removed_from_harms_no_other(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    service = await start()
    await service.platform.say("in the channel", place="channel", mention=True)
    fake(service).outside.add(CHANNEL)
    await service.platform.say("gone", place="channel", mention=True)
    await service.platform.say("hello")
    await service.answers("You said: hello")
    await until(lambda: "/invite" in caplog.text, "it is logged")
    assert "adapters.slack.allow_channels" in caplog.text and "api.slack.com/apps" in caplog.text


async def test_the_check_tells_what_is_missing(start: Start) -> None:
    service = await start(settings={"human_channel": HUMANS})
    adapter = service.make()
    assert isinstance(adapter, SlackAdapter)
    assert [one.what for one in await adapter.check() if one.ok] == [
        "adapters.slack.bot_token",
        "scopes",
        "adapters.slack.human_channel",
        "adapters.slack.app_token",
    ]
    slack = fake(service)
    slack.workspaces[TEAM] = Workspace(TEAM, "xoxb-main", "chat:write,channels:read")
    slack.outside.add(HUMANS)
    slack.app_token = "xapp-another"
    found = {one.what: one for one in await adapter.check()}
    assert "files:read" in found["scopes"].remedy and "reinstall" in found["scopes"].remedy
    assert "/invite" in found["adapters.slack.human_channel"].remedy
    assert "adapters.slack.app_token" in found["adapters.slack.app_token"].said
    slack.workspaces[TEAM].scopes = ""
    assert {one.what: one for one in await adapter.check()}["scopes"].said == "not told by this server"
    slack.workspaces[TEAM].revoked = "token_revoked"
    assert "was revoked" in (await adapter.check())[0].said


async def test_a_missing_scope_is_named(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    service = await start()
    fake(service).workspaces[TEAM].scopes = "im:history"
    await service.platform.say("hello")
    await until(lambda: "chat:write" in caplog.text, "it is logged")
    assert "reinstall" in caplog.text


def test_the_manifest_asks_for_all_that_is_used() -> None:
    shipped = manifest()
    events = set(shipped["settings"]["event_subscriptions"]["bot_events"])
    assert {one for one in EVENTS if one != "message"} <= events
    assert {"message.im", "message.channels", "message.groups", "message.mpim"} <= events
    assert [one["command"] for one in shipped["features"]["slash_commands"]] == [COMMAND]
    assert [one["callback_id"] for one in shipped["features"]["shortcuts"]] == [SHORTCUT]
    assert {"app_uninstalled", "tokens_revoked"} <= events
