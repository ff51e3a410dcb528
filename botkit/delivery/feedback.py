"""What people think of a reply, from a button's data to the store."""

from __future__ import annotations

import re
from typing import Any, Final, Literal

from botkit.engine import Engine
from botkit.errors import ConversationError

_DATA: Final = re.compile(r"rate:([+-]):([0-9a-f]{32})")


def button_data(reply_id: str, rating: Literal[1, -1]) -> str:
    """What a feedback button carries: at most 64 bytes, as Telegram asks."""
    return f"rate:{'+' if rating > 0 else '-'}:{reply_id}"


async def rate(engine: Engine, data: str) -> Any:
    """Keep the rating that a button carries: 1 or -1; None where the data is no rating or the reply is gone."""
    match = _DATA.fullmatch(data)
    if match is None:
        return None
    rating: Literal[1, -1] = 1 if match[1] == "+" else -1
    try:
        await engine.rate(match[2], rating)
    except ConversationError:
        return None
    return rating
