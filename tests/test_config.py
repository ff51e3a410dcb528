from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from botkit import cli
from botkit.cli.config import rendered
from botkit.config import Config, folder_or_name, load_settings, masked, shown
from botkit.errors import ConfigError
from botkit.plugins import discover

EXAMPLE = Path(__file__).parent.parent / "config.example.yaml"


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(written(folder, text))
    return str(caught.value)


def keys_of(values: object, above: str = "") -> set[str]:
    if not isinstance(values, dict):
        return set()
    return {f"{above}{key}" for key in values} | {
        inner for key, value in values.items() for inner in keys_of(value, f"{above}{key}.")
    }


def schema_keys(model: type[BaseModel], above: str = "") -> set[str]:
    found = set()
    for name, field in model.model_fields.items():
        found.add(f"{above}{name}")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= schema_keys(field.annotation, f"{above}{name}.")
    return found


def test_the_example_names_every_setting_and_no_other() -> None:
    written_keys = {
        key for key in keys_of(yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))) if not key.startswith("adapters.")
    }
    assert written_keys == schema_keys(Config)


def test_the_example_holds_the_defaults() -> None:
    loaded = load_settings(EXAMPLE).config.model_dump(exclude={"adapters"})
    assert loaded == Config().model_dump(exclude={"adapters"})


def test_the_example_names_every_setting_of_the_first_party_front_ends() -> None:
    settings = load_settings(EXAMPLE)
    for found in discover(settings):
        if found.adapter is not None:
            section = settings.config.adapters[found.name]
            assert set(section) == set(found.adapter.Config.model_fields)
            assert found.adapter.Config.model_validate(section) == found.adapter.Config()


def test_an_unknown_key_is_told_with_file_line_and_the_nearest_valid_one(tmp_path: Path) -> None:
    told = problems(tmp_path, "bot:\n  name: x\nanswer:\n  treshold: 0.5\n")
    assert told.startswith(f"{tmp_path / 'config.yaml'}:4: answer.treshold: unknown key; did you mean `threshold`?")


def test_all_mistakes_are_told_at_once_in_order(tmp_path: Path) -> None:
    told = problems(tmp_path, "bot:\n  persona: frendly\nretrieval:\n  k: many\nwrong: 1\n").splitlines()
    assert [line.split(":")[1] for line in told] == ["2", "4", "5"]
    assert "did you mean `friendly`?" in told[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("answer:\n  threshold: 2\n", "config.yaml:2: answer.threshold: input should be less than or equal to 1"),
        ("bot:\n\tname: x\n", "Indent with spaces"),
        ("bot: [", "not valid YAML"),
        ("- a\n", "expected `key: value`"),
        ("bot:\n  name: a\n  name: b\n", "config.yaml:3: bot.name: this key stands twice"),
        (
            "bot:\n  name: ${NOT_SET_ANYWHERE}\n",
            "config.yaml:2: bot.name: the environment variable NOT_SET_ANYWHERE is not set",
        ),
    ],
)
def test_a_mistake_names_its_line(tmp_path: Path, text: str, said: str) -> None:
    assert said in problems(tmp_path, text)


def test_a_merge_key_gives_what_the_section_does_not_set(tmp_path: Path) -> None:
    text = "adapters:\n  a: &shared\n    x: 1\n    y: 1\n  b:\n    <<: *shared\n    y: 2\n"
    assert load_settings(written(tmp_path, text)).config.adapters["b"] == {"x": 1, "y": 2}
    twice = "adapters:\n  a: &a {x: 1, y: 1}\n  b: &b\n    <<: *a\n    y: 2\n  c: *b\n  d:\n    <<: [*b, *a]\n"
    adapters = load_settings(written(tmp_path, twice)).config.adapters
    assert adapters["b"] == adapters["c"] == adapters["d"] == {"x": 1, "y": 2}
    assert "circle" in problems(tmp_path, "x: &a\n  <<: *a\n")
    assert "config.yaml:1: bot.<<: not a valid value: expected a mapping" in problems(tmp_path, "bot: {<<: 5}\n")


def test_an_unset_variable_hides_no_other_mistake(tmp_path: Path) -> None:
    text = "models:\n  generator:\n    api_key: ${NOT_SET_ANYWHERE}\n    seed: ${NOT_SET_EITHER}\nretreival: 1\n"
    told = problems(tmp_path, text).splitlines()
    assert [line.split(":")[1] for line in told] == ["3", "4", "5"]
    assert "did you mean `retrieval`?" in told[2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bot:\n  name: !!python/object:os.system x\n", "config.yaml:2: bot.name: not a valid value"),
        ("logging:\n  file: 2020-02-31\n", "config.yaml:2: logging.file: not a valid value"),
        ("x: &a [*a]\n", "config.yaml:1: too deep or too large"),
        ("bot: 5\n", "config.yaml:1: bot: expected `key: value` lines below this key, found 5"),
    ],
)
def test_yaml_that_no_configuration_needs_is_refused_in_words(tmp_path: Path, text: str, said: str) -> None:
    assert said in problems(tmp_path, text)


