"""How much of the past is looked back on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botkit.conversations.window import estimated_tokens, window
from botkit.messages import Turn

TALK = [Turn("bot" if number % 2 else "user", f"turn {number}") for number in range(10)]


def test_the_latest_exchanges_are_kept_oldest_first() -> None:
    assert window(TALK, 2, 1000) == TALK[-4:]
    assert window(TALK, 100, 1000) == TALK


def test_no_exchange_means_the_last_turn_alone() -> None:
    assert window(TALK, 0, 1000) == TALK[-1:]
    assert window([], 5, 100) == []


def test_tokens_limit_it_too() -> None:
    assert window(TALK, 10, 4, count=lambda text: 1) == TALK[-4:]


def test_it_begins_with_a_persons_words() -> None:
    asked = [*TALK, Turn("user", "and now?")]
    assert window(asked, 2, 1000) == asked[-3:]
    assert window(asked, 10, 2, count=lambda text: 1) == asked[-1:]


def test_the_last_turn_stays_however_long_it_is() -> None:
    assert window([*TALK, Turn("user", "word " * 5000)], 10, 10) == [Turn("user", "word " * 5000)]


def test_a_turn_that_does_not_fit_ends_the_window_so_that_no_gap_is_left() -> None:
    turns = [Turn("user", "a"), Turn("bot", "b " * 100), Turn("user", "c")]
    assert window(turns, 10, 20) == turns[-1:]


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("one two three", 4), ("怎么退货", 4), ("word " * 100, 130)])
def test_tokens_are_estimated_in_both_languages(text: str, tokens: int) -> None:
    assert estimated_tokens(text) == tokens


@given(
    st.lists(st.builds(Turn, st.sampled_from(["user", "bot"]), st.text(max_size=30)), max_size=30),
    st.integers(0, 20),
    st.integers(0, 60),
)
def test_it_is_an_end_of_the_conversation_within_its_limits(turns: list[Turn], exchanges: int, tokens: int) -> None:
    kept = window(turns, exchanges, tokens)
    assert kept == turns[len(turns) - len(kept) :]
    assert len(kept) <= max(1, 2 * exchanges)
    assert len(kept) <= 1 or sum(estimated_tokens(turn.text) for turn in kept) <= tokens
    assert kept or not turns
