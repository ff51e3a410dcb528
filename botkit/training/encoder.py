"""Fine-tune a sentence encoder for questions and the sentences that answer them, in English and Chinese.

    python -m botkit.training.encoder --data ../shared/data --base models/minilm-zh --out models/encoder

A question is drawn towards the passage, or the sentence, that answers it and away from the others of its batch (InfoNCE
with in-batch negatives, van den Oord et al. 2018; Karpukhin et al. 2020). Half of the batches come from one document
each, so that the negatives are hard. English must not be lost while Chinese is learnt: on English texts the vectors are
also held near those of the encoder one started from (knowledge distillation, Reimers and Gurevych 2020).
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from botkit.messages import Language
from botkit.text import enclosing_sentence
from botkit.training.chinese_base import base_folder
from botkit.training.help_centres import help_centres
from botkit.training.reader import CROP_CHARACTERS, Question, crop, read_questions
from botkit.training.small_talk import rows

SCALE = 20.0
"""Inverse temperature of the cosine similarities."""
LONGEST = 192
_TOGETHER = 10
"""Texts of a batch that are run at once."""


@dataclass(frozen=True)
class Pair:
    """A question, a text that answers it or says the same, and the document that both come from."""

    question: str
    text: str
    document: str
    answer: str
    """Pairs with the same answer are not negatives of each other."""


def _pair(question: Question, generator: random.Random) -> Pair:
    assert question.start is not None
    if generator.random() < 0.5:
        start, end = enclosing_sentence(question.context, question.start, question.end)
        text = question.context[start:end]
    else:
        text = crop(question, generator, int(CROP_CHARACTERS[question.language] * generator.uniform(0.6, 1.0))).context
        if generator.random() < 0.4:
            text = f"{question.title}\n{text}"
    return Pair(question.question, text, question.title, question.context[question.start : question.end])


def pairs(data: Path, language: Language, generator: random.Random, public: int) -> list[Pair]:
    """One pass over the pairs of a language: `public` of the public sets, and all of the help centres."""
    if language == "en":
        questions = read_questions(data / "qa/squad_train.jsonl.gz") + read_questions(data / "qa/qed_train.jsonl.gz")
        questions += generator.sample(read_questions(data / "qa/policyqa_train.jsonl.gz"), 1_000)
    else:
        questions = read_questions(data / "qa/zh_cmrc_train.jsonl.gz")
        questions += read_questions(data / "qa/zh_drcd_train.jsonl.gz", simplify=True)
    found = [_pair(question, generator) for question in questions if question.start is not None]
    small_talk = []
    for number, row in enumerate(rows(data / f"dialogue/chitchat_{language}.jsonl.gz")):
        asked = generator.sample(row["questions"], min(40 if language == "zh" else 10, len(row["questions"])))
        small_talk += [
            Pair(first, second, f"small talk {generator.randrange(9)}", f"intent {number}")
            for first, second in zip(asked[::2], asked[1::2], strict=False)
        ]
    found += small_talk
    return generator.sample(found, min(public, len(found))) + _support(language, generator)


def _support(language: Language, generator: random.Random) -> list[Pair]:
    """Questions to help centres with the sentence or the passage that answers them, or another question for the same answer."""
    found = []
    for passage in help_centres(language):
        by_answer: dict[str, list[str]] = defaultdict(list)
        for asked in passage.asked:
            start, end = enclosing_sentence(passage.text, asked.start, asked.end)
            sentence = passage.text[start:end]
            by_answer[sentence].append(asked.question)
            for _ in range(2):
                text = sentence if generator.random() < 0.7 else passage.text
                if generator.random() < 0.3:
                    text = f"{passage.organisation} › {passage.heading}\n{text}"
                found.append(Pair(asked.question, text, passage.organisation, sentence))
        for sentence, questions in by_answer.items():
            if len(questions) > 1:
                first, second = generator.sample(questions, 2)
                found.append(Pair(first, second, passage.organisation, sentence))
    return found


def batches(found: Sequence[Pair], size: int, generator: random.Random) -> Iterator[list[Pair]]:
    """Batches in random order: half of the pairs among others of their own document, half among any."""
    order = list(found)
    generator.shuffle(order)
    half = len(order) // 2
    near = defaultdict(list)
    for pair in order[:half]:
        near[pair.document].append(pair)
    documents = list(near.values())
    generator.shuffle(documents)
    together = [pair for document in documents for pair in document]
    groups = [part[i : i + size] for part in (together, order[half:]) for i in range(0, len(part) - size + 1, size)]
    generator.shuffle(groups)
    yield from groups


class Bilingual(nn.Module):
    """Mean-pooled, L2-normalised vectors of a transformer."""

    def __init__(self, transformer: nn.Module, tokenizer: Any, length: int = LONGEST) -> None:
        super().__init__()
        self.transformer, self.tokenizer, self.length = transformer, tokenizer, length

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Vectors of shape (n, width). Texts of similar lengths are run together, so that little is padding."""
        ids = self.tokenizer(list(texts), truncation=True, max_length=self.length)["input_ids"]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        parts = [self._run([ids[i] for i in order[at : at + _TOGETHER]]) for at in range(0, len(order), _TOGETHER)]
        return torch.cat(parts)[torch.tensor(order).argsort()]

    def _run(self, ids: Sequence[list[int]]) -> Tensor:
        inputs = self.tokenizer.pad({"input_ids": ids}, return_tensors="pt")
        with torch.autocast("cpu", torch.bfloat16):
            hidden = self.transformer(
                input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
            ).last_hidden_state.float()
        mask = inputs["attention_mask"].unsqueeze(-1)
        return nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Vectors of many texts, without gradients."""
        vectors: Tensor = self(texts)
        return vectors


def contrast(questions: Tensor, texts: Tensor, batch: Sequence[Pair]) -> Tensor:
    """Symmetric InfoNCE over a batch; pairs with the same answer do not repel each other."""
    same = torch.tensor([[a.answer == b.answer or a.text == b.text for b in batch] for a in batch])
    same.fill_diagonal_(False)
    logits = (SCALE * questions @ texts.T).masked_fill(same, -1e4)
    wanted = torch.arange(len(batch))
    across = nn.functional.cross_entropy(logits, wanted) + nn.functional.cross_entropy(logits.T, wanted)
    return across / 2


def recall(model: Bilingual, data: Path, language: Language, limit: int = 400) -> dict[str, float]:
    """recall@1 and @5 over the paragraphs of the validation questions, and 500 training paragraphs that distract."""
    valid, train = ("squad_valid", "squad_train") if language == "en" else ("zh_cmrc_valid", "zh_cmrc_train")
    questions = [q for q in read_questions(data / f"qa/{valid}.jsonl.gz") if q.start is not None][:limit]
    paragraphs = list(dict.fromkeys(q.context for q in questions))
    paragraphs += list(dict.fromkeys(q.context for q in read_questions(data / f"qa/{train}.jsonl.gz")))[:500]
    place = {paragraph: i for i, paragraph in enumerate(paragraphs)}
    model.eval()
    scores = model.encode([q.question for q in questions]) @ model.encode(paragraphs).T
    model.train()
    best = scores.topk(5).indices.tolist()
    gold = [place[q.context] for q in questions]
    at_1 = sum(found[0] == g for found, g in zip(best, gold, strict=True)) / len(gold)
    at_5 = sum(g in found for found, g in zip(best, gold, strict=True)) / len(gold)
    return {"recall_at_1": at_1, "recall_at_5": at_5, "n": len(gold)}


def main() -> None:
    """Train, reporting loss and speed; save a folder that sentence-transformers loads; report on validation data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with qa/ and dialogue/")
    parser.add_argument("--base", required=True, help="folder of the encoder with Chinese characters to start from")
    parser.add_argument(
        "--teacher", default="builtin:all-MiniLM-L6-v2", help="the encoder whose English is kept, or none"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=LONGEST, help="tokens after which a text is cut in training")
    parser.add_argument("--rate", type=float, default=1e-4, help="peak learning rate of the transformer")
    parser.add_argument("--embedding-rate", type=float, default=5e-4)
    parser.add_argument("--last-rate", type=float, default=0.0, help="learning rate at the end, as a share of the peak")
    parser.add_argument("--english", type=float, default=0.35, help="share of English batches")
    parser.add_argument("--public", type=int, default=100_000, help="pairs of the public sets in a pass")
    parser.add_argument("--distillation", type=float, default=3.0, help="weight of staying near the teacher")
    parser.add_argument(
        "--english-weights", action="store_true", help="the teacher's transformer with the base's characters"
    )
    parser.add_argument("--quick", action="store_true", help="do not measure recall before and after")
    parser.add_argument("--freeze-words", action="store_true", help="leave the word embeddings as they are")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.english_weights and arguments.teacher == "none":
        parser.error("--english-weights are those of the teacher: name one with --teacher")

    from transformers import AutoModel, AutoTokenizer

    torch.manual_seed(arguments.seed)
    generator = random.Random(arguments.seed)
    plain = {"attn_implementation": "sdpa", "attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.0}
    teacher = None
    if arguments.teacher != "none":
        folder = base_folder(arguments.teacher)
        teacher = Bilingual(AutoModel.from_pretrained(folder, **plain), AutoTokenizer.from_pretrained(folder)).eval()
    tokenizer = AutoTokenizer.from_pretrained(arguments.base)
    model = Bilingual(AutoModel.from_pretrained(arguments.base, **plain), tokenizer, arguments.length)
    if arguments.english_weights and teacher:
        take_english(model.transformer, teacher.transformer)
    if arguments.freeze_words:
        model.transformer.get_input_embeddings().requires_grad_(False)  # type: ignore[operator]
    words = [p for n, p in model.named_parameters() if "word_embeddings" in n and p.requires_grad]
    others = [p for n, p in model.named_parameters() if "word_embeddings" not in n and "pooler" not in n]
    optimizer = torch.optim.AdamW(
        [
            {"params": words, "lr": arguments.embedding_rate, "weight_decay": 0.0},
            {"params": others, "lr": arguments.rate, "weight_decay": 0.01},
        ],
        fused=True,
    )
    peak = [group["lr"] for group in optimizer.param_groups]
    before = None
    if not arguments.quick:
        before = {"en": recall(model, arguments.data, "en"), "zh": recall(model, arguments.data, "zh")}
        print(json.dumps({"before": before}), flush=True)

    sources: dict[Language, Iterator[list[Pair]]] = {"en": iter(()), "zh": iter(())}
    started = saved = time.monotonic()
    step, losses = 0, {"en": 0.0, "zh": 0.0, "kept": 0.0}
    while (spent := (time.monotonic() - started) / 60 / arguments.minutes) < 1:
        for group, rate in zip(optimizer.param_groups, peak, strict=True):
            group["lr"] = rate * min(1.0, spent / 0.05 + 0.01) * (1 - spent * (1 - arguments.last_rate))
        language: Language = "en" if generator.random() < arguments.english else "zh"
        batch = next(sources[language], None)
        if batch is None:
            sources[language] = batches(
                pairs(arguments.data, language, generator, arguments.public), arguments.batch, generator
            )
            batch = next(sources[language])
        questions, texts = model([p.question for p in batch]), model([p.text for p in batch])
        loss = contrast(questions, texts, batch)
        losses[language] += 0.05 * (loss.item() - losses[language])
        if language == "en" and teacher is not None:
            with torch.no_grad():
                wanted = [teacher([p.question for p in batch]), teacher([p.text for p in batch])]
            away = sum(
                (1 - (ours * theirs).sum(-1)).mean() for ours, theirs in zip((questions, texts), wanted, strict=True)
            )
            losses["kept"] += 0.05 * (float(away.detach()) / 2 - losses["kept"])
            loss = loss + arguments.distillation * away / 2
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 20 == 0:
            shown = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
            speed = step * arguments.batch / (time.monotonic() - started)
            print(f"step {step} loss {shown} {speed:.1f} pairs/s {spent:.0%}", flush=True)
        if time.monotonic() - saved > 300:
            saved = time.monotonic()
            save(model, arguments.out)
    save(model, arguments.out)
    after = None
    if not arguments.quick:
        after = {"en": recall(model, arguments.data, "en"), "zh": recall(model, arguments.data, "zh")}
    notes = {"steps": step, "pairs_seen": step * arguments.batch, "before": before, "after": after}
    (arguments.out / "training.json").write_text(json.dumps(notes, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(notes))


def take_english(transformer: nn.Module, teacher: nn.Module) -> None:
    """The teacher's weights, and its rows of the word embeddings; the rows that it lacks stay as they are."""
    taught = teacher.state_dict()
    with torch.no_grad():
        for name, parameter in transformer.state_dict().items():
            parameter[: len(taught[name])] = taught[name]


def save(model: Bilingual, out: Path) -> None:
    """A folder that sentence-transformers and transformers load: mean pooling, then normalisation."""
    out.mkdir(parents=True, exist_ok=True)
    model.transformer.save_pretrained(out)  # type: ignore[operator]
    model.tokenizer.save_pretrained(out)
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    pooling = out / "1_Pooling"
    pooling.mkdir(exist_ok=True)
    width = model.transformer.config.hidden_size  # type: ignore[union-attr]
    chosen = {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True}
    (pooling / "config.json").write_text(json.dumps(chosen) + "\n", encoding="utf-8")
    (out / "2_Normalize").mkdir(exist_ok=True)
    (out / "modules.json").write_text(json.dumps(modules, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
