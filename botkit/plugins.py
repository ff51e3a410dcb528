"""Front ends: what an adapter is, and how adapters are found.

An adapter translates one platform's events into `Message`s and the engine's events back. It is
found through the entry-point group `botkit.adapters`, or as a file or package in `plugins_dir`; the
first-party adapters use the same door.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel

from botkit.config import ConfigFile, Section, Settings
from botkit.errors import AdapterError, BotkitError, MissingExtraError

if TYPE_CHECKING:
    from types import ModuleType

    from botkit.engine import Engine

ENTRY_POINT_GROUP: Final = "botkit.adapters"
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a platform can show. `max_length` is in characters, None for no limit."""

    max_length: int | None = None
    markup: Literal["plain", "markdown", "html", "mrkdwn"] = "plain"
    edits: bool = False
    streaming: bool = False
    typing: bool = False
    buttons: bool = False
    threads: bool = False


class AdapterConfig(Section):
    """Base of an adapter's own section under `adapters:`; unknown keys are errors."""

    enabled: bool = False


@runtime_checkable
class Adapter(Protocol):
    """One front end.

    `Config` is the pydantic model of its section under `adapters:` in the configuration; an instance of it is
    given to the constructor. `serve` runs until cancelled; when cancelled it finishes the
    answers in flight and returns.
    """

    name: ClassVar[str]
    Config: ClassVar[type[BaseModel]]
    capabilities: ClassVar[Capabilities]

    def __init__(self, config: BaseModel) -> None: ...

    async def serve(self, engine: Engine) -> None:
        """Serve the platform until cancelled."""
        ...


@dataclass(frozen=True, slots=True)
class Check:
    """What an adapter found out about one of its settings from the platform; `remedy` says what to do where not `ok`."""

    what: str
    ok: bool
    said: str
    remedy: str = ""


@runtime_checkable
class Checkable(Protocol):
    """An adapter that can ask its platform whether its tokens and permissions are in order (`botkit doctor --online`)."""

    async def check(self) -> list[Check]:
        """Look; must not raise for what it is there to find."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """An adapter that is installed: its class, or the problem that keeps it from being used."""

    name: str
    source: str
    adapter: type[Adapter] | None = None
    problem: str = ""


def discover(settings: Settings) -> list[Found]:
    """All adapters, by name. A broken one is reported in its place and harms no other."""
    return _all(settings)


def _all(settings: Settings, only: str | None = None) -> list[Found]:
    """`only`: of the installed ones, import just that, so that one front end does not load what another needs."""
    found: dict[str, Found] = {}
    for one in (*_installed(only), *_dropped_in(settings.config.plugins_dir)):
        earlier = found.get(one.name)
        if earlier is None or (earlier.adapter is None and one.adapter is not None):
            found[one.name] = one
        elif one.adapter is not None and one.adapter is not earlier.adapter:
            key = f"{one.name} ({one.source})"
            found[key] = Found(key, one.source, None, f"the name {one.name!r} is already taken by {earlier.source}")
    return sorted(found.values(), key=lambda one: one.name)


def make_adapter(name: str, settings: Settings, **overrides: Any) -> Adapter:
    """The adapter of that name with its section of the configuration; `overrides` replace settings of it.

    Raises `AdapterError` where there is none or it is broken or cannot be made, `ConfigError` where its section is wrong.
    """
    chosen = next((one for one in _all(settings, only=name) if one.name == name), None)
    if chosen is None:
        names = ", ".join(one.name for one in discover(settings)) or "none"
        raise AdapterError(
            f"There is no adapter {name!r}; installed: {names}. Install the package that brings it, or put it into "
            "plugins_dir."
        )
    if chosen.adapter is None:
        raise AdapterError(f"The adapter {name!r} ({chosen.source}) cannot be used: {chosen.problem}.")
    try:
        return chosen.adapter(section_of(chosen.adapter, settings, **overrides))
    except BotkitError:
        raise
    except (Exception, SystemExit) as error:  # a plugin may raise anything; it must not take the bot down
        raise AdapterError(
            f"The adapter {name!r} ({chosen.source}) cannot be started: {type(error).__name__}: {error}{_where(error)}."
        ) from error


def section_of(adapter: type[Adapter], settings: Settings, **overrides: Any) -> BaseModel:
    """An adapter's validated section; raises `ConfigError` naming file, line and key."""
    name = adapter.name
    values: dict[str, Any] = {**settings.config.adapters.get(name, {}), **overrides}
    if "enabled" not in adapter.Config.model_fields:
        values.pop("enabled", None)
    return _validated(adapter.Config, values, settings, name)


