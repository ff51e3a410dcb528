from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from botkit.cli import main
from botkit.config import load_settings
from botkit.decision import BUILTIN_CALIBRATION
from botkit.errors import DataError, ModelError
from botkit.evaluation.formats import Intent, LabelledText, ReadingExample, RoutedQuestion, read_reading
from botkit.evaluation.generator import evaluate_generator
from botkit.evaluation.qa import evaluate_open_book, evaluate_questions, holds, plain
from botkit.evaluation.reader import evaluate_reader
from botkit.evaluation.retrieval import HALVES, evaluate_retrieval
from botkit.evaluation.scored import read_predictions
from botkit.evaluation.sentiment import evaluate_sentiment
from botkit.messages import Turn
from botkit.models.generator import OnnxGenerator, text_log_likelihood
from tests.models.tiny import make_generator, make_sentiment
from tests.parts import OverlapReader, Parrot, WordSentiment


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


def test_a_reader_may_name_the_margin_from_which_it_answers() -> None:
    class Strict(OverlapReader):
        threshold = 1e6

    told = "Ada founded the old shop"
    examples = [example("Who founded the old shop?", told, told), example("Where is the moon tonight?", "Cats sleep.")]
    assert evaluate_reader(OverlapReader(), examples)["no_answer_f1"] == 1
    strict = evaluate_reader(Strict(), examples)
    assert (strict["has_answer_f1"], strict["no_answer_f1"]) == (0, 1)
    assert evaluate_reader(Strict(), examples, threshold=0)["has_answer_f1"] == 1


def test_sentiment_chooses_among_the_labels_that_occur() -> None:
    class Unsure(WordSentiment):
        def classify(self, texts):  # type: ignore[no-untyped-def]
            from botkit.messages import Sentiment

            return [Sentiment("neutral", 0.6, {"neutral": 0.6, "positive": 0.3, "negative": 0.1}) for _ in texts]

    two = [LabelledText("a", "positive", "en"), LabelledText("b", "negative", "en")]
    assert evaluate_sentiment(Unsure(), two)["accuracy"] == 0.5
    assert evaluate_sentiment(Unsure(), two)["labels"] == ["negative", "positive"]
    alone = evaluate_sentiment(Unsure(), two[:1])
    assert (alone["accuracy"], alone["labels"]) == (0, ["negative", "neutral", "positive"]), (
        "else it could not be wrong"
    )
    three = [*two, LabelledText("c", "neutral", "zh")]
    report = evaluate_sentiment(Unsure(), three)
    assert report["accuracy"] == pytest.approx(1 / 3)
    assert report["languages"]["zh"]["accuracy"] == 1


