"""What a training run is made of: data, base, and every hyperparameter, in one YAML file that `botkit train` reads.

The schema is validated as the configuration is: a mistake is named with file, line and key before anything is loaded.
Relative paths in a recipe are relative to its folder; `${NAME:-default}` is filled in from the environment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args

import yaml
from pydantic import Field, ValidationError, model_validator

from botkit.config import ConfigFile, Section, at_home, explain, folder_or_name
from botkit.errors import ConfigError

TaskName = Literal["encoder", "reader", "sentiment", "classifier", "generator"]
TASKS: Final[tuple[TaskName, ...]] = get_args(TaskName)
HUB: Final = "hub:"
BUILTIN_DATA: Final = "builtin:"
SCRATCH: Final = "scratch"


class SourceConfig(Section):
    """One source of rows: a file, `hub:DATASET[#CONFIG]:SPLIT`, or `builtin:` and a name of `training/builtin_data.py`."""

    path: str = Field(
        description="A file of JSON lines, hub:DATASET[#CONFIG]:SPLIT, builtin:help-centres/en (or zh), builtin:tones or builtin:films."
    )
    limit: int | None = Field(None, ge=1, description="At most so many rows, drawn at random.")
    repeat: int = Field(1, ge=1, description="Times that its rows are in an epoch.")
    labels: tuple[str, ...] | None = Field(
        None, description="The labels this source knows; the loss compares only these for its rows."
    )
    broken: Literal["error", "skip"] = Field(
        "error", description="What to do with a broken row: stop, or leave it out and say how many."
    )
    simplify: bool = Field(False, description="Convert Traditional to Simplified Chinese.")


class DataConfig(Section):
    """What to learn from and what to validate on."""

    train: tuple[SourceConfig, ...] = Field(min_length=1, description="Sources to learn from.")
    valid: tuple[SourceConfig, ...] = Field(
        (), description="Sources to validate on; none: a share of the training rows."
    )
    valid_share: float = Field(0.1, gt=0, lt=1, description="That share.")
    group: str = Field("", description="Field whose rows stay together in that share; reading rows: title.")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, values: Any) -> Any:
        """A plain path stands for a source with that path, and a single source for a list of one."""
        if not isinstance(values, dict):
            return values
        values = dict(values)
        for name in ("train", "valid"):
            given = values.get(name)
            if isinstance(given, (str, dict)):
                given = [given]
            if isinstance(given, (list, tuple)):
                values[name] = [{"path": one} if isinstance(one, str) else one for one in given]
        return values


class LoraConfig(Section):
    """Low-rank adaptation (Hu et al. 2021): small matrices learn beside frozen weights, and are merged at the end."""

    rank: int = Field(8, ge=1, description="Rank of the added matrices.")
    alpha: int = Field(16, ge=1, description="Their scale, divided by the rank.")
    dropout: float = Field(0.05, ge=0, lt=1, description="Dropout before them.")
    targets: tuple[str, ...] = Field((), description="Names of the layers they are added to; peft's choice by default.")


class StoppingConfig(Section):
    """When to stop before the last epoch."""

    patience: int = Field(3, ge=1, description="Validations without a better figure.")
    min_delta: float = Field(0.0, ge=0, description="What counts as better.")


class NegativesConfig(Section):
    """Mined hard negatives of the encoder: passages like the right one that are not it."""

    each: int = Field(
        0, ge=0, le=10, description="Negatives mined for a question; 0: other passages of the batch only."
    )
    skip: int = Field(2, ge=0, description="The most similar so many are left out; they may be right as well.")
    margin: float = Field(0.05, ge=0, description="How much less similar than the right passage they must be.")


class ScratchConfig(Section):
    """The shape of a generator trained from nothing (base: scratch)."""

    architecture: Literal["transformer", "gru", "lstm"] = Field("transformer", description="Kind of decoder.")
    layers: int = Field(4, ge=1, le=48, description="Layers.")
    width: int = Field(256, ge=16, description="Width of the hidden states.")
    heads: int = Field(4, ge=1, description="Attention heads; the width must be divisible by them.")
    vocabulary: int = Field(6000, ge=300, description="Pieces of the byte-level BPE tokenizer.")

    @model_validator(mode="after")
    def _divisible(self) -> ScratchConfig:
        if self.architecture == "transformer" and self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by {self.heads} heads")
        return self


class Recipe(Section):
    """A training run."""

    task: TaskName = Field(description="encoder, reader, sentiment, classifier or generator.")
    base: str = Field("builtin", description="Hub id, folder, builtin, or scratch (generator only).")
    data: DataConfig
    epochs: float = Field(3.0, gt=0, description="Passes over the training rows.")
    max_steps: int | None = Field(None, ge=1, description="Steps, instead of epochs.")
    batch_size: int = Field(32, ge=1, description="Rows in a batch.")
    gradient_accumulation: int = Field(1, ge=1, description="Batches whose gradients are added before a step.")
    learning_rate: float = Field(5e-5, gt=0, le=1, description="Peak learning rate of AdamW.")
    schedule: Literal["constant", "linear", "cosine", "polynomial", "inverse_sqrt"] = Field(
        "linear", description="How the learning rate falls after the warm-up."
    )
    warm_up: float = Field(0.06, ge=0, lt=1, description="Share of the steps in which the rate rises.")
    weight_decay: float = Field(0.01, ge=0, description="Decoupled weight decay.")
    dropout: float | None = Field(None, ge=0, lt=1, description="Dropout in the model; its own by default.")
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Share of the probability spread over the other classes."
    )
    clip: float = Field(1.0, gt=0, description="Largest norm of the gradient.")
    freeze: tuple[str, ...] = Field(
        (), description='Parts that do not learn: "embeddings", "layers.0-2", a part of a name.'
    )
    lora: LoraConfig | None = Field(None, description="Learn low-rank additions only.")
    quantisation_aware: bool = Field(
        False, description="Round weights and activations to 8 bits in training, so that an int8 export loses less."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the processor is fast at it."
    )
    max_length: int = Field(256, ge=8, le=8192, description="Tokens of an input.")
    stride: int = Field(64, ge=0, description="Reader: tokens that windows of a long context share.")
    labels: tuple[str, ...] = Field(
        (), description="Classifier: the labels in their order; by default those of the data."
    )
    class_weights: bool = Field(False, description="Classifier: weigh classes so that rare ones count alike.")
    negatives: NegativesConfig = Field(default_factory=NegativesConfig)
    pooling: Literal["mean", "cls"] = Field(
        "mean", description="Encoder: how token states become a vector, for a plain base."
    )
    scratch: ScratchConfig = Field(default_factory=ScratchConfig)
    validate_every: float = Field(
        1.0, gt=0, description="Epochs between validations and checkpoints; may be a fraction."
    )
    early_stopping: StoppingConfig | None = Field(default_factory=StoppingConfig, description="null: never stop early.")
    keep_checkpoints: int = Field(2, ge=1, description="Checkpoints that are kept; the best is kept besides.")
    seed: int = Field(1, ge=0, description="Order of the data, dropout, new weights.")

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        if self.base == SCRATCH and self.task != "generator":
            raise ValueError(f"base: scratch is for the generator; a {self.task} starts from a pre-trained model")
        if self.lora and self.base == SCRATCH:
            raise ValueError("lora adds to trained weights; a model from scratch has none")
        if self.labels and len(set(self.labels)) < 2:
            raise ValueError("labels: name at least two different ones")
        if self.label_smoothing and self.task in ("reader", "encoder"):
            raise ValueError(f"label_smoothing: a {self.task} has no labels to smooth; leave it out")
        if self.task == "reader" and self.stride >= self.max_length // 2:
            raise ValueError(f"stride: must be less than half of max_length ({self.max_length})")
        return self


def load_recipe(
    task: TaskName | None, path: Path | None, overrides: Mapping[str, Any], sets: Sequence[str] = ()
) -> Recipe:
    """A recipe from a file, with what the command line says besides; `sets` are `key.key=value` with YAML values.

    Raises `ConfigError` naming file, line and key.
    """
    file = ConfigFile(path, if_missing="recipes/ and examples/ have some to copy.") if path else None
    values: dict[str, Any] = dict(file.values) if file else {}
    if path:
        values = _absolute(values, path.absolute().parent)
    if task:
        if values.get("task", task) != task:
            raise ConfigError(f"{path}: this recipe is for the task {values['task']}, not {task}.")
        values["task"] = task
    for key, value in overrides.items():
        _put(values, key.split("."), value)
    for one in sets:
        key, equals, text = one.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {one}: write KEY=VALUE, for example --set lora.rank=4.")
        try:
            _put(values, key.strip().split("."), yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {one}: the value is not valid YAML.") from error
    if not values.get("data"):
        where = f"{path}: " if path else ""
        raise ConfigError(
            f"{where}no rows to learn from are named. Add --data FILE, or data: {{train: FILE}} to the recipe."
        )
    if file:
        return file.validate(Recipe, values)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        told = [explain(Recipe, dict(problem)) for problem in error.errors(include_url=False)]
        raise ConfigError("\n".join(told)) from error


def _put(values: dict[str, Any], key: Sequence[str], value: Any) -> None:
    *above, last = key
    for step in above:
        inner = values.get(step)
        values[step] = dict(inner) if isinstance(inner, dict) else {}
        values = values[step]
    values[last] = value


def _absolute(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Paths relative to the recipe's folder made absolute: of the data, and of a base that is there."""

    def place(one: Any) -> Any:
        if isinstance(one, str) and one and not one.startswith((HUB, BUILTIN_DATA)):
            return str(folder / at_home(one))
        if isinstance(one, dict) and isinstance(one.get("path"), str):
            return {**one, "path": place(one["path"])}
        return [place(inner) for inner in one] if isinstance(one, list) else one

    values = dict(values)
    if isinstance(values.get("data"), dict):
        data = dict(values["data"])
        for name in ("train", "valid"):
            if name in data:
                data[name] = place(data[name])
        values["data"] = data
    base = values.get("base")
    if isinstance(base, str):
        values["base"] = folder_or_name(base, folder)
    return values


def fingerprint(recipe: Recipe) -> str:
    """A digest of the recipe and of the data files it names: runs with the same one are the same run."""
    digest = hashlib.sha256(json.dumps(recipe.model_dump(mode="json"), sort_keys=True).encode())
    for source in (*recipe.data.train, *recipe.data.valid):
        path = Path(source.path)
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def as_yaml(recipe: Recipe) -> str:
    """The recipe as a file that `load_recipe` reads, without what is left at its default."""
    values = recipe.model_dump(mode="json", exclude_defaults=True)
    values["task"] = recipe.task
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
