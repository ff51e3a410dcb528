"""Turn a trained model into the form botkit ships: int8 ONNX, a tokenizer, and a card with measured figures.

    python -m botkit.training.export encoder --model builtin:all-MiniLM-L6-v2 --out botkit/models/builtin/encoder

The folder written holds `model.onnx`, `tokenizer.json`, `config.json`, `botkit.json` (what the runtime needs to know) and
`README.md` (the card). Weights are quantised dynamically, per channel, the embedding table included (to four bits where asked).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from botkit.errors import ModelError
from botkit.models.manifest import add_facts
from botkit.training.chinese_base import base_folder
from botkit.training.word_blocks import look_ups, store_in_blocks

ROLES: Final = ("encoder", "reader", "sentiment", "classifier", "generator")
OPSET: Final = 17
_LARGE: Final = 10_000
"""Weights of at least so many numbers are stored in less than 32 bits."""
_SAMPLES: Final = 128
"""Rows from which a static quantisation finds the range of the activations."""
LENGTHS: Final = {"encoder": 256, "reader": 384, "sentiment": 192, "classifier": 192, "generator": 256}
"""Tokens a model reads at once, special ones included, where it has as many positions."""
BERT_INPUTS: Final = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class Exported:
    """What an export made: the folder, and the sizes in bytes of the float and the int8 graph."""

    folder: Path
    float_bytes: int
    int8_bytes: int


class _Encoder(nn.Module):
    """L2-normalised sentence vectors (Reimers and Gurevych 2019), pooled by the mean or the first token."""

    def __init__(self, model: nn.Module, pooling: str) -> None:
        super().__init__()
        self.model, self.pooling = model, pooling

    def forward(self, input_ids: Tensor, attention_mask: Tensor, *token_type_ids: Tensor) -> Tensor:
        hidden = self.model(input_ids, attention_mask=attention_mask, **_types(token_type_ids))[0]
        if self.pooling == "cls":
            return nn.functional.normalize(hidden[:, 0], dim=1)
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return nn.functional.normalize(mean, dim=1)


class _Heads(nn.Module):
    """A model whose first `count` outputs are the graph's outputs."""

    def __init__(self, model: nn.Module, count: int) -> None:
        super().__init__()
        self.model, self.count = model, count

    def forward(self, input_ids: Tensor, attention_mask: Tensor, *token_type_ids: Tensor) -> tuple[Tensor, ...]:
        output = self.model(input_ids, attention_mask=attention_mask, return_dict=False, **_types(token_type_ids))
        return tuple(output[: self.count])


def _types(token_type_ids: Sequence[Tensor]) -> dict[str, Tensor]:
    """The third input, for the models that have one (RoBERTa and DistilBERT have none)."""
    return {"token_type_ids": token_type_ids[0]} if token_type_ids else {}


