"""Train the small-talk generator from nothing: a byte-level BPE tokenizer and a small GPT-2.

    python -m botkit.training.generator --data ../shared/data --out models/generator

One exchange is `<|persona|><|user|>words<|bot|>words<|end|>`, after earlier exchanges where there are any, so the model learns
personas and a context window. Loss is taken on the bot's words. Some words of the user are dropped at
random, since people never phrase a thing as the file does. What matters is the right answer to a paraphrase: so a
linear head, thrown away at the end, also tells the intent where the bot begins to speak, and most answers are cut after
their first words, which decide which answer it is. One question in ten of every intent is held out to measure
with: whether the reply is one of that intent's.

With `--teacher`, a sentence encoder, half of each pass are the questions in other words (`paraphrases.py`).
"""

from __future__ import annotations

import argparse
import json
import random
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from botkit.language import detect
from botkit.messages import LANGUAGES, Language
from botkit.training.paraphrases import Paraphrase, paraphrases
from botkit.training.small_talk import rows

PERSONAS: Final = ("professional", "friendly", "witty", "caring", "enthusiastic")
SPECIAL: Final = ("<|pad|>", "<|user|>", "<|bot|>", "<|end|>", *(f"<|{persona}|>" for persona in PERSONAS))
CONTEXT_LENGTH: Final = 256
FIRST_TOKENS: Final = 10
"""Tokens that are left of an answer that is cut."""
_SHARED_WEIGHT: Final = 20
"""How many more times a pass asks in English what the Chinese questions hold as well ("hi")."""


@dataclass(frozen=True)
class Exchange:
    """What the user says, what the bot says, and the intent's number; -1 for none."""

    question: str
    answer: str
    intent: int = -1


@dataclass(frozen=True)
class Intent:
    """Ways to say one thing, and each persona's answer."""

    language: Language
    questions: tuple[str, ...]
    answers: dict[str, str]


def read_intents(data: Path) -> tuple[list[Intent], list[Intent]]:
    """The chit-chat intents for training, and the same intents with the held-out tenth of their questions."""
    kept, held_out = [], []
    for name in ("chitchat_en", "chitchat_zh"):
        for row in rows(data / f"dialogue/{name}.jsonl.gz"):
            tenth = [q for q in row["questions"] if zlib.crc32(q.encode()) % 10 == 0]
            rest = [q for q in row["questions"] if zlib.crc32(q.encode()) % 10 != 0]
            kept.append(Intent(row["lang"], tuple(rest), row["answers"]))
            held_out.append(Intent(row["lang"], tuple(tenth), row["answers"]))
    return kept, held_out


def exchanges(
    intents: Sequence[Intent], generator: random.Random, also: Sequence[Paraphrase] = ()
) -> Iterator[tuple[str, list[Exchange]]]:
    """One pass: a persona and one to three exchanges each, in one language; `also` are asked besides the intents' questions."""
    by_language: dict[Language, list[tuple[str, dict[str, str], int]]] = {"en": [], "zh": []}
    # not the ChatterBot corpus: some of its answers insult, others are about a computer's power button
    for number, intent in enumerate(intents):
        for question in intent.questions:
            by_language[intent.language].append((question, intent.answers, number))
        # small intents are seen about as often as large ones
        for _ in range(max(0, 60 - len(intent.questions))):
            by_language[intent.language].append((generator.choice(intent.questions), intent.answers, number))
    for one in also:
        intent = intents[one.intent]
        by_language[intent.language].append((one.question, intent.answers, one.intent))
    foreign = {question.casefold() for question, _, _ in by_language["zh"] if detect(question, "zh") == "en"}
    by_language["en"] += [pair for pair in by_language["en"] if pair[0].casefold() in foreign] * _SHARED_WEIGHT
    # "hi" among the Chinese questions is said after Chinese words: a conversation that begins with it is an English one
    openings = {
        language: [pair for pair in pairs if detect(pair[0], language) == language]
        for language, pairs in by_language.items()
    }
    jobs = [(language, index) for language, pairs in by_language.items() for index in range(len(pairs))]
    generator.shuffle(jobs)
    for language, index in jobs:
        pairs = by_language[language]
        persona = generator.choice(PERSONAS)
        chosen = [pairs[index]]
        while generator.random() < 0.2 and len(chosen) < 3:
            chosen.insert(0, generator.choice(pairs))
        if openings[language] and detect(chosen[0][0], language) != language:
            chosen.insert(0, generator.choice(openings[language]))
        yield (
            persona,
            [
                Exchange(distort(question, generator), answers.get(persona, next(iter(answers.values()))), number)
                for question, answers, number in chosen
            ],
        )


