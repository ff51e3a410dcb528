"""Telegram's errors, told with the setting and the page that mend them; and which of them pass."""

from __future__ import annotations

import warnings
from datetime import timedelta
from typing import Final

from telegram.error import BadRequest, Conflict, Forbidden, InvalidToken, NetworkError, RetryAfter, TelegramError

from botkit.delivery import Again
from botkit.errors import AdapterError

BOTFATHER: Final = "@BotFather (https://t.me/BotFather)"
REVOKED_WAIT_S: Final = 30.0

NO_TOKEN: Final = f"adapters.telegram.token is empty. Make a bot with {BOTFATHER}, and put its token there, such as ${{TELEGRAM_TOKEN}}."
WRONG_TOKEN: Final = (
    f"Telegram refuses adapters.telegram.token: it is mistyped, or was revoked. See /mybots at {BOTFATHER} for the one "
    "that is valid, and put it there."
)


def again(error: Exception) -> Again | None:
    """Which errors pass: a rate limit, a broken server or network; and a token that is about to be replaced."""
    if isinstance(error, RetryAfter):
        with warnings.catch_warnings():  # that it will be a timedelta one day
            warnings.simplefilter("ignore")
            wait = error.retry_after
        return Again(wait.total_seconds() if isinstance(wait, timedelta) else float(wait))
    if isinstance(error, InvalidToken):
        return Again(REVOKED_WAIT_S)
    return Again() if isinstance(error, NetworkError) and not isinstance(error, BadRequest) else None


def lacking(error: Exception) -> bool:
    """Whether the server does not have the method: an older one, or a gateway. The library takes the 404 for a wrong token,
    which it also is before the token has once been accepted.
    """
    return isinstance(error, InvalidToken) and "not found" in str(error).lower()


def told(error: TelegramError, api_url: str) -> AdapterError:
    """What to say of an error in connecting."""
    if isinstance(error, InvalidToken):
        return AdapterError(WRONG_TOKEN)
    if isinstance(error, Conflict):
        return AdapterError(
            "Another program receives this bot's messages. Stop it, or give this one a bot of its own in "
            f"adapters.telegram.token (a new bot: {BOTFATHER})."
        )
    if isinstance(error, NetworkError) and not isinstance(error, BadRequest):
        return AdapterError(
            f"Telegram cannot be reached at adapters.telegram.api_url ({api_url}): {error}. Is the network up, or is a "
            "proxy needed (HTTPS_PROXY)? https://downdetector.com/status/telegram tells whether others reach it."
        )
    return AdapterError(f"Telegram says: {error}. See adapters.telegram and https://core.telegram.org/bots/api.")


def refused(error: Forbidden, chat: int, bot: str) -> AdapterError:
    """The bot may not write there."""
    return AdapterError(
        f"the bot may not write to chat {chat} ({error.message}). A person who blocked it can unblock it at "
        f"https://t.me/{bot}; to a group it must be added again. To leave the chat alone for good, see adapters.telegram.allow_users and allow_chats."
    )
