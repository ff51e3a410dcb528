"""Finding alone: does the search bring the paragraph that a question was asked of?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from botkit.config import Settings
from botkit.evaluation.formats import ReadingExample
from botkit.evaluation.metrics import first_rank, percentiles, retrieval_figures
from botkit.evaluation.openbook import paragraphs_home
from botkit.evaluation.reader import Track

if TYPE_CHECKING:
    from botkit.knowledge.ingest import Progress

_DEPTH = 20
"""Passages looked at: several can be of one paragraph."""


def evaluate_retrieval(
    settings: Settings,
    examples: Sequence[ReadingExample],
    *,
    track: Track = iter,
    progress: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Recall at 1, 5 and 10, mean reciprocal rank and nDCG over all paragraphs, for the questions that have an answer."""
    from botkit.knowledge.base import open_knowledge

    asked = [example for example in examples if example.answers]
    ranks: list[int | None] = []
    took = []
    with paragraphs_home(settings, examples, progress) as (apart, documents):
        knowledge = open_knowledge(apart)
        try:
            for example in track(asked):
                begun = time.perf_counter()
                hits = knowledge.search(example.question, _DEPTH)
                took.append((time.perf_counter() - begun) * 1000)
                found = list(dict.fromkeys(hit.chunk.document for hit in hits))
                ranks.append(first_rank(found, documents.get((example.title, example.context), "")))
        finally:
            knowledge.close()
    return {
        **retrieval_figures(ranks),
        "n": len(asked),
        "paragraphs": len(documents),
        "latency": percentiles(took),
    }
