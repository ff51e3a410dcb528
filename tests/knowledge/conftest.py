"""Shared parts of the knowledge tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from botkit.knowledge.base import Knowledge
from tests.knowledge.encoders import WordEncoder, open_knowledge


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for documents, called "docs"."""
    path = tmp_path / "docs"
    path.mkdir()
    return path


@pytest.fixture
def encoder() -> WordEncoder:
    return WordEncoder()


@pytest.fixture
def open_home(tmp_path: Path, encoder: WordEncoder) -> Iterator[Callable[..., Knowledge]]:
    """Opens a knowledge in the test's home folder, as another process would; all are closed at the end."""
    opened: list[Knowledge] = []

    def open_it(**config: object) -> Knowledge:
        opened.append(open_knowledge(tmp_path / "home", encoder, **config))
        return opened[-1]

    yield open_it
    for one in opened:
        one.close()


@pytest.fixture
def knowledge(open_home: Callable[..., Knowledge]) -> Knowledge:
    return open_home()
