from __future__ import annotations

from pathlib import Path

import pytest

from botkit.errors import ModelError
from botkit.models.sentiment import TextSentimentClassifier, tone_of

from .tiny import TinyModel, make_sentiment


def test_the_tone_of_each_text_in_order(tiny_sentiment: TinyModel) -> None:
    classifier = TextSentimentClassifier.onnx(tiny_sentiment.folder)
    found = classifier.classify(["bad bad", "the river is long", "good good good"])
    assert [found[0].label, found[2].label] == ["negative", "positive"]
    assert max(found[1].probabilities.values()) == pytest.approx(1 / 3, abs=0.01)
    assert found[0].score > 0.9
    assert found[2].score > 0.9


def test_probabilities_sum_to_one_and_the_score_is_the_labels(tiny_sentiment: TinyModel) -> None:
    [found] = TextSentimentClassifier.onnx(tiny_sentiment.folder).classify(["good bad the"])
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert found.probabilities[found.label] == found.score == max(found.probabilities.values())


def test_no_texts_no_tones(tiny_sentiment: TinyModel) -> None:
    assert TextSentimentClassifier.onnx(tiny_sentiment.folder).classify([]) == []


def test_a_text_beyond_the_models_length_counts_with_its_beginning(tiny_sentiment: TinyModel) -> None:
    [found] = TextSentimentClassifier.onnx(tiny_sentiment.folder).classify(["good " * 100 + "bad " * 10_000])
    assert found.label == "positive"


def test_a_model_of_two_classes_has_no_neutral(tmp_path: Path) -> None:
    folder = make_sentiment(tmp_path / "two", labels=("NEGATIVE", "POSITIVE")).folder
    [found] = TextSentimentClassifier.onnx(folder).classify(["good"])
    assert (found.label, found.probabilities["neutral"]) == ("positive", 0.0)


@pytest.mark.parametrize(
    ("label", "tone"),
    [
        ("NEG", "negative"),
        ("Neutral", "neutral"),
        ("POSITIVE", "positive"),
        ("1 star", "negative"),
        ("3 stars", "neutral"),
        ("5 stars", "positive"),
    ],
)
def test_labels_of_hub_models_are_understood(label: str, tone: str) -> None:
    assert tone_of(label, [label]) == tone


def test_labels_that_are_no_tones_are_refused_by_name() -> None:
    with pytest.raises(ModelError, match="LABEL_0"):
        tone_of("LABEL_0", ["LABEL_0", "LABEL_1"])


def test_a_transformers_folder_classifies_through_torch(bert_sentiment_folder: Path) -> None:
    [found] = TextSentimentClassifier.transformers(bert_sentiment_folder).classify(["the river is long"])
    assert found.label in ("negative", "positive")
    assert sum(found.probabilities.values()) == pytest.approx(1)
