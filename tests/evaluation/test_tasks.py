from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from botkit.cli import main
from botkit.evaluation.formats import Intent, LabelledText, ReadingExample
from botkit.evaluation.generator import evaluate_generator
from botkit.evaluation.qa import plain
from botkit.evaluation.reader import evaluate_reader
from botkit.evaluation.sentiment import evaluate_sentiment
from botkit.messages import Turn
from botkit.models.generator import OnnxGenerator
from tests.models.tiny import make_generator
from tests.parts import OverlapReader, WordSentiment


def example(question: str, context: str, *answers: str) -> ReadingExample:
    return ReadingExample("1", "T", context, question, answers, "en")


def test_reading_is_scored_with_and_without_answers() -> None:
    examples = [
        example("Who founded the old shop?", "Ada founded the old shop", "Ada founded the old shop"),
        example("Who founded the old shop?", "Bob founded an old shop", "Bob"),
        example("Where is the moon tonight?", "Cats sleep."),
    ]
    report = evaluate_reader(OverlapReader(), examples)
    assert report["exact"] == pytest.approx(2 / 3)
    assert report["no_answer_f1"] == 1
    assert report["has_answer_f1"] == pytest.approx((1 + 2 * 1 * (1 / 4) / (1 + 1 / 4)) / 2)
    assert (report["n"], report["has_answer_n"], report["no_answer_n"]) == (3, 2, 1)


def test_where_every_question_has_an_answer_the_reader_may_not_decline() -> None:
    report = evaluate_reader(OverlapReader(), [example("Where is the moon?", "Cats sleep", "Cats sleep")])
    assert report["exact"] == 1


def test_sentiment_chooses_among_the_labels_that_occur() -> None:
    class Unsure(WordSentiment):
        def classify(self, texts):  # type: ignore[no-untyped-def]
            from botkit.messages import Sentiment

            return [Sentiment("neutral", 0.6, {"neutral": 0.6, "positive": 0.3, "negative": 0.1}) for _ in texts]

    two = [LabelledText("a", "positive", "en"), LabelledText("b", "negative", "en")]
    assert evaluate_sentiment(Unsure(), two)["accuracy"] == 0.5
    assert evaluate_sentiment(Unsure(), two)["labels"] == ["negative", "positive"]
    three = [*two, LabelledText("c", "neutral", "zh")]
    report = evaluate_sentiment(Unsure(), three)
    assert report["accuracy"] == pytest.approx(1 / 3)
    assert report["languages"]["zh"]["accuracy"] == 1


def test_the_generators_perplexity_and_intents(tmp_path: Path) -> None:
    model = make_generator(tmp_path / "g", replies={"friendly": "ab"})
    generator = OnnxGenerator(model.folder)
    intents = [Intent("en", ("hi", "yo"), {"friendly": "ab"}), Intent("en", ("bye",), {"friendly": "so long"})]
    report = evaluate_generator(generator, [], intents)
    assert report["intent_accuracy"] == pytest.approx(2 / 3)
    size = model.table.shape[1]
    each = math.log(math.exp(20) / (math.exp(20) + size - 1))
    certain = evaluate_generator(generator, [[Turn("user", "x"), Turn("bot", "ab")]], [])
    assert certain["perplexity"] == pytest.approx(math.exp(-each), rel=1e-4)


def test_answers_are_compared_whatever_their_marks() -> None:
    assert plain("It costs 9.50 Euros!") == "itcosts9.50euros"
    assert plain("９.５０ 元。") == "9.50元"
    assert plain("the shop's door.") == plain("The shop’s door")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--json"])
    assert ended.value.code == 0
    printed: dict[str, object] = json.loads(capsys.readouterr().out)
    return printed


def test_the_commands_print_the_documented_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    squad = tmp_path / "squad.jsonl"
    rows = [
        {
            "title": "Kites",
            "context": "The kite shop was founded by Ada Moss in 1999.",
            "question": "When was the kite shop founded?",
            "answers": [{"text": "1999", "start": 41}],
        },
        {
            "title": "Boats",
            "context": "A dinghy is a small boat made of wood.",
            "question": "What is a dinghy made of?",
            "answers": [{"text": "wood", "start": 33}],
        },
        {
            "title": "Boats",
            "context": "A dinghy is a small boat made of wood.",
            "question": "Who invented the dinghy?",
            "answers": [],
        },
    ]
    squad.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    reading = run(capsys, "evaluate", "reader", "--data", str(squad))
    assert {"exact", "f1", "has_answer_f1", "no_answer_f1", "n"} <= reading.keys()
    found = run(capsys, "evaluate", "retrieval", "--data", str(squad))
    assert found["recall_at_1"] == found["mrr"] == found["ndcg_at_10"] == 1
    assert {"recall_at_5", "recall_at_10", "n"} <= found.keys()
    failures = tmp_path / "failures.jsonl"
    asked = run(capsys, "evaluate", "qa", "--data", str(squad), "--failures", str(failures))
    assert {"exact", "f1", "route_accuracy", "calibration_error", "latency", "n"} <= asked.keys()
    assert asked["n"] == 3
    assert failures.exists()
    tones = tmp_path / "tones.jsonl"
    tones.write_text(
        '{"text": "I love it, wonderful!", "label": "positive"}\n{"text": "Awful, I hate it.", "label": "negative"}\n',
        encoding="utf-8",
    )
    said = run(capsys, "evaluate", "sentiment", "--data", str(tones))
    assert {"accuracy", "macro_precision", "macro_recall", "macro_f1", "n"} <= said.keys()
    assert said["accuracy"] == 1
    talk = tmp_path / "talk.jsonl"
    talk.write_text('{"turns": ["hello", "Hi!"], "lang": "en"}\n', encoding="utf-8")
    assert 1 < float(str(run(capsys, "evaluate", "generator", "--data", str(talk))["perplexity"])) < 1e6


def test_a_folder_of_ones_own_can_be_asked_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text(
        "# Boats\n\nThe ferry to Arran leaves at 9.40 am every day.\n", encoding="utf-8"
    )
    questions = tmp_path / "q.jsonl"
    questions.write_text(
        '{"question": "When does the ferry to Arran leave?", "answers": ["9.40 am"], "kind": "time"}\n'
        '{"question": "Who is the president of France?", "answers": []}\n',
        encoding="utf-8",
    )
    report = run(capsys, "evaluate", "qa", "--data", str(questions), "--knowledge", str(tmp_path / "docs"))
    assert (report["right"], report["declined"]) == (1, 1)


def test_a_missing_file_is_an_error_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "reader", "--data", str(tmp_path / "none"), "--json"])
    assert ended.value.code == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["type"] == "DataError"
    assert "cannot be read" in err
