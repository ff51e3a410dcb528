from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from botkit.errors import DataError
from botkit.evaluation.report import write_report
from botkit.evaluation.scored import (
    ExampleIds,
    Scored,
    bucket,
    compare,
    figures,
    identity_groups,
    intervals,
    question_word,
    read_predictions,
    slices,
    write_predictions,
)


def model(rate: float, count: int = 400, seed: int = 0) -> list[Scored]:
    """A classifier that is right at that rate, on the same examples whatever the rate."""
    generator = np.random.default_rng(seed)
    found = []
    for number, luck in enumerate(generator.random(count)):
        wanted = "abc"[number % 3]
        said = wanted if luck < rate else "abc"[(number + 1) % 3]
        facets = {"language": "en" if number % 2 else "zh"}
        found.append(
            Scored(str(number), {"accuracy": float(said == wanted)}, facets, wanted, said, f"text {number}", luck)
        )
    return found


def test_macro_figures_are_those_of_scikit_learn() -> None:
    scored = model(0.7)
    wanted, said = [one.wanted for one in scored], [one.said for one in scored]
    found = figures(scored)
    assert found["macro_f1"] == pytest.approx(f1_score(wanted, said, average="macro"))
    assert found["macro_recall"] == pytest.approx(recall_score(wanted, said, average="macro"))


def test_intervals_hold_the_figure_and_are_as_wide_as_theory_says() -> None:
    scored = model(0.7)
    low, high = intervals(scored)["accuracy"]
    rate = figures(scored)["accuracy"]
    half = 1.96 * (rate * (1 - rate) / len(scored)) ** 0.5
    assert (low, high) == (pytest.approx(rate - half, abs=0.01), pytest.approx(rate + half, abs=0.01))
    low, high = intervals(scored)["macro_f1"]
    assert low < figures(scored)["macro_f1"] < high
    assert intervals([Scored("1", {"f1": 1.0}), Scored("2", {"f1": 1.0})])["f1"] == [1.0, 1.0]


def test_a_better_model_is_found_better_and_an_equal_one_is_not() -> None:
    better = compare(model(0.6), model(0.7))["figures"]["accuracy"]
    assert better["verdict"] == "better"
    assert better["difference"] == pytest.approx(better["second"] - better["first"])
    assert better["p"] < 0.01
    assert better["interval"][0] > 0
    assert compare(model(0.7), model(0.6))["figures"]["accuracy"]["verdict"] == "worse"
    chance = compare(model(0.6, seed=1), model(0.6, seed=2))["figures"]["accuracy"]
    assert (chance["verdict"], chance["p"] > 0.05) == ("no difference shown", True)
    same = compare(model(0.6), model(0.6))["figures"]["accuracy"]
    assert (same["difference"], same["p"], same["verdict"]) == (0.0, 1.0, "no difference shown")


def test_only_examples_of_both_are_compared() -> None:
    report = compare(model(0.6, 50), model(0.7, 40))
    assert (report["n"], report["only_first"], report["only_second"]) == (40, 10, 0)
    with pytest.raises(DataError, match="same data"):
        compare(model(0.6), [Scored("other", {"accuracy": 1.0})])


def test_wrong_everywhere_against_right_everywhere_is_no_chance() -> None:
    wrong, right = ([Scored(str(n), {"exact": score}) for n in range(20)] for score in (0.0, 1.0))
    told = compare(wrong, right)["figures"]["exact"]
    assert (told["difference"], told["verdict"]) == (1.0, "better")
    assert told["p"] == pytest.approx(2 / 2**20)


def test_what_is_not_the_same_example_is_not_compared() -> None:
    twice = [Scored("same", {"exact": 1.0})] * 3
    assert compare(twice, twice[:2])["n"] == 2, "an id that stands twice is paired in order"
    one, other = ([Scored(str(n), {"accuracy": 1.0}, {}, label, label) for n in range(4)] for label in "ab")
    with pytest.raises(DataError, match="disagree on the example '0'"):
        compare(one, other)


def test_other_questions_under_the_same_ids_and_other_figures_are_not_compared() -> None:
    one, other = ([Scored(str(n), {"f1": 1.0}, text=f"{text} {n}") for n in range(4)] for text in ("who", "when"))
    with pytest.raises(DataError, match="disagree on the example '0'"):
        compare(one, other)
    recall = [Scored(each.id, {"recall_at_1": 1.0}, text=each.text) for each in one]
    with pytest.raises(DataError, match="no figure in common"):
        compare(one, recall)


