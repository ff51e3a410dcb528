"""The Telegram front end: private chats, groups, topics and inline queries, by long polling or a webhook."""

from __future__ import annotations

from botkit.errors import MissingExtraError

try:
    import aiohttp
    import aiolimiter
    import telegram
except ImportError as missing:
    raise MissingExtraError("The Telegram front end", "telegram") from missing
del aiohttp, aiolimiter, telegram

from botkit_telegram.adapter import TelegramAdapter  # noqa: E402 - after the check above
from botkit_telegram.config import TelegramConfig  # noqa: E402

__all__ = ["TelegramAdapter", "TelegramConfig"]
