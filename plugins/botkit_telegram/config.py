"""The section `adapters.telegram` of the configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr, field_validator

from botkit.delivery import Uploads
from botkit.plugins import AdapterConfig


class TelegramConfig(AdapterConfig):
    """The section `adapters.telegram`."""

    mode: Literal["polling", "webhook"] = Field(
        "polling", description="polling asks Telegram for news and needs no address; webhook is called by it."
    )
    token: SecretStr = Field(SecretStr(""), description="The bot's token, from @BotFather.")
    api_url: str = Field("https://api.telegram.org", description="Root of the Bot API; another for your own server.")
    host: str = Field("127.0.0.1", description="Where the webhook listens.")
    port: int = Field(8443, ge=1, le=65535)
    path: str = Field("/telegram", description="Path of the webhook.")
    webhook_url: str = Field(
        "", description="The https address at which Telegram reaches host and port; empty for http://host:port/path."
    )
    secret_token: SecretStr = Field(
        SecretStr(""),
        description="What Telegram sends with each call to the webhook; empty for a new one at each start.",
    )
    allow_users: list[str] = Field(
        default_factory=list, description="Ids or @names that may talk to it; empty for all."
    )
    allow_chats: list[str] = Field(default_factory=list, description="Ids or @names of groups; empty for all.")
    tags: dict[str, list[str]] = Field(
        default_factory=dict, description="Chat id to tags: there it answers only from documents with one of them."
    )
    uploads: Uploads = Field(default_factory=Uploads, description="Whether documents sent to the bot are read.")
    stream: bool = Field(True, description="Show replies while they are written.")
    inline: bool = Field(True, description="Answer inline queries (@bot question, in any chat).")
    human_chat: str = Field("", description="Id of the chat where people who want a human are announced.")
    messages_per_second: float = Field(30.0, gt=0, description="Telegram's limit for all chats together.")
    messages_per_minute_per_group: float = Field(20.0, gt=0, description="Telegram's limit for one group.")

    @field_validator("api_url")
    @classmethod
    def _root(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("an address that begins with https:// (or http://)")
        return value.rstrip("/")

    @field_validator("allow_users", "allow_chats", mode="before")
    @classmethod
    def _ids(cls, value: object) -> object:
        return [str(one) if isinstance(one, int) else one for one in value] if isinstance(value, list) else value

    @field_validator("human_chat", mode="before")
    @classmethod
    def _id(cls, value: object) -> object:
        if isinstance(value, str) and value and not value.removeprefix("-").isdigit():
            raise ValueError("a chat's id, which is a number such as -1001234567890")
        return str(value) if isinstance(value, int) else value

    @field_validator("tags", mode="before")
    @classmethod
    def _by_chat(cls, value: object) -> object:
        return {str(chat): tags for chat, tags in value.items()} if isinstance(value, dict) else value
