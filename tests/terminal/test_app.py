from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("textual", reason="needs the extra terminal")

from botkit_terminal.app import ChatApp
from botkit_terminal.dialogs import Choice, Help, Line, _table
from botkit_terminal.session import Command, help_lines
from botkit_terminal.widgets import LONGEST_SHOWN, Bubble, Keys, Options, marked
from botkit_terminal.words import word
from rich.console import Console
from textual.content import Content
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static
from textual.widgets._footer import FooterKey

from botkit.errors import BotkitError, LibraryError, ModelError
from botkit.knowledge.ingest import Progress
from botkit.messages import Delta, Message, Source, Status

from .engines import PASSAGE, REFUND, ScriptedEngine, answer, session

WIDE = (120, 40)


@asynccontextmanager
async def chat(
    engine: ScriptedEngine, size: tuple[int, int] = WIDE, **config: Any
) -> AsyncIterator[tuple[ChatApp, Pilot[None]]]:
    app = ChatApp(session(engine, **config))
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.pause()
        yield app, pilot


def held_back(engine: ScriptedEngine) -> asyncio.Event:
    """What the answer to "slow" waits for."""
    gate = asyncio.Event()
    engine.script["slow"] = [Status("reading"), gate, answer()]
    return gate


async def until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    """Let the app run until something is so; pytest's patience is the limit."""

    async def wait() -> None:
        while not condition():
            await pilot.pause()

    await asyncio.wait_for(wait(), timeout=20)


async def say(app: ChatApp, pilot: Pilot[None], text: str) -> None:
    """Type a line, send it, and wait until all that follows from it is done or waits for the person."""
    app.prompt.put(text)
    await pilot.press("enter")
    await pilot.pause()
    await until(pilot, lambda: len(app.screen_stack) > 1 or not busy(app))
    await pilot.pause()


def busy(app: ChatApp) -> bool:
    return any(not worker.is_finished for worker in app.workers)


def bubbles(app: ChatApp, role: str = "bot") -> list[Bubble]:
    return [bubble for bubble in app.conversation.query(Bubble) if bubble.has_class(role)]


def status(app: ChatApp) -> str:
    return str(app.screen_stack[0].query_one("#status", Static).content)


def shown(app: ChatApp) -> list[str | None]:
    return [part.id for part in (app.conversation, app.sources) if part.display]


def focus(app: ChatApp) -> str | None:
    return app.focused.id if app.focused else None


def on_screen(app: ChatApp) -> str:
    """The visible text, line by line."""
    return "\n".join("".join(segment.text for segment in line) for line in app.screen._compositor.render_strips())


# ---- answering -------------------------------------------------------------------------------------------------------


async def test_a_reply_grows_as_it_comes(engine: ScriptedEngine) -> None:
    first, second = asyncio.Event(), asyncio.Event()
    engine.script["When?"] = [Status("reading"), first, Delta("Refunds take "), second, Delta("five days."), answer()]
    async with chat(engine) as (app, pilot):
        app.prompt.put("When?")
        await pilot.press("enter")
        await until(pilot, lambda: bubbles(app)[-1].text == "reading …")
        first.set()
        await until(pilot, lambda: bubbles(app)[-1].text == "Refunds take ")
        second.set()
        await until(pilot, lambda: bubbles(app)[-1].reply is not None)
        assert bubbles(app)[-1].text == "Refunds take five days."
        assert bubbles(app, "user")[-1].text == "When?"


async def test_facts_stand_quietly_below_a_reply(engine: ScriptedEngine) -> None:
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "When?")
        assert bubbles(app)[-1].facts == "answer · 92% sure · neutral · 143 ms · Returns › Refunds › p. 3"


async def test_only_a_question_back_with_readings_says_how_sure_it_is(engine: ScriptedEngine) -> None:
    engine.script["?"] = answer("What do you mean?", route="clarify", confidence=1.0, sources=())
    engine.script["How long?"] = answer("Which?", route="clarify", confidence=0.5, options=("Returns", "Shipping"))
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "?")
        assert bubbles(app)[-1].facts == "question back · neutral · 143 ms"
        await say(app, pilot, "How long?")
        assert bubbles(app)[-1].facts == "question back · 50% sure · neutral · 143 ms"
        await say(app, pilot, f"/switch {engine.heard[0].conversation}")
        assert "50% sure" in bubbles(app)[-1].facts, "as it was said"


async def test_the_span_is_highlighted_in_its_passage(engine: ScriptedEngine) -> None:
    async with chat(engine) as (app, pilot):
        assert shown(app) == ["conversation"]
        await say(app, pilot, "When?")
        assert shown(app) == ["conversation", "sources"]
        title, passage, facts = (widget.content for widget in app.sources.query(Static))
        assert str(title) == "1  Returns › Refunds › p. 3"
        assert isinstance(passage, Content) and str(passage) == PASSAGE
        [span] = passage.spans
        assert PASSAGE[span.start : span.end] == "five days"
        assert str(facts) == "92% · shop/returns.md · 137–146"


def test_a_source_that_was_not_read_has_no_highlight() -> None:
    whole = Source("a.md", "A", "", None, 100, 100 + len(PASSAGE), PASSAGE, 100, 0.1)
    assert not marked(whole).spans


async def test_control_characters_of_a_document_do_not_reach_the_terminal(engine: ScriptedEngine) -> None:
    engine.script["x"] = answer("red \x1b[31m alert\x07 \u202e reversed", answer="alert\x07")
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "x")
        assert bubbles(app)[-1].text == "red  [31m alert    reversed"
        assert "\x1b" not in on_screen(app)


