"""Files become documents: Markdown text with a title, a language, tags, pages and FAQ entries.

Markdown and plain text stay as they are, so that offsets hold in the file itself. What cannot be a document raises
`UnreadableDocument` with a reason code and a sentence for people.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

from botkit.errors import DocumentError
from botkit.knowledge.chunks import first_heading, front_matter
from botkit.knowledge.types import Document, FaqEntry, Page
from botkit.language import detect
from botkit.messages import Language

Reason: TypeAlias = Literal[
    "empty",
    "binary",
    "too_large",
    "encoding",
    "encrypted",
    "no_text",
    "not_faq",
    "permission",
    "broken",
    "missing_extra",
    "name",
    "format",
]

MARKDOWN_SUFFIXES = frozenset({".md", ".markdown", ".mdown", ".mkd"})
FAQ_SUFFIXES = frozenset({".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml"})
NO_DOCUMENTS = {
    ".rtf": "Rich Text is not read; save it as .docx, .md or plain text",
    ".ipynb": "notebooks are not read; export it as Markdown (jupyter nbconvert --to markdown)",
    ".svg": "pictures are not read",
}
"""Text files whose words lie between marks that would be quoted with them, and what to do instead."""
HTML_SUFFIXES = frozenset({".html", ".htm", ".xhtml"})
_LANGUAGE_SAMPLE = 20_000
"""Characters from which a document's language is told."""
_DETECTION_SAMPLE = 100_000
_LEGACY_ENCODINGS = ["big5", "gb18030", "cp1252", "cp1251", "shift_jis", "euc_jp", "euc_kr"]
"""What charset-normalizer chooses from: with all it knows, Western text often comes out as its Central European twin."""
_HAN_OR_MARK = re.compile(r"[　-〿㐀-䶿一-鿿＀-￯—‘’“”…·]")


class UnreadableDocument(DocumentError):
    """A file that is not, or cannot be made, a document.

    `reason` is a stable code. `temporary` says that the file may well be read another time (no permission, half
    written, a package missing): what the library knows of it is then kept.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason

    @property
    def temporary(self) -> bool:
        """Whether the file's earlier content should stay in the library."""
        return self.reason in ("permission", "broken", "missing_extra", "encrypted", "name")


@dataclass(frozen=True, slots=True)
class Content:
    """What a converter makes of a file: Markdown (or plain text), and what the format itself says of it.

    `left_out` names the parts that could not be read, and why.
    """

    text: str
    media_type: str = "text/markdown"
    title: str = ""
    language: Language | None = None
    tags: tuple[str, ...] = ()
    pages: tuple[Page, ...] = ()
    faq: tuple[FaqEntry, ...] = field(default=())
    left_out: tuple[str, ...] = ()


Converter: TypeAlias = Callable[[bytes, str], Content]
"""Turns a file's bytes into content; the second argument is a title to use where a text needs one (the file's stem)."""


def read_document(
    path: Path, id: str, *, tags: Sequence[str] = (), language: Language | None = None, max_bytes: int = 50_000_000
) -> Document:
    """The document in a file.

    `tags` come before those of the front matter; `language` overrides the front matter and detection.
    Raises `UnreadableDocument`.
    """
    data = read_bytes(path, max_bytes)
    return document_from_bytes(data, path, id, tags=tags, language=language)


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """The file's bytes. Raises `UnreadableDocument` where it is too large, empty or closed to this user."""
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise UnreadableDocument(
                "too_large",
                f"{size / 1e6:.1f} MB is over the limit of {max_bytes / 1e6:g} MB; raise knowledge.max_file_mb to read it",
            )
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableDocument("permission", f"cannot be opened: {error.strerror or error}") from error
    if not data.strip():
        raise UnreadableDocument("empty", "the file is empty")
    return data


def document_from_bytes(
    data: bytes, path: Path, id: str, *, tags: Sequence[str] = (), language: Language | None = None
) -> Document:
    """The document in a file's bytes; `path` gives its kind and where it lies. Raises `UnreadableDocument`."""
    fallback_title = _title_from_name(path)
    content = _converter(path.suffix.lower())(data, fallback_title)
    if not content.text.strip():
        raise UnreadableDocument("empty", "there is no text in it")
    return Document(
        id=id,
        path=str(path),
        title=content.title or fallback_title,
        text=content.text,
        language=language or content.language or detect(content.text[:_LANGUAGE_SAMPLE]),
        digest=hashlib.sha256(data).hexdigest(),
        media_type=content.media_type,
        tags=tuple(dict.fromkeys((*tags, *content.tags))),
        pages=content.pages,
        faq=content.faq,
        left_out=content.left_out,
    )


