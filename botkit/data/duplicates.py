"""Exact and near duplicates, found by MinHash with locality-sensitive hashing (Broder 1997), from `datasketch`."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Final

from botkit.data.rows import Kind, main_text
from botkit.errors import MissingExtraError

PERMUTATIONS: Final = 64
_SHINGLE: Final = {"en": 5, "zh": 3}
_SEED: Final = 7
_DIVIDING: Final = frozenset(".,;!?…、。，；！？·\"'`“”‘’「」『』《》")


def folded(text: str) -> str:
    """What exact duplicates are compared by: lower case, one width, no marks that only divide, single blanks.

    Other marks stay: 👍 is not 👎, nor :) the same as :(, nor C++ as C#.
    """
    normal = unicodedata.normalize("NFKC", text).lower()
    kept = "".join(" " if c in _DIVIDING or unicodedata.category(c)[0] == "C" else c for c in normal)
    return " ".join(kept.split()) or " ".join(normal.split())


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
        self._seen: list[tuple[set[bytes], Hashable]] = []

    @property
    def count(self) -> int:
        """Texts that were kept."""
        return len(self._seen)

    def like(self, text: str, within: Hashable = None) -> int | None:
        """The number, from 0, of an earlier text that is at least as similar as the threshold; the text is then not kept.

        Only texts that were given with the same `within` are compared.
        """
        pieces = shingles(text)
        sketch = self._minhash(num_perm=PERMUTATIONS, seed=_SEED)
        sketch.update_batch(sorted(pieces))
        for candidate in sorted(self._index.query(sketch)):
            other, scope = self._seen[candidate]
            if scope == within and len(pieces & other) >= self.threshold * len(pieces | other):
                return int(candidate)
        self._index.insert(len(self._seen), sketch)
        self._seen.append((pieces, within))
        return None


class AlikeRows:
    """Rows seen so far; tells which of them a new one is like.

    Reading rows are alike where the same answer is asked for, in like words, of a like context: another question about a
    passage is no duplicate, however long the passage.
    """

    def __init__(self, kind: Kind, threshold: float, *, by_label: bool = False) -> None:
        """With `by_label`, rows of another label, or intents with other replies, are no duplicates: "not" may be all that differs."""
        self._kind: Kind = kind
        self._by_label = by_label
        self._texts = NearDuplicates(threshold)
        self._contexts = NearDuplicates(threshold)
        self._numbers: dict[str, int] = {}

    def like(self, values: Mapping[str, Any]) -> int | None:
        """The number, from 0, of an earlier row that this one is like; the row is then not kept."""
        if self._kind != "reading":
            within = json.dumps(values.get("label", values.get("answers")), sort_keys=True) if self._by_label else None
            return self._texts.like(main_text(values, self._kind), within)
        answers = tuple(sorted(folded(answer["text"]) for answer in values["answers"]))
        return self._texts.like(values["question"], (self._context(values["context"]), answers))

    def _context(self, context: str) -> int:
        if context not in self._numbers:
            known = self._contexts.like(context)
            self._numbers[context] = self._contexts.count - 1 if known is None else known
        return self._numbers[context]


def shared(
    first: Iterable[Mapping[str, Any]], second: Iterable[Mapping[str, Any]], kind: Kind, threshold: float
) -> list[tuple[int, int]]:
    """Pairs (number in `second`, number among the distinct of `first`) of rows that are alike."""
    index = AlikeRows(kind, threshold)
    place: dict[int, int] = {}
    for number, values in enumerate(first):
        if index.like(values) is None:
            place[len(place)] = number
    known = len(place)
    pairs = []
    for number, values in enumerate(second):
        found = index.like(values)
        if found is not None and found < known:
            pairs.append((number, place[found]))
    return pairs
