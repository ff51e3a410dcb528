"""Slack's errors, told with the setting and the page that mend them; and which of them pass."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiohttp
from slack_sdk.errors import SlackApiError

from botkit.delivery import Again
from botkit.errors import AdapterError, ConfigError

APPS: Final = "https://api.slack.com/apps"
OAUTH_PAGE: Final = f"{APPS} → your app → OAuth & Permissions"
BASIC_PAGE: Final = f"{APPS} → your app → Basic Information"

TOKEN_ERRORS: Final = frozenset(
    {"invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive", "not_allowed_token_type"}
)
ABSENT: Final = frozenset({"not_in_channel", "channel_not_found", "is_archived", "restricted_action"})
_PASSING: Final = frozenset(
    {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}
)
_REVOKED_WAIT_S: Final = 30.0
_RATE_LIMIT_S: Final = 1.0

_WHY: Final = {
    "invalid_auth": "is not a valid token",
    "not_authed": "is empty",
    "token_revoked": "was revoked",
    "token_expired": "has expired",
    "account_inactive": "belongs to an app that was removed from the workspace",
    "not_allowed_token_type": "is of the wrong kind",
}


def code_of(error: SlackApiError) -> str:
    """Slack's word for what went wrong, such as "not_in_channel"."""
    return str(_told(error).get("error") or "")


def _told(error: SlackApiError) -> dict[str, Any]:
    """What Slack answered; empty where a gateway answered in its place, with text, a page or nothing."""
    data = getattr(error.response, "data", None)
    return data if isinstance(data, dict) else {}


def _status(error: SlackApiError) -> int:
    """The HTTP status; the library gives its own response, or aiohttp's where the answer could not be read."""
    response = error.response
    return int(getattr(response, "status_code", None) or getattr(response, "status", None) or 200)


def _retry_after_s(error: SlackApiError) -> float:
    headers = {str(name).lower(): value for name, value in (getattr(error.response, "headers", None) or {}).items()}
    try:
        return max(0.0, float(headers.get("retry-after", _RATE_LIMIT_S)))
    except ValueError:  # a date, as HTTP allows
        return _RATE_LIMIT_S


class Unavailable(aiohttp.ClientError):
    """Slack, or what stands before it, has no time now. Says nothing of the address, which may let its holder post."""


def check(answer: aiohttp.ClientResponse, final: str) -> None:
    """Raise `Unavailable` for an answer that may be another one later, `AdapterError` with `final` for one that will not."""
    if answer.status == 429 or answer.status >= 500:
        raise Unavailable(f"Slack answers {answer.status}")
    if answer.status >= 400:
        raise AdapterError(final)


def again(error: Exception) -> Again | None:
    """Which errors pass: a rate limit, a broken server or network; and a token that is about to be replaced."""
    if isinstance(error, SlackApiError):
        status, code = _status(error), code_of(error)
        if status == 429 or code in ("ratelimited", "rate_limited"):
            return Again(_retry_after_s(error))
        if code in TOKEN_ERRORS:
            return Again(_REVOKED_WAIT_S)
        return Again() if status >= 500 or code in _PASSING else None
    return Again() if isinstance(error, aiohttp.ClientError | asyncio.TimeoutError | ConnectionError) else None


def missing(setting: str, why: str, page: str) -> ConfigError:
    """A setting that is needed is empty."""
    return ConfigError(f"adapters.slack.{setting} is empty, and {why}. It stands on {page}.")


def told(error: Exception, setting: str, api_url: str) -> AdapterError:
    """What to say of an error in connecting with the token in `setting`."""
    page = BASIC_PAGE if setting == "app_token" else OAUTH_PAGE
    if isinstance(error, SlackApiError):
        code = code_of(error)
        if code in TOKEN_ERRORS:
            return AdapterError(
                f"Slack refuses adapters.slack.{setting}: it {_WHY[code]} ({code}). Copy the one that is valid from {page}."
            )
        if code == "missing_scope":
            scopes = _told(error).get("needed", "")
            return AdapterError(
                f"The token in adapters.slack.{setting} lacks the scope {scopes}. Add it on {page} → Scopes, then reinstall "
                "the app there."
            )
        return AdapterError(f"Slack says {code or error} to adapters.slack.{setting}. See {page}.")
    return AdapterError(
        f"Slack cannot be reached at adapters.slack.api_url ({api_url}): {type(error).__name__}: {error}. Is the network up, "
        "or is a proxy needed (HTTPS_PROXY)? https://status.slack.com tells whether others reach it."
    )


def refused(error: SlackApiError, channel: str) -> AdapterError:
    """Slack does not let the bot post there."""
    code = code_of(error)
    if code in ("not_in_channel", "channel_not_found"):
        return AdapterError(
            f"the bot is not in the channel {channel} ({code}): invite it there with /invite, or leave the channel out of "
            f"adapters.slack.allow_channels. Whether it may see channels stands on {OAUTH_PAGE} → Scopes."
        )
    if code == "missing_scope":
        return told(error, "bot_token", "")
    if code == "is_archived":
        return AdapterError(f"the channel {channel} is archived; nothing can be posted there")
    return AdapterError(f"Slack does not take a message for {channel}: {code or error}. See {OAUTH_PAGE}.")
