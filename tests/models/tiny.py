"""Tiny models in botkit's form, made by hand: no torch is needed to test what runs without it.

Each graph is a table look-up on the token ids, so that a test can compute in numpy what the model must say.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, WordPiece

from botkit.models.manifest import digest

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,?!'"
HAN = "中国北京大学创立于年一二三他是谁哪"
WORDS = ("the", "river", "is", "long", "who", "founded", "it", "1851", "good", "bad", "run", "##ning", "##s")


def bert_tokenizer() -> Tokenizer:
    """A WordPiece tokenizer that can spell any ASCII word and a few Chinese characters."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    pieces += [*LETTERS, *(f"##{letter}" for letter in LETTERS), *HAN]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return tokenizer


SPECIAL = ("<|pad|>", "<|user|>", "<|bot|>", "<|end|>", "<|friendly|>", "<|witty|>")


def byte_tokenizer() -> Tokenizer:
    """Special tokens, then one token for each byte: a Chinese character is three tokens, an emoji four."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: number for number, piece in enumerate([*SPECIAL, *alphabet])}
    tokenizer = Tokenizer(BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


@dataclass(frozen=True)
class TinyModel:
    """A model folder and the table its graph looks tokens up in."""

    folder: Path
    table: NDArray[np.float32]


BERT_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def _value(name: str, kind: int, shape: Sequence[str | int]) -> Any:
    return helper.make_tensor_value_info(name, kind, list(shape))


def write_model(
    folder: Path,
    tokenizer: Tokenizer,
    nodes: Sequence[Any],
    constants: dict[str, NDArray[Any]],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    manifest: dict[str, Any],
    config: dict[str, Any] | None = None,
) -> Path:
    """Write a folder in botkit's form around a hand-made graph."""
    folder.mkdir(parents=True)
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(list(nodes), "tiny", list(inputs), list(outputs), stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"pad_token_id": 0} | (config or {})), encoding="utf-8")
    facts = {
        "inputs": [value.name for value in inputs],
        "outputs": [value.name for value in outputs],
        "sha256": digest(folder / "model.onnx"),
        "licence": "Apache-2.0",
    }
    (folder / "botkit.json").write_text(json.dumps(facts | manifest), encoding="utf-8")
    return folder


def _bert_inputs() -> list[Any]:
    return [_value(name, TensorProto.INT64, ["batch", "length"]) for name in BERT_INPUTS]


def _pooled(constants: dict[str, NDArray[Any]]) -> list[Any]:
    """Nodes that make `mean`, the mean of the tokens' rows of `table`, the padding left out."""
    constants["axis_1"] = np.array([1], dtype=np.int64)
    constants["axis_2"] = np.array([2], dtype=np.int64)
    return [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"], axis=0),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "axis_2"], ["mask_3"]),
        helper.make_node("Mul", ["rows", "mask_3"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "axis_1"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "axis_1"], ["count"], keepdims=1),
        helper.make_node("Div", ["sum", "count"], ["mean"]),
    ]


def make_encoder(folder: Path, *, seed: int = 0, max_length: int = 16, dimension: int = 8) -> TinyModel:
    """The vector of a text is the normalised mean of its tokens' rows."""
    tokenizer = bert_tokenizer()
    table = np.random.default_rng(seed).normal(size=(tokenizer.get_vocab_size(), dimension)).astype(np.float32)
    constants: dict[str, NDArray[Any]] = {"table": table}
    nodes = _pooled(constants)
    nodes.append(helper.make_node("LpNormalization", ["mean"], ["embedding"], axis=1, p=2))
    write_model(
        folder,
        tokenizer,
        nodes,
        constants,
        _bert_inputs(),
        [_value("embedding", TensorProto.FLOAT, ["batch", dimension])],
        {"role": "encoder", "name": "tiny encoder", "max_length": max_length},
        {"hidden_size": dimension},
    )
    return TinyModel(folder, table)


def make_reader(folder: Path, *, seed: int = 0, max_length: int = 64) -> TinyModel:
    """The two logits of a token are its row: which token it is decides, and nothing else."""
    tokenizer = bert_tokenizer()
    table = np.random.default_rng(seed).normal(size=(tokenizer.get_vocab_size(), 2)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["starts", "input_ids"], ["start_logits"], axis=0),
        helper.make_node("Gather", ["ends", "input_ids"], ["end_logits"], axis=0),
    ]
    write_model(
        folder,
        tokenizer,
        nodes,
        {"starts": table[:, 0].copy(), "ends": table[:, 1].copy()},
        _bert_inputs(),
        [_value(name, TensorProto.FLOAT, ["batch", "length"]) for name in ("start_logits", "end_logits")],
        {"role": "reader", "name": "tiny reader", "max_length": max_length},
    )
    return TinyModel(folder, table)


