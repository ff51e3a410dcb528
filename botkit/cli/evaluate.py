"""`botkit evaluate`: measure the parts and the whole."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from botkit.cli import common
from botkit.cli.common import ConfigOption, HomeOption, JsonOption, print_json, settings_from
from botkit.errors import DataError
from botkit.evaluation import formats

if TYPE_CHECKING:
    from rich.table import Table

    from botkit.config import Settings
    from botkit.evaluation.reader import Track
    from botkit.evaluation.scored import Scored
    from botkit.knowledge.ingest import Progress

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Measure the models and the whole bot.")
Example = TypeVar("Example")


def _writable(path: Path | None) -> Path | None:
    """The path of an output file; raises `DataError`, before anything is measured, where no file can be written there."""
    if path is not None:
        folder = next(above for above in path.absolute().parents if above.exists())
        if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
            why = "it is a folder" if path.is_dir() else f"{folder} is no folder that may be written to"
            raise DataError(f"{path}: cannot be written: {why}. Nothing was measured.")
    return path


DataOption = Annotated[
    Path, typer.Option("--data", help="The file to measure on; it may be gzipped.", show_default=False)
]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many examples, chosen at random.")]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model", help="Measure this one, a folder or hub id; by default the model in use.", show_default=False
    ),
]
PredictionsOption = Annotated[
    Path | None,
    typer.Option(
        "--predictions",
        help="Write what came of each example to this file, for compare and report.",
        callback=_writable,
    ),
]
IntervalsOption = Annotated[
    bool, typer.Option("--intervals", help="Give each figure its 95 % bootstrap interval (extra train).")
]
SlicesOption = Annotated[
    bool, typer.Option("--slices", help="Also by language, length, question word and the like: where it is weak.")
]
FailuresOption = Annotated[
    Path | None,
    typer.Option("--failures", help="Write what went wrong to this file, as JSON lines.", callback=_writable),
]


@app.command()
def reader(
    data: DataOption,
    model: ModelOption = None,
    limit: LimitOption = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Margin over no answer below which the reader declines, in logits; by default the model's own.",
            show_default=False,
        ),
    ] = None,
    predictions: PredictionsOption = None,
    with_intervals: IntervalsOption = False,
    with_slices: SlicesOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Read each question's own paragraph: SQuAD 1.1 or 2.0 JSON, or JSON lines."""
    from botkit.evaluation.reader import evaluate_reader
    from botkit.models.registry import load_reader

    settings = _measuring("reader", model, settings_from(config, home))
    examples = chosen(formats.read_reading(data), limit)
    measured = load_reader(settings.config.models, settings.paths)
    scored: list[Scored] = []
    with _bars("Reading", hidden=as_json) as (track, _):
        report = evaluate_reader(measured, examples, threshold=threshold, track=track, collect=scored.append)
    further = _further(scored, predictions, with_intervals, with_slices, "f1")
    _tell({**report, "model": measured.name, **further}, as_json)


