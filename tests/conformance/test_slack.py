from __future__ import annotations

import pytest

from botkit.testing.conformance import AdapterConformance
from botkit.testing.slack import FakeSlack


class TestSlackSocketMode(AdapterConformance):
    @pytest.fixture
    def platform(self) -> FakeSlack:
        return FakeSlack(mode="socket")


class TestSlackHTTP(AdapterConformance):
    @pytest.fixture
    def platform(self) -> FakeSlack:
        return FakeSlack(mode="http")


class TestSlackWithoutStreaming(AdapterConformance):
    @pytest.fixture
    def platform(self) -> FakeSlack:
        return FakeSlack(mode="socket", streaming=False)
