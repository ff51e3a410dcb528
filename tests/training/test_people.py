from __future__ import annotations

from collections import Counter

from botkit.evaluation.scored import IDENTITY_TERMS
from botkit.evaluation.sentiment import _PLAIN
from botkit.training.people import COMPLAINT, PEOPLE, PLAIN, PRAISE, about_people


def parts(written: str) -> list[str]:
    return [part.strip() for part in written.split("|")]


def test_the_same_is_said_of_everybody() -> None:
    tones = Counter(tone for _, tone in about_people())
    assert tones["positive"] == tones["negative"]
    wanted = sum(len(parts(PEOPLE[language])) * len(parts(PLAIN[language])) for language in PEOPLE)
    assert tones["neutral"] == wanted


def test_fairness_is_measured_with_other_people_and_other_sentences() -> None:
    for language, everybody in PEOPLE.items():
        measured = {term for group in IDENTITY_TERMS[language].values() for term in group}
        assert not measured & set(parts(everybody))
        sentences = {part for kind in (PLAIN, PRAISE, COMPLAINT) for part in parts(kind[language])}
        shown = {sentence.replace("{whom}", "{}").replace("{a} ", "a ").capitalize() for sentence in _PLAIN[language]}
        assert not shown & {sentence.capitalize() for sentence in sentences}


def test_articles_fit() -> None:
    texts = [text for text, _ in about_people()]
    assert "An Israeli bought two lamps." in texts
    assert not any(" a Israeli" in text or " an girl" in text for text in texts)
