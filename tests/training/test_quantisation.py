from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file

from botkit.cli import main
from botkit.config import load_settings
from botkit.errors import DataError, ModelError
from botkit.models.encoder import OnnxEncoder
from botkit.training.export import calibration_samples, export
from botkit.training.quantisation import FORMS, export_measured
from botkit.training.recipe import load_recipe
from botkit.training.restore import restore, weights
from botkit.training.run import train
from botkit.training.word_blocks import from_blocks, round_words, to_blocks
from tests.training.tiny_models import questions, tiny_bert, tones, write_rows


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    recipe = load_recipe(
        "classifier",
        None,
        {
            "data.train": [str(tones(folder / "t.jsonl", 96))],
            "epochs": 14,
            "learning_rate": 3e-3,
            "precision": "float32",
        },
        ["early_stopping=null"],
    )
    return train(recipe, tiny_bert(folder / "bert"), folder / "out").folder


def test_the_smallest_form_that_loses_little_is_kept(classifier: Path, tmp_path: Path) -> None:
    data = tones(tmp_path / "v.jsonl", 30, seed=5)
    settings = load_settings(None, tmp_path / "home")
    plain, tried = export_measured(
        "sentiment", classifier, tmp_path / "out", settings, data, most=0.5, say=lambda _: None
    )
    assert plain > 0.8
    assert [one.form for one in tried] == ["int8"]
    assert tried[0].loss == pytest.approx(plain - tried[0].figure)
    _, tried = export_measured("sentiment", classifier, tmp_path / "o2", settings, data, most=-1, say=lambda _: None)
    assert [one.form for one in tried] == [form for form, _ in FORMS], "none loses so little, all were tried"
    assert tried[-1].loss == pytest.approx(0, abs=0.02)


def test_the_command_tells_the_loss(classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tones(tmp_path / "v.jsonl", 30, seed=5)
    arguments = [
        "--model",
        classifier,
        "--out",
        tmp_path / "int8",
        "--data",
        data,
        "--most",
        "0.5",
        "--home",
        tmp_path / "home",
    ]
    with pytest.raises(SystemExit) as ended:
        main(["models", "export", "classifier", *(str(one) for one in arguments), "--json"])
    assert not ended.value.code
    told = json.loads(capsys.readouterr().out)
    assert told["figure"] == "macro_f1"
    assert told["loss"] == pytest.approx(told["float"] - told["forms"][-1]["figure"])
    assert (tmp_path / "int8" / "model.onnx").stat().st_size == pytest.approx(told["int8_bytes"], rel=0.5)


def test_data_that_does_not_suit(classifier: Path, tmp_path: Path) -> None:
    settings = load_settings(None, tmp_path / "home")
    with pytest.raises(DataError):
        export_measured(
            "sentiment", classifier, tmp_path / "o", settings, questions(tmp_path / "q.jsonl"), say=lambda _: None
        )
    assert not (tmp_path / "o").exists()


def test_generate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def generate(*arguments: str) -> dict[str, object]:
        with pytest.raises(SystemExit) as ended:
            main(["generate", *arguments, "--json", "--home", str(tmp_path)])
        assert not ended.value.code
        found: dict[str, object] = json.loads(capsys.readouterr().out)
        return found

    assert (
        generate("How are you?", "--chat", "--temperature", "0")["texts"]
        == generate("How are you?", "--chat", "--temperature", "0")["texts"]
    )
    two = generate("Hello there", "--seed", "1", "--count", "2", "--temperature", "2", "--top-k", "0", "--top-p", "1")
    assert two == generate(
        "Hello there", "--seed", "1", "--count", "2", "--temperature", "2", "--top-k", "0", "--top-p", "1"
    )
    assert len(set(map(str, two["texts"]))) == 2  # type: ignore[call-overload]
    short = generate("Hello there", "--seed", "1", "--max-length", "2", "--temperature", "2")["texts"]
    assert len(str(short[0])) < 30  # type: ignore[index]


def test_models_from_nothing_can_talk_and_continue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"turns": ["hi", "hello"]}, {"turns": ["bye", "see you"]}] * 10
    data = write_rows(tmp_path / "d.jsonl", rows)
    for architecture in ("transformer", "gru"):
        recipe = load_recipe(
            "generator",
            None,
            {
                "data.train": [str(data)],
                "base": "scratch",
                "epochs": 30,
                "learning_rate": 1e-2,
                "max_length": 64,
                "stride": 8,
            },
            ["scratch.vocabulary=300", "scratch.width=32", "scratch.layers=1", f"scratch.architecture={architecture}"],
        )
        made = train(recipe, None, tmp_path / architecture)
        for arguments, said in ((("bye", "--chat"), "see you"), (("<|friendly|><|user|>hi<|bot|>",), "hello")):
            with pytest.raises(SystemExit) as ended:
                main(
                    [
                        "generate",
                        *arguments,
                        "--model",
                        str(made.folder),
                        "--temperature",
                        "0",
                        "--json",
                        "--home",
                        str(tmp_path),
                    ]
                )
            assert not ended.value.code
            assert json.loads(capsys.readouterr().out)["texts"] == [said], architecture


