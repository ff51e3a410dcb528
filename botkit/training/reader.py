"""Fine-tune an extractive reader: English and Chinese, answerable and unanswerable questions.

    python -m botkit.training.reader --data ../shared/data --base models/minilm-zh --out models/reader

The model is BERT for question answering (Devlin et al. 2019): two logits a token, and the [CLS] position stands for "no
answer" as in SQuAD 2.0 (Rajpurkar et al. 2018). Two things differ from the textbook, because the bot reads several retrieved
passages and not one given paragraph. Contexts are cropped to the passage length the bot uses, at
sentence ends. And questions are also paired with the passages most like their own that do not
answer them, so that the reader learns to decline a good-looking wrong passage.

Several processes, each with its core, share the work: `torchrun --nproc-per-node 2 -m botkit.training.reader …`. Each takes
steps of its own, and every few steps all go on from the mean of their weights (local SGD, Stich 2019, arXiv:1805.09767).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from botkit.messages import LANGUAGES, Language
from botkit.text import coverage, enclosing_sentence, neighbourhood, sentences, terms
from botkit.training.articles import articles
from botkit.training.help_centres import Asked, Passage, help_centres
from botkit.training.small_talk import rows
from botkit.training.unanswerable import altered_question

CROP_CHARACTERS: dict[Language, int] = {"en": 640, "zh": 190}
LONGEST = 320
"""Tokens of question and passage together; the few longer ones are cut."""
AVERAGED_EVERY = 16
"""Steps of each process between two averages of the weights."""


@dataclass(frozen=True)
class Question:
    """A question with one answer's place in its context, or none (`start` is None)."""

    question: str
    context: str
    start: int | None
    end: int
    title: str
    language: Language


def read_questions(path: Path, *, simplify: bool = False) -> list[Question]:
    """Questions of a JSON-lines file; each with its first answer. `simplify` converts to Simplified Chinese."""
    from opencc import OpenCC

    convert = OpenCC("t2s").convert if simplify else None
    language: Language = "zh" if path.name.startswith("zh") else "en"
    found = []
    for row in rows(path):
        question, context = row["question"], row["context"]
        if convert:
            simplified = convert(context)
            if len(simplified) != len(context):
                continue  # offsets would move
            question, context = convert(question), simplified
        if row["answers"]:
            answer = row["answers"][0]
            start, end = answer["start"], answer["start"] + len(answer["text"])
            found.append(Question(question, context, start, end, row["title"], language))
        else:
            found.append(Question(question, context, None, 0, row["title"], language))
    return found


def crop(question: Question, generator: random.Random, limit: int) -> Question:
    """The question with a window of about `limit` characters of its context, cut at sentence ends, that holds the answer."""
    if len(question.context) <= limit:
        return question
    first, last = (question.start, question.end) if question.start is not None else (None, 0)
    if first is None:
        first = last = generator.randrange(len(question.context))
    room = max(0, limit - (last - first))
    left = max(0, min(first - generator.randint(0, room), len(question.context) - limit))
    right = min(len(question.context), left + max(limit, last - left))
    ends = "。！？；" if question.language == "zh" else ".!?"
    cut = left
    if left > 0:
        cut = next(
            (i + 1 for i in range(left, first) if question.context[i - 1 : i] and question.context[i] in ends), left
        )
    context = question.context[cut:right]
    lead = len(context) - len(context.lstrip())
    cut, context = cut + lead, context.strip()
    if question.start is None:
        return Question(question.question, context, None, 0, question.title, question.language)
    return Question(
        question.question, context, question.start - cut, question.end - cut, question.title, question.language
    )


def closer(question: Question, generator: random.Random) -> Question:
    """The question with the sentence that answers it, or shares most words with it, and none or one beside it on either side.

    It is what `botkit.models.reader` sees at its second look.
    """
    context = question.context
    if question.start is None:
        wanted = terms(question.question, question.language)
        shared = {
            place: coverage(wanted, terms(context[slice(*place)], question.language)) for place in sentences(context)
        }
        place = max(shared, key=lambda place: shared[place], default=(0, len(context)))
    else:
        place = question.start, question.end
    left, right = neighbourhood(context, *place, generator.randint(0, 1), generator.randint(0, 1))
    near = replace(question, context=context[left:right])
    return near if question.start is None else replace(near, start=question.start - left, end=question.end - left)