@app.command()
def retrieval(
    data: DataOption,
    model: ModelOption = None,
    limit: LimitOption = None,
    half: Annotated[str, typer.Option(help="Which half of the search: lexical, vector, or fused.")] = "fused",
    compare: Annotated[bool, typer.Option("--compare", help="Measure both halves beside their fusion.")] = False,
    predictions: PredictionsOption = None,
    with_intervals: IntervalsOption = False,
    with_slices: SlicesOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Search all paragraphs of a SQuAD-style file with its questions."""
    from botkit.evaluation.retrieval import HALVES, evaluate_retrieval

    if half not in HALVES:
        raise typer.BadParameter(f"choose one of {', '.join(HALVES)}", param_hint="--half")
    halves = HALVES if compare else (half,)
    settings = _measuring("encoder", model, settings_from(config, home))
    examples = _limited_questions(formats.read_reading(data), limit)
    scored: list[Scored] = []
    with _bars("Searching", hidden=as_json) as (track, progress):
        report = evaluate_retrieval(
            settings, examples, halves=halves, track=track, progress=progress, collect=scored.append
        )
    _tell(report | _further(scored, predictions, with_intervals, with_slices, "recall_at_1"), as_json)


@app.command()
def qa(
    data: DataOption,
    limit: LimitOption = None,
    knowledge: Annotated[
        Path | None, typer.Option(help="Folder of documents that a question file asks about; what ships by default.")
    ] = None,
    failures: FailuresOption = None,
    predictions: PredictionsOption = None,
    with_intervals: IntervalsOption = False,
    with_slices: SlicesOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Ask the whole bot: a SQuAD-style file (its paragraphs become the documents), or a file of questions."""
    from botkit.evaluation.qa import Asked, evaluate_open_book, evaluate_questions

    settings = settings_from(config, home)
    if knowledge is not None and not knowledge.exists():
        raise DataError(f"{knowledge}: there is no such folder.")
    folder = knowledge.absolute() if knowledge else None
    routed = formats.is_routed(data)
    if folder and not routed:
        raise DataError(f"{data}: the paragraphs of this file are its documents; leave out --knowledge.")
    if failures is not None:
        _write(failures, "")

    async def run(track: Track, progress: Callable[[Progress], None]) -> tuple[dict[str, Any], list[Asked]]:
        if routed:
            questions = chosen(formats.read_questions(data), limit)
            return await evaluate_questions(settings, questions, knowledge=folder, track=track, progress=progress)
        examples = _limited_questions(formats.read_reading(data), limit)
        return await evaluate_open_book(settings, examples, track=track, progress=progress)

    with _bars("Asking", hidden=as_json) as (track, progress):
        report, asked = asyncio.run(run(track, progress))
    if failures is not None:
        _write(
            failures, "".join(f"{json.dumps(one.as_json(), ensure_ascii=False)}\n" for one in asked if not one.right)
        )
    scored = [one.scored() for one in asked]
    _tell(report | _further(scored, predictions, with_intervals, with_slices, "accuracy"), as_json)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{file}: cannot be written ({error.strerror}).") from error


@app.command()
def sentiment(
    data: DataOption,
    model: ModelOption = None,
    limit: LimitOption = None,
    labels: Annotated[
        str | None,
        typer.Option(help="What to choose among, with commas; by default the labels that occur in the data."),
    ] = None,
    with_fairness: Annotated[
        bool, typer.Option("--fairness", help="Compare the tone of plain sentences about different people.")
    ] = False,
    predictions: PredictionsOption = None,
    with_intervals: IntervalsOption = False,
    with_slices: SlicesOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Classify labelled texts."""
    from botkit.evaluation.sentiment import evaluate_sentiment, fairness, labels_of
    from botkit.models.registry import load_sentiment
    from botkit.models.sentiment import LABELS

    among = [label.strip() for label in labels.split(",")] if labels is not None else None
    if among is not None and not set(among) <= set(LABELS):
        raise typer.BadParameter(f"choose among {', '.join(LABELS)}", param_hint="--labels")
    settings = _measuring("sentiment", model, settings_from(config, home))
    everything = formats.read_labelled(data)
    if among is None:
        among = labels_of(everything)  # a sample that lacks one would be an easier task than the file
    examples = chosen(everything, limit)
    measured = load_sentiment(settings.config.models, settings.paths)
    scored: list[Scored] = []
    with _bars("Classifying", hidden=as_json) as (track, _):
        report = evaluate_sentiment(measured, examples, labels=among, track=track, collect=scored.append)
    further = _further(scored, predictions, with_intervals, with_slices, "accuracy")
    if with_fairness:
        further["fairness"] = fairness(measured)
    _tell({**report, "model": measured.name, **further}, as_json)


@app.command()
def classifier(
    data: DataOption,
    model: Annotated[str, typer.Option("--model", help="The classifier: a folder or hub id.", show_default=False)],
    limit: LimitOption = None,
    predictions: PredictionsOption = None,
    with_intervals: IntervalsOption = False,
    with_slices: SlicesOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Classify texts with labels of your own."""
    from botkit.evaluation.classifier import evaluate_classifier
    from botkit.models.registry import load_classifier

    settings = settings_from(config, home)
    measured = load_classifier(model, settings.paths, threads=settings.config.models.threads)
    examples = chosen(formats.read_labelled(data, labels=measured.labels), limit)
    scored: list[Scored] = []
    with _bars("Classifying", hidden=as_json) as (track, _):
        report = evaluate_classifier(measured, examples, track=track, collect=scored.append)
    further = _further(scored, predictions, with_intervals, with_slices, "accuracy")
    _tell({**report, "model": measured.name, **further}, as_json)


@app.command()
def generator(
    data: DataOption,
    model: ModelOption = None,
    limit: LimitOption = None,
    persona: Annotated[str, typer.Option(help="Whose answers count for intents.")] = "friendly",
    overlap: Annotated[
        int, typer.Option(min=0, help="Generate replies to so many turns and give BLEU and ROUGE-L (extra train).")
    ] = 0,
    predictions: PredictionsOption = None,
    with_intervals: IntervalsOption = False,
    with_slices: SlicesOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Perplexity over conversations or plain texts; for small-talk intents, whether the replies are to the point."""
    from botkit.evaluation.generator import evaluate_generator
    from botkit.models.registry import load_generator

    settings = _measuring("generator", model, settings_from(config, home))
    texts: list[str] = []
    conversations, intents = formats.read_dialogues(data, texts)
    conversations, texts = chosen(conversations, limit), chosen(texts, limit)
    if limit is not None and intents:
        pairs = chosen([(number, asked) for number, intent in enumerate(intents) for asked in intent.questions], limit)
        kept = {number: tuple(asked for place, asked in pairs if place == number) for number, _ in pairs}
        intents = [formats.Intent(intents[n].language, asked, intents[n].answers) for n, asked in kept.items()]
    measured = load_generator(settings.config.models, settings.paths)
    scored: list[Scored] = []
    with _bars("Generating", hidden=as_json) as (track, _):
        report = evaluate_generator(
            measured, conversations, intents, texts=texts, persona=persona, track=track, overlap=overlap,
            collect=scored.append,
        )  # fmt: skip
    figure = "intent_accuracy" if intents else "log_probability"
    further = _further(scored, predictions, with_intervals, with_slices, figure)
    _tell({**report, "model": measured.name, **further}, as_json)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Predictions of the one model.", show_default=False)],
    second: Annotated[Path, typer.Argument(help="Predictions of the other, on the same data.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Say whether the second is better, and by how much: paired bootstrap and permutation test."""
    from botkit.evaluation.scored import compare as compared
    from botkit.evaluation.scored import read_predictions

    report = compared(read_predictions(first), read_predictions(second))
    if as_json:
        print_json({name: _rounded(value) for name, value in report.items()})
        return
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("figure", "first", "second", "difference", "95 % interval", "p", "won", "lost", "second is"):
        table.add_column(heading, justify="left" if heading in ("figure", "second is") else "right")
    for name, told in report["figures"].items():
        low, high = told["interval"]
        table.add_row(
            name,
            f"{told['first']:.4f}",
            f"{told['second']:.4f}",
            f"{told['difference']:+.4f}",
            f"{low:+.4f} … {high:+.4f}",
            f"{told['p']:.3f}",
            str(told["wins"]),
            str(told["losses"]),
            told["verdict"],
        )
    common.console.print(table)
    alone = report["only_first"] + report["only_second"]
    common.console.print(
        f"{report['n']:,} examples in both" + (f"; {alone:,} in one alone are left out." if alone else ".")
    )


@app.command()
def report(
    files: Annotated[list[Path], typer.Argument(help="Files of predictions.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The HTML file to write.")] = Path("report.html"),
    title: Annotated[str, typer.Option(help="Its title.")] = "Evaluation",
    as_json: JsonOption = False,
) -> None:
    """Write an HTML page with figures, intervals, slices, plots and the worst examples, in one file."""
    from botkit.evaluation.report import write_report

    write_report(files, out, title=title)
    if as_json:
        print_json({"out": str(out)})
        return
    common.console.print(f"Report: {out}")


@app.command("cross-validate")
def cross_validate(
    task: Annotated[
        str, typer.Argument(help="encoder, reader, sentiment, classifier or generator.", show_default=False)
    ],
    data: Annotated[list[Path], typer.Option("--data", help="Rows; may be repeated.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder for the models of the folds.")],
    k: Annotated[int, typer.Option("--folds", min=2, help="Folds.")] = 5,
    method: Annotated[
        str, typer.Option(help="random, stratified, time or group; by default as a training holds rows back.")
    ] = "",
    key: Annotated[str, typer.Option(help="Field of the label, time or group.")] = "",
    recipe: Annotated[Path | None, typer.Option("--recipe", help="Recipe of the runs.", show_default=False)] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", help="Any key of the recipe.", show_default=False)] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Train and validate k times, each row validated on once; mean and standard deviation of the figures."""
    from botkit.cli.train import progress, trainable
    from botkit.training.cross_validation import cross_validation
    from botkit.training.recipe import TASKS, load_recipe

    if task not in TASKS:
        raise typer.BadParameter(f"choose one of {', '.join(TASKS)}", param_hint="TASK")
    settings = settings_from(config, home)
    chosen_recipe = load_recipe(task, recipe, {"data.train": [str(path.absolute()) for path in data]}, sets or ())
    with progress(f"{k} folds", hidden=as_json) as listener:
        report = cross_validation(
            chosen_recipe,
            lambda name, role: trainable(name, role, settings),
            out,
            k=k,
            method=method,
            key=key,
            listener=listener,
        )
    _tell(report, as_json)


def _measuring(role: str, model: str | None, settings: Settings) -> Settings:
    """The settings with another model in a role."""
    if model is None:
        return settings
    models = settings.config.models
    chosen_model = models.generator.model_copy(update={"model": model}) if role == "generator" else model
    models = models.model_copy(update={role: chosen_model})
    return settings.model_copy(update={"config": settings.config.model_copy(update={"models": models})})


def _further(
    scored: Sequence[Scored], predictions: Path | None, with_intervals: bool, with_slices: bool, figure: str
) -> dict[str, Any]:
    from botkit.evaluation.scored import intervals, slices, write_predictions

    if predictions is not None:
        write_predictions(predictions, scored)
    told: dict[str, Any] = {}
    if with_intervals:
        told["intervals"] = {name: {"low": low, "high": high} for name, (low, high) in intervals(scored).items()}
    if with_slices:
        told["slices"] = slices(scored, figure)
    return told


def chosen(examples: Sequence[Example], limit: int | None) -> list[Example]:
    """At most `limit` examples, the same random ones every time, in their order."""
    if limit is None or limit >= len(examples):
        return list(examples)
    numbers = sorted(random.Random(1).sample(range(len(examples)), limit))
    return [examples[number] for number in numbers]


def _limited_questions(examples: Sequence[formats.ReadingExample], limit: int | None) -> list[formats.ReadingExample]:
    """Fewer questions make fewer paragraphs, and so an easier search: say so."""
    kept = chosen(examples, limit)
    if len(kept) < len(examples):
        common.err_console.print("note: with --limit only the paragraphs of the chosen questions are indexed.")
    return kept


@contextmanager
def _bars(what: str, *, hidden: bool) -> Iterator[tuple[Track, Callable[[Progress], None]]]:
    """Progress with time left, on standard error: what to iterate the examples through, and what indexing calls."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = common.err_console
    with Bar(*columns, console=console, transient=True, disable=hidden or not console.is_terminal) as bar:
        indexing = bar.add_task("Indexing", total=None, visible=False)

        def index(step: Progress) -> None:
            bar.update(indexing, completed=step.files, total=step.files_total, visible=True)

        def track(items: Sequence[Any]) -> Iterable[Any]:
            return bar.track(items, description=what)

        yield track, index


def _tell(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json({name: _rounded(value) for name, value in report.items()})
        return
    from rich.table import Table

    nested = {name: value for name, value in report.items() if isinstance(value, dict) and value}
    plain = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    plain.add_column()
    plain.add_column(justify="right")
    for name, value in report.items():
        if name not in nested and not isinstance(value, (dict, list)):
            plain.add_row(name, _shown(value))
    common.console.print(plain)
    for title, group in nested.items():
        if title == "slices":
            for facet, values in group.items():
                common.console.print(_table(facet, values))
        else:
            common.console.print(_table(title, group))
    if "confusion" in report:
        table = Table(box=None, title="confusion (rows: right)", title_justify="left")
        for heading in ("", *report["labels"]):
            table.add_column(heading, justify="right")
        for label, counts in zip(report["labels"], report["confusion"], strict=True):
            table.add_row(label, *(str(count) for count in counts))
        common.console.print(table)


def _table(title: str, group: dict[str, Any]) -> Table:
    """A group of figures, or of groups; the longer side goes down, so that it fits a narrow screen."""
    from rich.table import Table

    if not all(isinstance(value, dict) for value in group.values()):
        group = {name: {"": value} for name, value in group.items()}
    columns = list(dict.fromkeys(name for row in group.values() for name in row))
    if len(columns) > len(group):
        group = {column: {name: row.get(column, "") for name, row in group.items()} for column in columns}
        columns = list(next(iter(group.values())))
    headed = columns != [""]
    table = Table(box=None, title=title, title_justify="left", padding=(0, 2, 0, 0), show_header=headed)
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for name, row in group.items():
        table.add_row(name, *(_shown(row.get(column, "")) for column in columns))
    return table


def _shown(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    return value