async def test_markup_in_a_message_is_only_text(engine: ScriptedEngine) -> None:
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "[bold]hello[/nothing] [@click=app.quit]x[/]")
        assert "[bold]hello[/nothing]" in on_screen(app)


async def test_a_very_long_message_is_sent_whole_and_shown_in_part(engine: ScriptedEngine) -> None:
    text = "word " * 20_000
    async with chat(engine) as (app, pilot):
        await say(app, pilot, text)
        assert engine.heard[-1].text == text.strip()
        assert len(bubbles(app, "user")[-1].text) < LONGEST_SHOWN + 100


async def test_an_error_is_told_and_the_conversation_goes_on(engine: ScriptedEngine) -> None:
    engine.script["bad"] = ModelError("The reader is missing. Run `botkit doctor`.")
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "bad")
        assert bubbles(app, "error")[-1].text == "The reader is missing. Run `botkit doctor`."
        await say(app, pilot, "good")
        assert bubbles(app)[-1].text == "Refunds take five days."
        assert len(bubbles(app)) == 2, "the greeting and one reply: the failed one left no empty bubble"


async def test_a_bug_is_told_and_the_conversation_goes_on(
    engine: ScriptedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.script["bug"] = ZeroDivisionError("division by zero")
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "bug")
        assert "ZeroDivisionError" in bubbles(app, "error")[-1].text
        await say(app, pilot, "good")
        assert bubbles(app)[-1].text == "Refunds take five days."


async def test_a_reply_that_comes_after_a_new_conversation_began_does_not_count_as_its_last(
    engine: ScriptedEngine,
) -> None:
    gate = held_back(engine)
    async with chat(engine) as (app, pilot):
        app.prompt.put("slow")
        await pilot.press("enter")
        await until(pilot, lambda: len(engine.heard) == 1)
        await pilot.press("ctrl+n")
        gate.set()
        await until(pilot, lambda: not busy(app))
        await say(app, pilot, "/explain")
        assert bubbles(app, "note")[-1].text == "There is no reply to explain yet."


# ---- loading ---------------------------------------------------------------------------------------------------------


async def test_the_screen_says_that_models_load_and_takes_messages_meanwhile(engine: ScriptedEngine) -> None:
    engine.loaded.clear()
    gate = asyncio.Event()
    engine.script["early"] = [gate, answer()]
    async with chat(engine) as (app, pilot):
        assert "loading the models" in status(app)
        app.prompt.put("early")
        await pilot.press("enter")
        await until(pilot, lambda: bubbles(app)[-1].text == "the models are still loading …")
        engine.loaded.set()
        gate.set()
        await until(pilot, lambda: bubbles(app)[-1].text == "Refunds take five days.")
        await until(pilot, lambda: "3 documents" in status(app))


async def test_the_first_reading_of_documents_shows_how_far_it_is(engine: ScriptedEngine) -> None:
    engine.loaded.clear()
    engine.knowledge.gate.clear()
    engine.knowledge.steps = [Progress(5, 10, 500, 1000, "five.md")]
    async with chat(engine) as (app, pilot):
        await until(pilot, lambda: "reading documents ━━━━━━━━╌╌╌╌╌╌╌╌ 5/10" in status(app))
        engine.knowledge.gate.set()
        await until(pilot, lambda: "loading the models" in status(app))
        engine.loaded.set()
        await until(pilot, lambda: "3 documents" in status(app))


async def test_models_that_cannot_be_loaded_are_told(engine: ScriptedEngine) -> None:
    engine.knowledge.fails = ModelError("There is no model 'x'.")
    async with chat(engine) as (app, pilot):
        await until(pilot, lambda: "not ready" in status(app))
        assert bubbles(app, "error")[-1].text == "There is no model 'x'."


async def test_leaving_stops_a_reading_of_documents(engine: ScriptedEngine) -> None:
    begun, left, stopped = threading.Event(), threading.Event(), threading.Event()

    def prepare(progress: Callable[[Progress], None]) -> None:
        begun.set()
        left.wait(20)
        try:
            progress(Progress(1, 9, 1, 9, "a.md"))
        except BotkitError:
            stopped.set()
            raise

    engine.knowledge.prepare = prepare  # type: ignore[method-assign, assignment]
    async with chat(engine) as (_, pilot):
        await until(pilot, begun.is_set)
        await pilot.press("ctrl+q")
    left.set()
    assert await asyncio.to_thread(stopped.wait, 20)
    assert engine.prepares_by_itself is False, "or leaving would begin the reading anew"


async def test_documents_are_read_one_after_another(engine: ScriptedEngine, tmp_path: Path) -> None:
    engine.knowledge.gate.clear()
    async with chat(engine) as (app, pilot):
        await until(pilot, lambda: engine.knowledge.reading == 1)
        for _ in range(2):
            app.prompt.put(f"/ingest {tmp_path}")
            await pilot.press("enter")
        await until(pilot, lambda: len(bubbles(app, "note")) == 2)
        assert {note.text for note in bubbles(app, "note")} == {"waiting for the documents that are being read …"}
        engine.knowledge.gate.set()
        await until(pilot, lambda: all(note.text.startswith("Documents: 1 read") for note in bubbles(app, "note")))
        assert not bubbles(app, "error")


async def test_after_an_ingest_that_fails_the_status_is_what_it_was(engine: ScriptedEngine, tmp_path: Path) -> None:
    engine.loaded.clear()

    def ingest(paths: Any, progress: Callable[[Progress], None]) -> None:
        progress(Progress(1, 2, 1, 2, "a.md"))
        raise LibraryError("The disk is full.")

    engine.knowledge.ingest = ingest  # type: ignore[method-assign, assignment]
    async with chat(engine) as (app, pilot):
        before = status(app)
        app.prompt.put(f"/ingest {tmp_path}")
        await pilot.press("enter")
        await until(pilot, lambda: bool(bubbles(app, "error")))
        assert "loading the models" in before and status(app) == before
        engine.loaded.set()


