"""Retrieval over the paragraphs of a question-answering file: botkit's fusion beside its halves and its rivals.

    python benchmarks/retrieval.py ../shared/data/qa/squad_valid.jsonl.gz ../shared/data/qa/squad_train.jsonl.gz
    python benchmarks/retrieval.py ../shared/data/qa/zh_cmrc_valid.jsonl.gz ../shared/data/qa/zh_cmrc_train.jsonl.gz

Each line of a file is `{"title", "question", "context", "answers"}`. Every paragraph becomes a document, every answerable
question a query; a query succeeds at k when one of the first k passages is of its paragraph. The rivals run on the same
passages and vectors: SQLite FTS5 (Porter stemmer; trigrams for Chinese), and reciprocal-rank fusion (k = 60) of botkit's halves.
`worst_loss` is how far the fusion falls below the better half at the worst k from 1 to 20: the project allows 0.005.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from botkit.config import ModelsConfig, Paths, RetrievalConfig
from botkit.knowledge.chunks import chunk_document
from botkit.knowledge.indexes import Indexes, embed, embedded_text, text_digest
from botkit.knowledge.library import Entry, Library
from botkit.knowledge.retriever import VECTOR_WEIGHT, HybridRetriever
from botkit.knowledge.types import Chunk, Document
from botkit.language import detect
from botkit.models import Encoder
from botkit.models.registry import load_encoder, load_reader

DEPTHS = (1, 3, 5, 10, 20)
FOUND = 50


class RememberingEncoder:
    """Encodes each query once, so that many settings can be compared."""

    def __init__(self, encoder: Encoder) -> None:
        self.name, self.dimension, self._encoder = encoder.name, encoder.dimension, encoder
        self._known: dict[str, NDArray[np.float32]] = {}

    def learn(self, texts: Sequence[str]) -> None:
        for start in range(0, len(texts), 64):
            batch = texts[start : start + 64]
            self._known.update(zip(batch, self._encoder.encode(batch), strict=True))

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if all(text in self._known for text in texts):
            return np.stack([self._known[text] for text in texts])
        return self._encoder.encode(texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--questions", type=int, default=2000, help="At most so many, evenly spread over the data.")
    parser.add_argument("--chunk-tokens", type=int, default=160)
    parser.add_argument(
        "--weights", type=float, nargs="*", default=[], help="Vector weights to try beside the default."
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    paragraphs, questions = read(options.data)
    questions = questions[:: max(1, len(questions) // options.questions)]
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), paragraphs, questions, options.chunk_tokens, options.weights)
    if options.json:
        print(json.dumps(figures))
    else:
        show(figures)


def read(files: Sequence[Path]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Paragraph to title, and (question, paragraph) for the answerable questions."""
    paragraphs: dict[str, str] = {}
    questions = []
    for file in files:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                paragraphs[row["context"]] = row["title"].replace("_", " ")
                if row["answers"]:
                    questions.append((row["question"], row["context"]))
    return paragraphs, questions


