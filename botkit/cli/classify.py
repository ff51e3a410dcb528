"""`botkit classify`: the class of each text, by a classifier that `botkit train` made."""

from __future__ import annotations

from typing import Annotated

import typer

from botkit.cli import common
from botkit.cli.common import ConfigOption, HomeOption, JsonOption, piped, print_json, settings_from

app = typer.Typer(add_completion=False, help="Sort texts into classes.")


@app.command()
def classify(
    texts: Annotated[list[str], typer.Argument(help="Texts; - reads one a line from a pipe.", show_default=False)],
    model: Annotated[str, typer.Option("--model", help="A folder, hub id, or builtin, which tells tones.")] = "builtin",
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Print the likeliest class of each text and its probability."""
    from rich.table import Table

    from botkit.models.registry import load_classifier

    given = [line for line in piped().splitlines() if line.strip()] if texts == ["-"] else texts
    settings = settings_from(config, home)
    classifier = load_classifier(model, settings.paths, threads=settings.config.models.threads)
    rows = []
    for begin in range(0, len(given), 64):
        part = given[begin : begin + 64]
        for text, shares in zip(part, classifier.probabilities(part), strict=True):
            place = int(shares.argmax())
            rows.append(
                {
                    "text": text,
                    "label": classifier.labels[place],
                    "score": round(float(shares[place]), 4),
                    "probabilities": {
                        label: round(float(share), 4) for label, share in zip(classifier.labels, shares, strict=True)
                    },
                }
            )
    if as_json:
        print_json({"model": classifier.name, "labels": list(classifier.labels), "texts": rows})
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("class", "probability"):
        table.add_column(heading)
    table.add_column("text", overflow="fold")
    for row in rows:
        table.add_row(str(row["label"]), f"{row['score']:.2f}", str(row["text"]))
    common.console.print(table)