def test_scales_of_activations_may_be_fixed_from_rows(classifier: Path, tmp_path: Path) -> None:
    data = tones(tmp_path / "v.jsonl", 30, seed=5)
    settings = load_settings(None, tmp_path / "home")
    _, tried = export_measured(
        "classifier", classifier, tmp_path / "out", settings, data, calibrate=data, most=1, say=lambda _: None
    )
    assert [one.form for one in tried] == ["as asked"]
    assert tried[0].loss < 0.2
    kinds = {node.op_type for node in onnx.load(str(tmp_path / "out" / "model.onnx")).graph.node}
    assert "QuantizeLinear" in kinds
    assert "DynamicQuantizeLinear" not in kinds


def test_a_scale_for_each_layer_instead_of_each_output(classifier: Path, tmp_path: Path) -> None:
    def scales(per_channel: bool) -> list[int]:
        folder = tmp_path / str(per_channel)
        export("classifier", classifier, folder, per_channel=per_channel, progress=lambda _: None)
        stored = onnx.load(str(folder / "model.onnx")).graph.initializer
        return [len(one.dims) for one in stored if one.name.endswith("_scale")]

    assert sum(scales(True)) > sum(scales(False))


def test_a_generator_is_not_quantised_statically(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Leave --static out"):
        calibration_samples("generator", tmp_path / "d.jsonl", tmp_path / "t.json", ["input_ids"], 16)


def test_products_left_in_floating_point_keep_their_weights_in_eight_bits(classifier: Path, tmp_path: Path) -> None:
    from onnx import numpy_helper

    from botkit.models.classifier import TextClassifier
    from botkit.training import export as module

    texts = ["what a fine day", "this is bad", "the lamp costs nine euros"]
    plain = TextClassifier.transformers(classifier).probabilities(texts)
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(module, "_LARGE", 100)  # tiny models have no large matrices
    try:
        export("sentiment", str(classifier), tmp_path / "int8", keep_float=["layer."])
    finally:
        monkeypatch.undo()

    stored = {
        one.name: numpy_helper.to_array(one) for one in onnx.load(str(tmp_path / "int8/model.onnx")).graph.initializer
    }
    narrow = [name for name, values in stored.items() if name.endswith("_narrow") and values.dtype == np.int8]
    assert len(narrow) >= 6
    assert not [
        name for name, values in stored.items() if values.dtype == np.float32 and values.ndim == 2 and values.size > 100
    ]
    assert np.abs(TextClassifier.onnx(tmp_path / "int8").probabilities(texts) - plain).max() < 0.03
    found = weights(tmp_path / "int8/model.onnx")
    assert any(name.endswith("query.weight") for name in found)


def test_blocks_of_four_bits_lose_little_and_nothing_twice() -> None:
    table = np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32)
    table[3, :32] = 0
    whole, scales = to_blocks(table)
    assert (whole.shape, scales.shape) == ((50, 64), (50, 2))
    assert whole.min() == -8
    assert whole.max() == 7
    once = from_blocks(whole, scales)
    assert np.sqrt(np.square(once - table).mean()) < 0.09
    assert not once[3, :32].any()
    np.testing.assert_array_equal(from_blocks(*to_blocks(once)), once)


