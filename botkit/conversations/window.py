"""How much of the past the bot looks back on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from botkit.language import detect
from botkit.messages import Turn


def window(
    turns: Sequence[Turn], max_turns: int, max_tokens: int, count: Callable[[str], int] | None = None
) -> list[Turn]:
    """The latest turns that fit: at most `max_turns` exchanges and `max_tokens` tokens.

    The last turn is always kept, and otherwise the first one is a person's: many a model takes no other. `count` measures a text in tokens; by default about 1.3 tokens a word, or one a
    Chinese character.
    """
    measure = count or estimated_tokens
    kept: list[Turn] = []
    tokens = 0
    for turn in reversed(turns[-2 * max_turns :] if max_turns else turns[-1:]):
        tokens += measure(turn.text)
        if kept and tokens > max_tokens:
            break
        kept.append(turn)
    while len(kept) > 1 and kept[-1].role == "bot":
        kept.pop()
    return kept[::-1]


def estimated_tokens(text: str) -> int:
    """A rough count, good enough for a window."""
    return len(text) if detect(text) == "zh" else round(1.3 * len(text.split()))
