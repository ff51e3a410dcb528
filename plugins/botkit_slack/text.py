"""Slack's text as people wrote it, Markdown as Slack shows it (https://docs.slack.dev/messaging/formatting-message-text)."""

from __future__ import annotations

import re
from html import unescape
from typing import Any, Final, Literal

from botkit.delivery import button_data, split
from botkit.messages import Language, Reply, Source
from botkit.phrases import phrase

LONGEST: Final = 4_000
"""The most characters of one message. Slack takes more, and advises this: longer ones it folds away, and what reads only a
message's `text` (notifications, screen readers, searches, gateways) gets the whole of it too.
"""
_LONGEST_EDITED: Final = 4_000

_LONGEST_SECTION: Final = 3_000
_LONGEST_LABEL: Final = 75
_LONGEST_VALUE: Final = 2_000
_MOST_SOURCES: Final = 5
_TOKEN: Final = re.compile(r"<([@#!])?([^<>|]+)(?:\|([^<>]*))?>")
_CONTROL: Final = re.compile(r"<(?=[@#!])")

Block = dict[str, Any]


def names(text: str, user: str) -> bool:
    """Whether a message mentions a person or bot."""
    return bool(user) and re.search(rf"<@{re.escape(user)}(?:\|[^<>]*)?>", text) is not None


def mentioned(text: str) -> str:
    """The id of whom a message mentions first; "" for nobody."""
    return next((match[2] for match in _TOKEN.finditer(text) if match[1] == "@"), "")


def readable(text: str, bot_user: str) -> str:
    """What a person wrote: mentions of the bot gone, links and names as they look, `&lt;` as `<`."""

    def shown(match: re.Match[str]) -> str:
        kind, target, label = match[1] or "", match[2], match[3]
        if kind == "@" and target == bot_user:
            return ""
        if kind == "!":
            return label or f"@{target.split('^')[0]}"
        return f"{kind}{label or target}" if kind else (label or target.removeprefix("mailto:"))

    return unescape(_TOKEN.sub(shown, text)).strip(" \t\r\n:,，：").strip()


def mrkdwn(text: str) -> str:
    """Text as it is, for where Slack reads its own markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def pieces(markdown: str) -> list[str]:
    """A reply as the Markdown of as many messages as it needs; what would notify people (`<!channel>`) is defused."""
    plain = markdown.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    plain = re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", " ", plain)
    return split(_CONTROL.sub("&lt;", plain), LONGEST) or ["…"]


def markdown_blocks(piece: str) -> list[Block]:
    """One piece as blocks."""
    return [{"type": "markdown", "text": piece}]


def own_blocks(text: str) -> list[Block]:
    """The bot's own words in Slack's markup."""
    parts = [text[start : start + _LONGEST_SECTION] for start in range(0, len(text), _LONGEST_SECTION)]
    return [{"type": "section", "text": {"type": "mrkdwn", "text": part}} for part in parts[:20] if part.strip()]


def fallback(piece: str, *, edited: bool = False) -> str:
    """What is shown where blocks are not. `edited`: for `chat.update`, which takes 4,000 bytes of it, escaped."""
    text = mrkdwn(unescape(piece))
    if not edited or len(text.encode()) <= _LONGEST_EDITED:
        return text
    cut = text.encode()[: _LONGEST_EDITED - len("…".encode())].decode(errors="ignore")
    return re.sub(r"&[a-z]*$", "", cut) + "…"


def button(label: str, action: str, value: str, *, style: str = "") -> Block:
    """A button; what is too long for one is cut."""
    text = label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…"
    made: Block = {
        "type": "button",
        "text": {"type": "plain_text", "text": text.strip() or "…", "emoji": True},
        "action_id": action,
        "value": value[:_LONGEST_VALUE],
    }
    return made | ({"style": style} if style else {})


def extras(reply: Reply, *, human: bool) -> list[Block]:
    """What stands under a reply: its sources, and buttons for choices, rating and a human."""
    language = reply.language
    blocks: list[Block] = []
    if reply.sources:
        named = dict.fromkeys(_place(source, language) for source in reply.sources)
        line = f"*{phrase('sources', language)}*: {'  ·  '.join(list(named)[:_MOST_SOURCES])}"
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": line[:_LONGEST_SECTION]}]})
    buttons = [button(option, f"option:{number}", option) for number, option in enumerate(reply.options[:20])]
    if reply.route in ("answer", "unknown"):
        ratings: tuple[tuple[str, Literal[1, -1]], ...] = (("helpful", 1), ("not_helpful", -1))
        buttons += [button(phrase(name, language), f"rate:{name}", button_data(reply.id, one)) for name, one in ratings]
    if reply.hand_off_offered or (human and reply.route == "unknown"):
        buttons.append(button(phrase("talk_to_human", language), "human", language))
    if buttons:
        blocks.append({"type": "actions", "elements": buttons})
    return blocks


def _place(source: Source, language: Language) -> str:
    named = [source.title or source.document, *([source.heading] if source.heading != source.title else [])]
    if source.page is not None:
        named.append(phrase("page", language, page=str(source.page)))
    return "📄 " + " › ".join(mrkdwn(" ".join(one.split())[:200]) for one in named if one)
