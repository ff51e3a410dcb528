from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from botkit.decision import FEATURES
from botkit.evidence import Evidence
from botkit.messages import Language
from botkit.training.calibration import FAQS, GENTLEST, Case, Kind, _support_cases, features_of, fit, stored_answers
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


def made(kind: Kind, rows: Sequence[tuple[bool, dict[str, float]]]) -> tuple[Case, NDArray[np.float64]]:
    """A case whose spans are right or not and have these features, the others being 0."""
    right = np.array([one for one, _ in rows])
    features = np.array([[told.get(name, 0.0) for name in FEATURES] for _, told in rows])
    return Case(kind, "?", "en", (), Evidence(), right.astype(np.float64), right, True, 0), features


def test_no_weight_is_more_negative_than_its_bound_and_none_has_the_wrong_sign() -> None:
    rows = [(gap < 0.1, {"similarity_gap": gap, "rank": -gap}) for gap in np.linspace(0, 0.3, 60)]
    weights, _ = fit([made("open", rows), made("support", rows)])
    told = dict(zip(FEATURES, weights, strict=True))
    assert told["similarity_gap"] == pytest.approx(GENTLEST["similarity_gap"])
    assert told["rank"] == 0


def test_wrong_stored_answers_count_more(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = [(number % 2 == 0, {"stored": 1.0, "stored_similarity": 0.5}) for number in range(40)]
    others = [(number % 2 == 0, {"margin": 0.1}) for number in range(40)]
    cases = [made("open", others), made("support", others), made("faq", stored)]

    def odds() -> float:
        weights, bias = fit(cases)
        return float(stored_features @ weights + bias)

    stored_features = cases[2][1][0]
    believed = odds()
    monkeypatch.setattr("botkit.training.calibration.FAQ_WRONG", 1.0)
    assert believed < odds() - 0.5
    assert odds() == pytest.approx(0, abs=0.1), "half of them are right"
