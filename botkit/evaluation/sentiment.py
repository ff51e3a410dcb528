"""Tone: predicted against labelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from botkit.errors import DataError, ModelError
from botkit.evaluation.formats import LabelledText
from botkit.evaluation.metrics import class_figures, classification_figures, confusion
from botkit.evaluation.reader import Track
from botkit.messages import Sentiment
from botkit.models import SentimentClassifier
from botkit.models.sentiment import LABELS

_AT_ONCE = 64


def evaluate_sentiment(
    classifier: SentimentClassifier,
    examples: Sequence[LabelledText],
    *,
    labels: Sequence[str] | None = None,
    track: Track = iter,
) -> dict[str, Any]:
    """Accuracy and macro figures, each class, and the confusion table.

    The classifier chooses among `labels`, by default those that occur in the data: where a set has no neutral examples
    (SST-2, the Chinese reviews), its choice is between negative and positive.

    Raises `DataError` where the data has other labels, `ModelError` where the classifier cannot choose among these.
    """
    present = {example.label for example in examples}
    labels = [label for label in LABELS if label in (present if labels is None else labels)]
    if not present <= set(labels):
        raise DataError(f"The data has the label {min(present - set(labels))}, which is not among {', '.join(labels)}.")
    predicted: list[str] = []
    starts = range(0, len(examples), _AT_ONCE)
    for start in track(list(starts)):
        tones = classifier.classify([example.text for example in examples[start : start + _AT_ONCE]])
        predicted += [_choice(classifier, tone, labels) for tone in tones]
    wanted = [example.label for example in examples]
    table = confusion(predicted, wanted, labels)
    report: dict[str, Any] = {
        **classification_figures(predicted, wanted, labels),
        "n": len(examples),
        "classes": dict(zip(labels, class_figures(table), strict=True)),
        "labels": labels,
        "confusion": table.tolist(),
    }
    languages = sorted({example.language for example in examples})
    if len(languages) > 1:
        report["languages"] = {}
        for language in languages:
            chosen = [i for i, example in enumerate(examples) if example.language == language]
            report["languages"][language] = classification_figures(
                [predicted[i] for i in chosen], [wanted[i] for i in chosen], labels
            ) | {"n": len(chosen)}
    return report


def _choice(classifier: SentimentClassifier, tone: Sentiment, labels: Sequence[str]) -> str:
    """The likeliest of the labels."""
    if tone.label in labels:
        return tone.label
    if not tone.probabilities:
        raise ModelError(
            f"{classifier.name} says {tone.label} and gives no probabilities, so it cannot choose among "
            f"{', '.join(labels)}. Measure it with --labels negative,neutral,positive."
        )
    return max(labels, key=lambda label: tone.probabilities.get(label, 0.0))
