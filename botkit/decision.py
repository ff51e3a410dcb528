"""Which route a turn takes, and why.

The reader's logits of different passages do not compare, and neither do search scores of different questions. So each
candidate answer is described by a few features, and a logistic model, fitted on validation data by
`botkit.training.calibration`, turns them into the probability that the candidate is right. The routes are
plain rules on these probabilities; the first rule that holds decides, and the `Trace` names it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from botkit.answer_types import fits
from botkit.config import AnswerConfig
from botkit.errors import ModelError
from botkit.evidence import Evidence
from botkit.knowledge.chunks import HEADING_SEPARATOR
from botkit.knowledge.types import Hit
from botkit.messages import Language, Route
from botkit.models import Span
from botkit.text import coverage, enclosing_sentence, same_words, terms

FEATURES: Final[Mapping[str, int]] = {
    "margin": 1,
    "span_score": 1,
    "best_margin_gap": -1,
    "rank": -1,
    "fused_share": 1,
    "vector_score": 1,
    "lexical_share": 1,
    "coverage": 1,
    "missing_terms": -1,
    "sentence_coverage": 1,
    "sentence_similarity": 1,
    "similarity_gap": -1,
    "stored": -1,
    "stored_similarity": 1,
    "span_in_question": -1,
    "fits_kind": 1,
    "misfits_kind": -1,
}
"""What describes a candidate, and the sign that its weight may have.

The signs keep the model from learning what is true of the validation data alone: unconstrained, it learnt from SQuAD that
a question which names the article's title is rarely answerable.
"""
MISFIT: Final = 0.25
"""What is left of the probability of an answer of another kind than asked for, such as a length for a price."""
REPEATED: Final = 0.15
"""What is left of the probability of what was answered before, where the person now asks about something else that it does not name."""
BUILTIN_CALIBRATION: Final = Path(__file__).parent / "models" / "builtin" / "calibration.json"
SAME_QUESTION: Final = 0.97
"""Least probability that a stored answer is right where its question was asked in the same words."""
SMALL_TALK_SURE: Final = 0.9
"""Probability from which a message is small talk whatever the documents say, and is not searched for."""
_SMALL_TALK_LIKELY: Final = 0.5
_OWN_LANGUAGE: Final = 0.5
"""What share of the likeliest candidate's confidence is enough for one in the question's language."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A possible answer: a span of a hit's passage, its features (see `FEATURES`) and probability of being right."""

    hit: Hit
    span: Span
    features: Mapping[str, float]
    confidence: float

    @property
    def is_faq(self) -> bool:
        """Whether the answer is a stored one, shown whole."""
        return self.hit.chunk.kind == "faq"


@dataclass(frozen=True, slots=True)
class Decision:
    """The route, the rule that chose it, and the candidates it speaks of (one, or two to choose from)."""

    route: Route
    rule: str
    confidence: float
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class Calibration:
    """The fitted logistic model: per language a weight for each feature and a bias, on standardised features.

    A feature without a weight counts nothing: a file may have been fitted before there was that feature.
    `threshold` is the least probability, per language, at which answering beats declining on validation data.
    """

    weights: Mapping[Language, Mapping[str, float]]
    bias: Mapping[Language, float]
    threshold: Mapping[Language, float]
    reader: str = ""

    @classmethod
    def read(cls, path: Path = BUILTIN_CALIBRATION) -> Calibration:
        """Load a fitted model; raises `ModelError` where the file is missing or broken."""
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            calibration = cls(stored["weights"], stored["bias"], stored["threshold"], stored.get("reader", ""))
            for language, weights in calibration.weights.items():
                float(calibration.bias[language]), float(calibration.threshold[language])
                if unknown := set(weights) - set(FEATURES):
                    raise KeyError(f"{language}: there is no feature {min(unknown)}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{path}: the calibration cannot be read ({error}). "
                "Reinstall botkit; a file of your own, fit anew with `python -m botkit.training.calibration`, or delete it."
            ) from error
        return calibration

    def probability(self, features: Mapping[str, float], language: Language) -> float:
        """Probability that a candidate with these features is right."""
        weights = self.weights[language]
        logit = self.bias[language] + sum(weight * features[name] for name, weight in weights.items())
        return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, logit))))


