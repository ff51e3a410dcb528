"""More training rows out of few: words replaced, dropped, swapped and misspelt.

After EDA (Wei and Zou 2019: synonym replacement, random swap, random deletion), with keyboard noise in the manner of
Belinkov and Bisk (2018) and unigram noise in the manner of Xie et al. (2017): a word may give way to another drawn by how
often it occurs, as a back-off language model would. Chinese is segmented with jieba. Reading rows change their question only,
so that answers stay where they are; dialogues and intents change what the person says.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args

from botkit.data.jsonl import read_text
from botkit.data.rows import Kind, Row, language_of
from botkit.errors import DataError, MissingExtraError
from botkit.messages import Language

Method = Literal["synonyms", "dropout", "noise", "swap", "typos"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)
SYNONYMS: Final = Path(__file__).with_name("synonyms.txt")
"""Everyday words, in English and Chinese; where no other file is given."""
_ENGLISH: Final = re.compile(r"\s+|[^\W_]+(?:['’][^\W_]+)?|[^\w\s]|_")
_NEIGHBOURS: Final = {
    letter: near
    for row in ("qwertyuiop", "asdfghjkl", "zxcvbnm")
    for letter, near in zip(row, [row[max(0, i - 1) : i] + row[i + 1 : i + 2] for i in range(len(row))], strict=True)
}


def words(text: str, language: Language) -> list[str]:
    """The text in pieces that join to it again: words, blanks and marks; Chinese words by jieba."""
    if language == "en":
        return _ENGLISH.findall(text)
    try:
        import logging

        import jieba
    except ImportError as error:
        raise MissingExtraError("Segmenting Chinese", "train") from error
    jieba.setLogLevel(logging.WARNING)
    return list(jieba.cut(text))


def read_synonyms(path: Path) -> dict[str, list[str]]:
    """A file of lines of words that may stand for each other, parted by tabs or commas."""
    found: dict[str, list[str]] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        group = list(dict.fromkeys(word.strip() for word in re.split(r"[\t,，、]", line) if word.strip()))
        if not group or line.startswith("#"):
            continue
        if len(group) < 2:
            raise DataError(f"{path}:{number}: a line needs two different words or more, parted by commas or tabs.")
        for word in group:
            found.setdefault(word.lower(), []).extend(other for other in group if other.lower() != word.lower())
    return found


class Augmenter:
    """Makes changed copies of rows. `strength` is the share of the words that change."""

    def __init__(
        self,
        rows: Sequence[Row],
        kind: Kind,
        methods: Sequence[Method],
        *,
        strength: float = 0.1,
        synonyms: Mapping[str, Sequence[str]] | None = None,
        seed: int = 1,
    ) -> None:
        if "synonyms" in methods and synonyms is None:
            synonyms = read_synonyms(SYNONYMS)
        self._kind: Kind = kind
        self._methods = list(methods)
        self._strength = strength
        self._synonyms = synonyms or {}
        self._random = random.Random(seed)
        self._common: dict[Language, tuple[list[str], list[int]]] = {}
        if "noise" in methods:
            counts: dict[Language, Counter[str]] = {"en": Counter(), "zh": Counter()}
            for row in rows:
                language = language_of(row.values, kind)
                for text in _changeable(row.values, kind):
                    counts[language].update(word for word in words(text, language) if _is_word(word))
            for language, counted in counts.items():
                if counted:
                    self._common[language] = (list(counted), list(counted.values()))

    def copies(self, row: Row, count: int) -> list[dict[str, Any]]:
        """At most `count` changed copies, none like the row or another; fewer where nothing can be changed."""
        language = language_of(row.values, self._kind)
        made: list[dict[str, Any]] = []
        known = [list(_changeable(row.values, self._kind))]
        for _ in range(count * 4):
            if len(made) == count:
                break
            changed = [self._change(text, language) for text in known[0]]
            if changed in known:
                continue
            known.append(changed)
            values = _with(row.values, self._kind, changed)
            if "id" in values:
                values["id"] = f"{values['id']}-a{len(made) + 1}"
            made.append(values)
        return made

    def _change(self, text: str, language: Language) -> str:
        pieces = words(text, language)
        method = self._random.choice(self._methods)
        places = [i for i, piece in enumerate(pieces) if _is_word(piece)]
        if method == "synonyms":
            places = [i for i in places if pieces[i].lower() in self._synonyms]
        if not places or (len(places) < 2 and method in ("dropout", "swap")):
            return text
        count = min(len(places), max(1, round(len(places) * self._strength)))
        for place in sorted(self._random.sample(places, count), reverse=True):
            word = pieces[place]
            if method == "synonyms":
                pieces[place] = _cased(self._random.choice(self._synonyms[word.lower()]), word)
            elif method == "dropout":
                gap = place + 1 < len(pieces) and pieces[place + 1].isspace()
                del pieces[place : place + 1 + gap]
            elif method == "noise" and language in self._common:
                pieces[place] = self._random.choices(*self._common[language])[0]
            elif method == "swap":
                other = self._random.choice([i for i in places if i != place])
                pieces[place], pieces[other] = pieces[other], pieces[place]
            elif method == "typos":
                pieces[place] = self._misspelt(word)
        return "".join(pieces).strip() or text

    def _misspelt(self, word: str) -> str:
        if len(word) < 2:
            return word
        at = self._random.randrange(len(word) - 1)
        kind = self._random.randrange(3)
        if kind == 0:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        if kind == 1:
            return word[:at] + word[at + 1 :]
        near = _NEIGHBOURS.get(word[at].lower())
        return word[:at] + self._random.choice(near) + word[at + 1 :] if near else word[:at] + word[at] + word[at:]


def _is_word(piece: str) -> bool:
    return any(c.isalpha() for c in piece)


def _cased(word: str, like: str) -> str:
    return word.capitalize() if like[:1].isupper() and like[1:].islower() else word


def _changeable(values: Mapping[str, Any], kind: Kind) -> list[str]:
    if kind == "reading":
        return [values["question"]]
    if kind == "intents":
        return list(values["questions"])
    return list(values["turns"][::2]) if kind == "dialogue" else [values["text"]]


def _with(values: Mapping[str, Any], kind: Kind, changed: Sequence[str]) -> dict[str, Any]:
    if kind == "reading":
        return {**values, "question": changed[0]}
    if kind == "intents":
        return {**values, "questions": list(changed)}
    if kind == "dialogue":
        turns = list(values["turns"])
        turns[::2] = changed
        return {**values, "turns": turns}
    return {**values, "text": changed[0]}
