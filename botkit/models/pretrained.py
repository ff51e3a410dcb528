"""Models in the Hugging Face form, run by torch: what the roles have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from botkit.errors import MissingExtraError, ModelError
from botkit.models.manifest import digest, read_model_config
from botkit.models.runtime import TorchForward, available_cores, first_line, import_torch, plain_tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer

PURPOSE: Final = "Running a hub model"
_LONGEST: Final = 512
_WEIGHTS: Final = ("*.safetensors", "*.bin", "*/*.safetensors", "*/*.bin")


@dataclass(frozen=True)
class Pretrained:
    """A loaded model with its tokenizer; `max_length` in tokens, special ones included."""

    identity: str
    forward: TorchForward
    tokenizer: Tokenizer
    max_length: int
    pad_id: int
    config: Any


def load_pretrained(auto_class: str, folder: Path, outputs: Sequence[str], *, threads: int = 0) -> Pretrained:
    """Load `folder` with transformers' class of that name; `outputs` are fields of the model's output.

    Raises `MissingExtraError` without torch, `ModelError` where the folder does not hold such a model.
    """
    transformers = import_transformers(threads)
    try:
        model, notes = getattr(transformers, auto_class).from_pretrained(
            folder, local_files_only=True, output_loading_info=True
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, use_fast=True)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise ModelError(f"{folder}: transformers cannot load it as {auto_class} ({first_line(error)}).") from error
    if heads := sorted(notes["missing_keys"]):
        raise ModelError(
            f"{folder}: the model was not trained for this role; {auto_class} misses {', '.join(heads[:3])}. "
            "Choose a model of the right kind."
        )
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise ModelError(f"{folder}: the model has no fast tokenizer (tokenizer.json). Choose another model.")
    positions = getattr(model.config, "max_position_embeddings", _LONGEST)
    # RoBERTa counts positions from the padding id on
    positions -= model.config.pad_token_id + 1 if "roberta" in model.config.model_type else 0
    inputs = [name for name in tokenizer.model_input_names if name in ("input_ids", "attention_mask", "token_type_ids")]
    return Pretrained(
        identity(folder),
        TorchForward(model, inputs, outputs),
        plain_tokenizer(tokenizer.backend_tokenizer),
        min(positions, tokenizer.model_max_length, _LONGEST),
        tokenizer.pad_token_id or 0,
        model.config,
    )


def import_transformers(threads: int = 0) -> Any:
    """The transformers module, quiet, and torch held to `threads`; raises `MissingExtraError`."""
    torch = import_torch(PURPOSE)
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(PURPOSE, "torch") from error
    torch.set_num_threads(threads or available_cores())
    logging: Any = transformers.utils.logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return transformers


def identity(folder: Path) -> str:
    """Names the weights of a folder: its name and a digest of the weight files."""
    files = sorted({path for pattern in _WEIGHTS for path in folder.glob(pattern)})
    if not files:
        raise ModelError(
            f"{folder}: no weights (model.safetensors) in this folder. Name another, or pull the model again."
        )
    name = str(read_model_config(folder).get("_name_or_path") or folder.name).rstrip("/").rpartition("/")[2]
    return f"{name}@{digest(files[0])[:12]}"
