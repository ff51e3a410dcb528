from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal

import pytest
from botkit_telegram import TelegramAdapter, TelegramConfig

from botkit.delivery import button_data
from botkit.errors import AdapterError, ConfigError
from botkit.messages import Message, Reply
from botkit.testing.conformance import Service, until
from botkit.testing.engine import ScriptedEngine
from botkit.testing.telegram import BOT_ID, GROUP, USERNAME, FakeTelegram
from botkit.training.improve import propose, write_proposals
from tests.telegram.conftest import SOURCE, Start


def fake(service: Service) -> FakeTelegram:
    assert isinstance(service.platform, FakeTelegram)
    return service.platform


def methods(service: Service) -> list[str]:
    return [method for method, _ in fake(service).calls]


async def heard(service: Service, count: int) -> list[Message]:
    await until(lambda: len(service.engine.heard) >= count, f"{count} messages answered")
    return service.engine.heard


# ---------------------------------------------------------------------------------------- commands


async def test_the_menu_is_registered_in_both_languages(start: Start) -> None:
    service = await start()
    assert set(fake(service).commands) == {("default", ""), ("default", "zh")}
    assert {"ask", "help", "lang", "forget", "human", "start"} == set(fake(service).commands[("default", "zh")])


async def test_start_help_and_an_unknown_command(start: Start) -> None:
    service = await start()
    for text in ("/start", "/help", "/nonsense"):
        await service.platform.say(text)
    await until(lambda: len(service.platform.shown()) == 3, "three answers")
    for shown in service.platform.shown():
        assert "/forget" in shown.text and f"@{fake(service)._user(BOT_ID)['username']}" in shown.text
    assert not service.engine.heard


async def test_ask_takes_the_question_behind_it_or_the_message_replied_to(start: Start) -> None:
    service = await start()
    await service.platform.say("/ask how long is it", place="channel")
    question = await service.platform.say("what does it cost", person="bob", place="channel")
    await service.platform.say("/ask", place="channel", reply_to=question)
    await service.platform.say("/ask")
    await service.answers("Write your question")
    assert [one.text for one in await heard(service, 2)] == ["how long is it", "what does it cost"]


async def test_lang_sets_the_language_of_one_person_until_auto(start: Start) -> None:
    service = await start()
    await service.platform.say("/lang zh")
    await service.answers("我会用中文回答")
    await service.platform.say("hello")
    await service.platform.say("hello", person="bob")
    assert {one.sender: one.language for one in await heard(service, 2)} == {
        f"telegram:{fake(service).person_id('ada')}": "zh",
        f"telegram:{fake(service).person_id('bob')}": None,
    }
    await service.platform.say("/lang")
    shown = (await service.answers("用哪种语言"))[-1]
    await fake(service).press(shown.id, "auto")
    await until(lambda: fake(service).alerts, "the press is acknowledged")
    await service.platform.say("hello again")
    assert (await heard(service, 3))[-1].language is None


async def test_forget_deletes_what_the_person_said_and_was_told(start: Start) -> None:
    service = await start()
    await service.platform.say("my name is Ada")
    await service.platform.say("and I am Bob", person="bob")
    await service.answers("my name is Ada", "and I am Bob")
    await service.platform.say("/forget")
    await service.answers("I have deleted")
    kept = [turn["text"] for turn in service.engine.store.export()]
    assert kept and not any("Ada" in text for text in kept)


async def test_forget_drops_what_was_to_be_learnt_and_is_obeyed_while_a_human_talks(start: Start) -> None:
    service = await start(settings={"human_chat": GROUP}, sources=[SOURCE])
    await service.platform.say("my name is Ada, how long")
    [shown] = await service.answers("my name is Ada")
    await fake(service).press(shown.id, "👍")
    await until(lambda: fake(service).alerts, "the rating is acknowledged")
    store, folder = service.engine.store, service.engine.settings.paths.home / "improve"
    turns = [
        {**turn, "sources": [{**one, "span": one["passage"]} for one in turn.get("sources") or ()]}
        for turn in store.export()
    ]
    write_proposals(folder, propose(turns))
    assert "Ada" in (folder / "proposals.jsonl").read_text(encoding="utf-8")
    await service.platform.say("/human")
    [announced] = await service.answers("would like to talk to a human", place="channel")
    await fake(service).press(announced.id, "Take over", person="bob")
    await service.answers("Bob has taken over this conversation")
    await service.platform.say("/forget")
    await service.answers("I have deleted", place="direct")
    assert not list(store.export()) and "Ada" not in (folder / "proposals.jsonl").read_text(encoding="utf-8")


