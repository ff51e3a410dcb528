"""Draws the pictures of docs/ideas.md from the models that ship: python examples/ideas.py --out docs/images

Embeddings, attention, next-token probabilities under temperature, and perplexity, each computed here and now.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
import transformers

from botkit.models.encoder import OnnxEncoder
from botkit.models.registry import BUILTIN_FOLDER
from botkit.training.restore import restore

SENTENCES = (
    "How much is delivery?",
    "What does shipping cost?",
    "When will my parcel arrive?",
    "Can I send it back?",
    "How do I return a lamp?",
    "The lamp is broken.",
    "My light does not work.",
    "I love cats.",
    "Dogs are my favourite animals.",
)
QUESTION, PASSAGE = "When does the ferry leave?", "The ferry to Arran leaves at six in the morning."


def embeddings(out: Path) -> None:
    """Cosine similarity of sentences."""
    vectors = OnnxEncoder(BUILTIN_FOLDER / "encoder").encode(SENTENCES)
    figure, axes = plt.subplots(figsize=(7.4, 5), constrained_layout=True)
    shown = axes.imshow(vectors @ vectors.T, cmap="viridis", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks(range(len(SENTENCES)), SENTENCES)
    axes.set_title("Cosine similarity of sentence vectors")
    figure.colorbar(shown)
    save(figure, out / "ideas-embeddings.png")


def attention(folder: Path, out: Path) -> None:
    """What each word of the question looks at, in the last layer of the reader, averaged over the heads."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForQuestionAnswering.from_pretrained(folder, attn_implementation="eager").eval()
    inputs = tokenizer(QUESTION, PASSAGE, return_tensors="pt")
    with torch.no_grad():
        output = model(**inputs, output_attentions=True)
    words = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    weights = output.attentions[-1][0].mean(0).numpy()
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(12, 5.4), constrained_layout=True, gridspec_kw={"width_ratios": [1.2, 1]}
    )
    left.imshow(weights, cmap="Blues")
    left.set_xticks(range(len(words)), words, rotation=90)
    left.set_yticks(range(len(words)), words)
    left.set_title("Attention, last layer (rows look at columns)")
    places = np.arange(len(words))
    for logits, name in ((output.start_logits, "answer begins"), (output.end_logits, "answer ends")):
        right.plot(places, logits[0].softmax(0).numpy(), marker="o", label=name)
    right.set_xticks(places, words, rotation=90)
    right.set_title("Where the reader sees the answer")
    right.set_ylabel("probability")
    right.legend()
    save(figure, out / "ideas-attention.png")


def temperature(folder: Path, out: Path) -> None:
    """The next token's distribution at several temperatures, its entropy, and the perplexity of two replies."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    prompt = "<|friendly|><|user|>Tell me something<|bot|>"
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0, -1]
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4), constrained_layout=True)
    best = logits.topk(10).indices
    names = [tokenizer.decode([int(token)]).strip() or "␣" for token in best]
    for number, value in enumerate((0.5, 1.0, 2.0)):
        chances = (logits / value).softmax(0)
        bits = float(-(chances * (chances + 1e-12).log2()).sum())
        left.bar(np.arange(10) + 0.27 * number, chances[best].numpy(), 0.27, label=f"T = {value:g}: {bits:.1f} bits")
    left.set_xticks(np.arange(10) + 0.27, names, rotation=45)
    left.set(title=f"The token after {prompt[len('<|friendly|><|user|>') : -len('<|bot|>')]!r}", ylabel="probability")
    left.legend(title="temperature: entropy")
    values = np.geomspace(0.1, 5, 40)
    entropy = []
    for value in values:
        chances = (logits / float(value)).softmax(0)
        entropy.append(float(-(chances * (chances + 1e-12).log2()).sum()))
    right.semilogx(values, entropy)
    right.set(xlabel="temperature", ylabel="entropy, bits", title="Entropy rises with temperature")
    save(figure, out / "ideas-temperature.png")
    for reply in ("I'm doing great, thanks for asking!", "Great asking doing thanks for I'm!"):
        whole = tokenizer(f"<|friendly|><|user|>How are you?<|bot|>{reply}<|end|>", return_tensors="pt").input_ids
        begin = tokenizer("<|friendly|><|user|>How are you?<|bot|>", return_tensors="pt").input_ids.shape[1]
        with torch.no_grad():
            logits = model(input_ids=whole).logits[0, begin - 1 : -1].log_softmax(-1)
        nats = -logits.gather(1, whole[0, begin:, None]).mean()
        print(f"perplexity {float(nats.exp()):10.1f}  {reply}")


def save(figure: Any, file: Path) -> None:
    """Write a small PNG."""
    figure.savefig(file, dpi=90)
    plt.close(figure)
    print(file)


def main() -> None:
    """Draw all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    transformers.utils.logging.set_verbosity_error()
    embeddings(out)
    with tempfile.TemporaryDirectory() as name:
        attention(restore(BUILTIN_FOLDER / "reader", Path(name) / "reader"), out)
        temperature(restore(BUILTIN_FOLDER / "generator", Path(name) / "generator"), out)


if __name__ == "__main__":
    main()