def test_two_examples_show_nothing() -> None:
    wrong, right = ([Scored(str(n), {"f1": score}) for n in range(2)] for score in (0.0, 1.0))
    assert compare(wrong, right)["figures"]["f1"]["verdict"] == "no difference shown"


@pytest.mark.parametrize(
    "line",
    [
        {"id": "1", "scores": {}},
        {"id": "1", "scores": {"f1": float("nan")}},
        {"id": "1", "scores": {"f1": 1}, "confidence": "sure"},
        {"id": "1", "scores": {"f1": 1}, "confidence": float("nan")},
        {"id": "1", "scores": {"f1": 1}, "confidence": 7},
        {"id": "1", "scores": {"f1": 1}, "facets": ["a"]},
    ],
)
def test_faulty_predictions_are_named(tmp_path: Path, line: dict[str, object]) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text(json.dumps(line), encoding="utf-8")
    with pytest.raises(DataError, match="p.jsonl:1: no prediction"):
        read_predictions(file)


def test_a_report_of_answers_goes_by_being_right_and_leaves_strangers_uncompared(tmp_path: Path) -> None:
    right = [Scored(str(n), {"accuracy": 1.0, "f1": 0.3}, {"kind": "$a_$"}, text=f"question {n}") for n in range(30)]
    write_predictions(tmp_path / "a.jsonl", right)
    write_predictions(tmp_path / "b.jsonl", [right[0], Scored("x", {"accuracy": 0.0}), Scored("y", {"accuracy": 1.0})])
    write_report([tmp_path / "a.jsonl", tmp_path / "b.jsonl"], tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "question 3" not in page
    assert 'b against a</h2>\n<p class="muted">Not compared: The two files share fewer than two' in page


def test_a_report_tells_files_of_one_name_apart_and_what_would_have_been_right(tmp_path: Path) -> None:
    asked = [
        Scored(str(n), {"f1": 0.0, "has_answer_f1": 0.0}, text=f"When {n}? → at \ud83d nine", gold=f"at ten {n}")
        for n in range(4)
    ]
    retrieved = [Scored(str(n), {"recall_at_1": 0.0}, text=f"When {n}?") for n in range(4)]
    for folder, scored in (("a", asked), ("b", asked), ("c", retrieved)):
        (tmp_path / folder).mkdir()
        write_predictions(tmp_path / folder / "p.jsonl", scored)
    write_report([tmp_path / folder / "p.jsonl" for folder in "abc"], tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert f"<h2>{tmp_path}/b/p against {tmp_path}/a/p</h2>" in page
    assert "<td>When 3?</td><td>at ten 3</td><td>at \\ud83d nine</td>" in page
    assert "The two files have no figure in common" in page
    assert read_predictions(tmp_path / "a" / "p.jsonl")[2].gold == "at ten 2"


def test_a_figure_of_some_examples_is_compared_on_these() -> None:
    def scored(answered: float, declined: float) -> list[Scored]:
        return [
            Scored(str(n), {"f1": value, ("has_answer_f1" if n % 2 else "no_answer_f1"): value})
            for n in range(20)
            for value in [answered if n % 2 else declined]
        ]

    told = compare(scored(1.0, 0.0), scored(0.0, 1.0))["figures"]
    assert (told["f1"]["n"], told["f1"]["verdict"]) == (20, "no difference shown")
    assert [(told[name]["n"], told[name]["verdict"]) for name in ("has_answer_f1", "no_answer_f1")] == [
        (10, "worse"),
        (10, "better"),
    ]
    assert [told[name]["difference"] for name in ("has_answer_f1", "no_answer_f1")] == [-1, 1]


def test_ids_tell_what_an_example_is_and_not_where_it_stands() -> None:
    whole, part = ExampleIds(), ExampleIds()
    first = [whole.of(text, "a") for text in ("one", "two", "two", "three")]
    assert len(set(first)) == 4
    assert [part.of(text, "a") for text in ("two", "three")] == [first[1], first[3]]
    assert part.of("two", "b") not in first


def test_a_perfect_model_has_perfect_macro_figures_whatever_classes_are_drawn() -> None:
    scored = [Scored(str(n), {"accuracy": 1.0}, {}, label, label) for n, label in enumerate("aaaaab")]
    assert figures(scored)["macro_f1"] == 1.0
    assert intervals(scored)["macro_f1"] == [1.0, 1.0]


def test_predictions_are_read_as_they_were_written(tmp_path: Path) -> None:
    scored = model(0.5, 10)
    assert write_predictions(tmp_path / "p.jsonl", scored) == 10
    assert read_predictions(tmp_path / "p.jsonl") == scored
    (tmp_path / "bad.jsonl").write_text('{"id": 1}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"bad.jsonl:1: no prediction.*--predictions"):
        read_predictions(tmp_path / "bad.jsonl")


def test_slices_add_up() -> None:
    scored = model(0.5, 100)
    parts = slices(scored, "accuracy")["language"]
    assert sum(part["n"] for part in parts.values()) == 100
    total = sum(part["accuracy"] * part["n"] for part in parts.values()) / 100
    assert total == pytest.approx(figures(scored)["accuracy"])


@pytest.mark.parametrize(
    ("question", "language", "word"),
    [
        ("How many are there?", "en", "how many"),
        ("And how?", "en", "how"),
        ("The show began when?", "en", "when"),
        ("Is it?", "en", "other"),
        ("What did the man who led France do?", "en", "what"),
        ("When did the team whose captain left win?", "en", "when"),
        ("村里几乎没有人住的原因是什么？", "zh", "什么"),
        ("为什么要付钱？", "zh", "为什么"),
        ("要多少钱？", "zh", "多少"),
        ("可以退吗？", "zh", "吗"),
    ],
)
def test_question_words(question: str, language: str, word: str) -> None:
    assert question_word(question, language) == word  # type: ignore[arg-type]


def test_buckets_and_identity_terms() -> None:
    assert [bucket(n, (5, 10)) for n in (0, 4, 5, 9, 10, 99)] == ["0-4", "0-4", "5-9", "5-9", "10+", "10+"]
    assert identity_groups("A Muslim woman asked", "en") == ["gender", "religion"]
    assert identity_groups("The lamp is womanly", "en") == []
    assert identity_groups("一位老人问", "zh") == ["age"]
    assert identity_groups("Women and men in the shop", "en") == ["gender"]
    assert identity_groups("A black dress, straight to polish my old shoes, on a blind date", "en") == []
    assert identity_groups("An old man and two Polish people", "en") == ["gender", "origin", "age"]


def test_the_report_is_one_page_and_escapes_what_people_wrote(tmp_path: Path) -> None:
    first = [
        *model(0.6),
        Scored("x", {"accuracy": 0.0}, {"language": "en"}, "a", "b", "<script>alert(1)</script>", 0.99),
    ]
    write_predictions(tmp_path / "one.jsonl", first)
    write_predictions(tmp_path / "two.jsonl", model(0.8))
    write_report([tmp_path / "one.jsonl", tmp_path / "two.jsonl"], tmp_path / "r.html", title="A & B")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<title>A &amp; B</title>" in page
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "two against one" in page
    assert page.count("data:image/png;base64,") == 6
    assert "http" not in page


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from botkit.cli import main

    write_predictions(tmp_path / "a.jsonl", model(0.5))
    write_predictions(tmp_path / "b.jsonl", model(0.9))
    for arguments in (
        ["evaluate", "compare", str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl"), "--json"],
        ["evaluate", "report", str(tmp_path / "a.jsonl"), "--out", str(tmp_path / "r.html"), "--json"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert not ended.value.code
    lines = capsys.readouterr().out.splitlines()
    assert json.loads(lines[0])["figures"]["accuracy"]["verdict"] == "better"
    assert json.loads(lines[1]) == {"out": str(tmp_path / "r.html")}


def test_classes_are_compared_by_their_macro_figures_too() -> None:
    wanted = ["a"] * 90 + ["b"] * 10
    good = [*(["a"] * 90), *(["b"] * 9), "a"]

    def scored(said: list[str]) -> list[Scored]:
        return [
            Scored(str(n), {"accuracy": float(one == right)}, {}, right, one)
            for n, (one, right) in enumerate(zip(said, wanted, strict=True))
        ]

    report = compare(scored(["a"] * 100), scored(good))["figures"]
    assert report["macro_recall"]["first"] == pytest.approx(0.5)
    assert report["macro_recall"]["second"] == pytest.approx(0.95)
    assert report["macro_f1"]["verdict"] == "better"
    assert report["macro_f1"]["p"] < 0.05
    low, high = report["macro_recall"]["interval"]
    assert low <= 0.45 <= high
    assert (report["macro_f1"]["wins"], report["macro_f1"]["losses"]) == (9, 0)
    same = compare(scored(good), scored(good))["figures"]["macro_f1"]
    assert (same["difference"], same["verdict"]) == (0.0, "no difference shown")
    assert same["p"] == 1.0
