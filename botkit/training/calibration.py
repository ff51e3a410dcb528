"""Fit the probability that a candidate answer is right.

    python -m botkit.training.calibration --data ../shared/data

Three kinds of questions are asked of the real ingest, search and reader. Open-book: the paragraphs of a validation file, with
training paragraphs that only distract. Support: the documents in `support/` (a hotel and a library, in both languages) and
the help centres that no training saw, with questions as people put them, many of which the documents do not answer. FAQ: the tables of
stored answers in `faqs/`, of invented organisations, beside the same hotel and library. Answerable questions are asked twice, once
with the passages that answer them left out, since not finding the answer anywhere is what the bot must notice.
Figures are those of cross-validation by paragraph; the weights that are kept are then fitted on everything.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from botkit.config import KnowledgeConfig, Paths, RetrievalConfig
from botkit.decision import BUILTIN_CALIBRATION, FEATURES, MISFIT, describe, passage_for_reader, questions_of
from botkit.evaluation.metrics import calibration_error, f1_score
from botkit.evaluation.qa import holds
from botkit.evidence import Evidence, Examiner
from botkit.knowledge.base import Knowledge
from botkit.knowledge.types import Hit
from botkit.messages import Language
from botkit.models import Span
from botkit.parts import Parts
from botkit.text import enclosing_sentence
from botkit.training.help_centres import Passage, help_centres
from botkit.training.small_talk import rows

RIGHT: Final = 0.6
"""A span counts as right from this F1 with an accepted answer."""
PARTS: Final = 5
"""Parts of the cross-validation."""
SUPPORT: Final = Path(__file__).parent / "support"
FAQS: Final = Path(__file__).parent / "faqs"
Kind = Literal["open", "support", "faq"]
KINDS: Final[tuple[Kind, ...]] = ("open", "support", "faq")
SUPPORT_WEIGHT: Final[dict[Language, float]] = {"en": 1.0, "zh": 2.0}
"""Weight of all support questions together, that of all open-book questions being 1.

Set by hand: more of it answers more of a shop's questions, and declines fewer of an encyclopaedia's.
"""
FAQ_WEIGHT: Final = 0.25
"""The same for the questions to tables of stored answers."""
FAQ_WRONG: Final = 5.0
"""How much more a stored answer counts there that is wrong, so that as many near misses are declined as questions answered: beside those
tables lie but two documents that hold nothing of what is asked, so a stored answer is right far more often than in a library.
"""
GENTLEST: Final[dict[str, float]] = {"similarity_gap": -3.0}
"""The weights that may not be more negative than this. The encoders learnt from help centres of the same hand as those held out, where
what is most similar is right more often than elsewhere: unbounded, this weight was -12, and a plain question about SIGTERM went unanswered.
"""
THRESHOLD: Final[dict[Language, float]] = {"en": 0.14, "zh": 0.13}
"""The least probability at which the bot answers.

