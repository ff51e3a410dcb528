"""Classes: predicted against labelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from botkit.evaluation.formats import LabelledText
from botkit.evaluation.metrics import (
    answer_tokens,
    calibration_error,
    class_figures,
    classification_figures,
    confusion,
)
from botkit.evaluation.reader import Track
from botkit.evaluation.scored import Collect, ExampleIds, Scored, bucket
from botkit.models.classifier import TextClassifier

AT_ONCE: Final = 64


def evaluate_classifier(
    classifier: TextClassifier,
    examples: Sequence[LabelledText],
    *,
    track: Track = iter,
    collect: Collect | None = None,
) -> dict[str, Any]:
    """Accuracy, macro and per-class figures over all of the classifier's labels, its calibration, and the confusion table."""
    predicted: list[str] = []
    scores: list[float] = []
    for start in track(list(range(0, len(examples), AT_ONCE))):
        shares = classifier.probabilities([example.text for example in examples[start : start + AT_ONCE]])
        predicted += [classifier.labels[place] for place in shares.argmax(axis=1)]
        scores += [float(score) for score in shares.max(axis=1)]
    right = [said == example.label for said, example in zip(predicted, examples, strict=True)]
    if collect:
        ids = ExampleIds()
        for number, example in enumerate(examples):
            facets, told = facets_of(example), {"accuracy": float(right[number])}
            id = ids.of(example.text, example.label)
            collect(Scored(id, told, facets, example.label, predicted[number], example.text, scores[number]))
    report = labelled_figures(predicted, examples, classifier.labels)
    return {**report, "calibration_error": calibration_error(scores, right)}


def labelled_figures(
    predicted: Sequence[str], examples: Sequence[LabelledText], labels: Sequence[str]
) -> dict[str, Any]:
    """Figures, those of each label, the confusion table (row: what is right), and figures by language.

    As in scikit-learn, macro figures average over the labels that occur, as what is right or as what was said.
    """
    wanted = [example.label for example in examples]
    table = confusion(predicted, wanted, labels)
    report: dict[str, Any] = {
        **_figures(predicted, wanted, labels),
        "n": len(examples),
        "classes": dict(zip(labels, class_figures(table), strict=True)),
        "labels": list(labels),
        "confusion": table.tolist(),
    }
    languages = sorted({example.language for example in examples})
    if len(languages) > 1:
        report["languages"] = {}
        for language in languages:
            chosen = [i for i, example in enumerate(examples) if example.language == language]
            report["languages"][language] = _figures(
                [predicted[i] for i in chosen], [wanted[i] for i in chosen], labels
            ) | {"n": len(chosen)}
    return report


def _figures(predicted: Sequence[str], wanted: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    occurring = {*predicted, *wanted}
    return classification_figures(predicted, wanted, [label for label in labels if label in occurring])


def facets_of(example: LabelledText) -> dict[str, str]:
    """What a labelled text is sliced by."""
    return {
        "language": example.language,
        "length": bucket(len(answer_tokens(example.text, example.language)), (6, 12, 24, 48)),
        "label": example.label,
    }
