from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .engines import ScriptedEngine


@pytest.fixture(autouse=True)
def _english_system(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "COLORFGBG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "en_GB.UTF-8")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ScriptedEngine]:
    home = tmp_path / "home"
    home.mkdir()
    made = ScriptedEngine(home)
    yield made
    if not made.closed:
        made.store.close()