Set by hand between the question file that ships, where 85 % of the unanswerable questions are to be declined and lower thresholds answer more, and
(in English) open-book questions, where higher ones are worth more: figures on these files are not those of unseen questions. What
these thresholds do on other data stands among the figures.
"""
VALIDATION: Final[dict[Language, tuple[str, str]]] = {
    "en": ("squad_valid", "squad_train"),
    "zh": ("zh_cmrc_valid", "zh_cmrc_train"),
}


@dataclass(frozen=True)
class Case:
    """A question with what was found and read for it.

    `f1` and `right` have an entry for each span; `group` tells which part of the cross-validation it is of.
    """

    kind: Kind
    question: str
    language: Language
    hits: Sequence[Hit]
    evidence: Evidence
    f1: NDArray[np.float64]
    right: NDArray[np.bool_]
    answerable: bool
    group: int


@contextmanager
def knowledge_of(documents: Path, parts: Parts, home: Path) -> Iterator[Knowledge]:
    """A knowledge that holds these documents."""
    knowledge = Knowledge(
        Paths(home=home),
        encoder=parts.encoder,
        count_tokens=lambda texts: parts.reader().count_tokens(texts),
        config=KnowledgeConfig(include_builtin=False),
        retrieval=RetrievalConfig(),
    )
    try:
        knowledge.ingest([documents])
        yield knowledge
    finally:
        knowledge.close()


def open_book(
    data: Path, language: Language, parts: Parts, *, distractors: int, limit: int | None, k: int
) -> list[Case]:
    """Ask validation questions with and without their paragraph in reach."""
    valid, train = VALIDATION[language]
    questions = list(rows(data / f"qa/{valid}.jsonl.gz"))
    random.Random(1).shuffle(questions)
    questions = questions[:limit]
    paragraphs = {row["context"]: row["title"] for row in rows(data / f"qa/{valid}.jsonl.gz")}
    names = {context: f"{number:05}.md" for number, context in enumerate(paragraphs)}
    others = sorted({row["context"]: row["title"] for row in rows(data / f"qa/{train}.jsonl.gz")}.items())
    random.Random(2).shuffle(others)
    cases = []
    examiner = Examiner(parts.reader, parts.encoder)
    with tempfile.TemporaryDirectory() as folder:
        documents = Path(folder) / "documents"
        documents.mkdir()
        pages = [(names[context], title, context) for context, title in paragraphs.items()]
        pages += [(f"other-{i:05}.md", title, context) for i, (context, title) in enumerate(others[:distractors])]
        for name, title, context in pages:
            (documents / name).write_text(f"# {title.replace('_', ' ')}\n\n{context}\n", encoding="utf-8")
        with knowledge_of(documents, parts, Path(folder) / "home") as knowledge:
            for row in track(questions, description=f"open-book, {language}"):
                own = names[row["context"]]
                golds = [answer["text"] for answer in row["answers"]]
                group = zlib.crc32(row["context"].encode()) % PARTS

                def scored(hit: Hit, span: Span, own: str = own, golds: Sequence[str] = golds) -> tuple[float, bool]:
                    if not hit.chunk.document.endswith(own):
                        return 0.0, False
                    f1 = max((f1_score(span.text, gold, language) for gold in golds), default=0.0)
                    return f1, f1 >= RIGHT

                found = knowledge.search(row["question"], 2 * k)
                without = [hit for hit in found if not hit.chunk.document.endswith(own)]
                for hits, answerable in ((found[:k], bool(golds)), (without[:k], False)):
                    cases.append(_case("open", row["question"], language, hits, answerable, group, examiner, scored))
    return cases


def support(language: Language, parts: Parts, *, k: int) -> list[Case]:
    """Ask about the hotel and the library, whose documents are there in both languages."""
    lines = (SUPPORT / language / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    asked = [(row["q"], row["a"]) for row in map(json.loads, lines)]
    with tempfile.TemporaryDirectory() as folder:
        documents = Path(folder) / "documents"
        for path in SUPPORT.rglob("*.md"):
            copy = documents / path.relative_to(SUPPORT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
        with knowledge_of(documents, parts, Path(folder) / "home") as knowledge:
            return _support_cases(knowledge, asked, language, parts, k)


def held_out_help_centres(language: Language, parts: Parts, *, limit: int | None, k: int) -> list[Case]:
    """Ask about each organisation that no training saw (or `limit` of them), its passages beside the hotel's and the library's."""
    organisations: dict[str, list[Passage]] = {}
    for passage in help_centres(language, held_out=True):
        organisations.setdefault(passage.organisation, []).append(passage)
    names = sorted(organisations)
    random.Random(3).shuffle(names)
    cases = []
    for name in names[:limit]:
        passages = organisations[name]
        asked = [(question.question, [passage.answer(question)]) for passage in passages for question in passage.asked]
        asked += [(question, []) for passage in passages for question in passage.unanswerable]
        with tempfile.TemporaryDirectory() as folder:
            documents = Path(folder) / "documents"
            documents.mkdir()
            for path in (SUPPORT / language).glob("*.md"):
                (documents / path.name).write_bytes(path.read_bytes())
            sections = "\n\n".join(f"## {passage.heading}\n{passage.text}" for passage in passages)
            (documents / "help.md").write_text(f"# {name}\n\n{sections}\n", encoding="utf-8")
            with knowledge_of(documents, parts, Path(folder) / "home") as knowledge:
                group = zlib.crc32(name.encode()) % PARTS
                cases += _support_cases(knowledge, asked, language, parts, k, group)
    return cases


def stored_answers(language: Language, parts: Parts, *, limit: int | None, k: int) -> list[Case]:
    """Ask each FAQ (or `limit` of them) in other words than those of its questions, beside the hotel and the library."""
    lines = (FAQS / f"{language}.jsonl").read_text(encoding="utf-8").splitlines()
    cases = []
    for row in [json.loads(line) for line in lines][:limit]:
        asked = [(question, [entry["answer"]]) for entry in row["entries"] for question in entry["asked"]]
        asked += [(question, []) for question in row["unanswerable"]]
        with tempfile.TemporaryDirectory() as folder:
            documents = Path(folder) / "documents"
            documents.mkdir()
            for path in (SUPPORT / language).glob("*.md"):
                (documents / path.name).write_bytes(path.read_bytes())
            table = [{"question": entry["question"], "answer": entry["answer"]} for entry in row["entries"]]
            (documents / "faq.json").write_text(json.dumps(table), encoding="utf-8")
            with knowledge_of(documents, parts, Path(folder) / "home") as knowledge:
                group = zlib.crc32(row["organisation"].encode()) % PARTS
                cases += _support_cases(knowledge, asked, language, parts, k, group, kind="faq")
    return cases


def _support_cases(
    knowledge: Knowledge,
    asked: Sequence[tuple[str, Sequence[str]]],
    language: Language,
    parts: Parts,
    k: int,
    group: int | None = None,
    *,
    kind: Kind = "support",
) -> list[Case]:
    """Each question with its accepted answers asked once, and where there are any once more without them in reach."""
    cases = []
    examiner = Examiner(parts.reader, parts.encoder)
    for number, (question, accepted) in enumerate(track(asked, description=f"{kind}, {language}")):
        part = number % PARTS if group is None else group

        def answers(text: str, accepted: Sequence[str] = accepted) -> bool:
            return any(holds(text, gold) for gold in accepted)

        def scored(hit: Hit, span: Span, answers: Callable[[str], bool] = answers) -> tuple[float, bool]:
            if hit.chunk.kind == "faq":
                shown = hit.chunk.text
            else:
                passage, _ = passage_for_reader(hit)
                shown = passage[slice(*enclosing_sentence(passage, span.start, span.end))]
            right = hit.chunk.language == language and answers(shown)
            return float(right), right

        found = knowledge.search(question, 4 * k)
        found.sort(key=lambda hit: hit.chunk.language != language)
        cases.append(_case(kind, question, language, found[:k], bool(accepted), part, examiner, scored))
        if accepted:
            without = [hit for hit in found if not answers(hit.chunk.text)]
            cases.append(_case(kind, question, language, without[:k], False, part, examiner, scored))
    return cases


def _case(
    kind: Kind,
    question: str,
    language: Language,
    hits: Sequence[Hit],
    answerable: bool,
    group: int,
    examiner: Examiner,
    scored: Callable[[Hit, Span], tuple[float, bool]],
) -> Case:
    evidence = examiner.examine(question, [passage_for_reader(hit)[0] for hit in hits], questions_of(hits))
    pairs = [scored(hits[span.passage], span) for span in evidence.spans]
    return Case(
        kind,
        question,
        language,
        hits,
        evidence,
        np.array([f1 for f1, _ in pairs], dtype=np.float64),
        np.array([right for _, right in pairs], dtype=np.bool_),
        answerable,
        group,
    )


def features_of(case: Case) -> NDArray[np.float64]:
    """Features of a case's spans, of shape (spans, features)."""
    described = describe(case.question, case.language, case.hits, case.evidence)
    return np.array([[features[name] for name in FEATURES] for features in described]).reshape(-1, len(FEATURES))


