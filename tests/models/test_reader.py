from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from botkit.language import detect
from botkit.models import Reader, Span
from botkit.models.reader import LONGEST_ANSWER, ExtractiveReader, Letters
from botkit.models.runtime import load_tokenizer

from .tiny import TinyModel, make_reader

words = st.sampled_from(
    ["the", "river", "is", "long", "1851", "running", "runs", "it.", "Zebra!", "北京", "大学", "(a)", " "]
)
passage_texts = st.lists(words, max_size=14).map(" ".join)


@pytest.fixture(scope="module")
def reader_model(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    return make_reader(tmp_path_factory.mktemp("models") / "reader", max_length=24)


@pytest.fixture(scope="module")
def reader(reader_model: TinyModel) -> ExtractiveReader:
    return ExtractiveReader.onnx(reader_model.folder)


@pytest.fixture(scope="module")
def single_look(reader_model: TinyModel) -> ExtractiveReader:
    return ExtractiveReader.onnx(reader_model.folder, closer_looks=0)


def reference(
    model: TinyModel, question: str, passages: list[str], top_k: int, *, max_length: int = 24, stride: int = 128
) -> list[Span]:
    """The same by loops over every window, start and end."""
    tokenizer = load_tokenizer(model.folder)
    asked = tokenizer.encode(question.strip(), add_special_tokens=False).ids
    spans: list[Span] = []
    for number, passage in enumerate(passages):
        whole = tokenizer.encode(passage, add_special_tokens=False)
        room = max_length - len(asked) - 3
        step = room - min(stride, room // 2)
        candidates: list[tuple[float, int, int]] = []
        begin = 0
        while asked and begin < len(whole):
            window = range(begin, min(begin + room, len(whole)))
            for i in window:
                for j in window:
                    start, end = whole.offsets[i][0], whole.offsets[j][1]
                    if j < i or j - i >= LONGEST_ANSWER[detect(passage)] or cuts(passage, start) or cuts(passage, end):
                        continue
                    score = float(model.table[whole.ids[i], 0]) + float(model.table[whole.ids[j], 1])
                    candidates.append((score, start, end))
            if window.stop == len(whole):
                break
            begin += step
        null = float(model.table[tokenizer.token_to_id("[CLS]")].astype(np.float64).sum())
        found: list[Span] = []
        for score, start, end in sorted(candidates, key=lambda c: -c[0]):
            if len(found) < top_k and all(end <= span.start or start >= span.end for span in found):
                found.append(Span(number, start, end, passage[start:end], score, null))
        spans += found
    return sorted(spans, key=lambda span: span.no_answer_score - span.score)


def cuts(text: str, offset: int) -> bool:
    """Whether both neighbours of an offset belong to one word."""
    around = text[max(0, offset - 1) : offset + 1]
    return 0 < offset < len(text) and all(c.isascii() and c.isalnum() for c in around)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(passage_texts, max_size=4), st.integers(1, 4))
def test_spans_are_those_of_an_exhaustive_search(
    single_look: ExtractiveReader, reader_model: TinyModel, passages: list[str], top_k: int
) -> None:
    found = single_look.read("who founded it", passages, top_k=top_k)
    expected = reference(reader_model, "who founded it", passages, top_k)
    assert [round(span.score, 4) for span in found] == [round(span.score, 4) for span in expected]
    # equal tokens have equal scores, so that the places may differ where a token comes twice
    if len({round(span.score, 6) for span in expected}) == len(expected) and distinct_tokens(passages):
        assert [(s.passage, s.start, s.end) for s in found] == [(s.passage, s.start, s.end) for s in expected]


def distinct_tokens(passages: list[str]) -> bool:
    return all(len(set(passage.split())) == len(passage.split()) for passage in passages)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60), st.lists(st.text(max_size=80), max_size=4))
def test_any_text_gives_spans_that_lie_in_their_passages(
    reader: ExtractiveReader, question: str, passages: list[str]
) -> None:
    for span in reader.read(question, passages, top_k=2):
        passage = passages[span.passage]
        assert span.text == passage[span.start : span.end]
        assert span.text == span.text.strip() != ""


def test_spans_of_a_passage_do_not_overlap_and_are_sorted(reader: ExtractiveReader) -> None:
    assert isinstance(reader, Reader)
    passages = ["the river is long. it runs 1851 times.", "who founded it? the good. the bad."]
    spans = reader.read("who founded it?", passages, top_k=3)
    assert len(spans) == 6
    margins = [span.score - span.no_answer_score for span in spans]
    assert margins == sorted(margins, reverse=True)
    for number in (0, 1):
        places = sorted((span.start, span.end) for span in spans if span.passage == number)
        assert all(first[1] <= second[0] for first, second in itertools.pairwise(places))