async def test_a_command_for_another_bot_is_left_to_it(start: Start) -> None:
    service = await start()
    for text in ("/ask@another_bot who", "/weather"):
        await service.platform.say(text, place="channel")
    await service.platform.say("/ask@botkit_test_bot me", place="channel")
    assert [one.text for one in await heard(service, 1)] == ["me"]
    await service.quiet()
    assert len(service.platform.shown("channel")) == 1


async def test_human_asks_the_engine_where_no_chat_is_set(start: Start) -> None:
    service = await start()
    await service.platform.say("/human")
    assert "human" in (await heard(service, 1))[0].text


# ---------------------------------------------------------------------------------------- groups


async def test_privacy_mode_is_enough(start: Start) -> None:
    service = await start(FakeTelegram(privacy=True))
    await service.platform.say("chatter", person="bob", place="channel")
    await service.platform.say("who are you", place="channel", mention=True)
    [shown] = await service.answers("You said: who are you", place="channel")
    await service.platform.say("go on", place="channel", reply_to=shown.id)
    await service.answers("You said: go on", place="channel")


async def test_a_mention_that_is_not_marked_is_one_too(start: Start) -> None:
    """Telegram marks mentions in `entities`; gateways may leave them out."""
    service = await start()
    for text in (
        "me@botkit_test_bot is no mention",
        "@botkit_test_bots neither",
        "well, @Botkit_Test_Bot: who are you",
    ):
        await service.platform.say(text, place="channel")
        fake(service)._updates[-1]["message"].pop("entities", None)
    await service.answers("who are you", place="channel")
    await service.quiet()
    assert [one.text for one in service.engine.heard] == ["well, who are you"]


async def test_a_mention_under_a_question_answers_the_question(start: Start) -> None:
    service = await start()
    question = await service.platform.say("what does it cost", person="bob", place="channel")
    await service.platform.say("", place="channel", mention=True, reply_to=question)
    assert [one.text for one in await heard(service, 1)] == ["what does it cost"]


async def test_each_topic_is_a_conversation(start: Start) -> None:
    service = await start()
    for topic in (7, 8):
        await fake(service).say(f"hello {topic}", place="channel", mention=True, topic=topic)
    await service.answers("hello 7", "hello 8", place="channel")
    assert len({one.conversation for one in service.engine.heard}) == 2
    posted = {one.text: one.thread for one in fake(service).in_chat(GROUP) if one.sender == BOT_ID}
    assert posted == {"You said: hello 7": 7, "You said: hello 8": 8}


async def test_a_message_that_comes_to_name_the_bot_by_an_edit_is_answered(start: Start) -> None:
    service = await start()
    message = await service.platform.say("what is the price", place="channel")
    await service.platform.edit(message, "@botkit_test_bot what is the price")
    await service.answers("You said: what is the price", place="channel")


# ---------------------------------------------------------------------------------------- who, where, what


async def test_allow_lists(start: Start) -> None:
    platform = FakeTelegram()
    allowed = [platform.person_id("ada"), "@Carol"]
    service = await start(platform, {"allow_users": allowed, "allow_chats": [-100]})
    for person in ("ada", "bob", "carol"):
        await service.platform.say(f"I am {person}", person=person)
    await service.platform.say("in a group", place="channel", mention=True)
    await service.answers("I am ada", "I am carol")
    await service.quiet()
    assert {one.text for one in service.engine.heard} == {"I am ada", "I am carol"}
    assert len(service.platform.shown()) == 2


async def test_tags_of_a_chat(start: Start) -> None:
    service = await start(settings={"tags": {GROUP: ["shop"]}})
    await service.platform.say("here", place="channel", mention=True)
    await service.platform.say("there")
    assert {one.text: one.tags for one in await heard(service, 2)} == {"here": ("shop",), "there": ()}


async def test_a_document_is_read_where_allowed(start: Start) -> None:
    service = await start(settings={"uploads": {"enabled": True, "max_mb": 0.001, "tags": ["sent"]}})
    await fake(service).send_document("manual.md", b"# Manual\n\nPress the button.", caption="what does it say")
    await service.answers("I have read manual.md", "You said: what does it say")
    [(path, tags)] = service.engine.knowledge.ingested
    assert path.read_bytes() == b"# Manual\n\nPress the button." and tags == ("sent",)
    await fake(service).send_document("big.txt", b"x" * 2000)
    await service.answers("big.txt is too large")
    await fake(service).send_document("lying.txt", b"x" * 2000, size=10)
    await service.answers("lying.txt is too large")
    assert len(service.engine.knowledge.ingested) == 1


