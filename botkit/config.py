"""The configuration: one YAML file, validated before anything starts.

The models below are the schema; `config.example.yaml` documents every setting and a test compares
the two. `load_settings` reads the file; every mistake in it is named with file, line and key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from botkit.errors import ConfigError
from botkit.text import nearest

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
    api_key: SecretStr = Field(
        SecretStr(""), description="Key of that endpoint; write ${NAME} to read the environment."
    )
    system_prompt: str = Field("", description="Instruction sent first to an endpoint or a hub chat model.")
    timeout_s: float = Field(60.0, gt=0, description="Seconds to wait for an endpoint.")
    temperature: float = Field(0.7, ge=0, le=2)
    top_k: int = Field(40, ge=0, description="0 for no limit.")
    top_p: float = Field(0.9, gt=0, le=1)
    repetition_penalty: float = Field(1.1, ge=1, le=2)
    max_new_tokens: int = Field(80, ge=1, le=4096)
    stop: list[str] = Field(default_factory=list)
    seed: int | None = Field(None, ge=0, description="Set it for the same words every time.")


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
        0.05,
        ge=0,
        le=1,
        description="Two readings whose confidences differ by less than this share of the better one lead to a question back; 0 never asks.",
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
        "",
        description="What to call: an http(s) URL (a JSON POST), `python:package.module:function`, or a command line.",
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


ConfigModel = TypeVar("ConfigModel", bound=BaseModel)

_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_SECRET_NAME: Final = re.compile(r"(?i)(token|secret|password|api_?key)$")
_PATH_KEYS: Final = (("home",), ("plugins_dir",), ("knowledge", "paths"), ("logging", "file"))
_MODEL_KEYS: Final = (
    ("models", "encoder"), ("models", "reader"), ("models", "sentiment"), ("models", "generator", "model"),
)  # fmt: skip
"""Names, or folders: those that begin as one, or lie beside the file."""
_NO_FOLDERS: Final = ("builtin", "scratch")
"""What is never a folder, also where one is called so."""
_LARGEST_FILE: Final = 1_000_000
_DEEPEST: Final = 50
_MERGE: Final = "tag:yaml.org,2002:merge"
_MOST_VALUES: Final = 100_000
"""An alias stands for its whole anchor, so a short file may unfold without end."""
_MASK: Final = "********"

Place: TypeAlias = tuple[str | int, ...]
"""The keys, and the numbers in lists, that lead to a value."""


class ConfigFile:
    """A YAML file and the line of each of its keys; collects problems so that all are told at once.

    `filled` has the text as written of each value that came from the environment. An environment variable that is not
    set is told here, or with `collect` together with what `validate` finds. `if_missing` is the advice where there is no file.
    """

    def __init__(
        self,
        path: Path,
        *,
        collect: bool = False,
        if_missing: str = "Copy config.example.yaml there, or leave --config out.",
    ) -> None:
        self.path = path
        self._if_missing = if_missing
        self.lines: dict[Place, int] = {}
        self.problems: list[tuple[int, str]] = []
        self.values: dict[str, Any] = {}
        self.filled: dict[Place, str] = {}
        self._unset: dict[Place, str] = {}
        self._count = 0
        root = self._compose()
        if root is not None:
            if not isinstance(root, yaml.MappingNode):
                self._fail(root.start_mark.line + 1, "expected `key: value` lines at the top level")
            else:
                self.values = self._plain(root, ())
        self.raise_problems()
        if not collect:
            self._tell_unset()
            self.raise_problems()

    def _compose(self) -> yaml.Node | None:
        try:
            if self.path.stat().st_size > _LARGEST_FILE:
                raise ConfigError(f"{self.path}: larger than 1 MB; this is no configuration file.")
            text = self.path.read_text(encoding="utf-8-sig")
        except FileNotFoundError as error:
            raise ConfigError(f"{self.path}: there is no such file. {self._if_missing}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{self.path}: not a text file in UTF-8 (byte {error.start}).") from error
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be read: {error.strerror}.") from error
        try:
            return yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f":{mark.line + 1}" if mark else ""
            why = getattr(error, "problem", None) or str(error)
            hint = " Indent with spaces, not tabs." if "\\t" in str(why) or "\t" in text else ""
            raise ConfigError(f"{self.path}{line}: not valid YAML: {why}.{hint}") from error

    def _plain(self, node: yaml.Node, path: Place) -> Any:
        """The value of a node, with `${NAME}` filled in, noting lines and double keys on the way."""
        self._count += 1
        if self._count > _MOST_VALUES or len(path) > _DEEPEST:
            raise ConfigError(
                f"{self.path}:{node.start_mark.line + 1}: too deep or too large; do aliases (*) go in a circle?"
            )
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            values: dict[str, Any] = {}
            for key_node, value_node in self._merged(node, path):
                key, line = str(key_node.value), key_node.start_mark.line + 1
                if key in values:
                    self._fail(line, f"{dotted((*path, key))}: this key stands twice")
                place = (*path, key)
                self.lines[place] = line
                values[key] = self._plain(value_node, place)
            return values
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node.value, str) and "${" in node.value:
            return self._filled(node.value, path)
        try:
            return _constructor().construct_object(node)
        except (yaml.YAMLError, ValueError) as error:  # a tag that is not for configuration, the 31st of February
            why = getattr(error, "problem", None) or str(error)
            self._fail(node.start_mark.line + 1, f"{dotted(path)}: not a valid value: {why}")
            return None

    def _merged(self, node: yaml.MappingNode, path: Place) -> list[tuple[yaml.Node, yaml.Node]]:
        """The pairs of a mapping, those of its merge key (`<<: *defaults`) first, but for keys that it sets itself."""
        own = [pair for pair in node.value if pair[0].tag != _MERGE]
        taken = {str(key.value) for key, _ in own}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            if key.tag != _MERGE:
                continue
            self._count += 1
            if self._count > _MOST_VALUES or len(path) > _DEEPEST:
                raise ConfigError(
                    f"{self.path}:{key.start_mark.line + 1}: too deep or too large; do aliases (*) go in a circle?"
                )
            for one in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(one, yaml.MappingNode):
                    self._fail(
                        key.start_mark.line + 1, f"{dotted((*path, '<<'))}: not a valid value: expected a mapping"
                    )
                    continue
                for pair in self._merged(one, (*path, "<<")):
                    merged.setdefault(str(pair[0].value), pair)
        return [*(pair for name, pair in merged.items() if name not in taken), *own]

    def _filled(self, text: str, path: Place) -> str:
        def value(match: re.Match[str]) -> str:
            name, default = match[1], match[2]
            if name in os.environ:
                self.filled[path] = text
                return os.environ[name]
            if default is not None:
                return default
            self._unset[path] = name
            return ""

        return _VARIABLE.sub(value, text)

    def _tell_unset(self, section: Place = ()) -> None:
        for path, name in self._unset.items():
            if path[: len(section)] == section:
                self._fail(self.line_of(path), f"{dotted(path)}: the environment variable {name} is not set")

    def _fail(self, line: int, problem: str) -> None:
        self.problems.append((line, problem))

    def line_of(self, path: Iterable[str | int]) -> int:
        """Line of a key, or of the nearest section above it."""
        steps = tuple(path)
        while steps and steps not in self.lines:
            steps = steps[:-1]
        return self.lines.get(steps, 1)

    def validate(self, model: type[ConfigModel], values: Mapping[str, Any], above: tuple[str, ...] = ()) -> ConfigModel:
        """An instance of `model`; raises `ConfigError` that tells every problem with its line."""
        self._tell_unset(above)
        try:
            loaded = model.model_validate(values)
        except ValidationError as error:
            for problem in error.errors(include_url=False):
                place = (*above, *problem["loc"])
                if place not in self._unset:
                    told = explain(model, dict(problem), above, hidden=place in self.filled)
                    self._fail(self.line_of(place), told)
            self.raise_problems()
            raise AssertionError("unreachable") from error
        self.raise_problems()
        return loaded

    def raise_problems(self) -> None:
        """Raise what was collected, if anything was."""
        if self.problems:
            told = [f"{self.path}:{line}: {problem}" for line, problem in sorted(self.problems)]
            raise ConfigError("\n".join(told))


def explain(
    model: type[BaseModel], problem: Mapping[str, Any], above: tuple[str, ...] = (), *, hidden: bool = False
) -> str:
    """One problem that pydantic found, as a sentence with the key, what was expected and the nearest valid key.

    What was found is not repeated where it is `hidden` (it came from the environment) or its key names a secret.
    """
    place = tuple(problem["loc"])
    key = dotted((*above, *place))
    if problem["type"] == "extra_forbidden":
        valid = _keys_at(model, place[:-1])
        near = nearest(str(place[-1]), valid, cutoff=0.5)
        hint = f"did you mean `{near}`?" if near else f"valid keys here: {', '.join(sorted(valid))}"
        return f"{key}: unknown key; {hint}"
    expected = str(problem["msg"]).removeprefix("Value error, ")
    if not place and problem["type"] == "value_error":  # about several keys: the message names them
        return f"{key}: {expected}" if key else expected
    expected = expected[0].lower() + expected[1:]
    if problem["type"] in ("model_type", "dict_type"):
        expected = "expected `key: value` lines below this key"
    secret = hidden or any(_SECRET_NAME.search(str(step)) for step in place)
    found = "" if secret or problem["type"] == "missing" else f", found {problem['input']!r}"
    near = nearest(str(problem["input"]), re.findall(r"'([^']+)'", expected), cutoff=0.5)
    hint = f"; did you mean `{near}`?" if near and problem["type"] == "literal_error" else ""
    return f"{key}: {expected}{found}{hint}"


def _keys_at(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    for step in path:
        field = model.model_fields.get(str(step))
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)


def dotted(path: Iterable[str | int]) -> str:
    """`("a", "b", 0)` as `a.b[0]`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _constructor() -> yaml.SafeLoader:
    return yaml.SafeLoader("")


