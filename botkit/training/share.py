"""Store the word embeddings that several exported models have alike once, in a file beside their folders.

    python -m botkit.training.share botkit/models/builtin/encoder botkit/models/builtin/reader botkit/models/builtin/sentiment

Models fine-tuned from one base with `--freeze-words` have the same table, a third of each. It becomes external data of their graphs (as
ONNX calls it), which ONNX Runtime maps into memory: the processes of a machine share it as well. Nothing that a model says changes.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from botkit.errors import ModelError
from botkit.models.manifest import GRAPH, add_facts, digest, read_manifest
from botkit.training.word_blocks import BLOCKS, SCALE

FILE: Final = "words.bin"
_WORDS: Final = "word_embeddings.weight"
TABLES: Final = (f"{_WORDS}_quantized", f"{_WORDS}{BLOCKS}", f"{_WORDS}{SCALE}")
"""What the names of the arrays end in that hold a graph's word embeddings: one in 8 bits, or two in blocks of 4."""
_PAGE: Final = 4096
"""Each array begins at a multiple of this, so that it can be mapped into memory."""


def share(folders: Sequence[Path], file: Path | None = None) -> Path:
    """Move the word embeddings out of the models in `folders` into `file`, by default `FILE` beside the first; returns that file.

    A model that shares its words already stays as it is. Raises `ModelError` where the words differ, or one has none; then
    nothing is changed.
    """
    import onnx
    from onnx.external_data_helper import set_external_data

    file = (file or folders[0].resolve().parent / FILE).resolve()
    data = file.read_bytes() if file.is_file() else b""
    changed: list[tuple[Path, Any]] = []
    for folder in folders:
        if read_manifest(folder).shared:
            continue
        model = onnx.load(str(folder / GRAPH))
        tables = sorted((one for one in model.graph.initializer if one.name.endswith(TABLES)), key=lambda one: one.name)
        if not tables:
            raise ModelError(f"{folder}: has no word embeddings in 8 or 4 bits. Export it anew, with frozen words.")
        words = b""
        for table in tables:
            words += bytes(-len(words) % _PAGE)
            offset, length = len(words), len(table.raw_data)
            words += table.raw_data
            set_external_data(table, location=file.name, offset=offset, length=length)
            table.ClearField("raw_data")
        data = data or words
        if words != data:
            raise ModelError(f"{folder}: its word embeddings are others than those of {file} or {folders[0]}.")
        changed.append((folder, model))
    if not file.is_file():
        file.write_bytes(data)
    for folder, model in changed:
        (folder / GRAPH).write_bytes(model.SerializeToString())
        beside = os.path.relpath(file, folder.resolve())
        add_facts(
            folder,
            {"sha256": digest(folder / GRAPH), "shared": {"file": Path(beside).as_posix(), "sha256": digest(file)}},
        )
    return file


def main() -> None:
    """Share what is alike."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, help="folders of exported models")
    parser.add_argument("--file", type=Path, help=f"where to; {FILE} beside the first of them by default")
    arguments = parser.parse_args()
    file = share(arguments.models, arguments.file)
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB that {len(arguments.models)} models share")


if __name__ == "__main__":
    main()
