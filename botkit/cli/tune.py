"""`botkit tune`: search for better hyperparameters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from botkit.cli import common
from botkit.cli.common import ConfigOption, HomeOption, JsonOption, print_json, settings_from

app = typer.Typer(add_completion=False, help="Search for better hyperparameters.")


@app.command()
def tune(
    task: Annotated[
        str, typer.Argument(help="encoder, reader, sentiment, classifier or generator.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the search; one that was cut off goes on there.")],
    method: Annotated[str, typer.Option(help="grid, random or bayes.")] = "bayes",
    trials: Annotated[int, typer.Option(min=1, help="Trials, earlier ones of this search included.")] = 20,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="What the trials have in common.", show_default=False)
    ] = None,
    space: Annotated[
        Path | None, typer.Option(help="YAML: a key of the recipe to a list, or to low, high, log.", show_default=False)
    ] = None,
    base: Annotated[str | None, typer.Option(help="Hub id, folder, builtin or scratch.", show_default=False)] = None,
    data: Annotated[list[Path] | None, typer.Option("--data", help="File to learn from.", show_default=False)] = None,
    valid: Annotated[
        list[Path] | None, typer.Option("--valid", help="File to validate on.", show_default=False)
    ] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", help="Any key of the recipe.", show_default=False)] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that try at the same time.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the search.")] = 1,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Try hyperparameters, give up on bad ones early, and write the best as a recipe that `botkit train` reads."""
    from botkit.cli.train import progress, trainable
    from botkit.config import folder_or_name
    from botkit.training.recipe import TASKS, load_recipe
    from botkit.training.run import base_for
    from botkit.training.tune import METHODS, Search, read_space, search

    if task not in TASKS:
        raise typer.BadParameter(f"choose one of {', '.join(TASKS)}", param_hint="TASK")
    if method not in METHODS:
        raise typer.BadParameter(f"choose one of {', '.join(METHODS)}", param_hint="--method")
    settings = settings_from(config, home)
    overrides: dict[str, Any] = {} if base is None else {"base": folder_or_name(base, Path.cwd())}
    if data:
        overrides["data.train"] = [str(path.absolute()) for path in data]
    if valid:
        overrides["data.valid"] = [str(path.absolute()) for path in valid]
    common_part = load_recipe(task, recipe, overrides, sets or ())
    folder = base_for(common_part, lambda name, role: trainable(name, role, settings))
    plan = Search(
        common_part.task,
        common_part.model_dump(mode="json", exclude_defaults=True),
        read_space(space),
        method,
        trials,
        folder,
        out.absolute(),
        seed,
    )
    with progress(f"Tuning the {task}", hidden=as_json) as listener:
        report = search(plan, workers=workers, listener=listener)
    if as_json:
        print_json(report)
        return
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    keys = list(plan.space)
    for heading in ("trial", "figure", *keys):
        table.add_column(heading, justify="right")
    done = [trial for trial in report["trials"] if trial["state"] == "complete"]
    for trial in sorted(done, key=lambda one: one["value"], reverse=task != "generator")[:10]:
        shown = [_short(trial["parameters"].get(key, "")) for key in keys]
        table.add_row(str(trial["number"]), f"{trial['value']:.4f}", *shown)
    common.console.print(table)
    given_up = sum(1 for trial in report["trials"] if trial["state"] == "pruned")
    failed = sum(1 for trial in report["trials"] if trial["state"] == "fail")
    common.console.print(f"{len(done)} trials to their end, {given_up} given up early, {failed} failed or cut off.")
    if report["importance"]:
        parts = ", ".join(f"{name} {share:.0%}" for name, share in report["importance"].items())
        common.console.print(f"What mattered: {parts}. Picture: {report['picture']}")
    common.console.print(f"Train with it: botkit train {task} --recipe {report['recipe']} --out FOLDER")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
