"""`botkit data`: clean, split, augment, balance and describe training data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from botkit.cli import common
from botkit.cli.common import JsonOption, print_json
from botkit.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from botkit.data.rows import Kind, Row

_PARTS = ("train", "valid", "validation", "dev", "test")
app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Clean, split, augment, balance and describe training data."
)
FilesArgument = Annotated[list[Path], typer.Argument(help="Files; a Slack export may be a folder.", show_default=False)]
FileArgument = Annotated[Path, typer.Argument(help="A file of JSON lines.", show_default=False)]
OutOption = Annotated[Path, typer.Option("--out", help="File to write; gzipped where it ends in .gz.")]
SeedOption = Annotated[int, typer.Option("--seed", help="The same seed gives the same rows.")]


@app.command()
def prepare(
    files: FilesArgument,
    out: OutOption,
    source: Annotated[
        str | None,
        typer.Option(
            "--from", help="jsonl, squad, table, slack, telegram, botkit or text; told by the file by default."
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option("--column", help="A table's column: text=body, label=stars, question=…, context=…, answer=…."),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="Write a label otherwise: --label 1=positive. Repeat.")
    ] = None,
    only_labels: Annotated[str, typer.Option(help="Labels to keep, with commas; all by default.")] = "",
    language: Annotated[str, typer.Option(help="Languages to keep, with commas: en, zh; all by default.")] = "",
    shortest: Annotated[int, typer.Option(min=0, help="Fewest characters.")] = 1,
    longest: Annotated[int, typer.Option(min=1, help="Most characters.")] = 20_000,
    html: Annotated[bool, typer.Option("--html/--keep-html", help="Remove markup.")] = True,
    simplify: Annotated[bool, typer.Option("--simplify", help="Convert Traditional to Simplified Chinese.")] = False,
    mask: Annotated[
        bool | None,
        typer.Option("--mask/--no-mask", help="Mask mail and web addresses and numbers; by default in chat logs."),
    ] = None,
    duplicates: Annotated[bool, typer.Option("--drop-duplicates/--keep-duplicates", help="Drop equal rows.")] = True,
    near: Annotated[
        float,
        typer.Option("--near", min=0.0, max=1.0, help="Jaccard similarity from which rows are too alike; 0: off."),
    ] = 0.8,
    gap: Annotated[
        float, typer.Option(min=0.01, max=100_000, help="Hours of silence that begin another dialogue.")
    ] = 2.0,
    rated: Annotated[
        str, typer.Option(help="Of botkit's own conversations: all, or good (with a 👍, up to the first 👎).")
    ] = "all",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report what would change.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Clean data and write it as JSON lines: SQuAD JSON, CSV and TSV, Slack and Telegram exports, botkit's conversations."""
    from botkit.data.cleaning import Rules, clean
    from botkit.data.jsonl import write_rows
    from botkit.data.sources import SOURCES, guess_source, load

    wanted = _one_of(source, SOURCES, "--from") if source else None
    renamed = _pairs(label, "--label")
    columns = _pairs(column, "--column")
    languages = tuple(_one_of(name, ("en", "zh"), "--language") for name in _listed(language))
    good = _one_of(rated, ("all", "good"), "--rated")
    _check_out(out, files)
    rows: list[Row] = []
    kind: Kind | None = None
    logs = False
    for file in files:
        if not file.exists():
            raise DataError(f"{file}: there is no such file.")
        form = wanted or guess_source(file)
        logs = logs or form in ("slack", "telegram", "botkit")
        found, its_kind = load(file, form, columns=columns, gap=timedelta(hours=gap), rated=good)
        if kind not in (None, its_kind):
            raise DataError(f"{file}: holds {its_kind} rows, the files before it {kind} rows. Prepare them apart.")
        kind = its_kind
        rows += found
    assert kind is not None
    rules = Rules(
        html=html,
        simplify=simplify,
        mask=logs if mask is None else mask,
        languages=languages,
        shortest=shortest,
        longest=longest,
        duplicates=duplicates,
        near_duplicates=near or None,
        labels=tuple(_listed(only_labels)),
        rename=renamed,
    )
    with _bar("Cleaning", hidden=as_json) as track:
        kept, report = clean(rows, kind, rules, track)
    if not kept:
        reasons = ", ".join(f"{count} {reason}" for reason, count in report.dropped.most_common())
        raise DataError(f"No row of {report.read} is left ({reasons}). Nothing was written.")
    if not dry_run:
        write_rows(out, (row.values for row in kept))
    if as_json:
        print_json({**report.as_json(), "kind": kind, "out": None if dry_run else str(out)})
        return
    table = _table("", "rows", "for example")
    for name, counter in (("mended", report.mended), ("dropped", report.dropped)):
        for reason, count in counter.most_common():
            table.add_row(f"{name}: {reason}", f"{count:,}", report.examples.get(reason, ""))
    common.console.print(table)
    done = "would be written" if dry_run else f"written to {out}"
    common.console.print(f"{report.kept:,} of {report.read:,} {kind} rows {done}.")


