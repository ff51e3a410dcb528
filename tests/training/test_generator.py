from __future__ import annotations

import random
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra torch")

from botkit.training.generator import (  # noqa: E402
    FIRST_TOKENS,
    PERSONAS,
    Exchange,
    Intent,
    batches,
    encode,
    exchanges,
    read_intents,
    train_tokenizer,
)
from tests.training.data import write_rows  # noqa: E402

ANSWER = "Good morning to you, and to all who read this rather long answer, which goes on and on and on."


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for language in ("en", "zh"):
        row = {
            "lang": language,
            "questions": [f"hello {n}" for n in range(40)],
            "answers": dict.fromkeys(PERSONAS, ANSWER),
        }
        write_rows(tmp_path / f"dialogue/chitchat_{language}.jsonl.gz", [row])
    for name in ("zh_dialogue_train", "topical_train"):
        write_rows(tmp_path / f"dialogue/{name}.jsonl.gz", [{"turns": ["hello", "good morning"], "lang": "en"}])
    write_rows(tmp_path / "dialogue/chatterbot_train.jsonl.gz", [{"turns": ["hi", "hello"], "lang": "en"}])
    return tmp_path


def test_one_question_in_ten_is_held_out_and_none_is_in_both_parts(data: Path) -> None:
    kept, held_out = read_intents(data)

    for training, measured in zip(kept, held_out, strict=True):
        assert not set(training.questions) & set(measured.questions)
        assert len(training.questions) + len(measured.questions) == 40
        assert measured.questions


def test_only_the_words_of_the_bot_are_learnt_and_the_intent_is_told_where_it_begins(data: Path) -> None:
    tokenizer = train_tokenizer(data, [Intent("en", ("hello",), {"friendly": ANSWER})], 400)
    conversation = [Exchange("hello", "hi", 3), Exchange("hello again", ANSWER)]

    ids, said, intents = encode(tokenizer, "friendly", conversation)

    spoken = tokenizer.decode([i for i, s in zip(ids, said, strict=True) if s], skip_special_tokens=False)
    assert spoken == f"hi<|end|>{ANSWER}<|end|>"
    bot = tokenizer.token_to_id("<|bot|>")
    assert [number for i, number in zip(ids, intents, strict=True) if i == bot] == [3, -1]
    assert all(number == -1 for i, number in zip(ids, intents, strict=True) if i != bot)


def test_a_chinese_conversation_does_not_begin_with_words_that_an_english_one_begins_with() -> None:
    chinese = Intent("zh", ("hi", "你好", "您好"), {"friendly": "嗨！"})
    english = Intent("en", ("hi", "hello"), {"friendly": "Hi!"})

    made = [conversation for _, conversation in exchanges([chinese, english], random.Random(0))]

    replies = [{one.answer for one in conversation if one.question == "hi"} for conversation in made]
    assert {conversation[0].answer for conversation in made if conversation[0].question == "hi"} == {"Hi!"}
    assert {"嗨！"} in replies and {"Hi!"} in replies
    only_latin = Intent("zh", ("hi",), {"friendly": "嗨！"})
    assert next(exchanges([only_latin], random.Random(0)))[1][0].answer == "嗨！"


@pytest.mark.parametrize("cut", [0.0, 1.0])
def test_answers_are_cut_after_their_first_words(data: Path, cut: float) -> None:
    intents = [Intent("en", ("hello",), dict.fromkeys(PERSONAS, ANSWER))]
    tokenizer = train_tokenizer(data, intents, 300)
    (data / "dialogue/chatterbot_train.jsonl.gz").unlink()
    write_rows(data / "dialogue/chatterbot_train.jsonl.gz", [])

    longest = 0
    for _, labels, _ in batches(tokenizer, intents, 2_000, cut, random.Random(1)):
        for row in labels:
            last = row[: int((row != -100).nonzero()[-1]) + 1]
            until = len(last) - 1 - int((last.flip(0) == -100).nonzero()[0])
            longest = max(longest, len(last) - 1 - until)

    assert (longest <= FIRST_TOKENS) == (cut == 1.0)
