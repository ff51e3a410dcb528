"""Training rows that come with botkit: `builtin:help-centres/en`, `builtin:help-centres/zh`, `builtin:tones`, `builtin:films`.

With `:held-out` at the end, the part that no shipped model was trained on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, cast

from botkit.data.rows import Kind, Row, check
from botkit.errors import DataError
from botkit.messages import Language
from botkit.training.help_centres import help_centres
from botkit.training.recipe import BUILTIN_DATA

TONES: Final = Path(__file__).parent / "tones.jsonl"
"""Lines said to a shop, written for botkit; every fifth is held out."""
FILMS: Final = Path(__file__).parent / "films.jsonl"
"""Sentences of film critics, many of whose tone lies in no single word, written for botkit; a part is marked as held out."""
_HELD_OUT: Final = ":held-out"
_NAMES: Final[dict[str, Kind]] = {
    "help-centres/en": "reading",
    "help-centres/zh": "reading",
    "tones": "labelled",
    "films": "labelled",
}


def builtin_rows(name: str, kind: Kind) -> list[Row]:
    """The rows of a name that begins with `builtin:`; raises `DataError` for one that there is not, or of another kind."""
    asked = name.removeprefix(BUILTIN_DATA)
    held_out, asked = asked.endswith(_HELD_OUT), asked.removesuffix(_HELD_OUT)
    if asked not in _NAMES:
        known = ", ".join(BUILTIN_DATA + one for one in _NAMES)
        raise DataError(f"{name}: there is no such data; there are {known}, each also with {_HELD_OUT}.")
    if _NAMES[asked] != kind:
        raise DataError(f"{name}: holds {_NAMES[asked]} rows; this task learns from {kind} rows.")
    if asked in ("tones", "films"):
        found = (tones if asked == "tones" else films)(held_out=held_out)
    else:
        found = _help_centres(cast("Language", asked[-2:]), held_out)
    rows = [Row(values, f"{name}:{number}") for number, values in enumerate(found, 1)]
    for row in rows:
        check(row.values, kind, row.place)
    return rows


def _help_centres(language: Language, held_out: bool) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for passage in help_centres(language, held_out=held_out):
        shared = {"title": passage.organisation, "context": passage.text, "lang": language}
        for asked in passage.asked:
            answers = [{"text": passage.answer(asked), "start": asked.start}]
            found.append({"question": asked.question, "answers": answers, **shared})
        found += [{"question": near, "answers": [], **shared} for near in passage.unanswerable]
    return found


def tones(*, held_out: bool = False) -> list[dict[str, Any]]:
    """Rows of `TONES`."""
    lines = TONES.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for number, line in enumerate(lines) if (number % 5 == 2) == held_out]


def films(*, held_out: bool = False) -> list[dict[str, Any]]:
    """Rows of `FILMS`; none of the held-out ones begins with the three words that another begins with."""
    rows = [json.loads(line) for line in FILMS.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if row.pop("held_out", False) == held_out]
