"""What a larger model thinks of many sentences: soft labels that the sentiment classifier learns from.

    python -m botkit.training.taught --teacher models/sentiment-teacher --encoder models/e5-en-zh --data ../shared/data --out models/taught.jsonl

A small classifier learns more from the probabilities of a large one than from labels alone (Hinton et al. 2015, "Distilling the
knowledge in a neural network"), the more so on more sentences than there are labels for (Jiao et al. 2020, TinyBERT). So sentences about
films are varied: words are exchanged for near ones, parts are dropped, clauses of two are joined; and the teacher says how likely
each tone is of these, of the labelled ones, of tweets, and of what people say to each other about films and other things. What is kept
of a sentence need not keep its tone: it is the teacher who tells it.

A line is {"text", "probabilities": [negative, neutral, positive], "has_neutral"}. No validation file is read but to leave out what is in it.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.progress import track

from botkit.data.jsonl import write_rows
from botkit.errors import ModelError
from botkit.models.runtime import batches
from botkit.training.paraphrases import bare, words
from botkit.training.sentiment import LABELS, LONGEST, Example, films
from botkit.training.small_talk import rows

JOINTS: Final = (
    ", but ",
    ", and ",
    " ; ",
    " -- ",
    ", yet ",
    ", though ",
    " . ",
    ", even if ",
    ", while ",
    ", because ",
)
NEAREST: Final = 12
RAREST: Final = 3
MOST_WORDS: Final = 10_000
LEAST_WORDS: Final = 4
_CLAUSE: Final = re.compile(r"\s*(?:[,;:.!?]|--+|\bbut\b|\band\b|\bthough\b|\bbecause\b|\bwhile\b)\s+")


def near_words(texts: Sequence[str], encode: Any) -> dict[str, list[str]]:
    """The words of the texts, lower-case, each with those nearest to it by `encode`, antonyms among them."""
    counts = Counter(word for text in texts for word in words(text.lower(), "en") if word.isalpha() and len(word) > 2)
    known = [word for word, n in counts.most_common(MOST_WORDS) if n >= RAREST]
    vectors = encode(known)
    found = {}
    for begin in range(0, len(known), 1024):
        for word, cosines in zip(known[begin : begin + 1024], vectors[begin : begin + 1024] @ vectors.T, strict=True):
            found[word] = [known[i] for i in np.argsort(-cosines)[1 : NEAREST + 1]]
    return found


def varied(text: str, others: Sequence[str], near: Mapping[str, Sequence[str]], generator: random.Random) -> str:
    """The sentence with some words exchanged, dropped, or one of its clauses joined to one of another's."""
    change = generator.random()
    if change < 0.3:
        mine = [part for part in _CLAUSE.split(text) if len(part.split()) >= LEAST_WORDS] or [text]
        its = [part for part in _CLAUSE.split(generator.choice(others)) if len(part.split()) >= LEAST_WORDS]
        chosen = [generator.choice(mine), *([generator.choice(its)] if its and generator.random() < 0.75 else [])]
        generator.shuffle(chosen)
        text = generator.choice(JOINTS).join(chosen)
    parts = words(text, "en")
    places = [i for i, part in enumerate(parts) if near.get(part.lower())]
    if change < 0.9:
        for at in generator.sample(places, min(len(places), generator.choice((1, 1, 2, 2, 3, 4)))):
            parts[at] = generator.choice(near[parts[at].lower()])
    if change > 0.75 and len(parts) > 12:
        at, gone = generator.randrange(len(parts) - 6), generator.choice((2, 2, 4, 6))
        del parts[at : at + gone]
    return " ".join("".join(parts).split())


def phrase(text: str, generator: random.Random) -> str:
    """Some of the words of a sentence, as they stand there, most often from the beginning of a clause or to the end of one."""
    clause = generator.choice([part for part in _CLAUSE.split(text) if part.strip()] or [text]).split()
    size = min(len(clause), generator.choice((1, 2, 2, 3, 3, 4, 5, 6, 8, 10)))
    at = generator.choice((0, len(clause) - size, generator.randint(0, len(clause) - size)))
    return " ".join(clause[at : at + size])


