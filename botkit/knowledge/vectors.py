"""Nearest neighbours of embeddings by FAISS: exact up to 200,000 vectors, an inverted file (IVF) beyond.

A flat index answers in 0.4 ms per thousand vectors of 384 dimensions on two cores and never misses; past `EXACT_UP_TO`
an inverted file with 4·√n lists, of which `_LISTS_SEARCHED` are searched, keeps a query in the low milliseconds.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Batch: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Chunk ids of shape (n,), each as often as it has vectors, and the vectors of shape (n, dimension)."""

EXACT_UP_TO = 200_000
_LISTS_SEARCHED = 32
_TRAINING_VECTORS_PER_LIST = 40
_VECTORS_PER_CHUNK = 4
"""Among so many vectors for each chunk that is wanted they are looked for: several near ones may be of one chunk."""
_MANIFEST = "vectors.json"
_log = logging.getLogger(__name__)


class VectorIndex:
    """The FAISS index in a folder, held in memory; empty where the folder has none or a damaged one.

    A manifest, replaced atomically after the index file is safely written, names the file, the library's `generation`
    and the `encoder`: a process killed at any moment leaves the old pair or the new one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.generation = 0
        self.encoder = ""
        self._index: Any = None
        self.reload()

    def reload(self) -> None:
        """Read what another process wrote, if it is another generation."""
        for _ in range(5):  # a writer may replace the pair between the two reads
            manifest = self._manifest()
            if manifest is None or manifest == (self.generation, self.encoder):
                return
            import faiss

            try:
                index = faiss.read_index(str(self._file(*manifest)))
            except RuntimeError as error:
                if self._manifest() == manifest:
                    _log.warning("The vector index is damaged and will be built anew: %s", error)
                    return
                continue
            self._index, (self.generation, self.encoder) = index, manifest
            return

    def __len__(self) -> int:
        """Number of vectors."""
        return 0 if self._index is None else int(self._index.ntotal)

    def ids(self) -> set[int]:
        """Ids of all chunks."""
        import faiss

        if not len(self):
            return set()
        if isinstance(self._index, faiss.IndexIVF):
            lists: Any = self._index.invlists
            parts = [
                faiss.rev_swig_ptr(lists.get_ids(n), lists.list_size(n))
                for n in range(lists.nlist)
                if lists.list_size(n)
            ]
            return {int(id) for part in parts for id in part}
        return {int(id) for id in faiss.vector_to_array(self._index.id_map)}

    def search(
        self, query: NDArray[np.float32], k: int, *, only: Sequence[int] | None = None
    ) -> list[tuple[int, float]]:
        """Up to `k` chunk ids with the cosine similarity of their best vector, best first; `query` has shape (dimension,)."""
        index = self._index
        if index is None or not index.ntotal or k < 1 or (only is not None and not len(only)):
            return []
        import faiss

        options: dict[str, Any] = {}
        if only is not None:
            options["sel"] = faiss.IDSelectorBatch(np.asarray(only, np.int64))
        parameters: Any
        if isinstance(index, faiss.IndexIVF):
            # A filter may let through only chunks of lists far from the query: then all lists are looked at.
            lists = min(index.nlist, _LISTS_SEARCHED if only is None else index.nlist)
            parameters = faiss.SearchParametersIVF(**(options | {"nprobe": lists}))
        else:
            parameters = faiss.SearchParameters(**options)
        wide = min(k * _VECTORS_PER_CHUNK, index.ntotal)
        scores, ids = index.search(query[None].astype(np.float32), wide, params=parameters)
        best: dict[int, float] = {}
        for id, score in zip(ids[0], scores[0], strict=True):
            if id >= 0:
                best.setdefault(int(id), float(score))
        return list(best.items())[:k]

    def update(
        self,
        removed: Iterable[int],
        added: Iterable[Batch],
        generation: int,
        encoder: str,
        *,
        anew: bool = False,
        expected: int = 0,
    ) -> None:
        """Drop and add vectors (given in batches of ids and rows), then write the index and its manifest.

        `expected` is the size after the update, from which the kind of index follows. The index that searches use
        meanwhile is not touched. Only the holder of the library's write lock may call this.
        """
        import faiss

        batches = added
        if anew or not len(self) or self.encoder != encoder:
            index, batches = _empty_index(expected, batches)
        else:
            index = faiss.clone_index(self._index)
        gone = np.fromiter(removed, np.int64)
        if gone.size:
            index.remove_ids(faiss.IDSelectorBatch(gone))
        for ids, rows in batches:
            index.add_with_ids(rows, ids)
        self._write(index, generation, encoder)
        self._index, self.generation, self.encoder = index, generation, encoder

    def suits(self, expected: int) -> bool:
        """Whether the present kind of index is right for so many vectors; if not it should be built anew."""
        import faiss

        large = isinstance(self._index, faiss.IndexIVF)
        return expected <= EXACT_UP_TO * 1.5 if not large else expected >= EXACT_UP_TO / 1.5

    def _write(self, index: Any, generation: int, encoder: str) -> None:
        import faiss

        self.folder.mkdir(parents=True, exist_ok=True)
        file = self._file(generation, encoder)
        temporary = file.with_suffix(".writing")
        faiss.write_index(index, str(temporary))
        _flush(temporary)
        temporary.replace(file)
        manifest = self.folder / (_MANIFEST + ".writing")
        manifest.write_text(json.dumps({"generation": generation, "encoder": encoder}), encoding="utf-8")
        _flush(manifest)
        manifest.replace(self.folder / _MANIFEST)
        for old in self.folder.glob("vectors-*"):
            if old != file:
                old.unlink(missing_ok=True)

    def _manifest(self) -> tuple[int, str] | None:
        try:
            value = json.loads((self.folder / _MANIFEST).read_text(encoding="utf-8"))
            return int(value["generation"]), str(value["encoder"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("The manifest of the vector index is damaged; it will be built anew: %s", error)
            return None

    def _file(self, generation: int, encoder: str) -> Path:
        return self.folder / f"vectors-{generation}-{hashlib.sha256(encoder.encode()).hexdigest()[:8]}.faiss"


def _empty_index(expected: int, batches: Iterable[Batch]) -> tuple[Any, Iterable[Batch]]:
    """A new index for so many vectors, and the batches: their first tell the dimension and train an inverted file."""
    import faiss

    lists = int(4 * expected**0.5) if expected > EXACT_UP_TO else 0
    sample: list[Batch] = []
    remaining = iter(batches)
    for batch in remaining:
        sample.append(batch)
        if sum(len(ids) for ids, _ in sample) >= lists * _TRAINING_VECTORS_PER_LIST:
            break
    dimension = sample[0][1].shape[1] if sample else 1
    flat = faiss.IndexFlatIP(dimension)
    if not lists:
        return faiss.IndexIDMap(flat), chain(sample, remaining)
    index = faiss.IndexIVFFlat(flat, dimension, lists, faiss.METRIC_INNER_PRODUCT)
    index.train(np.concatenate([rows for _, rows in sample]))
    return index, chain(sample, remaining)


def _flush(file: Path) -> None:
    with file.open("rb+") as handle:
        os.fsync(handle.fileno())
