"""`botkit.json`: what the runtime must know about a model in botkit's ONNX form, and what a person wants to know."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from botkit.errors import ModelError
from botkit.messages import Language

Role: TypeAlias = Literal["encoder", "reader", "sentiment", "generator", "classifier"]
ROLES: Final[tuple[Role, ...]] = ("encoder", "reader", "sentiment", "generator")
"""What the bot itself uses; a classifier of other labels stands beside it."""

MANIFEST: Final = "botkit.json"
GRAPH: Final = "model.onnx"
TOKENIZER: Final = "tokenizer.json"
CARD: Final = "README.md"


class GeneratorTokens(BaseModel):
    """The special tokens of a generator's conversation format."""

    model_config = ConfigDict(frozen=True)

    user: str
    bot: str
    end: str
    personas: Mapping[str, str] = Field(default_factory=dict)


class Shared(BaseModel):
    """Weights that several models have alike and that are stored once: a file, relative to the model's folder, and its digest."""

    model_config = ConfigDict(frozen=True)

    file: str
    sha256: str


class Manifest(BaseModel):
    """The facts of one model; those from `context_length` on are for generators only.

    `max_length` counts tokens, special ones included. `sha256` is the digest of `model.onnx`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    role: Role
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    max_length: int = Field(gt=2)
    sha256: str
    name: str = ""
    base: str = ""
    licence: str = ""
    languages: tuple[str, ...] = ()
    trained_on: tuple[str, ...] = ()
    command: str = ""
    metrics: Mapping[str, Any] = Field(default_factory=dict)
    labels: tuple[str, ...] = ()
    companions: Mapping[Language, str] = Field(default_factory=dict)
    """Folders in this one, by language, of models that read texts in that language too: classifiers with the same labels, or encoders."""

    companion_share: float = Field(default=0.5, gt=0, lt=1)
    """Encoders: how much of the cosine of two texts in its language is that of the companion."""

    threshold: float = 0.0
    """Readers: the margin over "no answer", in logits, below which a question to one given passage counts as unanswerable."""

    context_length: int = 0
    layers: int = 0
    heads: int = 0
    head_width: int = 0
    tokens: GeneratorTokens | None = None

    shared: Shared | None = None
    """Weights that are not in `model.onnx` itself (see `botkit.training.share`)."""

    def shared_file(self, folder: Path) -> Path | None:
        """Where the weights lie that the model in `folder` shares with others; None where it has all its own."""
        return (folder / self.shared.file).resolve() if self.shared else None

    @property
    def identity(self) -> str:
        """Names the weights: vectors and calibrations of different identities do not mix."""
        return f"{self.name or self.role}@{self.sha256[:12]}"


def is_botkit_folder(folder: Path) -> bool:
    """Whether a folder holds a model in botkit's ONNX form."""
    return (folder / MANIFEST).is_file()


def read_manifest(folder: Path, role: Role | None = None) -> Manifest:
    """Read a folder's manifest; raises `ModelError` where it is missing, broken or of another role than asked for."""
    path = folder / MANIFEST
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read ({error.strerror}). `botkit models export` makes such folders."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ModelError(
            f"{path}: {where}: {first['msg']}. Export the model again with `botkit models export`."
        ) from error
    if role is not None and manifest.role != role:
        raise ModelError(
            f"{folder}: this model is a {manifest.role}, not a {role}. Choose another with `botkit models use`."
        )
    return manifest


def add_facts(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write facts into a folder's manifest, where they take the place of earlier ones; returns all that is in it."""
    path = folder / MANIFEST
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) | dict(facts)
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return told


def read_model_config(folder: Path) -> dict[str, Any]:
    """The model's own `config.json`, in transformers' format; empty where there is none. Raises `ModelError`."""
    path = folder / "config.json"
    if not path.is_file():
        return {}
    try:
        stored = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not readable as JSON ({error}). Download or export the model again.") from error
    if not isinstance(stored, dict):
        raise ModelError(f"{path}: a JSON object was expected. Download or export the model again.")
    return stored


def digest(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    summed = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                summed.update(block)
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read ({error.strerror}). Reinstall botkit or export the model again."
        ) from error
    return summed.hexdigest()


def check_digest(folder: Path) -> None:
    """Raise `ModelError` where `model.onnx`, what it shares with others, or that of a companion is not what the manifest speaks of.

    Hashing takes about 30 ms for 25 MB, so `botkit models show` and `botkit doctor` ask for it and a start does not.
    """
    manifest = read_manifest(folder)
    for companion in manifest.companions.values():
        check_digest(folder / companion)
    files = [(folder / GRAPH, manifest.sha256)]
    if manifest.shared:
        files.append((folder / manifest.shared.file, manifest.shared.sha256))
    for file, wanted in files:
        found = digest(file)
        if found != wanted:
            raise ModelError(
                f"{file}: the digest is {found[:12]}…, {MANIFEST} says {wanted[:12]}…. "
                "The file is damaged or was exchanged: reinstall botkit, or export or pull the model again."
            )
