"""Ingest: only what changed, whole documents, ids that stay, reasons for what is left out."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botkit.errors import BotkitError, LibraryBusyError, LibraryError
from botkit.knowledge.base import Knowledge, builtin_knowledge_path
from botkit.knowledge.ingest import IngestReport, Progress, _free_name
from botkit.knowledge.library import Root
from tests.knowledge.encoders import WordEncoder

Open = Callable[..., Knowledge]


def texts(knowledge: Knowledge, query: str, k: int = 5) -> list[str]:
    return [hit.chunk.text for hit in knowledge.search(query, k)]


def ids(knowledge: Knowledge) -> list[str]:
    return [info.id for info in knowledge.documents()]


def test_a_folder_is_read_and_found(knowledge: Knowledge, folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "returns.md").write_text("# Returns\n\nItems can be returned within thirty days.\n", encoding="utf-8")
    (folder / "sub" / "shipping.txt").write_text("Parcels leave every morning.", encoding="utf-8")
    report = knowledge.ingest([folder])
    assert (report.read, report.failed, report.skipped) == (["docs/returns.md", "docs/sub/shipping.txt"], [], [])
    assert texts(knowledge, "when do parcels leave")[0] == "Parcels leave every morning."
    assert knowledge.check().ok


def test_unchanged_files_are_not_read_again(knowledge: Knowledge, folder: Path, encoder: WordEncoder) -> None:
    (folder / "a.md").write_text("Some text.", encoding="utf-8")
    knowledge.ingest([folder])
    encoder.encoded.clear()
    os.utime(folder / "a.md")
    report = knowledge.ingest([folder])
    assert (report.unchanged, report.changed, encoder.encoded) == (1, False, [])


def test_an_edited_document_replaces_its_old_chunks(knowledge: Knowledge, folder: Path, encoder: WordEncoder) -> None:
    file = folder / "a.md"
    file.write_text("# One\n\nThe old price is ten.\n\n# Two\n\nThis stays.\n", encoding="utf-8")
    knowledge.ingest([folder])
    encoder.encoded.clear()
    file.write_text("# One\n\nThe new price is twelve.\n\n# Two\n\nThis stays.\n", encoding="utf-8")
    report = knowledge.ingest([folder])
    assert report.replaced == ["docs/a.md"]
    assert texts(knowledge, "price") == ["The new price is twelve.", "This stays."]
    assert [text for text in encoder.encoded if "stays" in text] == [], "an unchanged passage needs no new vector"
    assert knowledge.check().ok


def test_a_deleted_file_is_forgotten_and_others_stay(knowledge: Knowledge, folder: Path) -> None:
    for name in ("a", "b"):
        (folder / f"{name}.md").write_text(f"Text of {name}.", encoding="utf-8")
    knowledge.ingest([folder])
    (folder / "a.md").unlink()
    assert knowledge.ingest([folder]).removed == ["docs/a.md"]
    assert (ids(knowledge), texts(knowledge, "text")) == (["docs/b.md"], ["Text of b."])


def test_ingesting_one_folder_leaves_the_documents_of_another(knowledge: Knowledge, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "docs").mkdir(parents=True)
        (tmp_path / name / "docs" / "a.md").write_text(f"Text {name}.", encoding="utf-8")
        knowledge.ingest([tmp_path / name / "docs"])
    assert ids(knowledge) == ["docs/a.md", "two/docs/a.md"]
    shutil.rmtree(tmp_path / "one" / "docs")
    knowledge.ingest([tmp_path / "one" / "docs"])
    assert ids(knowledge) == ["two/docs/a.md"]


def test_a_file_keeps_its_id_when_its_folder_is_ingested_later(knowledge: Knowledge, folder: Path) -> None:
    (folder / "a.md").write_text("A.", encoding="utf-8")
    (folder / "b.md").write_text("B.", encoding="utf-8")
    knowledge.ingest([folder / "a.md"])
    knowledge.ingest([folder])
    assert ids(knowledge) == ["a.md", "docs/b.md"]


def test_tags_are_remembered_for_a_folder_and_for_a_part_of_it(knowledge: Knowledge, folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "a.md").write_text("---\ntags: [own]\n---\nA.", encoding="utf-8")
    (folder / "sub" / "b.md").write_text("B.", encoding="utf-8")
    knowledge.ingest([folder], tags=["all"])
    knowledge.ingest([folder / "sub"], tags=["part"])
    assert {info.id: info.tags for info in knowledge.documents()} == {
        "docs/a.md": ("all", "own"),
        "docs/sub/b.md": ("part",),
    }
    assert not knowledge.ingest([folder]).changed


def test_what_is_not_given_anew_is_kept_for_a_folder(knowledge: Knowledge, folder: Path) -> None:
    (folder / "a.md").write_text("A.", encoding="utf-8")
    knowledge.ingest([folder], tags=["hr"])
    knowledge.ingest([folder], language="zh")
    knowledge.ingest([folder])
    knowledge.ingest([folder], tags=["staff"])
    assert [(info.tags, info.language) for info in knowledge.documents()] == [(("staff",), "zh")]


def test_a_name_that_is_no_utf_8_costs_only_its_file(knowledge: Knowledge, folder: Path) -> None:
    (folder / "good.md").write_text("Good.", encoding="utf-8")
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.md")).write_text("The cafe opens at nine.", encoding="utf-8")
    except OSError:
        pytest.skip("this file system takes no such names")
    report = knowledge.ingest([folder])
    assert (ids(knowledge), [one.reason for one in report.failed]) == (["docs/good.md"], ["name"])
    assert json.dumps(report.failed[0].path, ensure_ascii=False).encode("utf-8").endswith(b'caf\\\\udce9.md"')


def test_a_dry_run_changes_nothing(knowledge: Knowledge, folder: Path, encoder: WordEncoder) -> None:
    (folder / "a.md").write_text("A.", encoding="utf-8")
    report = knowledge.ingest([folder], dry_run=True)
    assert (report.read, ids(knowledge), encoder.encoded, knowledge.library.roots()) == (["docs/a.md"], [], [], [])


def test_files_that_are_no_documents_are_named_and_the_rest_goes_on(knowledge: Knowledge, folder: Path) -> None:
    (folder / "good.md").write_text("Good.", encoding="utf-8")
    (folder / "empty.md").write_text(" \n", encoding="utf-8")
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    (folder / "prices.csv").write_text("item,price\nlamp,3\n", encoding="utf-8")
    (folder / ".hidden.md").write_text("Hidden.", encoding="utf-8")
    (folder / "broken.docx").write_bytes(b"PK not a zip")
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "nowhere.md").symlink_to(folder / "missing.md")
    report = knowledge.ingest([folder])
    assert report.read == ["docs/good.md"]
    assert {Path(one.path).name: one.reason for one in report.skipped} == {
        "empty.md": "empty",
        "picture.png": "binary",
        "prices.csv": "not_faq",
        "loop": "symlink_loop",
    }
    assert {Path(one.path).name: one.reason for one in report.failed} == {
        "broken.docx": "broken",
        "nowhere.md": "permission",
    }


def test_a_file_over_the_limit_is_skipped(open_home: Open, folder: Path) -> None:
    (folder / "big.txt").write_text("word " * 1000, encoding="utf-8")
    (left_out,) = open_home(max_file_mb=0.001).ingest([folder]).skipped
    assert left_out.reason == "too_large" and "max_file_mb" in left_out.message


def test_a_document_that_cannot_be_read_this_time_stays_but_an_emptied_one_goes(
    knowledge: Knowledge, folder: Path
) -> None:
    (folder / "a.csv").write_text("question,answer\nHow much?,Ten euros.\n", encoding="utf-8")
    (folder / "b.md").write_text("Text.", encoding="utf-8")
    knowledge.ingest([folder])
    (folder / "a.csv").write_text("question,answer\nHow much?,\n", encoding="utf-8")
    (folder / "b.md").write_text("", encoding="utf-8")
    report = knowledge.ingest([folder])
    assert [one.reason for one in report.failed] == ["broken"]
    assert (report.removed, ids(knowledge)) == (["docs/b.md"], ["docs/a.csv"])


def test_a_folder_that_cannot_be_opened_keeps_its_documents(
    knowledge: Knowledge, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = folder / "closed"
    closed.mkdir()
    (closed / "a.md").write_text("Text.", encoding="utf-8")
    (folder / "closed.md").write_text("Other text.", encoding="utf-8")
    knowledge.ingest([folder])
    scandir = os.scandir

    def refuse(path: Path) -> Iterator[os.DirEntry[str]]:
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    (folder / "closed.md").unlink()
    report = knowledge.ingest([folder])
    assert [(one.path, one.message) for one in report.failed] == [(str(closed), "cannot be opened: Permission denied")]
    assert (report.removed, ids(knowledge)) == (["docs/closed.md"], ["docs/closed/a.md"])


def test_a_file_that_no_converter_was_written_for_fails_alone(
    knowledge: Knowledge, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import botkit.knowledge.documents as documents

    def surprise(data: bytes, title: str) -> None:
        raise IndexError("no such row")

    monkeypatch.setattr(documents, "_plain_text", surprise)
    (folder / "a.txt").write_text("Text.", encoding="utf-8")
    (folder / "b.md").write_text("---\ndate: 2024-13-45\n---\nText.", encoding="utf-8")
    (folder / "c.md~").write_text("A backup.", encoding="utf-8")
    report = knowledge.ingest([folder])
    assert [one.message for one in report.failed] == ["cannot be read: IndexError: no such row"]
    assert ids(knowledge) == ["docs/b.md"]


def test_a_path_that_does_not_exist_is_an_error(knowledge: Knowledge, tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="no file or folder"):
        knowledge.ingest([tmp_path / "nothing"])


def test_progress_counts_files_and_bytes(knowledge: Knowledge, folder: Path) -> None:
    for number in range(3):
        (folder / f"{number}.md").write_text("Ten chars.", encoding="utf-8")
    seen: list[Progress] = []
    knowledge.ingest([folder], progress=seen.append)
    assert [(step.files, step.files_total, step.bytes, step.bytes_total) for step in seen] == [
        (0, 3, 0, 30),
        (1, 3, 10, 30),
        (2, 3, 20, 30),
        (3, 3, 30, 30),  # while they are embedded
    ]


def test_whoever_is_told_can_end_an_ingest_while_a_document_is_embedded(knowledge: Knowledge, folder: Path) -> None:
    (folder / "a.md").write_text("\n\n".join(f"Number {n} is a fact of its own." for n in range(99)), encoding="utf-8")

    def leave(step: Progress) -> None:
        if step.files == 1:
            raise BotkitError("The reading of documents was stopped.")

    with pytest.raises(BotkitError, match="stopped"):
        knowledge.ingest([folder], progress=leave)

    assert ids(knowledge) == []
    assert knowledge.check().ok
    assert knowledge.ingest([folder]).read == ["docs/a.md"]


def test_another_chunk_size_cuts_again_without_reading_the_same_passages_again(open_home: Open, folder: Path) -> None:
    (folder / "a.md").write_text("One sentence here. " * 30, encoding="utf-8")
    open_home(chunk_tokens=32).ingest([folder])
    larger = open_home(chunk_tokens=64)
    assert larger.ingest([folder]).replaced == ["docs/a.md"]
    assert larger.check().ok


def test_removed_documents_come_back_only_with_an_ingest(knowledge: Knowledge, folder: Path) -> None:
    (folder / "a.md").write_text("A.", encoding="utf-8")
    (folder / "b.md").write_text("B.", encoding="utf-8")
    knowledge.ingest([folder])
    assert knowledge.remove(["docs/"]) == ["docs/a.md", "docs/b.md"]
    assert (ids(knowledge), texts(knowledge, "A"), knowledge.check().ok) == ([], [], True)
    knowledge.ingest([folder])
    assert ids(knowledge) == ["docs/a.md", "docs/b.md"]
    with pytest.raises(LibraryError, match="Did you mean 'docs/', all below it"):
        knowledge.remove(["docs"])
    with pytest.raises(LibraryError, match="no document 'docs/c.md'"):
        knowledge.remove(["docs/a.md", "docs/c.md"])
    assert ids(knowledge) == ["docs/a.md", "docs/b.md"]


def test_shipped_documents_come_on_first_use_and_removed_ones_stay_away(open_home: Open) -> None:
    folder = builtin_knowledge_path()
    assert folder is not None
    first = open_home(include_builtin=True)
    assert first.search("return an item", 3)
    removed = ids(first)[0]
    assert removed.startswith("knowledge/")
    first.remove([removed])
    first.library.put_note("builtin", "another version")
    second = open_home(include_builtin=True)
    second.prepare()
    assert removed not in ids(second) and len(ids(second)) == len(ids(first)) > 10
    assert second.ensure_builtin() is None


def test_paths_of_the_configuration_are_ingested_at_first_use(open_home: Open, folder: Path) -> None:
    (folder / "a.md").write_text("Configured text.", encoding="utf-8")
    assert texts(open_home(paths=[folder]), "configured") == ["Configured text."]


def test_a_configured_path_that_is_gone_does_not_keep_the_others_away(
    open_home: Open, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "a.md").write_text("Configured text.", encoding="utf-8")
    assert texts(open_home(paths=[tmp_path / "gone", folder]), "configured") == ["Configured text."]
    assert f"there is no file or folder {tmp_path / 'gone'}" in caplog.text


def test_without_the_setting_the_shipped_documents_go_and_with_it_they_come_back(open_home: Open, folder: Path) -> None:
    (folder / "a.md").write_text("Own text.", encoding="utf-8")
    first = open_home(include_builtin=True)
    first.prepare()
    first.ingest([folder])
    everything = ids(first)
    second = open_home(include_builtin=False)
    second.prepare()
    assert ids(second) == ["docs/a.md"]
    assert all(hit.chunk.document == "docs/a.md" for hit in second.search("return an item", 9))
    third = open_home(include_builtin=True)
    third.prepare()
    assert ids(third) == everything


def test_a_second_writer_is_told_to_wait(open_home: Open, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botkit.knowledge.base._WAIT_S", 0.05)
    (folder / "a.md").write_text("A.", encoding="utf-8")
    with open_home()._writing(), pytest.raises(LibraryBusyError, match="Another botkit process"):
        open_home().ingest([folder])


def watching(knowledge: Knowledge, folder: Path, stop: threading.Event) -> Iterator[IngestReport]:
    """A watch that has begun: it has noticed folder/first.md."""
    noticed = threading.Event()
    reports = knowledge.watch([folder], stop=stop)

    def write_until_noticed() -> None:  # the watch begins at an unknown moment inside next()
        while not noticed.wait(0.1):
            (folder / ".first").write_text("First.", encoding="utf-8")
            (folder / ".first").replace(folder / "first.md")  # never seen half written

    writer = threading.Thread(target=write_until_noticed)
    writer.start()
    assert next(reports).read == ["docs/first.md"]
    noticed.set()
    writer.join()
    return reports


def test_watch_follows_new_edited_and_deleted_files(knowledge: Knowledge, folder: Path) -> None:
    (folder / "a.md").write_text("First.", encoding="utf-8")
    knowledge.ingest([folder])
    stop = threading.Event()
    reports = watching(knowledge, folder, stop)
    (folder / "a.md").unlink()
    assert next(reports).removed == ["docs/a.md"]
    stop.set()
    assert ids(knowledge) == ["docs/first.md"]


def test_watch_reads_a_folder_that_is_moved_in(knowledge: Knowledge, folder: Path, tmp_path: Path) -> None:
    knowledge.ingest([folder])
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere" / "deep" / "b.md").write_text("Moved.", encoding="utf-8")
    stop = threading.Event()
    reports = watching(knowledge, folder, stop)
    (tmp_path / "elsewhere").rename(folder / "moved")
    assert next(reports).read == ["docs/moved/deep/b.md"]
    stop.set()


def test_watch_goes_on_when_the_folder_is_replaced_as_a_whole(
    knowledge: Knowledge, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botkit.knowledge.base._LOOK_AGAIN_S", 0.1)
    knowledge.ingest([folder])
    stop = threading.Event()
    reports = watching(knowledge, folder, stop)
    folder.rename(tmp_path / "old")
    assert next(reports).removed == ["docs/first.md"]
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "b.md").write_text("Second.", encoding="utf-8")
    (tmp_path / "new").rename(folder)
    assert next(reports).read == ["docs/b.md"]
    (folder / "c.md").write_text("Third.", encoding="utf-8")
    assert next(reports).read == ["docs/c.md"]
    stop.set()


def test_watch_tries_again_what_another_writer_kept_away(
    open_home: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botkit.knowledge.base._LOOK_AGAIN_S", 0.05)
    monkeypatch.setattr("botkit.knowledge.base._WAIT_S", 0.05)
    knowledge, other = open_home(), open_home()
    knowledge.ingest([folder])
    stop, refused = threading.Event(), threading.Event()
    reports = watching(knowledge, folder, stop)
    monkeypatch.setattr("botkit.knowledge.base._log.info", lambda *_: refused.set())

    def write_meanwhile() -> None:
        with other._writing():
            (folder / "b.md").write_text("Second.", encoding="utf-8")
            assert refused.wait(30)

    writer = threading.Thread(target=write_meanwhile)
    writer.start()
    assert next(reports).read == ["docs/b.md"]
    writer.join()
    stop.set()


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4), min_size=1, max_size=8))
def test_no_root_name_is_the_beginning_of_another(folders: list[list[str]]) -> None:
    roots: list[Root] = []
    for parts in folders:
        path = Path("/", *parts)
        if not any(path.is_relative_to(root.path) for root in roots):  # those are named after the outer one
            roots.append(Root(str(path), _free_name(path, roots)))
    names = [f"{root.name}/" for root in roots]
    assert not any(first.startswith(second) for first in names for second in names if first is not second)
