"""Understanding a question in the light of what was said before.

"And when?" finds nothing in any document. Rules for each language (`english.py`, `chinese.py`) notice what a question
leaves out or points at, and write it out in full from the earlier questions and answers. Where several readings
are plausible, all are returned, and whoever searches keeps the one that the documents answer best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from botkit.conversations import chinese, english
from botkit.conversations.readings import Readings
from botkit.messages import Language, Turn
from botkit.text import LONGEST_QUERY

_LOOKED_BACK: Final = 6
"""Earlier questions that are themselves understood in context."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """A question in full.

    `query` is the likeliest reading and `alternatives` others worth a try; `antecedents` are the words taken from
    the conversation. `unresolved` tells that the question points at something, and nothing was said before;
    `bare` that it then tells too little by itself to be searched for; `contrast` is that of `Readings`.
    """

    query: str
    rewritten: bool = False
    unresolved: bool = False
    antecedents: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()
    bare: bool = False
    contrast: str = ""


class Contextualiser:
    """Resolves follow-up questions by rules; keeps nothing between calls, and takes well under a millisecond."""

    def resolve(self, question: str, history: Sequence[Turn], language: Language) -> Resolution:
        """Write `question` out in full; `history` is what was said before it, oldest first."""
        if len(question) > LONGEST_QUERY:  # no follow-up is that long
            return Resolution(question)
        rules = chinese if language == "zh" else english
        asked = ""
        before: list[Turn] = []
        first = _first_looked_at(history)
        for number, whole in enumerate(history):
            turn = Turn(whole.role, whole.text[:LONGEST_QUERY])
            if number >= first and turn.role == "user" and rules.is_question(turn.text):
                asked = _one(rules.rewrite, turn.text, asked, _answer(before)).query
            asked = whole.question[:LONGEST_QUERY] or asked  # of several readings, the one that was answered
            before.append(turn)
        found = _one(rules.rewrite, question, asked, _answer(before))
        return replace(found, bare=found.unresolved and not rules.says_enough(question))


def _one(rewrite: Callable[[str, str, str], Readings], question: str, asked: str, answer: str) -> Resolution:
    queries, antecedents, points, contrast = rewrite(question, asked, answer)
    different = [query for query in dict.fromkeys(queries) if query and query != question]
    if not different:
        return Resolution(question, unresolved=points and not asked)
    chosen, *others = different
    if question in queries:
        others.append(question)
    return Resolution(
        chosen,
        True,
        antecedents=tuple(antecedents),
        alternatives=tuple(dict.fromkeys(others)),
        contrast=contrast,
    )


def _first_looked_at(history: Sequence[Turn]) -> int:
    asked = [number for number, turn in enumerate(history) if turn.role == "user"]
    return asked[-_LOOKED_BACK] if len(asked) >= _LOOKED_BACK else 0


def _answer(before: Sequence[Turn]) -> str:
    """What the bot said last, if it spoke last."""
    return before[-1].text if before and before[-1].role == "bot" else ""
