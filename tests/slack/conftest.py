from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from botkit.messages import Source
from botkit.testing.conformance import Service
from botkit.testing.engine import ScriptedEngine
from botkit.testing.slack import FakeSlack

Start = Callable[..., Awaitable[Service]]

SOURCE = Source(
    "help/returns.md", "Returns", "How long", None, 10, 20, "You have thirty days to return it.", 0, 0.9
)  # fmt: skip


@pytest.fixture
async def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Starts the adapter against a platform, with settings and an engine of the test's choice."""
    async with AsyncExitStack() as stack:

        async def begin(
            platform: FakeSlack | None = None, settings: dict[str, Any] | None = None, **engine: Any
        ) -> Service:
            platform = platform or FakeSlack()
            section = platform.section

            def with_settings() -> dict[str, Any]:
                return section() | (settings or {})

            monkeypatch.setattr(platform, "section", with_settings)
            scripted = ScriptedEngine(tmp_path / "home", **engine)
            await platform.start()
            service = Service(platform, scripted, monkeypatch)

            async def end() -> None:
                scripted.gate.set()
                await service.kill()
                await platform.stop()
                await scripted.close()

            stack.push_async_callback(end)
            await service.start()
            return service

        yield begin
