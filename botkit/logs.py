"""Logging as the configuration says. Message text stays out of it unless `logging.message_text` is set."""

from __future__ import annotations

import logging
from typing import Final

from botkit.config import LoggingConfig
from botkit.errors import ConfigError

_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
messages = logging.getLogger("botkit.messages")
"""What people say and are told; silent unless asked for."""
_root = logging.getLogger("botkit")


def set_up(config: LoggingConfig) -> None:
    """Send botkit's log to standard error or to a file; raises `ConfigError` where the file cannot be written."""
    handler: logging.Handler = logging.StreamHandler()
    if config.file is not None:
        try:
            config.file.parent.mkdir(parents=True, exist_ok=True)
            handler = logging.FileHandler(config.file, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"logging.file: {config.file} cannot be written ({error.strerror}).") from error
    handler.setFormatter(logging.Formatter(_FORMAT))
    _root.handlers[:] = [handler]
    _root.propagate = False
    _root.setLevel(config.level.upper())
    messages.setLevel(logging.INFO if config.message_text else logging.CRITICAL + 1)


def include(package: str) -> None:
    """Log what an adapter's package logs, as botkit's own. The libraries it uses stay silent: they may log what people
    write, or addresses with tokens in them.
    """
    if package != _root.name:
        logging.getLogger(package).parent = _root