class _Decoder(nn.Module):
    """GPT-2 with its key-value cache as plain inputs and outputs, and logits of the last position only."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.heads = model.config.n_head

    def forward(self, input_ids: Tensor, position_ids: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        body = self.model.transformer
        hidden = body.wte(input_ids) + body.wpe(position_ids)
        length = input_ids.shape[1]
        batch = input_ids.shape[0]
        present: list[Tensor] = []
        for layer, block in enumerate(body.h):
            normed = block.ln_1(hidden)
            query, key, value = block.attn.c_attn(normed).chunk(3, dim=-1)

            def split(part: Tensor) -> Tensor:
                return part.reshape(batch, length, self.heads, -1).transpose(1, 2)

            query, key, value = split(query), split(key), split(value)
            key, value = torch.cat([past[2 * layer], key], 2), torch.cat([past[2 * layer + 1], value], 2)
            present += [key, value]
            scores = query @ key.transpose(-1, -2) / (query.shape[-1] ** 0.5)
            at = torch.arange(key.shape[2], device=input_ids.device)
            visible = at[None, None, None, :] <= position_ids[:, None, :, None]
            attended = torch.where(visible, scores, torch.full_like(scores, -1e9)).softmax(-1) @ value
            merged = attended.transpose(1, 2).reshape(batch, length, -1)
            hidden = hidden + block.attn.c_proj(merged)
            hidden = hidden + block.mlp(block.ln_2(hidden))
        logits = self.model.lm_head(body.ln_f(hidden[:, -1:]))
        return (logits[:, 0], *present)


def export_graph(role: str, model: Any, target: Path, *, pooling: str = "mean") -> tuple[list[str], list[str]]:
    """Write `model` as a float ONNX graph with dynamic batch and length; return its input and output names."""
    ids = torch.ones((2, 8), dtype=torch.long)
    axes: dict[str, dict[int, str]]
    if role == "generator":
        layers, heads = model.config.n_layer, model.config.n_head
        head_width = model.config.n_embd // heads
        past = [torch.zeros((2, heads, 3, head_width)) for _ in range(2 * layers)]
        names = [f"past_key_values.{i}.{part}" for i in range(layers) for part in ("key", "value")]
        inputs = ["input_ids", "position_ids", *names]
        outputs = ["logits", *(name.replace("past_key_values", "present") for name in names)]
        module: nn.Module = _Decoder(model)
        arguments: tuple[Tensor, ...] = (ids, torch.arange(3, 11).repeat(2, 1), *past)
        axes = {name: {0: "batch", 1: "length"} for name in inputs[:2]} | {"logits": {0: "batch"}}
        axes |= {name: {0: "batch", 2: "past"} for name in names}
        axes |= {name: {0: "batch", 2: "total"} for name in outputs[1:]}
    else:
        has_types = getattr(model.config, "type_vocab_size", 0) > 1
        inputs = list(BERT_INPUTS if has_types else BERT_INPUTS[:2])
        outputs = {"encoder": ["embedding"], "reader": ["start_logits", "end_logits"]}.get(role, ["logits"])
        module = _Encoder(model, pooling) if role == "encoder" else _Heads(model, len(outputs))
        arguments = (ids, torch.ones_like(ids), torch.zeros_like(ids))[: len(inputs)]
        axes = {name: {0: "batch", 1: "length"} for name in inputs}
        axes |= {name: {0: "batch", 1: "length"} if role == "reader" else {0: "batch"} for name in outputs}
    module.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            arguments,
            str(target),
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    return inputs, outputs


def quantise(
    source: Path,
    target: Path,
    *,
    keep_float: Sequence[str] = (),
    per_channel: bool = True,
    word_bits: int = 8,
    samples: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Weights in int8, per channel or per matrix; nodes whose name holds a `keep_float` word stay float.

    With `word_bits` 4 the word embeddings stay float too, for `store_in_blocks`. The scale of the activations is found at run time (dynamic), or once and for all from the inputs in `samples` (static).
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = source.with_suffix(".prepared.onnx")
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    model = onnx.load(str(prepared))
    kept = {node.name for node in model.graph.node if any(word in node.name for word in keep_float)}
    if word_bits == 4:
        kept |= {node.name for node in look_ups(model)}
    options: dict[str, Any] = {
        "op_types_to_quantize": ["MatMul", "Gemm", "Gather"],
        "per_channel": per_channel,
        "weight_type": QuantType.QInt8,
        "nodes_to_exclude": sorted(kept),
        "extra_options": {"MatMulConstBOnly": True},
    }
    if not samples:
        quantize_dynamic(str(prepared), str(target), **options)
        return

    class Samples(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(samples)

        def get_next(self) -> Any:
            return next(self._left, None)

    quantize_static(str(prepared), str(target), Samples(), **options)


def calibration_samples(
    role: str, data: Path, tokenizer: Path, inputs: Sequence[str], length: int
) -> list[dict[str, Any]]:
    """Inputs of the graph from rows of a file, one row a sample, to find the range of the activations from.

    Raises `DataError` where the rows are of another kind, `ModelError` for a generator.
    """
    import numpy as np
    from tokenizers import Tokenizer

    from botkit.data.rows import main_text, read_rows

    if role == "generator":
        raise ModelError(
            "A generator carries its cache from step to step and is quantised dynamically. Leave --static out."
        )
    rows, kind = read_rows(data, "reading" if role in ("reader", "encoder") else None)
    split = Tokenizer.from_file(str(tokenizer))
    split.enable_truncation(length)
    split.no_padding()
    found = []
    for row in rows[:: max(1, len(rows) // _SAMPLES)][:_SAMPLES]:
        if role == "reader":
            read = split.encode(row.values["question"], row.values["context"])
        else:
            read = split.encode(row.values["context"] if role == "encoder" else main_text(row.values, kind))
        columns = {"input_ids": read.ids, "attention_mask": read.attention_mask, "token_type_ids": read.type_ids}
        found.append({name: np.array([columns[name]], dtype=np.int64) for name in inputs})
    return found


def narrow_floats(graph: Path) -> None:
    """Store the large float weights that quantisation left in less: matrices of products in 8 bits with a scale for each output, others in 16.

    The runtime widens them once, when it loads. The products stay in floating point: it is rounding the activations that costs
    accuracy, not rounding the weights.
    """
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(graph))
    of_products = {node.input[1] for node in model.graph.node if node.op_type == "MatMul"}
    widened = []
    for weights in list(model.graph.initializer):
        values, name = numpy_helper.to_array(weights), weights.name
        if weights.data_type != TensorProto.FLOAT or values.size < _LARGE:
            continue
        if name in of_products and values.ndim == 2:
            scale = np.maximum(np.abs(values).max(axis=0), 1e-12) / 127
            weights.CopyFrom(numpy_helper.from_array(np.rint(values / scale).astype(np.int8), f"{name}_narrow"))
            model.graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), f"{name}_narrow_scale"))
            widened.append(helper.make_node("Cast", [f"{name}_narrow"], [f"{name}_unscaled"], to=TensorProto.FLOAT))
            widened.append(helper.make_node("Mul", [f"{name}_unscaled", f"{name}_narrow_scale"], [name]))
        else:
            weights.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
            widened.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    for number, node in enumerate(widened):
        model.graph.node.insert(number, node)
    onnx.save(model, str(graph))


def export(
    role: str,
    model_folder: str | Path,
    out: Path,
    *,
    facts: dict[str, Any] | None = None,
    keep_float: Sequence[str] = (),
    per_channel: bool = True,
    word_bits: int = 8,
    calibrate: Path | None = None,
    progress: Callable[[str], None] = print,
) -> Exported:
    """Export the model of `model_folder` (a folder or hub id) for `role` into `out`; `facts` are added to botkit.json.

    With `calibrate`, a file of rows, the scales of the activations are fixed from them (static) instead of found at run time.
    With `word_bits` 4 the word embeddings are stored in blocks of four bits (`botkit.training.word_blocks`).
    The folder appears whole or not at all. Raises `ModelError` where the model is of a kind that cannot be exported.
    """
    source = base_folder(str(model_folder))
    model, tokenizer_file, config = _load(role, source)
    pooling = pooling_of(Path(source)) if role == "encoder" else ""
    if role == "encoder":
        config["hidden_size"] = model.config.hidden_size  # DistilBERT's file calls it "dim"
    if role == "generator" and config.get("model_type") != "gpt2":
        raise ModelError(
            f"{model_folder}: only the GPT-2 models of `botkit.training.generator` can be exported. Use this one as it is "
            "(extra torch), or behind an OpenAI-compatible endpoint."
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as name:
        work = Path(name)
        progress(f"exporting {role}")
        inputs, outputs = export_graph(role, model, work / "float.onnx", pooling=pooling)
        made = work / "made"
        made.mkdir()
        length = min(LENGTHS[role], positions(config))
        samples = calibration_samples(role, calibrate, tokenizer_file, inputs, length) if calibrate else []
        progress("quantising to int8")
        quantise(
            work / "float.onnx",
            made / "model.onnx",
            keep_float=keep_float,
            per_channel=per_channel,
            word_bits=word_bits,
            samples=samples,
        )
        if word_bits == 4:
            store_in_blocks(made / "model.onnx")
        narrow_floats(made / "model.onnx")
        tokenizer = json.loads(tokenizer_file.read_text(encoding="utf-8"))
        tokenizer["truncation"] = tokenizer["padding"] = None
        (made / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
        (made / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        manifest: dict[str, Any] = {
            "role": role,
            "name": Path(model_folder).name,
            "inputs": inputs,
            "outputs": outputs,
            "max_length": length,
            "sha256": hashlib.sha256((made / "model.onnx").read_bytes()).hexdigest(),
        }
        if role == "generator":
            manifest |= _generator_facts(config)
        if role in ("sentiment", "classifier"):
            labels = config["id2label"]
            manifest["labels"] = [labels[str(i)] if str(i) in labels else labels[i] for i in range(len(labels))]
        (made / "botkit.json").write_text(
            json.dumps(manifest | (facts or {}), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        sizes = (work / "float.onnx").stat().st_size, (made / "model.onnx").stat().st_size
        if out.exists():
            shutil.rmtree(out)
        made.rename(out)
    return Exported(out, *sizes)


def positions(config: dict[str, Any]) -> int:
    """Tokens that the model has positions for; RoBERTa counts them from behind its padding id."""
    most = int(config.get("max_position_embeddings") or config.get("n_positions") or 512)
    return most - int(config.get("pad_token_id") or 0) - 1 if "roberta" in str(config.get("model_type")) else most


def pooling_of(folder: Path) -> str:
    """How a sentence-transformers folder pools: "mean" or "cls"; a plain encoder is mean-pooled.

    Raises `ModelError` where something follows the pooling that an export would leave out.
    """
    modules = folder / "modules.json"
    if modules.is_file():
        kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in json.loads(modules.read_text(encoding="utf-8"))]
        if others := [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]:
            raise ModelError(
                f"{folder}: has {', '.join(others)} besides transformer and pooling, which cannot be exported."
            )
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return "mean"
    stored = json.loads(path.read_text(encoding="utf-8"))
    chosen = {key for key, value in stored.items() if key.startswith("pooling_mode_") and value is True}
    chosen |= {f"pooling_mode_{stored['pooling_mode']}"} if isinstance(stored.get("pooling_mode"), str) else set()
    if chosen <= {"pooling_mode_mean_tokens", "pooling_mode_mean"}:
        return "mean"
    if chosen <= {"pooling_mode_cls_token", "pooling_mode_cls"}:
        return "cls"
    raise ModelError(f"{folder}: pools by {', '.join(sorted(chosen))}; only mean and CLS pooling can be exported.")


def _generator_facts(config: dict[str, Any]) -> dict[str, Any]:
    from botkit.training.generator import PERSONAS

    return {
        "context_length": config["n_positions"],
        "layers": config["n_layer"],
        "heads": config["n_head"],
        "head_width": config["n_embd"] // config["n_head"],
        "tokens": {
            "user": "<|user|>",
            "bot": "<|bot|>",
            "end": "<|end|>",
            "personas": {p: f"<|{p}|>" for p in PERSONAS},
        },
        "template": "<|PERSONA|> then for each exchange <|user|>TEXT<|bot|>TEXT<|end|>; the prompt ends in <|bot|>",
    }


def _load(role: str, folder: str) -> tuple[Any, Path, dict[str, Any]]:
    from transformers import (
        AutoModel,
        AutoModelForCausalLM,
        AutoModelForQuestionAnswering,
        AutoModelForSequenceClassification,
        AutoTokenizer,
    )

    kinds: dict[str, Any] = {
        "encoder": AutoModel,
        "reader": AutoModelForQuestionAnswering,
        "sentiment": AutoModelForSequenceClassification,
        "classifier": AutoModelForSequenceClassification,
        "generator": AutoModelForCausalLM,
    }
    try:
        model = kinds[role].from_pretrained(folder, attn_implementation="eager")
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise ModelError(f"{folder}: transformers cannot load it as a {role} ({reason}).") from error
    model.eval()
    tokenizer_file = Path(folder) / "tokenizer.json"
    if not tokenizer_file.exists():
        saved = Path(tempfile.mkdtemp())
        AutoTokenizer.from_pretrained(folder).save_pretrained(saved)
        tokenizer_file = saved / "tokenizer.json"
    return model, tokenizer_file, model.config.to_dict()


@dataclass(frozen=True)
class Card:
    """What a reader of the model card wants to know."""

    name: str
    purpose: str
    base: str
    data: Sequence[str]
    licence: str
    languages: Sequence[str]
    commands: Sequence[str]
    limits: str
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)


def write_card(folder: Path, card: Card) -> None:
    """Write README.md and add the same facts to botkit.json; size and digest are read off the file."""
    model = folder / "model.onnx"
    manifest = add_facts(
        folder,
        {
            "name": card.name,
            "base": card.base,
            "licence": card.licence,
            "languages": list(card.languages),
            "trained_on": list(card.data),
            "command": card.commands[0],
            "metrics": card.metrics,
        },
    )
    lines = [f"# {card.name}", "", card.purpose, ""]
    lines += [f"- Base: {card.base}", f"- Languages: {', '.join(card.languages)}", f"- Licence: {card.licence}"]
    size = f"{model.stat().st_size / 1e6:.1f} MB, int8 ONNX"
    if manifest.get("shared"):
        words = folder / manifest["shared"]["file"]
        size += f", and {words.stat().st_size / 1e6:.1f} MB of word embeddings that it shares with other models ({words.name})"
    lines += [
        f"- Size: {size}",
        f"- SHA-256 of model.onnx: `{manifest['sha256']}`",
    ]
    lines += ["", "## Trained on", "", *(f"- {source}" for source in card.data or ["nothing further"])]
    lines += ["", "## Made by", "", "```", *card.commands, "```"]
    if card.training:
        lines += ["", *(f"- {key}: {value}" for key, value in card.training.items())]
    lines += [
        "",
        "## Measured, in this int8 form",
        "",
        "In brackets the 95 % bootstrap interval.",
        "",
        "| data | n | figures |",
        "| --- | --- | --- |",
    ]
    for data, figures in card.metrics.items():
        shown = ", ".join(_figure(k, v, figures.get("intervals", {})) for k, v in figures.items() if k not in _ASIDE)
        lines.append(f"| {data} | {figures.get('n', '')} | {shown} |")
    lines += ["", "## Limits", "", card.limits, ""]
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")


_ASIDE: Final = ("n", "intervals")


def _figure(name: str, value: Any, intervals: Mapping[str, Sequence[float]]) -> str:
    shown = f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}"
    low_high = intervals.get(name)
    return f"{shown} ({low_high[0]:.3f}–{low_high[1]:.3f})" if low_high else shown


def main() -> None:
    """Export one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--model", required=True, help="folder or hub id")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--keep-float", nargs="*", default=[], help="graph nodes whose name holds such a word stay float"
    )
    parser.add_argument("--word-bits", type=int, choices=(4, 8), default=8, help="bits of a word embedding's numbers")
    arguments = parser.parse_args()
    made = export(
        arguments.role,
        arguments.model,
        arguments.out,
        keep_float=arguments.keep_float,
        word_bits=arguments.word_bits,
    )
    print(f"{made.folder}: {made.float_bytes / 1e6:.1f} MB float, {made.int8_bytes / 1e6:.1f} MB int8")


if __name__ == "__main__":
    main()
