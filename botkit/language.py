"""Which of the two languages a text is in."""

from __future__ import annotations

import re
from collections.abc import Sequence

from botkit.messages import Language

_HAN = re.compile(r"[㐀-䶿一-鿿豈-﫿]")
_FEW_WORDS = 2
_LATIN_WORD = re.compile(r"[A-Za-zÀ-ɏ]+")


def detect(text: str, default: Language = "en") -> Language:
    """Chinese where Han characters outweigh Latin words, English otherwise.

    A Chinese word is about 1.6 characters, so the two are compared as words. A text with neither
    (digits, emoji) is in `default`.
    """
    han = len(_HAN.findall(text)) / 1.6
    latin = len(_LATIN_WORD.findall(text))
    if not han and not latin:
        return default
    return "zh" if han >= latin * 0.5 else "en"


def unmistakable(text: str) -> Language | None:
    """The language of a text, or None for a word or two without Han characters ("OK", "VIP?"), as people of both languages say."""
    return detect(text) if _HAN.search(text) or len(_LATIN_WORD.findall(text)) > _FEW_WORDS else None


def detect_in_conversation(text: str, earlier: Sequence[str], default: Language = "en") -> Language:
    """The language of a message after the same person's `earlier` ones, the latest of which comes last.

    A word or two do not leave the language of the conversation; `default` is for texts with no letters at all.
    """
    clear = (unmistakable(said) for said in (text, *reversed(earlier)))
    return next(filter(None, clear), detect(text, default))
