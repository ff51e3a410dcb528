"""Fine-tune the sentiment classifier: three classes, English and Chinese in one model.

    python -m botkit.training.sentiment --data ../shared/data --base models/minilm-zh --out models/sentiment

Film sentences have no neutral examples, so a model told about the three classes by them alone would learn that such
texts are never neutral. For them the loss only compares negative with positive; neutral is learnt from the tweets, and
from what people say to assistants and ask about articles: a plain question is no complaint. Chinese has no other neutral
text, so its reviews count as not neutral. A few written lines of `tones.jsonl` show how people talk to a shop: half
of a complaint's words are those of a plain question. One in five of them is held out. Sentences about people of all kinds
(`people.py`) teach that a tone does not depend on whom a sentence is about; those of `films.jsonl`, that it need not lie in
single words.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from botkit.data.jsonl import objects, read_text
from botkit.messages import LANGUAGES
from botkit.training import builtin_data
from botkit.training.chinese_base import base_folder
from botkit.training.help_centres import help_centres
from botkit.training.people import about_people
from botkit.training.small_talk import rows

LABELS: Final = ("negative", "neutral", "positive")
LONGEST: Final = 128
TWO_CLASS: Final = ("en_sst2",)


@dataclass(frozen=True)
class Example:
    """A text, how likely each of `LABELS` is of it, and whether its source knows a neutral class."""

    text: str
    probabilities: tuple[float, ...]
    has_neutral: bool


def labelled(text: str, label: str, *, has_neutral: bool = True) -> Example:
    """A text of whose label there is no doubt."""
    return Example(text, tuple(float(label == one) for one in LABELS), has_neutral)


def read_examples(path: Path, limit: int | None, generator: random.Random) -> list[Example]:
    """Examples of one file, at most `limit`, in random order."""
    has_neutral = not path.name.startswith(TWO_CLASS)
    found = [labelled(row["text"], row["label"], has_neutral=has_neutral) for row in rows(path)]
    generator.shuffle(found)
    return found[:limit]


def neutral_examples(data: Path, limit: int, generator: random.Random) -> list[Example]:
    """Questions about articles and first words to assistants, half of them Chinese: weakly labelled neutral."""
    by_language: dict[str, list[str]] = {"en": [], "zh": []}
    by_language["en"] += [row["question"] for row in rows(data / "qa/squad_train.jsonl.gz")]
    by_language["zh"] += [row["question"] for row in rows(data / "qa/zh_cmrc_train.jsonl.gz")]
    for name, language in (("sgd_train", "en"), ("zh_dialogue_train", "zh")):
        by_language[language] += [row["turns"][0] for row in rows(data / f"dialogue/{name}.jsonl.gz")]
    texts = [text for found in by_language.values() for text in generator.sample(found, min(limit // 2, len(found)))]
    return [labelled(text, "neutral") for text in texts]


def customer_questions() -> list[Example]:
    """What people plainly ask a help centre: weakly labelled neutral."""
    asked = [one for language in LANGUAGES for passage in help_centres(language) for one in passage.asked]
    return [labelled(one.question, "neutral") for one in asked if one.kind == "plain"]


def films(*, held_out: bool = False) -> list[Example]:
    """Sentences of film critics, written for botkit; like those of SST-2, none is neutral, and no neutral is learnt from them."""
    rows = builtin_data.films(held_out=held_out)
    return [labelled(row["text"], row["label"], has_neutral=False) for row in rows]


def tones(*, held_out: bool = False) -> list[Example]:
    """Lines said to a shop, written for botkit."""
    return [labelled(row["text"], row["label"]) for row in builtin_data.tones(held_out=held_out)]


def taught(path: Path) -> list[Example]:
    """What a teacher said: lines that `botkit.training.taught` wrote."""
    return [
        Example(row["text"], tuple(row["probabilities"]), row["has_neutral"])
        for _, row in objects(path, read_text(path))
    ]


def batches(
    examples: Sequence[Example], tokenizer: Any, tokens: int, generator: random.Random
) -> Iterator[dict[str, Tensor]]:
    """Padded batches of similar lengths, in random order."""
    texts = [example.text.lower() if generator.random() < 0.1 else example.text for example in examples]
    ids = tokenizer(texts, truncation=True, max_length=LONGEST)["input_ids"]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]) + generator.random() * 8)
    groups: list[list[int]] = [[]]
    for i in order:
        if (len(groups[-1]) + 1) * len(ids[i]) > tokens and groups[-1]:
            groups.append([])
        groups[-1].append(i)
    generator.shuffle(groups)
    for group in groups:
        width = max(len(ids[i]) for i in group)
        padded, mask = (
            torch.zeros((len(group), width), dtype=torch.long),
            torch.zeros((len(group), width), dtype=torch.long),
        )
        for row, i in enumerate(group):
            padded[row, : len(ids[i])] = torch.tensor(ids[i])
            mask[row, : len(ids[i])] = 1
        yield {
            "input_ids": padded,
            "attention_mask": mask,
            "probabilities": torch.tensor([examples[i].probabilities for i in group]),
            "has_neutral": torch.tensor([examples[i].has_neutral for i in group]),
        }


def loss_of(logits: Tensor, probabilities: Tensor, has_neutral: Tensor) -> Tensor:
    """Cross-entropy over the classes that each example's source knows; arguments of shape (n, 3), (n, 3) and (n,)."""
    hidden = torch.zeros_like(logits)
    hidden[~has_neutral, LABELS.index("neutral")] = -1e4
    log_probabilities = nn.functional.log_softmax(logits + hidden, dim=-1)
    return -(probabilities * log_probabilities).sum(-1).mean()


