"""Exact and near duplicates, found by MinHash with locality-sensitive hashing (Broder 1997), from `datasketch`."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Final

from botkit.errors import MissingExtraError

PERMUTATIONS: Final = 64
_SHINGLE: Final = {"en": 5, "zh": 3}
_SEED: Final = 7


def folded(text: str) -> str:
    """What exact duplicates are compared by: lower case, one width, no punctuation, single blanks."""
    kept = "".join(c if unicodedata.category(c)[0] not in "PSC" else " " for c in unicodedata.normalize("NFKC", text))
    return " ".join(kept.lower().split())


def shingles(text: str) -> set[bytes]:
    """Overlapping runs of characters of the folded text: five, or three where it is mostly not ASCII."""
    text = folded(text)
    size = _SHINGLE["en" if sum(c.isascii() for c in text) * 2 > len(text) else "zh"]
    return {text[i : i + size].encode() for i in range(max(1, len(text) - size + 1))}


class NearDuplicates:
    """Texts seen so far; tells which of them a new one is like, by the Jaccard similarity of their shingles."""

    def __init__(self, threshold: float) -> None:
        try:
            from datasketch import MinHash, MinHashLSH
        except ImportError as error:
            raise MissingExtraError("Finding near duplicates", "train") from error
        self._minhash: Any = MinHash
        self.threshold = threshold
        # the index lets somewhat less alike ones pass; they are then compared exactly
        self._index: Any = MinHashLSH(threshold=max(0.1, threshold - 0.1), num_perm=PERMUTATIONS)
        self._seen: list[set[bytes]] = []

    def like(self, text: str) -> int | None:
        """The number, from 0, of an earlier text that is at least as similar as the threshold; the text is then not kept."""
        pieces = shingles(text)
        sketch = self._minhash(num_perm=PERMUTATIONS, seed=_SEED)
        sketch.update_batch(sorted(pieces))
        for candidate in sorted(self._index.query(sketch)):
            other = self._seen[candidate]
            if len(pieces & other) >= self.threshold * len(pieces | other):
                return int(candidate)
        self._index.insert(len(self._seen), sketch)
        self._seen.append(pieces)
        return None


def shared(first: Iterable[str], second: Sequence[str], threshold: float) -> list[tuple[int, int]]:
    """Pairs (number in `second`, number among the distinct of `first`) of texts that are alike."""
    index = NearDuplicates(threshold)
    place: dict[int, int] = {}
    for number, text in enumerate(first):
        if index.like(text) is None:
            place[len(place)] = number
    known = len(place)
    pairs = []
    for number, text in enumerate(second):
        found = index.like(text)
        if found is not None and found < known:
            pairs.append((number, place[found]))
    return pairs