def hard_negatives(questions: Sequence[Question], count: int, generator: random.Random) -> list[Question]:
    """Answerable questions with the most similar passage, of the same title if there is one, that does not hold the answer."""
    by_title: dict[str, list[str]] = defaultdict(list)
    for question in questions:
        if question.context not in by_title[question.title]:
            by_title[question.title].append(question.context)
    everything = sorted({question.context for question in questions})
    bags = {context: terms(context, questions[0].language) for context in everything}
    chosen = []
    for question in generator.sample([q for q in questions if q.start is not None], count):
        assert question.start is not None
        answer = question.context[question.start : question.end]
        pool = [context for context in by_title[question.title] if context != question.context]
        pool += generator.sample(everything, min(40, len(everything)))
        wanted = terms(question.question, question.language)
        rivals = [c for c in pool if answer not in c and c != question.context]
        rivals.sort(key=lambda context: coverage(wanted, bags[context]), reverse=True)
        if rivals:
            picked = rivals[min(int(generator.expovariate(0.7)), len(rivals) - 1)]
            chosen.append(Question(question.question, picked, None, 0, question.title, question.language))
    return chosen


def altered_questions(questions: Sequence[Question], count: int, generator: random.Random) -> list[Question]:
    """English questions with a name, a number or a word changed, beside the passage that answered them before."""
    by_title: dict[str, list[str]] = defaultdict(list)
    for question in questions:
        if question.context not in by_title[question.title]:
            by_title[question.title].append(question.context)
    found: list[Question] = []
    for one in generator.sample(questions, len(questions)) if count else ():
        if len(found) >= count:
            break
        if one.start is None:
            continue
        near = [one.context] if generator.random() < 0.6 else by_title[one.title][:40]
        changed = altered_question(one.question, one.context[one.start : one.end], near, generator)
        if changed:
            found.append(Question(changed, one.context, None, 0, one.title, one.language))
    return found


def help_centre_questions(language: Language, generator: random.Random) -> list[Question]:
    """Questions to help centres: answered, near misses, and asked of another passage of the same organisation."""
    passages = help_centres(language)
    bags = [terms(f"{passage.heading} {passage.text}", language) for passage in passages]
    beside: dict[str, list[int]] = defaultdict(list)
    for number, passage in enumerate(passages):
        beside[passage.organisation].append(number)

    def beside_another(number: int) -> tuple[str, int]:
        """The passage, now and then with another of its organisation before or behind it, and where it begins."""
        text, others = passages[number].text, [n for n in beside[passages[number].organisation] if n != number]
        if not others or generator.random() < 0.6:
            return text, 0
        other = passages[generator.choice(others)].text
        gap = " " if language == "en" else ""
        return (f"{text}{gap}{other}", 0) if generator.random() < 0.5 else (f"{other}{gap}{text}", len(other + gap))

    found = []
    for number, passage in enumerate(passages):
        for asked in passage.asked:
            question = asked.question.lower().rstrip("?？") if generator.random() < 0.2 else asked.question
            context, begin = beside_another(number)
            place = (begin + asked.start, begin + asked.end, passage.organisation, language)
            found.append(Question(question, context, *place))
            if generator.random() < 0.5:
                wanted = terms(asked.question, language)
                rivals = [other for other in beside[passage.organisation] if other != number]
                generator.shuffle(rivals)
                rivals.sort(key=lambda other: coverage(wanted, bags[other]), reverse=True)
                if rivals:
                    other = passages[rivals[min(int(generator.expovariate(0.7)), len(rivals) - 1)]]
                    found.append(Question(question, other.text, None, 0, passage.organisation, language))
        for near in passage.unanswerable:
            found.append(Question(near, beside_another(number)[0], None, 0, passage.organisation, language))  # noqa: PERF401
        found += stored_answers(passage, language, generator)
    return found


