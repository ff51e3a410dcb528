"""What came of each example, so that figures have intervals, two models can be compared, and weak slices show.

A file of predictions is JSON lines: `{"id", "scores": {figure: number}, "facets": {slice: value}, "wanted", "said", "text"}`. The mean
of a score over the lines is the figure of that name in the report.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from botkit.data.jsonl import objects, read_text, write_rows
from botkit.errors import DataError, MissingExtraError
from botkit.evaluation.metrics import classification_figures, mean
from botkit.messages import Language

Collect = Callable[["Scored"], None]
RESAMPLES: Final = 2_000
LEVEL: Final = 0.95
_SEED: Final = 1
_FEWEST: Final = 2

_QUESTION_WORDS: Final[dict[Language, tuple[tuple[str, str], ...]]] = {
    "en": tuple(
        (word, rf"\b{word}\b")
        for word in ("how many", "how much", "how", "who", "whom", "whose", "what", "when", "where", "which", "why")
    ),
    "zh": (
        ("为什么", "为什么|为何|怎么会"),
        ("多少", "多少|几(?!乎)|多大|多长|多久|多高|多远"),
        ("谁", "谁|何人|哪位"),
        ("何时", "何时|什么时候|哪年|哪天|何年"),
        ("哪里", "哪里|哪儿|何处|什么地方"),
        ("哪", "哪"),
        ("怎么", "怎么|怎样|如何"),
        ("什么", "什么|啥|何"),
        ("吗", "吗"),
    ),
}
IDENTITY_TERMS: Final[dict[Language, dict[str, tuple[str, ...]]]] = {
    "en": {
        "gender": ("woman", "man", "transgender person", "nonbinary person"),
        "orientation": ("gay", "lesbian", "straight", "bisexual"),
        "religion": ("Muslim", "Christian", "Jewish", "Buddhist", "Hindu", "atheist"),
        "origin": ("American", "Chinese", "African", "Mexican", "Polish", "Indian", "Turkish", "Arab"),
        "skin": ("black", "white", "Asian"),
        "age": ("young", "old", "elderly", "middle-aged"),
        "disability": ("blind", "deaf", "disabled", "autistic"),
    },
    "zh": {
        "gender": ("女人", "男人", "跨性别者"),
        "orientation": ("同性恋", "异性恋", "双性恋"),
        "religion": ("穆斯林", "基督徒", "佛教徒", "无神论者"),
        "origin": ("中国人", "美国人", "非洲人", "日本人", "印度人"),
        "age": ("年轻人", "老人", "中年人"),
        "disability": ("盲人", "聋人", "残疾人"),
    },
}


_PEOPLE: Final = (
    r"(?:m[ae]n|wom[ae]n|persons?|people|guys?|girls?|boys?|kids?|child(?:ren)?|folks?|couples?|lad(?:y|ies)|ones?)"
)
_IDENTITY_WORDS: Final = {
    "gender": re.compile(r"(?i)\b(?:m[ae]n|wom[ae]n|trans(?:gender)?|non-?binary)\b"),
    "orientation": re.compile(rf"(?i)\b(?:gays?|lesbians?|bisexuals?|straight {_PEOPLE})\b"),
    "religion": re.compile(r"(?i)\b(?:Muslims?|Christians?|Jew(?:s|ish)?|Buddhists?|Hindus?|atheists?)\b"),
    # where a small letter makes another word of it (polish, turkey, china), or may, the capital is asked for
    "origin": re.compile(
        r"\b(?:Americans?|Chinese|Africans?|Mexicans?|Polish|Poles?|Indians?|Turkish|Turks?|Arabs?)\b"
    ),
    "skin": re.compile(rf"(?i)\b(?:(?:black|white) {_PEOPLE}|Asians?)\b"),
    "age": re.compile(rf"(?i)\b(?:(?:young|old) {_PEOPLE}|elderly|middle-aged)\b"),
    "disability": re.compile(
        rf"(?i)\b(?:blind {_PEOPLE}|the blind|(?:is|are|was|were|am|be) blind|deaf|disabled|autistic)\b"
    ),
}
"""How the words of the groups in `IDENTITY_TERMS` are found in English: "old" alone may be said of shoes."""


@dataclass(frozen=True)
class Scored:
    """One example: its scores, the slices it belongs to, and (for classes) what was right and what was said.

    Of examples that are no classes `gold` is what would have been right, and `text` the question, an arrow, and what was said.
    """

    id: str
    scores: Mapping[str, float]
    facets: Mapping[str, str] = field(default_factory=dict)
    wanted: str = ""
    said: str = ""
    text: str = ""
    confidence: float | None = None
    gold: str = ""


def gold_of(answers: Iterable[str]) -> str:
    """What would have been right, each wording once."""
    return " / ".join(dict.fromkeys(answers)) or "(no answer)"


class ExampleIds:
    """Ids that depend on what an example is, not on where it stands: the same in a sample and in the whole file."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def of(self, *parts: str) -> str:
        """The id of an example with these texts; a repeated one gets a number."""
        key = hashlib.blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=6).hexdigest()
        self._seen[key] = number = self._seen.get(key, 0) + 1
        return key if number == 1 else f"{key}-{number}"