def passage_for_reader(hit: Hit) -> tuple[str, int]:
    """The text the reader sees for a hit, and how many of its first characters are not the chunk's own.

    A stored answer is read behind its question, as the question often holds the words that were asked for; and so is what
    stands under a heading that is a question.
    """
    question = question_of(hit)
    prefix = f"{question} " if question else ""
    return prefix + hit.chunk.text, len(prefix)


def question_of(hit: Hit) -> str:
    """The question that a hit answers, or "": that of a stored answer, or the heading it stands under, where this asks something."""
    if hit.chunk.question:
        return hit.chunk.question
    heading = hit.chunk.heading.rsplit(HEADING_SEPARATOR, 1)[-1].rstrip()
    return heading if heading.endswith(("?", "？")) else ""


def questions_of(hits: Sequence[Hit]) -> dict[int, str]:
    """The questions that hits answer, by the numbers of these hits; see `question_of`."""
    return {number: question for number, hit in enumerate(hits) if (question := question_of(hit))}


def heading_of(hit: Hit) -> str:
    """What a passage stands under: its path of headings, or the stored question that it answers."""
    return hit.chunk.heading or hit.chunk.question


def candidates(
    question: str, language: Language, hits: Sequence[Hit], evidence: Evidence, calibration: Calibration
) -> list[Candidate]:
    """Describe every span of every hit and sort by the probability of being right, best first.

    A span's `passage` indexes `hits`; its offsets are those of the chunk, but for a stored answer, which is shown whole: there
    they are those of `passage_for_reader`, and at most one candidate is kept. What the reader marked in a heading is none.
    """
    described = []
    for span, features in zip(evidence.spans, describe(question, language, hits, evidence), strict=True):
        hit = hits[span.passage]
        _, before = passage_for_reader(hit)
        if hit.chunk.kind != "faq" and before:
            if span.start < before:
                continue
            span = replace(span, start=span.start - before, end=span.end - before)
        believed = _believed(question, hit, features, calibration.probability(features, language))
        described.append(Candidate(hit, span, features, believed))
    described.sort(key=lambda candidate: candidate.confidence, reverse=True)
    kept: list[Candidate] = []
    stored_answers: set[int] = set()
    for candidate in described:
        if candidate.is_faq:
            if candidate.hit.chunk.id in stored_answers:
                continue
            stored_answers.add(candidate.hit.chunk.id)
        kept.append(candidate)
    return kept


def _believed(question: str, hit: Hit, features: Mapping[str, float], probability: float) -> float:
    """The probability, less for an answer of another kind than asked for: too rare in reading sets to be fitted.

    What a person stored as the answer to this very question is right whatever the reader makes of it.
    """
    if hit.chunk.kind == "faq" and same_words(question, hit.chunk.question):
        return max(SAME_QUESTION, probability)
    return probability * (MISFIT if features["misfits_kind"] else 1.0)


def describe(question: str, language: Language, hits: Sequence[Hit], evidence: Evidence) -> list[dict[str, float]]:
    """The features of each span, in order.

    Logits are divided by 10 so that all features are of the order of one; what is relative is relative to the best of this
    question. A stored answer is as similar to the question as its own question is.
    """
    if not hits:
        return []
    spans = evidence.spans
    wanted = terms(question, language)
    similarities = [
        max(similarity, evidence.stored.get(span.passage, similarity))
        for span, similarity in zip(spans, evidence.similarities, strict=True)
    ]
    most_similar = max(similarities, default=0.0)
    best_fused = max(hit.score for hit in hits) or 1.0
    best_lexical = max((hit.lexical_score or 0.0 for hit in hits), default=0.0) or 1.0
    margins = [span.score - span.no_answer_score for span in spans]
    best_margin = max(margins, default=0.0)
    sentences = [_sentence_around(hits[span.passage], span) for span in spans]
    offered = [
        terms(f"{hit.chunk.title} {hit.chunk.heading} {hit.chunk.question} {hit.chunk.text}", language) for hit in hits
    ]
    features = []
    for span, margin, sentence, similarity in zip(spans, margins, sentences, similarities, strict=True):
        hit = hits[span.passage]
        kind = fits(question, span.text, language) if hit.chunk.language == language else None
        covered = coverage(wanted, offered[span.passage])
        features.append(
            {
                "margin": margin / 10,
                "span_score": span.score / 10,
                "best_margin_gap": (best_margin - margin) / 10,
                "rank": math.log1p(span.passage),
                "fused_share": hit.score / best_fused,
                "vector_score": hit.vector_score or 0.0,
                "lexical_share": (hit.lexical_score or 0.0) / best_lexical,
                "coverage": covered,
                "missing_terms": min(len(wanted) * (1 - covered), 6.0) / 6,
                "sentence_coverage": coverage(wanted, terms(sentence, language)),
                "sentence_similarity": similarity,
                "similarity_gap": most_similar - similarity,
                "stored": float(hit.chunk.kind == "faq"),
                "stored_similarity": evidence.stored.get(span.passage, 0.0) if hit.chunk.kind == "faq" else 0.0,
                "span_in_question": coverage(terms(span.text, language), wanted),
                "fits_kind": float(kind is True),
                "misfits_kind": float(kind is False),
            }
        )
    return features


