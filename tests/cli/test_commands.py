"""The commands as a person or a program runs them, on the shipped models and documents."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from botkit.cli import COMMANDS, main
from botkit.models.registry import BUILTIN_FOLDER

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that has read the documents that ship."""
    folder = tmp_path_factory.mktemp("home")
    done = botkit("ask", "How much does express delivery cost?", "--home", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


def botkit(*arguments: str, source: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "botkit", *arguments],
        input=source,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}", "COLUMNS": "200"} | environment,
    )


def told(*arguments: str, **environment: str) -> dict[str, Any]:
    """The one JSON object that a command prints."""
    done = botkit(*arguments, "--json", **environment)
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    value: dict[str, Any] = json.loads(line)
    return value


def test_ask_prints_the_documented_object(home: Path) -> None:
    reply = told("ask", "How much does express delivery cost?", "--home", str(home))
    assert {
        "answer",
        "route",
        "confidence",
        "sources",
        "sentiment",
        "language",
        "timings_ms",
        "conversation",
    } <= reply.keys()
    assert reply["route"] == "answer"
    assert "9.50 euros" in reply["answer"]
    source = reply["sources"][0]
    assert {"document", "title", "heading", "page", "start", "end", "passage", "score"} <= source.keys()
    assert set(reply["sentiment"]) == {"label", "score"}
    text = (ROOT / source["document"]).read_text(encoding="utf-8")
    assert text[source["start"] : source["end"]] == source["span"]


def test_ask_answers_in_chinese(home: Path) -> None:
    reply = told("ask", "实木家具保修几年？", "--home", str(home))
    assert (reply["route"], reply["language"]) == ("answer", "zh")
    assert "五年" in reply["answer"]


def test_ask_explains_itself(home: Path) -> None:
    done = botkit("ask", "How much does express delivery cost?", "--explain", "--home", str(home))
    for part in ("route", "confidence", "BM25", "cosine", "retrieve", "read"):
        assert part in done.stdout
    assert told("ask", "How much is it?", "--explain", "--home", str(home))["trace"]["rule"]


def test_what_is_not_in_the_documents_is_not_known(home: Path) -> None:
    reply = told("ask", "Who won the football world cup in 1998?", "--home", str(home))
    assert reply["route"] == "unknown"


def test_answering_needs_no_torch(home: Path) -> None:
    script = (
        "import sys; from botkit.cli import main\n"
        "try: main(['ask', 'How much does express delivery cost?'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'textual', 'openai', 'sklearn'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "BOTKIT_HOME": str(home)},
    )
    assert done.stdout.strip().endswith("heavy: []"), done.stdout + done.stderr


def test_plain_chat_reads_a_message_a_line_and_prints_an_object_a_line(home: Path) -> None:
    source = "How much does express delivery cost?\nAnd how long does it take?\n你好\n\n"
    done = botkit("chat", "--plain", "--json", "--home", str(home), source=source)
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["route"] for one in objects][:1] == ["answer"]
    assert len(objects) == 4
    assert objects[2]["route"] == "chat"
    assert len({one["conversation"] for one in objects}) == 1


def test_chat_refuses_a_tag_that_no_document_has(home: Path) -> None:
    done = botkit("chat", "--plain", "--tag", "nosuch", "--home", str(home), source="How much does it cost?\n")
    assert done.returncode != 0
    assert "No document has the tag 'nosuch'" in done.stderr
    assert not done.stdout


