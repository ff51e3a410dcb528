"""Fusion of the two halves of the search.

The score of a chunk is `(1 - w) * bm25 / best bm25 + w * similarity`, a convex combination (Bruch, Gai & Ingber 2023, "An
Analysis of Fusion Functions for Hybrid Retrieval") with both terms known for every candidate: what one half
found and the other did not is scored by the other too. On the validation data this is at every k at least as good as the
better half, which reciprocal-rank fusion is not: see benchmarks/retrieval.py.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from botkit.config import RetrievalConfig
from botkit.knowledge.indexes import Indexes, similarity
from botkit.knowledge.types import Hit, SearchFilter
from botkit.language import detect
from botkit.messages import Language
from botkit.models import Encoder
from botkit.models.vectors import common_columns

VECTOR_WEIGHT: dict[Language, float] = {"en": 0.9, "zh": 0.7}
"""Measured for the built-in encoder, on help centres that no training saw and on the validation paragraphs."""
_log = logging.getLogger(__name__)


class HybridRetriever:
    """Searches both indexes of a library and fuses what they find."""

    def __init__(self, indexes: Indexes, encoder: Encoder, config: RetrievalConfig) -> None:
        self.indexes = indexes
        self.encoder = encoder
        self.config = config
        self._announced = False

    def search(self, query: str, k: int = 10, *, where: SearchFilter | None = None) -> list[Hit]:
        """Up to `k` hits, best first. Filters apply inside both searches, so `k` hits are found where there are so many."""
        if k < 1 or not query.strip():
            return []
        query = query.encode("utf-8", "replace").decode("utf-8")  # half of a surrogate pair is no text
        count = max(k, self.config.candidates)
        only = self.indexes.library.chunk_ids(where) if where is not None and where != SearchFilter() else None
        lexical = self.indexes.lexical.search(query, count, where=where)
        embedding, nearest = self._nearest(query, count, only)
        lexical_scores = self._complete_lexical(query, dict(lexical), nearest)
        vector_scores = self._similarities(embedding, [id for id, _ in nearest], lexical)
        fused = self._fuse(lexical_scores, vector_scores, detect(query))
        best = sorted(fused, key=lambda id: (-fused[id], id))[:count]
        chunks = self.indexes.library.chunks(best)
        lexical_ranks = {id: rank for rank, (id, _) in enumerate(lexical, 1)}
        by_vector = sorted((id for id, _ in nearest if id in vector_scores), key=lambda id: (-vector_scores[id], id))
        vector_ranks = {id: rank for rank, id in enumerate(by_vector, 1)}
        return [
            Hit(
                chunks[id],
                fused[id],
                lexical_scores.get(id),
                vector_scores.get(id),
                lexical_ranks.get(id),
                vector_ranks.get(id),
            )
            for id in best
            if id in chunks
        ][:k]

    def _nearest(
        self, query: str, count: int, only: Sequence[int] | None
    ) -> tuple[NDArray[np.float32] | None, list[tuple[int, float]]]:
        vectors = self.indexes.vectors
        if len(vectors) and vectors.encoder != self.encoder.name:
            if not self._announced:
                _log.warning("The vector index belongs to another encoder; searching by words until it is rebuilt.")
                self._announced = True
            return None, []
        embedding = self.encoder.encode([query])[0]
        return embedding, vectors.search(embedding, count, only=only)

    def _complete_lexical(
        self, query: str, scores: dict[int, float], nearest: Sequence[tuple[int, float]]
    ) -> dict[int, float]:
        """BM25 of every candidate; 0 for those that share no word with the query."""
        missing = [id for id, _ in nearest if id not in scores]
        if missing:
            scores |= dict.fromkeys(missing, 0.0)
            scores |= dict(self.indexes.lexical.search(query, len(missing), only=missing))
        return scores

    def _similarities(
        self, embedding: NDArray[np.float32] | None, nearest: Sequence[int], lexical: Sequence[tuple[int, float]]
    ) -> dict[int, float]:
        """Similarity of every candidate, its whole and its best sentence counted alike; none without an embedding."""
        if embedding is None:
            return {}
        stored = self.indexes.library.vectors([*nearest, *(id for id, _ in lexical)], self.encoder.name)
        common = common_columns(self.encoder)
        return {id: similarity(rows, embedding, common) for id, rows in stored.items()}

    def _fuse(self, lexical: dict[int, float], vectors: dict[int, float], language: Language) -> dict[int, float]:
        weight = self.config.vector_weight if self.config.vector_weight is not None else VECTOR_WEIGHT[language]
        best = max(lexical.values(), default=0.0) or 1.0
        return {
            id: (1 - weight) * lexical.get(id, 0.0) / best + weight * max(0.0, vectors.get(id, 0.0))
            for id in lexical | vectors
        }