def _sentence_around(hit: Hit, span: Span) -> str:
    """The words beside a span in its sentence; what a question asks with stands there more often than in the span.

    What answers a question is asked for by that question.
    """
    passage, _ = passage_for_reader(hit)
    start, end = enclosing_sentence(passage, span.start, span.end)
    return f"{question_of(hit)} {passage[start : span.start]} {passage[span.end : end]}"


_UNRESOLVED: Final = Decision("clarify", "the message refers to something that was not mentioned", 1.0)


def decide(
    ranked: Sequence[Candidate],
    *,
    language: Language,
    small_talk: float,
    unresolved: bool,
    bare: bool = True,
    config: AnswerConfig,
    calibration: Calibration,
) -> Decision:
    """Choose the route of one turn.

    `ranked` are candidates, best first; `small_talk` the probability that the message is small talk;
    `unresolved` whether it refers to something that nobody mentioned, `bare` whether it tells little else.
    """
    threshold = calibration.threshold[language] if config.threshold is None else config.threshold
    best = _best(ranked, language, threshold)
    confidence = best.confidence if best else 0.0
    chats = config.small_talk

    if chats and small_talk >= SMALL_TALK_SURE:
        return small_talk_decision(small_talk)
    if unresolved and bare:
        return _UNRESOLVED
    if best and confidence >= threshold:
        rival = _rival(best, ranked, threshold, config.clarify_margin)
        if rival:
            return Decision(
                "clarify",
                f"two readings within {config.clarify_margin:.0%}: {confidence:.2f} and {rival.confidence:.2f}",
                confidence,
                (best, rival),
            )
        rule = f"confidence {confidence:.2f} ≥ threshold {threshold:.2f}"
        if unresolved:
            rule += ", though the message refers to something that was not mentioned"
        return Decision("answer", rule, confidence, (best,))
    if unresolved:
        return _UNRESOLVED
    if chats and small_talk >= _SMALL_TALK_LIKELY:
        return Decision("chat", f"no answer, and small talk: {small_talk:.2f} ≥ {_SMALL_TALK_LIKELY}", small_talk)
    return Decision("unknown", f"confidence {confidence:.2f} < threshold {threshold:.2f}", 1.0 - confidence)


def small_talk_decision(probability: float) -> Decision:
    """The route of a message that is certainly small talk."""
    return Decision("chat", f"small talk: {probability:.2f} ≥ {SMALL_TALK_SURE}", probability)


def _best(ranked: Sequence[Candidate], language: Language, threshold: float) -> Candidate | None:
    """The likeliest candidate, or rather one in the question's language that can be said and is not much less likely.

    The same thing is often told in both languages, and people want to read it in theirs.
    """
    if not ranked:
        return None
    likeliest = ranked[0]
    own = next((candidate for candidate in ranked if candidate.hit.chunk.language == language), likeliest)
    return own if own.confidence >= max(threshold, _OWN_LANGUAGE * likeliest.confidence) else likeliest


def _rival(best: Candidate, ranked: Sequence[Candidate], threshold: float, margin: float) -> Candidate | None:
    """A candidate as good as the best, but for a share `margin`, that says something else in its language under another heading."""
    if margin == 0:
        return None
    said = best.span.text.casefold()
    for candidate in ranked:
        if candidate is best or candidate.hit.chunk.language != best.hit.chunk.language:
            continue
        if candidate.confidence < threshold or candidate.confidence <= (1 - margin) * best.confidence:
            return None
        elsewhere = (candidate.hit.chunk.document, heading_of(candidate.hit)) != (
            best.hit.chunk.document,
            heading_of(best.hit),
        )
        other = candidate.span.text.casefold()
        if elsewhere and said not in other and other not in said:
            return candidate
    return None