def stored_answers(passage: Passage, language: Language, generator: random.Random) -> list[Question]:
    """A question that an answer stored for another one answers too, as in a table of frequent questions, and a near miss.

    The context is what `botkit.decision.passage_for_reader` makes of a stored answer: its question, then the answer. The
    two questions are of one sentence, of the same words of it where there are such.
    """
    together: dict[tuple[int, int], list[Asked]] = defaultdict(list)
    for asked in passage.asked:
        place = enclosing_sentence(passage.text, asked.start, asked.end)
        if place[1] >= asked.end:
            together[place].append(asked)
    several = [(place, group) for place, group in together.items() if len(group) > 1]
    if not several:
        return []
    (start, end), group = generator.choice(several)
    pairs = list(permutations(group, 2))
    same = [(one, other) for one, other in pairs if one.start < other.end and other.start < one.end]
    stored, asked = generator.choice(same or pairs)
    prefix = f"{stored.question} "
    context, move = prefix + passage.text[start:end], len(prefix) - start
    found = [Question(asked.question, context, asked.start + move, asked.end + move, passage.organisation, language)]
    others = [
        *passage.unanswerable,
        *(one.question for place, n in together.items() if place != (start, end) for one in n),
    ]
    if others:
        found.append(Question(generator.choice(others), context, None, 0, passage.organisation, language))
    return found


def article_questions(language: Language) -> list[Question]:
    """Questions about encyclopaedia passages, half of them such that the passage only seems to answer them."""
    found = []
    for passage in articles(language):
        for asked in passage.asked:
            place = (asked.start, asked.end, passage.organisation, language)
            found.append(Question(asked.question, passage.text, *place))
        for near in passage.unanswerable:
            found.append(Question(near, passage.text, None, 0, passage.organisation, language))  # noqa: PERF401
    return found