# ---- writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["shift+enter", "ctrl+j"])
async def test_a_message_may_have_several_lines(engine: ScriptedEngine, key: str) -> None:
    async with chat(engine) as (_, pilot):
        await pilot.press("o", "n", "e", key, "t", "w", "o", "enter")
        await until(pilot, lambda: bool(engine.heard))
        assert engine.heard[0].text == "one\ntwo"


async def test_blank_messages_are_not_sent(engine: ScriptedEngine) -> None:
    async with chat(engine) as (_, pilot):
        await pilot.press("space", "enter", "enter")
        assert not engine.heard


async def test_up_and_down_recall_what_was_sent_and_keep_the_draft(engine: ScriptedEngine) -> None:
    engine.store.record_message(Message("from yesterday", conversation="old", sender="terminal"))
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "first")
        await say(app, pilot, "second")
        await pilot.press("d", "r", "a", "f", "t")
        seen = []
        for key in ("up", "up", "up", "up", "down", "down", "down"):
            await pilot.press(key)
            seen.append(app.prompt.text)
        assert seen == ["second", "first", "from yesterday", "from yesterday", "first", "second", "draft"]


async def test_history_search_puts_a_message_into_the_prompt(engine: ScriptedEngine) -> None:
    for text in ("refund time", "postage to Cork", "refund amount"):
        engine.store.record_message(Message(text, conversation="old", sender="terminal"))
    engine.store.record_message(Message("refund of a stranger", conversation="theirs", sender="someone else"))
    async with chat(engine) as (app, pilot):
        await pilot.press("ctrl+r")
        await until(pilot, lambda: isinstance(app.screen, Choice))
        await pilot.press(*"refund")
        options = app.screen.query_one(OptionList)
        await until(pilot, lambda: options.option_count == 2)
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.prompt.text == "refund time")


async def test_the_numbers_of_the_options_choose_one(engine: ScriptedEngine) -> None:
    engine.script["How long?"] = answer("Which?", route="clarify", options=("Returns: 5 days", "Shipping: 2 days"))
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "How long?")
        assert app.query_one(Options).texts == ("Returns: 5 days", "Shipping: 2 days")
        await pilot.press("2", "enter")
        await until(pilot, lambda: engine.heard[-1].text == "Shipping: 2 days")
        await until(pilot, lambda: not app.query(Options))
        await pilot.press("2", "enter")
        await until(pilot, lambda: engine.heard[-1].text == "2")  # without options a number is just a number


@pytest.mark.parametrize("text", ["15天内可以退货吗", "2 days?", "3"])
async def test_a_message_that_begins_with_a_number_chooses_no_option(engine: ScriptedEngine, text: str) -> None:
    engine.script["How long?"] = answer("Which?", route="clarify", options=("Returns: 5 days", "Shipping: 2 days"))
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "How long?")
        await pilot.press(*text, "enter")
        await until(pilot, lambda: len(engine.heard) == 2)
        assert engine.heard[-1].text == text


async def test_a_click_on_an_option_chooses_it(engine: ScriptedEngine) -> None:
    engine.script["How long?"] = answer("Which?", route="clarify", options=("Returns [red]", "Shipping"))
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "How long?")
        await pilot.click(app.query_one(Options).query("Button").first())
        await until(pilot, lambda: engine.heard[-1].text == "Returns [red]")
        assert app.focused is app.prompt


async def test_an_offered_hand_off_has_a_button(engine: ScriptedEngine) -> None:
    engine.script["grr"] = answer("Sorry. Would you like a human?", route="unknown", hand_off_offered=True)
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "grr")
        await pilot.press("1", "enter")
        await until(pilot, lambda: engine.heard[-1].text == "Yes, please")


# ---- commands --------------------------------------------------------------------------------------------------------


async def test_a_rating_with_its_note_is_stored(engine: ScriptedEngine) -> None:
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "When?")
        await pilot.press("f4")
        await until(pilot, lambda: isinstance(app.screen, Line))
        await pilot.press(*"wrong", "enter")
        await until(pilot, lambda: not busy(app))
        [turn] = [turn for turn in engine.store.history(engine.heard[0].conversation) if turn.role == "bot"]
        assert (turn.rating, turn.note) == (-1, "wrong")
        assert bubbles(app)[-1].facts.endswith("👎")


async def test_escape_takes_a_rating_back(engine: ScriptedEngine) -> None:
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "When?")
        await pilot.press("f3")
        await until(pilot, lambda: isinstance(app.screen, Line))
        await pilot.press("escape")
        await until(pilot, lambda: not busy(app))
        assert all(turn.rating is None for turn in engine.store.history(engine.heard[0].conversation))


async def test_rating_by_command(engine: ScriptedEngine) -> None:
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "/up")
        assert bubbles(app, "error")[-1].text == "There is no reply to rate yet."
        await say(app, pilot, "When?")
        await say(app, pilot, "/up just right")
        assert [turn.note for turn in engine.store.history(engine.heard[0].conversation) if turn.rating == 1] == [
            "just right"
        ]


async def test_help_lists_keys_and_commands(engine: ScriptedEngine) -> None:
    async with chat(engine, size=(100, 60)) as (app, pilot):
        await say(app, pilot, "/help")
        assert isinstance(app.screen, Help)
        shown = on_screen(app)
        for expected in ("Shift+Enter", "/ingest PATH", "/export [FILE]", "/up [NOTE]", "dark or light"):
            assert expected in shown
        await pilot.press("escape")
        assert app.focused is app.prompt


