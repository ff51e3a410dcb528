"""Fit the probability that a candidate answer is right, and the threshold of answering.

    python -m botkit.training.calibration --data ../shared/data

Open-book on validation data: the paragraphs of the validation file, and training paragraphs that only distract, go through
the real ingest and search; the reader in service reads what was found. Every question is asked twice, once with its
own paragraph left out, since not finding the answer anywhere is what the bot must notice. Figures are those of
cross-validation by paragraph; the weights that are kept are then fitted on everything.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from botkit.config import KnowledgeConfig, Paths, RetrievalConfig
from botkit.decision import BUILTIN_CALIBRATION, FEATURES, describe, passage_for_reader
from botkit.evaluation.metrics import f1_score
from botkit.knowledge.base import Knowledge
from botkit.messages import Language
from botkit.training.small_talk import rows

RIGHT: Final = 0.6
"""A span counts as right from this F1 with an accepted answer."""
HELD_OUT_PARTS: Final = 5
VALIDATION: Final[dict[Language, tuple[str, str]]] = {
    "en": ("squad_valid", "squad_train"),
    "zh": ("zh_cmrc_valid", "zh_cmrc_train"),
}


@dataclass
class Asked:
    """One question as it was read: a row of features, whether right, and F1 for each span; and the paragraph's number."""

    features: NDArray[np.float64]
    right: NDArray[np.bool_]
    f1: NDArray[np.float64]
    answerable: bool
    paragraph: int


def ask_all(data: Path, language: Language, parts: Any, *, distractors: int, limit: int | None, k: int) -> list[Asked]:
    """Ask every validation question with and without its paragraph in reach."""
    valid, train = VALIDATION[language]
    questions = list(rows(data / f"qa/{valid}.jsonl.gz"))
    random.Random(1).shuffle(questions)
    contexts = list(dict.fromkeys(row["context"] for row in questions))
    titles = {row["context"]: row["title"].replace("_", " ") for row in questions}
    others = sorted({row["context"]: row["title"] for row in rows(data / f"qa/{train}.jsonl.gz")}.items())
    random.Random(2).shuffle(others)
    with tempfile.TemporaryDirectory() as name:
        home, documents = Path(name) / "home", Path(name) / "documents"
        documents.mkdir()
        for number, context in enumerate(contexts):
            (documents / f"{number:05}.txt").write_text(_page(titles[context], context), encoding="utf-8")
        for number, (context, title) in enumerate(others[:distractors]):
            page = _page(title.replace("_", " "), context)
            (documents / f"other-{number:05}.txt").write_text(page, encoding="utf-8")
        knowledge = Knowledge(
            Paths(home=home),
            encoder=parts.encoder,
            count_tokens=lambda texts: parts.reader().count_tokens(texts),
            config=KnowledgeConfig(include_builtin=False),
            retrieval=RetrievalConfig(),
        )
        knowledge.ingest([documents])
        asked = []
        for row in track(questions[:limit], description=f"asking, {language}"):
            own = f"{contexts.index(row['context']):05}.txt"
            found = knowledge.search(row["question"], 2 * k)
            without = [hit for hit in found if not hit.chunk.document.endswith(own)]
            for hits, in_reach in ((found[:k], True), (without[:k], False)):
                asked.append(_read(row, language, hits, own if in_reach else "", parts))
        knowledge.close()
    return asked


def _page(title: str, context: str) -> str:
    return f"# {title}\n\n{context}\n"


def _read(row: dict[str, Any], language: Language, hits: Sequence[Any], own: str, parts: Any) -> Asked:
    spans = parts.reader().read(row["question"], [passage_for_reader(hit)[0] for hit in hits], top_k=2)
    described = describe(row["question"], language, hits, spans)
    golds = [answer["text"] for answer in row["answers"]]
    scores = [
        max((f1_score(span.text, gold, language) for gold in golds), default=0.0)
        if own and hits[span.passage].chunk.document.endswith(own)
        else 0.0
        for span in spans
    ]
    return Asked(
        np.array([[features[name] for name in FEATURES] for features in described]).reshape(-1, len(FEATURES)),
        np.array([score >= RIGHT for score in scores], dtype=bool),
        np.array(scores),
        bool(golds) and bool(own),
        zlib.crc32(row["context"].encode()),
    )


