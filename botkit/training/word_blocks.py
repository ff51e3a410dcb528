"""Word embeddings in four bits: a third of a small model's size is the table that its words are looked up in.

Rows are cut into blocks of 32 numbers, each of four bits, with a scale of 16 bits for each block: the format Q4_0 of llama.cpp. ONNX
Runtime widens the rows of a text's words when it looks them up (`GatherBlockQuantized`), so the table is small in memory too. That of
multilingual-e5-small moves by 3.1 % (root of the mean square), about as much as by 8 bits with one scale for the whole table.

    python -m botkit.training.word_blocks --model models/sentiment --out models/sentiment-rounded

rounds a model's table before it is trained on with `--freeze-words`: what is learnt then makes up for the rounding. With `--words-of FOLDER`
it gets the table of another model with the same vocabulary, so that both can be stored with one (`botkit.training.share`).
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from botkit.errors import ModelError

BLOCK: Final = 32
BLOCKS: Final = "_blocks"
SCALE: Final = "_blocks_scale"
"""What the names of the two arrays of a table end in."""
_LEVELS: Final = (-8.0, 7.0, *(sign * size for size in (8.5, 8.0, 7.5, 7.0, 6.5, 6.0) for sign in (-1, 1)))
"""What the largest number of a block may become; beyond the range it is cut off, for the good of the others."""

Floats = NDArray[np.float32]


def to_blocks(table: Floats) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    """Whole numbers from -8 to 7 of the table's shape (rows, columns), and scales of shape (rows, columns / 32).

    Of several scales for a block, that with the least squared error is taken; one of them gives back what `from_blocks` made.
    """
    cut = table.reshape(len(table), -1, BLOCK)
    largest = np.take_along_axis(cut, np.abs(cut).argmax(axis=2)[:, :, None], axis=2)
    whole = np.zeros(cut.shape, dtype=np.int8)
    scales = np.zeros(largest.shape, dtype=np.float16)
    least = np.full(largest.shape, np.inf, dtype=np.float32)
    for level in _LEVELS:
        tried = (largest / level).astype(np.float16)
        divisors = np.where(tried == 0, np.float32(1), tried.astype(np.float32))
        rounded = np.clip(np.rint(cut / divisors), -8, 7)
        error = np.square(rounded * divisors - cut).sum(axis=2, keepdims=True)
        better = error < least
        least = np.where(better, error, least)
        scales = np.where(better, tried, scales)
        whole = np.where(better, rounded, whole).astype(np.int8)
    return whole.reshape(table.shape), scales[:, :, 0]


def from_blocks(whole: NDArray[Any], scales: NDArray[Any]) -> Floats:
    """The table that `to_blocks` stored."""
    table: Floats = whole.astype(np.float32) * np.repeat(scales.astype(np.float32), BLOCK, axis=1)
    return table


def look_ups(model: Any) -> list[Any]:
    """The nodes of an ONNX model that look token ids up in a table which fits blocks and nothing else uses."""
    tables = {one.name: one.dims for one in model.graph.initializer if len(one.dims) == 2}
    uses = [name for node in model.graph.node for name in node.input]
    return [
        node
        for node in model.graph.node
        if node.op_type == "Gather"
        and node.input[1] == "input_ids"
        and uses.count(node.input[0]) == 1
        and node.input[0] in tables
        and tables[node.input[0]][1] % BLOCK == 0
    ]


def store_in_blocks(graph: Path) -> None:
    """Exchange the word embeddings of the graph, still float, for blocks; raises `ModelError` where it has none that fit."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(graph))
    found = look_ups(model)
    if not found:
        raise ModelError(
            f"Four bits are for a table of word embeddings that serves nothing else and whose width is a multiple of {BLOCK}; "
            "this model has none. Export it with 8 bits."
        )
    for node in found:
        name, ids = node.input
        (weights,) = (one for one in model.graph.initializer if one.name == name)
        whole, scales = to_blocks(numpy_helper.to_array(weights).astype(np.float32))
        halves = (whole[:, ::2] & 15) | ((whole[:, 1::2] & 15) << 4)
        weights.CopyFrom(
            helper.make_tensor(
                f"{name}{BLOCKS}", TensorProto.INT4, whole.shape, halves.astype(np.uint8).tobytes(), raw=True
            )
        )
        model.graph.initializer.append(numpy_helper.from_array(scales, f"{name}{SCALE}"))
        widened = helper.make_node("Cast", [f"{name}{SCALE}"], [f"{name}_scales"], to=TensorProto.FLOAT)
        rows = helper.make_node(
            "GatherBlockQuantized", [f"{name}{BLOCKS}", ids, f"{name}_scales"], list(node.output), node.name,
            domain="com.microsoft", gather_axis=0, quantize_axis=1, block_size=BLOCK,
        )  # fmt: skip
        place = list(model.graph.node).index(node)
        model.graph.node.remove(node)
        model.graph.node.insert(place, rows)
        model.graph.node.insert(0, widened)
    if "com.microsoft" not in {one.domain for one in model.opset_import}:
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, str(graph))


def round_words(folder: Path, out: Path, words_of: Path | None = None) -> None:
    """Write the model of `folder` to `out` with its word embeddings, or those of the model in `words_of`, as blocks give them back.

    Raises `ModelError` where it has none, or the other's are of another shape.
    """
    from safetensors.numpy import load_file, save_file

    state = load_file(folder / "model.safetensors")
    name = _word_table(state, folder)
    table = state[name]
    if words_of is not None:
        others = load_file(words_of / "model.safetensors")
        table = others[_word_table(others, words_of)]
        if table.shape != state[name].shape:
            raise ModelError(
                f"{words_of}: its word embeddings are {table.shape}, those of {folder} {state[name].shape}. "
                "Only models with the same vocabulary and width can have the same words."
            )
    state[name] = from_blocks(*to_blocks(table.astype(np.float32)))
    shutil.copytree(folder, out, dirs_exist_ok=True)
    save_file(state, out / "model.safetensors", metadata={"format": "pt"})


def _word_table(state: Mapping[str, Any], folder: Path) -> str:
    name = next((name for name in state if name.endswith("word_embeddings.weight")), None)
    if name is None:
        raise ModelError(f"{folder}: has no word embeddings of BERT's kind.")
    return name


def main() -> None:
    """Round the words of a model."""
    from botkit.training.chinese_base import base_folder

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder with model.safetensors, or builtin:all-MiniLM-L6-v2")
    parser.add_argument(
        "--words-of", type=Path, help="folder of the model whose words it is to have; its own by default"
    )
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    round_words(Path(base_folder(arguments.model)), arguments.out, arguments.words_of)


if __name__ == "__main__":
    main()