async def test_explain_shows_rule_and_scores(engine: ScriptedEngine) -> None:
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "When?")
        await say(app, pilot, "/explain")
        told = bubbles(app, "note")[-1].text
        for expected in ("the best span is sure enough", "rewritten", "read 40 ms", "BM25 7.50", "no answer -3.00"):
            assert expected in told


async def test_ingest_reads_a_path(engine: ScriptedEngine, tmp_path: Path) -> None:
    async with chat(engine) as (app, pilot):
        await say(app, pilot, f"/ingest {tmp_path}")
        assert engine.knowledge.ingested == [tmp_path]
        assert bubbles(app, "note")[-1].text == "Documents: 1 read, 0 replaced, 0 removed, 0 unchanged."
        (tmp_path / "my docs").mkdir()
        for written in (f"{tmp_path}/my\\ docs", f'"{tmp_path}/my docs"', f"{tmp_path}/my docs"):
            await say(app, pilot, f"/ingest {written}")
            assert engine.knowledge.ingested[-1] == tmp_path / "my docs"
        for written in ('""', "x" * 2_000, f"{tmp_path}'"):
            await say(app, pilot, f"/ingest {written}")
            assert "name a file or folder" in bubbles(app, "error")[-1].text
        assert engine.knowledge.ingested[-1] == tmp_path / "my docs"
        await say(app, pilot, "/ingest /no/such/place")
        assert "/no/such/place" in bubbles(app, "error")[-1].text
        assert "3 documents" in status(app)


async def test_lang_sets_the_language_of_messages_and_of_the_screen(engine: ScriptedEngine) -> None:
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "/lang zh")
        await say(app, pilot, "hello")
        assert engine.heard[-1].language == "zh"
        assert "中文" in status(app)
        assert bubbles(app)[-1].facts.startswith("答案 · 把握 92%")
        assert {"帮助", "退出"} <= {key.description for key in app.query(FooterKey)}
        assert app.prompt.placeholder == word("prompt", "zh")
        await say(app, pilot, "/lang fr")
        assert "请选择 en、zh 或 auto" in bubbles(app, "error")[-1].text
        await say(app, pilot, "/lang auto")
        await say(app, pilot, "hello")
        assert engine.heard[-1].language is None


async def test_an_unknown_command_is_named_and_not_sent(engine: ScriptedEngine) -> None:
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "/explane")
        assert bubbles(app, "error")[-1].text == "There is no command /explane; did you mean /explain?"
        await say(app, pilot, "/etc/hosts is what?")
        assert [message.text for message in engine.heard] == ["/etc/hosts is what?"]


async def test_clear_empties_the_screen_and_keeps_the_conversation(engine: ScriptedEngine) -> None:
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "When?")
        await say(app, pilot, "/clear")
        assert not bubbles(app)
        await say(app, pilot, "And then?")
        assert len({message.conversation for message in engine.heard}) == 1
        assert len(engine.store.history(engine.heard[0].conversation)) == 4


async def test_clear_keeps_the_question_whose_answer_is_coming(engine: ScriptedEngine) -> None:
    gate = held_back(engine)
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "When?")
        for line in ("slow", "/clear"):
            app.prompt.put(line)
            await pilot.press("enter")
        await until(pilot, lambda: len(app.conversation.query(Bubble)) == 2)
        gate.set()
        await until(pilot, lambda: bubbles(app)[-1].reply is not None)
        assert [bubble.text for bubble in app.conversation.query(Bubble)] == ["slow", "Refunds take five days."]
        await say(app, pilot, "/clear")
        assert not app.conversation.query(Bubble)


async def test_an_answer_that_comes_after_one_went_elsewhere_and_back_is_shown(engine: ScriptedEngine) -> None:
    gate = held_back(engine)
    async with chat(engine) as (app, pilot):
        app.prompt.put("slow")
        await pilot.press("enter")
        await until(pilot, lambda: len(engine.heard) == 1)
        for line in ("/new", f"/switch {engine.heard[0].conversation}"):
            app.prompt.put(line)
            await pilot.press("enter")
        await until(pilot, lambda: [bubble.text for bubble in app.conversation.query(Bubble)] == ["slow"])
        gate.set()
        await until(pilot, lambda: bubbles(app)[-1].reply is not None)
        assert [bubble.text for bubble in app.conversation.query(Bubble)] == ["slow", "Refunds take five days."]


@pytest.mark.parametrize("command", ["/clear", "/new"])
async def test_the_report_of_an_ingest_comes_even_if_its_note_was_cleared(
    engine: ScriptedEngine, tmp_path: Path, command: str
) -> None:
    async with chat(engine) as (app, pilot):
        engine.knowledge.gate.clear()
        for line in (f"/ingest {tmp_path}", command):
            app.prompt.put(line)
            await pilot.press("enter")
            await pilot.pause(0.1)
        engine.knowledge.gate.set()
        await until(pilot, lambda: any("1 read" in bubble.text for bubble in bubbles(app, "note")))


async def test_a_conversation_chosen_on_a_narrow_screen_is_in_sight(engine: ScriptedEngine) -> None:
    async with chat(engine, size=(60, 20)) as (app, pilot):
        await say(app, pilot, "When?")
        await pilot.press("f2")
        assert not app.conversation.display
        app._obey(Command("switch", engine.heard[0].conversation))
        await until(pilot, lambda: app.conversation.display)