def write_predictions(path: Path, scored: Iterable[Scored]) -> int:
    """Write a file of predictions; it appears whole or not at all."""
    return write_rows(path, (asdict(one) for one in scored))


def read_predictions(path: Path) -> list[Scored]:
    """Read it again. Raises `DataError` naming the line."""
    found = []
    for line, row in objects(path, read_text(path)):
        try:
            scores = {str(name): float(value) for name, value in row["scores"].items()}
            if not scores or not all(map(math.isfinite, scores.values())):
                raise ValueError("scores must be numbers, at least one")
            facets = {str(name): str(value) for name, value in (row.get("facets") or {}).items()}
            known = {name: str(row[name]) for name in ("wanted", "said", "text", "gold") if name in row}
            sure = row.get("confidence")
            if sure is not None and not 0 <= float(sure) <= 1:
                raise ValueError(f"the confidence {sure} is not between 0 and 1")
            found.append(
                Scored(str(row["id"]), scores, facets, **known, confidence=None if sure is None else float(sure))
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{path}:{line}: no prediction ({error!r}). Write such files with `botkit evaluate … --predictions FILE`."
            ) from error
    return found


def figures(scored: Sequence[Scored]) -> dict[str, float]:
    """The mean of each score; for classes, the macro figures as well."""
    names = dict.fromkeys(name for one in scored for name in one.scores)
    found = {name: mean([one.scores[name] for one in scored if name in one.scores]) for name in names}
    return found | _macro(scored) if _of_classes(scored) else found


