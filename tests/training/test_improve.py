from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from botkit.cli import main
from botkit.errors import DataError
from botkit.training.improve import (
    Proposal,
    check_apart,
    decide,
    keep_only,
    merge,
    propose,
    read_proposals,
    write_data,
    write_proposals,
)

PASSAGE = "The shop opens at nine. On Sundays it opens at eleven."


def turn(conversation: str, role: str, text: str, **more: Any) -> dict[str, Any]:
    return {"conversation": conversation, "role": role, "text": text, "created_at": "2026-01-01T00:00:00+00:00", **more}


def answer(conversation: str, rating: int | None, span: str = "at eleven", note: str = "") -> dict[str, Any]:
    start = PASSAGE.index(span)
    source = {"passage": PASSAGE, "passage_start": 100, "start": 100 + start, "span": span, "title": "Hours"}
    return turn(conversation, "bot", "…", route="answer", rating=rating, note=note, sources=[source])


def test_ratings_become_proposals() -> None:
    turns = [
        turn("a", "user", "When on Sundays?"),
        answer("a", 1),
        turn("b", "user", "Do you sell beds?"),
        answer("b", -1, note="no such thing"),
        turn("c", "user", "Hello"),
        turn("c", "bot", "Hi!", route="chat", rating=1, sources=[]),
        turn("d", "user", "And on Mondays?"),
        answer("d", None),
    ]
    good, bad = propose(turns)
    assert (good.question, good.answer, good.start) == ("When on Sundays?", "at eleven", PASSAGE.index("at eleven"))
    assert good.row()["answers"] == [{"text": "at eleven", "start": good.start}]
    assert (bad.question, bad.answer, bad.note, bad.row()["answers"]) == ("Do you sell beds?", "", "no such thing", [])


def test_the_question_is_the_one_that_was_answered_not_the_choice_between_two() -> None:
    asked_back = turn("a", "bot", "Which?", route="clarify", sources=[])
    turns = [turn("a", "user", "When?"), asked_back, turn("a", "user", "2"), answer("a", 1)]
    assert propose(turns) == [], "stored before the question was told"
    (one,) = propose([*turns[:3], answer("a", 1) | {"question": "When do you open on Sundays?"}])
    assert one.question == "When do you open on Sundays?"
    (later,) = propose([*turns, turn("a", "user", "When do you close?"), answer("a", 1)])
    assert later.question == "When do you close?"


def test_spellings_of_a_question_are_on_the_same_side() -> None:
    for number in range(20):
        question = f"When do you open on day {number}?"
        sides = {
            Proposal("1", text, PASSAGE, "", "at nine", 0, 1, "").evaluates
            for text in (question, question.lower(), question.rstrip("?"), f"{question} ", question.upper())
        }
        assert len(sides) == 1, question


def test_what_is_deleted_during_a_review_stays_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "home" / "improve"
    proposals = [
        Proposal(str(n), f"Question {n}?", PASSAGE, "", "at nine", PASSAGE.index("at nine"), 1, "") for n in range(3)
    ]
    write_proposals(folder, proposals)
    pressed = iter("yyq")

    def press(*_: object) -> str:
        keep_only(folder, [], {"1"})  # the person of the second deletes what they said
        return next(pressed)

    monkeypatch.setattr("builtins.input", press)
    with pytest.raises(SystemExit):
        main(["improve", "review", "--home", str(tmp_path / "home")])
    assert {one.id: one.decision for one in read_proposals(folder)} == {"0": "accepted", "2": "open"}
    assert [one.id for one in decide(folder, [replace(proposals[1], decision="accepted")])] == ["0", "2"]


def test_decisions_survive_collecting_again_and_a_changed_mind_opens_them() -> None:
    (first,) = propose([turn("a", "user", "When?"), answer("a", 1)])
    decided = [replace(first, decision="accepted")]
    assert merge(decided, [first])[0].decision == "accepted"
    (turned,) = propose([turn("a", "user", "When?"), answer("a", -1)])
    assert merge(decided, [turned])[0].decision == "open"


def test_an_answer_must_be_in_the_passage() -> None:
    (one,) = propose([turn("a", "user", "When?"), answer("a", 1)])
    assert one.answered("at nine").start == PASSAGE.index("at nine")
    with pytest.raises(DataError, match="does not have the words"):
        one.answered("at noon")


def test_what_is_compared_on_is_not_trained_on(tmp_path: Path) -> None:
    proposals = [
        Proposal(str(n), f"Question {n}?", PASSAGE, "", "at nine", PASSAGE.index("at nine"), 1, "", "accepted")
        for n in range(40)
    ]
    write_proposals(tmp_path, proposals)
    train, valid, learnt, kept = write_data(tmp_path, read_proposals(tmp_path))
    rows = [[json.loads(line)["question"] for line in file.read_text().splitlines()] for file in (train, valid)]
    assert (len(rows[0]), len(rows[1])) == (learnt, kept)
    assert learnt + kept == 40
    assert 4 <= kept <= 18
    assert not set(rows[0]) & set(rows[1])
    with pytest.raises(DataError, match="nothing is accepted"):
        write_data(tmp_path, [])
    with pytest.raises(DataError, match=r"all that is accepted \(1\) is kept for the comparison"):
        write_data(tmp_path, [next(one for one in proposals if one.evaluates)])


