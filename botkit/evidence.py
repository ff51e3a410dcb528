"""What the retrieved passages say to a question: the reader's spans, and the sentences most like the question.

The reader marks names, dates and numbers word for word. A question such as "May I bring my dog?" is answered by a whole
sentence that shares no word with it; there the encoder knows better. Both kinds of candidates are put before
`decision`, which weighs them.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from botkit.models import Encoder, Reader, Span
from botkit.models.vectors import common_columns, cosines, without_companions
from botkit.text import enclosing_sentence, sentences

SPANS_PER_PASSAGE: Final = 2
_LOOKED_AT: Final = 5
"""Passages whose sentences are all compared with the question; of the others, those that hold a span."""
_SENTENCES: Final = 3
"""Sentences that become candidates of their own."""
_REMEMBERED: Final = 4_096
_LONGEST: Final = 600
_POINTS: Final = re.compile(
    r"(?:it|its|they|their|this|these|he|she|his|her)\b|[它他她]们?|这(?:[个些种项款类]|里)?", re.IGNORECASE
)
"""What a sentence begins with that cannot be understood alone."""


@dataclass(frozen=True)
class Evidence:
    """Candidate spans, best margin of the reader first, then whole sentences.

    `similarities[i]` is the cosine similarity of the question and the sentence around `spans[i]`; `stored[n]` that of the
    question and the stored one which passage `n` answers.
    """

    spans: Sequence[Span] = ()
    similarities: Sequence[float] = field(default_factory=list)
    stored: Mapping[int, float] = field(default_factory=dict)


class Examiner:
    """Reads passages. Thread-safe; remembers the vectors of sentences it has seen."""

    def __init__(self, reader: Callable[[], Reader], encoder: Callable[[], Encoder]) -> None:
        """`reader` and `encoder` return the (cached) models."""
        self._reader = reader
        self._encoder = encoder
        self._known: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._lock = threading.Lock()

    def examine(
        self,
        question: str,
        passages: Sequence[str],
        stored: Mapping[int, str] | None = None,
        *,
        known: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> Evidence:
        """The candidates in `passages`, which come best first; `stored` are the questions that some of them answer.

        `known` holds vectors of the same encoder by their texts, such as the library keeps of its sentences; what is not among them is
        encoded.
        """
        spans = self._reader().read(question, passages, top_k=SPANS_PER_PASSAGE)
        if not spans:
            return Evidence()
        around = [(span.passage, *enclosing_sentence(passages[span.passage], span.start, span.end)) for span in spans]
        whole = {(n, *place) for n, passage in enumerate(passages[:_LOOKED_AT]) for place in sentences(passage)}
        places = list(dict.fromkeys([*around, *sorted(whole)]))
        texts = [_understood(passages[number], start, end)[:_LONGEST] for number, start, end in places]
        asked = stored or {}
        vectors = self._vectors([question, *texts, *asked.values()], known or {})
        near = _compared(vectors[0], vectors[1:], common_columns(self._encoder()))
        similarity = dict(zip(places, near, strict=False))
        added = self._whole_sentences(passages, spans, set(around), similarity)
        return Evidence(
            [*spans, *(span for span, _ in added)],
            [*(similarity[place] for place in around), *(value for _, value in added)],
            dict(zip(asked, near[len(places) :], strict=True)),
        )

    def _whole_sentences(
        self,
        passages: Sequence[str],
        spans: Sequence[Span],
        covered: set[tuple[int, int, int]],
        similarity: dict[tuple[int, int, int], float],
    ) -> list[tuple[Span, float]]:
        """The sentences most like the question that hold no span.

        They get the least score that the reader gave in that passage, and no more than it gave to there being no answer: it saw none in them.
        """
        least = {span.passage: span for span in spans}  # spans come best first: the last one stays
        best = sorted(similarity, key=lambda place: -similarity[place])[:_SENTENCES]
        added = []
        for number, start, end in best:
            if (number, start, end) in covered or number not in least:
                continue
            read = least[number]
            score = min(read.score, read.no_answer_score)
            span = Span(number, start, end, passages[number][start:end], score, read.no_answer_score)
            added.append((span, similarity[number, start, end]))
        return added

    def _vectors(self, texts: Sequence[str], given: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        known = {text: given[text] for text in texts if text in given}
        with self._lock:
            known |= {text: self._known[text] for text in texts if text in self._known and text not in known}
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        if missing:
            known |= zip(missing, self._encoder().encode(missing), strict=True)
        with self._lock:
            for text in texts:
                if text not in given:
                    self._known[text] = known[text]
                    self._known.move_to_end(text)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return np.stack([known[text] for text in texts])


def _understood(passage: str, start: int, end: int) -> str:
    """A sentence; one that begins with a pronoun ("It costs 130 pounds.") with the sentence before it, which tells what it is about."""
    sentence = passage[start:end]
    before = (
        max((place for place in sentences(passage) if place[1] <= start), default=None)
        if _POINTS.match(sentence)
        else None
    )
    return f"{passage[before[0] : before[1]]} {sentence}" if before else sentence


def _compared(question: NDArray[np.float32], texts: NDArray[np.float32], common: int) -> list[float]:
    """The cosine of the question and each text; where few of the texts have a companion's part ("VIP?" asked of Chinese ones), without it."""
    if question[common:].any() and texts[:, common:].any(axis=1).mean() < 0.5:
        question = without_companions(question, common)
    near: list[float] = cosines(texts, question, common).tolist()
    return near
