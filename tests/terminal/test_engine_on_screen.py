"""The full-screen chat on a real engine: real search, store and knowledge, with small deterministic models."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("textual", reason="needs the extra terminal")

from botkit_terminal import TerminalConfig
from botkit_terminal.app import ChatApp
from botkit_terminal.session import Session
from botkit_terminal.widgets import Options
from textual.content import Content
from textual.widgets import Static

from tests.parts import Bot, MakeBot

from .test_app import bubbles, say, status, until


def chat(bot: Bot) -> ChatApp:
    return ChatApp(Session(bot.engine, TerminalConfig(conversation="mine")))


async def test_an_answer_with_its_source_and_a_rating_that_is_kept(make_bot: MakeBot) -> None:
    bot = make_bot()
    async with (app := chat(bot)).run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "1 document ·" in status(app))
        await say(app, pilot, "Within how many days can I return a kite?")
        assert bubbles(app)[-1].text == "You can return a kite within 30 days."
        _, passage, facts = (widget.content for widget in app.sources.query(Static))
        assert isinstance(passage, Content)
        [span] = passage.spans
        assert str(passage)[span.start : span.end] == "You can return a kite within 30 days"
        assert "shop.md" in str(facts)
        await say(app, pilot, "/up thanks")
        assert [(turn.rating, turn.note) for turn in bot.engine.store.history("mine")] == [(None, ""), (1, "thanks")]


async def test_what_was_ingested_from_the_screen_is_answered(make_bot: MakeBot, tmp_path: Path) -> None:
    (tmp_path / "mill.md").write_text("# Mill\n\nThe windmill grinds forty sacks of barley.\n", encoding="utf-8")
    async with (app := chat(make_bot())).run_test(size=(120, 40)) as pilot:
        await say(app, pilot, f"/ingest {tmp_path / 'mill.md'}")
        assert bubbles(app, "note")[-1].text.startswith("Documents: 1 read")
        assert "2 documents" in status(app)
        await say(app, pilot, "How many sacks of barley does the windmill grind?")
        assert bubbles(app)[-1].text == "The windmill grinds forty sacks of barley."


async def test_a_number_key_settles_which_answer_was_meant(make_bot: MakeBot, tmp_path: Path) -> None:
    bot = make_bot(shop=False)
    bot.teach(
        tmp_path / "two",
        land="# Land\n\nThe ticket costs 12 euros.\n",
        sea="# Sea\n\nThe ticket costs 30 euros.\n",
    )
    async with (app := chat(bot)).run_test(size=(120, 40)) as pilot:
        await say(app, pilot, "What does the ticket cost?")
        options = app.query_one(Options).texts
        assert len(options) == 2
        await pilot.press("2", "enter")
        await until(pilot, lambda: len(bubbles(app)) == 3 and bubbles(app)[-1].reply is not None)
        expected = "12 euros" if "12 euros" in options[1] else "30 euros"
        assert expected in bubbles(app)[-1].text
