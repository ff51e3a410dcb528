from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from botkit.models import Encoder
from botkit.models.encoder import OnnxEncoder, SentenceTransformerEncoder
from botkit.models.registry import BUILTIN_FOLDER
from botkit.models.vectors import common_columns, cosines, without_companions

from .tiny import TinyModel, bert_tokenizer, make_encoder


def test_vectors_are_what_the_graph_says_in_the_order_of_the_texts(tiny_encoder: TinyModel) -> None:
    encoder = OnnxEncoder(tiny_encoder.folder)
    texts = ["the river is long", "good", "who founded it 1851", "", "北京大学"]
    vectors = encoder.encode(texts)
    assert isinstance(encoder, Encoder)
    assert vectors.shape == (5, 8)
    assert vectors.dtype == np.float32
    for text, vector in zip(texts, vectors, strict=True):
        mean = tiny_encoder.table[bert_tokenizer().encode(text).ids].mean(axis=0)
        assert np.allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)


def test_more_texts_than_a_batch_keep_their_order(tiny_encoder: TinyModel) -> None:
    encoder = OnnxEncoder(tiny_encoder.folder)
    texts = [f"{number} {'the river ' * (number % 5)}" for number in range(600)]
    together = encoder.encode(texts)
    alone = np.concatenate([encoder.encode([text]) for text in texts[::97]])
    assert np.allclose(together[::97], alone, atol=1e-6)


def test_a_long_text_counts_with_its_first_tokens(tmp_path: Path) -> None:
    encoder = OnnxEncoder(make_encoder(tmp_path / "encoder", max_length=6).folder)
    assert np.allclose(
        encoder.encode(["the river is long good bad"]), encoder.encode(["the river is long " + "x" * 9999])
    )


def test_no_texts_give_no_vectors(tiny_encoder: TinyModel) -> None:
    assert OnnxEncoder(tiny_encoder.folder).encode([]).shape == (0, 8)


def test_the_name_changes_with_the_weights(tmp_path: Path) -> None:
    first, second, again = (make_encoder(tmp_path / str(i), seed=seed) for i, seed in enumerate((1, 2, 1)))
    assert OnnxEncoder(first.folder).name == OnnxEncoder(again.folder).name
    assert OnnxEncoder(first.folder).name != OnnxEncoder(second.folder).name


def test_the_built_in_encoder_puts_like_meanings_together() -> None:
    encoder = OnnxEncoder(BUILTIN_FOLDER / "encoder")
    vectors = encoder.encode(["How do I send a parcel back?", "Returning an item", "The moon orbits the earth."])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


def test_an_embedding_does_not_depend_on_the_texts_beside_it() -> None:
    texts = ["How do I send a parcel back?", "Returning an item", "Deliveries take three to five working days. " * 9]
    encoder = OnnxEncoder(BUILTIN_FOLDER / "encoder", threads=2)
    together = encoder.encode(texts)
    assert all(np.array_equal(encoder.encode([text])[0], vector) for text, vector in zip(texts, together, strict=True))


def test_a_sentence_transformers_folder_gives_normalised_vectors(tmp_path: Path, bert_encoder_folder: Path) -> None:
    pytest.importorskip("sentence_transformers")
    encoder = SentenceTransformerEncoder(bert_encoder_folder)
    vectors = encoder.encode(["the river", "who founded it"])
    assert vectors.shape == (2, encoder.dimension)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert encoder.encode([]).shape == (0, encoder.dimension)


def accompanied(tmp_path: Path, *, seed: int = 7, **facts: Any) -> Path:
    """An encoder with a companion for English, twice as wide."""
    folder = make_encoder(tmp_path / "both").folder
    make_encoder(folder / "english", seed=seed, dimension=16)
    manifest = json.loads((folder / "botkit.json").read_text()) | {"companions": {"en": "english"}} | facts
    (folder / "botkit.json").write_text(json.dumps(manifest))
    return folder


def test_the_cosine_of_texts_in_a_companions_language_is_the_mean_of_both_encoders(tmp_path: Path) -> None:
    folder = accompanied(tmp_path, companion_share=0.25)
    both, alone, english = (
        OnnxEncoder(folder),
        OnnxEncoder(make_encoder(tmp_path / "alone").folder),
        OnnxEncoder(folder / "english"),
    )
    texts = ["the river is long", "大学", "who founded it", "北京大学"]
    vectors, first = both.encode(texts), alone.encode(texts)
    assert vectors.shape == (4, both.dimension) == (4, 8 + 16)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4))
    second = english.encode(texts)
    assert vectors[0] @ vectors[2] == pytest.approx(0.75 * first[0] @ first[2] + 0.25 * second[0] @ second[2])
    assert vectors[1] @ vectors[3] == pytest.approx(first[1] @ first[3])
    assert vectors[0] @ vectors[1] == pytest.approx(math.sqrt(0.75) * first[0] @ first[1])
    assert both.encode([]).shape == (0, 24)
    assert both.encode(["大学"])[0, 8:] == pytest.approx(np.zeros(16))


def test_vectors_with_another_companion_or_share_do_not_mix(tmp_path: Path) -> None:
    folder = accompanied(tmp_path)
    name = OnnxEncoder(folder).name
    assert OnnxEncoder(accompanied(tmp_path / "less", companion_share=0.25)).name != name
    assert OnnxEncoder(make_encoder(tmp_path / "alone").folder).name != name
    assert OnnxEncoder(accompanied(tmp_path / "other", seed=8)).name != name
    assert OnnxEncoder(accompanied(tmp_path / "again")).name == name


def test_a_question_without_a_companion_is_compared_as_the_encoder_alone_has_it(tmp_path: Path) -> None:
    both, alone = OnnxEncoder(accompanied(tmp_path)), OnnxEncoder(make_encoder(tmp_path / "alone").folder)
    texts = ["the 1851", "北京大学", "who founded it"]
    found = cosines(both.encode(texts), both.encode(["大学"])[0], common_columns(both))
    assert found == pytest.approx(alone.encode(texts) @ alone.encode(["大学"])[0], abs=1e-6)
    english = both.encode(["who founded it"])[0]
    assert cosines(both.encode(texts), english, common_columns(both)) == pytest.approx(both.encode(texts) @ english)
    assert without_companions(english, common_columns(both))[:8] == pytest.approx(alone.encode(["who founded it"])[0])
    assert common_columns(alone) == alone.dimension
    assert cosines(alone.encode(texts), alone.encode(["大学"])[0], 8) == pytest.approx(
        alone.encode(texts) @ alone.encode(["大学"])[0]
    )
