"""Splitting data: at random, stratified, in k folds, by time, by group; and looking for leaks between the parts.

The splitters are scikit-learn's. Each returns the numbers of the rows in each part, in their original order.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final, Literal, get_args

from botkit.data.duplicates import folded, shared
from botkit.data.rows import Kind, Row, as_time, main_text
from botkit.errors import DataError, MissingExtraError

Method = Literal["random", "stratified", "time", "group"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)
Parts = dict[str, list[int]]


@dataclass(frozen=True)
class Leak:
    """Two rows, or one group, in two parts of a split."""

    kind: Literal["same text", "alike", "same passage", "same group"]
    first: str
    second: str
    places: tuple[str, str]


def split(
    rows: Sequence[Row], shares: Mapping[str, float], method: Method = "random", *, key: str = "", seed: int = 1
) -> Parts:
    """Parts by share: {"train": 0.8, "valid": 0.1, "test": 0.1}; the shares must add up to 1.

    `key` is the field of the label (stratified; default `label`), time (`time`) or group (`group`). Raises `DataError` where a
    row lacks the field, or a part would be empty.
    """
    if not math.isclose(sum(shares.values()), 1.0, abs_tol=1e-6) or any(share <= 0 for share in shares.values()):
        raise DataError(
            f"The shares must be above 0 and add up to 1; {_shown(shares)} add up to {sum(shares.values()):g}."
        )
    if len(rows) < len(shares):
        raise DataError(f"{len(rows)} rows cannot be split into {len(shares)} parts.")
    if method == "time":
        parts = _by_time(rows, shares, key or "time")
    elif method == "group":
        parts = _by_group(rows, shares, _values(rows, key or "group", hint="group"), seed)
    else:
        strata = _values(rows, key or "label", hint="stratified") if method == "stratified" else None
        parts = _at_random(rows, shares, strata, seed)
    for name, numbers in parts.items():
        if not numbers:
            raise DataError(f"The part {name} would be empty. Give it a larger share, or more rows.")
    return {name: sorted(numbers) for name, numbers in parts.items()}


def folds(rows: Sequence[Row], k: int, method: Method = "random", *, key: str = "", seed: int = 1) -> list[Parts]:
    """k pairs of train and valid; each row is in valid once.

    By time, each valid part lies after its training rows, rows of one moment are together, and the first ones are only trained on.
    """
    sklearn = _sklearn()
    if not 2 <= k <= len(rows):
        raise DataError(f"{k} folds of {len(rows)} rows: k must be at least 2, and no more than the rows.")
    numbers = list(range(len(rows)))
    if method == "time":
        order = _time_order(rows, key or "time")
        if len(rows) <= k:
            raise DataError(f"{len(rows)} rows cannot be split {k} times by time.")
        times = [_time(rows[number], key or "time") for number in order]
        cuts = [_whole_moment(times, int(valid[0])) for _, valid in sklearn.TimeSeriesSplit(n_splits=k).split(order)]
        ends = [*cuts[1:], len(order)]
        if any(begin >= end for begin, end in zip(cuts, ends, strict=True)):
            raise DataError(f"Too many of the {len(rows)} rows are of one moment to be split {k} times by time.")
        return [
            {"train": sorted(order[:begin]), "valid": sorted(order[begin:end])}
            for begin, end in zip(cuts, ends, strict=True)
        ]
    if method == "group":
        groups = _values(rows, key or "group", hint="group")
        if len(set(groups)) < k:
            raise DataError(f"{len(set(groups))} groups cannot make {k} folds.")
        cut = sklearn.GroupKFold(n_splits=k, shuffle=True, random_state=seed).split(numbers, groups=groups)
    elif method == "stratified":
        strata = _values(rows, key or "label", hint="stratified")
        _enough(strata, k)
        cut = sklearn.StratifiedKFold(n_splits=k, shuffle=True, random_state=seed).split(numbers, strata)
    else:
        cut = sklearn.KFold(n_splits=k, shuffle=True, random_state=seed).split(numbers)
    return [{"train": sorted(map(int, a)), "valid": sorted(map(int, b))} for a, b in cut]


def leaks(rows: Sequence[Row], kind: Kind, parts: Parts, *, key: str = "", near: float | None = 0.9) -> list[Leak]:
    """Rows of one part whose text, or nearly their text, or whose group is in another.

    Of reading rows the passages are compared as well: one that is in two parts is told once, as "same passage".
    """
    found = []
    names = list(parts)
    for at, first in enumerate(names):
        for second in names[at + 1 :]:
            texts = {name: [main_text(rows[i].values, kind) for i in parts[name]] for name in (first, second)}
            by_text = {folded(text): number for number, text in zip(parts[first], texts[first], strict=True)}
            same = set()
            for number, text in zip(parts[second], texts[second], strict=True):
                other = by_text.get(folded(text))
                if other is not None:
                    same.add(number)
                    found.append(Leak("same text", first, second, (rows[other].place, rows[number].place)))
            if near:
                values = {name: [rows[i].values for i in parts[name]] for name in (first, second)}
                for there, here in shared(values[first], values[second], kind, near):
                    if parts[second][there] not in same:
                        places = (rows[parts[first][here]].place, rows[parts[second][there]].place)
                        found.append(Leak("alike", first, second, places))
            if kind == "reading":
                contexts = {folded(rows[i].values["context"]): rows[i].place for i in reversed(parts[first])}
                for number in parts[second]:
                    other_place = contexts.pop(folded(rows[number].values["context"]), None)
                    if other_place:
                        found.append(Leak("same passage", first, second, (other_place, rows[number].place)))
            if key:
                groups = {str(rows[i].values.get(key)): rows[i].place for i in parts[first] if key in rows[i].values}
                told = set()
                for number in parts[second]:
                    group = str(rows[number].values.get(key))
                    if key in rows[number].values and group in groups and group not in told:
                        told.add(group)
                        found.append(Leak("same group", first, second, (groups[group], rows[number].place)))
    return found


def _at_random(rows: Sequence[Row], shares: Mapping[str, float], strata: list[str] | None, seed: int) -> Parts:
    sklearn = _sklearn()
    rest, left, parts = list(range(len(rows))), 1.0, {}
    names = list(shares)
    for name in reversed(names[1:]):
        of_rest = [strata[i] for i in rest] if strata else None
        if of_rest:
            _enough(of_rest, 2)
        wanted = max(1, round(len(rows) * shares[name]))
        try:
            rest, chosen = sklearn.train_test_split(rest, test_size=wanted, random_state=seed, stratify=of_rest)
        except ValueError as error:
            raise DataError(f"The part {name} of {wanted} rows cannot be drawn: {error}") from error
        left -= shares[name]
        parts[name] = list(chosen)
    parts[names[0]] = list(rest)
    return {name: parts[name] for name in names}


def _by_group(rows: Sequence[Row], shares: Mapping[str, float], groups: list[str], seed: int) -> Parts:
    """Whole groups, the largest first, each to the part that lacks most of its share; ties by the seed."""
    import random

    members = defaultdict(list)
    for number, group in enumerate(groups):
        members[group].append(number)
    if len(members) < len(shares):
        raise DataError(f"{len(members)} groups cannot be split into {len(shares)} parts.")
    order = sorted(members)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda group: -len(members[group]))
    parts: Parts = {name: [] for name in shares}
    for group in order:
        empty = [name for name in shares if not parts[name]]
        lacking = empty if len(empty) >= len(order) - order.index(group) else list(shares)
        name = max(lacking, key=lambda one: shares[one] * len(rows) - len(parts[one]))
        parts[name] += members[group]
    return parts


def _by_time(rows: Sequence[Row], shares: Mapping[str, float], key: str) -> Parts:
    order = _time_order(rows, key)
    times = [_time(rows[number], key) for number in order]
    parts: Parts = {}
    begin, total = 0, 0.0
    for name, share in shares.items():
        total += share
        end = len(order) if name == list(shares)[-1] else round(len(order) * total)
        if end > begin:
            end = _whole_moment(times, end)
        parts[name] = order[begin:end]
        begin = end
    return parts


def _whole_moment(times: Sequence[datetime], end: int) -> int:
    """The place from `end` on, in a row of times, at which another moment begins: rows of one stay together."""
    while 0 < end < len(times) and times[end] == times[end - 1]:
        end += 1
    return end


def _time_order(rows: Sequence[Row], key: str) -> list[int]:
    times = [_time(row, key) for row in rows]
    return sorted(range(len(rows)), key=lambda i: (times[i], i))


def _time(row: Row, key: str) -> datetime:
    value = row.values.get(key)
    try:
        found = value if isinstance(value, datetime) else as_time(str(value))
    except ValueError as error:
        raise DataError(f"{row.place}: `{key}` is {value!r}, not a time (2026-11-23T10:00:00).") from error
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def _values(rows: Sequence[Row], key: str, hint: str) -> list[str]:
    found = []
    for row in rows:
        if row.values.get(key) in (None, ""):
            raise DataError(f"{row.place}: has no `{key}`, which a {hint} split needs. Name another field with --key.")
        found.append(str(row.values[key]))
    return found


def _enough(strata: Sequence[str], least: int) -> None:
    counts: dict[str, int] = defaultdict(int)
    for one in strata:
        counts[one] += 1
    rare = [f"{one} ({count})" for one, count in counts.items() if count < least]
    if rare:
        raise DataError(f"Too few rows to stratify by: {', '.join(rare)}; each needs at least {least}.")


def _shown(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share:g}" for name, share in shares.items())


def _sklearn() -> Any:
    try:
        from sklearn import model_selection
    except ImportError as error:
        raise MissingExtraError("Splitting data", "train") from error
    return model_selection
