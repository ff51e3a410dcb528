"""JSON lines on disk, gzipped or not. Every fault is told with file and line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from botkit.errors import DataError
from botkit.text import is_encodable

_HINT: Final = " `botkit data prepare` makes such files of tables, SQuAD JSON, chat exports and text."


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, unzipped where it is gzipped; raises `DataError` where it cannot be read or is empty."""
    if path.is_dir():
        raise DataError(f"{path}: cannot be read: it is a folder; name a file.")
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 (byte {error.start}). Convert it: iconv -f GB18030 -t UTF-8 (or -f CP1252 …)."
        ) from error
    except FileNotFoundError as error:
        raise DataError(f"{path}: cannot be read: there is no such file.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}).") from error
    if not text.strip():
        raise DataError(f"{path}: the file is empty.")
    return text


def objects(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of every line that is not blank."""
    for line, written in enumerate(text.split("\n"), 1):
        if not written.strip():
            continue
        try:
            row = json.loads(written)
        except ValueError as error:
            hint = "" if path.name.removesuffix(".gz").endswith(".jsonl") else _HINT
            raise DataError(
                f"{path}:{line}: not a JSON object ({error}). One object a line is expected.{hint}"
            ) from error
        if not isinstance(row, dict):
            raise DataError(f"{path}:{line}: a JSON object is expected, found {type(row).__name__}.")
        yield line, row


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write JSON lines, gzipped where the name ends in .gz; the file appears whole or not at all. Returns their number."""
    count = 0
    if path.is_dir():
        raise DataError(f"{path}: is a folder. Name a file.")
    new = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            gzip.open(new, "wt", encoding="utf-8") if path.suffix == ".gz" else new.open("w", encoding="utf-8") as file
        ):
            for row in rows:
                written = json.dumps(row, ensure_ascii=False)
                # half of a surrogate pair has no UTF-8, and stays as it was escaped
                file.write((written if is_encodable(written) else json.dumps(row)) + "\n")
                count += 1
        new.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}). Nothing was changed.") from error
    finally:
        new.unlink(missing_ok=True)
    return count
