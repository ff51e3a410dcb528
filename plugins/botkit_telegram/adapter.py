"""The adapter: connects, receives by long polling or a webhook, and stops without losing anything."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import secrets
import time
import warnings
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from aiohttp import web
from pydantic import BaseModel
from telegram import BotCommand, Update
from telegram.error import Conflict, InvalidToken, TelegramError
from telegram.ext import AIORateLimiter, ExtBot
from telegram.request import HTTPXRequest

from botkit.delivery import Dispatcher, Inbox
from botkit.errors import AdapterError, BotkitError, ConfigError
from botkit.plugins import Capabilities, Check
from botkit_telegram import words
from botkit_telegram.config import TelegramConfig
from botkit_telegram.errors import BOTFATHER, NO_TOKEN, again, lacking, told
from botkit_telegram.outlet import Context, TelegramOutlet
from botkit_telegram.receiver import Receiver

if TYPE_CHECKING:
    from botkit.delivery import Delivery, Outlet
    from botkit.engine import Engine

logger = logging.getLogger(__name__)
logging.getLogger("telegram").addHandler(logging.NullHandler())  # it tells what people write, where it cannot read it

_POLL_S: Final = 50
_SHORTEST_POLL_S: Final = 0.5
_LONGEST_WAIT_S: Final = 60.0
_KINDS: Final = [
    Update.MESSAGE,
    Update.EDITED_MESSAGE,
    Update.CALLBACK_QUERY,
    Update.INLINE_QUERY,
]
_UNLIMITED: Final = frozenset({"sendChatAction", "sendMessageDraft"})


class Limiter(AIORateLimiter):
    """The library's rate limiter; what is only for the eye does not use up the messages allowed in a minute."""

    async def process_request(
        self,
        callback: Any,
        args: Any,
        kwargs: dict[str, Any],
        endpoint: str,
        data: dict[str, Any],
        rate_limit_args: int | None,
    ) -> Any:
        """Call the API, in its turn where the call posts something."""
        if endpoint in _UNLIMITED:
            return await callback(*args, **kwargs)
        return await super().process_request(callback, args, kwargs, endpoint, data, rate_limit_args)