def intervals(scored: Sequence[Scored], *, level: float = LEVEL, resamples: int = RESAMPLES) -> dict[str, list[float]]:
    """[low, high] of each figure: percentile bootstrap over the examples (Efron 1979), by SciPy."""
    stats = _stats()
    found = {}
    for name in dict.fromkeys(name for one in scored for name in one.scores):
        values = np.array([one.scores[name] for one in scored if name in one.scores])
        if len(values) < _FEWEST or np.ptp(values) == 0:
            found[name] = [float(values.mean())] * 2
            continue
        made = stats.bootstrap(
            (values,), np.mean, confidence_level=level, n_resamples=resamples, method="percentile",
            batch=max(1, 2_000_000 // len(values)), rng=np.random.default_rng(_SEED),
        )  # fmt: skip
        found[name] = [float(made.confidence_interval.low), float(made.confidence_interval.high)]
    if _of_classes(scored):
        generator = np.random.default_rng(_SEED)
        labels = _labels(scored)
        place = {label: number for number, label in enumerate(labels)}
        wanted, said = (np.array([place[value] for value in values]) for values in _columns(scored))
        rows = [
            _macro_of(wanted[i], said[i], len(labels))
            for i in (generator.integers(0, len(scored), len(scored)) for _ in range(resamples))
        ]
        for name in rows[0]:
            low, high = np.quantile([row[name] for row in rows], [(1 - level) / 2, (1 + level) / 2])
            found[name] = [float(low), float(high)]
    return found


def compare(first: Sequence[Scored], second: Sequence[Scored], *, level: float = LEVEL) -> dict[str, Any]:
    """Whether the second is better, figure by figure, on the examples that both have.

    `difference` is second minus first with its paired-bootstrap interval; `p` is that of a paired permutation test
    (signs of the differences flipped at random), by SciPy. An id that stands twice is paired in order. Raises `DataError` where they
    share no examples, or do not agree on what an example is. A figure that only some of the examples have (of questions without an
    answer) is compared on these, two at least; `n` tells how many they are.
    """
    stats = _stats()
    by_id = _numbered(first)
    pairs = [(by_id[key], one) for key, one in _numbered(second).items() if key in by_id]
    if len(pairs) < _FEWEST:
        raise DataError("The two files share fewer than two examples (by id). Measure both on the same data.")
    for a, b in pairs:
        # what was said stands behind an arrow
        if a.wanted != b.wanted or a.text.partition(" → ")[0] != b.text.partition(" → ")[0]:
            raise DataError(f"The two files disagree on the example {b.id!r}. Measure both on the same data.")
    having = {
        name: [(a, b) for a, b in pairs if name in a.scores and name in b.scores]
        for name in dict.fromkeys(name for _, b in pairs for name in b.scores)
    }
    having = {name: both for name, both in having.items() if len(both) >= _FEWEST}
    if not having:
        raise DataError("The two files have no figure in common. Measure both with the same command.")
    report: dict[str, Any] = {
        "n": len(pairs),
        "only_first": len(first) - len(pairs),
        "only_second": len(second) - len(pairs),
    }
    told: dict[str, Any] = {}
    for name, both in having.items():
        before, after = (np.array([pair[side].scores[name] for pair in both]) for side in (0, 1))
        difference = after - before
        if np.ptp(difference) == 0:
            low = high = float(difference[0])
            p = 1.0 if low == 0 else 2.0 ** (1 - len(both))  # all signs alike: two of 2^n ways to flip them
        else:
            made = stats.bootstrap(
                (difference,), np.mean, confidence_level=level, n_resamples=RESAMPLES, method="percentile",
                batch=max(1, 2_000_000 // len(pairs)), rng=np.random.default_rng(_SEED),
            )  # fmt: skip
            low, high = float(made.confidence_interval.low), float(made.confidence_interval.high)
            p = float(
                stats.permutation_test(
                    (difference,), np.mean, permutation_type="samples", vectorized=True, n_resamples=RESAMPLES,
                    batch=max(1, 2_000_000 // len(pairs)), rng=np.random.default_rng(_SEED),
                ).pvalue
            )  # fmt: skip
        told[name] = {
            "first": float(before.mean()),
            "second": float(after.mean()),
            "difference": float(difference.mean()),
            "interval": [low, high],
            "p": p,
            "verdict": _verdict(low, high, p),
            "wins": int((difference > 0).sum()),
            "losses": int((difference < 0).sum()),
            "n": len(both),
        }
    if _of_classes([one for pair in pairs for one in pair]):
        told |= _compare_macro(pairs, level)
    return {**report, "figures": told}


def _verdict(low: float, high: float, p: float) -> str:
    """What interval and test say together: of very few examples the interval alone says too much."""
    shown = p <= 1 - LEVEL + 1e-9
    return "better" if low > 0 and shown else "worse" if high < 0 and shown else "no difference shown"


def _numbered(scored: Sequence[Scored]) -> dict[tuple[str, int], Scored]:
    """By id, and for an id that stands several times by its turn."""
    found: dict[tuple[str, int], Scored] = {}
    turns: dict[str, int] = {}
    for one in scored:
        turns[one.id] = turn = turns.get(one.id, 0) + 1
        found[one.id, turn] = one
    return found


def _compare_macro(pairs: Sequence[tuple[Scored, Scored]], level: float) -> dict[str, dict[str, Any]]:
    """The same of the macro figures: examples drawn anew for the interval, predictions exchanged at random for p (Noreen 1989)."""
    labels = sorted({label for pair in pairs for one in pair for label in (one.wanted, one.said)})
    place = {label: number for number, label in enumerate(labels)}
    wanted, before, after = (
        np.array([place[label] for label in column])
        for column in ([a.wanted for a, _ in pairs], [a.said for a, _ in pairs], [b.said for _, b in pairs])
    )
    generator = np.random.default_rng(_SEED)

    def differences(wanted: Any, before: Any, after: Any) -> dict[str, float]:
        first, second = (_macro_of(wanted, said, len(labels)) for said in (before, after))
        return {name: second[name] - first[name] for name in second}

    found = differences(wanted, before, after)
    drawn = []
    exchanged = []
    for _ in range(RESAMPLES):
        i = generator.integers(0, len(pairs), len(pairs))
        drawn.append(differences(wanted[i], before[i], after[i]))
        swap = generator.random(len(pairs)) < 0.5
        exchanged.append(differences(wanted, np.where(swap, after, before), np.where(swap, before, after)))
    first, second = (_macro_of(wanted, said, len(labels)) for said in (before, after))
    told = {}
    for name, difference in found.items():
        low, high = np.quantile([one[name] for one in drawn], [(1 - level) / 2, (1 + level) / 2])
        as_large = sum(abs(one[name]) >= abs(difference) - 1e-12 for one in exchanged)
        told[name] = {
            "first": first[name],
            "second": second[name],
            "difference": difference,
            "interval": [float(low), float(high)],
            "p": (p := min(1.0, (as_large + 1) / (RESAMPLES + 1))),
            "verdict": _verdict(float(low), float(high), p),
            "n": len(pairs),
            "wins": int(((after == wanted) & (before != wanted)).sum()),
            "losses": int(((after != wanted) & (before == wanted)).sum()),
        }
    return told


def slices(scored: Sequence[Scored], figure: str | None = None) -> dict[str, dict[str, dict[str, float]]]:
    """For each facet and each of its values, the figures of those examples; `figure` alone where it is named."""
    facets = dict.fromkeys(name for one in scored for name in one.facets)
    report: dict[str, dict[str, dict[str, float]]] = {}
    for facet in facets:
        groups: dict[str, list[Scored]] = {}
        for one in scored:
            if facet in one.facets:
                groups.setdefault(one.facets[facet], []).append(one)
        report[facet] = {
            value: {
                **{k: v for k, v in figures(group).items() if figure in (None, k)},
                "n": len(group),
            }
            for value, group in sorted(groups.items(), key=lambda item: -len(item[1]))
        }
    return report


def question_word(question: str, language: Language) -> str:
    """What is asked for: who, when, how many … or "other"."""
    text = question.lower()
    found = [
        (match.start(), name) for name, pattern in _QUESTION_WORDS[language] if (match := re.search(pattern, text))
    ]
    return min(found, key=lambda one: one[0])[1] if found else "other"  # of two at one place the first in the list


def bucket(length: int, edges: Sequence[int]) -> str:
    """The range that a length falls into: "0-9", "10-19", "20+"."""
    low = 0
    for edge in edges:
        if length < edge:
            return f"{low}-{edge - 1}"
        low = edge
    return f"{low}+"


def identity_groups(text: str, language: Language) -> list[str]:
    """The groups of people whose words are in a text."""
    found = []
    for group, terms in IDENTITY_TERMS[language].items():
        if any(term in text for term in terms) if language == "zh" else _IDENTITY_WORDS[group].search(text):
            found.append(group)
    return found


def _of_classes(scored: Sequence[Scored]) -> bool:
    return bool(scored) and all(one.wanted and one.said for one in scored)


def _columns(scored: Sequence[Scored]) -> tuple[list[str], list[str]]:
    return [one.wanted for one in scored], [one.said for one in scored]


def _labels(scored: Sequence[Scored]) -> list[str]:
    wanted, said = _columns(scored)
    return sorted({*wanted, *said})


def _macro(scored: Sequence[Scored]) -> dict[str, float]:
    wanted, said = _columns(scored)
    found = classification_figures(said, wanted, _labels(scored))
    del found["accuracy"]
    return found


def _macro_of(wanted: Any, said: Any, count: int) -> dict[str, float]:
    table = np.bincount(wanted * count + said, minlength=count * count).reshape(count, count)
    hits, told, there = table.diagonal(), table.sum(0), table.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = {"macro_precision": hits / told, "macro_recall": hits / there, "macro_f1": 2 * hits / (told + there)}
    occurring = told + there > 0
    return {name: float(np.nan_to_num(values[occurring]).mean()) for name, values in parts.items()}


def _stats() -> Any:
    try:
        from scipy import stats
    except ImportError as error:
        raise MissingExtraError("Intervals and comparisons", "train") from error
    return stats


def as_lines(scored: Sequence[Scored]) -> str:
    """The file's text, for tests and pipes."""
    return "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in scored)