async def test_a_rating_that_is_being_stored_is_waited_for(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = engine.rate

    async def slowly(reply_id: str, rating: int, note: str = "") -> None:
        await asyncio.sleep(0.3)
        await stored(reply_id, rating, note)

    monkeypatch.setattr(engine, "rate", slowly)
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "When?")
        app.prompt.put("/up good")
        await pilot.press("enter", "ctrl+q")
        await until(pilot, lambda: not app.is_running)
        assert engine.store.history(engine.heard[0].conversation)[-1].rating == 1


async def test_new_and_switch_go_between_conversations(engine: ScriptedEngine) -> None:
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "one")
        await pilot.press("ctrl+n")
        await say(app, pilot, "two")
        first, second = (message.conversation for message in engine.heard)
        assert first != second
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, Choice))
        await pilot.press(*"one")
        await until(pilot, lambda: app.screen.query_one(OptionList).option_count == 1)
        await pilot.press("enter")
        await until(pilot, lambda: not busy(app))
        assert [bubble.text for bubble in app.conversation.query(Bubble)] == ["one", "Refunds take five days."]
        assert "92% sure" in bubbles(app)[-1].facts, "a stored reply shows what the live one did"
        assert PASSAGE in [str(widget.content) for widget in app.sources.query(Static)]
        await say(app, pilot, "/down")
        assert [turn.rating for turn in engine.store.history(first)] == [None, -1]


async def test_search_finds_a_conversation_by_what_the_bot_said(engine: ScriptedEngine) -> None:
    engine.script["one"] = answer("Only once: zebra.")
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "one")
        await pilot.press("ctrl+n")
        await say(app, pilot, "/search zebra")
        await until(pilot, lambda: app.screen.query_one(OptionList).option_count == 1)
        await pilot.press("enter")
        await until(pilot, lambda: not busy(app))
        assert bubbles(app)[-1].text == "Only once: zebra."


async def test_a_named_conversation_goes_on_where_it_was(engine: ScriptedEngine) -> None:
    engine.store.record_message(Message("hello again", conversation="mine", sender="terminal"))
    async with chat(engine, conversation="mine") as (app, pilot):
        await until(pilot, lambda: bool(bubbles(app, "user")))
        assert bubbles(app, "user")[-1].text == "hello again"
        await say(app, pilot, "more")
        assert engine.heard[-1].conversation == "mine"


async def test_export_asks_for_a_file_and_writes_markdown_or_json_lines(
    engine: ScriptedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "When?")
        await say(app, pilot, f"/export {tmp_path / 'talk.jsonl'}")
        rows = [json.loads(line) for line in (tmp_path / "talk.jsonl").read_text("utf-8").splitlines()]
        assert [(row["role"], row["text"]) for row in rows] == [("user", "When?"), ("bot", "Refunds take five days.")]
        await pilot.press("f8")
        await until(pilot, lambda: isinstance(app.screen, Line))
        app.screen.query_one(Input).value = str(tmp_path / "talk.md")
        await pilot.press("enter")
        await until(pilot, lambda: not busy(app))
        assert "- Returns › Refunds › p. 3 (`shop/returns.md` 137–146)" in (tmp_path / "talk.md").read_text("utf-8")
        monkeypatch.chdir(tmp_path)
        await say(app, pilot, '/export "my talk.md"')
        assert bubbles(app, "note")[-1].text == f"Written: {tmp_path / 'my talk.md'}"
        assert (tmp_path / "my talk.md").read_text("utf-8") == (tmp_path / "talk.md").read_text("utf-8")
        await say(app, pilot, f"/export {tmp_path / 'talk.md'}")
        assert "exists already" in bubbles(app, "error")[-1].text


@pytest.mark.parametrize("keys", [("/", "q", "u", "i", "t", "enter"), ("ctrl+q",), ("ctrl+d",)])
async def test_quit_leaves(engine: ScriptedEngine, keys: tuple[str, ...]) -> None:
    async with chat(engine) as (app, pilot):
        await pilot.press(*keys)
        await until(pilot, lambda: not app.is_running or app._exit)


async def test_ctrl_d_deletes_where_something_stands(engine: ScriptedEngine) -> None:
    async with chat(engine) as (app, pilot):
        await pilot.press("a", "b", "left", "ctrl+d")
        await pilot.pause()
        assert app.prompt.text == "a" and not app._exit


@pytest.mark.parametrize("keys", [("/", "q", "u", "i", "t", "enter"), ("ctrl+q",), ("ctrl+d",)])
async def test_who_leaves_straight_after_a_question_waits_for_its_answer(
    engine: ScriptedEngine, keys: tuple[str, ...]
) -> None:
    gate = held_back(engine)
    async with chat(engine) as (app, pilot):
        app.prompt.put("slow")
        for key in ("enter", *keys):  # faster than pilot.press, which waits after every key
            app.simulate_key(key)
        await until(pilot, lambda: "finishing the answer …" in status(app))
        assert not app._exit
        gate.set()
        await until(pilot, lambda: not app.is_running or app._exit)
    assert [turn.role for turn in engine.store.history(engine.heard[0].conversation)] == ["user", "bot"]


async def test_a_second_ctrl_q_leaves_at_once(engine: ScriptedEngine) -> None:
    engine.script["slow"] = [Status("reading"), asyncio.Event(), answer()]
    async with chat(engine) as (app, pilot):
        app.prompt.put("slow")
        await pilot.press("enter", "ctrl+q")
        await until(pilot, lambda: "finishing the answer …" in status(app))
        await pilot.press("ctrl+q")
        await until(pilot, lambda: not app.is_running or app._exit)
    assert [turn.role for turn in engine.store.history(engine.heard[0].conversation)] == ["user"]


