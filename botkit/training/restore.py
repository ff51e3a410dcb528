"""Turn an int8 ONNX model back into a folder that `from_pretrained` loads, so that what ships can be fine-tuned offline.

The weights are those of the graph, widened to 32 bits: rounded as they are there, which fine-tuning soon forgets. The graph keeps
the names of most weights; those of matrix products lose theirs in the export and are named after their nodes.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from botkit.errors import MissingExtraError, ModelError
from botkit.models.manifest import read_manifest
from botkit.training.word_blocks import BLOCKS, SCALE, from_blocks

Array = np.ndarray[Any, np.dtype[Any]]
_CLASSES: Final = {
    "encoder": "AutoModel",
    "reader": "AutoModelForQuestionAnswering",
    "sentiment": "AutoModelForSequenceClassification",
    "classifier": "AutoModelForSequenceClassification",
    "generator": "AutoModelForCausalLM",
}
_SPECIAL: Final = (
    {
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    },
    {"unk_token": "<unk>", "sep_token": "</s>", "pad_token": "<pad>", "cls_token": "<s>"},
)
"""The names of special tokens in BERT's vocabularies, and in XLM-RoBERTa's."""


def restore(folder: Path, out: Path) -> Path:
    """Write the model of `folder` (botkit.json, model.onnx) to `out` in the Hugging Face form; returns `out`.

    Raises `ModelError` where a weight of the model is not found in the graph.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtraError("Fine-tuning a built-in model", "train") from error
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    manifest = read_manifest(folder)
    role = manifest.role
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    chosen = transformers.AutoConfig.for_model(**settings)
    model = getattr(transformers, _CLASSES[role]).from_config(chosen)
    stored = weights(folder / "model.onnx", manifest.shared_file(folder))
    state = model.state_dict()
    tied = {"lm_head.weight"} if getattr(chosen, "tie_word_embeddings", False) else set()
    for name, parameter in state.items():
        found = stored.get(name)
        if found is None:
            if name in tied or ".pooler." in f".{name}" or "position_ids" in name or "token_type_ids" in name:
                continue
            raise ModelError(
                f"{folder}: the graph has no weight {name}; this model cannot be turned back. "
                "Name the folder that it was exported from as the base."
            )
        if found.shape != tuple(parameter.shape):
            raise ModelError(
                f"{folder}: the weight {name} is {found.shape} in the graph, not {tuple(parameter.shape)}."
            )
        state[name] = torch.from_numpy(np.ascontiguousarray(found))
    model.load_state_dict(state)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as name:
        made = Path(name) / "made"
        model.save_pretrained(made)
        tokenizer(folder).save_pretrained(made)
        if role == "encoder":
            _pooled(made, settings["hidden_size"])
        if out.exists():
            shutil.rmtree(out)
        made.rename(out)
    return out


def tokenizer(folder: Path) -> Any:
    """The tokenizer of an exported model, as transformers has it."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    named = max(_SPECIAL, key=lambda names: sum(plain.token_to_id(token) is not None for token in names.values()))
    known = {kind: token for kind, token in named.items() if plain.token_to_id(token) is not None}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]  # a pair's second half is told from its first by type
    if not known:
        known = {"pad_token": "<|pad|>", "eos_token": "<|end|>", "bos_token": "<|end|>"}
        inputs.remove("token_type_ids")
    length = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    positions = length.get("max_position_embeddings") or length.get("n_positions") or 512
    fast: Any = PreTrainedTokenizerFast
    return fast(tokenizer_object=plain, model_max_length=positions, model_input_names=inputs, **known)


def weights(graph: Path, shared: Path | None = None) -> dict[str, Array]:
    """The weights of an exported graph by their names in the model, as 32-bit floats; `shared` is as in `OnnxForward`."""
    import onnx
    from onnx import numpy_helper
    from onnx.external_data_helper import load_external_data_for_model

    model = onnx.load(str(graph), load_external_data=False)
    if shared is not None:
        load_external_data_for_model(model, str(shared.parent))
    stored = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}

    def value(name: str) -> Array | None:
        if f"{name}_quantized" in stored:
            scale, zero = stored[f"{name}_scale"], stored[f"{name}_zero_point"]
            widened: Array = (stored[f"{name}_quantized"].astype(np.float32) - zero.astype(np.float32)) * scale
            return widened
        if f"{name}{BLOCKS}" in stored:
            return from_blocks(stored[f"{name}{BLOCKS}"], stored[f"{name}{SCALE}"])
        if f"{name}_narrow" in stored:
            return np.asarray(stored[f"{name}_narrow"].astype(np.float32) * stored[f"{name}_narrow_scale"])
        if f"{name}_half" in stored:
            return stored[f"{name}_half"].astype(np.float32)
        found = stored.get(name)
        return found.astype(np.float32) if found is not None and found.dtype.kind == "f" else None

    named: dict[str, Array] = {}
    suffixes = ("_quantized", "_narrow", "_half", BLOCKS)
    for name in stored:
        plain = next((name.removesuffix(end) for end in suffixes if name.endswith(end)), name)
        if plain.startswith("model."):
            found = value(plain)
            if found is not None:
                turned = plain.endswith("_Transposed")
                named[plain.removeprefix("model.").removesuffix("_Transposed")] = found.T if turned else found
    for node in model.graph.node:
        if node.op_type not in ("MatMul", "MatMulInteger") or len(node.input) < 2:
            continue
        place = node.input[1].removesuffix("_quantized")
        if not place.startswith("onnx::"):
            continue
        found = value(place)
        path = node.name.removesuffix("_quant").removesuffix("/MatMul").removeprefix("/").removeprefix("model/")
        if found is not None and path:
            named[path.replace("/", ".") + ".weight"] = found.T
    return named


def _pooled(folder: Path, width: int) -> None:
    """What sentence-transformers needs to know: mean pooling, then normalisation."""
    kinds = ("Transformer", "Pooling", "Normalize")
    paths = ("", "1_Pooling", "2_Normalize")
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    for path in paths[1:]:
        (folder / path).mkdir()
    chosen = {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(chosen) + "\n", encoding="utf-8")
    (folder / "modules.json").write_text(json.dumps(modules, indent=1) + "\n", encoding="utf-8")
