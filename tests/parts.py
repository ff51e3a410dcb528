"""Small deterministic models, so that a test of the engine knows what every part will say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from botkit.config import Config, Paths, Settings
from botkit.conversations.sqlite import SQLiteConversationStore
from botkit.decision import FEATURES, Calibration
from botkit.engine import Engine
from botkit.errors import GeneratorError
from botkit.knowledge.base import Knowledge
from botkit.language import detect
from botkit.messages import Language, Sentiment, Turn
from botkit.models import Sampling, Span
from botkit.parts import Parts
from botkit.text import sentences, terms
from tests.knowledge.encoders import WordEncoder, count_tokens

SHOP = """# Harbour shop

## Returns

You can return a kite within 30 days.

## Shipping

Shipping to Norway costs 12 euros. Shipping to Sweden takes four days.

## Founders

The shop was founded by Ada Moss in 1999.
"""


class OverlapReader:
    """The best span of a passage is the sentence that shares most words with the question; 3 points each."""

    name = "overlap"

    def __init__(self) -> None:
        self.questions: list[str] = []

    def read(self, question: str, passages: Sequence[str], *, top_k: int = 3) -> list[Span]:
        self.questions.append(question)
        language = detect(question)
        wanted = terms(question, language)
        spans = []
        for number, passage in enumerate(passages):
            for start, end in sentences(passage):
                text = passage[start:end].rstrip(".。")
                score = 3.0 * len(wanted & terms(text, language))
                spans.append(Span(number, start, start + len(text), text, score, 5.0))
        spans.sort(key=lambda span: span.no_answer_score - span.score)
        return spans

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return count_tokens(texts)


class WordSentiment:
    """Negative where a text says "awful", positive where it says "lovely"."""

    name = "words"

    def classify(self, texts: Sequence[str]) -> list[Sentiment]:
        return [
            Sentiment("negative", 0.9)
            if re.search("awful|糟糕", text)
            else Sentiment("positive", 0.9)
            if "lovely" in text
            else Sentiment("neutral", 0.8)
            for text in texts
        ]


class Parrot:
    """Says the last words again, piece by piece; fails when told to."""

    name = "parrot"

    def __init__(self) -> None:
        self.heard: list[list[Turn]] = []
        self.fails = False

    def stream(
        self,
        turns: Sequence[Turn],
        *,
        sampling: Sampling | None = None,
        language: Language = "en",
        persona: str = "friendly",
    ) -> Iterator[str]:
        self.heard.append(list(turns))
        if self.fails:
            raise GeneratorError("the endpoint is away")
        yield "You say "
        yield turns[-1].text


class Greetings:
    """Small talk is what begins with a greeting."""

    def probability(self, text: str) -> float:
        return 0.99 if re.match(r"(?i)hello|hi\b|你好", text) else 0.01


def calibration(threshold: float = 0.5) -> Calibration:
    """Only the reader's margin counts: above 0 is more likely right than not."""
    weights = {name: 20.0 if name == "margin" else 0.0 for name in FEATURES}
    return Calibration({"en": weights, "zh": weights}, {"en": 0.0, "zh": 0.0}, {"en": threshold, "zh": threshold})


class Bot:
    """An engine on the parts above, and the parts."""

    def __init__(self, home: Path, **config: Any) -> None:
        self.reader, self.encoder, self.sentiment, self.generator = (
            OverlapReader(),
            WordEncoder(),
            WordSentiment(),
            Parrot(),
        )
        settings = Settings(
            config=Config.model_validate({"knowledge": {"include_builtin": False}} | config),
            source=None,
            paths=Paths(home=home),
        )
        knowledge = Knowledge(
            settings.paths,
            encoder=lambda: self.encoder,
            count_tokens=count_tokens,
            config=settings.config.knowledge,
            retrieval=settings.config.retrieval,
        )
        parts = Parts(
            encoder=lambda: self.encoder,
            reader=lambda: self.reader,
            sentiment=lambda: self.sentiment,
            generator=lambda: self.generator,
            small_talk=lambda: Greetings(),  # type: ignore[return-value,arg-type]
            calibration=calibration,
        )
        store = SQLiteConversationStore(settings.paths.conversations)
        self.engine = Engine(settings, knowledge=knowledge, store=store, parts=parts)

    def teach(self, folder: Path, **documents: str) -> None:
        """Ingest documents, by name without ending."""
        folder.mkdir(exist_ok=True)
        for name, text in documents.items():
            (folder / f"{name}.md").write_text(text, encoding="utf-8")
        self.engine.knowledge.ingest([folder])


MakeBot = Callable[..., Bot]