def default_home() -> Path:
    """BOTKIT_HOME, or the folder `botkit` in the user's data directory."""
    if chosen := os.environ.get("BOTKIT_HOME"):
        return Path(chosen).expanduser()
    from platformdirs import user_data_path

    return user_data_path("botkit", appauthor=False)


def find_config(config: Path | None, home: Path) -> Path | None:
    """The file to read: the one named, BOTKIT_CONFIG, ./config.yaml, HOME/config.yaml, or None for the defaults."""
    if config is not None:
        return config
    if named := os.environ.get("BOTKIT_CONFIG"):
        return Path(named)
    return next((path for path in (Path("config.yaml"), home / "config.yaml") if path.is_file()), None)


def load_settings(config: Path | None = None, home: Path | None = None) -> Settings:
    """Read and validate the configuration; `home` wins over BOTKIT_HOME, and that over the file's `home`.

    Relative paths in the file are relative to its folder. Raises `ConfigError` naming file, line and key.
    """
    fallback = home or default_home()
    source = find_config(config, fallback)
    if source is None:
        return Settings(config=Config(), source=None, paths=Paths(home=fallback.expanduser().absolute()))
    file = ConfigFile(source, collect=True)
    loaded = file.validate(Config, _with_absolute_paths(file.values, source.absolute().parent))
    explicit = home is not None or "BOTKIT_HOME" in os.environ
    chosen = fallback if explicit or loaded.home is None else loaded.home
    return Settings(config=loaded, source=source, paths=Paths(home=chosen.expanduser().absolute()))


