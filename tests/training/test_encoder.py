from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra torch")

from botkit.training.encoder import Bilingual, Pair, batches, contrast, save, take_english  # noqa: E402
from tests.training.data import tiny_bert  # noqa: E402


def test_the_loss_is_least_where_each_question_is_nearest_to_its_own_text() -> None:
    pairs = [Pair(f"question {n}", f"text {n}", "Shop", f"answer {n}") for n in range(4)]
    vectors = torch.eye(4)

    right = contrast(vectors, vectors, pairs)
    wrong = contrast(vectors, vectors.roll(1, 0), pairs)

    assert right < 0.01 < 10 < wrong


def test_texts_with_the_same_answer_do_not_repel_each_other() -> None:
    vectors = torch.nn.functional.normalize(torch.ones((2, 4)), dim=-1)
    same = [Pair("a", "text a", "Shop", "ten"), Pair("b", "text b", "Shop", "ten")]
    other = [Pair("a", "text a", "Shop", "ten"), Pair("b", "text b", "Shop", "nine")]

    assert contrast(vectors, vectors, same) < 1e-3
    assert contrast(vectors, vectors, other) == pytest.approx(0.693, abs=1e-3)


def test_half_of_the_batches_are_of_one_document() -> None:
    pairs = [Pair(f"q{n}", f"t{n}", f"document {n % 10}", str(n)) for n in range(800)]

    groups = list(batches(pairs, 8, random.Random(1)))

    alike = [Counter(pair.document for pair in group).most_common(1)[0][1] for group in groups]
    assert all(len(group) == 8 for group in groups)
    assert 0.35 < sum(most >= 5 for most in alike) / len(groups) < 0.65


def test_a_saved_encoder_is_loaded_by_sentence_transformers_with_the_same_vectors(tmp_path: Path) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from transformers import AutoModel, AutoTokenizer

    base = tiny_bert(tmp_path / "base")
    model = Bilingual(AutoModel.from_pretrained(base), AutoTokenizer.from_pretrained(base)).eval()
    save(model, tmp_path / "out")

    texts = ["the lamp costs nine euros", "who"]
    loaded = sentence_transformers.SentenceTransformer(str(tmp_path / "out"), device="cpu")

    assert torch.allclose(torch.tensor(loaded.encode(texts)), model.encode(texts), atol=0.02)


def test_english_weights_are_taken_and_the_further_rows_of_the_vocabulary_kept(tmp_path: Path) -> None:
    from transformers import AutoModel

    base = tiny_bert(tmp_path / "base")
    teacher, pupil = AutoModel.from_pretrained(base), AutoModel.from_pretrained(base)
    pupil.resize_token_embeddings(40)
    with torch.no_grad():
        for parameter in pupil.parameters():
            parameter.fill_(7.0)

    take_english(pupil, teacher)

    words = teacher.get_input_embeddings().weight
    assert torch.equal(pupil.get_input_embeddings().weight[: len(words)], words)
    assert (pupil.get_input_embeddings().weight[len(words) :] == 7.0).all()
    assert torch.equal(pupil.encoder.layer[0].output.dense.weight, teacher.encoder.layer[0].output.dense.weight)