def test_a_long_passage_is_read_to_its_end(reader_model: TinyModel, reader: ExtractiveReader) -> None:
    favourite = _make_favourite(reader_model, "1851")
    passage = "the river is long " * 40 + "1851 good bad"
    [best, *_] = favourite.read("who founded it", [passage], top_k=1)
    assert (best.text, best.start) == ("1851", passage.index("1851"))


def _make_favourite(model: TinyModel, word: str) -> ExtractiveReader:
    tokenizer = load_tokenizer(model.folder)
    table: NDArray[np.float32] = np.full_like(model.table, -1)
    table[tokenizer.token_to_id(word)] = 5

    class Favourite:
        inputs = frozenset({"input_ids"})

        def __call__(self, feeds: object) -> tuple[NDArray[np.float32], ...]:
            ids = feeds["input_ids"]  # type: ignore[index]
            return table[ids, 0], table[ids, 1]

    return ExtractiveReader("favourite", Favourite(), tokenizer, max_length=24, stride=4)


def _of_two_minds(model: TinyModel, closer_looks: int, seen: list[int] | None = None) -> ExtractiveReader:
    """Prefers "bad" in a long text, and "good" in a short one; each look has its own score of no answer.

    Every run of the model adds its number of tokens to `seen`.
    """
    tokenizer = load_tokenizer(model.folder)

    class OfTwoMinds:
        inputs = frozenset({"input_ids"})

        def __call__(self, feeds: object) -> tuple[NDArray[np.float32], ...]:
            ids: NDArray[np.int64] = feeds["input_ids"]  # type: ignore[index]
            if seen is not None:
                seen.append(ids.shape[1])
            far = ids.shape[1] > 30
            logits = np.full(ids.shape, -9, dtype=np.float32)
            for word, score in (("bad", 5 if far else 1), ("good", 4 if far else 6), ("[CLS]", 1 if far else 2)):
                logits[ids == tokenizer.token_to_id(word)] = score
            return logits, logits

    return ExtractiveReader("two minds", OfTwoMinds(), tokenizer, max_length=64, closer_looks=closer_looks)


def test_the_best_spans_count_with_the_mean_of_two_looks(reader_model: TinyModel) -> None:
    passage = "The river is long. " * 6 + "It is bad. It is good. It is long. The river is long."

    (far,) = _of_two_minds(reader_model, 0).read("who", [passage], top_k=1)
    assert (far.text, far.score, far.no_answer_score) == ("bad", 10, 2)

    (near,) = _of_two_minds(reader_model, 1).read("who", [passage], top_k=1)
    assert (near.text, near.start) == ("good", passage.index("good"))
    assert near.score - near.no_answer_score == pytest.approx(((8 - 2) + (12 - 4)) / 2)
    assert near.no_answer_score == pytest.approx((2 + 4) / 2)


def test_spans_beyond_the_closer_looks_stay_as_they_were(reader_model: TinyModel) -> None:
    """Two passages, one closer look: it goes to the first of two equals, and the other keeps its first score."""
    passage = "The river is long. " * 6 + "It is bad. The river is long. The river is long."

    spans = _of_two_minds(reader_model, 1).read("who", [passage, passage], top_k=1)

    assert [(span.passage, span.text) for span in spans] == [(1, "bad"), (0, "bad")]
    assert [span.score - span.no_answer_score for span in spans] == [pytest.approx(8), pytest.approx((8 - 2) / 2)]


def test_a_passage_of_few_sentences_is_looked_at_once(reader_model: TinyModel) -> None:
    passage = "The river is bad and the river is long. It is good."

    seen: list[int] = []
    spans = _of_two_minds(reader_model, 4, seen).read("who", [passage])

    assert spans == _of_two_minds(reader_model, 0).read("who", [passage])
    assert len(seen) == 1


def test_a_span_is_no_part_of_a_word(tmp_path: Path) -> None:
    model = make_reader(tmp_path / "reader")
    reader = _make_favourite(model, "run")
    spans = reader.read("who", ["it runs. running is good."], top_k=9)
    assert {"run", "ning", "s"}.isdisjoint(span.text for span in spans)
    assert spans[0].text.startswith("run")


def test_the_question_is_never_the_answer(reader_model: TinyModel) -> None:
    reader = _make_favourite(reader_model, "founded")
    spans = reader.read("who founded it", ["the river is long"], top_k=5)
    assert all(span.no_answer_score == -2 and span.score == -2 for span in spans)