def test_word_embeddings_in_four_bits(classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tones(tmp_path / "v.jsonl", 30, seed=5)
    out = tmp_path / "four"
    with pytest.raises(SystemExit) as ended:
        main([
            "models", "export", "classifier", "--model", str(classifier), "--out", str(out), "--data", str(data), "--most", "1",
            "--four-bit-words", "--json", "--home", str(tmp_path / "home"),
        ])  # fmt: skip
    assert not ended.value.code
    assert json.loads(capsys.readouterr().out)["loss"] < 0.1
    (table,) = (
        value
        for name, value in load_file(classifier / "model.safetensors").items()
        if name.endswith("word_embeddings.weight")
    )
    stored = weights(out / "model.onnx")
    (name,) = (name for name in stored if name.endswith("word_embeddings.weight"))
    np.testing.assert_array_equal(stored[name], from_blocks(*to_blocks(table)))
    assert np.abs(stored[name] - table).max() > 0, "the loss is real"
    again = load_file(restore(out, tmp_path / "again") / "model.safetensors")
    np.testing.assert_array_equal(again[name], stored[name])
    kinds = [node.op_type for node in onnx.load(str(out / "model.onnx")).graph.node]
    assert kinds.count("GatherBlockQuantized") == 1


def test_rounded_words_lose_nothing_more(classifier: Path, tmp_path: Path) -> None:
    round_words(classifier, tmp_path / "rounded")
    before, after = (load_file(folder / "model.safetensors") for folder in (classifier, tmp_path / "rounded"))
    (name,) = (name for name in before if name.endswith("word_embeddings.weight"))
    assert [key for key in before if not np.array_equal(before[key], after[key])] == [name]
    np.testing.assert_array_equal(from_blocks(*to_blocks(after[name])), after[name])
    assert (tmp_path / "rounded" / "config.json").is_file()


def test_a_model_can_have_the_words_of_another(classifier: Path, tmp_path: Path) -> None:
    other = tiny_bert(tmp_path / "other")
    round_words(other, tmp_path / "out", classifier)
    taken, before, words = (load_file(folder / "model.safetensors") for folder in (tmp_path / "out", other, classifier))
    (name,) = (name for name in before if not np.array_equal(before[name], taken[name]))
    (table,) = (words[key] for key in words if key.endswith("word_embeddings.weight"))
    assert name.endswith("word_embeddings.weight")
    np.testing.assert_array_equal(taken[name], from_blocks(*to_blocks(table)))
    with pytest.raises(ModelError, match=r"wide: its word embeddings are .*64.* those of .*32"):
        round_words(other, tmp_path / "no", tiny_bert(tmp_path / "wide", width=64))
    assert not (tmp_path / "no").exists()


def test_a_width_that_fits_no_blocks_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="multiple of 32"):
        export(
            "encoder", tiny_bert(tmp_path / "bert", width=16), tmp_path / "out", word_bits=4, progress=lambda _: None
        )
    assert not (tmp_path / "out").exists()


def test_an_encoder_with_more_than_pooling_is_refused_and_a_distilbert_keeps_its_width(tmp_path: Path) -> None:
    from transformers import AutoTokenizer, DistilBertConfig, DistilBertModel

    tokenizer = AutoTokenizer.from_pretrained(tiny_bert(tmp_path / "bert"))
    config = DistilBertConfig(vocab_size=len(tokenizer), dim=32, n_layers=1, n_heads=2, hidden_dim=64)
    folder = tmp_path / "distilbert"
    DistilBertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    export("encoder", folder, tmp_path / "exported", progress=lambda _: None)
    assert OnnxEncoder(tmp_path / "exported").encode(["the lamp"]).shape == (1, 32)
    modules = [{"type": f"sentence_transformers.models.{kind}"} for kind in ("Transformer", "Pooling", "Dense")]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    with pytest.raises(ModelError, match="has Dense besides"):
        export("encoder", folder, tmp_path / "other", progress=lambda _: None)
    assert not (tmp_path / "other").exists()
