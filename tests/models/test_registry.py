from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from botkit.config import GeneratorConfig, ModelsConfig, Paths
from botkit.errors import ModelError
from botkit.models.encoder import OnnxEncoder, SentenceTransformerEncoder
from botkit.models.generator import OnnxGenerator
from botkit.models.reader import ExtractiveReader
from botkit.models.registry import (
    describe_model,
    load_encoder,
    load_generator,
    load_reader,
    load_sentiment,
    model_folder,
    models_at_hand,
    pull,
)

from .tiny import make_encoder, make_generator, make_reader


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(home=tmp_path / "home")


def test_the_built_in_models_all_load(paths: Paths) -> None:
    config = ModelsConfig()
    assert load_encoder(config, paths).encode(["hello"]).shape == (1, 2 * 384), "that of its companion too"
    [span, *_] = load_reader(config, paths).read("When was it founded?", ["It was founded in 1851 by two sisters."])
    assert "1851" in span.text
    [tone] = load_sentiment(config, paths).classify(["I am really happy with this, thank you!"])
    assert tone.label == "positive"
    assert "".join(load_generator(config, paths).stream([])).strip()


def test_the_built_in_models_stay_below_their_size(paths: Paths) -> None:
    found = models_at_hand(paths)
    assert {role for info in found for role in info.roles} == {"encoder", "reader", "sentiment", "generator"}
    assert sum(info.size for info in found) < 120e6


def test_a_folder_is_found_by_its_path_and_by_its_name_in_home(paths: Paths, tmp_path: Path) -> None:
    elsewhere = make_encoder(tmp_path / "elsewhere").folder
    make_reader(paths.models / "mine")
    assert isinstance(load_encoder(ModelsConfig(encoder=str(elsewhere)), paths), OnnxEncoder)
    assert isinstance(load_reader(ModelsConfig(reader="mine"), paths), ExtractiveReader)


def test_a_hub_id_that_was_pulled_is_found_in_home(paths: Paths) -> None:
    folder = make_reader(paths.models / "someone--reader").folder
    assert model_folder("someone/reader", "reader", paths) == folder
    assert [info.name for info in models_at_hand(paths) if info.folder == folder] == ["someone/reader"]


def test_a_model_of_another_role_is_refused(paths: Paths, tmp_path: Path) -> None:
    encoder = make_encoder(tmp_path / "encoder").folder
    with pytest.raises(ModelError, match="is a encoder, not a reader"):
        load_reader(ModelsConfig(reader=str(encoder)), paths)


def test_a_name_that_is_nothing_is_told_with_what_it_could_be(paths: Paths) -> None:
    with pytest.raises(ModelError, match=r"neither a folder.*botkit models list"):
        load_encoder(ModelsConfig(encoder="nonsense"), paths)


def test_a_hub_that_cannot_be_reached_is_told(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="cannot be fetched from the hub"):
        pull("someone/model", paths)
    assert not (paths.models / "someone--model").exists()


def test_transformers_folders_load_by_role(
    paths: Paths, bert_folder: Path, bert_encoder_folder: Path, bert_sentiment_folder: Path, gpt_folder: Path
) -> None:
    config = ModelsConfig(
        encoder=str(bert_encoder_folder),
        reader=str(bert_folder),
        sentiment=str(bert_sentiment_folder),
        generator=GeneratorConfig(model=str(gpt_folder)),
    )
    assert load_encoder(config, paths).encode(["a", "b"]).shape[0] == 2
    assert load_reader(config, paths).count_tokens(["the river"]) == [2]
    assert load_sentiment(config, paths).classify([]) == []
    assert load_generator(config, paths).name.startswith("generator@")
    for folder, role in ((bert_folder, "reader"), (bert_sentiment_folder, "sentiment"), (gpt_folder, "generator")):
        assert describe_model(str(folder), "encoder", paths).roles == (role,)


def test_a_transformers_model_of_another_role_is_refused(paths: Paths, bert_encoder_folder: Path) -> None:
    with pytest.raises(ModelError, match="not trained for this role"):
        load_reader(ModelsConfig(reader=str(bert_encoder_folder)), paths)


def test_an_endpoint_is_described_without_asking_it(paths: Paths) -> None:
    info = describe_model("openai:llama3", "generator", paths)
    assert (info.form, info.roles) == ("endpoint", ("generator",))


@pytest.mark.parametrize("role", ["encoder", "reader", "sentiment"])
def test_an_exported_model_says_what_its_original_says(
    role: str,
    paths: Paths,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    pytest.importorskip("onnx", reason="needs the extra torch")
    fixtures = {"encoder": "bert_encoder_folder", "sentiment": "bert_sentiment_folder", "reader": "bert_folder"}
    from botkit.training.export import export

    source: Path = request.getfixturevalue(fixtures[role])
    exported = export(role, source, tmp_path / "exported", progress=lambda text: None).folder
    texts = ["the river is long", "who founded it in 1851?"]
    if role == "encoder":
        one, other = OnnxEncoder(exported).encode(texts), SentenceTransformerEncoder(source).encode(texts)
        assert np.allclose(np.sum(one * other, axis=1), 1, atol=0.02)
    elif role == "reader":
        for question, passage in (texts, texts[::-1]):
            spans = [
                {(span.start, span.end): span.score for span in reader.read(question, [passage], top_k=3)}
                for reader in (ExtractiveReader.onnx(exported), ExtractiveReader.transformers(source))
            ]
            shared = spans[0].keys() & spans[1].keys()
            assert shared
            assert all(abs(spans[0][place] - spans[1][place]) < 0.05 for place in shared)
    else:
        tones = [
            load_sentiment(ModelsConfig(sentiment=str(folder)), paths).classify(texts) for folder in (exported, source)
        ]
        for one_tone, other_tone in zip(*tones, strict=True):
            assert one_tone.score == pytest.approx(other_tone.score, abs=0.02)


def test_an_exported_generator_continues_like_its_original(gpt_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs the extra torch")
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    from botkit.models.generator import OnnxDecoder
    from botkit.models.runtime import OnnxForward
    from botkit.training.export import export

    exported = export("generator", gpt_folder, tmp_path / "exported", progress=lambda text: None).folder
    decoder = OnnxDecoder(OnnxForward(exported / "model.onnx"), 1, 2, 8)
    decoder.read([5, 60, 61])
    stepwise = decoder.read([62])
    model = AutoModelForCausalLM.from_pretrained(gpt_folder).eval()
    with torch.inference_mode():
        whole = model(torch.tensor([[5, 60, 61, 62]])).logits[0, -1].numpy()
    assert np.corrcoef(stepwise, whole)[0, 1] > 0.99


def test_an_export_leaves_an_older_one_in_place_when_it_fails(bert_encoder_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs the extra torch")
    from botkit.training.export import export

    target = make_generator(tmp_path / "models" / "g").folder
    broken = tmp_path / "broken"
    shutil.copytree(bert_encoder_folder, broken)
    (broken / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match="cannot load it"):
        export("generator", broken, target, progress=lambda text: None)
    assert isinstance(OnnxGenerator(target), OnnxGenerator)
    assert [path.name for path in target.parent.iterdir()] == ["g"]


def test_a_broken_model_hides_no_other(paths: Paths, tmp_path: Path) -> None:
    (paths.models / "broken").mkdir(parents=True)
    (paths.models / "broken" / "config.json").write_text("[1", encoding="utf-8")
    listed = models_at_hand(paths)
    assert {info.name for info in listed} >= {"builtin", "broken"}
    assert [info.form for info in listed if info.name == "broken"] == ["broken"]
