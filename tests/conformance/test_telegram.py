from __future__ import annotations

import pytest

from botkit.testing.conformance import AdapterConformance
from botkit.testing.telegram import FakeTelegram


class TestTelegram(AdapterConformance):
    @pytest.fixture
    def platform(self) -> FakeTelegram:
        return FakeTelegram()


class TestTelegramByWebhook(AdapterConformance):
    @pytest.fixture
    def platform(self) -> FakeTelegram:
        return FakeTelegram(mode="webhook")


class TestTelegramWithoutDrafts(AdapterConformance):
    @pytest.fixture
    def platform(self) -> FakeTelegram:
        return FakeTelegram(drafts=False)
