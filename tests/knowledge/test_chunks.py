"""Passages: slices of the document that respect its structure and the reader's limit."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from botkit.knowledge.chunks import chunk_document, first_heading, sections
from botkit.knowledge.types import Document, FaqEntry, Page

_TOKEN = re.compile(r"[㐀-鿿]|\w+|[^\w\s]")


def count_tokens(texts: Sequence[str]) -> list[int]:
    """A word, a Han character or a mark is a token, as in BERT's basic tokenizer."""
    return [len(_TOKEN.findall(text)) for text in texts]


def count_bytes(texts: Sequence[str]) -> list[int]:
    """A tokenizer that makes several tokens of one character."""
    return [len(text.encode("utf-8", "surrogatepass")) for text in texts]


def document(text: str, media_type: str = "text/markdown", **more: object) -> Document:
    values: dict[str, object] = {"id": "d", "path": "/d", "title": "T", "language": "en", "digest": ""} | more
    return Document(text=text, media_type=media_type, **values)  # type: ignore[arg-type]


def test_a_passage_never_crosses_a_heading_and_carries_its_path() -> None:
    text = "# Shop\n\nWelcome.\n\n## Returns\n\nThirty days.\n\n### Sale *items*\n\nFinal.\n\n## Shipping\n\nFast.\n"
    found = [(chunk.heading, chunk.text) for chunk in chunk_document(document(text), count_tokens, limit=100)]
    assert found == [
        ("Shop", "Welcome."),
        ("Shop › Returns", "Thirty days."),
        ("Shop › Returns › Sale items", "Final."),
        ("Shop › Shipping", "Fast."),
    ]


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("fmt ![linux](https://b/l.svg) [![Build](https://b/w.svg)](https://b)", "fmt"),
        ("[![Acme *Tools*](logo.svg)](https://acme)", "Acme Tools"),
        ('<img src="logo.svg"> <b>Acme</b>', "Acme"),
        ("The `snake_case` name_of_it and *emphasis* {#anchor}", "The snake_case name_of_it and emphasis"),
        ("See [the guide](guide.md), [the list][list] &amp; 2 \\* 3", "See the guide, the list & 2 * 3"),
        ("中文**标题**![徽章](b.svg)", "中文标题"),
        ("long " * 300 + "*end*", "long " * 300 + "*end*"),
    ],
)
def test_a_heading_is_known_by_its_words(heading: str, words: str) -> None:
    assert first_heading(f"# {heading}\n\nText.\n\n[list]: list.md\n") == words


def test_headings_in_html_are_headings_and_other_html_is_text() -> None:
    text = (
        '<h1 align="center">\n  <img src="logo.svg"><br>Acme <b>Tools</b>\n</h1>\n\nFast.\n\n<h3 name="man">\nIs there a man page?\n</h3>\n\n'
        "Yes.\n\n<p>Not <h4>alone</h4></p>\n"
    )
    found = [(chunk.heading, chunk.text) for chunk in chunk_document(document(text), count_tokens, limit=100)]
    assert found == [
        ("Acme Tools", "Fast."),
        ("Acme Tools › Is there a man page?", "Yes.\n\n<p>Not <h4>alone</h4></p>"),
    ]


def test_setext_headings_count_and_hashes_inside_code_do_not() -> None:
    text = "Title\n=====\n\nIntro.\n\n```sh\n# not a heading\nls\n```\n"
    found = sections(text)
    assert [section.path for section in found] == [("Title",)]
    assert [text[block.start : block.end] for block in found[0].blocks] == ["Intro.", "```sh\n# not a heading\nls\n```"]


def test_a_heading_with_nothing_below_it_is_still_found() -> None:
    found = chunk_document(
        document("# Only a title\n\n## Parent\n\n### Child\n\nText.\n\n## Empty\n"), count_tokens, limit=64
    )
    assert [(chunk.heading, chunk.text) for chunk in found] == [
        ("Only a title › Parent › Child", "Text."),
        ("Only a title › Empty", "## Empty"),
    ]


@pytest.mark.parametrize(
    "block",
    ["| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |", "- one\n- two\n  - three", "```py\nx = 1\n\ny = 2\n```"],
    ids=["table", "list", "code"],
)
def test_tables_lists_and_code_stay_whole_where_they_fit(block: str) -> None:
    words = " ".join(["word"] * 30) + "."
    text = f"{words}\n\n{block}\n\n{words}\n"
    chunks = chunk_document(document(text), count_tokens, limit=45)
    assert sum(block in chunk.text for chunk in chunks) == 1


def test_a_long_table_is_cut_between_rows() -> None:
    rows = [f"| item {number} | {number} euro |" for number in range(60)]
    text = "| item | price |\n|---|---|\n" + "\n".join(rows)
    chunks = chunk_document(document(text), count_tokens, limit=50)
    assert len(chunks) > 3
    assert all(any(row in chunk.text for chunk in chunks) for row in rows)


