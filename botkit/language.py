"""Which of the two languages a text is in."""

from __future__ import annotations

import re

from botkit.messages import Language

_HAN = re.compile(r"[㐀-䶿一-鿿豈-﫿]")
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
