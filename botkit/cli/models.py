"""`botkit models`: list, show, choose, fetch and export models."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from botkit.cli import common
from botkit.cli.common import ConfigOption, HomeOption, JsonOption, print_json, settings_from
from botkit.errors import ConfigError, MissingExtraError, ModelError
from botkit.models.manifest import ROLES, Role

if TYPE_CHECKING:
    from botkit.config import Settings
    from botkit.models.registry import ModelInfo

app = typer.Typer(add_completion=False, no_args_is_help=True, help="List, choose, fetch and export models.")
RoleArgument = Annotated[str, typer.Argument(help=f"One of {', '.join(ROLES)}.", show_default=False)]
_KEYS: Final[dict[Role, tuple[str, ...]]] = {
    "encoder": ("models", "encoder"),
    "reader": ("models", "reader"),
    "sentiment": ("models", "sentiment"),
    "generator": ("models", "generator", "model"),
}


@app.command("list")
def list_models(as_json: JsonOption = False, config: ConfigOption = None, home: HomeOption = None) -> None:
    """Show the built-in, pulled and exported models, and which of them are in use."""
    from rich.table import Table

    from botkit.models.registry import describe_model, models_at_hand

    settings = settings_from(config, home)
    in_use = {role: _chosen(settings, role) for role in ROLES}
    found = models_at_hand(settings.paths)
    listed = dict(in_use)
    for role, name in in_use.items():
        if not any(info.name == name and role in info.roles for info in found):
            try:
                described = describe_model(name, role, settings.paths)
                same = next(
                    (info for info in found if info.folder == described.folder and info.folder is not None), None
                )
                if same is None:
                    found.append(described)
                else:
                    listed[role] = same.name
            except ModelError:
                common.err_console.print(f"{role}: {name} is chosen but not here yet: `botkit models pull {name}`.")
    rows = [
        _as_json(info, [role for role in ROLES if listed[role] == info.name and role in (info.roles or ROLES)])
        for info in found
    ]
    if as_json:
        print_json({"models": rows, "in_use": in_use})
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("role", "name", "form", "in use"):
        table.add_column(heading)
    table.add_column("size", justify="right")
    table.add_column("what it is", overflow="fold")
    for row in rows:
        size = f"{row['size'] / 1e6:.1f} MB" if row["size"] else "–"
        what = ", ".join(part for part in (row["title"], row["licence"]) if part)
        table.add_row(
            ", ".join(row["roles"]) or "?", row["name"], row["form"], "✓" if row["in_use"] else "", size, what
        )
    common.console.print(table)


@app.command()
def show(
    role: RoleArgument,
    name: Annotated[str | None, typer.Argument(help="A model's name; the one in use by default.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Show a model's card, and check that its weights are the ones the card speaks of."""
    from botkit.models.manifest import check_digest, read_manifest
    from botkit.models.registry import card_of, describe_model

    settings = settings_from(config, home)
    wanted = _role(role)
    info = describe_model(name or _chosen(settings, wanted), wanted, settings.paths)
    row = _as_json(info, [wanted] if info.name == _chosen(settings, wanted) else [])
    if info.form == "onnx" and info.folder:
        check_digest(info.folder)
        row["manifest"] = read_manifest(info.folder).model_dump(mode="json")
    card = card_of(info)
    if as_json:
        print_json({**row, "card": card})
        return
    from rich.markdown import Markdown

    text = card or f"# {info.name}\n\nThis model has no card."
    common.console.print(Markdown(text) if common.console.is_terminal else text)
    if info.folder:
        checked = " The digest of its weights is right." if info.form == "onnx" else ""
        common.console.print(f"\nFolder: {info.folder} ({info.size / 1e6:.1f} MB).{checked}")


