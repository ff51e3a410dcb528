"""Who may talk to the bot."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AllowList:
    """Ids that may pass; an empty list lets everyone pass."""

    ids: frozenset[str] = frozenset()

    @classmethod
    def of(cls, ids: Collection[str | int]) -> AllowList:
        """From the ids as written in the configuration; an "@" before a name and its case do not matter."""
        return cls(frozenset(_plain(one) for one in ids))

    def allows(self, *ids: str | int | None) -> bool:
        """Whether one of the ids by which somebody is known may pass."""
        return not self.ids or any(_plain(one) in self.ids for one in ids if one is not None)


def _plain(id: str | int) -> str:
    return str(id).strip().removeprefix("@").casefold()
