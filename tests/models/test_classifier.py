from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from botkit.cli import main
from botkit.config import load_settings
from botkit.errors import ModelError
from botkit.models.classifier import TextClassifier
from botkit.models.manifest import check_digest, read_manifest
from botkit.models.registry import describe_model

from .tiny import make_encoder, make_sentiment

TOPICS = ("complaint", "other", "praise")


@pytest.fixture
def topics(tmp_path: Path) -> Path:
    return make_sentiment(tmp_path / "topics", labels=TOPICS).folder


def test_a_row_of_probabilities_for_each_text(topics: Path) -> None:
    classifier = TextClassifier.load(topics)
    shares = classifier.probabilities(["bad bad", "good"])
    assert shares.shape == (2, 3)
    assert shares.sum(axis=1) == pytest.approx([1, 1])
    assert [classifier.labels[place] for place in shares.argmax(axis=1)] == ["complaint", "praise"]
    assert classifier.probabilities([]).shape == (0, 3)


def test_a_transformers_folder_classifies_through_torch(bert_sentiment_folder: Path) -> None:
    classifier = TextClassifier.load(bert_sentiment_folder)
    assert classifier.probabilities(["the river is long"]).shape == (1, len(classifier.labels))


def accompanied(tmp_path: Path, labels: tuple[str, ...] = TOPICS) -> Path:
    """A classifier with a companion for English, whose "good" pulls the other way."""
    folder = make_sentiment(tmp_path / "topics", labels=TOPICS).folder
    companion = make_sentiment(folder / "english", labels=labels, good=-16).folder
    assert read_manifest(companion).labels == labels
    manifest = json.loads((folder / "botkit.json").read_text()) | {"companions": {"en": "english"}}
    (folder / "botkit.json").write_text(json.dumps(manifest))
    return folder


def test_a_companion_reads_the_texts_in_its_language(tmp_path: Path) -> None:
    alone = TextClassifier.load(make_sentiment(tmp_path / "alone", labels=TOPICS).folder)
    both = TextClassifier.load(accompanied(tmp_path))
    texts = ["北京 good", "good", "大学"]
    shares, expected = both.probabilities(texts), alone.probabilities(texts)
    assert shares[[0, 2]] == pytest.approx(expected[[0, 2]])
    logits = np.array([0, 0, (12 - 16) / 2]) / 3  # the mean over [CLS] good [SEP], of both models
    assert shares[1] == pytest.approx(np.exp(logits) / np.exp(logits).sum())
    assert both.probabilities([]).shape == (0, 3)
    assert both.probabilities(["大学"]) == pytest.approx(expected[2:])


def test_a_companion_with_other_labels_or_exchanged_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match="its labels are praise, other, complaint, those of .* complaint, other, praise"
    ):
        TextClassifier.load(accompanied(tmp_path, TOPICS[::-1]))
    folder = accompanied(tmp_path / "other")
    check_digest(folder)
    with (folder / "english" / "model.onnx").open("ab") as graph:
        graph.write(b" ")
    with pytest.raises(ModelError, match="english.*damaged or was exchanged"):
        check_digest(folder)
    shutil.rmtree(folder / "english")
    with pytest.raises(ModelError, match="english.*cannot be read"):
        TextClassifier.load(folder)


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a encoder, not a classifier"):
        TextClassifier.load(make_encoder(tmp_path / "encoder").folder)


def test_the_command_names_the_class(topics: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--model", str(topics), "--home", str(tmp_path / "home")]
    main_well("classify", "bad", "good", *arguments, "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["labels"] == list(TOPICS)
    assert [(row["text"], row["label"]) for row in told["texts"]] == [("bad", "complaint"), ("good", "praise")]
    assert set(told["texts"][0]["probabilities"]) == set(TOPICS)
    main_well("classify", "good", *arguments)
    assert "praise" in capsys.readouterr().out


def test_the_command_reads_lines_from_a_pipe(
    topics: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("bad\n\ngood\n"))
    main_well("classify", "-", "--model", str(topics), "--home", str(tmp_path / "home"), "--json")
    assert [row["label"] for row in json.loads(capsys.readouterr().out)["texts"]] == ["complaint", "praise"]


def test_it_is_measured_over_all_of_its_labels(
    topics: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [("bad", "complaint"), ("bad bad", "complaint"), ("good", "praise"), ("good", "complaint")]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows), "utf-8")
    arguments = ["--data", str(data), "--model", str(topics), "--home", str(tmp_path / "home"), "--json"]
    main_well("evaluate", "classifier", *arguments)
    told = json.loads(capsys.readouterr().out)
    assert told["accuracy"] == told["micro_f1"] == 0.75
    assert told["confusion"] == [[2, 0, 1], [0, 0, 0], [0, 0, 1]]
    assert told["classes"]["praise"]["precision"] == 0.5
    assert told["calibration_error"] == pytest.approx(0.25, abs=0.05)
    data.write_text(json.dumps({"text": "x", "label": "spam"}) + "\n", "utf-8")
    with pytest.raises(SystemExit):
        main(["evaluate", "classifier", *arguments])
    assert "write complaint, other or praise" in capsys.readouterr().err


def test_what_is_no_sentiment_model_is_called_a_classifier(bert_sentiment_folder: Path, tmp_path: Path) -> None:
    paths = load_settings(None, tmp_path / "home").paths
    assert describe_model(str(bert_sentiment_folder), "sentiment", paths).roles == ("sentiment",)
    config = bert_sentiment_folder / "config.json"
    other = tmp_path / "other"
    other.mkdir()
    stored = json.loads(config.read_text("utf-8")) | {"id2label": {"0": "spam", "1": "ham"}}
    (other / "config.json").write_text(json.dumps(stored), "utf-8")
    assert describe_model(str(other), "sentiment", paths).roles == ("classifier",)


def main_well(*arguments: str) -> None:
    """Run a command that must succeed."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert not ended.value.code


def test_what_comes_through_a_pipe_in_another_encoding_is_told(
    topics: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("不错\n".encode("gb18030")), errors="surrogateescape"))
    with pytest.raises(SystemExit) as ended:
        main(["classify", "-", "--model", str(topics), "--home", str(tmp_path / "home"), "--json"])
    assert ended.value.code == 1
    assert "Standard input is not UTF-8 (byte 0)" in json.loads(capsys.readouterr().out)["error"]["message"]
