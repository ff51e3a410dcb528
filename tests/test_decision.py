from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from botkit.config import AnswerConfig
from botkit.decision import (
    BUILTIN_CALIBRATION,
    FEATURES,
    Calibration,
    Candidate,
    candidates,
    decide,
    describe,
    passage_for_reader,
    questions_of,
)
from botkit.errors import ModelError
from botkit.evidence import Evidence
from botkit.knowledge.types import Chunk, Hit
from botkit.models import Span
from tests.parts import calibration


def hit(text: str, *, number: int = 1, heading: str = "H", question: str = "", score: float = 1.0) -> Hit:
    kind = "faq" if question else "passage"
    chunk = Chunk(number, f"d{number}.md", "T", heading, None, 0, len(text), text, "en", (), kind, question)  # type: ignore[arg-type]
    return Hit(chunk, score, 2.0, 0.5)


def span(text: str, passage: int = 0, start: int = 0, score: float = 8.0, none: float = 2.0) -> Span:
    return Span(passage, start, start + len(text), text, score, none)


def evidence(*spans: Span) -> Evidence:
    return Evidence(spans, [0.5] * len(spans))


def test_every_feature_is_described_and_of_the_order_of_one() -> None:
    hits = [hit("It costs nine euros. Really."), hit("Nothing here.", number=2, score=0.2)]
    described = describe(
        "What does it cost?", "en", hits, evidence(span("nine euros", 0, 9), span("Nothing", 1, 0, 1.0, 3.0))
    )
    for features in described:
        assert set(features) == set(FEATURES)
        assert all(-3 < value < 3 for value in features.values())
    assert described[0]["margin"] > described[1]["margin"]
    assert described[0]["best_margin_gap"] == 0 < described[1]["best_margin_gap"]
    assert described[0]["sentence_coverage"] == 1


def test_no_hits_no_candidates() -> None:
    assert candidates("What?", "en", [], Evidence(), calibration()) == []


def test_candidates_come_by_probability_and_a_stored_answer_only_once() -> None:
    faq = hit("Yes. Ten euros.", question="Do you repair?")
    spans = evidence(span("Ten euros", 0, 20), span("Yes", 0, 15, 7.0), span("plain", 1, 0, 12.0))
    ranked = candidates("Do you repair lamps?", "en", [faq, hit("plain", number=2)], spans, calibration())
    assert [candidate.span.text for candidate in ranked] == ["plain", "Ten euros"]
    assert ranked[1].is_faq
    unsure = evidence(span("Ten euros", 0, 20, 0.0, 9.0))
    ranked = candidates("do you  REPAIR", "en", [faq], unsure, calibration())
    assert [one.confidence >= 0.97 for one in ranked if one.is_faq] == [True]


def test_a_stored_answer_is_as_similar_as_its_question() -> None:
    faq, plain = hit("Ten euros.", question="What does a repair cost?"), hit("Ten days.", number=2)
    found = Evidence([span("Ten euros", 0, 25), span("Ten days", 1)], [0.3, 0.5], {0: 0.9})
    stored, other = describe("How much is mending?", "en", [faq, plain], found)
    assert (stored["sentence_similarity"], stored["similarity_gap"]) == (0.9, 0)
    assert other["similarity_gap"] == pytest.approx(0.4)


def test_what_stands_under_a_heading_that_asks_is_read_behind_it_and_cited_by_its_place_in_the_chunk() -> None:
    asking = hit("Pass --hidden. Then look.", heading="Guide › How do I search hidden files?")
    assert passage_for_reader(asking) == ("How do I search hidden files? Pass --hidden. Then look.", 30)
    assert questions_of([hit("Text."), asking]) == {1: "How do I search hidden files?"}
    assert questions_of([hit("文本。", heading="手册 › 怎么退货？")]) == {0: "怎么退货？"}
    assert questions_of([hit("Text.", heading="Why? › Because")]) == {}
    in_heading, across, answer = span("hidden", 0, 16, 20.0), span("files? Pass", 0, 23), span("Pass --hidden", 0, 30)
    ranked = candidates("hidden files?", "en", [asking], evidence(in_heading, across, answer), calibration())
    assert [(one.span.text, one.span.start, one.span.end) for one in ranked] == [("Pass --hidden", 0, 13)]


def test_an_answer_in_another_language_is_not_told_of_the_wrong_kind_by_its_spelling() -> None:
    chinese = hit("一家店，创始人是马化腾。", number=1)
    chinese = replace(chinese, chunk=replace(chinese.chunk, language="zh"))
    found = evidence(span("马化腾", 0, 8), span("a lamp shop", 1))
    of_chinese, of_english = describe("Who founded it?", "en", [chinese, hit("a lamp shop", number=2)], found)
    assert (of_chinese["misfits_kind"], of_english["misfits_kind"]) == (0, 1)


def candidate(confidence: float, text: str = "nine", number: int = 1, heading: str = "H") -> Candidate:
    return Candidate(hit(text, number=number, heading=heading), span(text), {}, confidence)


def route(
    ranked: list[Candidate],
    *,
    small_talk: float = 0.0,
    unresolved: bool = False,
    bare: bool = True,
    **config: object,
) -> str:
    settings = AnswerConfig.model_validate(config)
    return decide(
        ranked,
        language="en",
        small_talk=small_talk,
        unresolved=unresolved,
        bare=bare,
        config=settings,
        calibration=calibration(0.5),
    ).route


