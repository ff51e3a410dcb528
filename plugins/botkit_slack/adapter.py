"""The adapter: connects over Socket Mode or listens over HTTP, and stops without losing anything."""

from __future__ import annotations

import asyncio
import logging
import re
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import aiohttp
from aiohttp import web
from pydantic import BaseModel
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.adapter.socket_mode.async_internals import run_async_bolt_app, send_async_response
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.oauth.async_oauth_flow import AsyncOAuthFlow
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest

from botkit.delivery import Again, Dispatcher, Inbox
from botkit.errors import AdapterError, BotkitError, ConfigError
from botkit.messages import Language
from botkit.plugins import Capabilities, Check
from botkit_slack.config import SlackConfig
from botkit_slack.errors import APPS, BASIC_PAGE, OAUTH_PAGE, TOKEN_ERRORS, again, code_of, missing, told
from botkit_slack.outlet import Context, SlackOutlet
from botkit_slack.receiver import Receiver
from botkit_slack.text import LONGEST
from botkit_slack.workspaces import Workspaces, scopes, sdk_logger, without_environment

if TYPE_CHECKING:
    from botkit.delivery import Delivery, Outlet
    from botkit.engine import Engine

logger = logging.getLogger(__name__)

_TIMEOUT_S: Final = 30.0
_PING_S: Final = 5.0
_UNCONNECTED_S: Final = 20.0


