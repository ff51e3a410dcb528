from __future__ import annotations

import re

import pytest
from botkit_telegram import html
from hypothesis import given, settings
from hypothesis import strategies as st

from botkit.testing.conformance import long_answer
from botkit.testing.telegram import read_html

MARKS = st.text(alphabet="ab*_`~[]()<>&#|!-+.\\\n> 1中😀\"'/:=", max_size=300)


@given(st.one_of(st.text(max_size=300), MARKS))
@settings(max_examples=400, deadline=None)
def test_telegram_takes_any_answer(text: str) -> None:
    for piece in html.pieces(text):
        read_html(piece)
        assert len(piece.encode("utf-16-le")) // 2 <= html.LONGEST


@given(st.text(alphabet="abc <>&\"'中文😀,;:?%$@^=/", min_size=1, max_size=300))
@settings(max_examples=300, deadline=None)
def test_what_is_no_markdown_is_shown_letter_for_letter(text: str) -> None:
    for entity in ("&lt", "&gt", "&amp", "<a", "://", "    "):  # CommonMark's own entities, autolinks and code
        if entity in text:
            return
    shown = "".join(read_html(piece) for piece in html.pieces(text))
    assert re.sub(r"[\s>]|^…$", "", shown) == re.sub(r"[\s>]", "", text)


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_escaped_text_is_shown_as_it_is(text: str) -> None:
    wanted = " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", text).split())
    if wanted and not re.search(r"[\ud800-\udfff]", wanted):
        assert " ".join(read_html(html.to_html(html.escaped(wanted))).split()) == wanted


@given(st.lists(st.text(alphabet="*_`a b\n中|-", max_size=80), max_size=120))
@settings(max_examples=30, deadline=None)
def test_long_answers_are_cut_with_their_markup_whole(lines: list[str]) -> None:
    for piece in html.pieces("\n".join(lines) * 5):
        read_html(piece)
        assert len(piece.encode("utf-16-le")) // 2 <= html.LONGEST


def test_the_long_answer_of_the_suite() -> None:
    pieces = html.pieces(long_answer())
    assert len(pieces) > 2
    for piece in pieces:
        read_html(piece)
        assert len(piece.encode("utf-16-le")) // 2 <= html.LONGEST
    assert any(piece.count("<pre>") == piece.count("</pre>") == 1 and "│" in piece for piece in pieces)


@pytest.mark.parametrize(
    ("markdown", "wanted"),
    [
        ("**bold** and *thin* ~~gone~~", "<b>bold</b> and <i>thin</i> <s>gone</s>"),
        ("# Title\n\ntext", "<b>Title</b>\n\ntext"),
        ("a < b && c > d", "a &lt; b &amp;&amp; c &gt; d"),
        ("<b>not bold</b>", "&lt;b&gt;not bold&lt;/b&gt;"),
        ("- one\n- two\n  - three", "• one\n• two\n   • three"),
        ("3. three\n4. four", "3. three\n4. four"),
        ("`a<b`", "<code>a&lt;b</code>"),
        ("```python\nprint('<')\n```", "<pre><code class=\"language-python\">print('&lt;')</code></pre>"),
        ("> said\n> > deeper", "<blockquote>said\n\ndeeper</blockquote>"),
        ('[site](https://a.b/?x=1&y="2")', '<a href="https://a.b/?x=1&amp;y=%222%22">site</a>'),
        ("[evil](javascript:alert(1))", "[evil](javascript:alert(1))"),
        ("![alt](https://a.b/c.png)", '<a href="https://a.b/c.png">alt</a>'),
        ("| a | 名称 |\n|---|---|\n| 1 | 二 |", "<pre>a │ 名称\n──┼─────\n1 │ 二</pre>"),
        ("", "…"),
    ],
)
def test_markdown(markdown: str, wanted: str) -> None:
    assert html.pieces(markdown) == [wanted]
    read_html(wanted)
