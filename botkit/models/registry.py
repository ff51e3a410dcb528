"""From a model's name in the configuration to the model.

A name is `builtin`, a folder, the name of a model in HOME/models (pulled or exported), or a hub id; the generator may
also be `openai:MODEL`. A folder in botkit's form runs on ONNX Runtime, any other through transformers or
sentence-transformers.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from botkit.errors import ModelError
from botkit.models.manifest import CARD, GRAPH, ROLES, Role, is_botkit_folder, read_manifest, read_model_config

if TYPE_CHECKING:
    from botkit.config import ModelsConfig, Paths
    from botkit.models import Encoder, Generator, Reader, SentimentClassifier
    from botkit.models.classifier import TextClassifier

BUILTIN: Final = "builtin"
BUILTIN_FOLDER: Final = Path(__file__).parent / "builtin"
ENDPOINT: Final = "openai:"
_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_HUB_FILES: Final = ["*.json", "*.txt", "*.model", "*.safetensors", "*.md", "1_Pooling/*", "2_Normalize/*"]
_OLD_WEIGHTS: Final = "*.bin"

Form = Literal["onnx", "transformers", "endpoint", "broken"]


_MODEL_FILES: Final = ("botkit.json", "config.json", "modules.json", "adapter_config.json")
"""One of them lies in each folder that botkit, transformers, sentence-transformers or peft can load."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model that can be chosen. `size` is in bytes, 0 for an endpoint; `roles` are those it can be used for."""

    name: str
    form: Form
    roles: tuple[Role, ...]
    folder: Path | None
    size: int
    title: str = ""
    licence: str = ""
    languages: tuple[str, ...] = ()


def check_model(info: ModelInfo, role: Role, name: str) -> None:
    """Raise `ModelError` where what is called `name` holds no model, or one for another role."""
    if info.folder is not None and not any((info.folder / file).is_file() for file in _MODEL_FILES):
        raise ModelError(f"{info.folder}: holds no model: there is neither {' nor '.join(_MODEL_FILES)} in it.")
    if info.roles and role not in info.roles:
        raise ModelError(f"{name}: this model is for the role {' or '.join(info.roles)}, not {role}.")


def load_encoder(config: ModelsConfig, paths: Paths) -> Encoder:
    """The configured encoder; raises `ModelError` or `MissingExtraError`."""
    from botkit.models.encoder import OnnxEncoder, SentenceTransformerEncoder

    folder = model_folder(config.encoder, "encoder", paths)
    make = OnnxEncoder if is_botkit_folder(folder) else SentenceTransformerEncoder
    return make(folder, threads=config.threads)


def load_reader(config: ModelsConfig, paths: Paths) -> Reader:
    """The configured reader; raises `ModelError` or `MissingExtraError`."""
    from botkit.models.reader import ExtractiveReader

    folder = model_folder(config.reader, "reader", paths)
    make = ExtractiveReader.onnx if is_botkit_folder(folder) else ExtractiveReader.transformers
    return make(folder, threads=config.threads)


def load_sentiment(config: ModelsConfig, paths: Paths) -> SentimentClassifier:
    """The configured sentiment classifier; raises `ModelError` or `MissingExtraError`."""
    from botkit.models.sentiment import TextSentimentClassifier

    folder = model_folder(config.sentiment, "sentiment", paths)
    make = TextSentimentClassifier.onnx if is_botkit_folder(folder) else TextSentimentClassifier.transformers
    return make(folder, threads=config.threads)


def load_classifier(name: str, paths: Paths, *, threads: int = 0) -> TextClassifier:
    """A classifier of any labels, by its name; raises `ModelError` or `MissingExtraError`."""
    from botkit.models.classifier import TextClassifier

    return TextClassifier.load(model_folder(name, "sentiment", paths), threads=threads)


def load_generator(config: ModelsConfig, paths: Paths) -> Generator:
    """The configured generator; raises `ModelError` or `MissingExtraError`."""
    chosen = config.generator
    if chosen.model.startswith(ENDPOINT):
        from botkit.models.endpoint import OpenAIGenerator

        return OpenAIGenerator(
            chosen.model.removeprefix(ENDPOINT),
            base_url=chosen.base_url,
            api_key=chosen.api_key.get_secret_value(),
            system_prompt=chosen.system_prompt,
            timeout_s=chosen.timeout_s,
        )
    from botkit.models.generator import OnnxGenerator, TransformersGenerator

    folder = model_folder(chosen.model, "generator", paths)
    if is_botkit_folder(folder):
        return OnnxGenerator(folder, threads=config.threads)
    return TransformersGenerator(folder, system_prompt=chosen.system_prompt, threads=config.threads)


