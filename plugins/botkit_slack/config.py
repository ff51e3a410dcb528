"""The section `adapters.slack` of the configuration."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from botkit.delivery import Uploads
from botkit.messages import Language
from botkit.plugins import AdapterConfig


class SlackConfig(AdapterConfig):
    """The section `adapters.slack`."""

    mode: Literal["socket", "http"] = Field(
        "socket", description="socket connects to Slack and needs no address; http is called by it."
    )
    bot_token: SecretStr = Field(SecretStr(""), description="xoxb-…, from OAuth & Permissions.")
    app_token: SecretStr = Field(SecretStr(""), description="xapp-…, for mode socket, from Basic Information.")
    signing_secret: SecretStr = Field(SecretStr(""), description="For mode http, from Basic Information.")
    client_id: str = Field("", description="For several workspaces: with client_secret, each can install the app.")
    client_secret: SecretStr = Field(SecretStr(""), description="From Basic Information.")
    api_url: str = Field("https://slack.com/api/", description="Root of the Web API; another for a gateway.")
    host: str = Field("127.0.0.1", description="Where mode http listens.")
    port: int = Field(3000, ge=1, le=65535)
    path: str = Field("/slack/events", description="Path for events, commands and interactions.")
    allow_workspaces: list[str] = Field(default_factory=list, description="Ids (T…); empty for all.")
    allow_channels: list[str] = Field(default_factory=list, description="Ids (C…); empty for all it is invited to.")
    allow_users: list[str] = Field(default_factory=list, description="Ids (U…); empty for all.")
    tags: dict[str, list[str]] = Field(
        default_factory=dict, description="Channel id to tags: there it answers only from documents with one of them."
    )
    uploads: Uploads = Field(default_factory=Uploads, description="Whether files shared with the bot are read.")
    stream: bool = Field(True, description="Show replies while they are written.")
    human_channel: str = Field("", description="Id of the channel where people who want a human are announced.")
    language: Language = Field("en", description="Language of its own words before a person has written.")

    @field_validator("api_url")
    @classmethod
    def _root(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("an address that begins with https:// (or http://)")
        return value if value.endswith("/") else f"{value}/"

    @field_validator("human_channel")
    @classmethod
    def _id(cls, value: str) -> str:
        if value and not re.fullmatch(r"[CG][A-Z0-9]+", value):
            raise ValueError("a channel's id such as C0123ABCD, which stands at the foot of its details, not its name")
        return value

    @field_validator("path")
    @classmethod
    def _absolute(cls, value: str) -> str:
        return value if value.startswith("/") else f"/{value}"
