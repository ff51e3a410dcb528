"""Killed at any moment, an ingest leaves each document in its old or its new state, and the stores agree."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from botkit.knowledge.base import Knowledge

_SCRIPT = [sys.executable, "-m", "tests.knowledge.encoders"]
_REPOSITORY = Path(__file__).parents[2]
_DOCUMENTS = 40
_KILLS = 15


def _write(folder: Path, version: int) -> dict[str, str]:
    """Every document anew; one in five is missing in each version. Returns id to text."""
    folder.mkdir(exist_ok=True)
    state = {}
    for number in range(_DOCUMENTS):
        file = folder / f"{number:02}.md"
        text = f"# Document {number}\n\n" + f"Version {version} of document {number} says so. " * 12 + "\n"
        if number % 5 == version % 5:
            file.unlink(missing_ok=True)
        else:
            file.write_text(text, encoding="utf-8")
            state[f"docs/{number:02}.md"] = text
    return state


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a POSIX matter")
def test_a_killed_ingest_leaves_whole_documents_and_stores_that_agree(
    tmp_path: Path, open_home: Callable[..., Knowledge]
) -> None:
    folder, home = tmp_path / "docs", tmp_path / "home"
    old = _write(folder, 0)
    open_home().ingest([folder])
    moments = random.Random(1)
    killed = 0
    for version in range(1, _KILLS + 1):
        new = _write(folder, version)
        process = subprocess.Popen(
            [*_SCRIPT, str(home), str(folder)], stdout=subprocess.PIPE, text=True, cwd=_REPOSITORY
        )
        assert process.stdout is not None and process.stdout.readline() == "started\n"
        try:
            process.wait(moments.uniform(0, 0.25))
        except subprocess.TimeoutExpired:
            process.kill()
            killed += 1
        process.wait()
        process.stdout.close()
        knowledge = open_home()
        hits = knowledge.search("document says so", 100)
        assert knowledge.check().problems == []
        present = {info.id: knowledge.document(info.id).text for info in knowledge.documents()}
        for id in old | new:
            assert present.get(id) in (old.get(id), new.get(id)), f"{id} is neither old nor new"
            assert (
                "".join(chunk.text for chunk in knowledge.chunks(id)).count(" of document ") == 12
                if id in present
                else True
            )
        assert all(hit.chunk.text == present[hit.chunk.document][hit.chunk.start : hit.chunk.end] for hit in hits)
        old = present
        knowledge.close()
    assert killed >= _KILLS // 3, "most of the runs ended before they were killed: the test proves nothing"
    final = open_home()
    final.ingest([folder])
    assert {info.id: final.document(info.id).text for info in final.documents()} == new
    assert final.check().ok
