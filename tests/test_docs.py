"""What the documentation shows is run: `$ botkit …` lines, Python examples, YAML settings; links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from botkit.cli import COMMANDS
from botkit.config import load_settings

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "examples" / "README.md",
]
MANUALS = sorted((ROOT / "knowledge").glob("*/botkit/*.md"))
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> Iterator[object]:
    for page in PAGES:
        for number, match in enumerate(_BLOCK.finditer(page.read_text(encoding="utf-8"))):
            if match[1] == language:
                yield pytest.param(match[2], id=f"{page.name}-{number}")


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(ROOT), str(ROOT / "plugins")))
    environment = os.environ | {"PYTHONPATH": path, "BOTKIT_HOME": str(folder / "home")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, input="")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the examples run one after the other, with a few documents of one's own."""
    path = tmp_path_factory.mktemp("reader")
    (path / "Documents").mkdir()
    shutil.copytree(ROOT / "examples", path / "examples")
    (path / "Documents" / "ferry.md").write_text("# Ferry\n\nThe ferry to Arran leaves at 9.40 am.\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("block", list(blocks("console")))
def test_commands_in_the_documentation_work(block: str, folder: Path) -> None:
    for line in block.splitlines():
        if line.startswith("$ "):
            words = shlex.split(line[2:], comments=True)
            assert words[0] == "botkit"
            done = run([sys.executable, "-m", "botkit", *words[1:]], folder)
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("block", list(blocks("python")))
def test_python_in_the_documentation_runs(block: str, folder: Path) -> None:
    done = run([sys.executable, "-c", block], folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", list(blocks("yaml")))
def test_settings_in_the_documentation_are_valid(block: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(block, encoding="utf-8")
    load_settings(tmp_path / "config.yaml")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", [*PAGES, *MANUALS], ids=lambda page: str(page.relative_to(ROOT)))
def test_only_commands_that_exist_are_named(page: Path) -> None:
    named = set(re.findall(r"`botkit ([a-z]+)", page.read_text(encoding="utf-8")))
    assert named <= set(COMMANDS), named - set(COMMANDS)
