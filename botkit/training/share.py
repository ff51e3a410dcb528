"""Store the word embeddings that several exported models have alike once, in a file beside their folders.

    python -m botkit.training.share botkit/models/builtin/encoder botkit/models/builtin/reader botkit/models/builtin/sentiment

Models fine-tuned from one base with `--freeze-words` have the same table, a third of each. It becomes external data of their graphs (as
ONNX calls it), which ONNX Runtime maps into memory: the processes of a machine share it as well. Nothing that a model says changes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from botkit.errors import ModelError
from botkit.models.manifest import GRAPH, add_facts, digest, read_manifest

FILE: Final = "words.bin"
TABLE: Final = "word_embeddings.weight_quantized"


def share(folders: Sequence[Path], name: str = FILE) -> Path:
    """Move the tables out of the models in `folders` into `name` beside them; returns that file.

    A model whose table lies there already stays as it is. Raises `ModelError` where the tables differ, one has none, or the folders do
    not lie beside each other; then nothing is changed.
    """
    import onnx
    from onnx.external_data_helper import set_external_data

    file = folders[0].resolve().parent / name
    data = file.read_bytes() if file.is_file() else b""
    changed: list[tuple[Path, Any]] = []
    for folder in folders:
        if folder.resolve().parent != file.parent:
            raise ModelError(
                f"{folder}: does not lie beside {folders[0]}. Models that share weights lie in one folder."
            )
        if read_manifest(folder).shared:
            continue
        model = onnx.load(str(folder / GRAPH))
        table = next((one for one in model.graph.initializer if one.name.endswith(TABLE)), None)
        if table is None:
            raise ModelError(f"{folder}: has no word embeddings in 8 bits. Export it anew, with frozen words.")
        data = data or table.raw_data
        if table.raw_data != data:
            raise ModelError(f"{folder}: its word embeddings are others than those of {file} or {folders[0]}.")
        set_external_data(table, location=name, offset=0, length=len(data))
        table.ClearField("raw_data")
        changed.append((folder, model))
    if not file.is_file():
        file.write_bytes(data)
    for folder, model in changed:
        (folder / GRAPH).write_bytes(model.SerializeToString())
        add_facts(
            folder,
            {"sha256": digest(folder / GRAPH), "shared": {"file": f"../{name}", "sha256": digest(file)}},
        )
    return file


def main() -> None:
    """Share what is alike."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, help="folders of exported models, beside each other")
    arguments = parser.parse_args()
    file = share(arguments.models)
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB that {len(arguments.models)} models share")


if __name__ == "__main__":
    main()
