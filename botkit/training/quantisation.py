"""How much an int8 export costs, and which form costs little enough.

The forms are tried from the smallest on: everything in 8 bits, then the output layers, then the outputs of every layer, then
also the first layer in floating point, at last all of them. Weights stay in 8 bits all the while, word embeddings in 8 or 4. The first that loses no more than is allowed is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from botkit.config import Settings
from botkit.errors import DataError
from botkit.evaluation import formats
from botkit.evaluation.reader import Track
from botkit.models.manifest import Role
from botkit.training.export import export

FORMS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("int8", ()),
    ("int8, output layer in floating point", ("qa_outputs", "classifier", "lm_head")),
    ("int8, layers' outputs in floating point", ("qa_outputs", "classifier", "lm_head", "output/dense", "c_proj")),
    (
        "int8, layers' outputs and first layer in floating point",
        ("qa_outputs", "classifier", "lm_head", "output/dense", "c_proj", "layer.0/", "c_attn"),
    ),
    ("floating point, weights in 8 bits", ("",)),
)
FIGURES: Final[dict[Role, str]] = {
    "encoder": "recall_at_1",
    "reader": "f1",
    "sentiment": "macro_f1",
    "classifier": "macro_f1",
    "generator": "perplexity",
}


@dataclass(frozen=True)
class Measured:
    """One form: its size in bytes, its figure, and what it loses against the float model."""

    form: str
    size: int
    figure: float
    loss: float

    def as_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {"form": self.form, "size": self.size, "figure": self.figure, "loss": self.loss}


def export_measured(
    role: Role,
    source: Path,
    out: Path,
    settings: Settings,
    data: Path,
    *,
    most: float = 0.005,
    limit: int | None = None,
    keep_float: Sequence[str] = (),
    per_channel: bool = True,
    word_bits: int = 8,
    calibrate: Path | None = None,
    track: Track = iter,
    say: Callable[[str], None] = print,
) -> tuple[float, list[Measured]]:
    """Export `source` to `out` in the smallest form that loses at most `most`; the float figure, and the forms tried.

    The loss of a generator is how much its perplexity grows, as a share. With `keep_float`, without `per_channel`, or with `calibrate` (static)
    only that form is measured.
    Raises `DataError` where the data does not suit the role.
    """
    say("measuring the float model")
    plain = measure(role, source, settings, data, limit, track)
    tried: list[Measured] = []
    asked = bool(keep_float) or not per_channel or calibrate is not None
    forms = (("as asked", tuple(keep_float)),) if asked else FORMS
    for form, kept in forms:
        made = export(
            role, source, out, keep_float=kept, per_channel=per_channel, word_bits=word_bits, calibrate=calibrate, progress=say,
        )  # fmt: skip
        say(f"measuring {form}")
        figure = measure(role, out, settings, data, limit, track)
        loss = figure / plain - 1 if role == "generator" else plain - figure
        tried.append(Measured(form, made.int8_bytes, figure, loss))
        if loss <= most:
            break
    return plain, tried


def measure(role: Role, folder: Path, settings: Settings, data: Path, limit: int | None, track: Track) -> float:
    """The figure of the model in `folder` by which an export is judged (`FIGURES`)."""
    from botkit.cli.evaluate import chosen
    from botkit.models import registry

    if role == "classifier":
        from botkit.evaluation.classifier import evaluate_classifier

        classifier = registry.load_classifier(str(folder), settings.paths, threads=settings.config.models.threads)
        rows = chosen(formats.read_labelled(data, labels=classifier.labels), limit)
        return float(evaluate_classifier(classifier, rows, track=track)["macro_f1"])
    generator = settings.config.models.generator.model_copy(update={"model": str(folder)})
    update: dict[str, Any] = {"generator": generator} if role == "generator" else {role: str(folder)}
    models = settings.config.models.model_copy(update=update)
    if role == "reader":
        from botkit.evaluation.reader import evaluate_reader

        examples = chosen(formats.read_reading(data), limit)
        return float(evaluate_reader(registry.load_reader(models, settings.paths), examples, track=track)["f1"])
    if role == "sentiment":
        from botkit.evaluation.sentiment import evaluate_sentiment

        texts = chosen(formats.read_labelled(data), limit)
        return float(
            evaluate_sentiment(registry.load_sentiment(models, settings.paths), texts, track=track)["macro_f1"]
        )
    if role == "generator":
        from botkit.evaluation.generator import evaluate_generator

        plain: list[str] = []
        conversations, _ = formats.read_dialogues(data, plain)
        if not conversations and not plain:
            raise DataError(f"{data}: conversations ({{'turns'}}) or texts are needed to measure a generator's export.")
        report = evaluate_generator(
            registry.load_generator(models, settings.paths), chosen(conversations, limit), [],
            texts=chosen(plain, limit), track=track,
        )  # fmt: skip
        return float(report["perplexity"])
    return _recall(registry.load_encoder(models, settings.paths), chosen(formats.read_reading(data), limit), track)


def _recall(encoder: Any, examples: Sequence[formats.ReadingExample], track: Track) -> float:
    import numpy as np

    asked = [example for example in examples if example.answers]
    if not asked:
        raise DataError("Answerable questions are needed to measure an encoder's export.")
    passages = list(dict.fromkeys(example.context for example in asked))
    parts = [passages[at : at + 32] for at in range(0, len(passages), 32)]
    vectors = np.concatenate([encoder.encode(part) for part in track(parts)])
    questions = np.concatenate(
        [encoder.encode([e.question for e in asked[at : at + 32]]) for at in range(0, len(asked), 32)]
    )
    best = (questions @ vectors.T).argmax(1)
    return float(np.mean([passages[place] == example.context for place, example in zip(best, asked, strict=True)]))
