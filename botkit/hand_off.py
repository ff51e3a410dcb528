"""Calling a human: the hook an operator wires.

A hook is an http(s) URL that takes a JSON POST, a Python function (`python:package.module:function`), or a command that
reads the JSON on standard input.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botkit.config import HandOffConfig
from botkit.errors import BotkitError, ConfigError
from botkit.messages import Message, Sentiment, Turn


class HandOffError(BotkitError):
    """The hook could not be called, or said no."""


async def call_hook(
    config: HandOffConfig, message: Message, *, reason: str, sentiment: Sentiment, transcript: Sequence[Turn]
) -> None:
    """Tell the operator that a person wants a human.

    The JSON object holds conversation, sender, adapter, reason and sentiment, and the transcript only where
    the configuration includes it. Raises `HandOffError` where the hook fails or does not answer in time.
    """
    event: dict[str, Any] = {
        "event": "hand_off",
        "conversation": message.conversation,
        "sender": message.sender,
        "adapter": message.adapter,
        "reason": reason,
        "sentiment": {"label": sentiment.label, "score": round(sentiment.score, 4)},
        "sent_at": message.sent_at.isoformat(),
    }
    if config.include_transcript:
        event["transcript"] = [{"role": turn.role, "text": turn.text} for turn in transcript]
    try:
        await asyncio.wait_for(_call(config, event), config.hook_timeout_s)
    except (asyncio.TimeoutError, TimeoutError) as error:
        raise HandOffError(
            f"hand_off.hook did not answer within {config.hook_timeout_s:g} s. "
            "Check it, or raise hand_off.hook_timeout_s."
        ) from error


async def _call(config: HandOffConfig, event: Mapping[str, Any]) -> None:
    if config.hook.startswith(("http://", "https://")):
        await asyncio.to_thread(_post, config.hook, event, config.hook_timeout_s)
    elif config.hook.startswith("python:"):
        try:
            function = find_function(config.hook)
        except ConfigError as error:
            raise HandOffError(str(error)) from error
        await _apply(function, event)
    else:
        await _run(config.hook, event)


def find_function(hook: str) -> Callable[[dict[str, Any]], Any]:
    """The function that `python:package.module:function` names; raises `ConfigError` where there is none."""
    module_name, _, function_name = hook.removeprefix("python:").partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except Exception as error:  # the operator's module may raise anything when it is imported
        raise ConfigError(
            f"hand_off.hook: {hook!r} names no function ({error}). Write python:package.module:function."
        ) from error
    if not callable(function):
        raise ConfigError(f"hand_off.hook: {hook!r} is not a function.")
    return function  # type: ignore[no-any-return]


async def _apply(function: Callable[[dict[str, Any]], Any], event: Mapping[str, Any]) -> None:
    try:
        if inspect.iscoroutinefunction(function):
            await function(dict(event))
        else:
            await asyncio.to_thread(function, dict(event))
    except Exception as error:  # the operator's code may raise anything; it must not end the conversation
        raise HandOffError(f"hand_off.hook raised {type(error).__name__}: {error}") from error


def _post(url: str, event: Mapping[str, Any], timeout_s: float) -> None:
    import urllib.error
    import urllib.request  # half of what importing this module would cost, and few bots have a hook

    request = urllib.request.Request(
        url, data=json.dumps(event, ensure_ascii=False).encode(), headers={"Content-Type": "application/json"}
    )
    try:
        urllib.request.urlopen(request, timeout=timeout_s).close()
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise HandOffError(f"hand_off.hook: the POST to {url.partition('?')[0]} failed: {error}") from error


async def _run(command: str, event: Mapping[str, Any]) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            *shlex.split(command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,  # standard output is the bot's own: JSON, or a screen
            stderr=asyncio.subprocess.PIPE,
        )
    except (OSError, ValueError) as error:
        raise HandOffError(f"hand_off.hook: the command cannot be started: {error}") from error
    try:
        _, complaint = await process.communicate(json.dumps(event, ensure_ascii=False).encode() + b"\n")
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        last_line = complaint.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise HandOffError(f"hand_off.hook: the command ended with exit code {process.returncode}: {last_line[0]}")