@app.command()
def use(
    role: RoleArgument,
    name: Annotated[
        str, typer.Argument(help="builtin, a folder, a model of `botkit models list`, a hub id, or openai:MODEL.")
    ],
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Write the choice of a model into the configuration file; everything else in it stays as it is."""
    from botkit.models.registry import BUILTIN, ENDPOINT, check_model, describe_model, model_folder

    settings = settings_from(config, home)
    wanted = _role(role)
    if name.startswith(ENDPOINT) and wanted != "generator":
        raise ConfigError(f"{name}: only the generator can be an endpoint.")
    if name != BUILTIN and not name.startswith(ENDPOINT):
        model_folder(name, wanted, settings.paths)  # says what there could be, where there is nothing of this name
    info = describe_model(name, wanted, settings.paths)
    check_model(info, wanted, name)
    file = settings.source or settings.paths.config
    stored = str(Path(name).expanduser().absolute()) if info.folder and Path(name).is_dir() else name
    write_setting(file, _KEYS[wanted], stored)
    note = ""
    if wanted == "encoder":
        note = "The vectors of another encoder do not fit: run `botkit ingest --reindex`."
    if wanted == "reader":
        note = (
            "The calibration was fitted for another reader. To fit one for this: python -m botkit.training.calibration "
            f"--data DATA --out {settings.paths.home / 'calibration.json'}"
        )
    if as_json:
        print_json({"role": wanted, "name": stored, "config": str(file), "note": note})
        return
    common.console.print(f"{wanted}: {stored}, written to {file}.")
    if note:
        common.console.print(note)


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="A hub id, such as deepset/minilm-uncased-squad2.")],
    revision: Annotated[str | None, typer.Option("--revision", help="Branch, tag or commit.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Fetch a model from the Hugging Face hub into HOME/models. A broken download goes on where it stopped."""
    from botkit.models.registry import describe_model
    from botkit.models.registry import pull as fetch

    settings = settings_from(config, home)
    folder = fetch(name, settings.paths, revision=revision)
    info = describe_model(name, "encoder", settings.paths)
    if as_json:
        print_json(_as_json(info, []))
        return
    common.console.print(f"{name}: {info.size / 1e6:.1f} MB in {folder}.")
    for role in info.roles:
        common.console.print(f"Use it with `botkit models use {role} {name}`.")


@app.command()
def export(
    role: Annotated[str, typer.Argument(help=f"One of {', '.join((*ROLES, 'classifier'))}.", show_default=False)],
    model: Annotated[str, typer.Option("--model", help="A folder, a model of `botkit models list`, or a hub id.")],
    out: Annotated[str, typer.Option("--out", help="A folder, or a plain name for HOME/models/NAME.")],
    keep_float: Annotated[
        list[str] | None,
        typer.Option("--keep-float", help="Graph nodes whose name holds this word stay float. May be repeated."),
    ] = None,
    per_channel: Annotated[
        bool,
        typer.Option("--per-channel/--per-matrix", help="A scale for each output of a layer, or one for each layer."),
    ] = True,
    four_bit_words: Annotated[
        bool,
        typer.Option(
            "--four-bit-words/--eight-bit-words",
            help="How many bits a number of the word embeddings has: a third of a small model is theirs.",
        ),
    ] = False,
    static: Annotated[
        Path | None,
        typer.Option(
            "--static",
            help="Fix the scales of the activations from the rows of this file, instead of at run time.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="Measure on this file what the export loses, and keep the smallest form that loses little."
        ),
    ] = None,
    most: Annotated[
        float,
        typer.Option(
            "--most",
            min=0.0,
            max=1.0,
            help="With --data: the loss that is allowed (F1, recall; 0.005 is half a point).",
        ),
    ] = 0.005,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="With --data: at most so many examples.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Turn a transformers model into the fast int8 ONNX form, which runs without torch."""
    from botkit.models.registry import model_folder

    settings = settings_from(config, home)
    wanted: Role = "classifier" if role == "classifier" else _role(role)
    source = model_folder(model, wanted, settings.paths)
    target = settings.paths.models / out if Path(out).name == out else Path(out).expanduser()
    if target.exists() and not (target / "botkit.json").is_file():
        raise ModelError(f"{target}: exists and is no exported model. Name another folder.")
    try:
        from botkit.training.export import export as run_export
    except ImportError as error:
        raise MissingExtraError("Exporting a model", "torch") from error
    word_bits = 4 if four_bit_words else 8
    if data is not None:
        chosen_form = {
            "keep_float": keep_float or (),
            "per_channel": per_channel,
            "word_bits": word_bits,
            "calibrate": static,
        }
        _export_measured(wanted, source, target, settings, data, most, limit, chosen_form, as_json, out)
        return
    with common.err_console.status("Exporting …") as status:
        made = run_export(
            wanted, source, target, keep_float=keep_float or (), per_channel=per_channel, word_bits=word_bits, calibrate=static,
            progress=lambda text: status.update(f"{text} …"),
        )  # fmt: skip
    row = {
        "role": wanted,
        "folder": str(made.folder),
        "float_bytes": made.float_bytes,
        "int8_bytes": made.int8_bytes,
    }
    if as_json:
        print_json(row)
        return
    common.console.print(
        f"{made.folder}: {made.int8_bytes / 1e6:.1f} MB in int8, {made.float_bytes / 1e6:.1f} MB in float."
    )
    common.console.print(_use(wanted, out))


def _use(role: Role, folder: str) -> str:
    """The command that uses an exported model; a classifier serves no role of the bot's."""
    command = f'classify "…" --model {folder}' if role == "classifier" else f"models use {role} {folder}"
    return f"Use it with `botkit {command}`."


def _export_measured(
    role: Role,
    source: Path,
    target: Path,
    settings: Settings,
    data: Path,
    most: float,
    limit: int | None,
    form: dict[str, Any],
    as_json: bool,
    out: str,
) -> None:
    from rich.table import Table

    from botkit.training.quantisation import FIGURES, export_measured

    with common.err_console.status("Exporting …") as status:
        plain, tried = export_measured(
            role, source, target, settings, data, most=most, limit=limit, **form,
            say=lambda text: status.update(f"{text} …"),
        )  # fmt: skip
    kept = tried[-1]
    if as_json:
        print_json(
            {
                "role": role,
                "folder": str(target),
                "figure": FIGURES[role],
                "float": plain,
                "forms": [one.as_json() for one in tried],
                "loss": kept.loss,
                "int8_bytes": kept.size,
            }
        )
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("form", "size", FIGURES[role], "loss"):
        table.add_column(heading, justify="left" if heading == "form" else "right")
    table.add_row("float", "", f"{plain:.4f}", "")
    for one in tried:
        table.add_row(one.form, f"{one.size / 1e6:.1f} MB", f"{one.figure:.4f}", f"{one.loss:+.4f}")
    common.console.print(table)
    if kept.loss > most:
        common.console.print(f"No form loses as little as {most:g}; the last one was kept.")
    common.console.print(f"{target}: {kept.form}. {_use(role, out)}")


def write_setting(file: Path, key: tuple[str, ...], value: str) -> None:
    """Set one key of a YAML file, keeping its comments and order; the file is validated before it is replaced."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    from botkit.config import load_settings

    file = file.resolve()  # what a link stands for is written, not the link
    yaml = YAML()
    yaml.preserve_quotes = True
    try:
        values: Any = yaml.load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except YAMLError as error:
        raise ConfigError(f"{file}: not valid YAML ({error}).") from error
    section = values = values if values is not None else {}
    for step in key[:-1]:
        if section.get(step) is None:
            section[step] = {}
        section = section[step]
    section[key[-1]] = value
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new.yaml")
    try:
        with open(new, "w", encoding="utf-8", opener=_private) as stream:
            yaml.dump(values, stream)
        if file.is_file():
            shutil.copymode(file, new)
        load_settings(new)
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _role(name: str) -> Role:
    for role in ROLES:
        if role == name:
            return role
    raise typer.BadParameter(f"choose one of {', '.join(ROLES)}", param_hint="ROLE")


def _chosen(settings: Settings, role: Role) -> str:
    models = settings.config.models
    return {
        "encoder": models.encoder,
        "reader": models.reader,
        "sentiment": models.sentiment,
        "generator": models.generator.model,
    }[role]


def _as_json(info: ModelInfo, in_use: list[Role]) -> dict[str, Any]:
    return {
        "name": info.name,
        "roles": list(info.roles),
        "form": info.form,
        "folder": str(info.folder) if info.folder else None,
        "size": info.size,
        "title": info.title,
        "licence": info.licence,
        "languages": list(info.languages),
        "in_use": in_use,
    }
