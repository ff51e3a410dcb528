"""Making the classes of labelled rows count alike: by more rows, by fewer, or by weights."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal, get_args

from botkit.data.rows import Row
from botkit.errors import DataError

Method = Literal["over", "under"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)


def balanced(rows: Sequence[Row], method: Method, *, seed: int = 1) -> list[Row]:
    """As many rows of every label as the most frequent has (over, by repeating) or the rarest has (under, by leaving out)."""
    generator = random.Random(seed)
    by_label: dict[str, list[Row]] = {}
    for row in rows:
        if "label" not in row.values:
            raise DataError(f"{row.place}: has no label. Only labelled rows can be balanced.")
        by_label.setdefault(str(row.values["label"]), []).append(row)
    sizes = [len(found) for found in by_label.values()]
    wanted = max(sizes) if method == "over" else min(sizes)
    chosen = []
    for found in by_label.values():
        if method == "under":
            chosen += generator.sample(found, wanted)
        else:
            chosen += found * (wanted // len(found)) + generator.sample(found, wanted % len(found))
    generator.shuffle(chosen)
    return with_groups(chosen)


def with_groups(rows: Sequence[Row]) -> list[Row]:
    """The rows, each with a `group` of its own and its copies, where they have none: what is split later keeps them together.

    Copies are rows of the same place.
    """
    if any("group" in row.values for row in rows):
        return list(rows)
    numbers = {place: str(number) for number, place in enumerate(dict.fromkeys(row.place for row in rows), 1)}
    return [Row({**row.values, "group": numbers[row.place]}, row.place) for row in rows]


def class_weights(labels: Sequence[str]) -> dict[str, float]:
    """What each class must weigh in the loss to count alike: n / (classes · n of the class), as scikit-learn's "balanced"."""
    counts = Counter(labels)
    return {label: len(labels) / (len(counts) * count) for label, count in sorted(counts.items())}
