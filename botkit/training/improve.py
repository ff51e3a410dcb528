"""Learning from use: rated replies become examples, a person reviews them, a candidate is trained and must prove itself.

An 👍 on an answer proposes its question, passage and span; a 👎 proposes the same passage as one that does not answer. Nothing is
learnt that nobody accepted. One accepted example in four is kept for the comparison and never trained on.
"""

from __future__ import annotations

import zlib
from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from botkit.data.jsonl import objects, read_text, write_rows
from botkit.data.rows import check
from botkit.errors import DataError, ModelError

Decision = Literal["open", "accepted", "rejected"]
PROPOSALS: Final = "proposals.jsonl"
HISTORY: Final = "promotions.jsonl"
_EVERY: Final = 4


@dataclass(frozen=True)
class Proposal:
    """An example that a rated reply suggests. `answer` is empty where the passage does not answer the question."""

    id: str
    question: str
    passage: str
    title: str
    answer: str
    start: int
    rating: int
    note: str
    decision: Decision = "open"

    @property
    def evaluates(self) -> bool:
        """Whether this example is for the comparison instead of the training; decided by its question."""
        return zlib.crc32(self.question.encode()) % _EVERY == 0

    def row(self) -> dict[str, Any]:
        """A reading row. Raises `DataError` where the answer is not in the passage."""
        answers = [{"text": self.answer, "start": self.start}] if self.answer else []
        values = {
            "id": self.id,
            "title": self.title,
            "question": self.question,
            "context": self.passage,
            "answers": answers,
        }
        check(values, "reading", f"proposal {self.id}")
        return values

    def answered(self, answer: str) -> Proposal:
        """The proposal with another answer; raises `DataError` where the passage has no such words."""
        start = self.passage.find(answer)
        if start < 0:
            raise DataError(
                f"The passage does not have the words {answer!r}; an answer is taken from it word for word."
            )
        return replace(self, answer=answer, start=start)


def propose(turns: Iterable[Mapping[str, Any]]) -> list[Proposal]:
    """Proposals from the turns of `botkit conversations export`, oldest first; one for each rated answer with a source."""
    found: dict[str, Proposal] = {}
    asked: dict[str, str] = {}
    for turn in turns:
        if turn.get("role") == "user":
            asked[str(turn["conversation"])] = str(turn["text"])
            continue
        sources = turn.get("sources") or []
        question = asked.get(str(turn.get("conversation")), "")
        if turn.get("rating") not in (1, -1) or turn.get("route") != "answer" or not sources or not question.strip():
            continue
        source = sources[0]
        passage, span = str(source.get("passage", "")), str(source.get("span", ""))
        start = int(source.get("start", 0)) - int(source.get("passage_start", 0))
        if passage[start : start + len(span)] != span:
            start = passage.find(span)
        if not span or start < 0:
            continue
        good = turn["rating"] == 1
        key = format(zlib.crc32(f"{question}\n{passage}".encode()), "08x")
        found[key] = Proposal(
            key, question, passage, str(source.get("title", "")), span if good else "", start if good else 0,
            int(turn["rating"]), str(turn.get("note") or ""),
        )  # fmt: skip
    return list(found.values())


def read_proposals(folder: Path) -> list[Proposal]:
    """The proposals of a folder with what was decided; none where nothing was collected yet."""
    file = folder / PROPOSALS
    if not file.is_file() or not file.stat().st_size:
        return []
    found = []
    for line, row in objects(file, read_text(file)):
        try:
            found.append(Proposal(**row))
        except TypeError as error:
            raise DataError(f"{file}:{line}: not a proposal ({error}).") from error
    return found


def write_proposals(folder: Path, proposals: Iterable[Proposal]) -> None:
    """Keep them; the file is replaced whole."""
    write_rows(folder / PROPOSALS, (asdict(one) for one in proposals))


def keep_only(folder: Path, left: Iterable[Proposal], ids: Container[str]) -> None:
    """Take the proposals of `ids` out, and their rows out of what was written for training.

    Of those that others asked for as well (`left`), the notes are those of the others.
    """
    notes = {one.id: one.note for one in left}
    kept = [replace(one, note=notes.get(one.id, one.note)) for one in read_proposals(folder) if one.id not in ids]
    write_proposals(folder, kept)
    for name in ("train", "valid"):
        file = folder / f"{name}.jsonl"
        if file.is_file() and file.stat().st_size:
            write_rows(file, [row for _, row in objects(file, read_text(file)) if row.get("id") not in ids])


def merge(known: Iterable[Proposal], new: Iterable[Proposal]) -> list[Proposal]:
    """Known proposals keep their decisions; new ones are added. A rating that was turned round opens its proposal again."""
    merged = {one.id: one for one in known}
    for one in new:
        before = merged.get(one.id)
        if before is None or before.rating != one.rating:
            merged[one.id] = one
    return list(merged.values())


def write_data(folder: Path, proposals: Iterable[Proposal]) -> tuple[Path, Path, int, int]:
    """train.jsonl and valid.jsonl of what was accepted, and their numbers of rows. Raises `DataError` for too little."""
    accepted = [one for one in proposals if one.decision == "accepted"]
    parts = {
        "train": [one.row() for one in accepted if not one.evaluates],
        "valid": [one.row() for one in accepted if one.evaluates],
    }
    if not parts["train"]:
        what = (
            f"all that is accepted ({len(accepted)}) is kept for the comparison"
            if accepted
            else "nothing is accepted yet"
        )
        raise DataError(f"{folder}: {what}. Review more proposals: botkit improve review.")
    files = {name: folder / f"{name}.jsonl" for name in parts}
    for name, rows in parts.items():
        write_rows(files[name], rows)
    return files["train"], files["valid"], len(parts["train"]), len(parts["valid"])


def promotions(folder: Path) -> list[dict[str, Any]]:
    """What was promoted, oldest first."""
    file = folder / HISTORY
    return [row for _, row in objects(file, read_text(file))] if file.is_file() else []


def note_promotion(folder: Path, before: str, after: str, report: Mapping[str, Any]) -> None:
    """Remember which model was in service before."""
    write_rows(folder / HISTORY, [*promotions(folder), {"before": before, "after": after, "report": dict(report)}])


def last_promotion(folder: Path) -> dict[str, Any]:
    """The promotion that a roll-back undoes; raises `ModelError` where there is none."""
    found = promotions(folder)
    if not found:
        raise ModelError("Nothing was promoted yet, so there is nothing to go back to.")
    return found[-1]


def forget_promotion(folder: Path) -> None:
    """Take the last promotion off the list, once it is undone."""
    write_rows(folder / HISTORY, promotions(folder)[:-1])


def told(proposals: Iterable[Proposal]) -> dict[str, int]:
    """How many are open, accepted and rejected."""
    counts = {"open": 0, "accepted": 0, "rejected": 0}
    for one in proposals:
        counts[one.decision] += 1
    return counts
