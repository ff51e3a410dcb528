from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra torch")

from botkit.training import reader as training  # noqa: E402
from botkit.training.reader import Question, crop, hard_negatives, help_centre_questions, token_span  # noqa: E402
from tests.training.data import question, tiny_bert, write_rows  # noqa: E402

CONTEXT = "Lamps cost nine euros. The shop opens at ten. Parcels leave on Monday. Nobody works on Sunday."


def asked(answer: str) -> Question:
    start = CONTEXT.index(answer)
    return Question("When?", CONTEXT, start, start + len(answer), "Shop", "en")


@pytest.mark.parametrize("answer", ["nine euros", "at ten", "on Sunday"])
@pytest.mark.parametrize("seed", range(5))
def test_a_crop_is_shorter_and_still_holds_the_answer_at_the_given_place(answer: str, seed: int) -> None:
    cropped = crop(asked(answer), random.Random(seed), 50)

    assert len(cropped.context) <= 50 < len(CONTEXT)
    assert cropped.start is not None
    assert cropped.context[cropped.start : cropped.end] == answer


def test_an_answer_becomes_its_first_and_last_token_and_a_missing_one_the_first_token() -> None:
    offsets = [(0, 0), (0, 5), (0, 0), (0, 5), (6, 10), (11, 15), (0, 0)]
    sequence = [None, 0, None, 1, 1, 1, None]
    there = Question("When?", "Lamps cost nine", 6, 15, "Shop", "en")

    assert token_span(there, offsets, sequence) == (4, 5)
    assert token_span(Question("When?", "Lamps cost nine", None, 0, "Shop", "en"), offsets, sequence) == (0, 0)
    beyond = Question("When?", "Lamps cost nine euros", 6, 21, "Shop", "en")
    assert token_span(beyond, offsets, sequence) == (0, 0), "an answer that was cut off is none"


def test_hard_negatives_never_hold_the_answer() -> None:
    contexts = [f"Lamp {n} costs {n} euros." for n in range(10, 30)]
    questions = [
        Question(f"What does lamp {n} cost?", c, c.index("costs") + 6, len(c) - 1, "Shop", "en")
        for n, c in enumerate(contexts, 10)
    ]

    found = hard_negatives(questions, 20, random.Random(1))

    assert len(found) == 20
    for one in found:
        assert one.start is None
        assert one.question.split()[3] not in one.context.split()[1]


def test_help_centre_questions_hold_answers_and_near_misses() -> None:
    found = help_centre_questions("zh", random.Random(1))
    answered = [one for one in found if one.start is not None]

    assert len(answered) > 500
    assert 0.2 < 1 - len(answered) / len(found) < 0.6


def test_changed_questions_stand_beside_the_passage_that_answered_them() -> None:
    context = "Lamp Nine costs 12 euros since 1999. In Graz, Lamp Ten costs 15."
    questions = [Question("What does Lamp Nine cost?", context, 16, 24, "Shop", "en")] * 5
    unanswered = Question("What does Lamp Two cost?", context, None, 0, "Shop", "en")

    found = training.altered_questions([*questions, unanswered], 4, random.Random(1))

    assert len(found) == 4
    assert training.altered_questions(questions, 0, random.Random(1)) == []
    for one in found:
        assert (one.start, one.context) == (None, context)
        assert one.question not in (questions[0].question, unanswered.question)


def test_workers_share_the_batches(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_bert(tmp_path / "base"))
    questions = [Question("when" + " does" * n, CONTEXT[: 20 + n], None, 0, "Shop", "en") for n in range(25)]
    alone = list(training.batches(questions, tokenizer, 100, random.Random(3)))
    drawn = [list(training.batches(questions, tokenizer, 100, random.Random(3), 2, worker)) for worker in (0, 1)]

    assert len(drawn[0]) == len(drawn[1]) == len(alone) // 2 > 1
    together = [batch for pair in zip(*drawn, strict=True) for batch in pair]
    assert all(one["input_ids"].equal(other["input_ids"]) for one, other in zip(alone, together, strict=False))


def test_training_writes_a_model_that_loads_and_stops_after_its_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoModelForQuestionAnswering

    context = "The lamp costs nine euros. The shop opens at ten every day."
    english = [
        question("what does the lamp cost?", context, "nine euros"),
        question("when does the shop open?", context, "at ten"),
    ] * 6
    for name in ("squad_train", "qed_train", "policyqa_train", "qamr_train"):
        write_rows(tmp_path / f"data/qa/{name}.jsonl.gz", english)
    for name in ("zh_cmrc_train", "zh_drcd_train"):
        write_rows(tmp_path / f"data/qa/{name}.jsonl.gz", [question("灯多少钱？", "台灯九元。", "九元", "灯")] * 4)
    monkeypatch.setattr(training, "help_centre_questions", lambda language, generator: [])
    monkeypatch.setattr(training, "hard_negatives", lambda questions, count, generator: [])
    monkeypatch.setattr(random.Random, "sample", lambda self, items, count: list(items)[:count])
    base = tiny_bert(tmp_path / "base")
    capsys.readouterr()
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "reader",
            "--data",
            str(tmp_path / "data"),
            "--base",
            str(base),
            "--out",
            str(tmp_path / "out"),
            "--passes",
            "2",
            "--tokens",
            "200",
        ],
    )

    training.main()

    assert '"passes": 2' in capsys.readouterr().out
    model = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "out")
    assert model.config.hidden_size == 16
    assert not (tmp_path / "out/training_state.pt").exists()