def test_a_long_paragraph_is_cut_between_sentences_into_even_parts() -> None:
    text = " ".join(f"This is sentence number {number}." for number in range(20))  # 6 tokens each
    chunks = chunk_document(document(text), count_tokens, limit=100)
    assert [count_tokens([chunk.text])[0] for chunk in chunks] == [60, 60]
    assert all(chunk.text.endswith(".") for chunk in chunks)


def test_chinese_text_is_cut_between_sentences() -> None:
    text = "".join(f"这是第{number}句话。" for number in "一二三四五六七八九")
    chunks = chunk_document(document(text, language="zh"), count_tokens, limit=16)
    assert all(chunk.text.endswith("。") and count_tokens([chunk.text])[0] <= 16 for chunk in chunks)


def test_overlap_repeats_the_end_of_the_passage_before() -> None:
    text = " ".join(f"Sentence number {number}." for number in range(30))
    chunks = chunk_document(document(text), count_tokens, limit=40, overlap=8)
    assert all(first.end > second.start > first.start for first, second in pairwise(chunks))
    assert all(0 < count_tokens([text[second.start : first.end]])[0] <= 8 for first, second in pairwise(chunks))


def test_pages_bound_passages_and_are_named() -> None:
    text = "First page.\n\nSecond page."
    pages = (Page(1, 0, 11), Page(2, 13, 25))
    found = chunk_document(document(text, "application/pdf", pages=pages), count_tokens, limit=100)
    assert [(chunk.page, chunk.text) for chunk in found] == [(1, "First page."), (2, "Second page.")]


def test_an_faq_entry_is_one_chunk_with_its_question() -> None:
    text = "## How long?\n\nThirty days.\n"
    entry = FaqEntry("How long?", "Thirty days.", 14, 26, tags=("returns",))
    (chunk,) = chunk_document(document(text, faq=(entry,), tags=("shop",)), count_tokens, limit=1)
    assert (chunk.kind, chunk.question, chunk.text, chunk.tags) == (
        "faq",
        "How long?",
        "Thirty days.",
        ("shop", "returns"),
    )


def test_front_matter_is_not_a_passage() -> None:
    found = chunk_document(document("---\ntitle: Hidden\n---\n\nShown.\n"), count_tokens, limit=64)
    assert [chunk.text for chunk in found] == ["Shown."]


@pytest.mark.parametrize(
    "unit", ["x", "word ", "字", "a,b;", "- i\n", "# h\n", "[", "*a", "> ", "<h1>", "<h1>a</h1>\n\n"]
)
def test_a_line_of_100_kb_is_cut_quickly(unit: str) -> None:
    text = (unit * 100_000)[:100_000]
    started = time.process_time()
    chunks = chunk_document(document(text), count_tokens, limit=160)
    assert time.process_time() - started < 10
    assert all(len(chunk.text) <= 160 * 16 for chunk in chunks)


MARKDOWN = st.lists(
    st.one_of(
        st.text(max_size=60),
        st.sampled_from(
            ["# H\n", "\n\n", "## Two\n\n", "- a\n- b\n", "| a |\n|---|\n| b |\n", "```\ncode\n", "```", "\r\n", "> q\n",
             "A sentence. Another one! ", "一句话。另一句！", "word " * 30, "字" * 50, "[a]: http://b\n", "---\n", "===\n", "\t", "<b>\n"]
        ),
    ),
    max_size=25,
).map("".join)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(MARKDOWN, st.integers(1, 40), st.sampled_from([count_tokens, count_bytes]), st.booleans())
@example("# \n\n## b", 4, count_tokens, True)
@example("😀" * 20, 3, count_bytes, True)
@example("0<A>\n=\n0", 1, count_tokens, True)
def test_passages_tile_the_visible_text_within_the_limit(text: str, limit: int, count: object, markdown: bool) -> None:
    media_type = "text/markdown" if markdown else "text/plain"
    chunks = chunk_document(document(text, media_type), count, limit=limit)  # type: ignore[arg-type]
    covered = [False] * len(text)
    for chunk in chunks:
        assert chunk.text == text[chunk.start : chunk.end] and chunk.text.strip()
        assert count([chunk.text])[0] <= limit or len(chunk.text) == 1  # type: ignore[operator]
        assert not any(covered[chunk.start : chunk.end])
        covered[chunk.start : chunk.end] = [True] * len(chunk.text)
    missed = "".join(character for character, seen in zip(text, covered, strict=True) if not seen and character.strip())
    if not markdown:
        assert not missed
    elif "---" not in text:  # front matter is not a passage
        paths = "".join(chunk.heading for chunk in chunks)
        words = re.sub(r"<[^<>]*>", "", missed)  # tags in a heading are no words of it
        assert not set(re.sub(r"[#=\W_]", "", words)) - set(paths)
    assert [chunk.start for chunk in chunks] == sorted(chunk.start for chunk in chunks)