async def test_a_document_is_left_alone_otherwise(start: Start) -> None:
    service = await start()
    await fake(service).send_document("manual.md", b"# Manual")
    await service.answers("not allowed to read files")
    assert not service.engine.knowledge.ingested and "getFile" not in methods(service)


async def test_a_document_that_is_gone_is_told_and_the_question_answered(start: Start) -> None:
    service = await start(settings={"uploads": {"enabled": True}})
    fake(service).lost_files = True
    await fake(service).send_document("manual.md", b"# Manual", caption="what does it say")
    await service.answers("could not read manual.md", "You said: what does it say")
    assert not service.engine.knowledge.ingested


async def test_a_sticker_gets_a_hint(start: Start) -> None:
    service = await start()
    await fake(service).send_sticker()
    await service.answers("text and documents only")
    assert not service.engine.heard


# ---------------------------------------------------------------------------------------- replies and buttons


async def test_an_answer_is_cited_rated_and_its_sources_shown_once(start: Start) -> None:
    service = await start(sources=[SOURCE])
    await service.platform.say("how long")
    [shown] = await service.answers("You said: how long")
    assert "📄 Returns › How long" in shown.text
    assert [label[0] for label in shown.buttons] == ["📄", "👍", "👎"]
    await fake(service).press(shown.id, "👍")
    await until(lambda: "Thank you, that helps." in fake(service).alerts, "the rating is acknowledged")
    assert [turn["rating"] for turn in service.engine.store.export() if turn["role"] == "bot"] == [1]
    for _ in range(2):
        await fake(service).press(shown.id, "📄")
    await service.answers("You have thirty days to return it.")
    await service.quiet()
    assert service.said("You have thirty days") == 1


async def test_a_rating_of_a_reply_that_is_gone(start: Start) -> None:
    service = await start(sources=[SOURCE])
    await service.platform.say("how long")
    [shown] = await service.answers("You said: how long")
    service.engine.store.delete(sender=f"telegram:{fake(service).person_id('ada')}")
    await fake(service).press(shown.id, "👎")
    await until(lambda: any("no longer stored" in one for one in fake(service).alerts), "the person is told")


def ask_back(message: Message) -> str | Reply:
    if message.text != "which":
        return f"You said: {message.text}"
    return Reply("Which do you mean?", "clarify", 0.5, "", options=("the first one", "the second one"))


async def test_options_are_buttons_that_ask(start: Start) -> None:
    service = await start(answer=ask_back)
    await service.platform.say("which")
    [shown] = await service.answers("Which do you mean?")
    assert shown.buttons[:2] == ("the first one", "the second one")
    await fake(service).press(shown.id, "the second one")
    await service.answers("You said: the second one")
    assert len({one.conversation for one in service.engine.heard}) == 1