def test_the_first_rule_that_holds_decides() -> None:
    sure, unsure = candidate(0.8), candidate(0.3)
    assert route([sure]) == "answer"
    assert route([unsure]) == "unknown"
    assert route([]) == "unknown"
    assert route([sure], small_talk=0.95) == "chat"
    assert route([sure], small_talk=0.6) == "answer"
    assert route([unsure], small_talk=0.6) == "chat"
    assert route([sure], unresolved=True) == "clarify"


def test_a_message_that_says_enough_is_answered_although_it_points_at_something() -> None:
    assert route([candidate(0.8)], unresolved=True, bare=False) == "answer"
    assert route([candidate(0.8)], unresolved=True, bare=True) == "clarify"
    assert route([candidate(0.3)], unresolved=True, bare=False, small_talk=0.6) == "clarify"


def test_the_configured_threshold_wins_over_the_calibrated_one() -> None:
    assert route([candidate(0.3)], threshold=0.2) == "answer"
    assert route([candidate(0.8)], threshold=0.9) == "unknown"


def test_what_makes_a_rival_is_how_near_it_comes_to_the_better_one_not_the_difference_alone() -> None:
    settings = {"threshold": 0.1}

    assert route([candidate(0.2, "nine"), candidate(0.16, "ten", 2, "K")], **settings) == "answer"
    assert route([candidate(0.2, "nine"), candidate(0.195, "ten", 2, "K")], **settings) == "clarify"


def in_chinese(confidence: float, text: str) -> Candidate:
    one = candidate(confidence, text, 2, "K")
    return replace(one, hit=replace(one.hit, chunk=replace(one.hit.chunk, language="zh")))


def chosen(*ranked: Candidate) -> tuple[str, tuple[str, ...]]:
    decision = decide(
        ranked,
        language="en",
        small_talk=0.0,
        unresolved=False,
        config=AnswerConfig(),
        calibration=calibration(0.3),
    )
    return decision.route, tuple(one.span.text for one in decision.candidates)


def test_of_two_languages_that_of_the_question_is_preferred_where_it_may_be_said_and_is_half_as_likely() -> None:
    assert chosen(in_chinese(0.8, "九"), candidate(0.45, "nine")) == ("answer", ("nine",))
    assert chosen(in_chinese(0.8, "九"), candidate(0.35, "nine")) == ("answer", ("九",))
    assert chosen(in_chinese(0.5, "九"), candidate(0.29, "nine")) == ("answer", ("九",))
    assert chosen(in_chinese(0.8, "九")) == ("answer", ("九",))


def test_no_question_back_between_two_languages() -> None:
    assert chosen(in_chinese(0.8, "九"), candidate(0.79, "nine")) == ("answer", ("nine",))
    assert chosen(in_chinese(0.8, "九"), candidate(0.2, "nine"), in_chinese(0.2, "十")) == ("answer", ("九",))


def test_a_rival_elsewhere_that_says_something_else_leads_to_a_question_back() -> None:
    assert route([candidate(0.8, "nine"), candidate(0.79, "ten", 2, "K")]) == "clarify"
    assert route([candidate(0.8, "nine"), candidate(0.6, "ten", 2, "K")]) == "answer"
    assert route([candidate(0.8, "nine"), candidate(0.79, "nine euros", 2, "K")]) == "answer"
    assert route([candidate(0.8, "nine"), candidate(0.79, "ten", 2, "K")], clarify_margin=0) == "answer"


def test_the_shipped_calibration_belongs_to_the_shipped_reader_and_keeps_its_signs() -> None:
    shipped = Calibration.read()
    for language in ("en", "zh"):
        weights = shipped.weights[language]  # type: ignore[index]
        assert all(weights[name] * sign >= 0 for name, sign in FEATURES.items())
        assert 0 < shipped.threshold[language] < 1  # type: ignore[index]
    manifest = json.loads((BUILTIN_CALIBRATION.parent / "reader" / "botkit.json").read_text(encoding="utf-8"))
    assert shipped.reader.endswith(manifest["sha256"][:12])


def test_a_calibration_fitted_before_there_was_a_feature_is_read(tmp_path: Path) -> None:
    stored = json.loads(BUILTIN_CALIBRATION.read_text(encoding="utf-8"))
    for weights in stored["weights"].values():
        del weights["stored"], weights["stored_similarity"]
    (tmp_path / "c.json").write_text(json.dumps(stored), encoding="utf-8")
    older = Calibration.read(tmp_path / "c.json")
    features = dict.fromkeys(FEATURES, 0.5)
    assert older.probability(features, "en") == older.probability(features | {"stored": 1.0}, "en")
    stored["weights"]["en"]["colour"] = 1.0
    (tmp_path / "c.json").write_text(json.dumps(stored), encoding="utf-8")
    with pytest.raises(ModelError, match="en: there is no feature colour.*or delete it"):
        Calibration.read(tmp_path / "c.json")


@pytest.mark.parametrize("text", ["", "{}", '{"weights": {"en": {}}, "bias": {}, "threshold": {}}', "[]"])
def test_a_broken_calibration_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match="calibration"):
        Calibration.read(tmp_path / "c.json")
