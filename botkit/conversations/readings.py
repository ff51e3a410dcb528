"""What the rules of a language make of a follow-up question."""

from __future__ import annotations

from typing import NamedTuple


class Readings(NamedTuple):
    """Ways to write a question out in full, likeliest first, and the words taken from the conversation for it.

    `points` tells that the question points back at something; `contrast` is what it asks the earlier question of instead
    ("furniture" in "And furniture?"), where the earlier answer is hardly meant, or "".
    """

    queries: list[str]
    antecedents: list[str]
    points: bool
    contrast: str = ""