def test_sentiment_labels_may_be_named() -> None:
    two = [LabelledText("lovely", "positive", "en"), LabelledText("a box", "negative", "en")]
    report = evaluate_sentiment(WordSentiment(), two, labels=("negative", "neutral", "positive"))
    assert report["confusion"] == [[0, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert report["macro_recall"] == pytest.approx(1 / 3)
    with pytest.raises(ModelError, match="words says neutral and gives no probabilities"):
        evaluate_sentiment(WordSentiment(), two)
    with pytest.raises(DataError, match="the label negative, which is not among neutral, positive"):
        evaluate_sentiment(WordSentiment(), two, labels=("neutral", "positive"))


def test_a_reply_like_no_answer_is_of_no_intent() -> None:
    intents = [Intent("en", ("hi",), {"friendly": "hello there"}), Intent("en", ("bye",), {"friendly": "see you"})]
    assert evaluate_generator(Parrot(), [], intents)["intent_accuracy"] == 0.5, "only 'You say bye' says 'you'"


def test_chinese_replies_are_counted_by_character() -> None:
    report = evaluate_generator(Parrot(), [], [Intent("zh", ("好好", "好"), {"friendly": "好"})])
    assert report["distinct_1"] == pytest.approx(3 / 7), "you say 好 好, you say 好"
    assert (report["intent_accuracy"], report["n"]) == (1, 2)


def test_nothing_to_measure_is_told(tmp_path: Path) -> None:
    generator = OnnxGenerator(make_generator(tmp_path / "g", replies={"friendly": "ab"}).folder)
    with pytest.raises(DataError, match="no replies"):
        evaluate_generator(generator, [[Turn("user", "x")]], [])
    with pytest.raises(DataError, match="nothing to measure"):
        evaluate_generator(Parrot(), [[Turn("user", "x"), Turn("bot", "y")]], [])


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
    for gold, said in (
        ("5 days", "within 15 days."),
        ("10 euros", "It costs 110 euros."),
        ("no", "I know."),
        ("…", "So…"),
    ):
        assert not holds(said, gold)
    for gold, said in (
        ("15 days", "Within 15 days."),
        ("9.50", "It costs 9.50€."),
        ("30", "within 30days"),
        ("e-mail", "Send an email."),
        ("two years", "A two-years warranty"),
        ("十五天", "在十五天内退货"),
        ("15天", "在15天内退货"),
    ):
        assert holds(said, gold)
    assert not holds("在15天内退货", "5天") and not holds("在十五天内退货", "五天")
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
    sad = make_sentiment(tmp_path / "sad", labels=("negative", "NEG")).folder
    said = run(capsys, "evaluate", "sentiment", "--data", str(tones))
    assert {"accuracy", "macro_precision", "macro_recall", "macro_f1", "n"} <= said.keys()
    assert said["accuracy"] == 1
    other = run(capsys, "evaluate", "sentiment", "--data", str(tones), "--model", str(sad))
    assert other["model"] != said["model"]
    assert other["accuracy"] == 0.5
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


KITE = "The kite shop was founded by Ada Moss in 1999."
BOAT = "A dinghy is a small boat made of wood."
OPEN_BOOK = [
    ReadingExample("1", "Kites", KITE, "When was the kite shop founded?", ("1999",), "en"),
    ReadingExample("2", "Boats", BOAT, "What is a dinghy made of?", ("wood",), "en"),
]


def test_both_halves_of_the_search_can_be_measured_beside_their_fusion(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load_settings(home=tmp_path / "home")
    far = ReadingExample("3", "Kites", KITE, "dinghy boat wood?", ("1999",), "en")
    report = evaluate_retrieval(settings, [*OPEN_BOOK, far], halves=HALVES)
    assert set(report["halves"]) == {"lexical", "vector", "fused"}
    assert report["halves"]["fused"]["mrr"] == report["mrr"]
    assert report["halves"]["lexical"]["recall_at_1"] == pytest.approx(2 / 3)
    assert report["halves"]["lexical"]["mrr"] == pytest.approx(2 / 3), (
        "no word of the third question is in its paragraph"
    )
    assert report["halves"]["vector"]["mrr"] == pytest.approx((1 + 1 + 1 / 2) / 3)
    data = tmp_path / "squad.jsonl"
    rows = [
        {"title": e.title, "context": e.context, "question": e.question, "answers": [*e.answers]} for e in OPEN_BOOK
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    lexical = run(capsys, "evaluate", "retrieval", "--data", str(data), "--half", "lexical")
    assert (lexical["recall_at_1"], "halves" in lexical) == (1, False)
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "retrieval", "--data", str(data), "--half", "left"])
    assert ended.value.code == 2


async def test_the_calibration_of_the_home_is_the_one_measured(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path / "home")
    usual, _ = await evaluate_open_book(settings, OPEN_BOOK)
    assert usual["answered"] > 0
    calibration = json.loads(BUILTIN_CALIBRATION.read_text(encoding="utf-8"))
    settings.paths.home.mkdir(parents=True, exist_ok=True)
    (settings.paths.home / "calibration.json").write_text(
        json.dumps({**calibration, "threshold": {"en": 1.0, "zh": 1.0}}), encoding="utf-8"
    )
    strict, _ = await evaluate_open_book(settings, OPEN_BOOK)
    assert strict["answered"] == 0
    assert not settings.paths.conversations.exists(), "what is asked is not kept"


async def test_questions_with_one_id_do_not_share_a_conversation(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Boats\n\nThe ferry to Arran leaves at 9.40 am.\n", encoding="utf-8")
    settings = load_settings(home=tmp_path / "home")
    first = RoutedQuestion("x", "en", "plain", "When does the ferry to Arran leave?", ("9.40",), (), "answer")
    second = RoutedQuestion("x", "en", "follow_up", "And when does it leave?", (), (), "unknown")
    _, asked = await evaluate_questions(settings, [first, second], knowledge=tmp_path / "a.md")
    assert asked[1].reply.trace is not None
    assert asked[1].reply.trace.query == "And when does it leave?", "nothing was said before"


def test_tables_fit_a_narrow_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data.jsonl"
    chinese = {"title": "灯", "context": "灯店由李明在1999年创立。", "question": "灯店由谁创立？", "answers": ["李明"]}
    english = {"title": "Kites", "context": KITE, "question": OPEN_BOOK[0].question, "answers": ["1999"]}
    data.write_text("".join(json.dumps(row) + "\n" for row in (chinese, english)), encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "qa", "--data", str(data)])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert max(map(len, printed.splitlines())) <= 60
    for name in ("calibration_error", "zh answerable", "p95_ms"):
        assert f"\n{name} " in printed


def test_faults_are_told_before_anything_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text('{"question": "Q?", "context": "C", "answers": []}\n', encoding="utf-8")
    for arguments, said in (
        (("--knowledge", str(tmp_path)), "leave out --knowledge"),
        (("--failures", str(tmp_path / "none" / "f.jsonl")), "cannot be written"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["evaluate", "qa", "--data", str(data), *arguments])
        assert ended.value.code == 1
        assert said in " ".join(capsys.readouterr().err.split())


def test_a_missing_file_is_an_error_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "reader", "--data", str(tmp_path / "none"), "--json"])
    assert ended.value.code == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["type"] == "DataError"
    assert "cannot be read" in err


def test_plain_texts_have_a_perplexity_and_replies_can_be_compared_one_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = str(make_generator(tmp_path / "g", replies={"friendly": "ab"}).folder)
    for name, model, rows in (
        ("texts", "builtin", [{"text": "春眠不觉晓"}, {"text": "How are you?"}]),
        ("turns", tiny, [{"turns": ["x", "ab"]}, {"turns": ["x", "zz", "y", "ab"]}]),
    ):
        file = tmp_path / f"{name}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        told = tmp_path / f"{name}.predictions.jsonl"
        arguments = ["generator", "--data", str(file), "--model", model, "--predictions", str(told)]
        with pytest.raises(SystemExit) as ended:
            main(["evaluate", *arguments, "--intervals", "--slices", "--json"])
        assert not ended.value.code
        report = json.loads(capsys.readouterr().out)
        scored = read_predictions(told)
        assert report["perplexity"] > 1
        assert report["n"] == len(scored) == (2 if name == "texts" else 3)
        assert report["log_probability"] == pytest.approx(
            sum(one.scores["log_probability"] for one in scored) / len(scored), abs=1e-5
        )
        assert report["intervals"]["log_probability"]["low"] <= report["log_probability"]
        assert "language" in report["slices"]


def test_a_long_text_is_read_in_stretches_of_the_context() -> None:
    class Counting:
        """Says that each token is followed by the next number, with the probability of one half."""

        def read(self, ids: Sequence[int]) -> NDArray[np.float32]:
            logits = np.full(20, -np.inf, dtype=np.float32)
            logits[[(ids[-1] + 1) % 20, 19]] = 0
            return logits

    log_probability, count = text_log_likelihood(Counting, range(10), 4)
    assert count == 3 + 3 + 1, "the first token of each stretch is given"
    assert log_probability == pytest.approx(count * math.log(0.5))
    assert text_log_likelihood(Counting, [3], 4) == (0.0, 0)


def test_nothing_to_measure_with_is_told(tmp_path: Path) -> None:
    file = tmp_path / "empty.json"
    file.write_text('{"data": []}', encoding="utf-8")
    with pytest.raises(DataError, match="no question to measure"):
        evaluate_reader(object(), read_reading(file))  # type: ignore[arg-type]


def test_a_row_may_have_data_for_a_title(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    file.write_text('{"title": "data", "question": "Who?", "context": "Ann.", "answers": []}', encoding="utf-8")
    assert [example.title for example in read_reading(file)] == ["data"]


@pytest.mark.parametrize("option", ["--predictions", "--failures"])
def test_where_no_file_can_be_written_is_told_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    (tmp_path / "a-file").write_text("", encoding="utf-8")
    for out in (tmp_path, tmp_path / "a-file" / "out.jsonl"):
        with pytest.raises(SystemExit):
            main(["evaluate", "qa", "--data", str(tmp_path / "no-such-data.jsonl"), option, str(out)])
        assert f"{out}: cannot be written" in " ".join(capsys.readouterr().err.split())