def model_folder(name: str, role: Role, paths: Paths) -> Path:
    """The folder that a name stands for; a hub id that is not here yet is fetched. Raises `ModelError`."""
    if name == BUILTIN:
        return BUILTIN_FOLDER / role
    for folder in (Path(name).expanduser(), paths.models / stored_name(name)):
        if folder.is_dir():
            return folder
    if _HUB_ID.fullmatch(name):
        return pull(name, paths)
    raise ModelError(
        f"There is no model {name!r}: neither a folder, nor one of HOME/models ({paths.models}), nor a hub id such as "
        "deepset/roberta-base-squad2. `botkit models list` shows what there is."
    )


def stored_name(name: str) -> str:
    """The folder name under HOME/models of a hub id."""
    return name.replace("/", "--")


def pull(name: str, paths: Paths, *, revision: str | None = None) -> Path:
    """Fetch a model from the hub into HOME/models; it appears there whole or not at all. Raises `ModelError`."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    target = paths.models / stored_name(name)
    part = paths.models / f".{stored_name(name)}.part"
    fetch: Any = snapshot_download
    try:
        part.mkdir(parents=True, exist_ok=True)
        fetch(name, revision=revision, local_dir=part, allow_patterns=_HUB_FILES)
        if not any(part.rglob("*.safetensors")):
            fetch(name, revision=revision, local_dir=part, allow_patterns=[*_HUB_FILES, _OLD_WEIGHTS])
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise ModelError(
            f"{name}: cannot be fetched from the hub ({reason}). Check the name and the network; a private model needs "
            "the environment variable HF_TOKEN. A broken download goes on where it stopped."
        ) from error
    if target.exists():
        shutil.rmtree(target)
    shutil.rmtree(part / ".cache", ignore_errors=True)
    part.rename(target)
    return target


def models_at_hand(paths: Paths) -> list[ModelInfo]:
    """The built-in models, then those of HOME/models, by name."""
    found = [_described(BUILTIN, BUILTIN_FOLDER / role) for role in ROLES if is_botkit_folder(BUILTIN_FOLDER / role)]
    if paths.models.is_dir():
        stored = (path for path in sorted(paths.models.iterdir()) if path.is_dir() and not path.name.startswith("."))
        for folder in stored:
            try:
                found.append(_described(folder.name.replace("--", "/", 1), folder))
            except ModelError as error:
                found.append(ModelInfo(folder.name, "broken", (), folder, 0, str(error)))
    return found


def describe_model(name: str, role: Role, paths: Paths) -> ModelInfo:
    """One model by its name; unlike `model_folder` nothing is fetched. Raises `ModelError`."""
    if name.startswith(ENDPOINT):
        return ModelInfo(name, "endpoint", ("generator",), None, 0)
    for folder in (Path(name).expanduser(), paths.models / stored_name(name)):
        if name != BUILTIN and folder.is_dir():
            return _described(name, folder)
    if name == BUILTIN:
        return _described(name, BUILTIN_FOLDER / role)
    raise ModelError(f"There is no model {name!r} here. `botkit models list` shows what there is.")


def card_of(info: ModelInfo) -> str:
    """The model's card, Markdown; empty where it has none."""
    path = info.folder / CARD if info.folder else None
    return path.read_text(encoding="utf-8", errors="replace") if path and path.is_file() else ""


def _described(name: str, folder: Path) -> ModelInfo:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if is_botkit_folder(folder):
        manifest = read_manifest(folder)
        return ModelInfo(
            name, "onnx", (manifest.role,), folder, size, manifest.name, manifest.licence, manifest.languages
        )
    return ModelInfo(name, "transformers", roles_of(folder), folder, size)


def roles_of(folder: Path) -> tuple[Role, ...]:
    """What a transformers model can be used for, by the architecture that its config.json names; empty if unknown."""
    if (folder / "modules.json").is_file():
        return ("encoder",)
    kinds: dict[str, Role] = {
        "ForQuestionAnswering": "reader",
        "ForSequenceClassification": "sentiment",
        "ForCausalLM": "generator",
        "LMHeadModel": "generator",
        "Model": "encoder",
    }
    config = read_model_config(folder)
    labels = config.get("id2label")
    for architecture in cast("list[str]", config.get("architectures") or []):
        for ending, role in kinds.items():
            if architecture.endswith(ending):
                tones = role != "sentiment" or (isinstance(labels, dict) and are_tones(list(labels.values())))
                return (role,) if tones else ("classifier",)
    return ()


def are_tones(labels: Sequence[object]) -> bool:
    """Whether a classifier's labels are tones, so that it can serve as the sentiment model."""
    from botkit.models.sentiment import tone_of

    try:
        return bool([tone_of(str(label), [str(label) for label in labels]) for label in labels])
    except ModelError:
        return False


__all__ = [
    "BUILTIN",
    "BUILTIN_FOLDER",
    "GRAPH",
    "ModelInfo",
    "card_of",
    "describe_model",
    "load_classifier",
    "load_encoder",
    "load_generator",
    "load_reader",
    "load_sentiment",
    "model_folder",
    "models_at_hand",
    "pull",
]
