"""Small pre-trained-looking models, made here: no hub is needed to test training."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from tests.models.tiny import bert_tokenizer


def tiny_bert(folder: Path, width: int = 32, layers: int = 2) -> Path:
    """A BERT of random weights, with a tokenizer that can spell ASCII words."""
    tokenizer = bert_tokenizer()
    fast: Any = PreTrainedTokenizerFast
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    fast(tokenizer_object=tokenizer, model_max_length=128, **special).save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=128, **shape)).save_pretrained(
        folder
    )
    return folder


def write_rows(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


def tones(file: Path, count: int = 48, seed: int = 0) -> Path:
    """Texts whose label is told by one word."""
    generator = random.Random(seed)
    words = "the river is long it run".split()
    rows = []
    for number in range(count):
        label = ("negative", "positive")[number % 2]
        said = [generator.choice(words) for _ in range(4)]
        said.insert(generator.randrange(5), {"negative": "bad", "positive": "good"}[label])
        rows.append({"text": f"{' '.join(said)} {number}", "label": label})
    return write_rows(file, rows)


def questions(file: Path, count: int = 24) -> Path:
    """Questions whose answer is the number beside the letter that they ask for; one in four has none."""
    rows = []
    for number in range(count):
        letter, other = "abcdefghijkl"[number % 12], "mnopqrstuvwx"[number % 12]
        context = f"the river {letter} is {number} long. the river {other} is {number + 7} long."
        asked = letter if number % 4 else "z"
        start = context.index(str(number))
        answers = [{"text": str(number), "start": start}] if number % 4 else []
        rows.append({"title": f"t{number % 6}", "question": f"who is {asked}?", "context": context, "answers": answers})
    return write_rows(file, rows)
