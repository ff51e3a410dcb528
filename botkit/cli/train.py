"""`botkit train`: fine-tune a model, or train a small one from nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from botkit.cli import common
from botkit.cli.common import ConfigOption, HomeOption, JsonOption, print_json, settings_from
from botkit.errors import ConfigError, MissingExtraError, ModelError

if TYPE_CHECKING:
    from botkit.config import Settings
    from botkit.training.run import Listener, Trained

app = typer.Typer(add_completion=False, help="Fine-tune a model, or train a small one from nothing.")


@app.command()
def train(
    task: Annotated[
        str, typer.Argument(help="encoder, reader, sentiment, classifier or generator.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the model; a run that was cut off goes on there.")],
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="YAML file with data, base and hyperparameters.", show_default=False)
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Hub id, folder, builtin (the shipped model), or scratch.", show_default=False)
    ] = None,
    data: Annotated[
        list[Path] | None, typer.Option("--data", help="File to learn from; may be repeated.", show_default=False)
    ] = None,
    valid: Annotated[
        list[Path] | None,
        typer.Option("--valid", help="File to validate on; by default a tenth of the rows.", show_default=False),
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the rows.", show_default=False)] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.", show_default=False)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows in a batch.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same model.", show_default=False)] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Any key of the recipe: --set lora.rank=8 --set schedule=cosine.", show_default=False
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away what is in the folder of an earlier run.")
    ] = False,
    export: Annotated[bool, typer.Option("--export", help="Also write the fast int8 form to OUT/onnx.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Train a model. Interrupt it when you like: the same command goes on where it stopped."""
    from botkit.config import folder_or_name
    from botkit.training.recipe import SCRATCH, TASKS, load_recipe
    from botkit.training.run import base_for
    from botkit.training.run import train as run

    if task not in TASKS:
        raise typer.BadParameter(f"choose one of {', '.join(TASKS)}", param_hint="TASK")
    settings = settings_from(config, home)
    if base is not None:
        base = folder_or_name(base, Path.cwd())
    said: dict[str, Any] = {"base": base, "epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size}
    overrides = {name: value for name, value in {**said, "seed": seed}.items() if value is not None}
    if data:
        overrides["data.train"] = [str(path.absolute()) for path in data]
    if valid:
        overrides["data.valid"] = [str(path.absolute()) for path in valid]
    chosen = load_recipe(task, recipe, overrides, sets or ())
    if export and chosen.base == SCRATCH and chosen.scratch.architecture != "transformer":
        raise ConfigError(
            f"--export: a {chosen.scratch.architecture} has no int8 form; only scratch.architecture transformer has."
        )
    with progress(f"Training the {task}", hidden=as_json) as listener:
        folder = base_for(chosen, lambda name, role: trainable(name, role, settings))
        result = run(chosen, folder, out, restart=restart, listener=listener)
    told = result.as_json()
    if export:
        told["onnx"] = _export(task, out)
    if as_json:
        print_json(told)
        return
    _show(result, told)


def trainable(name: str, role: str, settings: Settings) -> Path:
    """The folder of a model that can learn; a shipped or exported one is first turned back from its int8 form."""
    from botkit.models.manifest import GRAPH, ROLES, Role, digest
    from botkit.models.registry import BUILTIN, BUILTIN_FOLDER, model_folder

    given, separator, part = name.partition(":")
    if not name or (given == BUILTIN and separator and part not in ROLES):
        known = ", ".join(f"{BUILTIN}:{one}" for one in ROLES)
        raise ModelError(f"There is no base {name!r}. Name a folder, a hub id, {BUILTIN}, or one of {known}.")
    wanted: Role = next((one for one in ROLES if one == (part or role)), "encoder")
    folder = BUILTIN_FOLDER / wanted if given == BUILTIN else model_folder(name, wanted, settings.paths)
    if not (folder / GRAPH).is_file() or (folder / "model.safetensors").is_file():
        return folder
    from botkit.training.restore import restore

    target = settings.paths.models / f".{folder.name}-{digest(folder / GRAPH)[:12]}"
    if not (target / "config.json").is_file():
        restore(folder, target)
    return target


@contextmanager
def progress(what: str, *, hidden: bool) -> Iterator[Listener]:
    """A bar with loss, validation figure, rate and time left; a line now and then where there is no terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = common.err_console
    live = console.is_terminal and not hidden
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    shown: dict[str, str] = {}
    with Progress(*columns, console=console, disable=not live) as bar:
        task = bar.add_task(what, total=None, figures="")

        def listen(news: Mapping[str, Any]) -> None:
            for name, value in news.items():
                if name in ("loss", "learning_rate") or (name.startswith("eval_") and "per_second" not in name):
                    if name.endswith(("runtime", "time")):
                        continue
                    shown[name.removeprefix("eval_") if name != "eval_loss" else "valid loss"] = _short(float(value))
            figures = "  ".join(f"{name.replace('learning_rate', 'rate')} {value}" for name, value in shown.items())
            bar.update(task, completed=news["step"], total=news["steps"], figures=figures)
            if not live and not hidden and ("loss" in news or any(name.startswith("eval_") for name in news)):
                console.print(f"step {news['step']} of {news['steps']}  {figures}", soft_wrap=True)

        yield listen


def _short(value: float) -> str:
    return f"{value:.2e}" if 0 < abs(value) < 0.001 else f"{value:.4f}"


def _export(task: str, out: Path) -> str:
    try:
        from botkit.training.export import export
    except ImportError as error:
        raise MissingExtraError("Exporting a model", "train") from error
    return str(export(task, out, out / "onnx", progress=lambda _: None).folder)


def _show(result: Trained, told: Mapping[str, Any]) -> None:
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    for name, value in result.metrics.items():
        table.add_row(name, f"{value:.4f}")
    common.console.print(table)
    early = ", stopped early" if result.stopped_early else ""
    again = f", from step {result.resumed_from} on" if result.resumed_from else ""
    common.console.print(f"{result.steps:,} steps in {result.seconds / 60:.1f} minutes{again}{early}.")
    common.console.print(f"Model, card, curves.png and TensorBoard logs: {result.folder}")
    if "onnx" in told:
        common.console.print(f"int8 form: {told['onnx']}")
    made = told.get("onnx", result.folder)
    use = f'classify "…" --model {made}' if told["task"] == "classifier" else f"models use {told['task']} {made}"
    common.console.print(f"Use it: botkit {use}")
