"""Reading alone: each question against its own paragraph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from botkit.errors import DataError
from botkit.evaluation.formats import ReadingExample
from botkit.evaluation.metrics import answer_tokens, best_over, mean
from botkit.evaluation.scored import Collect, Scored, bucket, gold_of, question_word
from botkit.models import Reader

Track = Callable[[Sequence[Any]], Iterable[Any]]


def evaluate_reader(
    reader: Reader,
    examples: Sequence[ReadingExample],
    *,
    threshold: float | None = None,
    track: Track = iter,
    collect: Collect | None = None,
) -> dict[str, Any]:
    """Exact match and F1, in all and for questions with and without an answer, as the official SQuAD scripts score.

    The reader declines where its best span lies less than `threshold` above "no answer", by default its own threshold if it
    has one, else 0. Where every question has an answer, as in SQuAD 1.1, it may not decline.
    """
    threshold = threshold_of(reader) if threshold is None else threshold
    if not examples:
        raise DataError("There is no question to measure with.")
    may_decline = any(not example.answers for example in examples)
    scored = []
    for example in track(examples):
        spans = reader.read(example.question, [example.context], top_k=1)
        said = spans[0].text if spans else ""
        if may_decline and spans and spans[0].score - spans[0].no_answer_score < threshold:
            said = ""
        scored.append((example, *best_over(example.answers, said, example.language)))
        if collect:
            collect(of_reading(example, said, *scored[-1][1:]))
    return {**figures(scored), "languages": by_language(scored)}


def threshold_of(reader: Reader) -> float:
    """The margin over "no answer" below which a reader says that there is none; 0 for one that names none."""
    return float(getattr(reader, "threshold", 0.0))


def of_reading(example: ReadingExample, said: str, exact: float, f1: float) -> Scored:
    """One question as a line of a file of predictions."""
    language = example.language
    facets = {
        "language": language,
        "answerable": "yes" if example.answers else "no",
        "question word": question_word(example.question, language),
        "question length": bucket(len(answer_tokens(example.question, language)), (8, 12, 18)),
        "context length": bucket(len(answer_tokens(example.context, language)), (80, 120, 180, 300)),
    }
    scores = {"exact": exact, "f1": f1}
    scores["has_answer_f1" if example.answers else "no_answer_f1"] = f1
    return Scored(example.id, scores, facets, text=f"{example.question} → {said}", gold=gold_of(example.answers))


def figures(scored: Sequence[tuple[ReadingExample, float, float]]) -> dict[str, float]:
    """The official figures of (example, exact, f1) triples."""
    answerable = [one for one in scored if one[0].answers]
    others = [one for one in scored if not one[0].answers]
    return {
        "exact": mean([exact for _, exact, _ in scored]),
        "f1": mean([f1 for _, _, f1 in scored]),
        "has_answer_exact": mean([exact for _, exact, _ in answerable]),
        "has_answer_f1": mean([f1 for _, _, f1 in answerable]),
        "no_answer_exact": mean([exact for _, exact, _ in others]),
        "no_answer_f1": mean([f1 for _, _, f1 in others]),
        "has_answer_n": len(answerable),
        "no_answer_n": len(others),
        "n": len(scored),
    }


def by_language(scored: Sequence[tuple[ReadingExample, float, float]]) -> Mapping[str, dict[str, float]]:
    """The figures of each language, where there are several."""
    languages = sorted({example.language for example, _, _ in scored})
    if len(languages) < 2:
        return {}
    return {language: figures([one for one in scored if one[0].language == language]) for language in languages}
