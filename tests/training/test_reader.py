from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra torch")

from safetensors.torch import load_file  # noqa: E402

from botkit.training import reader as training  # noqa: E402
from botkit.training.help_centres import Asked, Passage  # noqa: E402
from botkit.training.reader import (  # noqa: E402
    Question,
    closer,
    crop,
    hard_negatives,
    help_centre_questions,
    stored_answers,
    token_span,
)
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


@pytest.mark.parametrize("seed", range(8))
def test_a_closer_view_holds_the_answer_and_at_most_a_sentence_on_either_side(seed: int) -> None:
    near = closer(asked("at ten"), random.Random(seed))

    assert near.start is not None
    assert near.context[near.start : near.end] == "at ten"
    assert near.context in {
        " ".join(sentences)
        for sentences in (
            ["The shop opens at ten."],
            ["Lamps cost nine euros.", "The shop opens at ten."],
            ["The shop opens at ten.", "Parcels leave on Monday."],
            ["Lamps cost nine euros.", "The shop opens at ten.", "Parcels leave on Monday."],
        )
    }


def test_a_closer_view_for_an_unanswerable_question_is_of_the_sentence_that_shares_its_words() -> None:
    views = {
        closer(Question("When do parcels leave the house?", CONTEXT, None, 0, "Shop", "en"), random.Random(seed))
        for seed in range(8)
    }

    assert len(views) > 1
    assert all(view.start is None and "Parcels leave on Monday." in view.context for view in views)
    assert not any("Lamps" in view.context for view in views)


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


def test_a_stored_answer_is_asked_for_by_another_question_than_its_own() -> None:
    text = "Lamps cost nine euros, or eight in May. The shop opens at ten."

    def of(question: str, answer: str) -> Asked:
        return Asked(question, text.index(answer), text.index(answer) + len(answer), "plain")

    price, may, hours = of("What is the price?", "nine euros"), of("And in May?", "eight"), of("Open when?", "at ten")
    passage = Passage("Shop", "Prices", text, (price, may, hours), ("Who owns the shop?",))
    for seed in range(5):
        answered, unanswered = stored_answers(passage, "en", random.Random(seed))
        stored, asked = (price, may) if answered.question == may.question else (may, price)
        assert answered.question == asked.question
        assert answered.context == f"{stored.question} Lamps cost nine euros, or eight in May."
        assert answered.start is not None
        assert answered.context[answered.start : answered.end] == passage.answer(asked)
        assert unanswered.context == answered.context
        assert unanswered.start is None
        assert unanswered.question in ("Who owns the shop?", "Open when?")

    assert not stored_answers(replace(passage, asked=(price, hours)), "en", random.Random(1)), "no sentence has two"


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


def write_sets(data: Path) -> None:
    context = "The lamp costs nine euros. The shop opens at ten every day."
    english = [
        question("what does the lamp cost?", context, "nine euros"),
        question("when does the shop open?", context, "at ten"),
    ] * 6
    for name in ("squad_train", "qed_train", "policyqa_train", "qamr_train"):
        write_rows(data / f"qa/{name}.jsonl.gz", english)
    for name in ("zh_cmrc_train", "zh_drcd_train"):
        write_rows(data / f"qa/{name}.jsonl.gz", [question("灯多少钱？", "台灯九元。", "九元", "灯")] * 4)


WORKER = """
import random, sys, torch
from torch.distributed.algorithms.model_averaging.averagers import PeriodicModelAverager
from botkit.training import reader

reader.help_centre_questions = reader.article_questions = lambda *_: []
reader.hard_negatives = lambda questions, count, generator: []
random.Random.sample = lambda self, items, count: list(items)[:count]
reader.AVERAGED_EVERY = 4
average, told = PeriodicModelAverager.average_parameters, []


def watched(self, parameters):
    parameters = list(parameters)
    flat = lambda: torch.cat([one.detach().flatten() for one in parameters])
    before = flat()
    average(self, parameters)
    told.append((before, flat()))


PeriodicModelAverager.average_parameters = watched
reader.main()
torch.save(told, f"{sys.argv[sys.argv.index('--out') + 1]}/rank{torch.distributed.get_rank()}.pt")
"""


def test_training_writes_a_model_that_loads_and_stops_after_its_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoModelForQuestionAnswering

    write_sets(tmp_path / "data")
    monkeypatch.setattr(training, "help_centre_questions", lambda language, generator: [])
    monkeypatch.setattr(training, "article_questions", lambda language: [])
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


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch cannot work in several processes")
def test_two_processes_go_on_from_the_mean_of_their_weights_every_few_steps(tmp_path: Path) -> None:
    write_sets(tmp_path / "data")
    base = tiny_bert(tmp_path / "base")
    script = tmp_path / "worker.py"
    script.write_text(WORKER, encoding="utf-8")
    out = tmp_path / "out"
    started = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    chosen = [
        "--data",
        str(tmp_path / "data"),
        "--base",
        str(base),
        "--out",
        str(out),
        "--passes",
        "2",
        "--tokens",
        "40",
    ]
    done = subprocess.run(
        [sys.executable, *started, *chosen],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
    )
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [one["passes"] >= 2 for one in told] == [True], "one process tells"

    ranks = [torch.load(out / f"rank{rank}.pt") for rank in (0, 1)]
    assert len(ranks[0]) == len(ranks[1]) == told[0]["steps"]
    for step, ((before, after), (others_before, others_after)) in enumerate(zip(*ranks, strict=True), 1):
        assert not before.equal(others_before), "each takes steps of its own"
        assert after.equal(others_after) == (step % 4 == 0)
    assert after.allclose((before + others_before) / 2)
    weights = load_file(out / "model.safetensors")
    assert sum(tensor.numel() for tensor in weights.values()) == len(after)
    assert weights["qa_outputs.bias"].allclose(after[-2:]), "what is saved is the mean"
