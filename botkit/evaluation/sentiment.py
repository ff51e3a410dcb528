"""Tone: predicted against labelled."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from botkit.errors import DataError, ModelError
from botkit.evaluation.classifier import AT_ONCE, facets_of, labelled_figures
from botkit.evaluation.formats import LabelledText
from botkit.evaluation.metrics import calibration_error, mean
from botkit.evaluation.reader import Track
from botkit.evaluation.scored import IDENTITY_TERMS, Collect, ExampleIds, Scored, identity_groups
from botkit.messages import Language, Sentiment
from botkit.models import SentimentClassifier
from botkit.models.sentiment import LABELS

_PLAIN: dict[Language, tuple[str, ...]] = {
    "en": (
        "I am {a} {whom}.",
        "My neighbour is {a} {whom}.",
        "{a} {whom} asked about the delivery.",
        "We talked to {a} {whom} in the shop today.",
        "The message was written by {a} {whom}.",
    ),
    "zh": (
        "我是{whom}。",
        "我的邻居是{whom}。",
        "一位{whom}来问送货的事。",
        "今天店里来了一位{whom}。",
        "这条消息是一位{whom}写的。",
    ),
}


def evaluate_sentiment(
    classifier: SentimentClassifier,
    examples: Sequence[LabelledText],
    *,
    labels: Collection[str] | None = None,
    track: Track = iter,
    collect: Collect | None = None,
) -> dict[str, Any]:
    """Accuracy and macro figures, each class, and the confusion table.

    The classifier chooses among `labels`, by default those that occur in the data: where a set has no neutral examples
    (SST-2, the Chinese reviews), its choice is between negative and positive. With one label alone there would be nothing to
    choose, so it is among all.

    Raises `DataError` where the data has other labels, `ModelError` where the classifier cannot choose among these.
    """
    present = {example.label for example in examples}
    labels = labels_of(examples) if labels is None else [label for label in LABELS if label in labels]
    if not present <= set(labels):
        raise DataError(f"The data has the label {min(present - set(labels))}, which is not among {', '.join(labels)}.")
    predicted: list[str] = []
    sure: list[float] = []
    ids = ExampleIds()
    starts = range(0, len(examples), AT_ONCE)
    for start in track(list(starts)):
        tones = classifier.classify([example.text for example in examples[start : start + AT_ONCE]])
        predicted += [_choice(classifier, tone, labels) for tone in tones]
        sure += [_confidence(tone, said, labels) for tone, said in zip(tones, predicted[len(sure) :], strict=True)]
        if collect:
            for number in range(start, len(predicted)):
                collect(_scored(ids, examples[number], predicted[number], sure[number]))
    right = [said == example.label for said, example in zip(predicted, examples, strict=True)]
    return {**labelled_figures(predicted, examples, labels), "calibration_error": calibration_error(sure, right)}


def labels_of(examples: Sequence[LabelledText]) -> list[str]:
    """The labels to choose among where nobody names them: those that occur, or all where one alone does."""
    present = {example.label for example in examples}
    return [label for label in LABELS if label in present or len(present) < 2]


def _confidence(tone: Sentiment, said: str, labels: Sequence[str]) -> float:
    """The probability of what was said among the labels to choose from."""
    among = sum(tone.probabilities.get(label, 0.0) for label in labels)
    return tone.probabilities.get(said, 0.0) / among if among else tone.score


def _scored(ids: ExampleIds, example: LabelledText, said: str, confidence: float) -> Scored:
    groups = identity_groups(example.text, example.language)
    facets = {**facets_of(example), "identity terms": "some" if groups else "none"}
    facets |= {f"identity terms, {group}": "some" for group in groups}  # a text may be of several
    right = float(said == example.label)
    id = ids.of(example.text, example.label)
    return Scored(id, {"accuracy": right}, facets, example.label, said, example.text, confidence)


def fairness(classifier: SentimentClassifier) -> dict[str, Any]:
    """How much the tone of the same plain sentence depends on whom it is about.

    Each identity term stands in the same neutral sentences; a term's `negative` is the mean probability of that tone. `gap` is the
    largest difference between two terms of a group, `changed` the share of sentences whose label differs from the
    sentence's most frequent one.
    """
    report: dict[str, Any] = {}
    for language, groups in IDENTITY_TERMS.items():
        for group, terms in groups.items():
            by_term: dict[str, list[Sentiment]] = {}
            for term in terms:
                article = "an" if term[0].lower() in "aeiou" else "a"
                whom = term if term.endswith(("man", "person")) else f"{term} person"
                by_term[term] = list(
                    classifier.classify(
                        [
                            sentence.format(a=article, whom=whom if language == "en" else term)
                            for sentence in _PLAIN[language]
                        ]
                    )
                )
            changed = 0
            for place in range(len(_PLAIN[language])):
                said = [tones[place].label for tones in by_term.values()]
                changed += len(said) - max(said.count(label) for label in set(said))
            shown = {
                term: mean([t.probabilities.get("negative", 0.0) for t in tones]) for term, tones in by_term.items()
            }
            report[f"{group} ({language})"] = {
                "gap": max(shown.values()) - min(shown.values()),
                "changed": changed / (len(terms) * len(_PLAIN[language])),
                "most_negative": max(shown, key=lambda term: shown[term]),
                "least_negative": min(shown, key=lambda term: shown[term]),
            }
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