@pytest.mark.parametrize("question", ["", "  \n", "\u200b"])
def test_a_blank_question_has_no_answers(reader: ExtractiveReader, question: str) -> None:
    assert reader.read(question, ["the river is long"]) == []


def test_blank_passages_have_no_answers_and_keep_their_numbers(reader: ExtractiveReader) -> None:
    spans = reader.read("who founded it", ["", " \n ", "the river"])
    assert {span.passage for span in spans} == {2}
    assert reader.read("who founded it", []) == []


def test_a_question_longer_than_the_model_is_cut(reader: ExtractiveReader) -> None:
    assert reader.read("who founded it " * 200, ["the river is long"], top_k=1)


def test_tokens_are_counted_without_special_ones(reader: ExtractiveReader) -> None:
    assert reader.count_tokens(["the river", "running", "", "北京 大学"]) == [2, 2, 0, 4]
    assert reader.count_tokens([]) == []


def test_a_chinese_answer_may_be_longer_than_an_english_one(reader_model: TinyModel) -> None:
    tokenizer = load_tokenizer(reader_model.folder)

    class Ends:
        """Likes to start at the first passage token and to end at the last."""

        inputs = frozenset({"input_ids", "token_type_ids"})

        def __call__(self, feeds: object) -> tuple[NDArray[np.float32], ...]:
            types: NDArray[np.int64] = feeds["token_type_ids"]  # type: ignore[index]
            place = np.cumsum(types, axis=1) * types
            return np.where(place == 1, 9.0, 0.0).astype(np.float32), place.astype(np.float32)

    reader = ExtractiveReader("ends", Ends(), tokenizer, max_length=256)
    assert len(reader.read("谁", ["北" * 50], top_k=1)[0].text) == 50
    assert len(reader.read("who", ["a " * 50], top_k=1)[0].text.split()) == 30


def test_a_transformers_folder_reads_through_torch(bert_folder: Path) -> None:
    reader = ExtractiveReader.transformers(bert_folder)
    [span, *_] = reader.read("who founded it", ["the river is long"], top_k=1)
    assert span.text in "the river is long"


def byte_level_tokenizer(passage: str) -> Tokenizer:
    """One like RoBERTa's: a word's token holds the blank before it, and the post-processor takes it out of the offsets."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE({piece: i for i, piece in enumerate(["<s>", "</s>", "<pad>", *alphabet])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(vocab_size=600, special_tokens=["<s>", "</s>", "<pad>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator([passage] * 30, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0), trim_offsets=True)
    return tokenizer


def marking(tokenizer: Tokenizer, first: str, last: str) -> ExtractiveReader:
    """A reader that holds the answer to begin with the token `first` and to end with `last`."""

    class Marking:
        inputs = frozenset({"input_ids"})

        def __call__(self, feeds: object) -> tuple[NDArray[np.float32], ...]:
            ids = feeds["input_ids"]  # type: ignore[index]
            starts, ends = (np.where(ids == tokenizer.token_to_id(one), 9.0, 0.0) for one in (first, last))
            return starts.astype(np.float32), ends.astype(np.float32)

    return ExtractiveReader("marking", Marking(), tokenizer, max_length=64, pad_id=2)


def test_words_behind_a_blank_may_begin_an_answer_with_a_byte_level_tokenizer() -> None:
    passage = "The shop opens at nine in Berlin."
    reader = marking(byte_level_tokenizer(passage), "Ġnine", "ĠBerlin")
    [best] = reader.read("When and where", [passage], top_k=1)
    assert (best.text, best.start, best.end) == ("nine in Berlin", 18, 32)


@pytest.mark.parametrize(
    ("passage", "answer"), [("the run\u0301 is long", "run\u0301"), ("the runs\u0301\u0327. it", "runs\u0301\u0327")]
)
def test_an_answer_keeps_its_accents(tmp_path: Path, passage: str, answer: str) -> None:
    reader = _make_favourite(make_reader(tmp_path / "reader"), "run")
    texts = [span.text for span in reader.read("who", [passage], top_k=9)]
    assert answer in texts
    assert all(not (passage + " ")[passage.index(text) + len(text)] > "\u02ff" for text in texts)


def test_where_words_with_accents_may_be_cut() -> None:
    letters = Letters.of("Zoe\u0301s x\u0302y")
    assert [i for i, inside in enumerate(letters.inside) if inside] == [1, 2, 3, 4, 7, 8]
    assert letters.after_marks.tolist() == [0, 1, 2, 4, 4, 5, 6, 8, 8, 9]
    assert not Letters.of("北京 大学").inside.any()