class TelegramAdapter:
    """Talks with people on Telegram."""

    name: ClassVar[str] = "telegram"
    Config: ClassVar[type[BaseModel]] = TelegramConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        max_length=4096, markup="html", edits=True, streaming=True, typing=True, buttons=True, threads=True
    )

    def __init__(self, config: BaseModel) -> None:
        self._config = cast(TelegramConfig, config)

    async def serve(self, engine: Engine) -> None:
        """Serve until cancelled. Raises `AdapterError` where Telegram cannot be reached or refuses the token."""
        inbox = Inbox(engine.settings.paths.home / "telegram.sqlite")
        try:
            async with self._connected() as bot:
                await self._serve(engine, inbox, bot)
        finally:
            inbox.close()

    async def _serve(self, engine: Engine, inbox: Inbox, bot: ExtBot[Any]) -> None:
        refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def passes(error: Exception) -> Any:
            if lacking(error):
                return None
            if isinstance(error, InvalidToken) and not refused.done():
                refused.set_exception(told(error, self._config.api_url))
            return again(error)

        async def call_human(delivery: Delivery, language: Any) -> None:
            await receiver.call_human_for(delivery, language)

        context = Context(bot, self._config, engine, inbox, call_human)

        def outlet(delivery: Delivery) -> Outlet:
            return TelegramOutlet(context, delivery)

        dispatcher = Dispatcher(
            engine, inbox, outlet, adapter=self.name, again=passes, interval_s=1.0, uploads=self._config.uploads
        )
        receiver = Receiver(context, dispatcher)
        await self._register_commands(bot)
        await dispatcher.resume()
        listen = self._poll(bot, receiver) if self._config.mode == "polling" else self._listen(bot, receiver)
        listening = asyncio.create_task(listen, name="telegram: listen")
        try:
            await asyncio.wait({listening, refused}, return_when=asyncio.FIRST_COMPLETED)
            if refused.done():
                refused.result()
            listening.result()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await receiver.close()
            # with a token that Telegram refuses, no answer in flight can be delivered
            await dispatcher.drain(1.0 if refused.done() else 25.0)
            if refused.done() and not refused.cancelled():
                refused.exception()

    async def check(self) -> list[Check]:
        """Whether the token is valid, who else receives the bot's messages, and whether the chat for hand-offs is there."""
        setting = "adapters.telegram.token"
        try:
            async with self._connected() as bot:
                found = [Check(setting, True, f"@{bot.username}")]
                if problem := await _webhook_problem(bot):
                    remedy = "see adapters.telegram.webhook_url, and whether that address leads to host and port."
                    found.append(Check("webhook", False, problem, remedy))
                if not bot.bot.can_read_all_group_messages:
                    said = "privacy mode is on: in groups the bot sees commands, mentions and replies to it, which is all it needs"
                    found.append(Check("groups", True, said))
                if self._config.human_chat:
                    found.append(await self._check_human_chat(bot))
                return found
        except BotkitError as error:
            return [Check(setting, False, str(error), f"See {BOTFATHER}.")]
        except TelegramError as error:
            return [Check(setting, False, str(told(error, self._config.api_url)))]

    async def _check_human_chat(self, bot: ExtBot[Any]) -> Check:
        setting = "adapters.telegram.human_chat"
        try:
            chat = await bot.get_chat(self._config.human_chat)
            return Check(setting, True, chat.title or chat.username or str(chat.id))
        except TelegramError as error:
            return Check(
                setting, False, str(error), "Add the bot to that chat, and write its id there (such as -1001234)."
            )

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[ExtBot[Any]]:
        config = self._config
        if not config.token.get_secret_value().strip():
            raise ConfigError(NO_TOKEN)
        try:
            bot = ExtBot(
                config.token.get_secret_value().strip(),
                base_url=f"{config.api_url}/bot",
                base_file_url=f"{config.api_url}/file/bot",
                request=HTTPXRequest(connection_pool_size=64, read_timeout=30, write_timeout=30, pool_timeout=120),
                get_updates_request=HTTPXRequest(connection_pool_size=2, read_timeout=15),
                rate_limiter=Limiter(
                    overall_max_rate=config.messages_per_second,
                    group_max_rate=config.messages_per_minute_per_group,
                    max_retries=8,
                ),
            )
            await bot.initialize()
        except TelegramError as error:
            raise told(error, config.api_url) from error
        try:
            yield bot
        finally:
            await bot.shutdown()

    async def _register_commands(self, bot: ExtBot[Any]) -> None:
        """The menu of commands, in English and in Chinese."""
        try:
            for code, language in ((None, "en"), ("zh", "zh")):
                menu = [BotCommand(name, said[language]) for name, said in words.COMMANDS.items()]  # type: ignore[index]
                await bot.set_my_commands(menu, language_code=code)
        except TelegramError as error:
            logger.warning("telegram: the menu of commands could not be registered: %s", error)

    async def _poll(self, bot: ExtBot[Any], receiver: Receiver) -> None:
        """Ask for updates; each is kept before the next are asked for, which tells Telegram that it arrived."""
        offset: int | None = None
        failures, free = 0, False
        try:
            while True:
                asked, begun = offset, time.monotonic()
                try:
                    if not free:
                        await _take_from_webhook(bot)
                        free = True
                    updates, following = await _received(bot, offset)
                    failures = 0
                except TelegramError as error:
                    failures += 1
                    wait = self._wait_s(error, failures)
                    if failures == 1 or isinstance(error, Conflict):
                        logger.warning("telegram: %s (again in %.1f s)", told(error, self._config.api_url), wait)
                    await asyncio.sleep(wait)
                    continue
                for update in updates:
                    await receiver.take(update)
                    offset = update.update_id + 1
                if following == asked and time.monotonic() - begun < _SHORTEST_POLL_S:
                    await asyncio.sleep(_SHORTEST_POLL_S)  # a server that does not wait for news
                offset = following
        finally:
            if offset is not None:
                with contextlib.suppress(TelegramError, asyncio.CancelledError):
                    await bot.get_updates(offset=offset, timeout=0, limit=1, read_timeout=2)

    def _wait_s(self, error: TelegramError, failures: int) -> float:
        """How long until it is worth asking again; raises where it is not."""
        passes = again(error)
        if isinstance(error, InvalidToken) or not (passes or isinstance(error, Conflict)):
            raise told(error, self._config.api_url) from error
        if passes is not None and passes.after_s is not None:
            return passes.after_s
        return float(min(_LONGEST_WAIT_S, 0.25 * 2 ** min(failures - 1, 8)))

    def _no_webhook(self, error: TelegramError, url: str) -> AdapterError:
        """What to say where Telegram does not take the address."""
        if again(error) is not None:
            return told(error, self._config.api_url)
        return AdapterError(
            f"Telegram does not take {url} as a webhook ({error}). adapters.telegram.webhook_url must be the "
            "https address, on port 443, 80, 88 or 8443, at which it reaches this machine; see "
            "https://core.telegram.org/bots/webhooks. Or set adapters.telegram.mode to polling."
        )

    async def _listen(self, bot: ExtBot[Any], receiver: Receiver) -> None:
        """Be called by Telegram; it is told "OK" once an update is kept, and calls again where it is not."""
        config = self._config
        secret = config.secret_token.get_secret_value() or secrets.token_urlsafe(32)

        async def called(request: web.Request) -> web.Response:
            given = request.headers.get("X-Telegram-Bot-Api-Secret-Token", "")
            if not hmac.compare_digest(given.encode(), secret.encode()):
                return web.Response(status=403)
            try:
                told = await request.json()
            except ValueError:
                return web.Response(status=400)
            update = _read(told, bot)
            if update is not None:
                await receiver.take(update)
            return web.Response()  # also to what cannot be read: it would come again and again

        app = web.Application(client_max_size=4 * 2**20)
        app.router.add_post("/{path:.*}", called)  # a proxy in front may have changed the path
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, config.host, config.port, backlog=1024).start()
            except OSError as error:
                raise AdapterError(
                    f"The webhook cannot listen on {config.host}:{config.port} (adapters.telegram.host, port): {error.strerror}"
                ) from error
            url = config.webhook_url or f"http://{config.host}:{config.port}{config.path}"
            try:
                await bot.set_webhook(url, secret_token=secret, allowed_updates=_KINDS, max_connections=40)
            except TelegramError as error:
                if not lacking(error):
                    raise self._no_webhook(error, url) from error
                logger.warning("telegram: this Bot API server has no setWebhook; it must know %s by itself", url)
            logger.info("telegram: @%s listens on %s:%d", bot.username, config.host, config.port)
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()


