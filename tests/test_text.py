from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botkit.language import detect, detect_in_conversation
from botkit.text import (
    clean,
    coverage,
    dice,
    enclosing_sentence,
    has_words,
    neighbourhood,
    same_words,
    table_row,
    terms,
)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("How long does delivery take?", "en"),
        ("标准配送需要多久？", "zh"),
        ("botkit 怎么安装？", "zh"),
        ("What does 你好 mean in English?", "en"),
        ("iPhone 15 的保修期是多久", "zh"),
    ],
)
def test_the_language_is_that_of_most_words(text: str, language: str) -> None:
    assert detect(text) == language


@pytest.mark.parametrize(
    ("text", "earlier", "language"),
    [
        ("OK", [], "en"),
        ("OK", ["你们几点开门？"], "zh"),
        ("iPhone 15?", ["你们几点开门？", "OK"], "zh"),
        ("and on Sundays?", ["你们几点开门？"], "en"),
        ("OK", ["你们几点开门？", "and on Sundays?"], "en"),
        ("好", ["When do you open?"], "zh"),
        ("7", ["你们几点开门？"], "zh"),
        ("Thanks", ["OK", "hi"], "en"),
    ],
)
def test_a_word_or_two_do_not_leave_the_language_of_the_conversation(
    text: str, earlier: list[str], language: str
) -> None:
    assert detect_in_conversation(text, earlier) == language


def test_a_text_without_letters_is_in_the_default_language() -> None:
    assert detect("42 🙂", default="zh") == "zh"


@given(st.text())
def test_cleaned_text_is_one_line_without_control_characters(text: str) -> None:
    cleaned = clean(text)
    assert cleaned == cleaned.strip()
    assert not any(ord(character) < 32 or character in "\x7f\x1b‮" for character in cleaned)
    assert clean(cleaned) == cleaned


def test_words_are_letters_or_digits_of_any_script() -> None:
    assert has_words("多久") and has_words("7") and has_words("שלום")
    assert not has_words("…🙂?!")


def test_terms_leave_out_the_words_that_every_question_has() -> None:
    assert terms("How long does the delivery take?", "en") == terms("taking long deliveries", "en")
    assert "送货" in terms("请问送货要多久", "zh")


def test_coverage_and_dice() -> None:
    wanted, offered = frozenset("ab"), frozenset("bc")
    assert coverage(wanted, offered) == 0.5
    assert coverage(frozenset(), offered) == 0.0
    assert dice(wanted, offered) == 0.5


@pytest.mark.parametrize(
    ("text", "span", "sentence"),
    [
        ("One. Delivery takes 3.5 days. It is fast.", "3.5", "Delivery takes 3.5 days."),
        ("Ask Dr. Smith. He knows.", "He", "He knows."),
        ("运费为4.90元。免费退货。", "4.90", "运费为4.90元。"),
        ("他说：“可以退。”我们同意。", "可以", "他说：“可以退。”"),
        ("- first thing\n- second thing\n- third", "second", "- second thing"),
        ("A heading\n\nThe body has it", "body", "The body has it"),
        ("no punctuation at all", "all", "no punctuation at all"),
        ("Founded by Dr. Anna Smith in 1999. It is big.", "1999", "Founded by Dr. Anna Smith in 1999."),
        ("It costs approx. 25 Euros. Pay cash.", "25", "It costs approx. 25 Euros."),
        ('He said "Stop." Then he left. Bye.', '"Stop."', 'He said "Stop."'),
        ("他说：“停下。”然后他走了。", "“停下。”", "他说：“停下。”"),
    ],
)
def test_a_span_is_shown_inside_its_sentence(text: str, span: str, sentence: str) -> None:
    start = text.index(span)
    assert text[slice(*enclosing_sentence(text, start, start + len(span)))] == sentence


@given(st.text(alphabet="ab .!?。\n-1", max_size=80), st.data())
def test_a_sentence_always_holds_its_span(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    left, right = enclosing_sentence(text, start, end)
    assert 0 <= left <= start <= end <= right <= len(text)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("How do I return it?", "how do i  return IT", True),
        ("如何 申请退货？", "如何申请退货", True),
        ("How do I learn C++?", "How do I learn C#?", False),
        ("What costs 5$?", "What costs 5€?", False),
        ("Is it 10.5 kg?", "Is it 10 5 kg?", False),
        ("?", "!", False),
    ],
)
def test_the_same_words(first: str, second: str, same: bool) -> None:
    assert same_words(first, second) is same


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(0, 0, "Two is here."), (1, 1, "One. Two is here. Three."), (5, 5, "One. Two is here. Three. Four.")],
)
def test_the_neighbourhood_of_a_span_ends_at_sentences(before: int, after: int, expected: str) -> None:
    text = "One. Two is here. Three. Four."
    start = text.index("is")

    left, right = neighbourhood(text, start, start + 2, before, after)

    assert text[left:right] == expected


def test_the_neighbourhood_of_a_span_over_two_sentences_begins_at_the_first_of_them() -> None:
    text = "一。二。三。四。五。"

    assert neighbourhood(text, 2, 5, 1, 0) == (0, 6)


TABLE = "| Model | Price | |\n| :--- | ---: | --- |\n| Earl | £1,950 | green, black |\n| Duchess | £2,150 | a \\| b |\n"


@pytest.mark.parametrize(
    ("span", "row"),
    [
        ("£2,150", "Model: Duchess · Price: £2,150 · a | b"),
        ("green", "Model: Earl · Price: £1,950 · green, black"),
        ("Price", TABLE),
        ("Earl | £1,950 | green, black |\n| Duchess", TABLE),
    ],
)
def test_the_row_of_a_table_tells_what_its_cells_are(span: str, row: str) -> None:
    start = TABLE.index(span)
    assert table_row(TABLE, start, start + len(span)) == row


@pytest.mark.parametrize("text", ["One | two\nthree | four\nfive", "A sentence.", "| a |\n| - |", ""])
def test_what_is_no_table_stays(text: str) -> None:
    assert table_row(text, 0, 1) == text