def measure(
    home: Path, paragraphs: dict[str, str], questions: list[tuple[str, str]], chunk_tokens: int, weights: list[float]
) -> dict[str, Any]:
    models, paths = ModelsConfig(), Paths(home=home)
    encoder = RememberingEncoder(load_encoder(models, paths))
    library, documents = Library(paths.library), {text: f"{number:06}" for number, text in enumerate(paragraphs)}
    started = time.perf_counter()
    chunks = fill(library, paragraphs, documents, encoder, load_reader(models, paths).count_tokens, chunk_tokens)
    indexes = Indexes(paths.indexes, library)
    indexes.catch_up(lambda: encoder)
    indexing_s = time.perf_counter() - started
    encoder.learn([question for question, _ in questions])
    document_of = {chunk.id: chunk.document for chunk in chunks}
    fts = full_text_search(chunks)

    def lexical(query: str) -> list[int]:
        return [id for id, _ in indexes.lexical.search(query, FOUND)]

    def whole(query: str) -> list[int]:
        """By the vector of the whole passage alone, without those of its sentences."""
        ids = list(whole_vectors)
        scores = np.stack([whole_vectors[id] for id in ids]) @ encoder.encode([query])[0]
        return [ids[place] for place in np.argsort(-scores)[:FOUND]]

    def fused(weight: float | None) -> Callable[[str], list[int]]:
        retriever = HybridRetriever(indexes, encoder, RetrievalConfig(vector_weight=weight))
        return lambda query: [hit.chunk.id for hit in retriever.search(query, FOUND)]

    whole_vectors = {id: rows[0] for id, rows in library.vectors(library.chunk_ids(), encoder.name).items()}
    vectors = fused(1.0)

    systems: dict[str, Callable[[str], list[int]]] = {
        "botkit": fused(None),
        "words (tantivy)": lexical,
        "vectors (FAISS)": vectors,
        "whole passages": whole,
        "reciprocal rank": lambda query: reciprocal_rank([lexical(query), vectors(query)]),
        "words (FTS5)": fts,
    } | {f"weight {weight:g}": fused(weight) for weight in weights}
    curves, rows = {}, {}
    for name, search in systems.items():
        ranks, times = [], []
        for question, paragraph in questions:
            begun = time.perf_counter()
            found = search(question)
            times.append(time.perf_counter() - begun)
            wanted = documents[paragraph]
            ranks.append(next((rank for rank, id in enumerate(found, 1) if document_of[id] == wanted), 0))
        curves[name] = [sum(0 < rank <= k for rank in ranks) / len(ranks) for k in range(1, FOUND + 1)]
        rows[name] = {f"recall_at_{k}": curves[name][k - 1] for k in DEPTHS} | {
            "mrr": sum(1 / rank for rank in ranks if rank) / len(ranks),
            "median_ms": statistics.median(times) * 1000,
        }
    better = [max(pair) for pair in zip(curves["words (tantivy)"], curves["vectors (FAISS)"], strict=True)]
    for name, row in rows.items():
        row["worst_loss"] = max(best - own for best, own in zip(better[:20], curves[name][:20], strict=True))
    return {
        "paragraphs": len(paragraphs),
        "passages": len(chunks),
        "n": len(questions),
        "indexing_s": indexing_s,
        "default_weights": VECTOR_WEIGHT,
        "systems": rows,
    }


def fill(
    library: Library,
    paragraphs: dict[str, str],
    documents: dict[str, str],
    encoder: Encoder,
    count_tokens: Callable[[Sequence[str]], list[int]],
    chunk_tokens: int,
) -> list[Chunk]:
    entries = []
    for text, title in paragraphs.items():
        id = documents[text]
        digest = hashlib.sha256(text.encode()).hexdigest()
        document = Document(id, f"/{id}", title, text, detect(text), digest, "text/plain")
        cut = chunk_document(document, count_tokens, limit=chunk_tokens)
        entries.append(Entry(document, cut, [text_digest(embedded_text(chunk)) for chunk in cut], ""))
    library.put(entries, embed([chunk for entry in entries for chunk in entry.chunks], encoder), encoder.name)
    return list(library.chunks(library.chunk_ids()).values())


def reciprocal_rank(rankings: Sequence[Sequence[int]]) -> list[int]:
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, id in enumerate(ranking, 1):
            scores[id] = scores.get(id, 0.0) + 1 / (60 + rank)
    return sorted(scores, key=lambda id: -scores[id])


def full_text_search(chunks: Sequence[Chunk]) -> Callable[[str], list[int]]:
    chinese = chunks[0].language == "zh"
    tokenizer = "trigram" if chinese else "porter unicode61"
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE VIRTUAL TABLE passages USING fts5(title, text, tokenize='{tokenizer}')")
    connection.executemany(
        "INSERT INTO passages (rowid, title, text) VALUES (?, ?, ?)",
        [(chunk.id, chunk.title, chunk.text) for chunk in chunks],
    )

    def search(query: str) -> list[int]:
        words = re.findall(r"\w+", query)
        if chinese:
            words = [word[index : index + 3] for word in words for index in range(max(1, len(word) - 2))]
        match = " OR ".join(f'"{word}"' for word in dict.fromkeys(words))
        statement = "SELECT rowid FROM passages WHERE passages MATCH ? ORDER BY bm25(passages) LIMIT ?"
        return [row[0] for row in connection.execute(statement, (match, FOUND))] if match else []

    return search


def show(figures: dict[str, Any]) -> None:
    print(f"{figures['paragraphs']} paragraphs, {figures['passages']} passages, {figures['n']} questions")
    columns = [*(f"recall_at_{k}" for k in DEPTHS), "mrr", "worst_loss", "median_ms"]
    print(f"{'':18}" + "".join(f"{column.replace('recall_at_', '@'):>12}" for column in columns))
    for name, row in figures["systems"].items():
        print(f"{name:18}" + "".join(f"{row[column]:12.4f}" for column in columns))


if __name__ == "__main__":
    main()