def test_the_review_says_which_keys_to_press(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "home" / "improve"
    write_proposals(folder, [Proposal("1", "When?", PASSAGE, "", "at nine", PASSAGE.index("at nine"), 1, "")])
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(SystemExit) as stopped:
        main(["improve", "review", "--home", str(tmp_path / "home")])
    assert not stopped.value.code
    shown = capsys.readouterr().out
    assert all(f"[{key}] " in shown for key in "yaunsq")
    assert read_proposals(folder)[0].decision == "accepted"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any, str]:
    code = 0
    try:
        main([*(str(one) for one in arguments), "--json"])
    except SystemExit as error:
        code = int(error.code or 0)
    out, err = capsys.readouterr()
    return code, json.loads(out), err


def test_from_a_rating_to_a_candidate_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = ("--home", tmp_path / "home")
    code, told, _ = run(capsys, "improve", "rollback", *home)
    assert (code, "Nothing was promoted" in told["error"]["message"]) == (1, True)
    code, told, _ = run(capsys, "improve", "train", *home)
    assert (code, "nothing is accepted" in told["error"]["message"]) == (1, True)

    folder = tmp_path / "home" / "improve"
    proposals = [
        Proposal(str(n), f"When does shop {n} open?", PASSAGE, "", "at nine", PASSAGE.index("at nine"), 1, "")
        for n in range(28)
    ]
    write_proposals(folder, proposals)
    few = [one for one in proposals if not one.evaluates] + [one for one in proposals if one.evaluates][:5]
    write_proposals(folder, [replace(one, decision="accepted") for one in few])
    code, told, _ = run(capsys, "improve", "train", *home)
    assert (code, "compare on: 5. On fewer than 6 nothing" in told["error"]["message"]) == (1, True)
    assert not list(folder.glob("candidate-*"))
    write_proposals(folder, proposals)
    code, told, _ = run(capsys, "improve", "review", "--accept-all", *home)
    assert (told["accepted"], told["open"]) == (28, 0)
    code, told, errors = run(
        capsys, "improve", "train", "--set", "max_steps=1", "--set", "max_length=64", "--set", "stride=8", *home
    )
    assert code == 0, errors
    assert told["promoted"] is False, "one step changes no answer"
    assert told["verdict"] == "no difference shown"
    assert (Path(told["candidate"]) / "model.onnx").is_file()
    code, told, _ = run(capsys, "improve", "status", *home)
    assert (told["accepted"], told["in_service"], told["promotions"]) == (28, "builtin", [])


def test_a_promotion_can_be_undone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from botkit.cli.models import write_setting
    from botkit.config import load_settings
    from botkit.training.improve import note_promotion

    home = tmp_path / "home"
    home.mkdir()
    write_setting(home / "config.yaml", ("models", "reader"), str(tmp_path / "better"))
    note_promotion(home / "improve", "builtin", str(tmp_path / "better"), {"difference": 0.1})
    code, told, _ = run(capsys, "improve", "rollback", "--home", home)
    assert (code, told["reader"]) == (0, "builtin")
    assert load_settings(None, home).config.models.reader == "builtin"
    code, told, _ = run(capsys, "improve", "rollback", "--home", home)
    assert (code, "Nothing was promoted" in told["error"]["message"]) == (1, True)
    code, told, _ = run(capsys, "improve", "status", "--home", home)
    assert (code, told["promotions"]) == (0, [])
    note_promotion(home / "improve", str(tmp_path / "gone"), "builtin", {"difference": 0.1})
    code, told, _ = run(capsys, "improve", "rollback", "--home", home)
    assert (code, "There is no model" in told["error"]["message"]) == (1, True)
    assert load_settings(None, home).config.models.reader == "builtin"
    assert len(run(capsys, "improve", "status", "--home", home)[1]["promotions"]) == 1


def test_what_is_learnt_is_not_compared_on(tmp_path: Path) -> None:
    def rows(name: str, *asked: str) -> Path:
        file = tmp_path / name
        answers = [{"text": "at nine", "start": PASSAGE.index("at nine")}]
        lines = [json.dumps({"title": "t", "question": q, "context": PASSAGE, "answers": answers}) for q in asked]
        file.write_text("\n".join(lines), encoding="utf-8")
        return file

    learnt = rows("learnt.jsonl", "When do you open?", "When do you close?")
    check_apart([learnt], [rows("other.jsonl", "Do you open at all?")])
    same = rows("same.jsonl", "Do you open at all?", "when do you OPEN")
    with pytest.raises(DataError, match=r"same\.jsonl:2: .* also learnt from \(.*learnt\.jsonl:1; 1 such in all\)"):
        check_apart([learnt], [same])
