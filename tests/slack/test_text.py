from __future__ import annotations

import re
from html import unescape

import pytest
from botkit_slack import text as texts
from hypothesis import given, settings
from hypothesis import strategies as st

from botkit.messages import Reply, Source
from botkit.testing.conformance import long_answer
from botkit.testing.slack import _checked

WORDS = st.one_of(st.text(max_size=400), st.text(alphabet="ab*_`~<>@!#&|\n 中😀", max_size=400))


@given(WORDS)
@settings(max_examples=300, deadline=None)
def test_slack_takes_any_answer_and_shows_all_of_it(text: str) -> None:
    pieces = texts.pieces(text)
    for piece in pieces:
        _checked({"text": texts.fallback(piece), "blocks": texts.markdown_blocks(piece)})
        edited = texts.fallback(piece, edited=True)
        assert len(edited.encode()) <= 4000 and not re.search(r"&(?!(amp|lt|gt);)", edited)
        assert not re.search(r"<[@#!]", piece)
    if text.strip() and not re.search(r"[\x00-\x1f\x7f\ud800-\udfff]|&", text.replace("\n", "")):
        assert re.sub(r"\s", "", unescape("".join(pieces))) == re.sub(r"\s", "", text)


@given(WORDS, st.lists(WORDS, max_size=25), st.lists(st.tuples(WORDS, WORDS), max_size=12), st.booleans())
@settings(max_examples=150, deadline=None)
def test_slack_takes_what_stands_under_any_answer(
    text: str, options: list[str], named: list[tuple[str, str]], human: bool
) -> None:
    sources = tuple(Source("d.md", title, heading, 3, 0, 1, "p", 0, 0.5) for title, heading in named)
    reply = Reply(text, "unknown", 0.5, "c", options=tuple(options), sources=sources, hand_off_offered=human)
    _checked({"text": "x", "blocks": [*texts.markdown_blocks("x"), *texts.extras(reply, human=human)]})


@given(st.text(alphabet="ab<>&@!#| 中\n", max_size=200))
def test_what_people_write_is_read_as_they_wrote_it(text: str) -> None:
    assert texts.readable(texts.mrkdwn(text), "U0BOT") == text.strip(" \t\r\n:,，：").strip()


def test_the_long_answer_of_the_suite() -> None:
    pieces = texts.pieces(long_answer())
    assert len(pieces) >= 2 and all(len(piece) <= texts.LONGEST for piece in pieces)
    for piece in pieces:  # also what reads no blocks gets the whole
        assert unescape(texts.fallback(piece)) == unescape(piece)


@pytest.mark.parametrize("text", ["退" * 2000, "&" * 900, "a" * 3999 + "é", "<" * 1000])
def test_an_edited_messages_text_fits(text: str) -> None:
    edited = texts.fallback(text, edited=True)
    assert len(edited.encode()) <= 4000 and not re.search(r"&(?!(amp|lt|gt);)", edited)
    assert len(edited.encode()) > 3980 or edited == texts.fallback(text)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("<@U0BOT> hello", "hello"),
        ("hello <@U0BOT>, you", "hello , you"),
        ("<https://a.b>", "https://a.b"),
        ("<mailto:a@b.c|a@b.c>", "a@b.c"),
        ("<!subteam^S1|@team> a &amp; b", "@team a & b"),
        ("<#C1|general> <#C2>", "#general #C2"),
    ],
)
def test_readable(written: str, read: str) -> None:
    assert texts.readable(written, "U0BOT") == read
