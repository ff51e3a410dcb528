from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra torch")

from botkit.errors import ModelError  # noqa: E402
from botkit.training.bilingual_base import (  # noqa: E402
    SPECIAL,
    Base,
    is_basic,
    kept_pieces,
    read_packed,
    read_pretrained,
    save,
    tokenizer_of,
    unpack_blocks,
)

WIDTH, INNER, POSITIONS = 32, 64, 16
WORDS = ["▁", "▁ship", "▁shipping", "ping", "运", "运费", "费", ",", "ю", "ıǩ", "s", "h", "i", "p"]
PIECES = [*((piece, 0.0) for piece in SPECIAL), *((word, -float(n + 2)) for n, word in enumerate(WORDS))]


def packed_blocks(values: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Values in Q4_0, and what they are worth there."""
    packed, worth = b"", []
    for block in values.reshape(-1, 32).astype(np.float32):
        scale = np.float16(np.abs(block).max() / 7)
        whole = np.clip(np.round(block / np.float32(scale)) + 8, 0, 15).astype(np.uint8)
        packed += scale.tobytes() + (whole[:16] | whole[16:] << 4).astype(np.uint8).tobytes()
        worth.append((whole.astype(np.float32) - 8) * np.float32(scale))
    return packed, np.concatenate(worth)


def packed_file(path: Path) -> tuple[str, dict[str, np.ndarray]]:
    """A one-layer model in the packed form; its digest, and its weights as they are worth there."""
    generator = np.random.default_rng(1)
    square, wide = (WIDTH, WIDTH), (INNER, WIDTH)
    shapes = {"emb.word": (len(PIECES), WIDTH), "emb.pos": (POSITIONS, WIDTH), "emb.type": (2, WIDTH)}
    shapes |= {"emb.ln.w": (WIDTH,), "emb.ln.b": (WIDTH,)}
    layer = {"q": square, "k": square, "v": square, "ao": square, "aln": (WIDTH,)}
    layer |= {"fi": wide, "fo": (WIDTH, INNER), "oln": (WIDTH,)}
    for name, shape in layer.items():
        shapes |= {f"l0.{name}.w": shape, f"l0.{name}.b": shape[:1]}
    in_blocks = {"emb.word", *(f"l0.{name}.w" for name in ("q", "k", "v", "ao", "fi", "fo"))}
    blob, ends = b"", [0]
    for piece, _ in PIECES:
        blob += piece.encode()
        ends.append(len(blob))
    head = b"E5S1" + struct.pack("<I7i", 1, WIDTH, 1, 2, INNER, len(PIECES), POSITIONS, 2)
    head += struct.pack("<f2i4i", 1e-12, 32, len(PIECES), 0, 2, 1, 3) + struct.pack("<Q", len(blob))
    head += np.array(ends, "<u4").tobytes() + np.array([score for _, score in PIECES], "<f4").tobytes() + blob
    head += struct.pack("<iI", 1, 9) + bytes(9) + struct.pack("<i", len(shapes))
    begin = len(head) + sum(2 + len(name) + struct.calcsize("<BIQQ") for name in shapes)
    body, worth = b"", {}
    for name, shape in shapes.items():
        values = generator.normal(size=shape).astype(np.float32)
        raw, worth[name] = packed_blocks(values) if name in in_blocks else (values.tobytes(), values)
        head += struct.pack("<H", len(name)) + name.encode()
        head += struct.pack("<BIQQ", int(name in in_blocks), values.size, begin + len(body), len(raw))
        body += raw
    path.write_bytes(head + body)
    return hashlib.sha256(head + body).hexdigest(), worth


def test_a_packed_file_becomes_a_model_with_the_same_weights(tmp_path: Path) -> None:
    digest, worth = packed_file(tmp_path / "model.bin")

    base = read_packed(tmp_path / "model.bin", digest)
    save(base, range(len(PIECES)), tmp_path / "model")

    from transformers import AutoModel

    state = AutoModel.from_pretrained(tmp_path / "model").state_dict()
    words = state["embeddings.word_embeddings.weight"].numpy()
    outward = state["encoder.layer.0.output.dense.weight"].numpy()
    assert base.pieces == PIECES
    assert np.array_equal(words, worth["emb.word"].reshape(len(PIECES), WIDTH))
    assert np.array_equal(outward, worth["l0.fo.w"].reshape(WIDTH, INNER))
    assert np.array_equal(state["encoder.layer.0.attention.self.key.bias"].numpy(), worth["l0.k.b"])


def test_another_file_is_refused(tmp_path: Path) -> None:
    digest, _ = packed_file(tmp_path / "model.bin")
    (tmp_path / "model.bin").write_bytes((tmp_path / "model.bin").read_bytes()[:-1] + b"x")

    with pytest.raises(ModelError, match="not the file this was written for"):
        read_packed(tmp_path / "model.bin", digest)


def test_four_bits_are_unpacked_with_the_scale_of_their_block() -> None:
    raw = np.float16(0.5).tobytes() + bytes(range(16))

    values = unpack_blocks(raw)

    assert values[:3].tolist() == [-4.0, -3.5, -3.0]
    assert values[16:].tolist() == [-4.0] * 16


def test_what_is_kept_gives_the_same_vectors_for_text_it_can_spell(tmp_path: Path) -> None:
    digest, _ = packed_file(tmp_path / "model.bin")
    whole = read_packed(tmp_path / "model.bin", digest)
    kept, covered = kept_pieces(whole.pieces, ["shipping", "运费, shipping"], len(PIECES) - 3)
    save(whole, range(len(PIECES)), tmp_path / "whole")
    save(whole, kept, tmp_path / "part")

    from transformers import AutoModel, AutoTokenizer

    def hidden(folder: Path) -> torch.Tensor:
        inputs = AutoTokenizer.from_pretrained(folder)("运费, shipping", return_tensors="pt")
        with torch.no_grad():
            found: torch.Tensor = AutoModel.from_pretrained(folder).eval()(**inputs).last_hidden_state
        return found

    assert covered == 1.0
    assert len(kept) == len(PIECES) - 3
    assert torch.equal(hidden(tmp_path / "whole"), hidden(tmp_path / "part"))


def test_a_folder_serves_as_the_base_too(tmp_path: Path) -> None:
    digest, _ = packed_file(tmp_path / "model.bin")
    packed = read_packed(tmp_path / "model.bin", digest)
    save(packed, range(len(PIECES)), tmp_path / "model")

    base = read_pretrained(str(tmp_path / "model"))

    assert isinstance(base, Base)
    assert [piece for piece, _ in base.pieces] == [piece for piece, _ in PIECES]
    assert base.sizes == pytest.approx(packed.sizes)
    with pytest.raises(ModelError, match="cannot load it"):
        read_pretrained(str(tmp_path / "none"))


def test_offsets_point_into_the_text_as_it_was_written() -> None:
    text = "ｓhip,运费"
    encoding = tokenizer_of(PIECES).encode(text)

    spelled = [text[start:end] for start, end in encoding.offsets if end > start]

    assert "".join(spelled) == text
    assert spelled[-1] == "运费"


@pytest.mark.parametrize(("piece", "basic"), [("运", True), ("▁ю", True), ("龘", False), ("ab", False), ("▁", True)])
def test_single_characters_of_both_languages_are_basic(piece: str, basic: bool) -> None:
    assert is_basic(piece) is basic