def _with_absolute_paths(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    def absolute(value: Any) -> Any:
        if isinstance(value, list):
            return [absolute(item) for item in value]
        return str(folder / at_home(value)) if isinstance(value, str) and value else value

    def named(value: Any) -> Any:
        return folder_or_name(value, folder) if isinstance(value, str) else value

    result = dict(values)
    keys = [
        *((path, absolute) for path in _PATH_KEYS),
        *((path, named) for path in _MODEL_KEYS),
        (("conversation", "store"), lambda value: value if value == "sqlite" else absolute(value)),
    ]
    for path, resolved in keys:
        inner = result
        for step in path[:-1]:
            if not isinstance(inner.get(step), dict):
                break
            inner[step] = dict(inner[step])
            inner = inner[step]
        else:
            if path[-1] in inner:
                inner[path[-1]] = resolved(inner[path[-1]])
    return result


def folder_or_name(written: str, beside: Path) -> str:
    """The absolute path where a model is written as one or lies in the folder `beside`; else the name as it stands."""
    is_folder = written.startswith((".", "~", "/")) or (beside / written).is_dir()
    return (
        str((beside / at_home(written)).resolve()) if written and written not in _NO_FOLDERS and is_folder else written
    )


def at_home(path: str) -> Path:
    """The path with ~ filled in; of a user that there is not it stays as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def shown(settings: Settings) -> tuple[dict[str, Any], set[Place]]:
    """The settings in effect, fit to be shown, and the places that the file fills.

    Secrets are masked, and what came from the environment stands there as the file names it: `${NAME}` may hold a secret
    anywhere, as in the address of a hook.
    """
    values: dict[str, Any] = masked(settings.config)
    values["home"] = str(settings.paths.home)
    if settings.source is None:
        return values, set()
    file = ConfigFile(settings.source)
    for place, text in file.filled.items():
        inner: Any = values
        for step in place[:-1]:
            inner = inner[step] if inner != _MASK else _MASK
        if inner != _MASK and inner[place[-1]] != _MASK:
            inner[place[-1]] = text
    return values, set(file.lines)


def masked(values: Any, name: str = "") -> Any:
    """The same values, fit to be shown: secrets as asterisks, paths as text."""
    if isinstance(values, BaseModel):
        return {key: masked(getattr(values, key), key) for key in type(values).model_fields}
    if isinstance(values, SecretStr) or (_SECRET_NAME.search(name) and isinstance(values, (str, Mapping, list, tuple))):
        filled = values.get_secret_value() if isinstance(values, SecretStr) else values
        return _MASK if filled else ""
    if isinstance(values, Mapping):
        return {key: masked(value, str(key)) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [masked(value) for value in values]
    return without_credentials(str(values)) if isinstance(values, (Path, str)) else values


def without_credentials(text: str) -> str:
    """The text with the password of a URL, and the path of a web hook (which is its secret), as asterisks."""
    text = re.sub(r"(?<=://)([^/@\s:]*):[^/@\s]+(?=@)", rf"\1:{_MASK}", text)
    return re.sub(r"(https?://hooks\.[^/\s]+/)\S+", rf"\1{_MASK}", text)


__all__ = [
    "Config",
    "ConfigFile",
    "Paths",
    "Section",
    "Settings",
    "load_settings",
    "masked",
    "shown",
    "without_credentials",
]