async def _take_from_webhook(bot: ExtBot[Any]) -> None:
    """Polling gets nothing while a webhook is set; a server that has no webhooks needs no asking."""
    try:
        await bot.delete_webhook()
    except InvalidToken as error:
        if not lacking(error):
            raise


async def _webhook_problem(bot: ExtBot[Any]) -> str:
    """What went wrong when Telegram last called the webhook; "" for nothing."""
    try:
        return (await bot.get_webhook_info()).last_error_message or ""
    except InvalidToken as error:
        if not lacking(error):
            raise
        return ""


async def _received(bot: ExtBot[Any], offset: int | None) -> tuple[list[Update], int | None]:
    """The next updates, and the offset after them."""
    try:
        updates = list(await bot.get_updates(offset=offset, timeout=_POLL_S, allowed_updates=_KINDS))
        return updates, updates[-1].update_id + 1 if updates else offset
    except (KeyError, ValueError, TypeError, AttributeError):
        pass  # the library reads all of them or none
    with warnings.catch_warnings():  # that there is get_updates
        warnings.simplefilter("ignore")
        given = {"timeout": 0, "allowed_updates": _KINDS} | ({} if offset is None else {"offset": offset})
        told = [one for one in await bot.do_api_request("getUpdates", given) if isinstance(one, dict)]
    numbers = [one["update_id"] for one in told if isinstance(one.get("update_id"), int)]
    read = [update for one in told if (update := _read(one, bot)) is not None]
    return read, max(numbers) + 1 if numbers else offset


def _read(told: Any, bot: ExtBot[Any]) -> Update | None:
    """An update; None, and a line in the log, where it is none that the library can read."""
    try:
        return Update.de_json(told, bot)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        number = told.get("update_id") if isinstance(told, dict) else None
        logger.error("telegram: update %s cannot be read and is left out: %s: %s", number, type(error).__name__, error)
        return None
