"""The Slack front end: Socket Mode or HTTP, threads, `/ask`, a message shortcut, the Assistant, hand-off to a channel."""

from __future__ import annotations

from botkit.errors import MissingExtraError

try:
    import aiohttp
    import slack_bolt
except ImportError as missing:
    raise MissingExtraError("The Slack front end", "slack") from missing
del aiohttp, slack_bolt

from botkit_slack.adapter import SlackAdapter  # noqa: E402 - after the check above
from botkit_slack.config import SlackConfig  # noqa: E402

__all__ = ["SlackAdapter", "SlackConfig"]
