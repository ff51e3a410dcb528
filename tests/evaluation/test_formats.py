from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from botkit.errors import DataError
from botkit.evaluation.formats import is_routed, read_dialogues, read_labelled, read_questions, read_reading

SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "Nile_River",
            "paragraphs": [
                {
                    "context": "The Nile is long.",
                    "qas": [
                        {"id": "1", "question": "What is long?", "answers": [{"text": "The Nile", "answer_start": 0}]},
                        {"id": "2", "question": "What is short?", "answers": [], "is_impossible": True},
                    ],
                }
            ],
        }
    ],
}


def lines(folder: Path, *rows: object) -> Path:
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_squad_of_both_versions(tmp_path: Path) -> None:
    path = tmp_path / "squad.json"
    path.write_text(json.dumps(SQUAD), encoding="utf-8")
    first, second = read_reading(path)
    assert (first.title, first.answers, second.answers) == ("Nile River", ("The Nile",), ())
    assert not is_routed(path)


def test_json_lines_may_be_gzipped(tmp_path: Path) -> None:
    row = {
        "id": "x",
        "title": "T",
        "question": "谁？",
        "context": "张三来了。",
        "answers": [{"text": "张三", "start": 0}],
    }
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress((json.dumps(row) + "\n").encode()))
    [example] = read_reading(path)
    assert (example.language, example.answers) == ("zh", ("张三",))


def test_the_shipped_question_file_is_read(tmp_path: Path) -> None:
    path = Path(__file__).parent.parent / "data" / "shop_questions.jsonl"
    questions = read_questions(path)
    assert is_routed(path)
    assert len(questions) >= 120
    assert {question.language for question in questions} == {"en", "zh"}
    assert all(question.answers for question in questions if question.route == "answer")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"question": "Q?"}], "data.jsonl:1: `context` is missing"),
        (
            [{"question": "Q?", "context": "C", "answers": []}, {"question": " ", "context": "C"}],
            "data.jsonl:2: `question`",
        ),
        ([{"question": "Q?", "context": "C"}], "data.jsonl:1: `answers` is missing"),
        ([{"question": "Q?", "context": "C", "answers": "x"}], "data.jsonl:1: `answers` must be a list"),
        ([{"question": "Q?", "context": "C", "answers": [3]}], "data.jsonl:1: an answer must be text"),
        ([["no object"]], "data.jsonl:1: a JSON object is expected"),
    ],
)
def test_a_broken_line_is_told_with_its_number(tmp_path: Path, rows: list[object], said: str) -> None:
    with pytest.raises(DataError) as caught:
        read_reading(lines(tmp_path, *rows))
    assert said in str(caught.value)


def test_other_faults_are_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"x": 1}\nnot json\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"a:1"):
        read_labelled(tmp_path / "a")
    with pytest.raises(DataError, match="label is 'angry'"):
        read_labelled(lines(tmp_path, {"text": "x", "label": "angry"}))
    (tmp_path / "empty").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="empty"):
        read_reading(tmp_path / "empty")
    with pytest.raises(DataError, match="cannot be read"):
        read_reading(tmp_path / "none")
    (tmp_path / "latin").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match="not UTF-8"):
        read_reading(tmp_path / "latin")
    with pytest.raises(DataError, match="needs `answers`"):
        read_questions(lines(tmp_path, {"question": "Q?", "route": "answer"}))
    with pytest.raises(DataError, match=r"data.jsonl:1: lang is \['en'\]"):
        read_labelled(lines(tmp_path, {"text": "x", "label": "neutral", "lang": ["en"]}))
    broken = bytearray(gzip.compress(b'{"text": "x", "label": "neutral"}\n' * 50))
    broken[12:20] = bytes(8)
    (tmp_path / "broken.gz").write_bytes(broken)
    with pytest.raises(DataError, match="cannot be read"):
        read_labelled(tmp_path / "broken.gz")
    with pytest.raises(DataError, match="neither `turns` nor"):
        read_dialogues(lines(tmp_path, {"x": 1}))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"id": "3", "answers": []}, r"data\[0\].paragraphs\[0\].qas\[2\] .*'question'"),
        ({"id": "3", "question": "Q?", "answers": [{}]}, r"data\[0\].paragraphs\[0\].qas\[2\] .*'text'"),
        ("no object", r"data\[0\].paragraphs\[0\].qas\[2\] "),
    ],
)
def test_a_broken_question_of_a_squad_file_is_told_with_its_place(tmp_path: Path, asked: object, said: str) -> None:
    broken = json.loads(json.dumps(SQUAD))
    broken["data"][0]["paragraphs"][0]["qas"].append(asked)
    (tmp_path / "squad.json").write_text(json.dumps(broken), encoding="utf-8")
    with pytest.raises(DataError, match=said):
        read_reading(tmp_path / "squad.json")
    (tmp_path / "cut.json").write_text(json.dumps(broken, indent=1)[:-40], encoding="utf-8")
    with pytest.raises(DataError, match=r"cut.json:\d+: not JSON"):
        read_reading(tmp_path / "cut.json")


def test_blank_lines_before_the_first_do_not_change_what_a_file_is(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('\n\n{"question": "Q?", "context": "C", "answers": []}\n', encoding="utf-8")
    assert not is_routed(path)


def test_words_of_a_question_do_not_make_another_format_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    row = {"question": "What does a backup keep?", "answers": ["data"], "note": '"data": ['}
    path.write_text(f"{json.dumps(row)}\n{json.dumps({'data': [1]} | row)}\n", encoding="utf-8")
    assert is_routed(path)
    assert [one.answers for one in read_questions(path)] == [("data",), ("data",)]
    squad = {"version": "1", "about": ["x"], "data": [{"title": "t", "paragraphs": []}]}
    for text in (json.dumps(squad), json.dumps(squad, indent=1), "\n" + json.dumps(squad) + "\n"):
        path.write_text(text, encoding="utf-8")
        assert not is_routed(path)
        assert read_reading(path) == []


def test_the_lines_of_the_documentation_are_read(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs/training.md").read_text(encoding="utf-8")
    lines = re.findall(r'`(\{"question": [^`]*\})`', text)
    path = tmp_path / "q.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    read = read_questions(path)
    assert [one.route for one in read] == ["answer", "unknown", "answer"]
    assert read[2].history == ("When do you open on Sundays?",)


def test_dialogues_and_intents(tmp_path: Path) -> None:
    path = lines(
        tmp_path,
        {"turns": ["hi", "hello", "bye"], "lang": "en"},
        {"lang": "zh", "questions": ["你好"], "answers": {"friendly": "嗨"}},
    )
    conversations, intents = read_dialogues(path)
    assert [turn.role for turn in conversations[0]] == ["user", "bot", "user"]
    assert (intents[0].language, intents[0].questions) == ("zh", ("你好",))
