from __future__ import annotations

import json
from pathlib import Path

import pytest

from botkit.messages import Language
from botkit.text import terms
from botkit.training.help_centres import FOLDER, help_centres

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_answer_stands_in_its_passage_and_no_organisation_is_in_both_parts(language: Language) -> None:
    training, held_out = help_centres(language), help_centres(language, held_out=True)

    assert len(training) > 100
    assert len(held_out) >= 15
    assert not {p.organisation for p in training} & {p.organisation for p in held_out}
    for passage in training + held_out:
        assert passage.asked
        assert passage.unanswerable
        for asked in passage.asked:
            assert passage.text[asked.start : asked.end] == passage.answer(asked) != ""


def test_no_question_is_one_of_the_question_file_that_measures_the_bot() -> None:
    lines = (ROOT / "tests/data/shop_questions.jsonl").read_text(encoding="utf-8").splitlines()
    measured = {json.loads(line)["question"] for line in lines}
    written = {
        question
        for language in ("en", "zh")
        for part in (False, True)
        for passage in help_centres(language, held_out=part)
        for question in [*(asked.question for asked in passage.asked), *passage.unanswerable]
    }

    assert not measured & written


def test_no_passage_is_a_copy_of_the_documents_that_ship() -> None:
    shipped = [
        terms(line, "en")
        for path in (ROOT / "knowledge").rglob("*.md")
        for line in path.read_text(encoding="utf-8").splitlines()
        if len(line) > 60
    ]
    for passage in help_centres("en"):
        bag = terms(passage.text, "en")
        assert all(len(bag & other) < 0.6 * min(len(bag), len(other)) for other in shipped if len(other) > 8)


def test_reading_another_folder(tmp_path: Path) -> None:
    row = json.loads(next(iter(FOLDER.glob("en*.jsonl"))).read_text(encoding="utf-8").splitlines()[0])
    kept = row | {"heading": "Another", "held_out": True}
    (tmp_path / "en.jsonl").write_text(f"{json.dumps(row)}\n{json.dumps(kept)}\n", encoding="utf-8")

    (passage,) = help_centres("en", folder=tmp_path)
    (held_out,) = help_centres("en", held_out=True, folder=tmp_path)

    assert passage.heading == row["heading"]
    assert held_out.heading == "Another"
    assert help_centres("zh", folder=tmp_path) == []
