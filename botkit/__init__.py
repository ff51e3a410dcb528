"""botkit: a bot that answers from your own documents and says where each answer stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from botkit.engine import Engine, load
    from botkit.messages import Message, Reply, Source
    from botkit.plugins import Adapter

__all__ = ["Adapter", "Engine", "Message", "Reply", "Source", "load"]

_HOMES = {
    "Adapter": "botkit.plugins",
    "Engine": "botkit.engine",
    "load": "botkit.engine",
    "Message": "botkit.messages",
    "Reply": "botkit.messages",
    "Source": "botkit.messages",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `botkit --help` starts at once."""
    if name not in _HOMES:
        raise AttributeError(f"module 'botkit' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