def _check_out(out: Path, files: Sequence[Path]) -> None:
    """Raise `DataError` where what is written would take the place of what is read."""
    for file in files:
        if out.resolve() == file.resolve() or (file.is_dir() and out.resolve().is_relative_to(file.resolve())):
            raise DataError(
                f"{out}: would take the place of what is read ({file}), or lie in it. Name another file with --out."
            )


@app.command()
def split(
    file: FileArgument,
    out: Annotated[Path, typer.Option("--out", help="Folder for train.jsonl, valid.jsonl …")],
    method: Annotated[str, typer.Option(help="random, stratified, time or group.")] = "random",
    shares: Annotated[str, typer.Option("--shares", help="Parts and their shares.")] = "train=0.8,valid=0.1,test=0.1",
    k: Annotated[int | None, typer.Option("--folds", min=2, help="k folds instead: fold-1/train.jsonl …")] = None,
    key: Annotated[str, typer.Option(help="Field of the label, time or group; for reading rows, title groups.")] = "",
    near: Annotated[
        float,
        typer.Option("--near", min=0.0, max=1.0, help="Similarity from which rows of two parts are a leak; 0: off."),
    ] = 0.9,
    allow_leaks: Annotated[bool, typer.Option("--allow-leaks", help="Write the parts even where they leak.")] = False,
    seed: SeedOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Split a file into parts, and check that nothing of one part is in another."""
    from botkit.data.jsonl import write_rows
    from botkit.data.rows import read_rows
    from botkit.data.splits import METHODS, folds, leaks
    from botkit.data.splits import split as cut

    rows, kind = read_rows(file)
    chosen = _one_of(method, METHODS, "--method")
    if chosen == "group" and not key and kind == "reading" and "group" not in rows[0].values:
        key = "title"
    group_key = (key or "group") if chosen == "group" else ""
    if k is not None:
        cuts = [(f"fold-{n}/", parts) for n, parts in enumerate(folds(rows, k, chosen, key=key, seed=seed), 1)]
    else:
        cuts = [("", cut(rows, _shares(shares), chosen, key=key, seed=seed))]
    found = [
        (prefix, leak) for prefix, parts in cuts for leak in leaks(rows, kind, parts, key=group_key, near=near or None)
    ]
    written = {
        str(out / f"{prefix}{name}.jsonl"): [rows[i].values for i in numbers]
        for prefix, parts in cuts
        for name, numbers in parts.items()
    }
    if file.resolve() in {Path(path).resolve() for path in written}:
        raise DataError(f"{file}: would be overwritten by a part of its own. Name another folder with --out.")
    # other questions about a passage that training has seen flatter a model; only a split by group sets out to part passages
    grave = [leak for _, leak in found if chosen == "group" or leak.kind != "same passage"]
    blocked = bool(grave) and not allow_leaks
    count = f"{len(grave)} leak{'s' if len(grave) != 1 else ''}"
    refusal = (
        f"{count} between the parts; nothing was written. Drop near duplicates first (`botkit data prepare`), "
        "split by --method group, or accept them with --allow-leaks."
    )
    old = [
        path
        for path in sorted([*out.glob("*.jsonl"), *out.glob("fold-*/*.jsonl")])
        if (path.stem in _PARTS or path.parent != out) and str(path) not in written and path.resolve() != file.resolve()
    ]
    if old:
        names = ", ".join(str(path.relative_to(out)) for path in old[:5])
        raise DataError(
            f"{out}: holds parts of another split ({names}), whose rows may be in the new parts as well. Name a new folder, "
            "or remove them."
        )
    if not blocked:
        for path, values in written.items():
            write_rows(Path(path), values)
    if as_json:
        print_json(
            {
                "parts": {path: len(values) for path, values in written.items()},
                "leaks": [
                    {"kind": leak.kind, "parts": [prefix + leak.first, prefix + leak.second], "places": leak.places}
                    for prefix, leak in found
                ],
                "written": not blocked,
                **({"error": {"type": "DataError", "message": refusal}} if blocked else {}),
            }
        )
        if blocked:
            common.err_console.print(f"error: {refusal}", soft_wrap=True)
            raise typer.Exit(1)
    else:
        if not blocked:
            table = _table("part", "rows")
            for path, values in written.items():
                table.add_row(path, f"{len(values):,}")
            common.console.print(table)
        for prefix, leak in [one for one in found if one[1] in grave][:10]:
            places = " and ".join(leak.places)
            common.err_console.print(
                f"leak ({leak.kind}) between {prefix}{leak.first} and {prefix}{leak.second}: {places}"
            )
        if passages := len(found) - len(grave):
            common.err_console.print(
                f"note: passages in two parts: {passages:,}, under other questions. A model does better on passages that "
                "it has seen. --method group keeps each document in one part.",
                soft_wrap=True,
            )
    if blocked:
        raise DataError(refusal)


@app.command()
def augment(
    file: FileArgument,
    out: OutOption,
    method: Annotated[
        str, typer.Option(help="With commas: synonyms, dropout, noise, swap, typos.")
    ] = "dropout,noise,typos",
    copies: Annotated[int, typer.Option(min=1, help="Changed copies of a row.")] = 1,
    strength: Annotated[float, typer.Option(min=0.01, max=1.0, help="Share of the words that change.")] = 0.1,
    synonyms: Annotated[
        Path | None, typer.Option(help="File of words for the same thing, a line for each; everyday words by default.")
    ] = None,
    seed: SeedOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Add changed copies of the rows. Do this to training data only, after the split."""
    from botkit.data.augment import METHODS, Augmenter, read_synonyms
    from botkit.data.balance import with_groups
    from botkit.data.jsonl import write_rows
    from botkit.data.rows import Row, read_rows

    _check_out(out, [file])
    rows, kind = read_rows(file)
    methods = [_one_of(name, METHODS, "--method") for name in _listed(method)]
    if not methods:
        raise typer.BadParameter("name at least one", param_hint="--method")
    known = read_synonyms(synonyms) if synonyms else None
    augmenter = Augmenter(rows, kind, methods, strength=strength, synonyms=known, seed=seed)
    written: list[Row] = []
    with _bar("Augmenting", hidden=as_json) as track:
        for row in track(rows):
            written += [row, *(Row(copy, row.place) for copy in augmenter.copies(row, copies))]
    write_rows(out, (row.values for row in (written if kind == "reading" else with_groups(written))))
    report = {"read": len(rows), "added": len(written) - len(rows), "written": len(written), "out": str(out)}
    if as_json:
        print_json(report)
        return
    common.console.print(f"{len(rows):,} rows and {report['added']:,} changed copies written to {out}.")


@app.command()
def balance(
    file: FileArgument,
    out: OutOption,
    method: Annotated[str, typer.Option(help="over: repeat rare classes; under: leave out of frequent ones.")] = "over",
    seed: SeedOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Make every class as frequent as the others. `botkit train` can weigh classes instead (class_weights: true)."""
    from collections import Counter

    from botkit.data.balance import METHODS, balanced
    from botkit.data.jsonl import write_rows
    from botkit.data.rows import read_rows

    _check_out(out, [file])
    rows, _ = read_rows(file, "labelled")
    made = balanced(rows, _one_of(method, METHODS, "--method"), seed=seed)
    write_rows(out, (row.values for row in made))
    before, after = (dict(Counter(str(row.values["label"]) for row in some).most_common()) for some in (rows, made))
    if as_json:
        print_json({"before": before, "after": after, "out": str(out)})
        return
    table = _table("label", "before", "after")
    for label, count in before.items():
        table.add_row(label, f"{count:,}", f"{after[label]:,}")
    common.console.print(table)


@app.command()
def stats(
    file: FileArgument,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw a picture into this PNG, SVG or PDF file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show lengths, classes, languages and vocabulary."""
    from botkit.data.rows import read_rows
    from botkit.data.stats import describe
    from botkit.data.stats import plot as draw

    rows, kind = read_rows(file)
    report = describe(rows, kind)
    if plot is not None:
        if plot.suffix.lower() not in (".png", ".svg", ".pdf"):
            raise typer.BadParameter("end the name in .png, .svg or .pdf", param_hint="--plot")
        draw(rows, kind, report, plot)
        report["plot"] = str(plot)
    if as_json:
        print_json(report)
        return
    common.console.print(
        f"{report['n']:,} {kind} rows; " + ", ".join(f"{k} {v:,}" for k, v in report["languages"].items())
    )
    table = _table("length", "min", "p25", "median", "p75", "p95", "max", "mean")
    for unit in ("characters", "words"):
        for name, figures in report[unit].items():
            if figures:
                table.add_row(f"{name}, {unit}", *(f"{value:,.0f}" for value in figures.values()))
    if "turns" in report:
        table.add_row("turns", *(f"{value:,.0f}" for value in report["turns"].values()))
    common.console.print(table)
    if "classes" in report:
        classes = _table("class", "rows", "weight", "share")
        for name, count in report["classes"].items():
            share, weight = count / report["n"], report["class_weights"][name]
            classes.add_row(name, f"{count:,}", f"{weight:.2f}", f"{share:.1%} {'█' * max(1, round(share * 30))}")
        common.console.print(classes)
    if "unanswerable" in report:
        common.console.print(
            f"{report['contexts']:,} contexts; {report['unanswerable']:,} questions without an answer."
        )
    vocabulary = report["vocabulary"]
    most = "  ".join(f"{word} {count:,}" for word, count in vocabulary["most_frequent"].items())
    common.console.print(
        f"Vocabulary: {vocabulary['different']:,} of {vocabulary['words']:,} words, {vocabulary['once']:,} of them seen once. "
        f"Most frequent: {most}"
    )
    if plot is not None:
        common.console.print(f"Picture: {plot}")


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _one_of(name: str, among: Sequence[str], option: str) -> Any:
    if name not in among:
        raise typer.BadParameter(f"{name!r}: choose among {', '.join(among)}", param_hint=option)
    return name


def _pairs(given: Sequence[str] | None, option: str) -> dict[str, str]:
    found = {}
    for one in given or ():
        name, equals, value = one.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise typer.BadParameter(f"{one!r}: write NAME=VALUE", param_hint=option)
        found[name.strip()] = value.strip()
    return found


def _shares(text: str) -> dict[str, float]:
    found = {}
    for name, share in _pairs(_listed(text), "--shares").items():
        try:
            found[name] = float(share)
        except ValueError as error:
            raise typer.BadParameter(f"{share!r} is no number", param_hint="--shares") from error
    return found


def _table(*headings: str) -> Any:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for number, heading in enumerate(headings):
        side: Literal["left", "right"] = "right" if number and heading not in ("for example", "share") else "left"
        table.add_column(heading, justify=side, overflow="fold")
    return table


@contextmanager
def _bar(what: str, *, hidden: bool) -> Iterator[Callable[[Sequence[Any]], Iterable[Any]]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = common.err_console
    with Progress(*columns, console=console, transient=True, disable=hidden or not console.is_terminal) as bar:
        yield lambda items: bar.track(items, description=what)
