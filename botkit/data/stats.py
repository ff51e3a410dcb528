"""What is in a data file: lengths, classes, vocabulary, languages, as figures and as pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from botkit.data.augment import words
from botkit.data.balance import class_weights
from botkit.data.rows import Kind, Row, language_of
from botkit.errors import DataError, MissingExtraError

_MOST: Final = 20
_SAMPLE: Final = 20_000
"""Rows whose words are counted; a vocabulary needs no more."""


def describe(rows: Sequence[Row], kind: Kind) -> dict[str, Any]:
    """Counts, quantiles of lengths in characters and words, classes, languages and the vocabulary of a file."""
    fields = _fields(rows, kind)
    languages = Counter(language_of(row.values, kind) for row in rows)
    vocabulary: Counter[str] = Counter()
    word_lengths: dict[str, list[int]] = {name: [] for name in fields}
    step = max(1, len(rows) // _SAMPLE)
    for row in rows[::step]:
        language = language_of(row.values, kind)
        for name, texts in _fields([row], kind).items():
            for text in texts:
                found = [word.lower() for word in words(text, language) if any(c.isalnum() for c in word)]
                word_lengths[name].append(len(found))
                vocabulary.update(found)
    report: dict[str, Any] = {
        "kind": kind,
        "n": len(rows),
        "languages": dict(languages.most_common()),
        "characters": {name: quantiles([len(text) for text in texts]) for name, texts in fields.items()},
        "words": {name: quantiles(counts) for name, counts in word_lengths.items()},
        "vocabulary": {
            "words": sum(vocabulary.values()),
            "different": len(vocabulary),
            "once": sum(1 for count in vocabulary.values() if count == 1),
            "most_frequent": dict(vocabulary.most_common(_MOST)),
        },
    }
    if kind == "labelled":
        counts = Counter(str(row.values["label"]) for row in rows)
        report["classes"] = dict(counts.most_common())
        report["class_weights"] = class_weights([str(row.values["label"]) for row in rows])
        report["imbalance"] = max(counts.values()) / min(counts.values())
    if kind == "reading":
        report["unanswerable"] = sum(1 for row in rows if not row.values["answers"])
        report["contexts"] = len({row.values["context"] for row in rows})
    if kind == "dialogue":
        report["turns"] = quantiles([len(row.values["turns"]) for row in rows])
    return report


def quantiles(counts: Sequence[int]) -> dict[str, float]:
    """Least, quartiles, 95th percentile, most and mean."""
    if not counts:
        return {}
    found = np.percentile(counts, [0, 25, 50, 75, 95, 100])
    names = ("min", "p25", "median", "p75", "p95", "max")
    return {**{name: float(value) for name, value in zip(names, found, strict=True)}, "mean": float(np.mean(counts))}


def plot(rows: Sequence[Row], kind: Kind, report: dict[str, Any], file: Path) -> None:
    """A picture of the lengths, the classes (or languages) and how word frequency falls with rank (Zipf's law)."""
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise MissingExtraError("Drawing pictures", "train") from error
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 3.6), constrained_layout=True)
    for name, texts in _fields(rows, kind).items():
        lengths = [len(text) for text in texts]
        if lengths:
            left.hist(np.minimum(lengths, np.percentile(lengths, 99)), bins=40, alpha=0.6, label=name)
    left.set(xlabel="characters (99 % of the rows)", ylabel="rows", title="Length")
    left.legend()
    bars = report.get("classes") or report["languages"]
    middle.barh([_plain(name) for name in bars], list(bars.values()))
    middle.invert_yaxis()
    middle.set(xlabel="rows", title="Classes" if "classes" in report else "Languages")
    counted: Counter[str] = Counter()
    for row in rows[:: max(1, len(rows) // _SAMPLE)]:
        for texts in _fields([row], kind).values():
            for text in texts:
                counted.update(word.lower() for word in words(text, language_of(row.values, kind)) if word.strip())
    ranks = sorted(counted.values(), reverse=True)
    right.loglog(range(1, len(ranks) + 1), ranks)
    right.set(xlabel="rank of the word", ylabel="occurrences", title=f"Vocabulary: {len(ranks):,} words")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=120)
    except OSError as error:
        raise DataError(
            f"{file}: the picture cannot be written ({error.strerror}). Name another with --plot."
        ) from error
    finally:
        plt.close(figure)


def _plain(name: str) -> str:
    """A label that the fonts at hand can draw: escapes instead of empty boxes."""
    return name if name.isascii() else name.encode("unicode_escape").decode("ascii")


def _fields(rows: Sequence[Row], kind: Kind) -> dict[str, list[str]]:
    if kind == "reading":
        return {
            "question": [row.values["question"] for row in rows],
            "context": [row.values["context"] for row in rows],
            "answer": [answer["text"] for row in rows for answer in row.values["answers"][:1]],
        }
    if kind == "dialogue":
        return {
            "person": [turn for row in rows for turn in row.values["turns"][::2]],
            "bot": [turn for row in rows for turn in row.values["turns"][1::2]],
        }
    if kind == "intents":
        return {
            "question": [question for row in rows for question in row.values["questions"]],
            "answer": [answer for row in rows for answer in row.values["answers"].values()],
        }
    return {"text": [row.values["text"] for row in rows]}
