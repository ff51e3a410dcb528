"""`botkit improve`: from rated replies to a better reader, with a person's review and a fair comparison in between."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from botkit.cli import common
from botkit.cli.common import ConfigOption, HomeOption, JsonOption, print_json, settings_from
from botkit.errors import BotkitError, DataError

if TYPE_CHECKING:
    from botkit.config import Settings
    from botkit.training.improve import Proposal

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Make the reader better from rated conversations.")


@app.command()
def collect(as_json: JsonOption = False, config: ConfigOption = None, home: HomeOption = None) -> None:
    """Propose an example for every answer that somebody rated."""
    from botkit.conversations.sqlite import open_store
    from botkit.training.improve import alone, merge, propose, read_proposals, told, write_proposals

    settings = settings_from(config, home)
    folder = _folder(settings)
    store = open_store(settings)
    try:
        found = propose(store.export())
    finally:
        store.close()
    with alone(folder):
        known = read_proposals(folder)
        merged = merge(known, found)
        if merged:
            write_proposals(folder, merged)
    report = {"new": len(merged) - len(known), **told(merged), "folder": str(folder)}
    if as_json:
        print_json(report)
        return
    if not merged:
        common.console.print("No answer was rated yet. People rate with 👍 and 👎 in the front ends.")
        return
    common.console.print(f"{report['new']} new proposals; {report['open']} to review: botkit improve review")


@app.command()
def review(
    accept_all: Annotated[
        bool, typer.Option("--accept-all", help="Accept what is open without asking (when you trust the ratings).")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Look at the proposals one by one: accept, mend or reject. Every decision is kept at once."""
    from botkit.training.improve import decide, read_proposals, told

    folder = _folder(settings_from(config, home))
    proposals = read_proposals(folder)
    waiting = [one for one in proposals if one.decision == "open"]
    if accept_all:
        proposals = decide(folder, [replace(one, decision="accepted") for one in waiting])
    elif waiting and not as_json:
        for count, one in enumerate(waiting, 1):
            decided = _ask(one, f"{count} of {len(waiting)}")
            if decided is None:
                break
            proposals = decide(folder, [decided])
    report = told(proposals)
    if as_json:
        print_json({**report, "proposals": [_shown(one) for one in proposals]})
        return
    if not proposals:
        common.console.print("There are no proposals. Collect them first: botkit improve collect")
        return
    common.console.print(f"{report['accepted']} accepted, {report['rejected']} rejected, {report['open']} open.")


def _ask(proposal: Proposal, place: str) -> Proposal | None:
    """What a person decides; None ends the review."""
    from rich.panel import Panel
    from rich.prompt import Prompt
    from rich.text import Text

    while True:
        passage = Text(proposal.passage)
        if proposal.answer:
            passage.stylize("bold reverse", proposal.start, proposal.start + len(proposal.answer))
        said = proposal.answer or "(the passage does not answer this)"
        thumb = "👍" if proposal.rating > 0 else "👎"
        use = "comparison" if proposal.evaluates else "training"
        common.console.print(
            Panel(
                passage, title=Text(f"{place} · {thumb} · for the {use}"), subtitle=Text(proposal.title), expand=False
            )
        )
        common.console.print(Text.assemble(("Question: ", "bold"), proposal.question))
        common.console.print(Text.assemble(("Answer:   ", "bold"), said))
        if proposal.note:
            common.console.print(Text.assemble(("Note:     ", "bold"), proposal.note))
        choice = Prompt.ask(
            Text("[y] accept  [a] another answer  [u] not answered here  [n] reject  [s] skip  [q] stop"),
            choices=["y", "a", "u", "n", "s", "q"],
            show_choices=False,
            console=common.console,
        )
        if choice == "y":
            return replace(proposal, decision="accepted")
        if choice == "n":
            return replace(proposal, decision="rejected")
        if choice == "s":
            return proposal
        if choice == "q":
            return None
        if choice == "u":
            proposal = replace(proposal, answer="", start=0)
            continue
        words = Prompt.ask("The answer, word for word as in the passage", console=common.console)
        try:
            proposal = proposal.answered(words.strip())
        except DataError as error:
            common.console.print(str(error), style="yellow")


