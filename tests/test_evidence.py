from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from botkit.evidence import Examiner
from botkit.text import sentences
from tests.knowledge.encoders import WordEncoder
from tests.parts import OverlapReader


class FirstWord(OverlapReader):
    """Marks the first word of each passage, and nothing else."""

    def read(self, question, passages, *, top_k=3):  # type: ignore[no-untyped-def]
        spans = super().read(question, passages, top_k=top_k)
        firsts = {span.passage: span for span in spans if span.start == 0}
        return [firsts[number] for number in sorted(firsts)]


def test_the_sentence_most_like_the_question_is_a_candidate_beside_the_readers_spans() -> None:
    encoder, reader = WordEncoder(), FirstWord()
    passage = "Opening hours are below. Dogs on a lead are welcome. Cats stay out."
    evidence = Examiner(lambda: reader, lambda: encoder).examine("Are dogs on a lead welcome?", [passage])
    texts = [span.text for span in evidence.spans]
    assert texts[0] == "Opening hours are below"
    assert "Dogs on a lead are welcome." in texts
    best = max(range(len(texts)), key=lambda i: evidence.similarities[i])
    assert texts[best] == "Dogs on a lead are welcome."
    for span in evidence.spans:
        assert passage[span.start : span.end] == span.text


def test_a_sentence_is_encoded_once() -> None:
    encoder, reader = WordEncoder(), OverlapReader()
    examiner = Examiner(lambda: reader, lambda: encoder)
    examiner.examine("Are dogs welcome?", ["Dogs are welcome. Cats are not."])
    before = len(encoder.encoded)
    examiner.examine("Are dogs welcome?", ["Dogs are welcome. Cats are not."])
    assert len(encoder.encoded) == before


def test_what_is_known_already_is_not_encoded() -> None:
    encoder, reader = WordEncoder(), OverlapReader()
    [vector] = encoder.encode(["Are dogs welcome?"])
    encoder.encoded.clear()
    known = {"Dogs are welcome.": vector}
    evidence = Examiner(lambda: reader, lambda: encoder).examine(
        "Are dogs welcome?", ["Dogs are welcome. Cats are not."], known=known
    )
    assert encoder.encoded == ["Are dogs welcome?", "Cats are not."]
    [dogs] = [i for i, span in enumerate(evidence.spans) if span.text == "Dogs are welcome"]
    assert abs(evidence.similarities[dogs] - 1) < 1e-6, "the given vector counts"


class Accompanied(WordEncoder):
    """Texts in Latin letters have a part of their own behind the columns that all have."""

    common = 2
    dimension = 4

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        halves = [[0.6, 0.8, *([1.0, 0.0] if text.isascii() else [0.0, 0.0])] for text in texts]
        rows = np.array(halves, dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_few_texts_with_a_companions_part_are_compared_without_it() -> None:
    examiner = Examiner(OverlapReader, Accompanied)
    chinese = "营业时间如下。周一休息。每天开门。"
    asked_of = {
        "VIP?": chinese,
        "营业时间？": f"9:00-18:00\n{chinese}",
        "open?": "Open at 9. Closed on Monday. 周一休息。",
    }
    for question, passage in asked_of.items():
        found = examiner.examine(question, [passage])
        near = {round(value, 3) for value in found.similarities}
        assert near == ({1.0} if question != "open?" else {1.0, 0.707}), question


def test_a_sentence_that_the_reader_passed_over_is_believed_no_more_than_no_answer() -> None:
    passage = "Dogs are welcome. Cats and dogs on a lead are welcome in the garden."
    found = Examiner(FirstWord, WordEncoder).examine("Are cats and dogs on a lead welcome?", [passage])
    [span] = [one for one in found.spans if one.text.startswith("Dogs")]
    [passed_over] = [one for one in found.spans if one.text.startswith("Cats")]
    assert passed_over.score == min(span.score, span.no_answer_score)
    assert passed_over.no_answer_score == span.no_answer_score
    sure = "Dogs and cats on a lead are welcome. Cats on a lead."
    first, *_, last = Examiner(FirstWord, WordEncoder).examine("Are cats and dogs on a lead welcome?", [sure]).spans
    assert first.score > first.no_answer_score == last.score


def test_a_sentence_that_begins_with_a_pronoun_is_compared_with_the_one_before_it() -> None:
    encoder = WordEncoder()
    passage = "The wheel course takes a day. It costs 130 pounds. Towels are there."
    Examiner(OverlapReader, lambda: encoder).examine("How much is the wheel course?", [passage])
    assert "The wheel course takes a day. It costs 130 pounds." in encoder.encoded
    assert "It costs 130 pounds." not in encoder.encoded
    assert "Towels are there." in encoder.encoded
    encoder.encoded.clear()
    Examiner(OverlapReader, lambda: encoder).examine("多少钱？", ["拉坯课一天。它要一百元。", "It is here."])
    assert "拉坯课一天。 它要一百元。" in encoder.encoded
    assert "It is here." in encoder.encoded, "nothing stands before it"


def test_nothing_found_is_no_evidence() -> None:
    reader, encoder = OverlapReader(), WordEncoder()
    assert Examiner(lambda: reader, lambda: encoder).examine("What?", []).spans == ()


@given(st.text(max_size=120))
def test_sentences_cover_every_character_but_blanks_in_order(passage: str) -> None:
    places = list(sentences(passage))
    covered = set()
    for start, end in places:
        covered.update(range(start, end))
    assert all(passage[i].isspace() for i in range(len(passage)) if i not in covered)
    assert places == sorted(places)
