"""Figures, each a plain function of predictions and references.

Answers are compared as the official SQuAD scripts do it (Rajpurkar et al. 2016, 2018); Chinese ones by character, as
the CMRC 2018 script splits them, but with the bag overlap of SQuAD instead of the longest common subsequence.
"""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Final

import numpy as np

from botkit.messages import Language

_ARTICLES: Final = re.compile(r"\b(a|an|the)\b")
_ASCII_MARKS: Final = frozenset(string.punctuation)
_ANSWER_PIECES: Final = re.compile(r"[㐀-䶿一-鿿豈-﫿]|[^㐀-䶿一-鿿豈-﫿\s]+")
_BINS: Final = 10


def normalised(text: str) -> str:
    """Lower case, without ASCII punctuation, English articles and superfluous blanks: the official SQuAD normalisation."""
    kept = "".join(character for character in text.lower() if character not in _ASCII_MARKS)
    return " ".join(_ARTICLES.sub(" ", kept).split())


def answer_tokens(text: str, language: Language) -> list[str]:
    """What two answers are compared by: words of the normalised text; for Chinese, characters and Latin words."""
    if language == "en":
        return normalised(text).split()
    folded = unicodedata.normalize("NFKC", text).lower()
    plain = "".join(" " if unicodedata.category(c)[0] in "PSZC" else c for c in folded)
    return _ANSWER_PIECES.findall(plain)


def exact_match(prediction: str, gold: str, language: Language = "en") -> float:
    """1 where prediction and gold answer are the same after normalisation, else 0. Two empty ones are the same."""
    if language == "en":
        return float(normalised(prediction) == normalised(gold))
    return float(answer_tokens(prediction, language) == answer_tokens(gold, language))


def f1_score(prediction: str, gold: str, language: Language = "en") -> float:
    """Harmonic mean of precision and recall over tokens (0 to 1). Where one is empty: 1 if both are, else 0."""
    predicted, wanted = answer_tokens(prediction, language), answer_tokens(gold, language)
    if not predicted or not wanted:
        return float(predicted == wanted)
    shared = sum((Counter(predicted) & Counter(wanted)).values())
    return 2 * shared / (len(predicted) + len(wanted))


def best_over(golds: Sequence[str], prediction: str, language: Language = "en") -> tuple[float, float]:
    """Exact match and F1 with the most similar gold answer; no golds means that the right prediction is empty."""
    answers = [gold for gold in golds if answer_tokens(gold, language)] or [""]
    return (
        max(exact_match(prediction, gold, language) for gold in answers),
        max(f1_score(prediction, gold, language) for gold in answers),
    )


def mean(values: Sequence[float]) -> float:
    """The mean; 0 for nothing."""
    return float(np.mean(values)) if len(values) else 0.0


def first_rank(found: Sequence[Hashable], wanted: Hashable) -> int | None:
    """The place, from 1, of the first right thing found; None where it is not among them."""
    return next((rank for rank, one in enumerate(found, 1) if one == wanted), None)


def retrieval_figures(ranks: Sequence[int | None], depths: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """Recall at each depth, mean reciprocal rank and nDCG at 10, where each query has one right paragraph.

    A None is a query whose paragraph was not found at all.
    """
    figures = {f"recall_at_{k}": mean([float(rank is not None and rank <= k) for rank in ranks]) for k in depths}
    figures["mrr"] = mean([1 / rank if rank else 0.0 for rank in ranks])
    figures["ndcg_at_10"] = mean([1 / math.log2(rank + 1) if rank and rank <= 10 else 0.0 for rank in ranks])
    return figures


def classification_figures(predicted: Sequence[str], wanted: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    """Accuracy, and precision, recall and F1 averaged over `labels` alike (macro).

    With one label to a text, micro-averaged F1 is the accuracy: it is given under both names. As in scikit-learn, a class that is never predicted has precision 0, and one that never occurs recall 0.
    """
    table = confusion(predicted, wanted, labels)
    per_class = class_figures(table)
    accuracy = float(np.trace(table) / table.sum()) if table.sum() else 0.0
    return {
        "accuracy": accuracy,
        "micro_f1": accuracy,
        "macro_precision": mean([figures["precision"] for figures in per_class]),
        "macro_recall": mean([figures["recall"] for figures in per_class]),
        "macro_f1": mean([figures["f1"] for figures in per_class]),
    }


def confusion(
    predicted: Sequence[str], wanted: Sequence[str], labels: Sequence[str]
) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Counts of shape (labels, labels): row by what is right, column by what was predicted."""
    place = {label: number for number, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for one, right in zip(predicted, wanted, strict=True):
        table[place[right], place[one]] += 1
    return table


def class_figures(table: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> list[dict[str, float]]:
    """Precision, recall and F1 of each class of a confusion table."""
    found = []
    for number in range(len(table)):
        right, said, there = int(table[number, number]), int(table[:, number].sum()), int(table[number].sum())
        found.append(
            {
                "precision": right / said if said else 0.0,
                "recall": right / there if there else 0.0,
                "f1": 2 * right / (said + there) if said + there else 0.0,
                "n": there,
            }
        )
    return found


def calibration_error(probabilities: Sequence[float], right: Sequence[bool]) -> float:
    """Expected calibration error over ten bins of equal width (Naeini et al. 2015), 0 to 1."""
    if not probabilities:
        return 0.0
    said, was = np.asarray(probabilities, dtype=np.float64), np.asarray(right, dtype=np.float64)
    bins = np.minimum((said * _BINS).astype(np.int64), _BINS - 1)
    return float(sum(abs(said[bins == b].mean() - was[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)))


def percentiles(milliseconds: Sequence[float]) -> dict[str, float]:
    """Median, 95th and 99th percentile, in milliseconds."""
    if not milliseconds:
        return {"p50_ms": 0.0, "p95_ms": 0.0, "p99_ms": 0.0}
    values = np.percentile(np.asarray(milliseconds), [50, 95, 99])
    return dict(zip(("p50_ms", "p95_ms", "p99_ms"), (float(value) for value in values), strict=True))


def distinct(replies: Sequence[str], size: int, language: Language = "en") -> float:
    """Share of different n-grams of `size` tokens among all of them (Li et al. 2016)."""
    grams: list[tuple[str, ...]] = []
    for reply in replies:
        tokens = answer_tokens(reply, language)
        grams += zip(*(tokens[i:] for i in range(size)), strict=False)
    return len(set(grams)) / len(grams) if grams else 0.0
