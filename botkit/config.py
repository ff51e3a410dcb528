"""The configuration: one YAML file, validated before anything starts.

The models below are the schema; `config.example.yaml` documents every setting and a test compares
the two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from botkit.messages import Language

Persona = Literal["professional", "friendly", "witty", "caring", "enthusiastic"]


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values cannot change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class BotConfig(Section):
    """Who the bot is."""

    name: str = Field("botkit", min_length=1, description="Shown by the front ends.")
    language: Literal["auto", "en", "zh"] = Field(
        "auto", description="Language of the bot's own words; auto follows the person."
    )
    persona: Persona = Field("friendly", description="Tone of the small talk.")
    greeting: str = Field("", description="First words in a new conversation; empty for the built-in greeting.")


class KnowledgeConfig(Section):
    """What the bot answers from."""

    paths: list[Path] = Field(
        default_factory=list,
        description="Files and folders ingested at start; empty for what `botkit ingest` added.",
    )
    include_builtin: bool = Field(True, description="Ingest the knowledge that ships with botkit on first use.")
    watch: bool = Field(False, description="Follow changes of `paths` while serving.")
    chunk_tokens: int = Field(160, ge=32, le=350, description="Longest passage, in the reader's tokens.")
    chunk_overlap: int = Field(0, ge=0, le=64, description="Tokens shared by neighbouring passages of one section.")
    max_file_mb: float = Field(50.0, gt=0, description="Larger files are skipped and named.")


class RetrievalConfig(Section):
    """How passages are found."""

    k: int = Field(8, ge=1, le=100, description="Passages handed to the reader.")
    candidates: int = Field(50, ge=5, le=1000, description="Passages each half of the search returns before fusion.")
    vector_weight: float | None = Field(
        None, ge=0, le=1, description="Weight of the vector half in the fusion; empty for the measured default."
    )


class GeneratorConfig(Section):
    """Which generator speaks, and how it samples."""

    model: str = Field("builtin", description="builtin, a folder, a hub id, or openai:MODEL for an endpoint.")
    base_url: str = Field("", description="Root of an OpenAI-compatible endpoint, such as http://localhost:11434/v1.")
    api_key: SecretStr = Field(SecretStr(""), description="Key of that endpoint; write ${NAME} to read the environment.")
    system_prompt: str = Field("", description="Instruction sent first to an endpoint or a hub chat model.")
    timeout_s: float = Field(60.0, gt=0, description="Seconds to wait for an endpoint.")
    temperature: float = Field(0.7, ge=0, le=2)
    top_k: int = Field(40, ge=0, description="0 for no limit.")
    top_p: float = Field(0.9, gt=0, le=1)
    repetition_penalty: float = Field(1.1, ge=1, le=2)
    max_new_tokens: int = Field(80, ge=1, le=4096)
    stop: list[str] = Field(default_factory=list)
    seed: int | None = Field(None, description="Set it for the same words every time.")


class ModelsConfig(Section):
    """Which models are used: `builtin`, a folder, or a hub id (needs the extra `torch`)."""

    encoder: str = "builtin"
    reader: str = "builtin"
    sentiment: str = "builtin"
    generator: GeneratorConfig = Field(default_factory=GeneratorConfig)
    threads: int = Field(0, ge=0, description="CPU threads a model may use; 0 for all cores.")


class AnswerConfig(Section):
    """When the bot answers and when it says that it does not know."""

    threshold: float | None = Field(
        None, ge=0, le=1, description="Least probability of being right; empty for the calibrated default."
    )
    clarify_margin: float = Field(
        0.05, ge=0, le=1, description="Two readings closer than this lead to a question back; 0 never asks."
    )
    closest_sources: int = Field(3, ge=0, le=10, description="Sources shown with an I-don't-know.")
    small_talk: bool = Field(True, description="Let the generator chat when a message is small talk.")


class ConversationConfig(Section):
    """History and memory."""

    store: str = Field("sqlite", description="sqlite, or the path of a SQLite file.")
    history_turns: int = Field(8, ge=0, le=100, description="Turns the bot looks back on.")
    history_tokens: int = Field(512, ge=0, description="The same window, in tokens.")
    retention_days: int | None = Field(None, ge=1, description="Older conversations are deleted; empty keeps them.")


class HandOffConfig(Section):
    """When the bot offers a human, and how it calls one."""

    enabled: bool = True
    negative_turns: int = Field(3, ge=1, description="Negative messages in a row that lead to an offer.")
    low_confidence_turns: int = Field(2, ge=1, description="Unanswered questions in a row that lead to an offer.")
    contact: str = Field("", description="Told to the person, such as an address or opening hours.")
    hook: str = Field(
        "", description="What to call: an http(s) URL (a JSON POST), `python:package.module:function`, or a command line."
    )
    hook_timeout_s: float = Field(10.0, gt=0)
    include_transcript: bool = Field(False, description="Send the conversation's text to the hook as well.")


class LoggingConfig(Section):
    """What is written to the log."""

    level: Literal["debug", "info", "warning", "error"] = "warning"
    message_text: bool = Field(False, description="Write message text to the log. Off for privacy.")
    file: Path | None = Field(None, description="Log file; empty for standard error.")


class Config(Section):
    """The whole file."""

    home: Path | None = Field(None, description="Where botkit keeps its data; empty for the user's data directory.")
    bot: BotConfig = Field(default_factory=BotConfig)
    knowledge: KnowledgeConfig = Field(default_factory=KnowledgeConfig)
    retrieval: RetrievalConfig = Field(default_factory=RetrievalConfig)
    models: ModelsConfig = Field(default_factory=ModelsConfig)
    answer: AnswerConfig = Field(default_factory=AnswerConfig)
    conversation: ConversationConfig = Field(default_factory=ConversationConfig)
    hand_off: HandOffConfig = Field(default_factory=HandOffConfig)
    adapters: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="One section per adapter; each adapter validates its own."
    )
    plugins_dir: Path | None = Field(None, description="Folder of adapter files to load.")
    logging: LoggingConfig = Field(default_factory=LoggingConfig)


class Paths(BaseModel):
    """Where things lie under the home folder."""

    model_config = ConfigDict(frozen=True)

    home: Path

    @property
    def config(self) -> Path:
        """The configuration used when none is named."""
        return self.home / "config.yaml"

    @property
    def library(self) -> Path:
        """SQLite file with documents and chunks."""
        return self.home / "library.sqlite"

    @property
    def indexes(self) -> Path:
        """Folder of the derived tantivy and FAISS indexes."""
        return self.home / "indexes"

    @property
    def conversations(self) -> Path:
        """SQLite file with conversations."""
        return self.home / "conversations.sqlite"

    @property
    def models(self) -> Path:
        """Folder of pulled and exported models."""
        return self.home / "models"


class Settings(BaseModel):
    """A loaded configuration, where it came from, and where its data lies."""

    model_config = ConfigDict(frozen=True)

    config: Config
    source: Path | None
    paths: Paths


# load_settings(config: Path | None = None, home: Path | None = None) -> Settings  — see below
__all__ = ["Config", "Language", "Paths", "Section", "Settings"]
