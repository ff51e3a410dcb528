"""The whole bot: from question to reply, over a file's paragraphs or over documents of one's own."""

from __future__ import annotations

import re
import tempfile
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from botkit.config import Settings
from botkit.errors import DataError
from botkit.evaluation.formats import ReadingExample, RoutedQuestion
from botkit.evaluation.metrics import answer_tokens, best_over, calibration_error, mean, percentiles
from botkit.evaluation.openbook import knowledge_of, paragraphs_home, with_home
from botkit.evaluation.reader import Track
from botkit.evaluation.scored import Scored, bucket, gold_of, question_word
from botkit.messages import Language, Message, Reply
from botkit.parts import Parts

if TYPE_CHECKING:
    from botkit.engine import Engine
    from botkit.knowledge.ingest import Progress

_RIGHT = 0.6
"""F1 from which an answer counts as right where calibration is measured."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and what came of it; `right` is whether the reply is the one wanted."""

    id: str
    kind: str
    language: Language
    question: str
    answers: tuple[str, ...]
    reply: Reply
    exact: float
    f1: float
    right: bool

    @property
    def answered(self) -> bool:
        """Whether the bot gave an answer."""
        return self.reply.route == "answer"

    def scored(self) -> Scored:
        """As a line of a file of predictions."""
        facets = {
            "language": self.language,
            "kind": self.kind,
            "question word": question_word(self.question, self.language),
            "question length": bucket(len(answer_tokens(self.question, self.language)), (8, 12, 18)),
            "route": self.reply.route,
        }
        scores = {"accuracy": float(self.right), "exact": self.exact, "f1": self.f1}
        shown = f"{self.question} → {self.reply.text}"
        sure = self.reply.confidence if self.answered else None
        return Scored(self.id, scores, facets, text=shown, confidence=sure, gold=gold_of(self.answers))

    def as_json(self) -> dict[str, Any]:
        """For a file of what went wrong."""
        return {
            "id": self.id,
            "kind": self.kind,
            "question": self.question,
            "answers": list(self.answers),
            "route": self.reply.route,
            "said": self.reply.text,
            "span": self.reply.answer,
            "confidence": round(self.reply.confidence, 4),
            "query": self.reply.trace.query if self.reply.trace else "",
            "sources": [source.document for source in self.reply.sources],
        }


async def evaluate_open_book(
    settings: Settings,
    examples: Sequence[ReadingExample],
    *,
    track: Track = iter,
    progress: Callable[[Progress], None] | None = None,
) -> tuple[dict[str, Any], list[Asked]]:
    """Index the examples' paragraphs and ask every question, each in a conversation of its own.

    The marked span is scored; a reply that is no answer counts as an empty one.
    """
    parts = Parts.of(settings)
    with paragraphs_home(settings, parts, examples, progress) as (apart, _):
        engine = _engine(apart, parts)
        try:
            asked = []
            for number, example in enumerate(track(examples)):
                reply = await engine.answer(Message(example.question, conversation=f"q{number}"))
                said = reply.answer if reply.route == "answer" else ""
                exact, f1 = best_over(example.answers, said, example.language)
                kind = "answerable" if example.answers else "unanswerable"
                right = (f1 >= _RIGHT) if example.answers else not said
                asked.append(
                    Asked(
                        example.id, kind, example.language, example.question, example.answers, reply, exact, f1, right
                    )
                )
        finally:
            await engine.close()
    return _report(asked), asked


async def evaluate_questions(
    settings: Settings,
    questions: Sequence[RoutedQuestion],
    *,
    knowledge: Path | None = None,
    track: Track = iter,
    progress: Callable[[Progress], None] | None = None,
) -> tuple[dict[str, Any], list[Asked]]:
    """Ask questions of the documents in `knowledge`, or of those that ship with botkit, in a home of their own.

    A reply to an answerable question is right where it is an answer and holds one of the accepted ones; one to an
    unanswerable question where it is none. Earlier messages of a question are said first, in the same conversation.
    """
    with tempfile.TemporaryDirectory(prefix="botkit-evaluation-") as name:
        apart = with_home(
            settings, Path(name), include_builtin=knowledge is None, paths=[knowledge] if knowledge else []
        )
        engine = _engine(apart, Parts.of(settings))
        try:
            engine.knowledge.prepare(progress)
            asked = []
            for number, question in enumerate(track(questions)):
                for said in question.history:
                    await engine.answer(Message(said, conversation=f"q{number}"))
                reply = await engine.answer(Message(question.question, conversation=f"q{number}"))
                asked.append(_judged(question, reply))
        finally:
            await engine.close()
    return _report(asked), asked