def mixture(
    data: Path,
    generator: random.Random,
    one_sentence: int = 5_000,
    public: float = 1.0,
    chinese_share: float = 1.0,
    altered: int = 0,
    of_articles: int = 1,
    near: float = 0.0,
) -> Iterator[Question]:
    """One pass over the training questions, cropped, in random order. Another call gives other crops and negatives.

    `public` is the share of the public sets' questions that is drawn, `chinese_share` of the Chinese ones among them;
    those to help centres and about the articles written for botkit are always all there. `altered` SQuAD questions, and half as many short ones, are also there
    changed, so that their passages no longer answer them. The articles' questions are there `of_articles` times. Of all, the
    share `near` is seen with a few sentences only (see `closer`).
    """
    squad = read_questions(data / "qa/squad_train.jsonl.gz")
    chinese = read_questions(data / "qa/zh_cmrc_train.jsonl.gz")
    taiwan = read_questions(data / "qa/zh_drcd_train.jsonl.gz", simplify=True)
    chosen = [*squad, *hard_negatives(squad, 2_000, generator)]
    chosen += read_questions(data / "qa/qed_train.jsonl.gz")
    chosen += generator.sample(read_questions(data / "qa/policyqa_train.jsonl.gz"), 500)
    short = generator.sample(read_questions(data / "qa/qamr_train.jsonl.gz"), one_sentence)
    chosen += [
        *short,
        *altered_questions(squad, altered, generator),
        *altered_questions(short, altered // 2, generator),
    ]
    in_chinese = [*chinese, *generator.sample(taiwan, 3_000)]
    in_chinese += hard_negatives(chinese, 700, generator) + hard_negatives(taiwan, 500, generator)
    # a crop of a long Chinese context that misses the answer is a natural unanswerable question
    for question in generator.sample(chinese, 400):
        away = (question.start or 0) - 260
        if away > 0:
            context = question.context[: away + 60]
            in_chinese.append(Question(question.question, context, None, 0, question.title, question.language))
    chosen += generator.sample(in_chinese, int(len(in_chinese) * chinese_share))
    chosen = generator.sample(chosen, int(len(chosen) * public))
    for language in LANGUAGES:
        chosen += help_centre_questions(language, generator) + of_articles * article_questions(language)
    generator.shuffle(chosen)
    for question in chosen:
        if generator.random() < near:
            yield closer(question, generator)
            continue
        limit = CROP_CHARACTERS[question.language]
        whole = question.language == "en" and generator.random() < 0.2
        yield question if whole else crop(question, generator, int(limit * generator.uniform(0.7, 1.15)))


def batches(
    questions: Sequence[Question],
    tokenizer: Any,
    tokens: int,
    generator: random.Random,
    workers: int = 1,
    worker: int = 0,
) -> Iterator[dict[str, Tensor]]:
    """Padded batches of similar lengths with about `tokens` tokens each, in random order.

    Of several workers with the same random state each gets its own batches, all the same number of them.
    """
    encoded: list[tuple[list[int], list[int], int, int]] = []
    for begin in range(0, len(questions), 512):
        part = questions[begin : begin + 512]
        output = tokenizer(
            [q.question for q in part],
            [q.context for q in part],
            truncation="only_second",
            max_length=LONGEST,
            return_offsets_mapping=True,
            return_token_type_ids=True,
        )
        for i, question in enumerate(part):
            sequence = output.sequence_ids(i)
            start, end = token_span(question, output["offset_mapping"][i], sequence)
            encoded.append((output["input_ids"][i], output["token_type_ids"][i], start, end))
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i][0]) + generator.random() * 12)
    groups: list[list[int]] = [[]]
    for i in order:
        if (len(groups[-1]) + 1) * len(encoded[i][0]) > tokens and groups[-1]:
            groups.append([])
        groups[-1].append(i)
    generator.shuffle(groups)
    for group in groups[worker : len(groups) // workers * workers : workers]:
        width = max(len(encoded[i][0]) for i in group)
        ids = torch.zeros((len(group), width), dtype=torch.long)
        types, mask = torch.zeros_like(ids), torch.zeros_like(ids)
        for row, i in enumerate(group):
            length = len(encoded[i][0])
            ids[row, :length] = torch.tensor(encoded[i][0])
            types[row, :length] = torch.tensor(encoded[i][1])
            mask[row, :length] = 1
        yield {
            "input_ids": ids,
            "token_type_ids": types,
            "attention_mask": mask,
            "start": torch.tensor([encoded[i][2] for i in group]),
            "end": torch.tensor([encoded[i][3] for i in group]),
        }


def token_span(
    question: Question, offsets: Sequence[tuple[int, int]], sequence: Sequence[int | None]
) -> tuple[int, int]:
    """First and last token of the answer, or (0, 0), the [CLS] position, where there is none within reach."""
    if question.start is None:
        return 0, 0
    inside = [i for i, part in enumerate(sequence) if part == 1]
    first = next((i for i in inside if offsets[i][1] > question.start), None)
    last = next((i for i in reversed(inside) if offsets[i][0] < question.end), None)
    if first is None or last is None or first > last or offsets[inside[-1]][1] < question.end:
        return 0, 0
    return first, last


def averaging(model: nn.Module) -> Any:
    """Let the processes begin with the same weights; what averages these, called after every step, every `AVERAGED_EVERY` steps."""
    from torch.distributed.algorithms.model_averaging.averagers import PeriodicModelAverager

    for parameter in model.parameters():
        torch.distributed.broadcast(parameter.data, 0)
    return PeriodicModelAverager(AVERAGED_EVERY, AVERAGED_EVERY - 1)


def main() -> None:
    """Train, reporting loss and speed; save a folder that `from_pretrained` loads, then report on validation data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with qa/")
    parser.add_argument("--base", required=True, help="folder or hub id of the encoder to start from")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--passes", type=float, default=2.0, help="passes over the mixture")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop, fully decayed, after so long")
    parser.add_argument("--tokens", type=int, default=2_600, help="tokens in a batch")
    parser.add_argument("--rate", type=float, default=1.5e-4, help="peak learning rate")
    parser.add_argument("--warm-up", type=float, default=0.06, help="share of the training with a rising rate")
    parser.add_argument("--last-rate", type=float, default=0.0, help="learning rate at the end, as a share of the peak")
    parser.add_argument("--one-sentence", type=int, default=5_000, help="QAMR questions in a pass")
    parser.add_argument("--public", type=float, default=1.0, help="share of the public sets' questions in a pass")
    parser.add_argument("--chinese", type=float, default=1.0, help="share of the Chinese ones among them")
    parser.add_argument("--altered", type=int, default=0, help="questions in a pass that are changed to have no answer")
    parser.add_argument("--articles", type=int, default=1, help="times that the articles' questions are in a pass")
    parser.add_argument("--near", type=float, default=0.0, help="share of questions that see a few sentences only")
    parser.add_argument("--dropout", type=float, help="share of each layer's outputs, by default as the base has it")
    parser.add_argument("--freeze-words", action="store_true", help="leave the word embeddings as they are")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    workers, worker = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if workers > 1:
        torch.distributed.init_process_group("gloo")
    torch.manual_seed(arguments.seed)
    generator = random.Random(arguments.seed)
    tokenizer = AutoTokenizer.from_pretrained(arguments.base)
    # On CPUs the backward pass of the fused attention ("sdpa") takes 30 % of a step, the plain one's 10 %, in bfloat16 with
    # heads of 32 dimensions; the plain one is only slower with dropout on the attention weights, so there is none.
    model = AutoModelForQuestionAnswering.from_pretrained(
        arguments.base,
        attn_implementation="eager",
        attention_probs_dropout_prob=0.0,
        **({} if arguments.dropout is None else {"hidden_dropout_prob": arguments.dropout}),
    )
    if arguments.freeze_words:
        model.get_input_embeddings().requires_grad_(False)
    decayed = [p for n, p in model.named_parameters() if p.ndim > 1 and "embeddings" not in n]
    kept = [p for n, p in model.named_parameters() if (p.ndim <= 1 or "embeddings" in n) and p.requires_grad]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.01}, {"params": kept, "weight_decay": 0.0}],
        lr=arguments.rate,
        fused=True,
    )
    state_file = arguments.out / "training_state.pt"
    done = spent_before = 0.0
    arguments.out.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(arguments.out)
    if state_file.exists():
        state = torch.load(state_file)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        done, spent_before = state["done"], state["spent"]
        generator.seed(arguments.seed + int(done * 1000))
        print(f"resuming after {done:.2f} passes", flush=True)

    averager, every = (averaging(model), AVERAGED_EVERY) if workers > 1 else (None, 1)
    torch.manual_seed(arguments.seed + worker)  # each process drops other outputs
    started = saved = time.monotonic()
    step = seen = 0
    losses: list[float] = []
    model.train()
    progress = 0.0
    while progress < 1:
        questions = list(
            mixture(
                arguments.data,
                generator,
                arguments.one_sentence,
                arguments.public,
                arguments.chinese,
                arguments.altered,
                arguments.articles,
                arguments.near,
            )
        )
        for batch in batches(questions, tokenizer, arguments.tokens, generator, workers, worker):
            spent = spent_before + (time.monotonic() - started) / 60
            if step % every == 0:
                progress = max(done / arguments.passes, spent / arguments.minutes)
                if workers > 1:  # one clock for all, so that they end at the same step
                    clock = torch.tensor([progress], dtype=torch.float64)
                    torch.distributed.broadcast(clock, 0)
                    progress = clock.item()
                if progress >= 1:
                    break
            decay = 1 - progress * (1 - arguments.last_rate)
            rate = arguments.rate * min(1.0, progress / arguments.warm_up + 0.01) * decay
            for group in optimizer.param_groups:
                group["lr"] = rate
            start, end = batch.pop("start"), batch.pop("end")
            with torch.autocast("cpu", torch.bfloat16):
                output = model(**batch)
            hidden = batch["attention_mask"] == 0
            first = output.start_logits.float().masked_fill(hidden, -1e4)
            last = output.end_logits.float().masked_fill(hidden, -1e4)
            loss = (nn.functional.cross_entropy(first, start) + nn.functional.cross_entropy(last, end)) / 2
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            if averager:
                averager.average_parameters(model.parameters())
            step, seen, done = step + 1, seen + len(start) * workers, done + len(start) * workers / len(questions)
            losses.append(loss.item())
            if step % 50 == 0 and worker == 0:
                speed = seen / (time.monotonic() - started)
                print(
                    f"step {step} passes {done:.2f} loss {np.mean(losses[-50:]):.3f} rate {rate:.2e} "
                    f"{speed:.1f} examples/s {spent:.1f} min {progress:.0%}",
                    flush=True,
                )
            if time.monotonic() - saved > 300 and worker == 0 and step % every == 0:
                saved = time.monotonic()
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "done": done, "spent": spent}
                torch.save(state, state_file.with_suffix(".new"))
                state_file.with_suffix(".new").replace(state_file)
                model.save_pretrained(arguments.out)
    if worker:
        return
    model.save_pretrained(arguments.out)
    notes = {"passes": round(done, 3), "steps": step, "final_loss": float(np.mean(losses[-200:]))}
    (arguments.out / "training.json").write_text(json.dumps(notes, indent=1) + "\n", encoding="utf-8")
    state_file.unlink(missing_ok=True)
    print(json.dumps(notes))


if __name__ == "__main__":
    main()
