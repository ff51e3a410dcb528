"""Office formats, PDF and HTML become Markdown.

One well-kept library a format (markdownify, mammoth, python-pptx, openpyxl, pypdfium2) instead of
markitdown, whose import took 0.4 to 0.9 s and pulls magika, onnxruntime and pandas, and which gives no pages for PDF.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final
from zipfile import BadZipFile, ZipFile

from botkit.knowledge.documents import Content, UnreadableDocument, as_language, decode
from botkit.knowledge.types import Page

_BLANK_LINES = re.compile(r"\n[ \t]*\n[ \t\n]*")
_NO_CONTENT = ("script", "style", "noscript", "template", "svg", "nav", "iframe", "head", "input", "select", "textarea")
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6", "summary", "dt", "th")
_MANY_ROWS = 100_000
_HEADER_WITHIN = 5
"""Rows of a sheet among which the header of an FAQ is looked for: titles often stand above it."""
_OLE_HEADER = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""Compound file: how Office wraps an encrypted document."""
_LARGEST_UNPACKED = 500_000_000
"""Bytes an Office file may unpack to: more is a decompression bomb."""


def html(data: bytes, title: str) -> Content:
    """The readable part of a web page: its `main` or only `article` where there is one, without scripts and navigation."""
    from bs4 import BeautifulSoup

    declared = re.search(rb"""charset=["']?([\w-]+)""", data[:2048], re.IGNORECASE)
    soup = BeautifulSoup(_decode_declared(data, declared.group(1).decode() if declared else None), "html.parser")
    page_title = soup.title.get_text(" ", strip=True) if soup.title else ""
    language = as_language(soup.html.get("lang")) if soup.html else None
    for element in soup.find_all(_NO_CONTENT):
        element.decompose()
    for button in soup.find_all("button"):  # the heading of an accordion is often one
        button.unwrap() if button.find_parent(_HEADINGS) else button.decompose()
    for form in soup.find_all("form"):  # some servers wrap the whole page in one
        form.unwrap() if form.find([*_HEADINGS, "p", "table", "li"]) else form.decompose()
    articles = soup.find_all("article")
    body = soup.find("main") or (articles[0] if len(articles) == 1 else None) or soup.body or soup
    text = _markdown_from_html(str(body))
    return Content(text, "text/html", title=page_title, language=language)


def docx(data: bytes, title: str) -> Content:
    """A Word document, its heading styles as headings."""
    mammoth = _package("mammoth", "a Word document")
    return _office(data, lambda file: _docx(mammoth, file))


def pptx(data: bytes, title: str) -> Content:
    """A presentation: a heading and a page for each slide, with tables and speaker notes."""
    package = _package("pptx", "a presentation")
    return _office(data, lambda file: _pptx(package, file))


def xlsx(data: bytes, title: str) -> Content:
    """A workbook: sheets with question and answer columns are an FAQ, the others are tables."""
    package = _package("openpyxl", "a spreadsheet")
    return _office(data, lambda file: _xlsx(package, file, title))


def pdf(data: bytes, title: str) -> Content:
    """The text of a PDF, page by page. A page without text is kept as an empty range."""
    pdfium = _package("pypdfium2", "a PDF")
    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        if "password" in str(error).lower() or "security" in str(error).lower():
            raise UnreadableDocument("encrypted", "the PDF is encrypted; save a copy without a password") from error
        raise UnreadableDocument("broken", f"the PDF is damaged ({error})") from error
    try:
        parts, pages, position = [], [], 0
        for number in range(len(document)):
            words = _pdf_page(document, number, pdfium)
            pages.append(Page(number + 1, position, position + len(words)))
            parts.append(words)
            position += len(words) + 2
        page_title = _pdf_title(document)
    finally:
        document.close()
    text = "\n\n".join(parts)
    if not text.strip():
        raise UnreadableDocument("no_text", "the PDF holds only images; run text recognition (OCR) on it first")
    return Content(text, "application/pdf", title=page_title, pages=tuple(pages))