def sentences(
    data: Path, near: Mapping[str, Sequence[str]], count: int, generator: random.Random, parts: int = 0
) -> list[tuple[str, bool]]:
    """Sentences for the teacher, each once, and whether neutral is one of the tones it can have; `count` of them varied ones.

    Of sentences about films come up to `parts` phrases as well: what single words and turns of phrase say is learnt from
    them (as from those that people labelled in the Stanford Sentiment Treebank; Socher et al. 2013).
    """
    films_said = [row["text"] for row in rows(data / "sentiment/en_sst2_train.jsonl.gz")]
    invented = [example.text for example in films()]
    tweets = [row["text"] for row in rows(data / "sentiment/en_tweets_train.jsonl.gz")]
    turns = [turn for row in rows(data / "dialogue/topical_train.jsonl.gz") for turn in row["turns"]]
    about_films = [turn for turn in turns if re.search(r"\b(film|movie|actor|actress|show)s?\b", turn.lower())]
    unseen = {
        bare(row["text"])
        for name in ("en_sst2", "en_tweets")
        for row in rows(data / f"sentiment/{name}_valid.jsonl.gz")
    }
    found = dict.fromkeys([*films_said, *invented], False)
    for _ in range(count):
        text = generator.choice(films_said if generator.random() < 0.7 else invented)
        found.setdefault(varied(text, films_said, near, generator), False)
    for _ in range(parts):
        text = generator.choice(films_said if generator.random() < 0.7 else invented)
        found.setdefault(phrase(text, generator), False)
    chatted = generator.sample(about_films, min(count // 12, len(about_films))) + generator.sample(
        turns, min(count // 20, len(turns))
    )
    for text in [*generator.sample(tweets, min(count // 8, len(tweets))), *chatted]:
        found.setdefault(text, True)
    kept = [(text, has_neutral) for text, has_neutral in found.items() if bare(text) and bare(text) not in unseen]
    generator.shuffle(kept)
    return kept


def ask(teacher: Path, texts: Sequence[tuple[str, bool]], tokens: int = 4_000) -> list[Example]:
    """What the teacher in `teacher` says of each text, in the order given."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(teacher)
    model: Any = AutoModelForSequenceClassification.from_pretrained(teacher).eval()
    if [model.config.id2label[i] for i in range(model.config.num_labels)] != list(LABELS):
        raise ModelError(
            f"{teacher}: its labels are {model.config.id2label}; a teacher needs {', '.join(LABELS)}, in this order."
        )
    ids = tokenizer([text for text, _ in texts], truncation=True, max_length=LONGEST)["input_ids"]
    groups = list(batches([len(one) for one in ids], tokens))
    found: dict[int, Example] = {}
    for group in track(groups, description="asking the teacher"):
        padded = tokenizer.pad({"input_ids": [ids[i] for i in group]}, return_tensors="pt")
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            logits = model(**padded).logits.float().numpy().copy()
        for i, row in zip(group, logits, strict=True):
            text, has_neutral = texts[i]
            if not has_neutral:
                row[LABELS.index("neutral")] = -np.inf
            shares = np.exp(row - row.max())
            found[i] = Example(text, tuple((shares / shares.sum()).tolist()), has_neutral)
    return [found[i] for i in range(len(texts))]


def main() -> None:
    """Vary, ask, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True, help="folder that `botkit.training.sentiment` wrote")
    parser.add_argument("--encoder", required=True, help="sentence encoder that tells which words are near")
    parser.add_argument("--data", type=Path, required=True, help="folder with sentiment/ and dialogue/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=50_000, help="varied sentences")
    parser.add_argument("--phrases", type=int, default=0, help="parts of sentences about films")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    from sentence_transformers import SentenceTransformer

    generator = random.Random(arguments.seed)
    encoder = SentenceTransformer(str(arguments.encoder), device="cpu")
    near: dict[str, list[str]] = {}
    if arguments.count:
        known = [row["text"] for row in rows(arguments.data / "sentiment/en_sst2_train.jsonl.gz")]
        known += [one.text for one in films()]
        near = near_words(known, lambda texts: encoder.encode(texts, normalize_embeddings=True, show_progress_bar=True))
    taught = ask(arguments.teacher, sentences(arguments.data, near, arguments.count, generator, arguments.phrases))
    write_rows(
        arguments.out,
        (
            {
                "text": one.text,
                "probabilities": [round(p, 4) for p in one.probabilities],
                "has_neutral": one.has_neutral,
            }
            for one in taught
        ),
    )
    means = np.mean([one.probabilities for one in taught], axis=0)
    print(
        json.dumps(
            {"n": len(taught)} | {label: round(float(mean), 3) for label, mean in zip(LABELS, means, strict=True)}
        )
    )


if __name__ == "__main__":
    main()
