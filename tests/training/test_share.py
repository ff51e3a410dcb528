from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra torch")

from botkit.errors import ModelError
from botkit.models.encoder import OnnxEncoder
from botkit.models.manifest import check_digest, read_manifest
from botkit.training.export import export
from botkit.training.restore import weights
from botkit.training.share import FILE, share
from tests.training.tiny_models import tiny_bert

TEXTS = ["the river is long", "who founded it in 1851"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("share")
    for name, width in (("first", 32), ("other", 64)):
        export("encoder", tiny_bert(folder / "bert" / name, width=width), folder / name, progress=lambda _: None)
    shutil.copytree(folder / "first", folder / "second")
    return folder


@pytest.fixture
def models(exported: Path, tmp_path: Path) -> Path:
    shutil.copytree(exported, tmp_path / "models")
    return tmp_path / "models"


def test_models_that_share_say_the_same_as_before(models: Path) -> None:
    before = OnnxEncoder(models / "first").encode(TEXTS)
    plain = weights(models / "first" / "model.onnx")
    sizes = [(models / name / "model.onnx").stat().st_size for name in ("first", "second")]
    file = share([models / "first", models / "second"])
    assert file == models / FILE
    for name, size in zip(("first", "second"), sizes, strict=True):
        assert (models / name / "model.onnx").stat().st_size < size - file.stat().st_size + 500
        np.testing.assert_array_equal(OnnxEncoder(models / name).encode(TEXTS), before)
        check_digest(models / name)
    told = read_manifest(models / "first")
    assert share([models / "first", models / "second"]) == file
    assert read_manifest(models / "first") == told, "what is shared already stays"
    again = weights(models / "second" / "model.onnx", file)
    assert list(again) == list(plain)
    for name, values in plain.items():
        np.testing.assert_array_equal(again[name], values)


def test_other_words_are_not_shared_and_nothing_is_changed(models: Path) -> None:
    before = [(models / name / "model.onnx").read_bytes() for name in ("first", "other")]
    with pytest.raises(ModelError, match="other: its word embeddings are others"):
        share([models / "first", models / "other"])
    assert [(models / name / "model.onnx").read_bytes() for name in ("first", "other")] == before
    assert not (models / FILE).exists()


def test_a_model_that_was_copied_without_what_it_shares_says_so(models: Path) -> None:
    file = share([models / "first", models / "second"])
    (models / "apart").mkdir()
    shutil.copytree(models / "first", models / "apart" / "first")
    with pytest.raises(ModelError, match=r"words\.bin: no such file; it holds weights that .*first shares"):
        OnnxEncoder(models / "apart" / "first")
    with file.open("r+b") as words:
        words.write(b"\x01\x02\x03")
    with pytest.raises(ModelError, match=r"words\.bin: the digest is .*damaged or was exchanged"):
        check_digest(models / "first")


def test_words_in_four_bits_are_shared_by_models_that_lie_in_different_folders(models: Path) -> None:
    source = models / "bert" / "first"
    folders = [models / "first" / "english", models / "second" / "english"]
    for folder in folders:
        export("encoder", source, folder, word_bits=4, progress=lambda _: None)
    before, size = OnnxEncoder(folders[0]).encode(TEXTS), (folders[0] / "model.onnx").stat().st_size
    plain = weights(folders[0] / "model.onnx")
    file = share(folders, models / "english.bin")
    assert read_manifest(folders[1]).shared_file(folders[1]) == file == models.resolve() / "english.bin"
    for folder in folders:
        assert (folder / "model.onnx").stat().st_size < size - file.stat().st_size + 4096 + 500
        np.testing.assert_array_equal(OnnxEncoder(folder).encode(TEXTS), before)
        check_digest(folder)
    again = weights(folders[1] / "model.onnx", file)
    assert list(again) == list(plain)
    for name, values in plain.items():
        np.testing.assert_array_equal(again[name], values)


def test_a_model_without_words_in_bits_is_told(models: Path) -> None:
    export(
        "encoder", models / "bert" / "first", models / "float", keep_float=["word_embeddings"], progress=lambda _: None
    )
    with pytest.raises(ModelError, match="float: has no word embeddings in 8 or 4 bits"):
        share([models / "first", models / "float"])
