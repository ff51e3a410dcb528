"""Slack's Web API, Socket Mode and Events API on loopback (https://docs.slack.dev), as far as a bot meets them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import re
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from html import unescape
from typing import Any, Final, Literal
from urllib.parse import urlencode

from aiohttp import ClientError, ClientSession, ClientTimeout, WSMsgType, web

from botkit.testing.platform import Place, Shown

BOT_USER: Final = "U0BOT"
BOT: Final = "B0BOT"
APP: Final = "A0APP"
TEAM: Final = "T0MAIN"
CHANNEL: Final = "C0OFFICE"
HUMANS: Final = "C0HUMANS"
LONGEST: Final = 12_000
_LONGEST_EDITED: Final = 4_000
SCOPES: Final = (
    "app_mentions:read,assistant:write,channels:history,channels:read,chat:write,commands,files:read,groups:history,"
    "groups:read,im:history,im:write,mpim:history,users:read"
)

_POSTING: Final = frozenset(
    {"chat.postMessage", "chat.update", "chat.startStream", "chat.appendStream", "chat.stopStream"}
)
_NEEDED: Final = {
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "chat.delete": "chat:write",
    "chat.postEphemeral": "chat:write",
    "chat.startStream": "chat:write",
    "chat.appendStream": "chat:write",
    "chat.stopStream": "chat:write",
    "assistant.threads.setStatus": "chat:write",
    "assistant.threads.setTitle": "assistant:write",
    "assistant.threads.setSuggestedPrompts": "assistant:write",
    "conversations.info": "channels:read",
    "users.info": "users:read",
}
_BLOCKS: Final = frozenset({"markdown", "section", "context", "actions", "divider", "header"})
_STRUCTURED: Final = ("blocks", "prompts", "metadata", "attachments")


class _Refused(Exception):
    """An answer of the API with `ok` false."""

    def __init__(self, error: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(error)
        self.error, self.status, self.headers, self.more = error, status, dict(headers or {}), more


@dataclass
class Posted:
    """A message as it stands in a channel."""

    team: str
    channel: str
    ts: str
    user: str
    text: str
    thread_ts: str = ""
    blocks: list[dict[str, Any]] = field(default_factory=list)
    streaming: bool = False
    edits: int = 0
    files: list[dict[str, Any]] = field(default_factory=list)

    @property
    def key(self) -> str:
        """Its id as the tests know it."""
        return f"{self.channel}:{self.ts}"


@dataclass
class _Envelope:
    """Something for the app: an event, a command or an interaction."""

    kind: Literal["events_api", "slash_commands", "interactive"]
    payload: dict[str, Any]
    lane: str
    attempts: int = 0
    id: str = ""


@dataclass
class Workspace:
    """A workspace that has the app: its token and what it may do. `revoked` is the error that each call then gets."""

    team: str
    token: str
    scopes: str = SCOPES
    revoked: str = ""


class FakeSlack:
    """A `Platform`: Slack's server side, with a channel, one for humans, and a private chat for each person.

    `mode` is how events come; `streaming` whether the app may use `chat.startStream`; `retry_s` how long Slack waits for an
    acknowledgement before it delivers again (3 s in the real one).
    """

    adapter = "slack"
    longest = LONGEST
    tells_deletions = True

    def __init__(
        self, mode: Literal["socket", "http"] = "socket", *, streaming: bool = True, retry_s: float = 3.0
    ) -> None:
        self.mode, self.streaming, self.retry_s = mode, streaming, retry_s
        self.app_token, self.signing_secret = "xapp-main", "a-signing-secret"
        self.client_id, self.client_secret = "1.2", "a-client-secret"
        self.workspaces = {TEAM: Workspace(TEAM, "xoxb-main")}
        self.codes: dict[str, str] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.ephemeral: list[dict[str, Any]] = []
        self.statuses: list[str] = []
        self.titles: list[str] = []
        self.prompts: list[list[dict[str, str]]] = []
        self.ack_seconds: list[float] = []
        self.lacking: dict[str, str] = {}
        """Methods that are refused, with which error: this workspace or gateway does not have them."""
        self.instead: dict[str, list[web.Response]] = {}
        """By method, what a gateway answers next in Slack's place."""
        self.outside: set[str] = set()
        self.archived: set[str] = set()
        self.files: dict[str, bytes] = {}
        self.busy_responses = 0
        self.port = 0
        self.app_port = _free_port()
        self._people: dict[str, str] = {}
        self._messages: dict[str, Posted] = {}
        self._delivered: dict[str, _Envelope] = {}
        self._waiting: list[_Envelope] = []
        self._sent: dict[str, tuple[_Envelope, float]] = {}
        self._number = 0
        self._refusals: list[tuple[int, float]] = []
        self._sockets: set[web.WebSocketResponse] = set()
        self._lanes: dict[str, asyncio.Queue[_Envelope]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._runner: web.AppRunner | None = None
        self._session: ClientSession | None = None

    # What a `Platform` does.

    async def start(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/api/{method}", self._handle)
        app.router.add_get("/link", self._link)
        app.router.add_post("/response/{id}", self._respond)
        app.router.add_get("/files/{id}", self._download)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=1024).start()
        self.port = self._runner.addresses[0][1]
        self._session = ClientSession(timeout=ClientTimeout(total=30))
        if self.mode == "socket":
            self._task(self._redeliver())

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for one in list(self._sockets):
            await one.close()
        if self._session is not None:
            await self._session.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def section(self) -> dict[str, Any]:
        """The adapter's section of the configuration that leads it here."""
        section: dict[str, Any] = {
            "mode": self.mode,
            "bot_token": self.workspaces[TEAM].token,
            "api_url": f"http://127.0.0.1:{self.port}/api/",
        }
        if self.mode == "socket":
            return section | {"app_token": self.app_token}
        return section | {"signing_secret": self.signing_secret, "host": "127.0.0.1", "port": self.app_port}

    async def ready(self) -> None:
        """Return when a socket is open, or the app's port answers."""
        while True:
            if self.mode == "socket" and any(not one.closed for one in self._sockets):
                return
            if self.mode == "http":
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.app_port)
                    writer.close()
                    return
            await asyncio.sleep(0.01)

    def person_id(self, name: str) -> str:
        """The id of a person."""
        return self._people.setdefault(name, f"U{len(self._people) + 1:04}")

    def direct(self, person: str, team: str = TEAM) -> str:
        """The id of a person's private chat with the bot."""
        return f"D{self.person_id(person)[1:]}{'' if team == TEAM else team}"

    async def say(
        self,
        text: str,
        *,
        person: str = "ada",
        place: Place = "direct",
        mention: bool = False,
        reply_to: str = "",
        channel: str = "",
        thread: str = "",
        team: str = TEAM,
        files: list[dict[str, Any]] | None = None,
    ) -> str:
        """A person writes. `channel` is another channel than the usual, `thread` the ts of a thread's first message."""
        channel = channel or (CHANNEL if place == "channel" else self.direct(person, team))
        if reply_to:
            root = self._messages[reply_to]
            channel, thread = root.channel, root.thread_ts or root.ts
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        if mention:
            escaped = f"<@{BOT_USER}> {escaped}"
        posted = Posted(team, channel, self._ts(), self.person_id(person), escaped, thread, files=files or [])
        self._messages[posted.key] = posted
        told = self._json(posted) | {"channel_type": "im" if channel.startswith("D") else "channel"}
        if files:
            told |= {"subtype": "file_share", "files": files}
        if thread and (root_message := self._messages.get(f"{channel}:{thread}")) is not None:
            told["parent_user_id"] = root_message.user
        self._event(posted, {"type": "message", **told})
        if mention and not channel.startswith("D"):
            copy = {name: value for name, value in told.items() if name not in ("channel_type", "subtype")}
            self._event(posted, {"type": "app_mention", **copy}, again=False)
        return posted.key

    async def edit(self, message: str, text: str) -> None:
        """Its author edits a message."""
        posted = self._messages[message]
        before = self._json(posted)
        mention = f"<@{BOT_USER}> " if posted.text.startswith(f"<@{BOT_USER}>") else ""
        posted.text = mention + text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        self._event(
            posted,
            {
                "type": "message",
                "subtype": "message_changed",
                "channel": posted.channel,
                "channel_type": "im" if posted.channel.startswith("D") else "channel",
                "ts": self._ts(),
                "message": self._json(posted) | {"edited": {"user": posted.user, "ts": self._ts()}},
                "previous_message": before,
            },
            again=False,
        )

    async def delete(self, message: str, *, tombstone: bool = False) -> None:
        """Its author deletes a message; one that has replies leaves a `tombstone` in its place."""
        posted = self._messages.pop(message)
        told: dict[str, Any] = {"subtype": "message_deleted", "deleted_ts": posted.ts}
        if tombstone:
            left = {"type": "message", "subtype": "tombstone", "text": "This message was deleted.", "user": "USLACKBOT"}
            left |= {"ts": posted.ts, "thread_ts": posted.ts}
            told = {"subtype": "message_changed", "hidden": True, "message": {**left, "hidden": True}}
        self._event(
            posted,
            {
                "type": "message",
                "channel": posted.channel,
                "channel_type": "im" if posted.channel.startswith("D") else "channel",
                "ts": self._ts(),
                "previous_message": self._json(posted),
                **told,
            },
            again=False,
        )

    async def deliver_again(self, message: str) -> None:
        """Deliver a message's event once more, under the same event id."""
        first = self._delivered[message]
        self._enqueue(_Envelope(first.kind, first.payload, first.lane, attempts=1))

    async def disconnect(self) -> None:
        """Close the sockets, having said so as Slack does."""
        for one in list(self._sockets):
            with contextlib.suppress(ConnectionError, RuntimeError):
                await one.send_json({"type": "disconnect", "reason": "refresh_requested"})
            await one.close()
            self._sockets.discard(one)

    def limit_rate(self, times: int, retry_after_s: float) -> None:
        """Refuse the next calls that post or edit with HTTP 429."""
        self._refusals += [(429, retry_after_s)] * times

    def break_down(self, times: int) -> None:
        """Answer the next calls that post or edit with HTTP 500."""
        self._refusals += [(500, 0.0)] * times

    def shown(self, place: Place | None = None, *, person: str = "") -> list[Shown]:
        """The bot's messages; the one of the channel for humans are found by `in_channel`."""
        found = []
        for one in self._messages.values():
            where: Place = "direct" if one.channel.startswith("D") else "channel"
            mine = one.user == BOT_USER and one.channel != HUMANS
            if mine and (place is None or place == where) and (not person or one.channel == self.direct(person)):
                thread = f"{one.channel}:{one.thread_ts}" if one.thread_ts else ""
                found.append(Shown(one.key, where, _seen(one), thread, one.streaming, _labels(one), one.edits))
        return found

    # What people do beyond that.

    def message(self, key: str) -> Posted:
        """A message as it stands."""
        return self._messages[key]

    def in_channel(self, channel: str) -> list[Posted]:
        """All messages of a channel."""
        return [one for one in self._messages.values() if one.channel == channel]

    async def press(self, message: str, label: str, *, person: str = "ada") -> None:
        """A person presses the button under a message whose label begins so."""
        posted = self._messages[message]
        block, button = next(
            (block, one)
            for block in posted.blocks
            if block["type"] == "actions"
            for one in block["elements"]
            if one["text"]["text"].startswith(label)
        )
        payload = self._interaction("block_actions", posted.team, posted.channel, person) | {
            "container": {
                "type": "message",
                "message_ts": posted.ts,
                "channel_id": posted.channel,
                "is_ephemeral": False,
                **({"thread_ts": posted.thread_ts} if posted.thread_ts else {}),
            },
            "message": self._json(posted),
            "actions": [
                {
                    "type": "button",
                    "action_id": button["action_id"],
                    "block_id": block.get("block_id", "b1"),
                    "text": button["text"],
                    "value": button.get("value", ""),
                    "action_ts": self._ts(),
                }
            ],
        }
        self._enqueue(_Envelope("interactive", payload, posted.channel))

    async def command(self, name: str, text: str, *, person: str = "ada", channel: str = CHANNEL) -> None:
        """A person uses a slash command."""
        self._number += 1
        payload = {
            "token": "unused",
            "team_id": TEAM,
            "team_domain": "main",
            "channel_id": channel,
            "channel_name": "office",
            "user_id": self.person_id(person),
            "user_name": person,
            "command": name,
            "text": text,
            "api_app_id": APP,
            "is_enterprise_install": "false",
            "response_url": f"http://127.0.0.1:{self.port}/response/{self._number}",
            "trigger_id": f"trigger.{self._number}",
        }
        self._enqueue(_Envelope("slash_commands", payload, channel))

    async def shortcut(self, callback_id: str, message: str, *, person: str = "ada") -> None:
        """A person uses a message shortcut."""
        posted = self._messages[message]
        payload = self._interaction("message_action", posted.team, posted.channel, person) | {
            "callback_id": callback_id,
            "message": self._json(posted),
            "message_ts": posted.ts,
            "action_ts": self._ts(),
        }
        self._enqueue(_Envelope("interactive", payload, posted.channel))

    async def open_assistant(self, *, person: str = "ada") -> str:
        """A person opens the Assistant; the ts of its thread."""
        posted = Posted(TEAM, self.direct(person), self._ts(), BOT_USER, "New Assistant Thread")
        self._event(
            posted,
            {
                "type": "assistant_thread_started",
                "assistant_thread": {
                    "user_id": self.person_id(person),
                    "context": {"channel_id": CHANNEL, "team_id": TEAM},
                    "channel_id": posted.channel,
                    "thread_ts": posted.ts,
                },
                "event_ts": self._ts(),
            },
        )
        return posted.ts

    def file(self, name: str, content: bytes, *, size: int | None = None, url: str = "") -> dict[str, Any]:
        """A file, to be sent with `say(files=…)`."""
        id = f"F{len(self.files)}"
        self.files[id] = content
        address = url or f"http://127.0.0.1:{self.port}/files/{id}"
        return {
            "id": id,
            "name": name,
            "size": len(content) if size is None else size,
            "url_private": address,
            "url_private_download": address,
        }

    async def call_app(
        self, body: str, *, secret: str = "", timestamp: float | None = None, path: str = "/slack/events"
    ) -> tuple[int, str]:
        """Call the app over HTTP as anybody might; status and body of its answer."""
        headers = _signed(body, secret or self.signing_secret, time.time() if timestamp is None else timestamp)
        assert self._session is not None
        url = f"http://127.0.0.1:{self.app_port}{path}"
        async with self._session.post(url, data=body, headers=headers | {"Content-Type": "application/json"}) as answer:
            return answer.status, await answer.text()

    def _interaction(self, kind: str, team: str, channel: str, person: str) -> dict[str, Any]:
        self._number += 1
        user = self.person_id(person)
        return {
            "type": kind,
            "token": "unused",
            "api_app_id": APP,
            "team": {"id": team, "domain": team.lower()},
            "user": {"id": user, "username": person, "name": person, "team_id": team},
            "channel": {"id": channel, "name": "office"},
            "trigger_id": f"trigger.{self._number}",
            "response_url": f"http://127.0.0.1:{self.port}/response/{self._number}",
        }

    # Delivery.

    def _ts(self) -> str:
        self._number += 1
        return f"{1_700_000_000 + self._number}.{self._number % 1_000_000:06}"

    def _json(self, posted: Posted) -> dict[str, Any]:
        told: dict[str, Any] = {
            "type": "message",
            "channel": posted.channel,
            "user": posted.user,
            "ts": posted.ts,
            "event_ts": posted.ts,
            "text": posted.text,
            "team": posted.team,
        }
        if posted.user == BOT_USER:
            told |= {"bot_id": BOT, "app_id": APP}
        if posted.blocks:
            told["blocks"] = posted.blocks
        if posted.thread_ts:
            told["thread_ts"] = posted.thread_ts
        return told

    def _event(self, posted: Posted, event: dict[str, Any], *, again: bool = True) -> None:
        """Queue an event; `again`: it is the one that `deliver_again` repeats."""
        self._number += 1
        payload = {
            "token": "unused",
            "team_id": posted.team,
            "api_app_id": APP,
            "event": event,
            "type": "event_callback",
            "event_id": f"Ev{self._number}",
            "event_time": int(time.time()),
            "authorizations": [{"enterprise_id": None, "team_id": posted.team, "user_id": BOT_USER, "is_bot": True}],
        }
        envelope = _Envelope("events_api", payload, posted.channel)
        if again:
            self._delivered[posted.key] = envelope
        self._enqueue(envelope)

    def _enqueue(self, envelope: _Envelope) -> None:
        if self.mode == "socket":
            self._waiting.append(envelope)
            self._task(self._flush())
            return
        if envelope.lane not in self._lanes:
            self._lanes[envelope.lane] = asyncio.Queue()
            self._task(self._post_all(self._lanes[envelope.lane]))
        self._lanes[envelope.lane].put_nowait(envelope)

    async def _flush(self) -> None:
        """Send what waits over an open socket."""
        while self._waiting:
            open_socket = next((one for one in self._sockets if not one.closed), None)
            if open_socket is None:
                return
            envelope = self._waiting.pop(0)
            self._number += 1
            envelope.id = f"envelope-{self._number}"
            told = {
                "type": envelope.kind,
                "envelope_id": envelope.id,
                "payload": envelope.payload,
                "accepts_response_payload": envelope.kind != "events_api",
            }
            if envelope.kind == "events_api":
                told |= {"retry_attempt": envelope.attempts, "retry_reason": "timeout" if envelope.attempts else ""}
            self._sent[envelope.id] = (envelope, time.monotonic())
            try:
                await open_socket.send_json(told)
            except (ConnectionError, RuntimeError):
                self._sent.pop(envelope.id, None)
                self._waiting.insert(0, envelope)
                self._sockets.discard(open_socket)

    async def _redeliver(self) -> None:
        """What was not acknowledged in time comes again."""
        while True:
            await asyncio.sleep(min(0.1, self.retry_s / 2))
            now = time.monotonic()
            for id, (envelope, sent_at) in list(self._sent.items()):
                if now - sent_at > self.retry_s:
                    del self._sent[id]
                    self._waiting.append(
                        _Envelope(envelope.kind, envelope.payload, envelope.lane, envelope.attempts + 1)
                    )
            await self._flush()

    async def _link(self, request: web.Request) -> web.WebSocketResponse:
        """One Socket Mode connection."""
        link = web.WebSocketResponse()
        await link.prepare(request)
        await link.send_json(
            {"type": "hello", "num_connections": 1, "debug_info": {}, "connection_info": {"app_id": APP}}
        )
        self._sockets.add(link)
        lost = [envelope for envelope, _ in self._sent.values()]  # sent over a connection that is gone
        self._sent.clear()
        self._waiting[:0] = [_Envelope(one.kind, one.payload, one.lane, one.attempts + 1) for one in lost]
        self._task(self._flush())
        try:
            async for frame in link:
                if frame.type == WSMsgType.TEXT:
                    self._acknowledged(json.loads(frame.data))
        finally:
            self._sockets.discard(link)
        return link

    def _acknowledged(self, answer: Mapping[str, Any]) -> None:
        envelope, sent_at = self._sent.pop(str(answer.get("envelope_id")), (None, 0.0))
        if envelope is not None:
            self.ack_seconds.append(time.monotonic() - sent_at)

    async def _post_all(self, lane: asyncio.Queue[_Envelope]) -> None:
        """Post the events of one channel, in order, each until it is acknowledged."""
        while True:
            envelope = await lane.get()
            while not await self._post(envelope):
                envelope.attempts += 1
                await asyncio.sleep(0.05)

    async def _post(self, envelope: _Envelope) -> bool:
        if envelope.kind == "events_api":
            body, kind = json.dumps(envelope.payload), "application/json"
        elif envelope.kind == "slash_commands":
            body, kind = urlencode(envelope.payload), "application/x-www-form-urlencoded"
        else:
            body, kind = urlencode({"payload": json.dumps(envelope.payload)}), "application/x-www-form-urlencoded"
        headers = _signed(body, self.signing_secret, time.time()) | {"Content-Type": kind}
        if envelope.attempts:
            headers |= {"X-Slack-Retry-Num": str(envelope.attempts), "X-Slack-Retry-Reason": "http_error"}
        begun = time.monotonic()
        assert self._session is not None
        try:
            async with self._session.post(
                f"http://127.0.0.1:{self.app_port}/slack/events",
                data=body,
                headers=headers,
                timeout=ClientTimeout(total=self.retry_s),
            ) as answer:
                self.ack_seconds.append(time.monotonic() - begun)
                return answer.status < 300
        except (ClientError, OSError, asyncio.TimeoutError):
            return False

    def _task(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # The Web API.

    async def _handle(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        headers: dict[str, str] = {}
        try:
            given = await _arguments(request)
            token = request.headers.get("Authorization", "").removeprefix("Bearer ") or str(given.pop("token", ""))
            self.calls.append((method, given))
            if self.instead.get(method):
                return self.instead[method].pop(0)
            workspace = self._authorised(method, token, headers)
            if method in self.lacking:
                raise _Refused(self.lacking[method])
            if method in _POSTING and self._refusals:
                code, wait = self._refusals.pop(0)
                if code == 429:
                    raise _Refused("ratelimited", status=429, headers={"Retry-After": f"{wait:g}"})
                raise _Refused("internal_error", status=code)
            name = re.sub(r"[A-Z.]", lambda match: f"_{match[0].lower()}".replace("_.", "_"), method)
            handler: Callable[[dict[str, Any], Workspace], Awaitable[dict[str, Any]]] | None
            handler = getattr(self, f"_do_{name}", None)
            if handler is None:
                raise _Refused("unknown_method")
            result = await handler(given, workspace)
        except _Refused as refused:
            told = {"ok": False, "error": refused.error, **refused.more}
            return web.json_response(told, status=refused.status, headers=headers | refused.headers)
        return web.json_response({"ok": True, **result}, headers=headers)

    def _authorised(self, method: str, token: str, headers: dict[str, str]) -> Workspace:
        if method == "oauth.v2.access":
            return self.workspaces[TEAM]
        if method == "apps.connections.open":
            if token != self.app_token:
                raise _Refused("invalid_auth" if token.startswith("xapp") else "not_allowed_token_type")
            return self.workspaces[TEAM]
        workspace = next((one for one in self.workspaces.values() if one.token == token), None)
        if workspace is None:
            raise _Refused("invalid_auth" if token else "not_authed")
        if workspace.revoked:
            raise _Refused(workspace.revoked)
        headers["X-OAuth-Scopes"] = workspace.scopes
        needed = _NEEDED.get(method)
        if needed and needed not in workspace.scopes.split(","):
            raise _Refused("missing_scope", needed=needed, provided=workspace.scopes)
        return workspace

    async def _respond(self, request: web.Request) -> web.Response:
        """A `response_url`."""
        if self.busy_responses:
            self.busy_responses -= 1
            return web.Response(status=503)
        given = await request.json()
        _checked(given)
        self.ephemeral.append(
            {
                **given,
                "shown": _seen(Posted(TEAM, "", "", BOT_USER, given.get("text", ""), blocks=given.get("blocks") or [])),
            }
        )
        return web.Response(text="ok")

    async def _download(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in {one.token for one in self.workspaces.values()}:
            return web.Response(text="<html>Sign in</html>", content_type="text/html")
        content = self.files.get(request.match_info["id"])
        return web.Response(status=404) if content is None else web.Response(body=content)

    async def _do_auth_test(self, _: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
        return {
            "url": f"https://{workspace.team.lower()}.slack.com/",
            "team": workspace.team.title(),
            "user": "botkit",
            "team_id": workspace.team,
            "user_id": BOT_USER,
            "bot_id": BOT,
            "is_enterprise_install": False,
        }

    async def _do_apps_connections_open(self, _: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
        return {"url": f"ws://127.0.0.1:{self.port}/link?ticket={self._ts()}"}

    async def _do_oauth_v2_access(self, given: dict[str, Any], _: Workspace) -> dict[str, Any]:
        team = self.codes.pop(str(given.get("code", "")), "")
        if not team:
            raise _Refused("invalid_code")
        workspace = self.workspaces.setdefault(team, Workspace(team, f"xoxb-{team.lower()}"))
        return {
            "app_id": APP,
            "authed_user": {"id": "U0001"},
            "scope": workspace.scopes,
            "token_type": "bot",
            "access_token": workspace.token,
            "bot_user_id": BOT_USER,
            "team": {"id": team, "name": team.title()},
            "enterprise": None,
            "is_enterprise_install": False,
        }

    async def _do_chat_post_message(self, given: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
        channel = self._open(given)
        _checked(given)
        posted = Posted(
            workspace.team,
            channel,
            self._ts(),
            BOT_USER,
            str(given.get("text", "")),
            str(given.get("thread_ts") or ""),
            list(given.get("blocks") or []),
        )
        self._messages[posted.key] = posted
        return {"channel": channel, "ts": posted.ts, "message": self._json(posted)}

    async def _do_chat_update(self, given: dict[str, Any], _: Workspace) -> dict[str, Any]:
        posted = self._own(given)
        if posted.streaming:
            raise _Refused("streaming_state_conflict")
        _checked(given)
        if len(str(given.get("text") or "").encode()) > _LONGEST_EDITED:
            raise _Refused("msg_too_long")
        posted.text, posted.blocks = str(given.get("text", "")), list(given.get("blocks") or [])
        posted.edits += 1
        return {"channel": posted.channel, "ts": posted.ts, "text": posted.text}

    async def _do_chat_delete(self, given: dict[str, Any], _: Workspace) -> dict[str, Any]:
        posted = self._own(given)
        del self._messages[posted.key]
        return {"channel": posted.channel, "ts": posted.ts}

    async def _do_chat_post_ephemeral(self, given: dict[str, Any], _: Workspace) -> dict[str, Any]:
        self._open(given)
        _checked(given)
        self.ephemeral.append({**given, "shown": unescape(str(given.get("text", "")))})
        return {"message_ts": self._ts()}

    async def _do_chat_get_permalink(self, given: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
        ts = str(given["message_ts"]).replace(".", "")
        return {"permalink": f"https://{workspace.team.lower()}.slack.com/archives/{given['channel']}/p{ts}"}

    async def _do_chat_start_stream(self, given: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
        if not self.streaming:
            raise _Refused("unknown_method")
        channel = self._open(given)
        if not given.get("thread_ts"):
            raise _Refused("invalid_arguments")
        if not channel.startswith("D") and not (given.get("recipient_user_id") and given.get("recipient_team_id")):
            raise _Refused("missing_recipient_user_id")
        text = str(given.get("markdown_text") or "")
        posted = Posted(workspace.team, channel, self._ts(), BOT_USER, "", str(given["thread_ts"]), streaming=True)
        posted.blocks = [{"type": "markdown", "text": ""}]
        self._messages[posted.key] = posted
        self._stream(posted, text)
        return {"channel": channel, "ts": posted.ts}

    async def _do_chat_append_stream(self, given: dict[str, Any], _: Workspace) -> dict[str, Any]:
        posted = self._streamed(given)
        self._stream(posted, str(given.get("markdown_text") or ""))
        return {"channel": posted.channel, "ts": posted.ts}

    async def _do_chat_stop_stream(self, given: dict[str, Any], _: Workspace) -> dict[str, Any]:
        posted = self._streamed(given)
        _checked({"text": "x", "blocks": given.get("blocks")})
        self._stream(posted, str(given.get("markdown_text") or ""))
        posted.blocks += list(given.get("blocks") or [])
        posted.streaming = False
        return {"channel": posted.channel, "ts": posted.ts, "message": self._json(posted)}

    def _streamed(self, given: Mapping[str, Any]) -> Posted:
        posted = self._own(given)
        if not posted.streaming:
            raise _Refused("message_not_in_streaming_state")
        return posted

    def _stream(self, posted: Posted, text: str) -> None:
        whole = posted.blocks[0]["text"] + text
        if len(whole) > LONGEST:
            raise _Refused("msg_too_long")
        posted.blocks[0]["text"] = whole
        posted.text = whole

    async def _do_assistant_threads_set_status(self, given: dict[str, Any], _: Workspace) -> dict[str, Any]:
        self.statuses.append(str(given["status"]))
        return {}

    async def _do_assistant_threads_set_title(self, given: dict[str, Any], _: Workspace) -> dict[str, Any]:
        self.titles.append(str(given["title"]))
        return {}

    async def _do_assistant_threads_set_suggested_prompts(self, given: dict[str, Any], _: Workspace) -> dict[str, Any]:
        if not 1 <= len(given["prompts"]) <= 4:
            raise _Refused("invalid_arguments")
        self.prompts.append(given["prompts"])
        return {}

    async def _do_conversations_info(self, given: dict[str, Any], _: Workspace) -> dict[str, Any]:
        channel = str(given["channel"])
        if channel not in (CHANNEL, HUMANS):
            raise _Refused("channel_not_found")
        return {"channel": {"id": channel, "name": channel.lower(), "is_member": channel not in self.outside}}

    async def _do_users_info(self, given: dict[str, Any], _: Workspace) -> dict[str, Any]:
        name = next((name for name, id in self._people.items() if id == given["user"]), None)
        if name is None:
            raise _Refused("user_not_found")
        return {
            "user": {"id": given["user"], "name": name, "real_name": name.title(), "profile": {"display_name": name}}
        }

    def _open(self, given: Mapping[str, Any]) -> str:
        channel = str(given.get("channel", ""))
        directs = {f"D{id[1:]}" for id in self._people.values()}
        if channel not in (CHANNEL, HUMANS) and not any(channel.startswith(one) for one in directs):
            raise _Refused("channel_not_found")
        if channel in self.archived:
            raise _Refused("is_archived")
        if channel in self.outside:
            raise _Refused("not_in_channel")
        return channel

    def _own(self, given: Mapping[str, Any]) -> Posted:
        posted = self._messages.get(f"{self._open(given)}:{given.get('ts')}")
        if posted is None:
            raise _Refused("message_not_found")
        if posted.user != BOT_USER:
            raise _Refused("cant_update_message")
        return posted


async def _arguments(request: web.Request) -> dict[str, Any]:
    """A call's arguments, from a query, a form (values of structure are JSON there) or a JSON body."""
    given: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        return given | dict(await request.json())
    for name, value in (await request.post()).items():
        given[name] = json.loads(value) if name in _STRUCTURED and isinstance(value, str) else value
    return given


def _checked(given: Mapping[str, Any]) -> None:
    """Raise as Slack does where a message is empty, too long, or its blocks are wrong."""
    blocks = given.get("blocks") or []
    text = str(given.get("text") or "")
    if not text.strip() and not blocks:
        raise _Refused("no_text")
    if len(text) > 40_000:
        raise _Refused("msg_too_long")
    if len(blocks) > 50 or sum(len(one.get("text", "")) for one in blocks if one.get("type") == "markdown") > LONGEST:
        raise _Refused("invalid_blocks")
    for block in blocks:
        if block.get("type") not in _BLOCKS or not _well_made(block):
            raise _Refused("invalid_blocks", response_metadata={"messages": [json.dumps(block)[:200]]})


def _well_made(block: Mapping[str, Any]) -> bool:
    kind = block["type"]
    if kind == "markdown":
        return isinstance(block.get("text"), str) and bool(block["text"].strip())
    if kind == "section":
        return _text_object(block.get("text"), 3000)
    if kind == "context":
        elements = block.get("elements") or []
        return 1 <= len(elements) <= 10 and all(_text_object(one, 3000) for one in elements)
    if kind == "actions":
        elements = block.get("elements") or []
        ids = [one.get("action_id") for one in elements]
        return 1 <= len(elements) <= 25 and len(set(ids)) == len(ids) and all(map(_button, elements))
    return True


def _text_object(value: Any, longest: int) -> bool:
    return (
        isinstance(value, dict)
        and value.get("type") in ("mrkdwn", "plain_text")
        and len(str(value.get("text", "")).strip()) >= 1
        and len(value["text"]) <= longest
    )


def _button(element: Mapping[str, Any]) -> bool:
    return (
        element.get("type") == "button"
        and _text_object(element.get("text"), 75)
        and element["text"]["type"] == "plain_text"
        and 1 <= len(str(element.get("action_id", ""))) <= 255
        and len(str(element.get("value", ""))) <= 2000
        and len(str(element.get("url", ""))) <= 3000
    )


def _seen(posted: Posted) -> str:
    """What a reader sees of a message's words; the lines of sources and the buttons aside."""
    texts = []
    for block in posted.blocks:
        if block["type"] == "markdown":
            texts.append(unescape(block["text"]))
        elif block["type"] == "section":
            texts.append(unescape(block["text"]["text"]))
    return "\n".join(texts) if texts else unescape(posted.text)


def _labels(posted: Posted) -> tuple[str, ...]:
    return tuple(
        one["text"]["text"] for block in posted.blocks if block["type"] == "actions" for one in block["elements"]
    )


def _signed(body: str, secret: str, timestamp: float) -> dict[str, str]:
    stamp = str(int(timestamp))
    digest = hmac.new(secret.encode(), f"v0:{stamp}:{body}".encode(), hashlib.sha256).hexdigest()
    return {"X-Slack-Signature": f"v0={digest}", "X-Slack-Request-Timestamp": stamp}


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