def _engine(settings: Settings, parts: Parts) -> Engine:
    from botkit.conversations.sqlite import open_store
    from botkit.engine import Engine

    return Engine(settings, knowledge=knowledge_of(settings, parts), store=open_store(settings), parts=parts)


def _judged(question: RoutedQuestion, reply: Reply) -> Asked:
    answered = reply.route == "answer"
    span = reply.answer if answered else ""
    golds = question.answers if question.route == "answer" else ()
    exact, f1 = best_over(golds, span, question.language)
    right = answered and any(holds(reply.text, gold) for gold in golds) if golds else not answered
    return Asked(question.id, question.kind, question.language, question.question, golds, reply, exact, f1, right)


def plain(text: str) -> str:
    """Text for comparing: compatibility forms, case, punctuation and blanks folded away, decimal points kept."""
    return "".join(_pieces(text))


def holds(said: str, gold: str) -> bool:
    """Whether a text holds an answer, as `plain` compares them, in whole words and numbers: 5 days are not in 15 days."""
    pieces, wanted = _pieces(said), plain(gold)
    edges, at = {0}, 0
    for piece in pieces:
        edges.update(at + match.start() for match in _EDGE.finditer(piece))
        at += len(piece)
        edges.add(at)
    whole = "".join(pieces)
    places = (match.start() for match in re.finditer(f"(?={re.escape(wanted)})", whole)) if wanted else ()
    return any(place in edges and place + len(wanted) in edges for place in places)


_HAN, _NUMERAL = "[㐀-鿿]", "[〇零一二两三四五六七八九十百千万亿]"
_EDGE: Final = re.compile(
    rf"(?:(?<={_HAN})|(?={_HAN}))(?!(?<={_NUMERAL}){_NUMERAL})|(?<=\d)(?=[^\W\d_])|(?<=[^\W\d_])(?=\d)"
)
"""Where a word or a number may end without a blank: at each Chinese character, and between figures and letters."""


def _pieces(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.split(r"(?<!\d)[^\w]+|[^\w.,]+|[.,](?!\d)", folded)


def _report(asked: Sequence[Asked]) -> dict[str, Any]:
    if not asked:
        raise DataError("There is no question to measure with.")
    report = _figures(asked)
    languages = sorted({one.language for one in asked})
    if len(languages) > 1:
        report["languages"] = {
            language: _figures([one for one in asked if one.language == language]) for language in languages
        }
    kinds = sorted({(one.language, one.kind) for one in asked})
    report["kinds"] = {
        f"{language} {kind}": {
            "accuracy": mean([one.right for one in asked if (one.language, one.kind) == (language, kind)]),
            "n": sum((one.language, one.kind) == (language, kind) for one in asked),
        }
        for language, kind in kinds
    }
    report["latency"] = percentiles([one.reply.timings_ms.get("total", 0.0) for one in asked])
    return report


def _figures(asked: Sequence[Asked]) -> dict[str, Any]:
    answerable = [one for one in asked if one.answers]
    others = [one for one in asked if not one.answers]
    answered = [one for one in asked if one.answered]
    return {
        "exact": mean([one.exact for one in asked]),
        "f1": mean([one.f1 for one in asked]),
        "has_answer_f1": mean([one.f1 for one in answerable]),
        "no_answer_f1": mean([one.f1 for one in others]),
        "accuracy": mean([one.right for one in asked]),
        "right": mean([one.right for one in answerable]),
        "declined": mean([not one.answered for one in others]),
        "route_accuracy": mean([one.answered == bool(one.answers) for one in asked]),
        "answered": mean([one.answered for one in asked]),
        "precision": mean([one.right for one in answered]),
        "calibration_error": calibration_error(
            [one.reply.confidence for one in answered], [one.right for one in answered]
        ),
        "n": len(asked),
    }
