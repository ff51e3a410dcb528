"""Learning from use: rated replies become examples, a person reviews them, a candidate is trained and must prove itself.

An 👍 on an answer proposes its question, passage and span; a 👎 proposes the same passage as one that does not answer. Nothing is
learnt that nobody accepted. One accepted example in four is kept for the comparison and never trained on.
"""

from __future__ import annotations

import zlib
from collections.abc import Container, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from botkit.data.duplicates import folded
from botkit.data.jsonl import objects, read_text, write_rows
from botkit.data.rows import check, read_rows
from botkit.data.splits import leaks
from botkit.errors import DataError, ModelError

Decision = Literal["open", "accepted", "rejected"]
PROPOSALS: Final = "proposals.jsonl"
HISTORY: Final = "promotions.jsonl"
LOCK: Final = "proposals.lock"
FEWEST: Final = 6
"""Examples of a comparison: were all of fewer better, a chance of one in sixteen would do it (2 of 2^5 ways to flip the signs)."""
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
        """Whether this example is for the comparison instead of the training; decided by the words of its question."""
        return zlib.crc32(folded(self.question).encode()) % _EVERY == 0

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
    """Proposals from the turns of `botkit conversations export`, oldest first; one for each rated answer with a source.

    The question is that which the answer tells, or else what was said before it, but for the choice between two readings.
    """
    found: dict[str, Proposal] = {}
    asked: dict[str, str] = {}
    choosing: set[str] = set()
    for turn in turns:
        conversation = str(turn.get("conversation"))
        if turn.get("role") == "user":
            asked[conversation] = "" if conversation in choosing else str(turn["text"])
            continue
        (choosing.add if turn.get("route") == "clarify" else choosing.discard)(conversation)
        sources = turn.get("sources") or []
        question = str(turn.get("question") or asked.get(conversation, ""))
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


def alone(folder: Path) -> AbstractContextManager[Any]:
    """What reads proposals to write them again does so inside: nothing that others write meanwhile is lost."""
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / LOCK)


def decide(folder: Path, decided: Iterable[Proposal]) -> list[Proposal]:
    """Keep these decisions, of the proposals that are still there; returns all that are there."""
    by_id = {one.id: one for one in decided}
    with alone(folder):
        proposals = [by_id.get(one.id, one) for one in read_proposals(folder)]
        if by_id:
            write_proposals(folder, proposals)
    return proposals


def keep_only(folder: Path, left: Iterable[Proposal], ids: Container[str]) -> None:
    """Take the proposals of `ids` out, and their rows out of what was written for training.

    Of those that others asked for as well (`left`), the notes are those of the others.
    """
    notes = {one.id: one.note for one in left}
    with alone(folder):
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


def check_apart(learnt: Iterable[Path], compared: Iterable[Path]) -> int:
    """How many rows there are to compare on; raises `DataError` where a question about a passage is also learnt from."""
    rows = [row for file in learnt for row in read_rows(file, "reading")[0]]
    count = len(rows)
    rows += [row for file in compared for row in read_rows(file, "reading")[0]]
    parts = {"learnt": list(range(count)), "compared": list(range(count, len(rows)))}
    both = [leak.places for leak in leaks(rows, "reading", parts, near=None) if leak.kind == "same text"]
    if both:
        first, second = both[0]
        raise DataError(
            f"{second}: this question about this passage is also learnt from ({first}; {len(both)} such in all). Take it out of "
            "one of the two: on what a candidate has learnt it proves nothing."
        )
    return len(rows) - count


def promotions(folder: Path) -> list[dict[str, Any]]:
    """What was promoted, oldest first."""
    file = folder / HISTORY
    return [row for _, row in objects(file, read_text(file))] if file.is_file() and file.stat().st_size else []


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