class SlackAdapter:
    """Talks with people in Slack."""

    name: ClassVar[str] = "slack"
    Config: ClassVar[type[BaseModel]] = SlackConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        max_length=LONGEST, markup="markdown", edits=True, streaming=True, typing=True, buttons=True, threads=True
    )

    def __init__(self, config: BaseModel) -> None:
        self._config = cast(SlackConfig, config)

    async def serve(self, engine: Engine) -> None:
        """Serve until cancelled. Raises `AdapterError` where Slack cannot be reached, refuses a token, or one is missing."""
        self._require()
        home = engine.settings.paths.home
        inbox = Inbox(home / "slack.sqlite")
        try:
            async with aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S), trust_env=True
            ) as session:
                workspaces = Workspaces(self._config, session, home)
                await workspaces.connect()
                await self._serve(engine, inbox, session, workspaces)
        finally:
            inbox.close()

    def _require(self) -> None:
        """Raise where a setting is missing that this mode needs."""
        config = self._config
        if not config.bot_token.get_secret_value() and not config.client_id:
            raise missing(
                "bot_token", "without it nothing can be posted (or set client_id, for several workspaces)", OAUTH_PAGE
            )
        if config.client_id and config.bot_token.get_secret_value():
            raise ConfigError(
                "adapters.slack.bot_token is for one workspace, adapters.slack.client_id for several: set one of them. "
                f"Both stand on {APPS}."
            )
        if config.client_id and not config.client_secret.get_secret_value():
            raise missing("client_secret", "client_id is set", BASIC_PAGE)
        if config.mode == "socket" and not config.bot_token.get_secret_value():
            raise ConfigError(
                "Workspaces install the app over HTTP (adapters.slack.client_id), and adapters.slack.mode is socket: set it to "
                f"http, with the signing_secret from {BASIC_PAGE}; or set bot_token, from {OAUTH_PAGE}, for one workspace."
            )
        if config.mode == "socket" and not config.app_token.get_secret_value():
            raise missing(
                "app_token", "mode socket connects with it (App-Level Tokens, scope connections:write)", BASIC_PAGE
            )
        if config.mode == "http" and not config.signing_secret.get_secret_value():
            raise missing("signing_secret", "mode http checks with it who calls", BASIC_PAGE)

    async def _serve(
        self, engine: Engine, inbox: Inbox, session: aiohttp.ClientSession, workspaces: Workspaces
    ) -> None:
        refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def passes(error: Exception) -> Again | None:
            if isinstance(error, SlackApiError) and code_of(error) in TOKEN_ERRORS:
                if workspaces.several:
                    return None
                if not refused.done():
                    refused.set_exception(told(error, "bot_token", self._config.api_url))
            return again(error)

        async def call_human(delivery: Delivery, language: Language) -> None:
            await receiver.call_human_for(delivery, language)

        context = Context(self._config, engine, inbox, session, workspaces.client, call_human, workspaces.home)

        def outlet(delivery: Delivery) -> Outlet:
            return SlackOutlet(context, delivery)

        dispatcher = Dispatcher(
            engine, inbox, outlet, adapter=self.name, again=passes, interval_s=1.0, uploads=self._config.uploads
        )
        receiver = Receiver(context, dispatcher)
        app, flow = self._make_app(receiver, workspaces)
        await dispatcher.resume()
        listen = self._connect(app, workspaces) if self._config.mode == "socket" else self._listen(app, flow)
        listening = asyncio.create_task(listen, name="slack: listen")
        try:
            await asyncio.wait({listening, refused}, return_when=asyncio.FIRST_COMPLETED)
            if refused.done():
                refused.result()
            listening.result()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await receiver.close()
            # with a token that Slack refuses, no answer in flight can be delivered
            await dispatcher.drain(1.0 if refused.done() else 25.0)
            if refused.done() and not refused.cancelled():
                refused.exception()

    def _make_app(self, receiver: Receiver, workspaces: Workspaces) -> tuple[AsyncApp, AsyncOAuthFlow | None]:
        async def authorize(enterprise_id: str | None, team_id: str | None) -> AuthorizeResult | None:
            return await workspaces.authorize(enterprise_id, team_id)

        async def removed(body: Mapping[str, Any]) -> None:
            await workspaces.forget(body.get("enterprise_id"), str(body.get("team_id")))
            logger.warning("slack: the workspace %s has removed the app, or its tokens", body.get("team_id"))

        async def acknowledged() -> None:
            """Some other event: nothing to do."""

        with without_environment():
            app = AsyncApp(
                name=sdk_logger.name,  # Bolt sets the level of the logger of this name with each request
                logger=sdk_logger,
                client=workspaces.make(None),
                signing_secret=self._config.signing_secret.get_secret_value(),
                authorize=authorize,  # type: ignore[arg-type]
                process_before_response=True,
                attaching_conversation_kwargs_enabled=False,
            )
            flow = workspaces.installation_flow()
        receiver.register(app)
        app.event("app_uninstalled")(removed)
        app.event("tokens_revoked")(removed)
        app.event(re.compile(".*"))(acknowledged)
        return app, flow

    async def _connect(self, app: AsyncApp, workspaces: Workspaces) -> None:
        """Socket Mode. Messages are taken in the order they come; each is acknowledged once it is kept."""
        token = self._config.app_token.get_secret_value().strip()
        web_client = workspaces.make(None)
        url = await self._socket_url(workspaces, token)
        client = SocketModeClient(app_token=token, logger=sdk_logger, web_client=web_client, ping_interval=_PING_S)
        turn = asyncio.Lock()

        async def take(_: Any, request: SocketModeRequest) -> None:
            begun = asyncio.get_running_loop().time()
            async with turn:
                response = await run_async_bolt_app(app, request)
            await send_async_response(client, request, response, begun)

        client.socket_mode_request_listeners.append(take)
        client.wss_uri = url
        try:
            await client.connect()  # type: ignore[no-untyped-call]
            logger.info("slack: connected")
            unconnected_s = 0.0
            while True:
                await asyncio.sleep(1.0)
                unconnected_s = 0.0 if await client.is_connected() else unconnected_s + 1.0
                if unconnected_s >= _UNCONNECTED_S:  # the library tries for ever, also with a token that was revoked
                    unconnected_s = 0.0
                    with suppress(aiohttp.ClientError, OSError, TimeoutError):
                        await self._socket_url(workspaces, token, network=False)
        finally:
            await client.close()  # type: ignore[no-untyped-call]
            await client.aiohttp_client_session.close()

    async def _socket_url(self, workspaces: Workspaces, token: str, *, network: bool = True) -> str:
        try:
            return str((await workspaces.make(None).apps_connections_open(app_token=token))["url"])
        except SlackApiError as error:
            raise told(error, "app_token", self._config.api_url) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if not network:
                raise
            raise told(error, "app_token", self._config.api_url) from error

    async def _listen(self, app: AsyncApp, flow: AsyncOAuthFlow | None) -> None:
        """HTTP: events, commands and interactions at one path, their signatures checked; and the pages to install."""
        config = self._config

        async def called(request: web.Request) -> web.Response:
            response = await app.async_dispatch(await to_bolt_request(request))
            return await to_aiohttp_response(response)

        server = web.Application(client_max_size=4 * 2**20)
        server.router.add_post(config.path, called)
        if flow is not None:
            server.router.add_get(flow.install_path, _page(flow.handle_installation))
            server.router.add_get(flow.redirect_uri_path, _page(flow.handle_callback))
        runner = web.AppRunner(server, access_log=None, shutdown_timeout=5)
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, config.host, config.port, backlog=1024).start()
            except OSError as error:
                raise AdapterError(
                    f"Slack's events cannot be taken on {config.host}:{config.port} (adapters.slack.host, port): "
                    f"{error.strerror}"
                ) from error
            logger.info("slack: listening on %s:%d%s", config.host, config.port, config.path)
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def check(self) -> list[Check]:
        """Whether the tokens are valid and may do what the bot does, and whether the channel for hand-offs is there."""
        try:
            self._require()
        except BotkitError as error:
            return [Check("adapters.slack", False, str(error))]
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S), trust_env=True) as session:
            workspaces = Workspaces(self._config, session, Path(tempfile.gettempdir()))  # no installations are needed
            found = []
            if self._config.bot_token.get_secret_value():
                found += await self._check_bot(workspaces)
            if self._config.mode == "socket":
                found.append(await self._check_socket(workspaces))
            return found

    async def _check_bot(self, workspaces: Workspaces) -> list[Check]:
        setting = "adapters.slack.bot_token"
        client = workspaces.make(self._config.bot_token.get_secret_value().strip())
        try:
            who = await client.auth_test()
        except (SlackApiError, aiohttp.ClientError, OSError, TimeoutError) as error:
            return [Check(setting, False, str(told(error, "bot_token", self._config.api_url)))]
        found = [Check(setting, True, f"{who['user']} in {who['team']}")]
        headers = {name.lower(): value for name, value in who.headers.items()}
        granted = {one.strip() for one in headers.get("x-oauth-scopes", "").split(",") if one.strip()}
        lacking = [one for one in scopes() if granted and one not in granted]
        remedy = f"Add {', '.join(lacking)} on {OAUTH_PAGE} → Scopes, and reinstall the app." if lacking else ""
        said = f"missing: {', '.join(lacking)}" if lacking else "all" if granted else "not told by this server"
        found.append(Check("scopes", not lacking, said, remedy))
        if self._config.human_channel:
            what = "adapters.slack.human_channel"
            try:
                channel = (await client.conversations_info(channel=self._config.human_channel))["channel"]
                remedy = "" if channel.get("is_member") else "Invite the bot there with /invite."
                found.append(Check(what, bool(channel.get("is_member")), f"#{channel['name']}", remedy))
            except SlackApiError as error:
                remedy = (
                    "Write the channel's id there (C…, at the foot of its details), and invite the bot with /invite."
                )
                found.append(Check(what, False, code_of(error), remedy))
        return found

    async def _check_socket(self, workspaces: Workspaces) -> Check:
        setting = "adapters.slack.app_token"
        try:
            await self._socket_url(workspaces, self._config.app_token.get_secret_value().strip())
        except AdapterError as error:
            return Check(setting, False, str(error), f"See {APPS}.")
        return Check(setting, True, "Socket Mode opens")


def _page(handle: Callable[[Any], Awaitable[Any]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def page(request: web.Request) -> web.Response:
        return await to_aiohttp_response(await handle(await to_bolt_request(request)))

    return page
