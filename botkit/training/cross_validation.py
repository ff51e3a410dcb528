"""k-fold cross-validation: the recipe is trained k times, each time validated on another part of the rows."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botkit.data.jsonl import write_rows
from botkit.data.rows import Row, read_rows
from botkit.data.splits import METHODS, folds
from botkit.errors import DataError
from botkit.training.recipe import Recipe
from botkit.training.run import Listener, base_for, train
from botkit.training.tasks.common import own_method


def cross_validation(
    recipe: Recipe,
    folder_of: Callable[[str, str], Path],
    out: Path,
    *,
    k: int,
    method: str = "",
    key: str = "",
    listener: Listener | None = None,
) -> dict[str, Any]:
    """Mean, standard deviation and the folds' own figures.

    Without a `method` the rows are split as for a training's own validation: no group of them is in two folds.
    """
    chosen = next((one for one in METHODS if one == method), None)
    if chosen is None and method:
        raise DataError(f"method {method!r}: choose among {', '.join(METHODS)}.")
    rows: list[Row] = []
    kind = None
    for source in recipe.data.train:
        found, its_kind = read_rows(Path(source.path), kind)
        kind = its_kind
        rows += found
    if chosen is None:
        chosen, own_key = own_method(rows, recipe.data, kind, 1 / k, k)
        key = key or own_key
    key = key or ("title" if chosen == "group" and kind == "reading" else "")
    told: list[dict[str, float]] = []
    for number, parts in enumerate(folds(rows, k, chosen, key=key, seed=recipe.seed), 1):
        folder = out / f"fold-{number}"
        files = {name: folder / "data" / f"{name}.jsonl" for name in parts}
        for name, numbers in parts.items():
            write_rows(files[name], (rows[i].values for i in numbers))
        data = {"train": [{"path": str(files["train"])}], "valid": [{"path": str(files["valid"])}]}
        fold = Recipe.model_validate({**recipe.model_dump(), "data": data})
        done = train(fold, base_for(fold, folder_of), folder / "model", restart=True, listener=listener)
        told.append(done.metrics)
    # a figure that a fold lacks (of questions without an answer, where it has none) is averaged over the others
    figures = {name: [one[name] for one in told if name in one] for one in told for name in one}
    return {
        "mean": {name: statistics.fmean(values) for name, values in figures.items()},
        "standard_deviation": {
            name: statistics.stdev(values) if len(values) > 1 else None for name, values in figures.items()
        },
        "folds_with": {name: len(values) for name, values in figures.items() if len(values) < len(told)},
        "folds": {str(number): one for number, one in enumerate(told, 1)},
        "method": chosen,
        "n": len(rows),
    }