def enabled(settings: Settings) -> list[str]:
    """Names of the adapters that the configuration enables; raises `ConfigError` where it is neither said nor denied.

    What comes from the environment is text: "true" and "1" are as good as true there.
    """
    sections = settings.config.adapters.items()
    return [name for name, section in sections if _validated(_Enabled, section, settings, name).enabled]


class _Enabled(BaseModel):
    """What is read of a section before its adapter is."""

    enabled: bool = False


def _validated(model: type[Model], values: Mapping[str, Any], settings: Settings, name: str) -> Model:
    """The section of the adapter `name`; raises `ConfigError` naming file, line and key where a file is behind the settings."""
    if settings.source is None:
        return model.model_validate(values)
    return ConfigFile(settings.source).validate(model, values, above=("adapters", name))


def _installed(only: str | None) -> Iterator[Found]:
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if only is not None and point.name != only:
            continue
        source = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
        yield _loaded(point, source)


def _loaded(point: EntryPoint, source: str) -> Found:
    try:
        adapter = point.load()
    except (Exception, SystemExit) as error:  # a plugin's import may raise anything; it must not take the bot down
        return Found(point.name, source, None, _why(error))
    return _checked(point.name, source, adapter)


def _dropped_in(folder: Path | None) -> Iterator[Found]:
    """Adapters in `plugins_dir`: every class with an adapter's parts in a module or package there."""
    if folder is None:
        return
    if not folder.is_dir():
        yield Found("plugins_dir", str(folder), None, "there is no such folder")
        return
    for path in sorted(folder.iterdir()):
        file = path / "__init__.py" if path.is_dir() else path
        if file.suffix != ".py" or not file.is_file() or path.name.startswith((".", "_")):
            continue
        try:
            module = _imported(path, file)
        except (Exception, SystemExit) as error:  # as above
            yield Found(path.stem, str(path), None, _why(error))
            continue
        adapters = [
            value
            for value in vars(module).values()
            if isinstance(value, type)
            and value.__module__.partition(".")[0] == module.__name__
            and hasattr(value, "serve")
        ]
        if not adapters:
            yield Found(path.stem, str(path), None, "it holds no class with a method `serve`")
        for adapter in adapters:
            yield _checked(str(getattr(adapter, "name", path.stem)), str(path), adapter)


def _imported(path: Path, file: Path) -> ModuleType:
    name = f"botkit_plugin_{path.stem}"
    places = [str(path)] if path.is_dir() else None
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=places)
    if spec is None or spec.loader is None:
        raise ImportError("Python cannot import this file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _checked(name: str, source: str, adapter: Any) -> Found:
    problem = ""
    if missing := [part for part in ("name", "Config", "capabilities", "serve") if not hasattr(adapter, part)]:
        problem = f"its class lacks {', '.join(missing)}"
    elif not (isinstance(adapter.Config, type) and issubclass(adapter.Config, BaseModel)):
        problem = "its Config is no pydantic model"
    elif not isinstance(adapter.capabilities, Capabilities):
        problem = "its capabilities are no botkit.plugins.Capabilities"
    elif adapter.name != name:
        problem = f"it is registered as {name!r} and calls itself {adapter.name!r}"
    return Found(name, source, None if problem else adapter, problem)


def _why(error: BaseException) -> str:
    if isinstance(error, MissingExtraError):
        return str(error).rstrip(".")
    return f"its import failed: {type(error).__name__}: {error}{_where(error)}"


def _where(error: BaseException) -> str:
    """File and line where an error arose, between brackets."""
    frames = error.__traceback__
    while frames is not None and frames.tb_next is not None:
        frames = frames.tb_next
    return f" ({Path(frames.tb_frame.f_code.co_filename).name}:{frames.tb_lineno})" if frames is not None else ""
