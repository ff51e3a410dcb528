"""Encyclopaedia passages with questions that they answer, and with questions that only look so.

They were written for botkit, in English and in Chinese. A question that a negation, a swapped name or an opposite leaves without an answer is
what SQuAD 2.0 (Rajpurkar et al. 2018) is made of, but the training data has a tenth of it, and its Chinese sets have none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from botkit.messages import Language
from botkit.training.help_centres import Passage, help_centres

FOLDER: Final = Path(__file__).parent / "articles"


def articles(language: Language, *, held_out: bool = False, folder: Path = FOLDER) -> list[Passage]:
    """The passages for training, or those of the held-out articles; `organisation` is an article's title."""
    return help_centres(language, held_out=held_out, folder=folder)