async def test_leaving_lets_the_answer_under_way_finish(engine: ScriptedEngine) -> None:
    gate = held_back(engine)
    async with chat(engine) as (app, pilot):
        app.prompt.put("slow")
        await pilot.press("enter")
        await until(pilot, lambda: len(engine.heard) == 1)
        leaving = asyncio.create_task(app.leave())
        await pilot.pause()
        assert not leaving.done()
        gate.set()
        await leaving
    assert [turn.role for turn in engine.store.history(engine.heard[0].conversation)] == ["user", "bot"]


# ---- the look --------------------------------------------------------------------------------------------------------


async def test_sources_lie_over_the_conversation_at_60_columns(engine: ScriptedEngine) -> None:
    async with chat(engine, size=(60, 20)) as (app, pilot):
        await say(app, pilot, "When?")
        assert shown(app) == ["conversation"]
        assert all(bubble.region.right <= 60 for bubble in app.conversation.query(Bubble))
        await pilot.press("f2")
        assert shown(app) == ["sources"]
        assert app.sources.size.width > 50
        await pilot.resize_terminal(70, 20)
        await pilot.pause()
        assert shown(app) == ["sources"]
        await pilot.press("f2")
        assert (shown(app), focus(app)) == (["conversation"], "prompt")


async def test_what_is_typed_over_the_sources_goes_to_the_prompt(engine: ScriptedEngine) -> None:
    async with chat(engine, size=(60, 20)) as (app, pilot):
        await say(app, pilot, "When?")
        await pilot.press("f2")
        assert (shown(app), focus(app)) == (["sources"], "sources")
        await pilot.press("退", "款")
        assert (app.prompt.text, shown(app), focus(app)) == ("退款", ["conversation"], "prompt")


async def test_escape_closes_sources_that_lie_over_the_conversation(engine: ScriptedEngine) -> None:
    async with chat(engine, size=(60, 20)) as (app, pilot):
        await say(app, pilot, "When?")
        await pilot.press("f2", "escape")
        assert (shown(app), focus(app)) == (["conversation"], "prompt")
        await pilot.click(bubbles(app)[-1])
        await until(pilot, lambda: shown(app) == ["sources"])
        await pilot.press("escape")
        assert shown(app) == ["conversation"]


async def test_what_is_typed_into_a_dialog_stays_there(engine: ScriptedEngine) -> None:
    async with chat(engine) as (app, pilot):
        await pilot.press("ctrl+r")
        await until(pilot, lambda: isinstance(app.screen, Choice))
        await pilot.press("a", "b")
        assert app.screen.query_one(Input).value == "ab" and not app.prompt.text


async def test_sources_come_back_when_the_screen_grows_again(engine: ScriptedEngine) -> None:
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "When?")
        for width, there in ((80, ["conversation"]), (70, ["conversation"]), (120, ["conversation", "sources"])):
            await pilot.resize_terminal(width, 30)
            await pilot.pause()
            assert shown(app) == there
        await pilot.press("f2")
        for width in (80, 120):
            await pilot.resize_terminal(width, 30)
            await pilot.pause()
            assert shown(app) == ["conversation"], "they had been closed"


async def test_sources_stand_beside_the_conversation_when_there_is_room(engine: ScriptedEngine) -> None:
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "When?")
        assert shown(app) == ["conversation", "sources"]
        await pilot.press("f2")
        assert shown(app) == ["conversation"]
        await say(app, pilot, "And now?")
        assert shown(app) == ["conversation"], "who closed the sources does not want them back with the next reply"


async def test_a_click_on_an_earlier_reply_shows_its_sources(engine: ScriptedEngine) -> None:
    engine.script["hi"] = answer("Hello!", route="chat", sources=())
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "When?")
        await say(app, pilot, "hi")
        await pilot.click(bubbles(app)[-2])
        await until(pilot, lambda: "1  Returns › Refunds › p. 3" in [str(w.content) for w in app.sources.query(Static)])


async def test_the_theme_key_switches_between_dark_and_light(engine: ScriptedEngine) -> None:
    async with chat(engine) as (app, pilot):
        assert app.current_theme.dark
        await pilot.press("ctrl+t")
        assert not app.current_theme.dark


async def test_chinese_fits_its_bubble(engine: ScriptedEngine) -> None:
    said = "退款会在五个工作日内退回到您付款时使用的账户，" * 4
    engine.script["退款要多久？"] = answer(said, language="zh", answer="五个工作日")
    async with chat(engine, size=(60, 30)) as (app, pilot):
        await say(app, pilot, "退款要多久？")
        lines = [line.strip(" ▌▐█│") for line in on_screen(app).splitlines()]
        assert said in "".join(lines), "no character is lost where lines wrap"
        assert bubbles(app)[-1].facts.startswith("答案 · 把握 92% · 中性")


async def test_a_chinese_system_is_spoken_to_in_chinese(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    async with chat(engine) as (app, pilot):
        await until(pilot, lambda: "3 份文档" in status(app))
        assert bubbles(app)[0].text.startswith("你好")
        await until(pilot, lambda: "导出" in on_screen(app))


def test_help_in_chinese_is_whole_at_60_columns() -> None:
    console = Console(width=46, file=io.StringIO())
    console.print(_table([*help_lines("zh"), ("1 … 9", word("does_choose", "zh"))]))
    said = "".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "（只输入这个数字）" in said and "耗时" in said


async def test_the_keys_stand_in_the_footer(engine: ScriptedEngine) -> None:
    names = ("Quit", "Help", "Sources", "👍", "👎", "New", "Open", "Search", "Export", "Theme")
    async with chat(engine) as (app, pilot):
        await until(pilot, lambda: all(name in on_screen(app).splitlines()[-1] for name in names))


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [40, 60, 80, 120])
async def test_the_footer_shows_only_keys_that_fit_the_most_important_first(
    engine: ScriptedEngine, width: int, language: str
) -> None:
    names = [word(f"key_{name}", "zh" if language == "zh" else "en") for name in ("quit", "help", "sources")]
    async with chat(engine, size=(width, 24), language=language) as (app, pilot):
        await until(pilot, lambda: [key.description for key in app.query(FooterKey)][:3] == names)
        assert all(key.region.right <= width for key in app.query(FooterKey))
        assert width > 60 or len(app.query(FooterKey)) < 10
        await pilot.resize_terminal(200, 24)
        await until(pilot, lambda: len(app.query(FooterKey)) == 10)


