"""One workspace with a token from the configuration, or several that have installed the app."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.oauth.async_oauth_flow import AsyncOAuthFlow
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings
from slack_sdk.errors import SlackApiError
from slack_sdk.oauth.installation_store.sqlite3 import SQLite3InstallationStore
from slack_sdk.oauth.state_store.sqlite3 import SQLite3OAuthStateStore
from slack_sdk.web.async_client import AsyncWebClient

from botkit.errors import AdapterError
from botkit_slack.config import SlackConfig
from botkit_slack.errors import told

_STATE_S: Final = 600


class _NoTraceback(logging.Filter):
    """What Slack's library logs on its own, without tracebacks: a network that is closed is no bug."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info, record.exc_text = None, None
        return True


sdk_logger: Final = logging.getLogger("botkit_slack.sdk")
sdk_logger.setLevel(logging.ERROR)  # below that it tells what people write
sdk_logger.addFilter(_NoTraceback())


@lru_cache(maxsize=1)
def manifest() -> dict[str, Any]:
    """The app's manifest, as shipped."""
    loaded: dict[str, Any] = yaml.safe_load((files("botkit_slack") / "manifest.yaml").read_text(encoding="utf-8"))
    return loaded


def scopes() -> list[str]:
    """What the app must be allowed to do."""
    return list(manifest()["oauth_config"]["scopes"]["bot"])


@contextlib.contextmanager
def without_environment() -> Iterator[None]:
    """Slack's libraries read settings from SLACK_…; only botkit's configuration counts."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("SLACK_")}
    try:
        yield
    finally:
        os.environ.update(kept)


class Workspaces:
    """Tokens and clients by workspace."""

    def __init__(self, config: SlackConfig, session: aiohttp.ClientSession, home: Path) -> None:
        self._config, self._session = config, session
        self._known: dict[str, AuthorizeResult] = {}
        self._single: AuthorizeResult | None = None
        self._path = home / "slack-workspaces.sqlite"
        self.store: SQLite3InstallationStore | None = None
        if config.client_id:
            self.store = SQLite3InstallationStore(database=str(self._path), client_id=config.client_id)

    @property
    def home(self) -> str:
        """The workspace of the configured token; "" where tokens come from installations."""
        return str(self._single.team_id or "") if self._single is not None else ""

    @property
    def several(self) -> bool:
        """Whether tokens come from installations."""
        return self._single is None

    def make(self, token: str | None) -> AsyncWebClient:
        """A client that tries nothing twice by itself: whether to do so is the dispatcher's to say."""
        return AsyncWebClient(
            token=token, base_url=self._config.api_url, session=self._session, retry_handlers=[], logger=sdk_logger
        )

    async def connect(self) -> None:
        """Ask Slack who the configured token is. Raises `AdapterError` where it is refused."""
        token = self._config.bot_token.get_secret_value().strip()
        if not token:
            return
        try:
            who = await self.make(token).auth_test()
        except (SlackApiError, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise told(error, "bot_token", self._config.api_url) from error
        self._single = AuthorizeResult(
            enterprise_id=who.get("enterprise_id"),
            team_id=who["team_id"],
            bot_user_id=who["user_id"],
            bot_id=who.get("bot_id"),
            bot_token=token,
        )

    async def authorize(self, enterprise_id: str | None, team_id: str | None) -> AuthorizeResult | None:
        """Whose event this is; None for a workspace that has not installed the app."""
        if self._single is not None:
            return self._single
        team = team_id or enterprise_id or ""
        if team not in self._known and self.store is not None:
            bot = await self.store.async_find_bot(
                enterprise_id=enterprise_id or self._enterprise(team), team_id=team_id
            )
            if bot is not None:
                self._known[team] = AuthorizeResult(
                    enterprise_id=enterprise_id,
                    team_id=team_id,
                    bot_user_id=bot.bot_user_id,
                    bot_id=bot.bot_id,
                    bot_token=bot.bot_token,
                )
        return self._known.get(team)

    def _enterprise(self, team: str) -> str | None:
        """The organisation that a workspace belonged to when it installed the app: installations are kept by both ids."""
        if self.store is None or not self._path.exists():
            return None
        with contextlib.closing(self.store.connect()) as connection:
            row = connection.execute(
                "SELECT enterprise_id FROM slack_bots WHERE team_id = ? ORDER BY installed_at DESC LIMIT 1", (team,)
            ).fetchone()
        return str(row[0]) if row and row[0] else None

    async def client(self, team: str) -> AsyncWebClient:
        """The client for a workspace. Raises `AdapterError` where it has removed the app."""
        who = await self.authorize(None, team)
        if who is None:
            raise AdapterError(f"the workspace {team} has not installed the app, or has removed it")
        return self.make(who.bot_token)

    def teams(self) -> list[str]:
        """The workspaces that have installed the app."""
        if self.store is None or not self._path.exists():
            return []
        with contextlib.closing(self.store.connect()) as connection:
            found = connection.execute("SELECT DISTINCT team_id FROM slack_bots").fetchall()
        return sorted(str(row[0]) for row in found)

    async def forget(self, enterprise_id: str | None, team: str) -> None:
        """The app was removed there."""
        self._known.pop(team, None)
        if self.store is not None:
            self.store.delete_all(
                enterprise_id=enterprise_id or self._enterprise(team), team_id=team
            )  # has no async one

    def installation_flow(self) -> AsyncOAuthFlow | None:
        """The pages /slack/install and /slack/oauth_redirect; None where no client id is set."""
        if self.store is None:
            return None
        self.store.init()  # type: ignore[no-untyped-call]
        states = SQLite3OAuthStateStore(expiration_seconds=_STATE_S, database=str(self._path))
        states.init()  # type: ignore[no-untyped-call]
        self._path.chmod(0o600)
        return AsyncOAuthFlow(
            client=self.make(None),
            logger=sdk_logger,
            settings=AsyncOAuthSettings(
                client_id=self._config.client_id,
                client_secret=self._config.client_secret.get_secret_value(),
                scopes=scopes(),
                user_scopes=[],
                installation_store=self.store,
                state_store=states,
                state_expiration_seconds=_STATE_S,
            ),
        )
