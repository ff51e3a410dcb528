"""Fit the small-talk detector: logistic regression of chit-chat against questions that documents answer.

    python -m botkit.training.small_talk --data ../shared/data

Positive: the questions of the chit-chat files. Negative: reading-comprehension questions and what people ask task-oriented
assistants. Whole intents are held out, so the figures are about small talk of kinds never seen, which is harder than
paraphrases of known kinds; the shipped weights are then fitted on everything.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from botkit.models.small_talk import BUCKETS, BUILTIN, SmallTalkDetector, ngram_buckets

NEGATIVE_QA = ("squad_train", "qamr_train", "qed_train", "policyqa_train", "zh_cmrc_train", "zh_drcd_train")
NEGATIVE_DIALOGUE = ("sgd_train", "zh_dialogue_train", "taskmaster_train")
PER_SOURCE = 6_000


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a gzipped JSON-lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def small_talk_intents(data: Path) -> list[list[str]]:
    """The questions of each chit-chat intent, both languages."""
    return [
        row["questions"] for name in ("chitchat_en", "chitchat_zh") for row in rows(data / f"dialogue/{name}.jsonl.gz")
    ]


def document_questions(data: Path, generator: random.Random) -> list[str]:
    """Questions that are not small talk; Traditional Chinese also in Simplified."""
    from opencc import OpenCC

    simplified = OpenCC("t2s")
    found: list[str] = []
    for name in NEGATIVE_QA:
        questions = [row["question"] for row in rows(data / f"qa/{name}.jsonl.gz")]
        generator.shuffle(questions)
        questions = questions[:PER_SOURCE]
        found += [simplified.convert(question) for question in questions] if name == "zh_drcd_train" else questions
    for name in NEGATIVE_DIALOGUE:
        asked = [
            turn
            for row in rows(data / f"dialogue/{name}.jsonl.gz")
            for turn in row["turns"][0::2]
            if turn.rstrip().endswith(("?", "？")) and len(turn) > 12
        ]
        generator.shuffle(asked)
        found += asked[:PER_SOURCE]
    return found


def fit(texts: Sequence[str], labels: Sequence[int], regularisation: float) -> SmallTalkDetector:
    """L2-regularised logistic regression, classes weighted to equal shares (scikit-learn's liblinear)."""
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    buckets = [ngram_buckets(text) for text in texts]
    lengths = np.array([max(1, len(found)) for found in buckets])
    pointers = np.concatenate([[0], np.cumsum([len(found) for found in buckets])])
    values = np.repeat(1 / np.sqrt(lengths), [len(found) for found in buckets])
    matrix = csr_matrix((values, np.concatenate(buckets), pointers), shape=(len(texts), BUCKETS))
    model = LogisticRegression(C=regularisation, class_weight="balanced", solver="liblinear", max_iter=200)
    model.fit(matrix, labels)
    return SmallTalkDetector(model.coef_[0].astype(np.float32), float(model.intercept_[0]))


def main() -> None:
    """Fit, report on held-out intents and questions, fit on everything, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with dialogue/ and qa/")
    parser.add_argument("--out", type=Path, default=BUILTIN)
    parser.add_argument("--regularisation", type=float, default=10.0, help="inverse strength of the L2 penalty")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    generator = random.Random(arguments.seed)
    intents = small_talk_intents(arguments.data)
    generator.shuffle(intents)
    negatives = document_questions(arguments.data, generator)
    generator.shuffle(negatives)
    held_intents, kept_intents = intents[: len(intents) // 5], intents[len(intents) // 5 :]
    held_negatives, kept_negatives = negatives[: len(negatives) // 5], negatives[len(negatives) // 5 :]

    trial = _fit_both([text for intent in kept_intents for text in intent], kept_negatives, arguments.regularisation)
    caught = np.array([trial.probability(text) for intent in held_intents for text in intent])
    raised = np.array([trial.probability(text) for text in held_negatives])
    metrics = {
        "recall_at_0.5": float((caught >= 0.5).mean()),
        "recall_at_0.9": float((caught >= 0.9).mean()),
        "false_alarms_at_0.5": float((raised >= 0.5).mean()),
        "false_alarms_at_0.9": float((raised >= 0.9).mean()),
        "n_small_talk": len(caught),
        "n_questions": len(raised),
    }
    print(json.dumps(metrics, indent=1))

    _fit_both([text for intent in intents for text in intent], negatives, arguments.regularisation).write(arguments.out)
    card = {"command": "python -m botkit.training.small_talk --data DATA", "held_out_intents": metrics}
    (arguments.out / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def _fit_both(positive: Sequence[str], negative: Sequence[str], regularisation: float) -> SmallTalkDetector:
    return fit([*positive, *negative], [1] * len(positive) + [0] * len(negative), regularisation)


if __name__ == "__main__":
    main()
