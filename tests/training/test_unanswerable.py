from __future__ import annotations

import random

import pytest

from botkit.training.unanswerable import altered_question

TEXTS = [
    "In 1881, Nikola Tesla moved to Budapest. Later he met Thomas Edison in New York.",
    "Marie Curie came in 1904.",
]


def altered(question: str, answer: str, seed: int = 0) -> str | None:
    return altered_question(question, answer, TEXTS, random.Random(seed))


def test_a_number_becomes_another_one_of_the_article() -> None:
    assert altered("Where did he move in 1881?", "Budapest", 1) == "Where did he move in 1904?"
    assert {altered("Where were 300 of them?", "Budapest", seed) for seed in range(9)} <= {
        f"Where were {300 + by} of them?" for by in (-7, -4, -2, 2, 3, 6, 10)
    } | {"Where weren't 300 of them?"}


def test_a_name_becomes_another_one_but_never_the_answer() -> None:
    made = {altered("Who met Nikola Tesla there?", "Thomas Edison", seed) for seed in range(60)}
    made.discard(None)
    assert made and not any("Edison" in str(one) for one in made)
    assert "Who met New York there?" in made or "Who met Budapest there?" in made


@pytest.mark.parametrize(
    ("question", "wanted"),
    [("what is the largest city?", "what is the smallest city?"), ("who won?", "who lost?")],
)
def test_a_word_becomes_its_opposite(question: str, wanted: str) -> None:
    assert altered(question, "x", 1) == wanted


def test_now_and_then_the_question_is_negated() -> None:
    made = {altered("Which cities were built?", "Budapest", seed) for seed in range(60)}
    assert made == {"Which cities weren't built?", "Which cities were destroyed?"}
    assert None not in {altered("What can he do in 1881?", "Budapest", seed) for seed in range(20)}


def test_a_changed_number_is_another_and_never_the_answer() -> None:
    for seed in range(60):
        assert altered("Which 2 teams played?", "Lions", seed) not in (None, "Which 2 teams played?")
        assert "1904" not in str(altered("Which year after 1881 was it?", "in 1904", seed))


def test_a_question_with_nothing_to_change_makes_none() -> None:
    assert altered("Why?", "x", 1) is None