def _package(name: str, purpose: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise UnreadableDocument(
            "missing_extra", f"reading {purpose} needs an optional package: pip install 'botkit[documents]'"
        ) from error


def _office(data: bytes, convert: Callable[[io.BytesIO], Content]) -> Content:
    if data.startswith(_OLE_HEADER):
        raise UnreadableDocument(
            "encrypted", "the file is encrypted or in an old Office format; save a copy without a password"
        )
    try:
        with ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except BadZipFile as error:
        raise UnreadableDocument("broken", "the file is damaged: it is not a valid Office file") from error
    if unpacked > _LARGEST_UNPACKED:
        raise UnreadableDocument("too_large", f"the file unpacks to {unpacked / 1e6:.0f} MB")
    try:
        content = convert(io.BytesIO(data))
    except UnreadableDocument:
        raise
    except Exception as error:  # these parsers raise anything (KeyError, XMLSyntaxError, …) on a damaged file
        raise UnreadableDocument("broken", f"the file is damaged: {type(error).__name__}: {error}") from error
    return content


_MEANT: Final = {
    **dict.fromkeys(("gb2312", "gbk"), "gb18030"),
    **dict.fromkeys(("iso-8859-1", "iso8859-1", "latin1", "latin-1", "us-ascii", "ascii"), "cp1252"),
}
"""What browsers take a declared encoding for, as in the WHATWG's Encoding Standard: a wider one that holds it."""


def _decode_declared(data: bytes, declared: str | None) -> str:
    if declared and declared.lower() not in ("utf-8", "utf8"):
        encoding = _MEANT.get(declared.lower(), declared)
        try:
            return data.decode(encoding)
        except (LookupError, UnicodeDecodeError):
            return decode(data)  # pages often declare what they are not
    return decode(data)


def _markdown_from_html(markup: str) -> str:
    from markdownify import ATX, markdownify

    converted: str = markdownify(
        markup, heading_style=ATX, bullets="-", strip=["img"], autolinks=False, escape_misc=False,
        escape_asterisks=False, escape_underscores=False,  # people want my_config.ini as it stands
    )  # fmt: skip
    lines = (line.rstrip() for line in converted.splitlines())
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip() + "\n"


def _docx(mammoth: Any, file: io.BytesIO) -> Content:
    markup = mammoth.convert_to_html(file, convert_image=mammoth.images.img_element(lambda image: {"src": ""})).value
    text = _markdown_from_html(markup)
    return Content(
        text, "application/vnd.openxmlformats-officedocument.wordprocessingml.document", title=_first_line(text)
    )


def _pptx(package: Any, file: io.BytesIO) -> Content:
    text = ""
    pages: list[Page] = []
    for number, slide in enumerate(package.Presentation(file).slides, 1):
        start = len(text)
        heading = slide.shapes.title.text_frame.text.strip() if slide.shapes.title is not None else ""
        parts = [f"## {' '.join(heading.split())}"] if heading else []
        parts += [part for shape in slide.shapes if shape != slide.shapes.title for part in _shape_text(shape)]
        if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
            parts.append(slide.notes_slide.notes_text_frame.text.strip())
        text += "".join(f"{part}\n\n" for part in parts if part)
        pages.append(Page(number, start, len(text)))
    media_type = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
    return Content(text, media_type, title=_first_line(text), pages=tuple(pages))


def _shape_text(shape: Any) -> Iterable[str]:
    if shape.has_text_frame:
        yield shape.text_frame.text.replace("\v", "\n").strip()
    elif getattr(shape, "has_table", False) and shape.has_table:
        yield _table([[cell.text for cell in row.cells] for row in shape.table.rows])
    elif hasattr(shape, "shapes"):
        for part in shape.shapes:
            yield from _shape_text(part)


def _xlsx(package: Any, file: io.BytesIO, title: str) -> Content:
    from botkit.knowledge.faq import faq_content, faq_names, is_faq_header

    media_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    workbook = package.load_workbook(file, read_only=True, data_only=True)
    entries: list[tuple[str, dict[str, str]]] = []
    tables = ""
    cut: list[str] = []
    for sheet in workbook.worksheets:
        sheet.reset_dimensions()  # some programs declare a wrong size
        rows = [
            (number, ["" if value is None else str(value) for value in row])
            for number, row in enumerate(sheet.iter_rows(values_only=True, max_row=_MANY_ROWS + 1), 1)
            if any(value is not None for value in row)
        ]
        if not rows:
            continue
        widest = max(len(row) for _, row in rows)
        rows = [(number, [*row, *[""] * (widest - len(row))]) for number, row in rows]
        if rows[-1][0] > _MANY_ROWS:
            rows.pop()
            cut.append(f"sheet {sheet.title}: only the first {_MANY_ROWS:,} rows are read")
        above = next((at for at, (_, row) in enumerate(rows[:_HEADER_WITHIN]) if is_faq_header(row)), None)
        if above is None:
            tables += f"## {sheet.title}\n\n{_table([row for _, row in rows])}\n\n"
        else:
            tables += "".join(f"{' '.join(filter(None, row))}\n\n" for _, row in rows[:above])
            names = faq_names(rows[above][1])
            place = f"sheet {sheet.title}, row"
            entries += [(f"{place} {number}", dict(zip(names, row, strict=False))) for number, row in rows[above + 1 :]]
    if not entries:
        return Content(tables, media_type, left_out=tuple(cut))
    try:
        content = faq_content(entries, title, media_type)
    except UnreadableDocument as error:
        if not tables:
            raise
        return Content(tables, media_type, left_out=(str(error), *cut))
    content = replace(content, left_out=(*content.left_out, *cut))
    return replace(content, text=f"{content.text}\n{tables}") if tables else content


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in row) + " |" for row in rows]
    lines.insert(1, "|" + " --- |" * len(rows[0]))
    return "\n".join(lines)


def _first_line(text: str) -> str:
    """The first heading of a converted text, or ""."""
    from botkit.knowledge.chunks import first_heading

    return first_heading(text)


def _pdf_page(document: Any, number: int, pdfium: Any) -> str:
    try:
        page = document[number]
        try:
            raw: str = page.get_textpage().get_text_bounded()
        finally:
            page.close()
    except pdfium.PdfiumError as error:
        raise UnreadableDocument("broken", f"page {number + 1} of the PDF is damaged ({error})") from error
    words = raw.replace("\r\n", "\n").replace("\r", "\n").replace("\x02", "").replace("\ufffe", "")
    words = re.sub(r"(?<=[a-z])-\n(?=[a-z])", "", words)  # a word divided at the end of a line
    return "\n".join(line.rstrip() for line in words.split("\n")).strip()


def _pdf_title(document: Any) -> str:
    """The title in the metadata, unless it is what a word processor left there."""
    title = " ".join(str(document.get_metadata_dict().get("Title") or "").split())
    left_over = re.search(r"^(untitled|microsoft \w+)|\.(docx?|pptx?|xlsx?|indd|tex|dvi)$", title, re.IGNORECASE)
    return "" if left_over else title
