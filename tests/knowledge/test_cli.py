"""`botkit ingest` and `botkit knowledge` as a person and a program see them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from botkit import cli
from botkit.cli import common


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose configuration leaves out the documents that ship with botkit."""
    path = tmp_path / "home"
    path.mkdir()
    (path / "config.yaml").write_text("knowledge:\n  include_builtin: false\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BOTKIT_CONFIG", raising=False)
    monkeypatch.setenv("BOTKIT_HOME", str(path))
    return path


def run(capfd: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    """Standard output of a command that exits with `code`."""
    with pytest.raises(SystemExit) as ended:
        cli.main([str(argument) for argument in arguments])
    assert (ended.value.code or 0) == code
    return capfd.readouterr().out


def run_json(capfd: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> dict[str, Any]:
    return json.loads(run(capfd, *arguments, "--json", code=code))  # type: ignore[no-any-return]


def test_ingest_list_show_and_remove(home: Path, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = "# Returns\n\nThirty days,  exactly.\r\n"
    (folder / "a.md").write_bytes(text.encode())
    (folder / "b.csv").write_text("x,y\n1,2\n", encoding="utf-8")
    report = run_json(capfd, "ingest", folder, "--tag", "shop")
    assert (report["read"], report["chunks"]) == (["docs/a.md"], 1)
    assert [(Path(one["path"]).name, one["reason"]) for one in report["skipped"]] == [("b.csv", "not_faq")]
    listed = run_json(capfd, "knowledge", "list")
    assert [(one["id"], one["title"], one["tags"]) for one in listed["documents"]] == [
        ("docs/a.md", "Returns", ["shop"])
    ]
    assert run(capfd, "knowledge", "show", "docs/a.md") == text
    assert "[11:33]" in run(capfd, "knowledge", "show", "docs/a.md", "--chunks")
    assert run_json(capfd, "knowledge", "stats") | {"documents": 1, "chunks": 1, "ok": True} == run_json(
        capfd, "knowledge", "stats"
    )
    assert run_json(capfd, "knowledge", "remove", "docs/a.md") == {"removed": ["docs/a.md"], "n": 1}
    assert "no documents yet" in run(capfd, "knowledge", "list")


def test_names_are_printed_whole_as_they_are_and_steer_no_terminal(
    home: Path, folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    for name in ("console", "err_console"):
        monkeypatch.delitem(vars(common), name, raising=False)
    long = "a [draft] " + "of very many words " * 6
    (folder / f"{long}.md").write_text("# The \x1b[31mred\x1b[0m fox [bold]\n\nIt is here.\n", encoding="utf-8")
    (folder / "empty [x].md").write_bytes(b"")
    assert f"{folder}/empty [x].md: the file is empty" in run(capfd, "ingest", folder)
    listed = run(capfd, "knowledge", "list")
    assert f"docs/{long}.md" in listed
    assert "fox [bold]" in listed and "\x1b" not in listed


def test_the_summary_names_what_was_left_out_and_why(
    home: Path, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.md").write_text("Text.", encoding="utf-8")
    (folder / "empty.md").touch()
    shown = run(capfd, "ingest", folder)
    assert "1  read" in shown and "empty.md: the file is empty" in shown


def test_a_dry_run_and_nothing_readable(home: Path, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "a.md").write_text("Text.", encoding="utf-8")
    assert "would be read" in run(capfd, "ingest", folder, "--dry-run")
    assert run_json(capfd, "knowledge", "list")["n"] == 0
    (folder / "a.md").write_text("", encoding="utf-8")
    run(capfd, "ingest", folder, code=1)


def test_mistakes_are_told_in_one_line(home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    told = run_json(capfd, "ingest", tmp_path / "nothing", code=1)
    assert told["error"]["type"] == "LibraryError"
    assert "knowledge list" in run_json(capfd, "knowledge", "show", "nothing", code=1)["error"]["message"]
    run(capfd, "ingest", tmp_path, "--lang", "fr", code=2)
    assert "Name the files" in run_json(capfd, "ingest", code=1)["error"]["message"]