def fit(cases: Sequence[tuple[Case, NDArray[np.float64]]]) -> tuple[NDArray[np.float64], float]:
    """Weights on the raw features, and the bias, of L2-regularised logistic regression with signed weights.

    scikit-learn's has no bounds on weights, so SciPy's L-BFGS-B minimises the same loss, on standardised features.
    """
    from scipy.optimize import minimize

    count = {kind: sum(case.kind == kind for case, _ in cases) for kind in KINDS}
    weight: dict[Kind, float] = {"open": 1.0, "support": SUPPORT_WEIGHT[cases[0][0].language], "faq": FAQ_WEIGHT}
    share = {kind: weight[kind] * count["open"] / max(1, count[kind]) for kind in KINDS}
    features = np.concatenate([described for _, described in cases])
    right = np.concatenate([case.right for case, _ in cases]).astype(np.float64)
    counted = np.concatenate([np.full(len(case.right), share[case.kind]) for case, _ in cases])
    asked_of_table = np.concatenate([np.full(len(case.right), case.kind == "faq") for case, _ in cases])
    wrong_stored = asked_of_table & (features[:, list(FEATURES).index("stored")] > 0) & (right == 0)
    counted = np.where(wrong_stored, FAQ_WRONG * counted, counted)
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-9
    standardised = (features - mean) / scale

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = standardised @ parameters[:-1] + parameters[-1]
        wrong_by = counted * (1 / (1 + np.exp(-logits)) - right)
        value = (counted * (np.logaddexp(0, logits) - right * logits)).sum() + 0.5 * (parameters[:-1] ** 2).sum()
        return float(value), np.append(standardised.T @ wrong_by + parameters[:-1], wrong_by.sum())

    gentlest = [
        GENTLEST[name] * spread if name in GENTLEST else None for name, spread in zip(FEATURES, scale, strict=True)
    ]
    bounds = [(0.0, None) if sign > 0 else (most, 0.0) for sign, most in zip(FEATURES.values(), gentlest, strict=True)]
    found = minimize(loss, np.zeros(len(FEATURES) + 1), jac=True, bounds=[*bounds, (None, None)], method="L-BFGS-B")
    weights = found.x[:-1] / scale
    return weights, float(found.x[-1] - weights @ mean)