@app.command()
def train(
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="Rows to learn besides, so that little is forgotten; may be repeated."),
    ] = None,
    valid: Annotated[
        list[Path] | None, typer.Option("--valid", help="Rows to compare on besides the accepted ones kept for it.")
    ] = None,
    recipe: Annotated[Path | None, typer.Option("--recipe", help="Recipe of the run.", show_default=False)] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", help="Any key of the recipe.", show_default=False)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compare, but promote nothing.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Train a candidate from the reader in service, compare both on rows neither saw, and promote it only if it is better."""
    from datetime import datetime, timezone

    from botkit.cli.models import write_setting
    from botkit.cli.train import progress, trainable
    from botkit.evaluation.formats import read_reading
    from botkit.evaluation.reader import evaluate_reader, threshold_of
    from botkit.evaluation.scored import Scored, compare
    from botkit.models.registry import load_reader
    from botkit.training.export import export
    from botkit.training.improve import (
        FEWEST,
        alone,
        check_apart,
        forget_promotion,
        note_promotion,
        read_proposals,
        write_data,
    )
    from botkit.training.recipe import load_recipe
    from botkit.training.run import train as run

    settings = settings_from(config, home)
    folder = _folder(settings)
    with alone(folder):
        learn, held_out, learnt, kept = write_data(folder, read_proposals(folder))
    compared = ([held_out] if kept else []) + list(valid or ())
    if not compared:
        raise DataError(
            "No accepted example is kept for the comparison (one in four is). Accept more, or name rows with --valid."
        )
    there = check_apart([learn, *(data or ())], compared)
    if there < FEWEST:
        raise DataError(
            f"Examples to compare on: {there}. On fewer than {FEWEST} nothing can be shown. Accept more (one in four is kept for it), or "
            "name rows with --valid."
        )
    in_service = settings.config.models.reader
    overrides: dict[str, Any] = {
        "base": in_service,
        "data.train": [str(path.absolute()) for path in (learn, *(data or ()))],
    }
    gentle = [] if recipe else ["learning_rate=2e-5", "epochs=2", "batch_size=16"]
    chosen = load_recipe("reader", recipe, overrides, [*gentle, *(sets or ())])
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    candidate = folder / f"candidate-{stamp}"
    with progress("Training a candidate", hidden=as_json) as listener:
        run(chosen, trainable(in_service, "reader", settings), candidate, listener=listener)
    exported = settings.paths.models / f"reader-{stamp}"
    keep = ["qa_outputs", "output/dense", "layer.0/"]
    with common.err_console.status("Exporting and comparing …"):
        serving = load_reader(settings.config.models, settings.paths)
        facts = {"threshold": threshold_of(serving)}
        export("reader", candidate, exported, facts=facts, keep_float=keep, progress=lambda _: None)
        scores: list[list[Scored]] = []
        for name in (in_service, str(exported)):
            reader = load_reader(settings.config.models.model_copy(update={"reader": name}), settings.paths)
            found: list[Scored] = []
            for file in compared:
                evaluate_reader(reader, read_reading(file), collect=found.append)
            scores.append(
                [replace(one, id=f"{number}", scores={"f1": one.scores["f1"]}) for number, one in enumerate(found)]
            )
    report = compare(*scores)
    verdict = report["figures"]["f1"]["verdict"]
    promoted = verdict == "better" and not dry_run
    if promoted:
        note_promotion(folder, in_service, str(exported), report["figures"]["f1"])
        try:
            write_setting(settings.source or settings.paths.config, ("models", "reader"), str(exported))
        except BotkitError:
            forget_promotion(folder)
            raise
    told = {
        **report["figures"]["f1"],
        "n": report["n"],
        "learnt": learnt,
        "promoted": promoted,
        "candidate": str(exported),
    }
    if as_json:
        print_json(told)
        return
    low, high = told["interval"]
    common.console.print(
        f"F1 on {report['n']} questions that were held back: in service {told['first']:.4f}, candidate "
        f"{told['second']:.4f} ({told['difference']:+.4f}, 95 % interval {low:+.4f} … {high:+.4f}, p {told['p']:.3f})."
    )
    if promoted:
        common.console.print("It is better, and now in service. Go back with: botkit improve rollback")
        common.console.print("The calibration was fitted for the reader before it: see docs/models.md.")
    elif verdict == "better":
        common.console.print(f"It is better. Use it with: botkit models use reader {exported}")
    else:
        common.console.print(
            f"It is {verdict.replace('no difference shown', 'not shown to be better')}; nothing was changed."
        )


@app.command()
def rollback(as_json: JsonOption = False, config: ConfigOption = None, home: HomeOption = None) -> None:
    """Put the reader back in service that was there before the last promotion."""
    from botkit.cli.models import write_setting
    from botkit.models.registry import model_folder
    from botkit.training.improve import forget_promotion, last_promotion

    settings = settings_from(config, home)
    folder = _folder(settings)
    last = last_promotion(folder)
    model_folder(last["before"], "reader", settings.paths)  # told before anything is changed, where it is gone
    write_setting(settings.source or settings.paths.config, ("models", "reader"), last["before"])
    forget_promotion(folder)
    if as_json:
        print_json({"reader": last["before"], "was": last["after"]})
        return
    common.console.print(f"In service again: {last['before']}. {last['after']} is still there.")


@app.command()
def status(as_json: JsonOption = False, config: ConfigOption = None, home: HomeOption = None) -> None:
    """Show how many proposals there are, and what was promoted."""
    from botkit.training.improve import promotions, read_proposals, told

    settings = settings_from(config, home)
    folder = _folder(settings)
    history = promotions(folder)
    report = {**told(read_proposals(folder)), "in_service": settings.config.models.reader, "promotions": history}
    if as_json:
        print_json(report)
        return
    common.console.print(f"{report['open']} open, {report['accepted']} accepted, {report['rejected']} rejected.")
    common.console.print(f"Reader in service: {report['in_service']}")
    for one in history:
        difference = one["report"]["difference"]
        common.console.print(f"promoted {one['after']} over {one['before']} ({difference:+.4f} F1)")


def _folder(settings: Settings) -> Path:
    return settings.paths.home / "improve"


def _shown(proposal: Proposal) -> dict[str, Any]:
    return {
        "id": proposal.id,
        "question": proposal.question,
        "answer": proposal.answer,
        "rating": proposal.rating,
        "decision": proposal.decision,
        "use": "comparison" if proposal.evaluates else "training",
    }
