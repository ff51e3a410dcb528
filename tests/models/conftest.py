from __future__ import annotations

from pathlib import Path

import pytest

from .tiny import TinyModel, make_encoder, make_reader, make_sentiment


@pytest.fixture
def tiny_encoder(tmp_path: Path) -> TinyModel:
    return make_encoder(tmp_path / "encoder")


@pytest.fixture
def tiny_reader(tmp_path: Path) -> TinyModel:
    return make_reader(tmp_path / "reader")


@pytest.fixture
def tiny_sentiment(tmp_path: Path) -> TinyModel:
    return make_sentiment(tmp_path / "sentiment")