@pytest.mark.parametrize("drafts", [True, False])
async def test_a_reply_is_streamed(start: Start, drafts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    service = await start(FakeTelegram(drafts=drafts), pieces=6, pause_s=0.25)
    await service.platform.say("a long story, please, of many words")
    await service.answers("You said: a long story, please, of many words")
    done = methods(service)
    assert done.count("sendMessage") == 1 and "sendChatAction" in done
    assert ("editMessageText" in done) is not drafts
    if drafts:
        assert done.count("sendMessageDraft") >= 1
    assert len(service.platform.shown()) == 1


async def test_stream_off_shows_only_the_whole(start: Start) -> None:
    service = await start(settings={"stream": False}, pieces=6, pause_s=0.25)
    await service.platform.say("a long story, please, of many words")
    await service.answers("of many words")
    assert not {"sendMessageDraft", "editMessageText"} & set(methods(service))


async def test_an_inline_query_is_answered_once_typed_and_leaves_no_trace(start: Start) -> None:
    service = await start(sources=[SOURCE])
    for typed in ("how", "how lo", "how long"):
        last = await fake(service).inline(typed)
    await until(lambda: last in fake(service).inline_answers, "the last query answered")
    [article] = fake(service).inline_answers[last]
    assert article["title"] == "You said: how long"
    assert "Returns" in article["input_message_content"]["message_text"]
    assert len(fake(service).inline_answers) == 1
    await until(lambda: not list(service.engine.store.export()), "nothing stored of it")


# ---------------------------------------------------------------------------------------- a human takes over


async def test_a_human_takes_over_and_gives_back(start: Start) -> None:
    service = await start(settings={"human_chat": GROUP})
    await service.platform.say("my parcel is <lost>")
    await service.answers("You said: my parcel is <lost>")
    await service.platform.say("/human")
    await service.answers("I have told a human colleague")
    [announced] = await service.answers("Ada would like to talk to a human", "my parcel is <lost>", place="channel")
    await fake(service).press(announced.id, "Take over", person="bob")
    await service.answers("Bob has taken over this conversation")
    await service.platform.say("are you there")
    await service.answers("are you there", place="channel")
    passed_on = next(one for one in service.platform.shown("channel") if one.text == "are you there")
    await service.platform.say("I am, what is the number", person="bob", place="channel", reply_to=passed_on.id)
    await service.answers("I am, what is the number", place="direct")
    assert [one.text for one in service.engine.heard] == ["my parcel is <lost>"]
    assert service.platform.shown("channel")[0].buttons == ("Give back to the bot",)
    await fake(service).press(announced.id, "Give back", person="bob")
    await service.answers("I am answering here again")
    await service.platform.say("and now")
    await service.answers("You said: and now")


async def test_pictures_reach_the_human_and_what_the_human_mends_reaches_the_person(start: Start) -> None:
    service = await start(settings={"human_chat": GROUP})
    await service.platform.say("/human")
    [announced] = await service.answers("would like to talk to a human", place="channel")
    await fake(service).press(announced.id, "Take over", person="bob")
    await service.answers("Bob has taken over this conversation")
    await fake(service).send_sticker()
    await until(lambda: "forwardMessage" in methods(service), "the sticker is passed on")
    assert service.said("text and documents only") == 0
    await service.platform.say("what does it cost")
    await service.answers("what does it cost", place="channel")
    passed_on = next(one for one in service.platform.shown("channel") if one.text == "what does it cost")
    sent = await service.platform.say("it costs 10", person="bob", place="channel", reply_to=passed_on.id)
    await service.answers("it costs 10", place="direct")
    await service.platform.edit(sent, "it costs 100")
    await service.answers("it costs 100", place="direct")
    await service.quiet()
    assert not service.engine.heard and service.said("it costs 10", place="direct") == 1


async def test_only_the_human_chat_can_take_over(start: Start) -> None:
    service = await start(settings={"human_chat": GROUP})
    await service.platform.say("hello")
    [shown] = await service.answers("You said: hello")
    mine = fake(service).message(shown.id)
    mine.keyboard = [[{"text": "Take over", "callback_data": f"take:telegram:{mine.chat}"}]]
    await fake(service).press(shown.id, "Take over")
    await service.platform.say("still answered")
    await service.answers("You said: still answered")


# ---------------------------------------------------------------------------------------- what goes wrong


async def test_a_webhook_call_without_the_secret_is_refused(start: Start) -> None:
    service = await start(FakeTelegram("webhook"))
    update = '{"update_id": 1, "message": {"message_id": 1}}'
    assert await fake(service).call_webhook(None, update) == 403
    assert await fake(service).call_webhook("wrong", update) == 403
    assert await fake(service).call_webhook("a-secret", "no JSON") == 400
    await service.platform.say("still well")
    await service.answers("You said: still well")


async def test_without_a_secret_one_is_made(start: Start) -> None:
    service = await start(FakeTelegram("webhook"), {"secret_token": ""})
    assert len(fake(service)._webhook["secret_token"]) >= 32
    assert await fake(service).call_webhook("", "{}") == 403


async def serve(section: dict[str, Any], home: Path) -> str:
    """What an adapter says that cannot start."""
    engine = ScriptedEngine(home)
    try:
        with pytest.raises((AdapterError, ConfigError)) as raised:
            await asyncio.wait_for(TelegramAdapter(TelegramConfig.model_validate(section)).serve(engine), 20)  # type: ignore[arg-type]
        return str(raised.value)
    finally:
        await engine.close()


async def test_a_missing_and_a_wrong_token(tmp_path: Path) -> None:
    platform = FakeTelegram()
    await platform.start()
    try:
        for token in ("", "1:wrong", "no token at all"):
            said = await serve(platform.section() | {"token": token}, tmp_path)
            assert "adapters.telegram.token" in said and "https://t.me/BotFather" in said
            assert not token or token not in said
    finally:
        await platform.stop()


async def test_a_closed_network(tmp_path: Path) -> None:
    said = await serve({"token": "1:x", "api_url": "http://127.0.0.1:9"}, tmp_path)
    assert "adapters.telegram.api_url" in said and "127.0.0.1:9" in said


async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    platform = FakeTelegram("webhook")
    await platform.start()
    try:
        said = await serve(platform.section() | {"port": platform.port}, tmp_path)
        assert "adapters.telegram.host, port" in said
    finally:
        await platform.stop()


async def test_a_token_revoked_in_service_stops_it_with_the_reason_and_loses_nothing(start: Start) -> None:
    service = await start()
    service.engine.gate.clear()
    await service.platform.say("do not lose this")
    await until(lambda: service.engine.started, "the answer under way")
    token = fake(service).token
    fake(service).revoke()
    await service.platform.disconnect()
    service.engine.gate.set()
    assert service._task is not None
    with pytest.raises(AdapterError, match=r"adapters\.telegram\.token"):
        await asyncio.wait_for(service._task, 40)
    fake(service).token = token
    await service.start()
    await service.answers("You said: do not lose this")


@pytest.mark.parametrize("mode", ["polling", "webhook"])
async def test_an_update_that_cannot_be_read_holds_up_no_other(
    start: Start, caplog: pytest.LogCaptureFixture, mode: Literal["polling", "webhook"]
) -> None:
    service = await start(FakeTelegram(mode))
    fake(service)._update("message", {"message_id": 1, "text": "a secret of ada"})
    fake(service)._update("a_kind_of_the_future", {"message_id": 2})
    await service.platform.say("hello")
    fake(service)._update("message", {"message_id": 3})
    await service.answers("You said: hello")
    await service.platform.say("and again")
    await service.answers("You said: and again")
    assert service.said("hello") == 1
    told = [one.getMessage() for one in caplog.records if one.name.startswith("botkit")]
    assert any("cannot be read" in one for one in told) and not any("a secret" in one for one in told)


@pytest.mark.parametrize("mode", ["polling", "webhook"])
async def test_what_a_server_lacks_is_done_without(start: Start, mode: Literal["polling", "webhook"]) -> None:
    """A Bot API server of one's own may be older: it answers 404, which the library takes for a wrong token."""
    platform = FakeTelegram(mode)
    platform.lacking = {"sendMessageDraft", "sendChatAction", "setMyCommands", "deleteWebhook", "answerCallbackQuery"}
    service = await start(platform, pieces=6, pause_s=0.3)
    await service.platform.say("a long story, please, of many words")
    await service.answers("You said: a long story, please, of many words")
    done = methods(service)
    assert done.count("sendMessageDraft") == 1 and done.count("sendMessage") == 1 and "editMessageText" in done


async def test_a_server_without_webhooks_still_calls(start: Start) -> None:
    platform = FakeTelegram("webhook")
    platform.lacking = {"setWebhook"}
    platform._webhook = {"url": f"http://127.0.0.1:{platform._webhook_port}/", "secret_token": platform.secret}
    service = await start(platform)
    await service.platform.say("hello")
    await service.answers("You said: hello")


async def test_a_server_that_does_not_wait_is_not_asked_without_end(start: Start) -> None:
    service = await start()
    fake(service).waits = False
    for text in ("hello", "hello again"):
        await service.platform.say(text)
        await service.answers(f"You said: {text}")
    before = methods(service).count("getUpdates")
    await service.quiet(1.2)
    assert methods(service).count("getUpdates") - before <= 5


async def test_a_person_who_blocked_the_bot_harms_no_other(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    service = await start()
    fake(service).blocked.add(fake(service).person_id("ada"))
    await service.platform.say("hello")
    await service.platform.say("hello from bob", person="bob")
    await service.answers("You said: hello from bob")
    await until(lambda: "may not write to chat" in caplog.text, "it is logged")
    assert "adapters.telegram.allow_users" in caplog.text and f"https://t.me/{USERNAME}" in caplog.text


async def test_two_programs_with_one_token(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    service = await start()
    first = fake(service)._poll
    assert first is not None
    first.cancel()
    fake(service)._poll = asyncio.current_task()
    await until(lambda: "Another program receives" in caplog.text, "it is logged")
    fake(service)._poll = None
    await service.platform.say("mine again")
    await service.answers("You said: mine again")


async def test_the_check_tells_what_is_set_up(start: Start) -> None:
    platform = FakeTelegram(privacy=True)
    service = await start(platform, {"human_chat": GROUP})
    adapter = service.make()
    assert isinstance(adapter, TelegramAdapter)
    found = {one.what: one for one in await adapter.check()}
    assert all(one.ok for one in found.values())
    assert found["adapters.telegram.human_chat"].said == "The office" and "privacy" in found["groups"].said
    platform.lacking = {"getWebhookInfo"}
    assert all(one.ok for one in await adapter.check())
    platform.revoke()
    [refused] = await adapter.check()
    assert not refused.ok and "t.me/BotFather" in refused.said


def test_a_button_fits() -> None:
    assert len(button_data("0" * 32, 1).encode()) <= 64