def make_sentiment(
    folder: Path, labels: Sequence[str] = ("negative", "neutral", "positive"), good: float = 12
) -> TinyModel:
    """The logits are the mean of the tokens' rows: "bad" pulls to the first label, "good" to the last, so much."""
    tokenizer = bert_tokenizer()
    table = np.zeros((tokenizer.get_vocab_size(), len(labels)), dtype=np.float32)
    table[tokenizer.token_to_id("bad"), 0] = 12
    table[tokenizer.token_to_id("good"), -1] = good
    constants: dict[str, NDArray[Any]] = {"table": table}
    nodes = _pooled(constants)
    nodes.append(helper.make_node("Identity", ["mean"], ["logits"]))
    write_model(
        folder,
        tokenizer,
        nodes,
        constants,
        _bert_inputs(),
        [_value("logits", TensorProto.FLOAT, ["batch", len(labels)])],
        {"role": "sentiment", "name": "tiny sentiment", "max_length": 32, "labels": list(labels)},
    )
    return TinyModel(folder, table)


def make_generator(folder: Path, *, context_length: int = 64, replies: dict[str, str] | None = None) -> TinyModel:
    """After each token comes the one that `replies` chains to it; what is said first depends on the persona alone.

    `replies` maps a persona to its reply (letters must not repeat inside one). The persona is read back from the keys
    that are handed over from step to step, so a lost or mixed up cache changes the words.
    """
    replies = replies or {"friendly": "Hi you!", "witty": "Boo"}
    tokenizer = byte_tokenizer()
    size = tokenizer.get_vocab_size()
    following = np.zeros((len(SPECIAL) * size, size), dtype=np.float32)
    for persona, reply in replies.items():
        row = tokenizer.token_to_id(f"<|{persona}|>") * size
        ids = [tokenizer.token_to_id("<|bot|>"), *tokenizer.encode(reply).ids, tokenizer.token_to_id("<|end|>")]
        for before, after in itertools.pairwise(ids):
            following[row + before, after] = 20
    integers = {
        "last": [-1],
        "first": [0],
        "one": [1],
        "axis": [2],
        "size": [size],
        "key_shape": [1, 1, -1, 1],
        "row": [1, size],
    }
    constants: dict[str, NDArray[Any]] = {name: np.array(value, dtype=np.int64) for name, value in integers.items()}
    constants |= {"following": following}
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["numbers", "key_shape"], ["new_key"]),
        helper.make_node("Concat", ["past_key_values.0.key", "new_key"], ["present.0.key"], axis=2),
        helper.make_node("Concat", ["past_key_values.0.value", "new_key"], ["present.0.value"], axis=2),
        helper.make_node("Slice", ["present.0.key", "first", "one", "axis"], ["persona_number"]),
        helper.make_node("Cast", ["persona_number"], ["persona"], to=TensorProto.INT64),
        helper.make_node("Gather", ["input_ids", "last"], ["latest"], axis=1),
        helper.make_node("Mul", ["persona", "size"], ["offset"]),
        helper.make_node("Add", ["offset", "latest"], ["at"]),
        helper.make_node("Gather", ["following", "at"], ["rows"], axis=0),
        helper.make_node("Reshape", ["rows", "row"], ["raw"]),
        # position_ids must be given, as by the real graphs
        helper.make_node("Cast", ["position_ids"], ["positions"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["positions"], ["sum"], keepdims=0),
        helper.make_node("Sub", ["sum", "sum"], ["nothing"]),
        helper.make_node("Add", ["raw", "nothing"], ["logits"]),
    ]
    past = ["past_key_values.0.key", "past_key_values.0.value"]
    inputs = [_value(name, TensorProto.INT64, ["batch", "length"]) for name in ("input_ids", "position_ids")]
    inputs += [_value(name, TensorProto.FLOAT, ["batch", 1, "past", 1]) for name in past]
    outputs = [_value("logits", TensorProto.FLOAT, ["batch", size])]
    outputs += [_value(f"present.0.{part}", TensorProto.FLOAT, ["batch", 1, "total", 1]) for part in ("key", "value")]
    personas = {name: f"<|{name}|>" for name in replies}
    tokens = {"user": "<|user|>", "bot": "<|bot|>", "end": "<|end|>", "personas": personas}
    facts = {"layers": 1, "heads": 1, "head_width": 1, "context_length": context_length, "tokens": tokens}
    write_model(
        folder,
        tokenizer,
        nodes,
        constants,
        inputs,
        outputs,
        {"role": "generator", "name": "tiny generator", "max_length": context_length} | facts,
    )
    return TinyModel(folder, following)
