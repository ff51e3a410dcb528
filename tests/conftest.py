"""Fixtures that several rooms use."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.parts import SHOP, Bot, MakeBot

# a slow machine is no failure
settings.register_profile("botkit", deadline=None)
settings.load_profile("botkit")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the configuration or the data of whoever runs it."""
    monkeypatch.setenv("BOTKIT_HOME", str(tmp_path / "default-home"))
    monkeypatch.delenv("BOTKIT_CONFIG", raising=False)


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """No test sees where the one before it sent botkit's log."""
    log, messages = logging.getLogger("botkit"), logging.getLogger("botkit.messages")
    handlers, propagate, levels = list(log.handlers), log.propagate, (log.level, messages.level)
    yield
    log.handlers[:], log.propagate = handlers, propagate
    log.setLevel(levels[0])
    messages.setLevel(levels[1])


@pytest.fixture
def make_bot(tmp_path: Path) -> Iterator[MakeBot]:
    """Makes engines on deterministic parts; with `shop`, on the little shop's document."""
    made: list[Bot] = []

    def make(*, shop: bool = True, **config: Any) -> Bot:
        bot = Bot(tmp_path / f"home-{len(made)}", **config)
        made.append(bot)
        if shop:
            bot.teach(tmp_path / "documents", shop=SHOP)
        return bot

    yield make
    for bot in made:
        bot.engine.knowledge.close()
        bot.engine.store.close()
