"""`botkit generate`: text from a language model, with control of temperature and length."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from botkit.cli import common
from botkit.cli.common import ConfigOption, HomeOption, JsonOption, piped, print_json, settings_from
from botkit.errors import GeneratorError
from botkit.language import detect
from botkit.messages import Turn

app = typer.Typer(add_completion=False, help="Continue a text, or reply to a message.")


@app.command()
def generate(
    prompt: Annotated[
        str, typer.Argument(help="The beginning of a text, or with --chat a message; - reads it from a pipe.")
    ],
    model: Annotated[
        str | None, typer.Option("--model", help="A folder, hub id, or builtin; the configured generator by default.")
    ] = None,
    chat: Annotated[bool, typer.Option("--chat", help="Reply to the prompt instead of continuing it.")] = False,
    persona: Annotated[str, typer.Option(help="With --chat: whose tone.")] = "friendly",
    temperature: Annotated[
        float, typer.Option(min=0.0, max=5.0, help="0 always takes the likeliest token; higher is more daring.")
    ] = 0.8,
    top_k: Annotated[int, typer.Option(min=0, help="Choose among so many likeliest tokens; 0: all.")] = 40,
    top_p: Annotated[
        float,
        typer.Option(min=0.01, max=1.0, help="Choose among the likeliest tokens that have this probability together."),
    ] = 0.95,
    repetition_penalty: Annotated[
        float, typer.Option(min=1.0, max=5.0, help="Above 1 makes repeating less likely.")
    ] = 1.1,
    max_length: Annotated[int, typer.Option(min=1, max=4096, help="Most tokens of the text.")] = 100,
    stop: Annotated[list[str] | None, typer.Option("--stop", help="End before this string; may be repeated.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The same seed gives the same text.", show_default=False)
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=100, help="How many texts.")] = 1,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Generate text, token by token as it comes."""
    from botkit.models import Sampling
    from botkit.models.registry import load_generator

    if prompt == "-":
        prompt = piped().strip()
    settings = settings_from(config, home)
    models = settings.config.models
    if model is not None:
        models = models.model_copy(update={"generator": models.generator.model_copy(update={"model": model})})
    generator = load_generator(models, settings.paths)
    texts = []
    for number in range(count):
        sampling = Sampling(
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            repetition_penalty=repetition_penalty,
            max_new_tokens=max_length,
            stop=tuple(stop or ()),
            seed=None if seed is None else seed + number,
        )
        if chat:
            pieces = generator.stream(
                [Turn("user", prompt)], sampling=sampling, language=detect(prompt), persona=persona
            )
        else:
            continuing: Any = getattr(generator, "continue_text", None)
            if continuing is None:
                raise GeneratorError(f"{generator.name}: an endpoint only replies. Add --chat.")
            # a token begins with the space before its word, so a space at the end would leave no word that fits
            prompt = prompt.rstrip(" ")
            pieces = continuing(prompt, sampling=sampling)
        said = []
        if not as_json and not chat:
            sys.stdout.write(prompt)
        for piece in pieces:
            said.append(piece)
            if not as_json:
                sys.stdout.write(piece)
                sys.stdout.flush()
        texts.append("".join(said))
        if not as_json:
            sys.stdout.write("\n" if number + 1 == count else "\n\n")
    if as_json:
        print_json({"prompt": prompt, "texts": texts, "model": generator.name, "seed": seed})
    elif not any(texts):
        common.err_console.print("(the model had nothing to say: it ended the text at once)")
