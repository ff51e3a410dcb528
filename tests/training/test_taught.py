from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra torch")

from botkit.errors import ModelError  # noqa: E402
from botkit.training.sentiment import LABELS, loss_of, taught  # noqa: E402
from botkit.training.taught import ask, near_words, phrase, sentences, varied  # noqa: E402
from tests.training.data import tiny_bert, write_rows  # noqa: E402


def test_words_come_with_those_nearest_to_them() -> None:
    places = {"dull": 0.0, "boring": 0.1, "lively": 2.0, "vivid": 2.2}

    def encode(texts: Sequence[str]) -> Any:
        return np.array([[np.cos(places[text]), np.sin(places[text])] for text in texts], dtype=np.float32)

    near = near_words(["Dull boring", "lively vivid"] * 3 + ["rare"], encode)

    assert {word: others[0] for word, others in near.items()} == {
        "dull": "boring",
        "boring": "dull",
        "lively": "vivid",
        "vivid": "lively",
    }


def test_a_varied_sentence_is_made_of_the_words_of_two_sentences_and_those_near_to_them() -> None:
    near = {"dull": ["boring"], "film": ["movie"]}
    said, other = "a dull film , but the cast of it is quite splendid", "the plot of this one never gets anywhere"
    allowed = {*said.split(), *other.split(), "boring", "movie", ",", ";", "--", ".", "and", "yet"}
    allowed |= {"though", "even", "if", "while", "because"}

    found = {varied(said, [other], near, random.Random(seed)) for seed in range(200)}

    assert len(found) > 30
    assert {word.strip(",") for text in found for word in text.split()} - {""} <= allowed
    assert any("boring" in text for text in found) and any("anywhere" in text and "cast" in text for text in found)


def test_a_phrase_is_some_words_of_a_clause_as_they_stand() -> None:
    said = "a dull film , but the cast of it is quite splendid and never gets anywhere at all in the end"
    found = {phrase(said, random.Random(seed)) for seed in range(300)}
    assert len(found) > 40
    assert all(f" {one} " in f" {said} " and "," not in one for one in found)
    assert {len(one.split()) for one in found} >= {1, 2, 3, 4, 5, 6}
    assert "a dull film" in found
    assert phrase("...", random.Random(1)) == "..."


@pytest.fixture
def data(tmp_path: Path) -> Path:
    films = [{"text": f"film number {n} is a joy to see", "label": "positive", "lang": "en"} for n in range(30)]
    tweets = [{"text": f"tweet {n}", "label": "neutral", "lang": "en"} for n in range(30)]
    for name, rows in (("en_sst2", films), ("en_tweets", tweets)):
        write_rows(tmp_path / f"sentiment/{name}_train.jsonl.gz", rows)
        write_rows(tmp_path / f"sentiment/{name}_valid.jsonl.gz", rows[:1])
    write_rows(
        tmp_path / "dialogue/topical_train.jsonl.gz", [{"turns": [f"turn {n}" for n in range(40)], "lang": "en"}]
    )
    return tmp_path


def test_sentences_are_there_once_and_none_that_is_validated_with(data: Path) -> None:
    found = sentences(data, {"joy": ["bore"]}, 200, random.Random(1))

    texts = [text for text, _ in found]
    assert len(texts) == len(set(texts))
    assert "film number 1 is a joy to see" in texts and "film number 0 is a joy to see" not in texts
    assert "tweet 0" not in texts
    chatted = [re.fullmatch(r"(tweet|turn) \d+", text) is not None for text in texts]
    assert chatted == [has_neutral for _, has_neutral in found] and sum(chatted) > 10


def test_a_teacher_says_each_texts_tones_in_the_order_given(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    base = tiny_bert(tmp_path / "base")
    labels: dict[str, Any] = {"num_labels": 3, "id2label": dict(enumerate(LABELS))}
    model: Any = AutoModelForSequenceClassification.from_pretrained(base, **labels)
    model.save_pretrained(tmp_path / "teacher")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "teacher")
    texts = [("the lamp costs nine euros and more", True), ("who", False), ("the lamp", True)]

    said = ask(tmp_path / "teacher", texts)

    assert [(one.text, one.has_neutral) for one in said] == texts
    assert all(sum(one.probabilities) == pytest.approx(1, abs=1e-3) for one in said)
    assert said[1].probabilities[1] == 0 and all(0 < p < 1 for p in said[0].probabilities)
    alone = ask(tmp_path / "teacher", texts[:1])
    assert alone[0].probabilities == pytest.approx(said[0].probabilities, abs=0.02)


def test_a_teacher_of_other_labels_is_refused(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    base = tiny_bert(tmp_path / "base")
    AutoModelForSequenceClassification.from_pretrained(base, num_labels=2).save_pretrained(tmp_path / "teacher")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "teacher")

    with pytest.raises(ModelError, match="negative, neutral, positive"):
        ask(tmp_path / "teacher", [("the lamp", True)])


def test_the_loss_is_least_at_the_probabilities_taught_and_neutral_counts_only_where_it_is_known(
    tmp_path: Path,
) -> None:
    write_rows(
        tmp_path / "taught.jsonl.gz",
        [
            {"text": "so so", "probabilities": [0.2, 0.5, 0.3], "has_neutral": True},
            {"text": "a film", "probabilities": [0.25, 0.0, 0.75], "has_neutral": False},
        ],
    )
    examples = taught(tmp_path / "taught.jsonl.gz")
    wanted = torch.tensor([one.probabilities for one in examples])
    known = torch.tensor([one.has_neutral for one in examples])
    best = wanted.clamp(min=1e-9).log()

    least = loss_of(best, wanted, known)

    for moved in ([0.3, 0, 0], [0, 0.3, 0], [0, 0, -0.3]):
        assert loss_of(best + torch.tensor([moved, [0.0, 0.0, 0.0]]), wanted, known) > least
    assert loss_of(best + torch.tensor([[0.0, 0.0, 0.0], [0.0, 9.0, 0.0]]), wanted, known) == pytest.approx(
        float(least)
    )
    assert loss_of(best + torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0]]), wanted, known) > least
