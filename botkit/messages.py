"""The types that cross between rooms. All are immutable.

An adapter turns what a platform delivers into a `Message`, gives it to `Engine.respond`, and shows
the `Event`s that come back: any number of `Status` and `Delta`, then exactly one `Reply`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any, Final, Literal, TypeAlias
from uuid import uuid4

Language: TypeAlias = Literal["en", "zh"]
LANGUAGES: Final[tuple[Language, ...]] = ("en", "zh")
Role: TypeAlias = Literal["user", "bot"]
Route: TypeAlias = Literal["answer", "chat", "clarify", "hand_off", "unknown"]
SentimentLabel: TypeAlias = Literal["negative", "neutral", "positive"]


def _now() -> datetime:
    return datetime.now(timezone.utc)


def new_id() -> str:
    """A random identifier of 32 hexadecimal digits."""
    return uuid4().hex


@dataclass(frozen=True, slots=True)
class Message:
    """What a person said, as an adapter hands it to the engine.

    `conversation` identifies the thread of talk and `sender` the person in it; both are opaque
    strings chosen by the adapter. `language` is that of the reply; None follows the person's words. `tags` and `documents`, where not
    empty, restrict the knowledge searched, and so does `source_language` where it is set.
    """

    text: str
    conversation: str = "default"
    sender: str = "user"
    adapter: str = ""
    language: Language | None = None
    tags: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    source_language: Language | None = None
    id: str = field(default_factory=new_id)
    sent_at: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class Turn:
    """One side's words in a conversation, as the generator and the contextualiser read them.

    `route` is that of a reply, where it is known, and `question` what a reply answers (see `Reply.question`).
    """

    role: Role
    text: str
    route: Route | None = None
    question: str = ""


@dataclass(frozen=True, slots=True)
class Sentiment:
    """A tone and its probability (0 to 1); `probabilities` has one entry per label."""

    label: SentimentLabel
    score: float
    probabilities: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """Where an answer stands.

    `start` and `end` are character offsets of the marked span in the document's Markdown text (what
    `botkit knowledge show` prints); `passage_start` is the offset of `passage` in that same text, so
    `passage[start - passage_start : end - passage_start] == span`. For a source that was found
    but not read (the closest sources of an "I don't know") the span is the passage itself.
    `page` counts from 1 and is None where the format has no pages. `score` is between 0 and 1.
    """

    document: str
    title: str
    heading: str
    page: int | None
    start: int
    end: int
    passage: str
    passage_start: int
    score: float

    @property
    def span(self) -> str:
        """The marked text."""
        return self.passage[slice(*self.span_in_passage)]

    @property
    def span_in_passage(self) -> tuple[int, int]:
        """Where the span begins and ends in `passage`."""
        return self.start - self.passage_start, self.end - self.passage_start

    def as_json(self) -> dict[str, Any]:
        """The documented JSON object for one source."""
        return {
            "document": self.document,
            "title": self.title,
            "heading": self.heading,
            "page": self.page,
            "start": self.start,
            "end": self.end,
            "passage": self.passage,
            "passage_start": self.passage_start,
            "span": self.span,
            "score": round(self.score, 4),
        }


@dataclass(frozen=True, slots=True)
class TraceCandidate:
    """One candidate answer with the score of every stage, for `--explain`."""

    document: str
    heading: str
    text: str
    lexical_score: float | None
    vector_score: float | None
    fused_score: float
    span_score: float | None
    no_answer_score: float | None
    confidence: float


@dataclass(frozen=True, slots=True)
class Trace:
    """Why a turn went the way it did: the rule that chose the route and what it saw."""

    query: str
    rewritten: bool
    rule: str
    candidates: tuple[TraceCandidate, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Status:
    """Work in progress, for a typing indicator: "thinking", "searching", "reading", "writing"."""

    stage: str


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the reply's text; the pieces joined are the reply's `text`."""

    text: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The bot's whole answer to one message.

    `text` is what to show; `answer` is the verbatim span where the route is "answer" (for an FAQ entry the stored
    answer) and empty otherwise. `confidence` is the probability that the answer is right, with the route "unknown" that there is
    none. `question` is what an answer answers: of a follow-up, or of a choice between readings, in words that say it
    whole. `options` are the readings offered by the route "clarify", or the
    buttons worth showing with any other route.
    """

    text: str
    route: Route
    confidence: float
    conversation: str
    answer: str = ""
    question: str = ""
    language: Language = "en"
    sources: tuple[Source, ...] = ()
    sentiment: Sentiment = Sentiment("neutral", 0.0)
    options: tuple[str, ...] = ()
    hand_off_offered: bool = False
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    trace: Trace | None = None
    id: str = field(default_factory=new_id)

    def as_json(self, *, explain: bool = False) -> dict[str, Any]:
        """The documented JSON object for one reply; with `explain`, the trace as well."""
        result: dict[str, Any] = {
            "answer": self.text,
            "span": self.answer,
            "question": self.question,
            "route": self.route,
            "confidence": round(self.confidence, 4),
            "sources": [source.as_json() for source in self.sources],
            "sentiment": {"label": self.sentiment.label, "score": round(self.sentiment.score, 4)},
            "language": self.language,
            "timings_ms": {stage: round(ms, 2) for stage, ms in self.timings_ms.items()},
            "conversation": self.conversation,
            "options": list(self.options),
            "hand_off_offered": self.hand_off_offered,
            "id": self.id,
        }
        if explain and self.trace is not None:
            result["trace"] = self.trace.as_json()
        return result


Event: TypeAlias = Status | Delta | Reply