def test_documents_of_ones_own_are_read_and_asked_about(tmp_path: Path) -> None:
    documents = tmp_path / "docs"
    documents.mkdir()
    (documents / "ferry.md").write_text(
        "# Ferry\n\nThe ferry to Arran leaves at 9.40 am every day.\n", encoding="utf-8"
    )
    (documents / "empty.txt").write_text("", encoding="utf-8")
    home = str(tmp_path / "home")
    (tmp_path / "config.yaml").write_text("knowledge:\n  include_builtin: false\n", encoding="utf-8")
    config = ("--config", str(tmp_path / "config.yaml"), "--home", home)
    report = told("ingest", str(documents), *config)
    assert report["read"] == ["docs/ferry.md"]
    assert [left_out["reason"] for left_out in report["skipped"]] == ["empty"]
    assert "9.40 am" in told("ask", "When does the ferry to Arran leave?", *config)["answer"]


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert "Usage" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ("models", "list"),
        ("models", "show", "reader"),
        ("knowledge", "list"),
        ("knowledge", "stats"),
        ("plugins", "list"),
        ("conversations", "list"),
        ("config", "check"),
        ("config", "show"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_commands_for_people_also_print_json(home: Path, arguments: tuple[str, ...]) -> None:
    assert told(*arguments, BOTKIT_HOME=str(home))
    assert botkit(*arguments, BOTKIT_HOME=str(home)).stdout.strip()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ask", "x", "--config", "/nowhere/c.yaml"), "there is no such file"),
        (("ingest", "/nowhere/at/all"), "/nowhere/at/all"),
        (("models", "use", "reader", "nonsense"), "neither a folder"),
        (("models", "show", "encoder", "nonsense"), "no model"),
        (("knowledge", "show", "nothing.md"), "nothing.md"),
        (("conversations", "show", "nothing"), "nothing"),
        (("serve",), "No front end is enabled"),
        (("serve", "--adapter", "pigeon"), "no adapter 'pigeon'"),
    ],
    ids=str,
)
def test_a_persons_mistake_is_an_error_in_words(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = botkit(*arguments, BOTKIT_HOME=str(tmp_path))
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_models_use_writes_the_choice_and_keeps_the_rest(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("# mine\nbot:\n  name: Ada  # hers\n", encoding="utf-8")
    done = botkit("models", "use", "generator", "openai:llama3", "--config", str(config), BOTKIT_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    text = config.read_text(encoding="utf-8")
    assert "# mine" in text
    assert "name: Ada  # hers" in text
    assert "model: openai:llama3" in text


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_models_use_keeps_a_private_file_private_and_writes_what_a_link_stands_for(tmp_path: Path) -> None:
    from botkit.cli.models import write_setting

    real = tmp_path / "dotfiles" / "c.yaml"
    real.parent.mkdir()
    real.write_text("bot:\n  name: Ada\n", encoding="utf-8")
    real.chmod(0o600)
    (tmp_path / "config.yaml").symlink_to(real)
    write_setting(tmp_path / "config.yaml", ("models", "reader"), "builtin")
    assert (tmp_path / "config.yaml").is_symlink() and "reader: builtin" in real.read_text(encoding="utf-8")
    assert real.stat().st_mode & 0o777 == 0o600
    write_setting(tmp_path / "new.yaml", ("models", "reader"), "builtin")
    assert (tmp_path / "new.yaml").stat().st_mode & 0o777 == 0o600


def test_models_use_refuses_a_folder_without_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").mkdir()
    with pytest.raises(SystemExit):
        main(["models", "use", "reader", str(tmp_path / "notes"), "--home", str(tmp_path / "home")])
    assert "holds no model" in capsys.readouterr().err
    assert not (tmp_path / "home" / "config.yaml").exists()


def test_doctor_tells_of_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    done = botkit("doctor", "--json", "--home", str(tmp_path / "file" / "home"))
    assert done.returncode == 1, done.stderr
    findings = {one["what"]: one for one in json.loads(done.stdout)["findings"]}
    assert (findings["home"]["state"], findings["knowledge"]["state"]) == ("problem", "problem")
    assert "Traceback" not in done.stderr


def test_doctor_names_the_missing_extra_and_the_broken_model(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("models:\n  reader: /nowhere\nknowledge:\n  include_builtin: false\n", encoding="utf-8")
    done = botkit("doctor", "--json", "--config", str(config), "--home", str(tmp_path / "home"))
    assert done.returncode == 1
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert findings["model reader"]["state"] == "problem"
    assert findings["home"]["state"] == "ok"


def test_doctor_names_models_of_another_kind_and_no_password(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    (tmp_path / "empty").mkdir()
    config.write_text(
        f"models:\n  sentiment: {tmp_path / 'empty'}\n  encoder: {BUILTIN_FOLDER / 'reader'}\n"
        "  generator:\n    model: openai:x\n    base_url: http://bob:hunter2@127.0.0.1:9/v1\n"
        "knowledge:\n  include_builtin: false\n",
        encoding="utf-8",
    )
    done = botkit("doctor", "--json", "--config", str(config), "--home", str(tmp_path / "home"))
    assert done.returncode == 1 and "hunter2" not in done.stdout
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert "holds no model" in findings["model sentiment"]["said"]
    assert "for the role reader, not encoder" in findings["model encoder"]["said"]


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "botkit", "models", "list", "--home", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 0


def test_an_exported_classifier_is_used_by_a_command_that_exists() -> None:
    from botkit.cli.models import _use

    assert _use("classifier", "topics") == 'Use it with `botkit classify "…" --model topics`.'
    assert _use("reader", "r") == "Use it with `botkit models use reader r`."


@pytest.mark.parametrize("base", ["builtin:readr", "builtin:", ""])
def test_a_base_that_there_is_not_is_told_before_anything_is_trained(base: str, tmp_path: Path) -> None:
    from botkit.cli.train import trainable
    from botkit.config import load_settings
    from botkit.errors import ModelError

    with pytest.raises(ModelError, match="There is no base"):
        trainable(base, "reader", load_settings(None, tmp_path))