async def test_a_dialog_names_its_keys_and_hides_those_below_it(engine: ScriptedEngine) -> None:
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "When?")
        for key, said in (("f1", "keys_help"), ("ctrl+o", "keys_choice"), ("f3", "keys_line"), ("f8", "keys_line")):
            await pilot.press(key)
            await until(pilot, lambda: len(app.screen_stack) == 2)
            await until(pilot, lambda said=said: word(said, "en") in on_screen(app))  # type: ignore[misc]
            assert not app.screen_stack[0].query_one(Keys).visible
            assert "^t" not in on_screen(app)
            await pilot.press("escape")
            await until(pilot, lambda: "^t Theme" in on_screen(app))


async def test_a_toast_leaves_the_prompt_free(engine: ScriptedEngine) -> None:
    async with chat(engine) as (app, pilot):
        await pilot.press("f3")
        await until(pilot, lambda: word("nothing_to_rate", "en") in on_screen(app))
        lines = on_screen(app).splitlines()
        [line] = [number for number, line in enumerate(lines) if word("nothing_to_rate", "en") in line]
        assert line < 5 and lines[line].index("There") > WIDE[0] // 2


# ---- languages -------------------------------------------------------------------------------------------------------


async def test_the_screen_follows_the_language_of_the_replies(engine: ScriptedEngine) -> None:
    engine.script["退款？"] = answer("五天。", language="zh")
    async with chat(engine) as (app, pilot):
        await until(pilot, lambda: "3 documents · any language" in status(app))
        await say(app, pilot, "退款？")
        assert "3 份文档 · 自动识别语言" in status(app)
        assert app.prompt.placeholder == word("prompt", "zh")
        await until(pilot, lambda: "退出" in on_screen(app).splitlines()[-1])
        await say(app, pilot, "When?")
        assert "3 documents · any language" in status(app)
        assert app.prompt.placeholder == word("prompt", "en")
        await until(pilot, lambda: "Quit" in on_screen(app).splitlines()[-1])


async def test_a_new_conversation_and_another_one_are_in_their_languages(engine: ScriptedEngine) -> None:
    engine.script["退款？"] = answer("五天。", language="zh")
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "退款？")
        await say(app, pilot, "/new")
        assert "3 documents" in status(app)
        await say(app, pilot, f"/switch {engine.heard[0].conversation}")
        assert "3 份文档" in status(app)


async def test_after_lang_the_status_is_said_anew(engine: ScriptedEngine) -> None:
    async with chat(engine) as (app, pilot):
        await until(pilot, lambda: "3 documents · any language" in status(app))
        await say(app, pilot, "/lang zh")
        assert "3 份文档 · 中文" in status(app)
        await say(app, pilot, "/语言 英文")
        assert "3 documents · English" in status(app)


async def test_errors_and_explanations_are_in_the_language_spoken(engine: ScriptedEngine, tmp_path: Path) -> None:
    async with chat(engine, language="zh") as (app, pilot):
        for line, said in (
            ("/没有", "没有命令 /没有；输入 /help 查看全部命令。"),
            ("/explane", "没有命令 /explane；是想输入 /explain 吗？"),
            ("/switch x", "没有对话 'x'。输入 /switch 查看全部对话。"),
            ("/ingest /no/such", "/no/such：请指定存在的文件或文件夹"),
            ("/lang fr", "fr：请选择 en、zh 或 auto。"),
            ("/export", "还没有对话内容"),
        ):
            await say(app, pilot, line)
            assert bubbles(app, "error")[-1].text.startswith(said)
        (tmp_path / "there.md").touch()
        await say(app, pilot, "When?")
        await say(app, pilot, f"/export {tmp_path / 'there.md'}")
        assert "已经存在" in bubbles(app, "error")[-1].text
        await say(app, pilot, "/explain")
        told = bubbles(app, "note")[-1].text
        for expected in ("路线  答案：", "（根据对话改写）", "把握  0.92", "耗时  read 40 ms", "无答案 -3.00"):
            assert expected in told
        await pilot.press("ctrl+c")
        await until(pilot, lambda: [one.message for one in app._notifications] == [word("how_to_quit", "zh")])


# ---- looking back ----------------------------------------------------------------------------------------------------


async def test_search_scrolls_to_what_it_found(engine: ScriptedEngine) -> None:
    engine.script["first"] = answer("Only once: zebra.")
    async with chat(engine, size=(100, 24)) as (app, pilot):
        await say(app, pilot, "first")
        for number in range(12):
            await say(app, pilot, f"question {number}")
        await say(app, pilot, "/search zebra")
        await until(pilot, lambda: app.screen.query_one(OptionList).option_count == 1)
        await pilot.press("enter")
        await until(pilot, lambda: not busy(app))
        await until(pilot, lambda: "zebra" in on_screen(app))
        [found] = app.conversation.query(".found").results(Bubble)
        assert found.text == "Only once: zebra."
        await say(app, pilot, "more")
        assert bubbles(app)[-1].region.bottom <= app.conversation.region.bottom, "a new question is seen again"


