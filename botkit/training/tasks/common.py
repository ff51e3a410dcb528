"""What the tasks share: reading their sources, and what they hand to the training run."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from botkit.data.rows import Kind, Row, check, read_rows
from botkit.data.splits import Method, split
from botkit.errors import DataError, MissingExtraError, ModelError
from botkit.training.builtin_data import builtin_rows
from botkit.training.recipe import BUILTIN_DATA, HUB, DataConfig, SourceConfig

_FEWEST_GROUPS: Final = 2
"""With no more groups than these, one held back would be far more than the share that was asked for."""
_LOG: Final = logging.getLogger(__name__)
Say = Callable[[str], None]


@dataclass(frozen=True)
class SourcedRow:
    """A row and the source it is from."""

    values: Mapping[str, Any]
    place: str
    source: SourceConfig


@dataclass
class Setup:
    """What a task hands to the run: everything that `Trainer` needs, and which figure is to grow (or shrink)."""

    model: Any
    tokenizer: Any
    train: Any
    valid: Any
    collator: Any
    metric: str
    greater_is_better: bool
    metrics: Callable[[Any], dict[str, float]] | None = None
    trainer: type[Any] | None = None
    trainer_options: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    """What the card tells: rows, labels, languages."""
    last_step: Callable[[Path], None] | None = None
    """Called with the folder once the model is saved there."""


def read_sources(data: DataConfig, kind: Kind, seed: int) -> tuple[list[SourcedRow], list[SourcedRow]]:
    """Training and validation rows, all validated. Raises `DataError` naming file and line."""
    train = [row for source in data.train for row in _source(source, kind, seed)]
    valid = [row for source in data.valid for row in _source(source, kind, seed)]
    if not data.valid:
        plain = [Row(row.values, row.place) for row in train]
        train, valid = ([train[i] for i in part] for part in validation_split(plain, data, kind, seed))
    repeated = [row for row in train for _ in range(row.source.repeat)]
    if not repeated:
        raise DataError("There are no rows to train on.")
    return repeated, valid


def validation_split(rows: Sequence[Row], data: DataConfig, kind: str, seed: int) -> tuple[list[int], list[int]]:
    """The numbers of the rows to train on, and of those held back to validate on.

    No group (see `own_method`) is in both. Raises `DataError` where that cannot be.
    """
    if len(rows) < 2:
        raise DataError("One row is too few to train and to validate on.")
    shares = {"train": 1 - data.valid_share, "valid": data.valid_share}
    method, key = own_method(rows, data, kind, data.valid_share)
    parts = split(rows, shares, method, key=key, seed=seed)
    return parts["train"], parts["valid"]


def own_method(
    rows: Sequence[Row], data: DataConfig, kind: str | None, share: float, parts: int = 2
) -> tuple[Method, str]:
    """How rows of this kind are split where nobody says how, so that `share` of them is validated on, and by which field.

    Each of the `parts` has something of all labels or groups. By group where there are such: `data.group`; else for reading rows their title, or with fewer than three titles their passage, and
    for others the field `group`. Raises `DataError` where a row lacks what `data.group` names.
    """
    key = data.group or ""
    fewest = max(_FEWEST_GROUPS + 1, parts)
    if key:
        lacking = next((row for row in rows if row.values.get(key) in (None, "")), None)
        if lacking:
            raise DataError(f"{lacking.place}: has no `{key}`, which data.group names. Correct it, or name data.valid.")
        if len({str(row.values[key]) for row in rows}) < 2:
            raise DataError(f"All rows have the same `{key}`: none can be held back to validate on. Name data.valid.")
    elif kind == "reading":
        key = next((name for name in ("title", "context") if _groups(rows, name) >= fewest), "")
    elif _groups(rows, "group") >= fewest:
        key = "group"
    return "group" if key else "stratified" if _stratifies(rows, share, parts) else "random", key


def _groups(rows: Sequence[Row], key: str) -> int:
    """How many values a field has; none where a row lacks it."""
    values = {row.values.get(key) for row in rows}
    return 0 if None in values or "" in values else len(values)


def _stratifies(rows: Sequence[Row], share: float, parts: int) -> bool:
    """Whether every label can be in all parts."""
    counts = Counter(str(row.values["label"]) for row in rows if "label" in row.values)
    return bool(counts) and min(counts.values()) >= parts and len(counts) <= max(1, round(len(rows) * share))


def _source(source: SourceConfig, kind: Kind, seed: int) -> list[SourcedRow]:
    broken: list[DataError] | None = [] if source.broken == "skip" else None
    if source.path.startswith(HUB):
        rows = hub_rows(source.path, kind)
    elif source.path.startswith(BUILTIN_DATA):
        rows = builtin_rows(source.path, kind)
    else:
        rows = read_rows(Path(source.path), kind, broken=broken)[0]
    tell_broken(broken)
    if source.limit and len(rows) > source.limit:
        rows = random.Random(seed).sample(rows, source.limit)
    found = [SourcedRow(row.values, row.place, source) for row in rows]
    return [simplified for row in found if (simplified := simplify(row))] if source.simplify else found


def tell_broken(broken: Sequence[DataError] | None) -> None:
    """Say how many rows a source with `broken: skip` lost, and why the first of them."""
    if broken:
        _LOG.warning("%d broken rows are left out, the first: %s", len(broken), broken[0])


def simplify(row: SourcedRow) -> SourcedRow | None:
    """The row in Simplified Chinese; None where that would move an answer."""
    from opencc import OpenCC

    convert = _converters.setdefault("t2s", OpenCC("t2s")).convert
    values = dict(row.values)
    for name in ("text", "question", "title"):
        if isinstance(values.get(name), str):
            values[name] = convert(values[name])
    if "turns" in values:
        values["turns"] = [convert(turn) for turn in values["turns"]]
    if "context" in values:
        context = convert(values["context"])
        if len(context) != len(values["context"]):
            return None
        values["context"] = context
        values["answers"] = [
            {"text": context[a["start"] : a["start"] + len(a["text"])], "start": a["start"]} for a in values["answers"]
        ]
    return SourcedRow(values, row.place, row.source)


_converters: dict[str, Any] = {}


def hub_rows(name: str, kind: Kind) -> list[Row]:
    """Rows of `hub:DATASET[#CONFIG]:SPLIT`, by its usual columns. Raises `DataError` where it cannot be fetched."""
    dataset, _, part = name.removeprefix(HUB).rpartition(":")
    dataset, _, configuration = dataset.partition("#")
    if not dataset or not part:
        raise DataError(
            f"{name}: write hub:DATASET:SPLIT or hub:DATASET#CONFIG:SPLIT, as hub:rajpurkar/squad_v2:train."
        )
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise MissingExtraError("Data from the hub", "train") from error
    try:
        loaded = load_dataset(dataset, configuration or None, split=part)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise DataError(f"{name}: cannot be fetched ({reason}). Check the name and the network.") from error
    return [Row(values, f"{name}:{number}") for number, values in enumerate(as_rows(loaded, kind, name), 1)]


def as_rows(loaded: Any, kind: Kind, name: str) -> list[dict[str, Any]]:
    """Rows of a `datasets.Dataset` with the columns that SQuAD-style and classification sets have."""
    columns = set(loaded.column_names)
    found = []
    if kind == "reading":
        if not {"question", "context", "answers"} <= columns:
            raise DataError(f"{name}: has the columns {sorted(columns)}; question, context and answers are needed.")
        for one in loaded:
            golds = one["answers"]
            starts = golds.get("answer_start", golds.get("start", []))
            pairs = dict.fromkeys(zip(golds["text"], starts, strict=True))
            answers = [{"text": text, "start": int(start)} for text, start in pairs]
            values = {"question": one["question"], "context": one["context"], "answers": answers}
            found.append({**values, "title": str(one.get("title") or "")})
    elif kind == "labelled":
        text = next((column for column in ("text", "sentence", "review", "content") if column in columns), None)
        if text is None or "label" not in columns:
            raise DataError(f"{name}: has the columns {sorted(columns)}; text (or sentence) and label are needed.")
        names = getattr(loaded.features["label"], "names", None)
        for one in loaded:
            label = names[one["label"]] if names else str(one["label"])
            found.append({"text": one[text], "label": label})
    else:
        column = "text" if "text" in columns else None
        if kind != "text" or column is None:
            raise DataError(f"{name}: only reading, labelled and text rows can come from the hub.")
        found = [{"text": one[column]} for one in loaded if one[column].strip()]
    for number, values in enumerate(found, 1):
        check(values, kind, f"{name}:{number}")
    return found


def load_model(auto_class: str, folder: str | Path, **options: Any) -> tuple[Any, Any]:
    """A model and its tokenizer, or a `ModelError` that says why not."""
    import transformers

    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model = getattr(transformers, auto_class).from_pretrained(folder, **options)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, use_fast=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise ModelError(f"{folder}: transformers cannot load it as {auto_class} ({reason}).") from error
    return model, tokenizer


def with_dropout(dropout: float | None, names: Sequence[str]) -> dict[str, float]:
    """Settings of a model's configuration for its dropout; none keeps its own."""
    return {} if dropout is None else dict.fromkeys(names, dropout)


def shortest_limit(tokenizer: Any, model: Any, wanted: int) -> int:
    """`max_length`, no longer than the model has positions."""
    positions = getattr(model.config, "max_position_embeddings", None) or getattr(model.config, "n_positions", None)
    offset = model.config.pad_token_id + 1 if "roberta" in model.config.model_type else 0
    longest = min(tokenizer.model_max_length, (positions or wanted) - offset)
    return int(min(wanted, longest))