def fit(asked: Sequence[Asked]) -> tuple[NDArray[np.float64], float]:
    """Weights on the raw features, and the bias, of L2-regularised logistic regression (scikit-learn)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    features = np.concatenate([one.features for one in asked])
    scaler = StandardScaler().fit(features)
    model = LogisticRegression(C=1.0, max_iter=1000)
    model.fit(scaler.transform(features), np.concatenate([one.right for one in asked]))
    weights = model.coef_[0] / scaler.scale_
    return weights, float(model.intercept_[0] - weights @ scaler.mean_)


def best_of(asked: Sequence[Asked], weights: NDArray[np.float64], bias: float) -> list[tuple[float, float, bool]]:
    """For each question the probability of its likeliest span, that span's F1, and whether there was an answer."""
    results = []
    for one in asked:
        if not len(one.features):
            results.append((0.0, 0.0, one.answerable))
            continue
        probabilities = 1 / (1 + np.exp(-(one.features @ weights + bias)))
        chosen = int(probabilities.argmax())
        results.append((float(probabilities[chosen]), float(one.f1[chosen]), one.answerable))
    return results


def choose_threshold(results: Sequence[tuple[float, float, bool]]) -> float:
    """The threshold with the best mean of F1 on answerable and of declined on unanswerable questions."""
    grid = np.arange(0.05, 0.95, 0.01)
    return float(max(grid, key=lambda threshold: sum(figures(results, threshold)[name] for name in ("f1", "declined"))))


def figures(results: Sequence[tuple[float, float, bool]], threshold: float) -> dict[str, float]:
    """F1 and share answered on answerable questions, share declined on the others, and the calibration error."""
    answerable = [(p, f1) for p, f1, possible in results if possible]
    others = [p for p, _, possible in results if not possible]
    probability = np.array([p for p, _, _ in results])
    right = np.array([f1 >= RIGHT for _, f1, _ in results])
    bins = np.minimum((probability * 10).astype(int), 9)
    error = sum(
        abs(probability[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)
    )
    return {
        "f1": float(np.mean([f1 if p >= threshold else 0.0 for p, f1 in answerable])),
        "f1_first_choice": float(np.mean([f1 for _, f1 in answerable])),
        "answered": float(np.mean([p >= threshold for p, _ in answerable])),
        "declined": float(np.mean([p < threshold for p in others])),
        "calibration_error": float(error),
        "n": len(results),
    }


def main() -> None:
    """Ask, fit, report, save."""
    from botkit.config import load_settings
    from botkit.parts import Parts

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=BUILTIN_CALIBRATION)
    parser.add_argument("--distractors", type=int, default=400, help="training paragraphs in the index")
    parser.add_argument("--limit", type=int, help="questions per language")
    parser.add_argument("--k", type=int, default=RetrievalConfig().k)
    parser.add_argument("--config", type=Path)
    arguments = parser.parse_args()

    parts = Parts.of(load_settings(arguments.config))
    stored: dict[str, Any] = {"weights": {}, "bias": {}, "threshold": {}, "reader": parts.reader().name, "figures": {}}
    for language in VALIDATION:
        asked = ask_all(
            arguments.data,
            language,
            parts,
            distractors=arguments.distractors,
            limit=arguments.limit,
            k=arguments.k,
        )
        groups = np.array([one.paragraph % HELD_OUT_PARTS for one in asked])
        held_out: list[tuple[float, float, bool]] = []
        by_margin: list[tuple[float, float, bool]] = []
        margin_only = np.array([1.0 if name == "margin" else 0.0 for name in FEATURES])
        first_only = np.array([-100.0 if name == "rank" else float(name == "margin") for name in FEATURES])
        first_passage: list[tuple[float, float, bool]] = []
        for part in range(HELD_OUT_PARTS):
            rest = [one for one, group in zip(asked, groups, strict=True) if group != part]
            these = [one for one, group in zip(asked, groups, strict=True) if group == part]
            held_out += best_of(these, *fit(rest))
            by_margin += best_of(these, margin_only, 0.0)
            first_passage += best_of(these, first_only, 0.0)
        weights, bias = fit(asked)
        threshold = choose_threshold(held_out)
        measured = figures(held_out, threshold)
        measured["f1_by_margin_alone"] = figures(by_margin, 0.0)["f1_first_choice"]
        measured["f1_first_passage_alone"] = figures(first_passage, 0.0)["f1_first_choice"]
        print(language, json.dumps({name: round(value, 4) for name, value in measured.items()}))
        stored["weights"][language] = dict(zip(FEATURES, (round(float(w), 5) for w in weights), strict=True))
        stored["bias"][language] = round(bias, 5)
        stored["threshold"][language] = round(threshold, 3)
        stored["figures"][language] = {name: round(value, 4) for name, value in measured.items()}
    stored["command"] = "python -m botkit.training.calibration --data DATA"
    arguments.out.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    print(f"written: {arguments.out}")


if __name__ == "__main__":
    main()
