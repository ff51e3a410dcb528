"""Finding alone: does the search bring the paragraph that a question was asked of?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from botkit.config import Settings
from botkit.errors import DataError
from botkit.evaluation.formats import ReadingExample
from botkit.evaluation.metrics import answer_tokens, first_rank, percentiles, retrieval_figures
from botkit.evaluation.openbook import knowledge_of, paragraphs_home
from botkit.evaluation.reader import Track
from botkit.evaluation.scored import Collect, Scored, bucket, question_word
from botkit.parts import Parts

if TYPE_CHECKING:
    from botkit.knowledge.ingest import Progress
    from botkit.knowledge.types import Hit

Half = Literal["lexical", "vector", "fused"]
HALVES: Final[tuple[Half, ...]] = get_args(Half)
_DEPTH: Final = 20
"""Passages looked at: several can be of one paragraph."""


def evaluate_retrieval(
    settings: Settings,
    examples: Sequence[ReadingExample],
    *,
    halves: Sequence[Half] = ("fused",),
    track: Track = iter,
    progress: Callable[[Progress], None] | None = None,
    collect: Collect | None = None,
) -> dict[str, Any]:
    """Recall at 1, 5 and 10, mean reciprocal rank and nDCG over all paragraphs, for the questions that have an answer.

    The figures are those of the last of `halves`; where there are several, `halves` in the report has them all. A half
    alone is the fusion with all the weight on it, without what it did not find itself.
    """
    asked = [example for example in examples if example.answers]
    if not asked:
        raise DataError("There is no question with an answer, and only these can be searched for.")
    parts = Parts.of(settings)
    ranks: dict[Half, list[int | None]] = {half: [] for half in halves}
    took: dict[Half, list[float]] = {half: [] for half in halves}
    with paragraphs_home(settings, parts, examples, progress) as (apart, documents):
        searched = {half: knowledge_of(_only(apart, half), parts) for half in halves}
        try:
            for example in track(asked):
                wanted = documents.get((example.title, example.context), "")
                for half, knowledge in searched.items():
                    begun = time.perf_counter()
                    hits = knowledge.search(example.question, _DEPTH)
                    took[half].append((time.perf_counter() - begun) * 1000)
                    found = dict.fromkeys(hit.chunk.document for hit in hits if _found_by(hit, half))
                    ranks[half].append(first_rank(list(found), wanted))
                if collect:
                    collect(_scored(example, ranks[halves[-1]][-1]))
        finally:
            for knowledge in searched.values():
                knowledge.close()
    report: dict[str, Any] = {
        **retrieval_figures(ranks[halves[-1]]),
        "n": len(asked),
        "paragraphs": len(documents),
        "latency": percentiles(took[halves[-1]]),
    }
    if len(halves) > 1:
        report["halves"] = {half: retrieval_figures(ranks[half]) for half in halves}
    return report


def _scored(example: ReadingExample, rank: int | None) -> Scored:
    facets = {
        "language": example.language,
        "question word": question_word(example.question, example.language),
        "question length": bucket(len(answer_tokens(example.question, example.language)), (8, 12, 18)),
    }
    return Scored(example.id, retrieval_figures([rank]), facets, text=example.question)


def _only(settings: Settings, half: Half) -> Settings:
    """The same settings with all the weight of the fusion on one half."""
    if half == "fused":
        return settings
    weight = 1.0 if half == "vector" else 0.0
    retrieval = settings.config.retrieval.model_copy(update={"vector_weight": weight})
    return settings.model_copy(update={"config": settings.config.model_copy(update={"retrieval": retrieval})})


def _found_by(hit: Hit, half: Half) -> bool:
    """Whether this half of the search found the passage itself."""
    if half == "fused":
        return True
    return (hit.lexical_rank if half == "lexical" else hit.vector_rank) is not None
