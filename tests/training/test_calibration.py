from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from botkit.decision import FEATURES
from botkit.messages import Language
from botkit.training.calibration import FAQS, _support_cases, features_of, stored_answers
from tests.parts import MakeBot


def test_a_span_is_right_where_its_sentence_holds_the_answer_in_whole_words(make_bot: MakeBot, tmp_path: Path) -> None:
    document = tmp_path / "returns.md"
    document.write_text(
        "# Returns\n\nThe long refund takes 15 days. The short refund takes 5 days.\n", encoding="utf-8"
    )
    engine = make_bot(shop=False).engine
    engine.knowledge.ingest([document])
    [with_it, without] = _support_cases(
        engine.knowledge, [("How long is the refund?", ["5 days"])], "en", engine.parts, 4
    )
    passage = with_it.hits[0].chunk.text
    for span, right in zip(with_it.evidence.spans, with_it.right, strict=True):
        assert right == (span.start >= passage.index("The short")), span.text
    assert with_it.right.any() and not with_it.right.all()
    assert (with_it.answerable, without.answerable, list(without.hits)) == (True, False, [])


def test_a_stored_answer_is_right_as_a_whole_and_described_by_its_question(make_bot: MakeBot, tmp_path: Path) -> None:
    table = tmp_path / "faq.json"
    entries = [{"question": "What does a repair cost?", "answer": "Ten euros. Bring it on Mondays."}]
    table.write_text(json.dumps(entries), encoding="utf-8")
    engine = make_bot(shop=False).engine
    engine.knowledge.ingest([table])
    asked = [("What is the cost of a repair?", ["Ten euros. Bring it on Mondays."])]
    [with_it, without] = _support_cases(engine.knowledge, asked, "en", engine.parts, 4, kind="faq")
    assert with_it.right.all() and len(with_it.right) > 1, "whichever of its sentences the reader marked"
    assert with_it.kind == without.kind == "faq"
    described = dict(zip(FEATURES, features_of(with_it)[0], strict=True))
    assert described["stored"] == 1
    assert described["stored_similarity"] == with_it.evidence.stored[0] > 0
    assert len(without.evidence.spans) == 0


def test_the_faqs_are_asked_in_other_words_and_without_their_answers(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    row = {
        "organisation": "Pier",
        "entries": [
            {"question": "When do you open?", "answer": "At nine.", "asked": ["From when is it open?", "too early?"]}
        ],
        "unanswerable": ["Is there a slide?"],
    }
    (tmp_path / "en.jsonl").write_text(f"{json.dumps(row)}\n", encoding="utf-8")
    monkeypatch.setattr("botkit.training.calibration.FAQS", tmp_path)
    cases = stored_answers("en", make_bot(shop=False).engine.parts, limit=None, k=4)
    assert [(case.question, case.answerable) for case in cases] == [
        ("From when is it open?", True),
        ("From when is it open?", False),
        ("too early?", True),
        ("too early?", False),
        ("Is there a slide?", False),
    ]
    assert any(hit.chunk.document.endswith("hotel.md") for hit in cases[-1].hits), "beside other documents"
    assert len({case.group for case in cases}) == 1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_faqs_are_whole_and_no_questions_of_the_file_that_measures_the_bot(language: Language) -> None:
    measured = (FAQS.parent.parent.parent / "tests/data/shop_questions.jsonl").read_text(encoding="utf-8")
    shop = {json.loads(line)["question"] for line in measured.splitlines()}
    asked: Counter[str] = Counter()
    for line in (FAQS / f"{language}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert set(row) == {"organisation", "entries", "unanswerable"}
        for entry in row["entries"]:
            assert entry["question"] not in entry["asked"]
            asked.update(entry["asked"])
        asked.update(row["unanswerable"])
    assert len(asked) > 300
    assert not shop & set(asked)
    assert max(asked.values()) == 1