def distort(question: str, generator: random.Random) -> str:
    """The question with, now and then, a word or character dropped, its case changed or its last mark gone."""
    if generator.random() < 0.3:
        question = question.lower()
    if generator.random() < 0.3:
        question = question.rstrip("?!.？！。")
    if generator.random() < 0.35:
        if " " in question:
            words = question.split(" ")
            for _ in range(len(words) // 4):
                del words[generator.randrange(len(words))]
            question = " ".join(words)
        elif len(question) > 5:
            at = generator.randrange(len(question))
            question = question[:at] + question[at + 1 :]
    return question


def train_tokenizer(data: Path, intents: Sequence[Intent], size: int) -> Any:
    """Byte-level BPE over the small talk and a part of the other dialogues, so that it can spell anything."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    def texts() -> Iterator[str]:
        for intent in intents:
            yield from intent.questions
            for _ in range(5):
                yield from intent.answers.values()
        for name in ("zh_dialogue_train", "topical_train"):
            for number, row in enumerate(rows(data / f"dialogue/{name}.jsonl.gz")):
                if number % 4 == 0:
                    yield from row["turns"]

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts(),
        trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=list(SPECIAL),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return tokenizer


def encode(tokenizer: Any, persona: str, exchanges: Sequence[Exchange]) -> tuple[list[int], list[bool], list[int]]:
    """Token ids of a conversation, which of them the bot says, and the intent where the bot begins to speak (else -1)."""
    ids, said, intents = [tokenizer.token_to_id(f"<|{persona}|>")], [False], [-1]
    user, bot, end = (tokenizer.token_to_id(f"<|{name}|>") for name in ("user", "bot", "end"))
    for exchange in exchanges:
        asked = [user, *tokenizer.encode(exchange.question).ids, bot]
        told = [*tokenizer.encode(exchange.answer).ids, end]
        ids += asked + told
        said += [False] * len(asked) + [True] * len(told)
        intents += [-1] * (len(asked) - 1) + [exchange.intent] + [-1] * len(told)
    return ids[:CONTEXT_LENGTH], said[:CONTEXT_LENGTH], intents[:CONTEXT_LENGTH]


def batches(
    tokenizer: Any,
    intents: Sequence[Intent],
    tokens: int,
    cut: float,
    generator: random.Random,
    also: Sequence[Paraphrase] = (),
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Padded (ids, labels, intents) of similar lengths; labels are -100 where the bot does not speak, intents likewise.

    `cut` is the share of conversations whose last answer ends after its first words, `also` are further questions.
    """
    encoded = []
    for persona, conversation in exchanges(intents, generator, also):
        ids, said, numbers = encode(tokenizer, persona, conversation)
        if generator.random() < cut and said[-1]:
            begin = len(said) - said[::-1].index(False)
            ids, said, numbers = (
                ids[: begin + FIRST_TOKENS],
                said[: begin + FIRST_TOKENS],
                numbers[: begin + FIRST_TOKENS],
            )
        encoded.append((ids, said, numbers))
    encoded.sort(key=lambda one: len(one[0]) + generator.random() * 6)
    groups: list[list[tuple[list[int], list[bool], list[int]]]] = [[]]
    for one in encoded:
        if (len(groups[-1]) + 1) * len(one[0]) > tokens and groups[-1]:
            groups.append([])
        groups[-1].append(one)
    generator.shuffle(groups)
    for group in groups:
        width = max(len(ids) for ids, _, _ in group)
        padded = torch.zeros((len(group), width), dtype=torch.long)
        labels, targets = torch.full_like(padded, -100), torch.full_like(padded, -100)
        for row, (ids, said, numbers) in enumerate(group):
            padded[row, : len(ids)] = torch.tensor(ids)
            spoken, marked = torch.tensor(said), torch.tensor(numbers)
            labels[row, : len(ids)][spoken] = padded[row, : len(ids)][spoken]
            targets[row, : len(ids)][marked >= 0] = marked[marked >= 0]
        yield padded, labels, targets


def intent_accuracy(
    model: Any, tokenizer: Any, intents: Sequence[Intent], persona: str, limit: int
) -> dict[str, float]:
    """Share of held-out questions whose greedy reply is, word for word, one of their intent's answers; per language."""
    model.eval()
    right: dict[str, list[bool]] = {"en": [], "zh": []}
    generator = random.Random(0)
    end = tokenizer.token_to_id("<|end|>")
    jobs = [(intent, question) for intent in intents for question in intent.questions]
    for intent, question in generator.sample(jobs, min(limit, len(jobs))):
        ids = torch.tensor([encode(tokenizer, persona, [Exchange(question, "")])[0][:-1]])
        with torch.no_grad():
            out = model.generate(ids, max_new_tokens=70, do_sample=False, eos_token_id=end, pad_token_id=0)
        reply = tokenizer.decode(out[0, ids.shape[1] :].tolist()).strip()
        right[intent.language].append(reply in {answer.strip() for answer in intent.answers.values()})
    model.train()
    return {f"intent_accuracy_{language}": float(np.mean(found)) for language, found in right.items() if found}


def main() -> None:
    """Train tokenizer and model, save a folder that `from_pretrained` loads, report on the held-out questions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--base", type=Path, help="folder of an earlier run to go on from; its shape and words are kept"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--passes", type=float, default=8.0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop, fully decayed, after so long")
    parser.add_argument("--vocabulary", type=int, default=6_000)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=2_400, help="tokens in a batch")
    parser.add_argument("--rate", type=float, default=1.2e-3)
    parser.add_argument("--cut", type=float, default=0.7, help="share of answers cut after their first words")
    parser.add_argument("--intent-weight", type=float, default=0.5, help="weight of telling the intent")
    parser.add_argument(
        "--teacher",
        type=Path,
        help="exported encoder that labels the questions in other words; not one that learnt from the small talk",
    )
    parser.add_argument("--paraphrases", type=int, default=60_000, help="tries to put a question of each language so")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    from tokenizers import Tokenizer
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(arguments.seed)
    generator = random.Random(arguments.seed)
    kept, held_out = read_intents(arguments.data)
    if arguments.base:
        tokenizer = Tokenizer.from_file(str(arguments.base / "tokenizer.json"))
    else:
        tokenizer = train_tokenizer(arguments.data, kept, arguments.vocabulary)
    arguments.out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(arguments.out / "tokenizer.json"))
    end = tokenizer.token_to_id("<|end|>")
    shape = GPT2Config(
        vocab_size=tokenizer.get_vocab_size(),
        n_positions=CONTEXT_LENGTH,
        n_embd=arguments.width,
        n_layer=arguments.layers,
        n_head=arguments.heads,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=0,
        attn_pdrop=0.0,
    )
    model = GPT2LMHeadModel.from_pretrained(arguments.base) if arguments.base else GPT2LMHeadModel(shape)
    model.train()
    head = nn.Linear(model.config.n_embd, len(kept))
    optimizer = torch.optim.AdamW(
        [*model.parameters(), *head.parameters()], lr=arguments.rate, weight_decay=0.05, betas=(0.9, 0.98), fused=True
    )
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    in_other_words = _in_other_words(arguments, kept, held_out, generator) if arguments.teacher else []
    started = saved = time.monotonic()
    step = seen = 0
    done = progress = 0.0
    losses: list[float] = []
    while progress < 1:
        cut = arguments.cut * (1 - progress)
        also = generator.sample(in_other_words, min(len(in_other_words), sum(len(one.questions) for one in kept)))
        ready = list(batches(tokenizer, kept, arguments.tokens, cut, generator, also))
        for ids, labels, intents in ready:
            minutes = (time.monotonic() - started) / 60
            progress = max(done / arguments.passes, minutes / arguments.minutes)
            if progress >= 1:
                break
            rate = arguments.rate * min(1.0, progress / 0.04 + 0.01) * (0.5 + 0.5 * np.cos(np.pi * progress))
            for group in optimizer.param_groups:
                group["lr"] = rate
            with torch.autocast("cpu", torch.bfloat16):
                hidden = model.transformer(input_ids=ids).last_hidden_state
                spoken = labels[:, 1:] != -100
                logits = model.lm_head(hidden[:, :-1][spoken])
                told = head(hidden[intents >= 0])
            loss = nn.functional.cross_entropy(logits.float(), labels[:, 1:][spoken])
            if len(told):
                of_intent = nn.functional.cross_entropy(told.float(), intents[intents >= 0])
                loss = loss + arguments.intent_weight * of_intent
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step, seen, done = step + 1, seen + ids.numel(), done + 1 / len(ready)
            losses.append(loss.item())
            if step % 100 == 0:
                speed = seen / (time.monotonic() - started)
                print(
                    f"step {step} passes {done:.2f} loss {np.mean(losses[-100:]):.3f} {speed:.0f} tokens/s {minutes:.1f} min",
                    flush=True,
                )
            if time.monotonic() - saved > 240:
                saved = time.monotonic()
                model.save_pretrained(arguments.out)
                print(intent_accuracy(model, tokenizer, held_out, "friendly", 60), flush=True)
    model.save_pretrained(arguments.out)
    metrics = intent_accuracy(model, tokenizer, held_out, "friendly", 1_000)
    notes = {"passes": round(done, 3), "steps": step, "final_loss": float(np.mean(losses[-200:])), "float": metrics}
    (arguments.out / "training.json").write_text(json.dumps(notes, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(notes))


def _in_other_words(
    arguments: argparse.Namespace, kept: Sequence[Intent], held_out: Sequence[Intent], generator: random.Random
) -> list[Paraphrase]:
    """The questions of both languages in other words, none of them held out."""
    from botkit.models.encoder import OnnxEncoder

    encoder = OnnxEncoder(arguments.teacher)
    unseen = [question for intent in held_out for question in intent.questions]
    found = []
    for language in LANGUAGES:
        asked = {number: intent.questions for number, intent in enumerate(kept) if intent.language == language}
        found += paraphrases(arguments.data, asked, language, encoder, arguments.paraphrases, generator, unseen)
    print(f"{len(found):,} questions in other words", flush=True)
    return found


if __name__ == "__main__":
    main()
