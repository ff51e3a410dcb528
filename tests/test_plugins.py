from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from botkit import cli
from botkit.config import Config, Paths, Settings, load_settings
from botkit.errors import AdapterError, ConfigError
from botkit.plugins import Found, discover, enabled, make_adapter

GOOD = """
from typing import ClassVar
from botkit.plugins import AdapterConfig, Capabilities

class Config(AdapterConfig):
    port: int = 1

class Good:
    name = "{name}"
    Config = Config
    capabilities = Capabilities()
    def __init__(self, config): self.config = config
    async def serve(self, engine): pass
"""


def settings_with(folder: Path, **plugins: str) -> Settings:
    folder.mkdir(exist_ok=True)
    for name, text in plugins.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return Settings(config=Config(plugins_dir=folder), source=None, paths=Paths(home=folder))


def found(settings: Settings) -> dict[str, Found]:
    return {one.name: one for one in discover(settings)}


def test_the_terminal_comes_through_the_entry_point() -> None:
    terminal = found(Settings(config=Config(), source=None, paths=Paths(home=Path())))["terminal"]
    assert terminal.adapter is not None
    assert terminal.source.startswith("botkit ")


def test_a_file_dropped_into_plugins_dir_is_found(tmp_path: Path) -> None:
    settings = settings_with(tmp_path / "p", mine=GOOD.format(name="mine"))
    assert found(settings)["mine"].adapter is not None
    assert make_adapter("mine", settings, port=7).config.port == 7  # type: ignore[attr-defined]


def test_a_package_dropped_into_plugins_dir_may_import_its_own_parts(tmp_path: Path) -> None:
    package = tmp_path / "p" / "bundle"
    package.mkdir(parents=True)
    (package / "inner.py").write_text(GOOD.format(name="bundle"), encoding="utf-8")
    (package / "__init__.py").write_text("from .inner import Good\n", encoding="utf-8")
    assert found(settings_with(tmp_path / "p"))["bundle"].adapter is not None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("def broken(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero (broken.py:1)"),
        ("x = 1", "no class with a method `serve`"),
        ("class A:\n    name = 'broken'\n    def serve(self): ...", "lacks Config, capabilities"),
        (GOOD.format(name="terminal"), "already taken"),
    ],
)
def test_a_broken_plugin_is_reported_and_harms_no_other(tmp_path: Path, text: str, problem: str) -> None:
    settings = settings_with(tmp_path / "p", broken=text, good=GOOD.format(name="good"))
    adapters = found(settings)
    assert adapters["good"].adapter is not None
    assert adapters["terminal"].adapter is not None
    [reported] = [one for one in adapters.values() if one.problem]
    assert problem in reported.problem
    assert reported.adapter is None


def test_a_missing_plugins_dir_is_reported(tmp_path: Path) -> None:
    settings = Settings(config=Config(plugins_dir=tmp_path / "none"), source=None, paths=Paths(home=tmp_path))
    assert found(settings)["plugins_dir"].problem == "there is no such folder"


def test_an_adapter_that_is_not_there_or_broken_cannot_be_made(tmp_path: Path) -> None:
    settings = settings_with(tmp_path / "p", broken="1 / 0")
    with pytest.raises(AdapterError, match="installed: .*terminal"):
        make_adapter("pigeon", settings)
    with pytest.raises(AdapterError, match="division by zero"):
        make_adapter("broken", settings)


@pytest.mark.parametrize(
    ("raised", "told"),
    [("ValueError('no key')", r"ValueError: no key \(weak.py:\d+\)"), ("SystemExit('no key')", "no key")],
)
def test_an_adapter_that_fails_when_made_is_told_in_words(tmp_path: Path, raised: str, told: str) -> None:
    text = GOOD.format(name="weak").replace("self.config = config", f"raise {raised}")
    with pytest.raises(AdapterError, match=f"'weak' .* cannot be started: .*{told}"):
        make_adapter("weak", settings_with(tmp_path / "p", weak=text))


FUSSY = """
from pydantic import BaseModel, field_validator
from botkit.plugins import Capabilities

class Fussy:
    name = "fussy"
    capabilities = Capabilities()
    class Config(BaseModel):
        key: str = ""
        @field_validator("key")
        @classmethod
        def checked(cls, value):
            return {}[value]
    def __init__(self, config): pass
    async def serve(self, engine): pass
"""


def test_a_section_whose_validator_breaks_harms_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "fussy.py").write_text(FUSSY, encoding="utf-8")
    path = tmp_path / "config.yaml"
    path.write_text("plugins_dir: p\nadapters:\n  fussy:\n    enabled: true\n    key: k\n", encoding="utf-8")
    with pytest.raises(AdapterError, match="'fussy' .* cannot be started: KeyError"):
        make_adapter("fussy", load_settings(path))
    with pytest.raises(SystemExit):
        cli.main(["config", "check", "--config", str(path)])
    assert "adapters.fussy: cannot be checked" in capsys.readouterr().err


def test_enabled_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        'adapters:\n  slack:\n    enabled: "${SLACK_ON:-false}"\n  terminal:\n    enabled: ${TERMINAL_ON}\n',
        encoding="utf-8",
    )
    monkeypatch.setenv("TERMINAL_ON", "true")
    assert enabled(load_settings(path)) == ["terminal"]
    monkeypatch.setenv("SLACK_ON", "1")
    assert enabled(load_settings(path)) == ["slack", "terminal"]
    monkeypatch.setenv("SLACK_ON", "perhaps")
    with pytest.raises(ConfigError, match=r"config.yaml:3: adapters.slack.enabled"):
        enabled(load_settings(path))


def test_a_mistake_in_an_adapters_section_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("adapters:\n  terminal:\n    enabled: true\n    them: dark\n", encoding="utf-8")
    settings = load_settings(path)
    assert enabled(settings) == ["terminal"]
    with pytest.raises(ConfigError, match=r"config.yaml:4: adapters.terminal.them: unknown key; did you mean `theme`"):
        make_adapter("terminal", settings)


def test_a_new_adapter_is_a_package_with_a_passing_test(tmp_path: Path) -> None:
    def botkit(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "botkit", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    made = botkit("plugins", "new", "pigeon_post")
    assert made.returncode == 0, made.stderr
    package = tmp_path / "botkit_pigeon_post"
    root = Path(__file__).parent.parent
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=package,
        env=os.environ | {"PYTHONPATH": f"{package}{os.pathsep}{root}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout
    assert "3 passed" in tested.stdout
    again = botkit("plugins", "new", "pigeon_post")
    assert (again.returncode, "exists already" in again.stderr) == (1, True)
    assert "begins with a letter" in botkit("plugins", "new", "../evil").stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [("slack", "installed already"), ("class", "word of the Python language"), ("pigeon_", "letters, digits")],
)
def test_a_name_that_cannot_be_used_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        cli.main(["plugins", "new", name])
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
