"""Questions that a passage seems to answer and does not: an answerable one with one thing in it changed.

The unanswerable questions of SQuAD 2.0 (Rajpurkar et al. 2018, table 2) mostly come from answerable ones by negation, an
antonym, or another name or number. There are few in the training data; these are made the same way.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Final

_PAIRS: Final = """
first last; before after; early late; earliest latest; earlier later; largest smallest; larger smaller; large small; big
small; most least; more less; more fewer; highest lowest; higher lower; high low; north south; northern southern; east west;
eastern western; oldest youngest; older younger; old new; old young; begin end; began ended; start finish; started ended;
open close; opened closed; increase decrease; increased decreased; rise fall; win lose; won lost; winner loser; buy sell;
bought sold; above below; inside outside; internal external; male female; men women; man woman; son daughter; father mother;
brother sister; king queen; husband wife; public private; major minor; main secondary; primary secondary; positive negative;
strong weak; stronger weaker; strongest weakest; fast slow; faster slower; fastest slowest; long short; longer shorter; longest
shortest; wide narrow; deep shallow; heavy light; hot cold; hottest coldest; warm cool; rich poor; best worst; better worse;
good bad; support oppose; supported opposed; accept reject; accepted rejected; allow forbid; allowed forbade; allowed
forbidden; include exclude; included excluded; add remove; added removed; build destroy; built destroyed; created destroyed;
arrive leave; arrived left; enter leave; entered left; join leave; joined left; attack defend; attacked defended; born
buried; dead alive; present absent; common rare; usually rarely; often rarely; always never; easy difficult; simple complex; modern
ancient; domestic foreign; urban rural; formal informal; legal illegal; direct indirect; known unknown; similar different;
same different; advantage disadvantage; benefits costs; cause prevent; caused prevented; gain lose; gained lost; maximum
minimum; upper lower; top bottom; left right; front back; majority minority; democratic authoritarian; day night; summer winter;
spring autumn; morning evening; import export; imported exported; married divorced; employed unemployed; success failure
"""
ANTONYMS: Final[dict[str, tuple[str, ...]]] = {}
for _pair in " ".join(_PAIRS.split()).split("; "):
    for _word, _other in (_pair.split(), _pair.split()[::-1]):
        ANTONYMS[_word] = (*ANTONYMS.get(_word, ()), _other)

_NUMBER: Final = re.compile(r"(?<![\w.,])\d[\d,.]*(?<![.,])(?!\w)")
_WORD: Final = re.compile(r"[A-Za-z]+")
_VERB: Final = re.compile(
    r"\b(is|are|was|were|does|do|did|has|have|had|can|could|will|would|should|must|may|might)\b", re.IGNORECASE
)
_NAME: Final = re.compile(r"(?:[A-Z][\w'-]+)(?: (?:of |the |de )?[A-Z][\w'-]+)*")


def altered_question(question: str, answer: str, texts: Sequence[str], generator: random.Random) -> str | None:
    """The question with a number, a name or a word changed, or negated; None where nothing in it can be.

    `texts` are passages of the same article, where other names and numbers are looked for; the answer is not put
    into the question.
    """
    ways: list[Callable[[], str | None]] = [
        lambda: _other_number(question, answer, texts, generator),
        lambda: _other_name(question, answer, texts, generator),
        lambda: _antonym(question, generator),
    ]
    generator.shuffle(ways)
    if generator.random() < 0.12:
        ways.insert(0, lambda: _negated(question))
    return next((made for made in (way() for way in ways) if made and made != question), None)


def _swap(text: str, start: int, end: int, new: str) -> str:
    return text[:start] + new + text[end:]


def _names(text: str) -> list[str]:
    """Capitalised words, one or several, but for those that begin a sentence."""
    return [
        match.group()
        for match in _NAME.finditer(text)
        if not re.search(r"(^|[.!?:\n]\s*)[\"'(]?$", text[: match.start()][-4:])
    ]


def _other_number(question: str, answer: str, texts: Sequence[str], generator: random.Random) -> str | None:
    found = list(_NUMBER.finditer(question))
    if not found:
        return None
    old = generator.choice(found)
    taken = {*_NUMBER.findall(question), *_NUMBER.findall(answer)}
    pool = {number for text in texts for number in _NUMBER.findall(text)} - taken
    like = sorted(number for number in pool if len(number) == len(old.group()))
    if like:
        return _swap(question, *old.span(), generator.choice(like))
    if not old.group().isdigit():
        return None
    near = [str(int(old.group()) + by) for by in (-7, -4, -2, 2, 3, 6, 10) if int(old.group()) + by > 1]
    return _swap(question, *old.span(), generator.choice([number for number in near if number not in taken]))


def _other_name(question: str, answer: str, texts: Sequence[str], generator: random.Random) -> str | None:
    first = _WORD.match(question)
    names = [match for match in _NAME.finditer(question) if first is None or match.start() >= first.end()]
    if not names:
        return None
    old = generator.choice(names)
    pool = {
        name
        for text in texts
        for name in _names(text)
        if name.lower() not in question.lower() and name not in answer and answer not in name
    }
    words = len(old.group().split())
    like = sorted(name for name in pool if abs(len(name.split()) - words) <= 1)
    return _swap(question, *old.span(), generator.choice(like)) if like else None


def _antonym(question: str, generator: random.Random) -> str | None:
    found = [match for match in _WORD.finditer(question) if match.group() in ANTONYMS]
    if not found:
        return None
    old = generator.choice(found)
    return _swap(question, *old.span(), generator.choice(ANTONYMS[old.group()]))


def _negated(question: str) -> str | None:
    verb = _VERB.search(question)
    if not verb or "not" in question.lower().split() or "n't" in question:
        return None
    short = {"can": "can't", "will": "won't", "may": "may not", "might": "might not"}
    word = verb.group()
    new = short.get(word.lower(), f"{word}n't")
    return _swap(question, *verb.span(), new if word[0].islower() else new[0].upper() + new[1:])