def decode(data: bytes) -> str:
    """The text in bytes of unknown encoding; a byte order mark is dropped.

    UTF-8 and UTF-16 by mark or validity, then GB18030 where the result is common Chinese, then what
    charset-normalizer finds. Raises `UnreadableDocument` for binary data and unknown encodings.
    """
    for mark, encoding in (
        (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe\x00\x00", "utf-32"),
        (b"\x00\x00\xfe\xff", "utf-32"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if data.startswith(mark):
            return _strict(data, encoding)
    if b"\0" in data[:_DETECTION_SAMPLE]:
        return _decode_with_nulls(data)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = _decode_legacy(data)
    _refuse_control_characters(text)
    return text


def as_language(value: object) -> Language | None:
    """ "zh-CN", "Chinese", "en_GB" and the like as a language; None where it is neither."""
    name = str(value or "").strip().lower().replace("_", "-")
    if name.split("-")[0] in ("zh", "chinese", "cn", "中文", "汉语"):
        return "zh"
    return "en" if name.split("-")[0] in ("en", "english", "英文", "英语") else None


def as_tags(value: object) -> tuple[str, ...]:
    """Tags from a list, or from words separated by commas or semicolons."""
    items = value if isinstance(value, list | tuple) else re.split(r"[,;，；、|]", str(value or ""))
    return tuple(dict.fromkeys(str(item).strip() for item in items if item is not None and str(item).strip()))


def _converter(suffix: str) -> Converter:
    if suffix in MARKDOWN_SUFFIXES:
        return _markdown
    if suffix in FAQ_SUFFIXES:
        from botkit.knowledge import faq

        return lambda data, title: faq.read_table(decode(data), suffix, title)
    if suffix in HTML_SUFFIXES:
        from botkit.knowledge import formats

        return formats.html
    if suffix in (".pdf", ".docx", ".pptx", ".xlsx"):
        from botkit.knowledge import formats

        return {".pdf": formats.pdf, ".docx": formats.docx, ".pptx": formats.pptx, ".xlsx": formats.xlsx}[suffix]
    if suffix in NO_DOCUMENTS:
        raise UnreadableDocument("format", NO_DOCUMENTS[suffix])
    return _plain_text


def _markdown(data: bytes, title: str) -> Content:
    text = decode(data)
    matter = _front_matter_values(text)
    return Content(
        text,
        title=str(matter.get("title") or "").strip() or first_heading(text),
        language=as_language(matter.get("language") or matter.get("lang")),
        tags=as_tags(matter.get("tags") or matter.get("tag") or matter.get("keywords")),
    )


def _plain_text(data: bytes, title: str) -> Content:
    return Content(decode(data), "text/plain")


def _front_matter_values(text: str) -> Mapping[str, Any]:
    matter = front_matter(text)
    if not matter:
        return {}
    values = yaml_words(matter.strip().strip("-.").strip(), first_line=2, what="front matter: ")
    return {str(key).lower(): value for key, value in values.items()} if isinstance(values, dict) else {}


@cache
def _words_loader() -> Any:
    import yaml

    kept = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")

    class Words(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012
            first: [resolver for resolver in resolvers if resolver[0] in kept]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    return Words


def yaml_words(text: str, *, first_line: int = 1, what: str = "") -> Any:
    """A YAML text whose scalars stay as they are written: 10:30 is no number, `no` is not false, a date is no date.

    Raises `UnreadableDocument` with the line of a mistake; `first_line` is the number of the text's first one, `what` names it.
    """
    import yaml

    try:
        return yaml.load(text, Loader=_words_loader())  # noqa: S506
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", 0) + first_line
        raise UnreadableDocument("broken", f"{what}line {line} is not valid YAML") from error
    except (ValueError, RecursionError) as error:  # an explicit tag on what it does not fit, or a thousand brackets
        raise UnreadableDocument("broken", f"{what}not valid YAML: {str(error)[:200]}") from error


def _title_from_name(path: Path) -> str:
    return " ".join(re.split(r"[-_\s]+", path.stem)).strip() or path.name


def _strict(data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UnreadableDocument("encoding", f"starts as {encoding} but is damaged at byte {error.start}") from error
    _refuse_control_characters(text)
    return text


def _decode_with_nulls(data: bytes) -> str:
    """UTF-16 without a mark has a zero in nearly every pair of a Western text; all else with zeros is binary."""
    sample = data[:_DETECTION_SAMPLE]
    for encoding, zeros in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[::2])):
        if len(data) % 2 == 0 and zeros.count(0) > 0.4 * len(zeros):
            return _strict(data, encoding)
    raise UnreadableDocument("binary", "the file is binary, not text")


def _decode_legacy(data: bytes) -> str:
    try:
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        text = ""
    foreign = [character for character in text[:_DETECTION_SAMPLE] if ord(character) > 127]
    if foreign and sum(map(_is_common_chinese, foreign)) >= 0.9 * len(foreign):
        return text
    from charset_normalizer import from_bytes

    best = from_bytes(data[:_DETECTION_SAMPLE], cp_isolation=_LEGACY_ENCODINGS).best()
    if best is None:
        raise UnreadableDocument("encoding", "the text encoding is unknown; save the file as UTF-8")
    return _strict(data, best.encoding)


def _is_common_chinese(character: str) -> bool:
    """Whether GB2312 (6,763 common characters and their punctuation) has it; mojibake is mostly outside."""
    if not _HAN_OR_MARK.match(character):
        return False
    try:
        character.encode("gb2312")
    except UnicodeEncodeError:
        return character in "—·…"
    return True


def _refuse_control_characters(text: str) -> None:
    sample = text[:_DETECTION_SAMPLE]
    controls = sum(character < " " and character not in "\t\n\r\f\v\x1b" for character in sample)
    if controls > 0.02 * len(sample):
        raise UnreadableDocument("binary", "the file is binary, not text")
