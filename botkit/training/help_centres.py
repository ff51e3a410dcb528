"""Help-centre passages of invented organisations, and the questions people ask about them.

They were written for botkit, in English and in Chinese: public question sets ask about encyclopaedias in the words of the
paragraph, while people ask a help centre in their own. Each line of `help_centres/*.jsonl` is a passage with the
questions it answers (`plain` ones in its words, `paraphrase` ones in others) and near misses that it does not answer. One
organisation in seven is marked as held out, to validate and to calibrate on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from botkit.messages import Language

FOLDER: Final = Path(__file__).parent / "help_centres"


@dataclass(frozen=True)
class Asked:
    """A question and the place of its answer in the passage."""

    question: str
    start: int
    end: int
    kind: str


@dataclass(frozen=True)
class Passage:
    """A passage, what can be asked about it, and what cannot."""

    organisation: str
    heading: str
    text: str
    asked: tuple[Asked, ...]
    unanswerable: tuple[str, ...]

    def answer(self, asked: Asked) -> str:
        """The answer's text."""
        return self.text[asked.start : asked.end]


def help_centres(language: Language, *, held_out: bool = False, folder: Path = FOLDER) -> list[Passage]:
    """The passages in a language for training, or the held-out ones; never one organisation in both."""
    found = []
    for file in sorted(folder.glob(f"{language}*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row.get("held_out", False) != held_out:
                continue
            text = row["passage"]
            asked = []
            for question in row["questions"]:
                start = text.index(question["a"])
                asked.append(Asked(question["q"], start, start + len(question["a"]), question["kind"]))
            found.append(Passage(row["organisation"], row["heading"], text, tuple(asked), tuple(row["unanswerable"])))
    return found