async def test_alt_up_and_down_walk_through_replies_with_sources(engine: ScriptedEngine) -> None:
    old = Source("old.md", "Old", "", None, 0, 3, PASSAGE, 0, 0.5)
    engine.script["one"] = answer("First.", sources=(old,))
    engine.script["hi"] = answer("Hello!", route="chat", sources=())
    async with chat(engine, size=(100, 24)) as (app, pilot):
        await pilot.press("alt+up")
        assert shown(app) == ["conversation"]
        for text in ("one", "two", "hi"):
            await say(app, pilot, text)
        first, last = bubbles(app)[1:3]
        for key, bubble, title in (
            ("alt+up", last, "1  Returns › Refunds › p. 3"),
            ("alt+up", first, "1  Old"),
            ("alt+up", first, "1  Old"),
            ("alt+down", last, "1  Returns › Refunds › p. 3"),
        ):
            await pilot.press(key)
            await pilot.pause()
            assert list(app.conversation.query(".marked")) == [bubble]
            assert str(app.sources.query(".source-title").first(Static).content) == title
        assert app.focused is app.prompt
        await say(app, pilot, "two")
        assert not app.conversation.query(".marked")


async def test_a_marked_reply_is_in_sight_when_its_sources_are_closed(engine: ScriptedEngine) -> None:
    async with chat(engine, size=(60, 20)) as (app, pilot):
        for number in range(6):
            await say(app, pilot, f"question {number}")
        await pilot.press("alt+up", "alt+up", "alt+up", "alt+up", "alt+up")
        assert shown(app) == ["sources"]
        await pilot.press("escape")
        await until(pilot, lambda: "question 3" in on_screen(app) and "question 5" not in on_screen(app))
        await say(app, pilot, "more")
        assert "more" in on_screen(app) and not app.conversation.query(".marked")


async def test_a_rating_is_of_the_reply_that_was_there_when_it_began(engine: ScriptedEngine) -> None:
    gate = held_back(engine)
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "When?")
        app.prompt.put("slow")
        await pilot.press("enter")
        await until(pilot, lambda: len(engine.heard) == 2)
        await pilot.press("f4")
        await until(pilot, lambda: isinstance(app.screen, Line))
        await pilot.press(*"bad")
        gate.set()
        await until(pilot, lambda: len([one for one in bubbles(app) if one.reply]) == 2)
        await pilot.press("enter")
        await until(pilot, lambda: not busy(app))
        turns = [turn for turn in engine.store.history(engine.heard[0].conversation) if turn.role == "bot"]
        assert [(turn.rating, turn.note) for turn in turns] == [(-1, "bad"), (None, "")]


async def test_what_is_edited_of_something_recalled_is_kept_and_up_moves_in_a_wrapped_line(
    engine: ScriptedEngine,
) -> None:
    long = "a question of many words " * 6
    async with chat(engine, (60, 24)) as (app, pilot):
        await say(app, pilot, "first")
        await say(app, pilot, long.strip())
        await pilot.press("up", "!", "up")
        assert app.prompt.text == long.strip() + "!", "the cursor has moved a line up in it"
        await pilot.press("up", "up", "up")
        assert app.prompt.text == "first"
        await pilot.press("down")
        assert app.prompt.text == long.strip() + "!"


async def test_sources_are_those_of_the_last_reply(engine: ScriptedEngine) -> None:
    engine.script["hi"] = answer("Hello!", route="chat", sources=())
    async with chat(engine) as (app, pilot):
        assert app.sources.query(Static), "an empty panel says that it is empty"
        await say(app, pilot, "When?")
        await say(app, pilot, "hi")
        await pilot.click(bubbles(app)[-2])
        titled = "1  Returns › Refunds › p. 3"
        await until(pilot, lambda: titled in [str(one.content) for one in app.sources.query(Static)])
        await say(app, pilot, "/sources")
        await until(pilot, lambda: titled not in [str(one.content) for one in app.sources.query(Static)])


async def test_each_stored_conversation_can_be_found(engine: ScriptedEngine) -> None:
    for number in range(60):
        engine.store.record_message(Message(f"number {number:02}", conversation=f"c{number}", sender="terminal"))
    async with chat(engine) as (app, pilot):
        await pilot.press("ctrl+o")
        await until(pilot, lambda: len(app.screen_stack) > 1)
        await pilot.press(*"number 00")
        await pilot.pause()
        await pilot.press("enter")
        await until(pilot, lambda: not busy(app))
        assert [bubble.text for bubble in bubbles(app, "user")] == ["number 00"]


async def test_the_marked_words_are_those_of_the_source(engine: ScriptedEngine) -> None:
    passage = "In 2012 shipping cost 12 euros."
    at = passage.index("12 euros")
    source = replace(REFUND, passage=passage, start=100 + at, end=100 + at + 2)
    engine.script["How much?"] = answer(passage, answer="12", sources=(source,))
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "How much?")
        words = bubbles(app)[-1].query_one(".words", Static).content
        assert [(span.start, span.end) for span in words.spans] == [(at, at + 2)]  # type: ignore[union-attr]


async def test_a_window_of_a_few_columns_is_survived(engine: ScriptedEngine) -> None:
    async with chat(engine) as (app, pilot):
        await say(app, pilot, "When?")
        for columns in (8, 3, 1, 60):
            await pilot.resize_terminal(columns, 20)
            await pilot.pause()
        assert app.is_running and bubbles(app)[-1].text == "Refunds take five days."
