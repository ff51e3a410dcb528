"""Search: both halves, their fusion, filters inside the search, other processes' documents, any query."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botkit.errors import LibraryError
from botkit.knowledge import indexes as indexes_module
from botkit.knowledge import vectors as vectors_module
from botkit.knowledge.base import Knowledge
from botkit.knowledge.lexical import LexicalIndex
from botkit.knowledge.types import Chunk, SearchFilter
from botkit.knowledge.vectors import VectorIndex
from tests.knowledge.encoders import WordEncoder, open_knowledge

Open = Callable[..., Knowledge]


@pytest.fixture
def shop(knowledge: Knowledge, folder: Path) -> Knowledge:
    """Four documents in two languages, one of them an FAQ table."""
    (folder / "returns.md").write_text(
        "# Returns\n\nItems can be returned within thirty days.\n\n## Refunds\n\nMoney arrives after five days.\n",
        "utf-8",
    )
    (folder / "shipping.md").write_text(
        "---\ntags: [delivery]\n---\n# Shipping\n\nParcels are delivered within three days.\n", "utf-8"
    )
    (folder / "退货.md").write_text("# 退货\n\n签收后十五天内可以退货。\n\n## 退款\n\n三天内退款。\n", "utf-8")
    (folder / "faq.csv").write_text('question,answer,tags\nDo you ship abroad?,"Yes, to Norway.",abroad\n', "utf-8")
    knowledge.ingest([folder])
    return knowledge


def test_title_and_heading_are_searchable_though_not_in_the_passage(shop: Knowledge) -> None:
    best = shop.search("refunds", 3)[0].chunk
    assert (best.heading, best.text) == ("Returns › Refunds", "Money arrives after five days.")


def test_the_vectors_of_what_was_found_are_those_that_the_library_keeps(
    shop: Knowledge, encoder: WordEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    hits = shop.search("When does my money arrive after a return?", 8)
    before = len(encoder.encoded)
    found = shop.embeddings(hits)
    assert len(encoder.encoded) == before, "none is made anew"
    assert {"Money arrives after five days.", "Do you ship abroad?", "三天内退款。"} < set(found)
    for text, vector in found.items():
        np.testing.assert_allclose(vector, encoder.encode([text])[0], atol=1e-3, err_msg=text)
    assert shop.embeddings([]) == {}
    monkeypatch.setattr(indexes_module, "embedded_texts", lambda chunk: ["another", "cut", "of", "its", "sentences"])
    assert shop.embeddings(hits) == {}


def test_a_fact_that_is_one_sentence_of_many_is_found_by_its_vector(folder: Path, tmp_path: Path) -> None:
    filler = "Tables chairs shelves and beds are made of oak in our own workshop behind the harbour. " * 2
    (folder / "long.md").write_text(f"{filler}\n\nDogs may enter. {filler}", "utf-8")
    for number in range(20):
        (folder / f"other{number}.md").write_text(
            f"Dogs {number} sleep near harbour workshop {number} behind beds.", "utf-8"
        )
    knowledge = open_knowledge(tmp_path / "home", chunk_tokens=120)
    try:
        knowledge.ingest([folder])
        hits = knowledge.search("may dogs enter", 30)
    finally:
        knowledge.close()

    by_vector = sorted(hits, key=lambda hit: -(hit.vector_score or 0.0))
    assert "Dogs may enter" in by_vector[0].chunk.text


def test_a_library_of_the_first_format_is_taken_over(tmp_path: Path, folder: Path) -> None:
    (folder / "a.md").write_text("Parcels arrive within three days.", "utf-8")
    knowledge = open_knowledge(tmp_path / "home")
    knowledge.ingest([folder])
    knowledge.close()
    file = next((tmp_path / "home").rglob("*.sqlite*"), None) or next((tmp_path / "home").rglob("*.db"))
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE embeddings SET vector = substr(vector, 1, 64)")  # the whole, without its sentences
        connection.execute("ALTER TABLE embeddings DROP COLUMN rows")
        connection.execute("PRAGMA user_version = 1")
    connection.close()

    again = open_knowledge(tmp_path / "home")
    try:
        assert again.search("when do parcels arrive", 1)[0].vector_score is not None
        assert again.check().ok
    finally:
        again.close()


def test_english_words_match_in_other_forms(shop: Knowledge) -> None:
    assert shop.search("returning an item", 1)[0].chunk.text.startswith("Items can be returned")


def test_chinese_is_found_by_parts_of_words(shop: Knowledge) -> None:
    assert shop.search("几天能退款？", 1)[0].chunk.text == "三天内退款。"
    assert shop.search("退换货", 1)[0].chunk.text == "签收后十五天内可以退货。"


def test_an_faq_entry_is_found_by_its_question_and_gives_its_answer(shop: Knowledge) -> None:
    hit = shop.search("can you ship abroad", 3)[0].chunk
    assert (hit.kind, hit.text, hit.question) == ("faq", "Yes, to Norway.", "Do you ship abroad?")


def test_every_candidate_has_both_scores_and_the_rank_of_each_half_that_found_it(shop: Knowledge) -> None:
    hits = shop.search("thirty days", 10)
    assert len(hits) == 6
    assert all(hit.lexical_score is not None and hit.vector_score is not None for hit in hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert hits[0].lexical_rank == 1
    assert any(hit.lexical_rank is None and hit.lexical_score == 0 for hit in hits)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (SearchFilter(documents=("docs/shipping.md",)), {"docs/shipping.md"}),
        (SearchFilter(documents=("docs/shipping.md", "docs/faq.csv")), {"docs/shipping.md", "docs/faq.csv"}),
        (SearchFilter(tags=("delivery", "abroad")), {"docs/shipping.md", "docs/faq.csv"}),
        (SearchFilter(language="zh"), {"docs/退货.md"}),
        (SearchFilter(tags=("delivery",), language="zh"), set()),
        (SearchFilter(documents=("docs/nothing.md",)), set()),
    ],
)
def test_filters_hold_in_both_halves(shop: Knowledge, where: SearchFilter, expected: set[str]) -> None:
    assert {hit.chunk.document for hit in shop.search("days 天", 10, where=where)} == expected


def test_a_filter_finds_what_lies_far_below_the_first_candidates(open_home: Open, folder: Path) -> None:
    for number in range(120):
        (folder / f"{number:03}.md").write_text(f"Lamp lamp lamp number {number}.", "utf-8")
    (folder / "zzz.md").write_text("---\ntags: [rare]\n---\nA long text in which a lamp stands somewhere.", "utf-8")
    knowledge = open_home()
    knowledge.ingest([folder])
    (hit,) = knowledge.search("lamp", 5, where=SearchFilter(tags=("rare",)))
    assert hit.chunk.document == "docs/zzz.md"


@pytest.mark.parametrize(
    "query", ["", "   ", '"AND ( : *', "text:foo", "+-!^~", "\\", "a" * 100_000, "\0\ud800", "🙂", "شكرا"]
)
def test_nothing_a_person_types_is_query_syntax(shop: Knowledge, query: str) -> None:
    assert isinstance(shop.search(query, 3), list)


@pytest.fixture(scope="module")
def small_index(tmp_path_factory: pytest.TempPathFactory) -> LexicalIndex:
    index = LexicalIndex(tmp_path_factory.mktemp("lexical"))
    index.update([], [[Chunk(1, "d", "T", "", None, 0, 4, "some text 一段文字", "en")]], 1)
    return index


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_query_is_answered(small_index: LexicalIndex, query: str) -> None:
    assert all(id == 1 and score > 0 for id, score in small_index.search(query, 3))


def test_documents_ingested_by_another_process_are_found_at_once(open_home: Open, folder: Path) -> None:
    reader, writer = open_home(), open_home()
    assert reader.search("lamp", 3) == []
    (folder / "a.md").write_text("A lamp.", "utf-8")
    writer.ingest([folder])
    assert [hit.chunk.text for hit in reader.search("lamp", 3)] == ["A lamp."]


def test_while_another_process_writes_the_old_state_is_found_whole(open_home: Open, folder: Path) -> None:
    (folder / "a.md").write_text("A red lamp.", "utf-8")
    writer, reader = open_home(), open_home()
    writer.ingest([folder])
    assert reader.search("lamp", 1)[0].chunk.text == "A red lamp."
    with writer._writing():
        entry = writer.document("docs/a.md")
        writer.library.remove([entry.id])
        assert reader.search("lamp", 1)[0].chunk.text == "A red lamp."
    assert reader.search("lamp", 1) == []
    assert reader.check().ok


def test_indexes_left_behind_by_a_killed_process_catch_up_at_the_next_search(open_home: Open, folder: Path) -> None:
    (folder / "a.md").write_text("A red lamp.", "utf-8")
    (folder / "b.md").write_text("A blue chair.", "utf-8")
    first = open_home()
    first.ingest([folder])
    first.library.remove(["docs/a.md"])  # as if killed before the indexes followed
    second = open_home()
    assert not second.check().ok
    assert [hit.chunk.text for hit in second.search("lamp chair", 3)] == ["A blue chair."]
    assert second.check().ok


def test_indexes_left_behind_by_a_killed_process_catch_up_before_anybody_checks_them(
    open_home: Open, folder: Path
) -> None:
    (folder / "a.md").write_text("A red lamp.", "utf-8")
    first = open_home()
    first.ingest([folder])
    first.library.remove(["docs/a.md"])  # as if killed before the indexes followed
    second = open_home()
    second.prepare()  # what `botkit doctor` and `botkit knowledge stats` do first
    assert second.check().problems == []


def test_a_filter_that_nothing_matches_is_told_with_the_nearest_name(open_home: Open, folder: Path) -> None:
    (folder / "a.md").write_text("A red lamp.", "utf-8")
    (folder / "faq.csv").write_text("question,answer,tags\nWho?,Ann.,people\n", "utf-8")
    knowledge = open_home()
    knowledge.ingest([folder], tags=["shop"])
    knowledge.check_filter(["docs/a.md"], ["shop", "people"])
    with pytest.raises(LibraryError, match=r"no document 'docs/b.md'. Did you mean 'docs/a.md'\?"):
        knowledge.check_filter(["docs/b.md"], [])
    with pytest.raises(LibraryError, match=r"No document has the tag 'shops'. Did you mean 'shop'\?"):
        knowledge.check_filter([], ["shops"])


def test_indexes_behind_a_process_that_is_writing_are_no_problem(open_home: Open, folder: Path) -> None:
    (folder / "a.md").write_text("A red lamp.", "utf-8")
    writer, reader = open_home(), open_home()
    writer.ingest([folder])
    with writer._writing():
        writer.library.remove(["docs/a.md"])
        reader.prepare()
        assert (reader.check().ok, reader.check().writing) == (True, True)
    assert not reader.check().ok


@pytest.mark.parametrize("victim", ["meta.json", "vectors.json", "*.faiss"])
def test_a_damaged_index_is_built_anew(open_home: Open, folder: Path, tmp_path: Path, victim: str) -> None:
    (folder / "a.md").write_text("A red lamp.", "utf-8")
    open_home().ingest([folder])
    (file,) = (tmp_path / "home" / "indexes").rglob(victim)
    file.write_bytes(b"damaged")
    again = open_home()
    hit = again.search("lamp", 1)[0]
    assert (hit.chunk.text, hit.lexical_rank, hit.vector_rank) == ("A red lamp.", 1, 1)
    assert again.check().ok


def test_deleted_indexes_are_built_anew(open_home: Open, folder: Path, tmp_path: Path) -> None:
    import shutil

    (folder / "a.md").write_text("A red lamp.", "utf-8")
    open_home().ingest([folder])
    shutil.rmtree(tmp_path / "home" / "indexes")
    again = open_home()
    assert again.search("lamp", 1)[0].vector_rank == 1
    assert again.check().ok


def test_another_encoder_embeds_anew_and_the_old_vectors_are_kept(tmp_path: Path, folder: Path) -> None:
    (folder / "a.md").write_text("A red lamp.", "utf-8")
    first, other = WordEncoder(), WordEncoder("other-encoder")
    open_knowledge(tmp_path / "home", first).ingest([folder])
    assert open_knowledge(tmp_path / "home", other).search("lamp", 1)[0].vector_rank == 1
    first.encoded.clear()
    assert open_knowledge(tmp_path / "home", first).search("lamp", 1)[0].vector_rank == 1
    assert first.encoded == ["lamp"]


def test_embedding_a_large_library_anew_must_be_asked_for(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.md").write_text("A red lamp.", "utf-8")
    open_knowledge(tmp_path / "home").ingest([folder])
    monkeypatch.setattr(indexes_module, "_ENCODED_ON_THE_SPOT", 0)
    changed = open_knowledge(tmp_path / "home", WordEncoder("other-encoder"))
    with pytest.raises(LibraryError, match="--reindex"):
        changed.search("lamp", 1)
    changed.ingest([folder], reindex=True)
    assert changed.search("lamp", 1)[0].vector_rank == 1


def test_a_library_of_a_newer_botkit_is_refused(open_home: Open) -> None:
    open_home().library._connection.execute("PRAGMA user_version = 99")
    with pytest.raises(LibraryError, match="newer botkit"):
        open_home().documents()


def test_the_inverted_file_for_large_libraries_finds_filters_and_forgets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors_module, "EXACT_UP_TO", 500)
    rows = np.random.default_rng(0).standard_normal((2000, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ids = np.arange(1, 2001)
    index = VectorIndex(tmp_path)
    index.update([], [(ids[:1000], rows[:1000]), (ids[1000:], rows[1000:])], 1, "e", expected=2000)
    again = VectorIndex(tmp_path)
    assert (again.generation, again.encoder, len(again), again.ids()) == (1, "e", 2000, set(range(1, 2001)))
    assert [again.search(row, 1)[0][0] for row in rows[:50]] == list(range(1, 51))
    assert {id for id, _ in again.search(rows[0], 9, only=[7, 1999])} == {7, 1999}
    again.update([1], [], 2, "e", expected=1999)
    assert again.search(rows[0], 1)[0][0] != 1 and len(again) == 1999
    assert not again.suits(10) and again.suits(2000)


def test_opening_a_small_library_is_quick_and_imports_no_converter(
    open_home: Open, folder: Path, tmp_path: Path
) -> None:
    (folder / "a.md").write_text("A red lamp.", "utf-8")
    open_home().ingest([folder])
    script = f"""
import json, sys, time
import numpy, faiss, tantivy
from pathlib import Path
from tests.knowledge.encoders import open_knowledge
import botkit.knowledge.retriever
started = time.perf_counter()
hits = open_knowledge(Path({str(tmp_path / "home")!r})).search("lamp", 3)
print(json.dumps([time.perf_counter() - started, len(hits), sorted(sys.modules)]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    seconds, hits, modules = json.loads(done.stdout)
    assert hits == 1 and seconds < 0.5
    assert not {"bs4", "markdownify", "mammoth", "pypdfium2", "openpyxl", "pptx", "jieba", "torch", "filelock"} & set(
        modules
    )


def test_a_search_takes_milliseconds(shop: Knowledge) -> None:
    shop.search("days", 8)
    started = time.perf_counter()
    for _ in range(20):
        shop.search("how many days until the money arrives", 8)
    assert (time.perf_counter() - started) / 20 < 0.1
