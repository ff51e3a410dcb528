"""Extractive question answering: two logits a token; the first token ([CLS]) stands for no answer, as in SQuAD 2.0."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from botkit.data.rows import language_of
from botkit.errors import DataError, ModelError
from botkit.evaluation.metrics import best_over, mean
from botkit.training.recipe import Recipe
from botkit.training.tasks.common import Setup, SourcedRow, load_model, read_sources, shortest_limit, with_dropout

_LONGEST_ANSWER = 60
"""Tokens of a span in validation; the running reader has its own limit."""


def setup(recipe: Recipe, base: Path) -> Setup:
    """Windows of long contexts by stride; F1 on the validation questions is the figure to grow."""
    from transformers import DataCollatorWithPadding

    train, valid = read_sources(recipe.data, "reading", recipe.seed)
    options = with_dropout(recipe.dropout, ("hidden_dropout_prob",))
    model, tokenizer = load_model("AutoModelForQuestionAnswering", base, **options)
    if tokenizer.cls_token_id is None:
        raise ModelError(
            f'{base}: its tokenizer has no [CLS] token, which stands for "no answer" in a reader. Choose an encoder such as BERT '
            "or MiniLM as the base."
        )
    length = shortest_limit(tokenizer, model, recipe.max_length)
    collate = DataCollatorWithPadding(tokenizer)
    learnt, _ = windows(train, tokenizer, length, recipe.stride)
    checked, owners = windows(valid, tokenizer, length, recipe.stride)
    keys = ("input_ids", "token_type_ids", "attention_mask", "start_positions", "end_positions")

    def collator(rows: Sequence[dict[str, Any]]) -> Any:
        return collate([{name: row[name] for name in keys if name in row} for row in rows])

    def metrics(prediction: Any) -> dict[str, float]:
        starts, ends = prediction.predictions[:2]
        return figures(valid, checked, owners, starts, ends)

    answerable = sum(1 for row in train if row.values["answers"])
    return Setup(
        model=model,
        tokenizer=tokenizer,
        train=learnt,
        valid=checked,
        collator=collator,
        metric="f1",
        greater_is_better=True,
        metrics=metrics,
        arguments={"label_names": ["start_positions", "end_positions"], "remove_unused_columns": False},
        facts={"train_rows": len(train), "answerable": answerable, "windows": len(learnt), "valid_rows": len(valid)},
    )


def windows(
    rows: Sequence[SourcedRow], tokenizer: Any, length: int, stride: int
) -> tuple[list[dict[str, Any]], list[int]]:
    """Features of all windows, and for each the number of its row. A window without the whole answer has none."""
    features: list[dict[str, Any]] = []
    owners: list[int] = []
    for begin in range(0, len(rows), 256):
        part = rows[begin : begin + 256]
        try:
            encoded = tokenizer(
                [row.values["question"].strip() for row in part],
                [row.values["context"] for row in part],
                truncation="only_second",
                max_length=length,
                stride=stride,
                return_overflowing_tokens=True,
                return_offsets_mapping=True,
            )
        except Exception as error:  # the tokenizer's own error names no row
            longest = max(part, key=lambda row: len(row.values["question"]))
            raise DataError(
                f"{longest.place}: the question is too long for max_length {length} and stride {stride} ({error})."
            ) from error
        for i, owner in enumerate(encoded["overflow_to_sample_mapping"]):
            sequence, offsets = encoded.sequence_ids(i), encoded["offset_mapping"][i]
            start, end = place(part[owner], offsets, sequence)
            feature = {
                name: encoded[name][i] for name in ("input_ids", "token_type_ids", "attention_mask") if name in encoded
            }
            feature |= {"start_positions": start, "end_positions": end}
            feature["offsets"] = [
                span if part_of == 1 else None for span, part_of in zip(offsets, sequence, strict=True)
            ]
            features.append(feature)
            owners.append(begin + owner)
    return features, owners


def place(row: SourcedRow, offsets: Sequence[tuple[int, int]], sequence: Sequence[int | None]) -> tuple[int, int]:
    """First and last token of the answer in a window; (0, 0) where the window has none or not all of it."""
    if not row.values["answers"]:
        return 0, 0
    answer = row.values["answers"][0]
    start, end = answer["start"], answer["start"] + len(answer["text"])
    inside = [i for i, part in enumerate(sequence) if part == 1]
    if not inside or offsets[inside[0]][0] > start or offsets[inside[-1]][1] < end:
        return 0, 0
    first = next((i for i in inside if offsets[i][1] > start), None)
    last = next((i for i in reversed(inside) if offsets[i][0] < end), None)
    return (0, 0) if first is None or last is None or first > last else (first, last)


def figures(
    rows: Sequence[SourcedRow], features: Sequence[dict[str, Any]], owners: Sequence[int], starts: Any, ends: Any
) -> dict[str, float]:
    """Exact match and F1 as the official scripts count; no answer where that scores above the best span."""
    best: dict[int, tuple[float, str]] = {}
    none: dict[int, float] = {}
    for number, owner in enumerate(owners):
        offsets = features[number]["offsets"]
        width = len(offsets)
        begin, end = np.asarray(starts[number][:width]), np.asarray(ends[number][:width])
        inside = np.array([span is not None for span in offsets])
        null = float(begin[0] + end[0])
        none[owner] = min(none.get(owner, np.inf), null)
        begin, end = np.where(inside, begin, -1e4), np.where(inside, end, -1e4)
        for first in np.argsort(-begin)[:8]:
            stretch = end[first : first + _LONGEST_ANSWER]
            last = int(first + np.argmax(stretch))
            score = float(begin[first] + end[last])
            if offsets[first] and offsets[last] and score > best.get(owner, (-np.inf, ""))[0]:
                context = rows[owner].values["context"]
                best[owner] = (score, context[offsets[first][0] : offsets[last][1]])
    may_decline = any(not row.values["answers"] for row in rows)
    exacts, f1s, kinds = [], [], []
    for owner, row in enumerate(rows):
        score, said = best.get(owner, (-np.inf, ""))
        if may_decline and none[owner] > score:
            said = ""
        golds = [answer["text"] for answer in row.values["answers"]]
        exact, f1 = best_over(golds, said, language_of(row.values, "reading"))
        exacts.append(exact)
        f1s.append(f1)
        kinds.append(bool(golds))
    has = [f1 for f1, kind in zip(f1s, kinds, strict=True) if kind]
    lacks = [f1 for f1, kind in zip(f1s, kinds, strict=True) if not kind]
    found = {"exact": mean(exacts), "f1": mean(f1s)}
    return found | ({"has_answer_f1": mean(has), "no_answer_f1": mean(lacks)} if has and lacks else {})