def test_a_short_file_that_unfolds_without_end_is_refused(tmp_path: Path) -> None:
    layers = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    assert "too large" in problems(tmp_path, f"a0: &a0 x\n{layers}")


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_settings(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_settings(tmp_path / "binary.yaml")


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert load_settings(written(tmp_path, "# nothing yet\n")).config == Config()


def test_the_environment_fills_in_secrets_and_they_are_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    text = "models:\n  generator:\n    api_key: ${MY_KEY}\n    model: ${MODEL:-openai:small}\nadapters:\n  x:\n    bot_token: ${MY_KEY}\n"
    settings = load_settings(written(tmp_path, text))
    assert settings.config.models.generator.api_key.get_secret_value() == "sk-very-secret"
    assert settings.config.models.generator.model == "openai:small"
    shown = json.dumps(masked(settings.config))
    assert "sk-very-secret" not in shown
    assert "********" in shown


def test_a_wrong_secret_is_not_repeated_in_the_error(tmp_path: Path) -> None:
    assert "sk-1" not in problems(tmp_path, "models:\n  generator:\n    api_key: [sk-1]\n")


def test_what_the_environment_holds_is_told_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    assert "sk-secret" not in problems(tmp_path, "models:\n  generator:\n    seed: ${MY_KEY}\n")
    text = "hand_off:\n  hook: https://example.org/?key=${MY_KEY}\nadapters:\n  x:\n    app_token: [sk-secret]\n"
    values, _ = shown(load_settings(written(tmp_path, text)))
    assert values["hand_off"]["hook"] == "https://example.org/?key=${MY_KEY}"
    assert "sk-secret" not in json.dumps(values)


def test_check_tells_the_mistakes_of_every_front_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "adapters:\n  terminal:\n    them: x\n  slack:\n    bot_tokn: x\n")
    with pytest.raises(SystemExit):
        cli.main(["config", "check", "--config", str(path)])
    told = capsys.readouterr().err
    assert "config.yaml:3: adapters.terminal.them" in told
    assert "config.yaml:5: adapters.slack.bot_tokn" in told


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, "knowledge:\n  paths: [docs]\nplugins_dir: mine\n"))
    assert settings.config.knowledge.paths == [tmp_path / "docs"]
    assert settings.config.plugins_dir == tmp_path / "mine"
    (tmp_path / "models").mkdir()
    text = (
        "conversation:\n  store: chats.sqlite\nmodels:\n  reader: models\n  sentiment: ./gone\n  encoder: some/name\n"
    )
    config = load_settings(written(tmp_path, text)).config
    assert config.conversation.store == str(tmp_path / "chats.sqlite")
    assert (config.models.reader, config.models.sentiment) == (str(tmp_path / "models"), str(tmp_path / "gone"))
    assert config.models.encoder == "some/name"
    assert load_settings(written(tmp_path, "conversation:\n  store: sqlite\n")).config.conversation.store == "sqlite"


def test_what_names_no_folder_stays_a_name_beside_a_folder_called_so(tmp_path: Path) -> None:
    for name in ("builtin", "scratch", "mine"):
        (tmp_path / name).mkdir()
    config = load_settings(written(tmp_path, "models:\n  reader: builtin\n  sentiment: mine\n")).config
    assert (config.models.reader, config.models.sentiment) == ("builtin", str(tmp_path / "mine"))
    assert folder_or_name("scratch", tmp_path) == "scratch"
    assert folder_or_name("~nosuchuser/m", tmp_path) == str(tmp_path / "~nosuchuser/m")


def test_a_home_of_nobody_stays_as_it_is(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, "logging:\n  file: ~nosuchuser/a.log\n"))
    assert settings.config.logging.file == tmp_path / "~nosuchuser/a.log"


def test_a_variable_deep_below_a_secret_is_shown_as_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOTKIT_TEST", "hidden")
    text = "adapters:\n  slack:\n    token: {a: {b: '${BOTKIT_TEST}'}}\n"
    values, _ = shown(load_settings(written(tmp_path, text)))
    assert values["adapters"]["slack"]["token"] == "********"


def test_the_home_is_the_options_then_the_environments_then_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, "home: from-file\n")
    assert load_settings(path, tmp_path / "option").paths.home == tmp_path / "option"
    monkeypatch.setenv("BOTKIT_HOME", str(tmp_path / "environment"))
    assert load_settings(path).paths.home == tmp_path / "environment"
    monkeypatch.delenv("BOTKIT_HOME")
    assert load_settings(path).paths.home == tmp_path / "from-file"


def test_the_file_in_this_folder_wins_over_the_one_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    written(home, "bot:\n  name: of home\n")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert load_settings(home=home).config.bot.name == "of home"
    written(here, "bot:\n  name: of here\n")
    assert load_settings(home=home).config.bot.name == "of here"


def test_what_show_prints_can_be_read_again(tmp_path: Path) -> None:
    lines = [line for line, _ in rendered(masked(Config()))]
    path = written(tmp_path, "\n".join(lines) + "\n")
    assert load_settings(path).config == Config()