def main() -> None:
    """Train and save a folder that `from_pretrained` loads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with sentiment/, qa/ and dialogue/")
    parser.add_argument("--base", required=True, help="folder, hub id, or builtin:all-MiniLM-L6-v2")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--passes", type=float, default=3.0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop, fully decayed, after so long")
    parser.add_argument("--chinese", type=int, default=12_000, help="Chinese reviews in a pass")
    parser.add_argument("--tweets", type=int, help="tweets in a pass; all by default")
    parser.add_argument("--neutral", type=int, default=5_000, help="plain questions in a pass")
    parser.add_argument("--customers", type=int, default=3_000, help="plain questions to help centres in a pass")
    parser.add_argument("--tones", type=int, default=8, help="times that the lines of tones.jsonl are in a pass")
    parser.add_argument("--films", type=int, default=2, help="times that the sentences of films.jsonl are in a pass")
    parser.add_argument("--taught", type=Path, help="lines of `botkit.training.taught`, in every pass")
    parser.add_argument("--people", type=int, default=1_200, help="sentences about people of all kinds in a pass")
    parser.add_argument("--tokens", type=int, default=1_600, help="tokens in a batch")
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--dropout", type=float, default=0.15)
    parser.add_argument("--freeze-words", action="store_true", help="leave the word embeddings as they are")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(arguments.seed)
    generator = random.Random(arguments.seed)
    base = base_folder(arguments.base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    config = AutoConfig.from_pretrained(
        base,
        num_labels=len(LABELS),
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
        attention_probs_dropout_prob=0.0,
    )
    config.classifier_dropout = arguments.dropout  # MPNet's has no such key, and no argument of this name
    model = AutoModelForSequenceClassification.from_pretrained(
        base,
        config=config,
        attn_implementation="eager",  # without dropout there, 1.4 times as fast as "sdpa" on CPUs in bfloat16
    )
    if arguments.freeze_words:
        model.get_input_embeddings().requires_grad_(False)
    decayed = [p for n, p in model.named_parameters() if p.ndim > 1 and "embeddings" not in n]
    kept = [p for n, p in model.named_parameters() if (p.ndim <= 1 or "embeddings" in n) and p.requires_grad]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.02}, {"params": kept, "weight_decay": 0.0}],
        lr=arguments.rate,
        fused=True,
    )
    folder = arguments.data / "sentiment"
    arguments.out.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(arguments.out)
    started = saved = time.monotonic()
    step = seen = 0
    done = progress = 0.0
    losses: list[float] = []
    customers = customer_questions()
    soft = taught(arguments.taught) if arguments.taught else []
    people = [labelled(text, tone) for text, tone in about_people()]
    model.train()
    while progress < 1:
        examples = [
            *read_examples(folder / "en_tweets_train.jsonl.gz", arguments.tweets, generator),
            *read_examples(folder / "en_sst2_train.jsonl.gz", None, generator),
            *read_examples(folder / "zh_reviews_train.jsonl.gz", arguments.chinese, generator),
            *neutral_examples(arguments.data, arguments.neutral, generator),
            *generator.sample(customers, min(arguments.customers, len(customers))),
            *(films() * arguments.films),
            *soft,
            *(tones() * arguments.tones),
            *generator.sample(people, min(arguments.people, len(people))),
        ]
        for batch in batches(examples, tokenizer, arguments.tokens, generator):
            minutes = (time.monotonic() - started) / 60
            progress = max(done / arguments.passes, minutes / arguments.minutes)
            if progress >= 1:
                break
            rate = arguments.rate * min(1.0, progress / 0.08 + 0.01) * (1 - progress)
            for group in optimizer.param_groups:
                group["lr"] = rate
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            loss = loss_of(logits.float(), batch["probabilities"], batch["has_neutral"])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step, seen = step + 1, seen + len(batch["input_ids"])
            done += len(batch["input_ids"]) / len(examples)
            losses.append(loss.item())
            if step % 50 == 0:
                speed = seen / (time.monotonic() - started)
                print(
                    f"step {step} passes {done:.2f} loss {np.mean(losses[-50:]):.3f} {speed:.0f} examples/s {minutes:.1f} min",
                    flush=True,
                )
            if time.monotonic() - saved > 300:
                saved = time.monotonic()
                model.save_pretrained(arguments.out)
    model.save_pretrained(arguments.out)
    notes = {"passes": round(done, 3), "steps": step, "final_loss": float(np.mean(losses[-200:]))}
    (arguments.out / "training.json").write_text(json.dumps(notes, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(notes))


if __name__ == "__main__":
    main()
