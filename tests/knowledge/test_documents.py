"""Files become documents with exact text, a title, a language, tags and FAQ entries, or say why not."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botkit.knowledge.chunks import chunk_document
from botkit.knowledge.documents import (
    UnreadableDocument,
    as_language,
    as_tags,
    decode,
    document_from_bytes,
    read_document,
)
from botkit.knowledge.types import Document
from tests.knowledge import files
from tests.knowledge.encoders import count_tokens

CHINESE = "退货政策：签收后十五天内可以无理由退货，运费由我们承担。\n客服电话：400-100-2000。\n"
TRADITIONAL = "退貨政策：簽收後十五天內可以無理由退貨，運費由我們承擔。請聯絡客戶服務部門辦理相關手續。\n"
FRENCH = "Les retours sont acceptés pendant trente jours après la réception. Le délai de remboursement est très bref.\n"


def read(data: bytes | str, name: str = "a.md") -> Document:
    return document_from_bytes(data.encode() if isinstance(data, str) else data, Path("/docs", name), f"docs/{name}")


def reason(data: bytes | str, name: str) -> str:
    with pytest.raises(UnreadableDocument) as caught:
        read(data, name)
    return caught.value.reason


# ---- encodings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "gb18030", "gbk"])
def test_chinese_is_read_in_its_usual_encodings(encoding: str) -> None:
    text = CHINESE if encoding != "utf-16-le" else "Plain words, 中文.\n"
    assert read(text.encode(encoding), "a.txt").text == text


def test_other_legacy_encodings_are_detected() -> None:
    assert decode((TRADITIONAL * 5).encode("big5")) == TRADITIONAL * 5
    assert decode((FRENCH * 5).encode("cp1252")) == FRENCH * 5


def test_short_chinese_text_in_gb18030_is_no_mojibake() -> None:
    assert decode("营业时间：9点到5点".encode("gb18030")) == "营业时间：9点到5点"


@given(st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(str.strip))
def test_any_utf8_text_is_read_as_it_is(text: str) -> None:
    if not text.startswith("\ufeff"):
        assert decode(text.encode()) == text


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)), "binary"),
        (b"\x7fELF\x02\x01\x01" + b"\0" * 64, "binary"),
        (b"\x01\x02\x03\x04words\x05\x06", "binary"),
        ("中文".encode("utf-16") + b"\x00\xd8", "encoding"),
    ],
)
def test_binary_and_damaged_text_are_refused(data: bytes, expected: str) -> None:
    assert reason(data, "a.txt") == expected


# ---- Markdown and text --------------------------------------------------------------------------------------------


def test_markdown_is_kept_byte_for_byte_with_its_front_matter() -> None:
    text = '---\ntitle: "Returns"\nlang: en-GB\ntags: [shop, returns]\n---\r\n\r\n# Heading\r\n\r\nText.\r\n'
    document = read(text)
    assert (document.text, document.title, document.language, document.tags) == (
        text,
        "Returns",
        "en",
        ("shop", "returns"),
    )
    (chunk,) = chunk_document(document, count_tokens, limit=64)
    assert (chunk.text, chunk.heading) == ("Text.", "Heading")


@pytest.mark.parametrize(
    ("text", "name", "title"),
    [
        ("Intro.\n\n# The *first* heading\n", "a.md", "The first heading"),
        ("No heading.", "opening-hours_2024.md", "opening hours 2024"),
        ("# not Markdown", "notes.txt", "notes"),
        ("---\n: bad\n---no end", "a.md", "a"),
    ],
)
def test_the_title_is_that_of_the_document_or_its_name(text: str, name: str, title: str) -> None:
    assert read(text, name).title == title


def test_the_language_is_detected_unless_given() -> None:
    assert read(CHINESE).language == "zh"
    assert read("---\nlanguage: zh\n---\nHello there.").language == "zh"
    assert document_from_bytes(CHINESE.encode(), Path("a.md"), "a.md", language="en").language == "en"


def test_broken_front_matter_is_named_with_its_line() -> None:
    with pytest.raises(UnreadableDocument, match=r"front matter: line 3"):
        read("---\ntitle: a\ntags: [b\n---\n\nText.\n")


@pytest.mark.parametrize("first", ["\n\nWe open at nine.\n\n", "\nWe open at nine.\n", "\n# Hours\nWe open at nine.\n"])
def test_a_rule_at_the_head_of_a_text_is_no_front_matter(first: str) -> None:
    chunks = chunk_document(read(f"---{first}---\n\n# Prices\n\nTen euros.\n"), count_tokens, limit=64)
    assert any("We open at nine." in chunk.heading + chunk.text for chunk in chunks)
    assert chunks[-1].text == "Ten euros."


def test_front_matter_may_begin_with_a_remark() -> None:
    assert read("---\n# kept by hand\ntitle: Prices\n---\n\nTen euros.\n").title == "Prices"
    assert chunk_document(read("---\n---\nTen euros.\n"), count_tokens, limit=64)[0].text == "Ten euros."


@pytest.mark.parametrize(
    ("value", "expected"), [("zh-CN", "zh"), ("EN_us", "en"), ("中文", "zh"), ("fr", None), (None, None)]
)
def test_language_names(value: object, expected: str | None) -> None:
    assert as_language(value) == expected


def test_tags_come_as_lists_or_words() -> None:
    assert as_tags("a, b；c、a") == ("a", "b", "c")
    assert as_tags(["x", 1, None, " "]) == ("x", "1")


def test_a_file_that_may_not_be_opened_and_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "empty.md").write_text("\n")
    for name, expected in (("empty.md", "empty"), ("missing.md", "permission")):
        with pytest.raises(UnreadableDocument) as caught:
            read_document(tmp_path / name, name)
        assert caught.value.reason == expected


# ---- FAQ tables ---------------------------------------------------------------------------------------------------

ENTRIES = [
    {"question": "How long?", "answer": "Thirty days.\n\nLonger in winter."},
    {"question": "是否包邮？", "answer": "满九十九元包邮。"},
]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ('question,answer\nHow long?,"Thirty days.\n\nLonger in winter."\n是否包邮？,满九十九元包邮。\n', "a.csv"),
        ('\ufeffQ;A\nHow long?;"Thirty days.\n\nLonger in winter."\n是否包邮？;满九十九元包邮。\n', "a.csv"),
        ('问题\t答案\nHow long?\t"Thirty days.\n\nLonger in winter."\n是否包邮？\t满九十九元包邮。\n', "a.tsv"),
        (json.dumps(ENTRIES), "a.json"),
        (json.dumps({"faq": ENTRIES}, ensure_ascii=False), "a.json"),
        ("\n".join(json.dumps(entry) for entry in ENTRIES), "a.jsonl"),
        ("- q: How long?\n  a: |\n    Thirty days.\n\n    Longer in winter.\n- 问: 是否包邮？\n  答: 满九十九元包邮。\n  q: 是否包邮？\n  a: 满九十九元包邮。\n", "a.yaml"),
    ],
)  # fmt: skip
def test_a_table_of_questions_and_answers_is_an_faq(data: str, name: str) -> None:
    document = read(data, name)
    assert [(entry.question, entry.answer) for entry in document.faq] == [
        (one["question"], one["answer"]) for one in ENTRIES
    ]
    assert all(document.text[entry.start : entry.end] == entry.answer for entry in document.faq)
    chunks = chunk_document(document, count_tokens, limit=64)
    assert [(chunk.kind, chunk.language) for chunk in chunks] == [("faq", "en"), ("faq", "zh")]


def test_a_csv_in_gb18030_and_its_tags() -> None:
    document = read("问题,答案,标签\n几天到？,三天。,物流；配送\n".encode("gb18030"), "常见问题.csv")
    assert (document.title, document.language, document.faq[0].tags) == ("常见问题", "zh", ("物流", "配送"))


def test_several_wordings_share_one_answer() -> None:
    document = read(json.dumps([{"questions": ["How long?", "Until when?"], "answer": "Thirty days."}]), "a.json")
    assert [entry.question for entry in document.faq] == ["How long?", "Until when?"]
    assert len({(entry.start, entry.end) for entry in document.faq}) == 1


def test_a_stored_answer_stays_as_it_is_written() -> None:
    text = "- question: When?\n  answer: 10:30\n- question: On Sundays?\n  answer: no\n- q: x\n  answer:\n"
    text += "- question: What time?\n  answer: [one, two]\n- question: Which day?\n  answer: 2024-13-45\n"
    assert [entry.answer for entry in read(text, "a.yaml").faq] == ["10:30", "no", "one\ntwo", "2024-13-45"]
    rows = '[{"question": "How much?", "answer": 10.50}, {"question": "Free?", "answer": false}]'
    assert [entry.answer for entry in read(rows, "a.json").faq] == ["10.50", "false"]
    long = f'[{{"question": "How many?", "answer": {"9" * 5000}}}]'
    assert read(long, "a.json").faq[0].answer == "9" * 5000


def test_json_lines_keep_what_can_be_read() -> None:
    document = read('{"question": "When?", "answer": "Now."}\n{"question": \n\n{"question": "Who?"}\n', "a.jsonl")
    assert [entry.question for entry in document.faq] == ["When?"]
    assert document.left_out == ("line 2 is not valid JSON", "line 4 has no answer")


@pytest.mark.parametrize("above", ["\n\n", "sep=;\n", "\nsep=;\r\n"])
def test_a_csv_may_begin_with_blank_lines_or_what_excel_puts_there(above: str) -> None:
    document = read(f'{above}question;answer\nWhen?;"Now,\nor later."\nHow?;\n', "a.csv")
    assert [entry.answer for entry in document.faq] == ["Now,\nor later."]
    assert document.left_out == (f"line {4 + above.count(chr(10))} has no answer",)


def test_a_table_may_begin_with_a_column_without_a_name() -> None:
    (entry,) = read("\tquestion\tanswer\n0\tWhen open?\tAt nine.\n", "a.tsv").faq
    assert (entry.question, entry.answer) == ("When open?", "At nine.")


def test_rows_without_a_question_or_an_answer_are_left_out_and_told() -> None:
    document = read("question,answer,by\nHow?,,me\n,,\n,So.,\nWhen?,Now.,\n,,me\n", "a.csv")
    assert [(entry.question, entry.answer) for entry in document.faq] == [("When?", "Now.")]
    assert document.left_out == (
        "line 2 has no answer",
        "line 4 has no question",
        "line 6 has no question and no answer",
    )
    rows = [{"question": "When?", "answer": "Now."}, {"q": "How?", "a": "So."}]
    assert read(json.dumps(rows), "a.json").left_out == ("entry 2 has no question and no answer",)


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        ("item,price\nlamp,3\n", "a.csv", "not_faq"),
        ('{"name": "package", "version": 1}', "package.json", "not_faq"),
        ("[1, 2]", "a.json", "not_faq"),
        ("services:\n  web: 1\n", "compose.yml", "not_faq"),
        ("{broken", "a.json", "broken"),
        ("a: [b", "a.yaml", "broken"),
        ("question,answer\nHow?,\n", "a.csv", "broken"),
        ("question,answer\n,\n", "a.csv", "empty"),
        ("[" * 100_000, "a.json", "broken"),
    ],
)
def test_data_files_that_are_no_faq_say_so(data: str, name: str, expected: str) -> None:
    assert reason(data, name) == expected


# ---- HTML, PDF and Office -----------------------------------------------------------------------------------------


def test_html_keeps_headings_lists_and_tables_and_leaves_navigation() -> None:
    page = (
        "<html lang=en><head><title>Shop &amp; more</title><style>x{}</style></head><body><nav>Menu</nav><main><h1>Returns</h1>"
        "<p>Send <b>it</b> back.</p><ul><li>one</li><li>two</li></ul><table><tr><th>a</th></tr><tr><td>1</td></tr></table>"
        "<script>alert(1)</script></main></body></html>"
    )
    document = read(page, "a.html")
    assert (document.title, document.language) == ("Shop & more", "en")
    assert document.text.startswith("# Returns\n\nSend **it** back.\n\n- one\n- two\n")
    assert "| 1 |" in document.text and "Menu" not in document.text and "alert" not in document.text


def test_html_in_a_declared_chinese_encoding() -> None:
    page = '<html><head><meta charset="gb2312"><title>退货</title></head><body><p>十五天内可以退货。</p></body></html>'
    assert read(page.encode("gb18030"), "a.htm").text == "十五天内可以退货。\n"


@pytest.mark.parametrize("declared", ["ISO-8859-1", "latin1", "windows-1252", "us-ascii"])
def test_html_in_latin_1_is_read_as_browsers_do(declared: str) -> None:
    page = (
        f'<html><head><meta charset="{declared}"></head><body><p>It costs €5, you don’t pay “more”.</p></body></html>'
    )
    assert read(page.encode("cp1252"), "a.html").text == "It costs €5, you don’t pay “more”.\n"


def test_html_is_word_for_word() -> None:
    page = "<html><body><p>Set MAX_RETRIES in my_config.ini to 3*4; <code>a_b</code>.</p></body></html>"
    assert read(page, "a.html").text == "Set MAX_RETRIES in my_config.ini to 3*4; `a_b`.\n"


def test_pdf_pages_are_ranges_of_the_text() -> None:
    pytest.importorskip("pypdfium2")
    document = read(files.pdf(["First page.\nMore here.", "", "Third page."], title="A manual"), "a.pdf")
    assert document.title == "A manual"
    assert [document.text[page.start : page.end] for page in document.pages] == [
        "First page.\nMore here.",
        "",
        "Third page.",
    ]
    chunks = chunk_document(document, count_tokens, limit=64)
    assert [(chunk.page, chunk.text) for chunk in chunks] == [(1, "First page.\nMore here."), (3, "Third page.")]


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (files.pdf(["Secret."], encrypted=True), "a.pdf", "encrypted"),
        (files.pdf(["", ""]), "scan.pdf", "no_text"),
        (b"%PDF-1.4 and then nothing", "a.pdf", "broken"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 100, "a.docx", "encrypted"),
        (b"PK\x03\x04 cut off", "a.docx", "broken"),
        (files.docx([]), "a.docx", "empty"),
    ],
)
def test_office_and_pdf_files_that_cannot_be_read_say_why(data: bytes, name: str, expected: str) -> None:
    pytest.importorskip("pypdfium2")
    pytest.importorskip("mammoth")
    assert reason(data, name) == expected


def test_a_word_document_keeps_its_headings() -> None:
    pytest.importorskip("mammoth")
    document = read(files.docx([("Heading1", "Warranty"), ("Normal", "Two years."), ("Heading2", "Lamps")]), "a.docx")
    assert (document.title, document.text) == ("Warranty", "# Warranty\n\nTwo years.\n\n## Lamps\n")


def test_slides_are_pages_with_headings() -> None:
    pptx = pytest.importorskip("pptx")
    deck = pptx.Presentation()
    for title, words in (("Prices", "Ten euros."), ("Hours", "Nine to five.")):
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text, slide.placeholders[1].text = title, words
    file = io.BytesIO()
    deck.save(file)
    document = read(file.getvalue(), "deck.pptx")
    chunks = chunk_document(document, count_tokens, limit=64)
    assert [(chunk.page, chunk.heading, chunk.text) for chunk in chunks] == [
        (1, "Prices", "Ten euros."),
        (2, "Hours", "Nine to five."),
    ]


def test_a_workbook_is_an_faq_or_tables() -> None:
    openpyxl = pytest.importorskip("openpyxl")

    def saved(rows: list[list[object]]) -> bytes:
        workbook = openpyxl.Workbook()
        for row in rows:
            workbook.active.append(row)
        file = io.BytesIO()
        workbook.save(file)
        return file.getvalue()

    assert read(saved([["Question", "Answer"], ["How much?", 10]]), "a.xlsx").faq[0].answer == "10"
    table = read(saved([["item", "price"], ["lamp", 3]]), "prices.xlsx")
    assert table.text == "## Sheet\n\n| item | price |\n| --- | --- |\n| lamp | 3 |\n\n" and not table.faq


def test_a_workbook_that_declares_a_wrong_size_is_read_whole() -> None:
    openpyxl = pytest.importorskip("openpyxl")
    workbook = openpyxl.Workbook()
    for row in (["Question", "Answer"], ["How much?", "Ten."]):
        workbook.active.append(row)
    file, wrong = io.BytesIO(), io.BytesIO()
    workbook.save(file)
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(wrong, "w") as new:
        for name in old.namelist():
            part = old.read(name)
            assert b'<dimension ref="A1:B2"' in part or not name.endswith("sheet1.xml")
            new.writestr(name, part.replace(b'<dimension ref="A1:B2"', b'<dimension ref="A1"'))
    assert [entry.answer for entry in read(wrong.getvalue(), "a.xlsx").faq] == ["Ten."]


def test_rows_beyond_what_is_read_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    monkeypatch.setattr("botkit.knowledge.formats._MANY_ROWS", 2)
    workbook = openpyxl.Workbook()
    for row in (["item", "price"], ["lamp", 3], ["shade", 4], ["bulb", 5]):
        workbook.active.append(row)
    file = io.BytesIO()
    workbook.save(file)
    document = read(file.getvalue(), "a.xlsx")
    assert "lamp" in document.text and "shade" not in document.text
    assert document.left_out == ("sheet Sheet: only the first 2 rows are read",)


def test_every_sheet_of_a_workbook_is_read() -> None:
    openpyxl = pytest.importorskip("openpyxl")
    workbook = openpyxl.Workbook()
    sheets: dict[str, list[list[object]]] = {
        "FAQ": [["Our questions"], [], ["Q", "A"], ["How much?", "Ten."], ["When?", None]],
        "Prices": [["item", "price"], ["lamp", 3]],
        "更多": [["问题", "答案"], ["几天到？", "三天。"]],
    }
    for name, rows in sheets.items():
        sheet = workbook.create_sheet(name)
        for row in rows:
            sheet.append(row)
    file = io.BytesIO()
    workbook.save(file)
    document = read(file.getvalue(), "book.xlsx")
    chunks = chunk_document(document, count_tokens, limit=64)
    assert [(chunk.kind, chunk.question, chunk.heading) for chunk in chunks] == [
        ("faq", "How much?", ""),
        ("faq", "几天到？", ""),
        ("passage", "", ""),
        ("passage", "", "Prices"),
    ]
    assert all(document.text[chunk.start : chunk.end] == chunk.text for chunk in chunks)
    assert document.left_out == ("sheet FAQ, row 5 has no answer",)
    assert "Our questions" in document.text[chunks[1].end :], "a title above the header is text"


def test_what_follows_a_stored_answer_with_half_a_code_block_is_read() -> None:
    openpyxl = pytest.importorskip("openpyxl")
    workbook = openpyxl.Workbook()
    for row in (["question", "answer"], ["How?", "Run:\n```\nls"]):
        workbook.active.append(row)
    sheet = workbook.create_sheet("Prices")
    for row in (["item", "price"], ["lamp", 3]):
        sheet.append(row)
    file = io.BytesIO()
    workbook.save(file)
    document = read(file.getvalue(), "a.xlsx")
    entry, table = chunk_document(document, count_tokens, limit=64)
    assert "lamp" in table.text and table.heading == "Prices"
    assert all(document.text[chunk.start : chunk.end] == chunk.text for chunk in (entry, table))


def test_a_sheet_of_questions_without_answers_does_not_cost_the_others() -> None:
    openpyxl = pytest.importorskip("openpyxl")
    workbook = openpyxl.Workbook()
    for row in (["item", "price"], ["lamp", 3]):
        workbook.active.append(row)
    sheet = workbook.create_sheet("FAQ")
    for row in (["question", "answer"], ["How?", None]):
        sheet.append(row)
    file = io.BytesIO()
    workbook.save(file)
    document = read(file.getvalue(), "a.xlsx")
    assert "lamp" in document.text
    assert document.left_out == ("sheet FAQ, row 2 has no answer",)


def test_html_keeps_accordions_articles_and_pages_inside_a_form() -> None:
    accordion = "<h2><button>How long?</button></h2><div>Five days.</div><button>Buy</button>"
    assert read(accordion, "a.html").text == "## How long?\n\nFive days.\n"
    two = "<body><article><p>One.</p></article><article><p>Two.</p></article></body>"
    assert read(two, "a.html").text.split() == ["One.", "Two."]
    page = "<form><h1>Hours</h1><p>At nine.</p><input value='x'></form><form><label>Search</label><input></form>"
    assert read(page, "a.html").text == "# Hours\n\nAt nine.\n"


@pytest.mark.parametrize(("data", "name"), [("{\\rtf1 x}", "a.rtf"), ('{"cells": []}', "a.ipynb")])
def test_text_between_marks_that_would_be_quoted_is_left_out_with_a_way_out(data: str, name: str) -> None:
    assert reason(data, name) == "format"


def test_a_missing_package_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "mammoth", None)
    with pytest.raises(UnreadableDocument, match=r"pip install 'botkit\[documents\]'") as caught:
        read(files.docx([("Normal", "Text.")]), "a.docx")
    assert caught.value.reason == "missing_extra" and caught.value.temporary
