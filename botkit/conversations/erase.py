"""Deleting what people said everywhere it is kept: in the conversations, and in what `botkit improve` collected from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from botkit.conversations.store import ConversationStore


def erase(delete: Callable[[], int], store: ConversationStore, home: Path) -> int:
    """Call `delete`, and drop the proposals for training that came from what it deleted; returns what it returned.

    Models that learnt from accepted proposals are not changed. Raises what `delete` raises, and `DataError` where the
    proposals cannot be read or written.
    """
    folder = home / "improve"
    if not (folder / "proposals.jsonl").is_file():
        return delete()
    from botkit.training.improve import keep_only, propose, read_proposals

    read_proposals(folder)  # what cannot be read is told before anything is deleted
    before = {one.id for one in propose(store.export())}
    try:
        return delete()
    finally:  # a store may have deleted the turns and yet have something to tell
        left = propose(store.export())
        keep_only(folder, left, before - {one.id for one in left})