@dataclass(frozen=True)
class Chosen:
    """The likeliest span of a case: its probability, F1, and whether it is right."""

    case: Case
    probability: float
    f1: float
    right: bool


def choose(case: Case, features: NDArray[np.float64], weights: NDArray[np.float64], bias: float) -> Chosen:
    """The likeliest span."""
    if not len(features):
        return Chosen(case, 0.0, 0.0, False)
    probabilities = 1 / (1 + np.exp(-(features @ weights + bias)))
    misfits = features[:, list(FEATURES).index("misfits_kind")] > 0
    probabilities = np.where(misfits, MISFIT * probabilities, probabilities)
    best = int(probabilities.argmax())
    return Chosen(case, float(probabilities[best]), float(case.f1[best]), bool(case.right[best]))


def cross_validated(cases: Sequence[tuple[Case, NDArray[np.float64]]]) -> list[Chosen]:
    """What is chosen by weights fitted on the other parts."""
    chosen = []
    for part in range(PARTS):
        weights, bias = fit([one for one in cases if one[0].group != part])
        chosen += [choose(*one, weights, bias) for one in cases if one[0].group == part]
    return chosen


def figures(chosen: Sequence[Chosen], threshold: float) -> dict[str, float]:
    """Of answerable questions F1, and the share rightly answered; of the others the share declined; calibration error."""
    answerable = [one for one in chosen if one.case.answerable]
    others = [one for one in chosen if not one.case.answerable]
    return {
        "threshold": threshold,
        "f1": float(np.mean([one.f1 if one.probability >= threshold else 0.0 for one in answerable])),
        "f1_first_choice": float(np.mean([one.f1 for one in answerable])),
        "right": float(np.mean([one.right and one.probability >= threshold for one in answerable])),
        "answered": float(np.mean([one.probability >= threshold for one in answerable])),
        "declined": float(np.mean([one.probability < threshold for one in others])),
        "calibration_error": calibration_error([one.probability for one in chosen], [one.right for one in chosen]),
        "n": len(chosen),
    }


def main() -> None:
    """Ask, fit, report, save."""
    from botkit.config import load_settings

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=BUILTIN_CALIBRATION)
    parser.add_argument("--distractors", type=int, default=300, help="training paragraphs in the index")
    parser.add_argument("--limit", type=int, help="open-book questions per language")
    parser.add_argument("--organisations", type=int, help="held-out help centres, and FAQs, per language")
    parser.add_argument("--k", type=int, default=RetrievalConfig().k)
    parser.add_argument("--config", type=Path)
    arguments = parser.parse_args()

    parts = Parts.of(load_settings(arguments.config))
    stored: dict[str, Any] = {"weights": {}, "bias": {}, "threshold": {}, "reader": parts.reader().name, "figures": {}}
    for language in VALIDATION:
        asked = open_book(
            arguments.data,
            language,
            parts,
            distractors=arguments.distractors,
            limit=arguments.limit,
            k=arguments.k,
        )
        asked += support(language, parts, k=arguments.k)
        asked += held_out_help_centres(language, parts, limit=arguments.organisations, k=arguments.k)
        asked += stored_answers(language, parts, limit=arguments.organisations, k=arguments.k)
        cases = [(case, features_of(case)) for case in asked]
        chosen = cross_validated(cases)
        threshold = THRESHOLD[language]
        margin_alone = np.array([float(name == "margin") for name in FEATURES])
        first_passage = np.array([-100.0 if name == "rank" else float(name == "margin") for name in FEATURES])
        measured: dict[str, dict[str, float]] = {}
        for kind in KINDS:
            found = figures([one for one in chosen if one.case.kind == kind], threshold)
            for name, weights in (("margin", margin_alone), ("first_passage", first_passage)):
                rival = [choose(*one, weights, 0.0) for one in cases if one[0].kind == kind]
                found[f"f1_first_choice_by_{name}"] = figures(rival, 0.0)["f1_first_choice"]
            measured[kind] = {name: round(value, 4) for name, value in found.items()}
            print(language, kind, json.dumps(measured[kind]))
        weights, bias = fit(cases)
        stored["weights"][language] = dict(zip(FEATURES, (round(float(w), 5) for w in weights), strict=True))
        stored["bias"][language] = round(bias, 5)
        stored["threshold"][language] = round(threshold, 3)
        stored["figures"][language] = measured
    given = (
        ("limit", arguments.limit),
        ("distractors", arguments.distractors),
        ("organisations", arguments.organisations),
    )
    options = "".join(f" --{name} {value}" for name, value in given if value is not None)
    stored["command"] = f"python -m botkit.training.calibration --data DATA{options}"
    arguments.out.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    print(f"written: {arguments.out}")


if __name__ == "__main__":
    main()
