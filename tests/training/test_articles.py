from __future__ import annotations

import pytest

from botkit.messages import Language
from botkit.text import terms
from botkit.training.articles import articles

VALIDATION = {"harvard university", "huguenot", "huguenots", "prime number", "sky uk", "sky (united kingdom)"}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_article_has_questions_of_both_kinds_and_is_in_one_part_only(language: Language) -> None:
    training, held_out = articles(language), articles(language, held_out=True)

    assert len(training) > 5 * len(held_out) > 0
    assert not {passage.organisation for passage in training} & {passage.organisation for passage in held_out}
    for passage in training + held_out:
        assert passage.asked
        assert passage.unanswerable
        assert not {asked.question for asked in passage.asked} & set(passage.unanswerable)
        for asked in passage.asked:
            assert passage.text[asked.start : asked.end].strip() == passage.answer(asked) != ""


def test_no_held_out_passage_is_told_again_in_one_for_training() -> None:
    bags = [terms(passage.text, "en") for passage in articles("en")]
    for passage in articles("en", held_out=True):
        told = terms(passage.text, "en")
        assert all(len(told & other) <= 0.35 * min(len(told), len(other)) for other in bags), passage.heading


def test_no_article_is_about_a_subject_of_the_validation_file() -> None:
    assert not {passage.organisation.casefold() for passage in articles("en")} & VALIDATION
