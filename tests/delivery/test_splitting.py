from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from botkit.delivery import split
from botkit.testing.conformance import long_answer

MARKS = st.sampled_from(
    ["```", "```python\n", "\n", "\n\n", "| a | b |\n|---|---|\n", "| 1 | 2 |\n", "。", ". ", "你好", "🙂", "~~~"]
)
MARKDOWN = st.lists(st.one_of(st.text(max_size=60), MARKS), max_size=60).map("".join)


def utf16(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@given(MARKDOWN, st.integers(100, 400))
@example("```\n" + "x" * 900 + "\n```", 100)
@example("a\u0301" * 300, 101)
def test_no_piece_is_too_long_and_nothing_is_lost(text: str, limit: int) -> None:
    pieces = split(text, limit, measure=utf16)
    assert all(piece.strip() and utf16(piece) <= limit for piece in pieces)
    if "```" not in text and "~~~" not in text and "|" not in text:
        assert re.sub(r"\s", "", "".join(pieces)) == re.sub(r"\s", "", text)
    else:
        missing = set(re.sub(r"[\s`~|\-]", "", text)) - set("".join(pieces))
        assert not missing


def test_a_short_text_stays_whole() -> None:
    text = "# Title\n\nOne.\n\n```python\nprint(1)\n```\n\nTwo."
    assert split(text, 500) == [text]


def test_nothing_gives_nothing() -> None:
    assert split("", 100) == []
    assert split("\n \n", 100) == []


def test_cuts_fall_between_paragraphs_then_sentences() -> None:
    first, second = "One sentence here. " * 5, "Another sentence there. " * 5
    assert split(f"{first.strip()}\n\n{second.strip()}", 130) == [first.strip(), second.strip()]
    for piece in split("这是一句话。" * 50, 100):
        assert piece.endswith("。")
    for piece in split("This is one of many sentences. " * 30, 100):
        assert piece.endswith(".")


def test_words_stay_whole_where_a_sentence_is_too_long() -> None:
    words = " ".join(f"word{number}" for number in range(100))
    assert " ".join(split(words, 100)) == words


def test_a_cut_code_block_is_closed_and_opened_again() -> None:
    code = "\n".join(f"print({number})" for number in range(60))
    pieces = split(f"Look:\n\n```python\n{code}\n```\n\nDone.", 200)
    assert len(pieces) > 3
    inside = [piece for piece in pieces if "print" in piece]
    for piece in inside:
        assert piece.count("```") == 2 and "```python\n" in piece
    lines = [line for piece in inside for line in piece.splitlines() if line.startswith("print")]
    assert lines == code.splitlines()
    assert "Done." in pieces[-1]


def test_an_indented_line_of_code_keeps_its_indent() -> None:
    pieces = split("```\n" + "    deep\n" * 60 + "```", 150)
    assert all(line.startswith(("    deep", "```")) for piece in pieces for line in piece.splitlines())


def test_a_cut_table_repeats_its_head() -> None:
    rows = "\n".join(f"| {number} | x |" for number in range(60))
    pieces = split(f"| n | what |\n|---|---|\n{rows}", 200)
    assert len(pieces) > 2 and all(piece.startswith("| n | what |\n|---|---|\n") for piece in pieces)


def test_a_fence_inside_a_longer_fence_is_no_end() -> None:
    text = "````\n```\ninner\n```\n````"
    assert split(text, 300) == [text]


@pytest.mark.parametrize("limit", [1000, 4096, 11_000])
def test_a_long_answer(limit: int) -> None:
    pieces = split(long_answer(), limit)
    assert max(map(len, pieces)) <= limit
    assert all(piece.count("```") % 2 == 0 for piece in pieces)
    assert [f"第{number}句" in "".join(pieces) for number in range(250)] == [True] * 250


def test_joined_emoji_are_not_parted() -> None:
    family = "👩‍👩‍👧‍👦"
    pieces = split(family * 60, 100)
    assert all(piece.replace(family, "") == "" for piece in pieces)
