"""`botkit ask`: one question, one answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from botkit.cli import common
from botkit.cli.common import ConfigOption, HomeOption, JsonOption, chosen, language_of, print_json
from botkit.messages import Message, Reply, Source, new_id
from botkit.text import answer_in_reply

if TYPE_CHECKING:
    from rich.console import RenderableType

app = typer.Typer(add_completion=False)


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="What to ask.", show_default=False)],
    explain: Annotated[bool, typer.Option("--explain", help="Show the scores of every stage and the rule.")] = False,
    conversation: Annotated[
        str | None, typer.Option("--conversation", help="Ask inside this conversation; new by default.")
    ] = None,
    document: Annotated[list[str] | None, typer.Option("--document", help="Search only this document.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="Search only documents with this tag.")] = None,
    language: Annotated[str | None, typer.Option("--lang", help="en or zh; detected by default.")] = None,
    source_language: Annotated[
        str | None, typer.Option("--source-lang", help="Search only documents in this language: en or zh.")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Answer one question from the documents, with its source."""
    from botkit.engine import load

    message = Message(
        question,
        conversation=conversation or f"ask-{new_id()[:12]}",
        adapter="ask",
        language=language_of(language, "--lang"),
        documents=tuple(document or ()),
        tags=tuple(tag or ()),
        source_language=language_of(source_language, "--source-lang"),
    )

    async def once() -> Reply:
        file, folder = chosen(config, home)
        engine = load(file, home=folder)
        try:
            await engine.warm_up(chat=False)
            if document or tag:
                engine.knowledge.check_filter(message.documents, message.tags)
            return await engine.answer(message)
        finally:
            await engine.close()

    reply = asyncio.run(once())
    if as_json:
        print_json(reply.as_json(explain=explain))
        return
    for part in rendered(reply):
        common.console.print(part)
    if explain and reply.trace:
        for part in explained(reply):
            common.console.print(part)


def rendered(reply: Reply) -> list[RenderableType]:
    """A reply for a terminal: the text with the span marked, then its sources."""
    from rich.padding import Padding
    from rich.text import Text

    said = Text(reply.text)
    if reply.route == "answer" and reply.answer and reply.answer != reply.text:
        at = answer_in_reply(reply)
        if at >= 0:
            said.stylize("bold", at, at + len(reply.answer))
    parts: list[RenderableType] = [said]
    for number, source in enumerate(reply.sources, 1):
        parts.append(Padding(Text(f"[{number}] {place(source)}", style="dim"), (0, 0, 0, 2), expand=False))
    return parts


def place(source: Source) -> str:
    """Where a source stands: title, heading, page, document and offsets."""
    heading = source.heading.removeprefix(source.title).removeprefix(" › ")
    names = [name for name in (source.title, heading) if name]
    page = f", p. {source.page}" if source.page else ""
    return f"{' › '.join(names)}{page} ({source.document}:{source.start}-{source.end}, {source.score:.0%})"


def explained(reply: Reply) -> list[RenderableType]:
    """The trace of a reply as tables."""
    from rich.table import Table
    from rich.text import Text

    trace = reply.trace
    assert trace is not None
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    facts.add_column(style="dim")
    facts.add_column()
    facts.add_row("route", f"{reply.route}: {trace.rule}")
    facts.add_row("query", Text(trace.query + (" (rewritten from the conversation)" if trace.rewritten else "")))
    facts.add_row("confidence", f"{reply.confidence:.2f}")
    facts.add_row("small talk", f"{trace.details.get('small_talk', 0.0):.2f}")
    facts.add_row("sentiment", f"{reply.sentiment.label} {reply.sentiment.score:.2f}")
    facts.add_row("time", ", ".join(f"{stage} {ms:.0f} ms" for stage, ms in reply.timings_ms.items()))

    table = Table(title="Candidates", title_justify="left", box=None, padding=(0, 1, 0, 0))
    for heading in ("confidence", "span", "no answer", "fused", "BM25", "cosine"):
        table.add_column(heading, justify="right")
    table.add_column("text", overflow="fold")
    table.add_column("where", overflow="fold", style="dim")

    def figure(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}"

    for candidate in trace.candidates:
        table.add_row(
            figure(candidate.confidence),
            figure(candidate.span_score),
            figure(candidate.no_answer_score),
            figure(candidate.fused_score),
            figure(candidate.lexical_score),
            figure(candidate.vector_score),
            Text(candidate.text),
            Text(f"{candidate.document} › {candidate.heading}"),
        )
    return [Text(), facts, *([table] if trace.candidates else [])]
