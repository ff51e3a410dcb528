"""`botkit train`: every task on tiny models, and what happens when it is cut off."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from botkit.data.rows import Row
from botkit.errors import DataError, ModelError
from botkit.training.recipe import DataConfig, Recipe, load_recipe
from botkit.training.restore import restore
from botkit.training.run import Trained, freeze, quantisation_aware, train, whole
from botkit.training.tasks.common import validation_split
from tests.training.tiny_models import questions, tiny_bert, tones, write_rows

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("bert"))


def recipe(task: str, data: Path, *sets: str, **values: Any) -> Recipe:
    plain = {"data.train": [str(data)], "epochs": 2, "batch_size": 8, "max_length": 64, "stride": 8, **values}
    return load_recipe(task, None, plain, ["precision=float32", *sets])  # type: ignore[arg-type]


def run(task: str, data: Path, folder: Path | None, out: Path, *sets: str, **values: Any) -> Trained:
    return train(recipe(task, data, *sets, **values), folder, out)


def test_a_classifier_learns_and_can_be_used(bert: Path, tmp_path: Path) -> None:
    data, valid = tones(tmp_path / "t.jsonl"), tones(tmp_path / "v.jsonl", 20, seed=9)
    values = {"data.valid": [str(valid)], "epochs": 12, "learning_rate": 3e-3}
    news: list[dict[str, Any]] = []
    made = train(
        recipe("classifier", data, "schedule=cosine", "warm_up=0.1", **values),
        bert,
        tmp_path / "out",
        listener=lambda one: news.append(dict(one)),
    )
    assert made.metrics["macro_f1"] > 0.9
    assert made.facts["labels"] == ["negative", "positive"]
    assert [one["step"] for one in news if set(one) == {"step", "steps", "epoch"}] == list(range(1, made.steps + 1))

    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(made.folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(made.folder)
    said = model(**tokenizer("it is good", return_tensors="pt")).logits.argmax().item()
    assert model.config.id2label[said] == "positive"
    card = (made.folder / "README.md").read_text(encoding="utf-8")
    assert f"| macro_f1 | {made.metrics['macro_f1']:.4f} |" in card
    assert (made.folder / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert list((made.folder / "logs").glob("events*"))
    told = json.loads((made.folder / "training.json").read_text(encoding="utf-8"))
    rates = [one["learning_rate"] for one in told["history"] if "learning_rate" in one]
    assert max(rates) == pytest.approx(3e-3, rel=0.05)
    assert rates[-1] < rates[len(rates) // 2]


def test_the_best_checkpoint_is_kept_and_training_stops_early(bert: Path, tmp_path: Path) -> None:
    data, valid = tones(tmp_path / "t.jsonl", 16), tones(tmp_path / "v.jsonl", 20, seed=9)
    made = run(
        "classifier", data, bert, tmp_path / "out", "early_stopping.patience=2", **{"data.valid": [str(valid)], "epochs": 40,
        "learning_rate": 1e-2}
    )  # fmt: skip
    assert made.stopped_early
    history = json.loads((made.folder / "training.json").read_text(encoding="utf-8"))["history"]
    figures = [one["eval_macro_f1"] for one in history if "eval_macro_f1" in one]
    assert made.metrics["macro_f1"] == max(figures)
    assert figures.index(max(figures)) == len(figures) - 3


def test_a_source_may_know_only_some_labels(bert: Path, tmp_path: Path) -> None:
    two = tones(tmp_path / "two.jsonl", 12)
    three = write_rows(tmp_path / "three.jsonl", [{"text": f"river {n}", "label": "neutral"} for n in range(6)])
    sources = [{"path": str(two), "labels": ["negative", "positive"]}, str(three)]
    made = run("sentiment", two, bert, tmp_path / "out", **{"data.train": sources, "epochs": 1})
    assert made.facts["labels"] == ["negative", "neutral", "positive"]
    with pytest.raises(DataError, match=r"three.jsonl:1: the label 'neutral' is not among negative, positive"):
        run("classifier", two, bert, tmp_path / "o2", "labels=[negative,positive]", **{"data.train": sources})


def test_a_reader_learns_windows_and_no_answers(bert: Path, tmp_path: Path) -> None:
    made = run("reader", questions(tmp_path / "q.jsonl"), bert, tmp_path / "out")
    assert {"exact", "f1", "loss"} <= set(made.metrics)
    assert (made.facts["answerable"], made.facts["windows"]) >= (1, made.facts["train_rows"])
    from transformers import AutoModelForQuestionAnswering

    AutoModelForQuestionAnswering.from_pretrained(made.folder)


def test_an_encoder_learns_from_pairs_and_mined_negatives(bert: Path, tmp_path: Path) -> None:
    made = run(
        "encoder", questions(tmp_path / "q.jsonl"), bert, tmp_path / "out", "negatives.each=1", "negatives.margin=0",
        "negatives.skip=0",
    )  # fmt: skip
    assert 0 <= made.metrics["recall_at_1"] <= made.metrics["recall_at_5"] <= 1
    from sentence_transformers import SentenceTransformer

    assert SentenceTransformer(str(made.folder)).encode("river").shape == (32,)


@pytest.mark.parametrize("architecture", ["transformer", "gru", "lstm"])
def test_a_generator_from_nothing(architecture: str, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"turns": ["hi", "hello", f"I am {n}", f"good, {n}"]} for n in range(12)]
    rows += [{"text": "the river is long and wide " * 3}]
    rows += [{"lang": "en", "questions": ["how are you", "all well?"], "answers": {"friendly": "fine", "witty": "ha"}}]
    data = write_rows(tmp_path / "d.jsonl", rows)
    shape = ["scratch.vocabulary=300", "scratch.width=32", "scratch.layers=1", f"scratch.architecture={architecture}"]
    made = run("generator", data, None, tmp_path / "out", *shape, base="scratch", learning_rate=1e-2, epochs=30)
    assert made.metrics["perplexity"] == pytest.approx(torch.tensor(made.metrics["loss"]).exp().item(), rel=1e-4)
    assert made.metrics["perplexity"] < 60, "of 300 pieces, most are ruled out"

    from transformers import AutoModelForCausalLM, AutoTokenizer

    import botkit.models.recurrent  # noqa: F401

    model, tokenizer = AutoModelForCausalLM.from_pretrained(made.folder), AutoTokenizer.from_pretrained(made.folder)
    ids = tokenizer("<|friendly|><|user|>hi<|bot|>", return_tensors="pt").input_ids
    said = model.generate(input_ids=ids, max_new_tokens=4, do_sample=False)
    assert said.shape[1] > ids.shape[1]


def test_repeated_dialogues_are_not_validated_on_and_broken_ones_may_be_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from botkit.training.tasks.generator import setup

    rows: list[dict[str, Any]] = [{"turns": [f"say {n}", f"it is number {n}"]} for n in range(20)]
    file = write_rows(tmp_path / "d.jsonl", [*rows, {"turns": ["alone"]}, {"turns": ["體育", "運動"]}])
    source = {"path": str(file), "repeat": 3, "broken": "skip", "simplify": True}
    shape = ["scratch.vocabulary=300", "scratch.width=32", "scratch.layers=1"]
    made = setup(recipe("generator", file, *shape, base="scratch", **{"data.train": [source]}), None)
    assert made.facts["train_rows"] == 3 * (21 - made.facts["valid_rows"])
    told = [[tuple(one["input_ids"]) for one in part] for part in (made.train, made.valid)]
    assert len(set(told[0])) == len(told[0]) / 3
    assert not set(told[0]) & set(told[1])
    assert "1 broken rows are left out" in caplog.text
    everything = made.tokenizer.decode([number for part in told for ids in part for number in ids])
    assert "体育" in everything.replace(" ", "") and "體" not in everything
    with pytest.raises(DataError, match="d.jsonl:21: `turns`"):
        setup(recipe("generator", file, *shape, base="scratch"), None)


def test_a_figure_that_a_fold_lacks_is_averaged_over_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    from botkit.training import cross_validation as module

    figures = iter([{"f1": 0.5}, {"f1": 0.7, "no_answer_f1": 0.25}, {"f1": 0.9, "no_answer_f1": 0.75}])
    monkeypatch.setattr(module, "train", lambda *_, **__: SimpleNamespace(metrics=next(figures)))
    monkeypatch.setattr(module, "base_for", lambda *_: None)
    data = tones(tmp_path / "d.jsonl")
    told = module.cross_validation(recipe("classifier", data), lambda *_: tmp_path, tmp_path / "out", k=3)
    assert told["mean"] == {"f1": pytest.approx(0.7), "no_answer_f1": 0.5}
    assert told["folds_with"] == {"no_answer_f1": 2}
    assert told["method"] == "stratified"


@pytest.mark.parametrize(("k", "method", "key"), [(3, "group", "title"), (8, "group", "context")])
def test_no_passage_is_in_two_folds(
    k: int, method: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    from botkit.training import cross_validation as module

    monkeypatch.setattr(module, "train", lambda *_, **__: SimpleNamespace(metrics={"f1": 0.5}))
    monkeypatch.setattr(module, "base_for", lambda *_: None)
    data = questions(tmp_path / "d.jsonl")
    told = module.cross_validation(recipe("reader", data), lambda *_: tmp_path, tmp_path / "out", k=k)
    assert told["method"] == method
    for folder in (tmp_path / "out").iterdir():
        parts = [(folder / "data" / f"{name}.jsonl").read_text(encoding="utf-8") for name in ("train", "valid")]
        seen = [{json.loads(line)[key] for line in part.splitlines()} for part in parts]
        assert seen[0] and seen[1]
        assert not seen[0] & seen[1]


@pytest.mark.parametrize("task", ["classifier", "reader", "encoder"])
def test_low_rank_adaptation_is_merged(task: str, bert: Path, tmp_path: Path) -> None:
    data = tones(tmp_path / "d.jsonl", 16) if task == "classifier" else questions(tmp_path / "d.jsonl")
    made = run(task, data, bert, tmp_path / "out", "lora.rank=2", "lora.targets=[query,value]", learning_rate=1e-2)
    assert made.facts["learning_parameters"] < made.facts["all_parameters"] / 5
    before, after = load_file(bert / "model.safetensors"), load_file(made.folder / "model.safetensors")
    plain = {name.removeprefix("bert."): weight for name, weight in after.items()}
    name = "encoder.layer.0.attention.self.{}.weight"
    assert not torch.equal(before[name.format("query")], plain[name.format("query")])
    assert torch.equal(before[name.format("key")], plain[name.format("key")])


def test_frozen_parts_do_not_change(bert: Path, tmp_path: Path) -> None:
    made = run(
        "classifier", tones(tmp_path / "t.jsonl", 16), bert, tmp_path / "out", "freeze=[embeddings,layers.0]",
        learning_rate=1e-2,
    )  # fmt: skip
    before, after = load_file(bert / "model.safetensors"), load_file(made.folder / "model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[f"bert.{name}"])}
    assert changed
    assert all(name.startswith(("encoder.layer.1", "pooler")) for name in changed)


def test_a_part_that_is_not_there_cannot_be_frozen(bert: Path) -> None:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(bert)
    with pytest.raises(ModelError, match=r"no weight of this model is in 'layers.7'.*encoder.layer"):
        freeze(model, ("layers.7",))
    with pytest.raises(ModelError, match="nothing is left to learn"):
        freeze(model, ("embeddings", "encoder", "pooler"))


def test_what_was_killed_goes_on_and_ends_with_the_same_weights(bert: Path, tmp_path: Path) -> None:
    data = tones(tmp_path / "t.jsonl", 64)
    common = ["--data", str(data), "--base", str(bert), "--epochs", "10", "--batch-size", "4"]
    common += [
        "--set",
        "precision=float32",
        "--set",
        "early_stopping=null",
        "--set",
        "max_length=32",
        "--set",
        "stride=4",
    ]
    common += ["--json", "--home", str(tmp_path / "home")]

    def command(out: str) -> list[str]:
        return [sys.executable, "-m", "botkit", "train", "classifier", "--out", str(tmp_path / out), *common]

    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}"}
    whole_run = subprocess.run(command("whole"), env=environment, capture_output=True, text=True, check=False)
    assert whole_run.returncode == 0, whole_run.stderr
    assert json.loads(whole_run.stdout)["resumed_from"] == 0

    for _ in range(2):
        process = subprocess.Popen(
            command("cut"), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        known = set((tmp_path / "cut" / "checkpoints").glob("checkpoint-*"))
        deadline = time.monotonic() + 120
        while set((tmp_path / "cut" / "checkpoints").glob("checkpoint-*")) <= known and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(command("cut"), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["resumed_from"] > 0 or process.returncode == 0
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert told["metrics"] == json.loads(whole_run.stdout)["metrics"]

    again = subprocess.run(command("cut"), env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "finished already" in again.stderr


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_patience_that_is_used_up_is_remembered(cut: int, bert: Path, tmp_path: Path) -> None:
    values: dict[str, Any] = {"data.valid": [str(tones(tmp_path / "v.jsonl", 20, seed=9))], "epochs": 9}
    sets = ("learning_rate=1e-12", "early_stopping.patience=2", "precision=float32", "keep_checkpoints=9")
    data = tones(tmp_path / "t.jsonl", 16)
    whole_run = run("classifier", data, bert, tmp_path / "whole", *sets, **values)
    assert whole_run.stopped_early
    out = tmp_path / "cut"
    run("classifier", data, bert, out, *sets, **values)
    checkpoints = sorted((out / "checkpoints").glob("checkpoint-*"), key=lambda one: int(one.name[11:]))
    for later in checkpoints[cut:]:
        shutil.rmtree(later)
    noted = json.loads((out / "run.json").read_text(encoding="utf-8"))
    (out / "run.json").write_text(json.dumps(noted | {"done": False}), encoding="utf-8")
    resumed = run("classifier", data, bert, out, *sets, **values)
    assert (resumed.steps, resumed.stopped_early, resumed.metrics) == (whole_run.steps, True, whole_run.metrics)
    first, second = (load_file(folder / "model.safetensors") for folder in (tmp_path / "whole", out))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_is_refused_changes_no_folder(bert: Path, tmp_path: Path) -> None:
    good = tones(tmp_path / "t.jsonl", 16)
    kept = run("classifier", good, bert, tmp_path / "out").folder
    bad = write_rows(tmp_path / "bad.jsonl", [{"text": "a", "label": "x"}, {"text": "b"}])
    for data, sets in ((bad, ()), (good, ("freeze=[nosuch]",))):
        with pytest.raises((DataError, ModelError)):
            train(recipe("classifier", data, *sets), bert, kept, restart=True)
        with pytest.raises((DataError, ModelError)):
            run("classifier", data, bert, tmp_path / "new", *sets)
    assert (kept / "model.safetensors").is_file()
    assert not (tmp_path / "new").exists()
    (kept / "run.json").write_text("", encoding="utf-8")
    with pytest.raises(ModelError, match="run.json: is damaged"):
        run("classifier", good, bert, kept)


@pytest.mark.parametrize(
    ("values", "kind", "group"),
    [
        ([{"text": f"t{n}", "label": "ab"[n % 2], "group": f"doc{n % 3 % 2}"} for n in range(40)], "labelled", "group"),
        (
            [{"question": f"q{n}", "context": f"c{n % 4}", "title": f"T{n % 2}"} for n in range(40)],
            "reading",
            "context",
        ),
    ],
)
def test_no_group_is_trained_and_validated_on(values: list[dict[str, Any]], kind: str, group: str) -> None:
    rows = [Row(one, f"f:{n}") for n, one in enumerate(values, 1)]
    config = DataConfig(train=["f"], group="group" if group == "group" else "")  # type: ignore[list-item]
    learnt, held_back = validation_split(rows, config, kind, 1)
    assert learnt and held_back
    assert not {values[n][group] for n in learnt} & {values[n][group] for n in held_back}
    with pytest.raises(DataError, match="f:1: has no `nosuch`, which data.group names"):
        validation_split(rows, DataConfig(train=["f"], group="nosuch"), kind, 1)  # type: ignore[list-item]


def test_checkpoints_of_another_run_are_not_taken(bert: Path, tmp_path: Path) -> None:
    data = tones(tmp_path / "t.jsonl", 16)
    run("classifier", data, bert, tmp_path / "out")
    with pytest.raises(ModelError, match="begun with another recipe"):
        run("classifier", data, bert, tmp_path / "out", seed=7)
    assert train(recipe("classifier", data, seed=7), bert, tmp_path / "out", restart=True).steps
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me", encoding="utf-8")
    with pytest.raises(ModelError, match="holds other files"):
        run("classifier", data, bert, tmp_path / "mine")
    with pytest.raises(ModelError, match="holds other files"):
        train(recipe("classifier", data), bert, tmp_path / "mine", restart=True)
    assert (tmp_path / "mine" / "notes.txt").read_text(encoding="utf-8") == "keep me"


def test_a_half_written_checkpoint_is_not_whole(tmp_path: Path) -> None:
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (tmp_path / name).touch()
    assert not whole(tmp_path)
    (tmp_path / "trainer_state.json").write_text('{"global_st', encoding="utf-8")
    assert not whole(tmp_path)
    (tmp_path / "trainer_state.json").write_text("{}", encoding="utf-8")
    assert whole(tmp_path)


def test_a_disk_that_is_too_full_is_told_before(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(ModelError, match="checkpoints of this run need"):
        run("classifier", tones(tmp_path / "t.jsonl", 16), bert, tmp_path / "out")


@pytest.mark.parametrize(
    ("task", "rows", "told"),
    [
        ("classifier", [{"text": "a", "label": "x"}] * 4, "All rows have the label 'x'"),
        ("classifier", [{"text": "a", "label": "x"}, {"text": "b"}], "d.jsonl:2: `label`: missing"),
        (
            "sentiment",
            [{"text": "a", "label": "good"}] * 4,
            "d.jsonl:1: the label 'good' is not among negative, neutral",
        ),
        (
            "reader",
            [{"question": "q", "context": "abc", "answers": [{"text": "c", "start": 0}]}] * 4,
            "It is found at 2",
        ),
        (
            "encoder",
            [{"question": f"q{n}", "context": "abc", "answers": []} for n in range(9)],
            "learns from answerable",
        ),
        ("generator", [{"turns": ["a", "b"], "persona": "grumpy"}] * 4, "the persona 'grumpy' is not among"),
        ("generator", [{"question": "q", "context": "c"}] * 2, "d.jsonl:1: neither"),
    ],
)
def test_faulty_rows_are_named_before_training(
    task: str, rows: list[dict[str, Any]], told: str, bert: Path, tmp_path: Path
) -> None:
    base = {"base": "scratch"} if task == "generator" else {}
    with pytest.raises(DataError, match=told):
        run(task, write_rows(tmp_path / "d.jsonl", rows), bert, tmp_path / "out", **base)


def test_a_loss_that_is_no_number_is_told() -> None:
    from botkit.training.run import _best

    with pytest.raises(DataError, match="Lower the learning rate"):
        _best([{"step": 3, "eval_loss": float("nan")}], "loss", greater=False)


@pytest.mark.parametrize("role", ["encoder", "encoder/english", "reader", "sentiment", "generator"])
def test_a_shipped_model_can_be_turned_back(role: str, tmp_path: Path) -> None:
    from transformers import AutoModel

    from botkit.models.registry import BUILTIN_FOLDER

    folder = restore(BUILTIN_FOLDER / role, tmp_path / role)
    assert AutoModel.from_pretrained(folder).num_parameters() > 1_000_000
    if role.startswith("encoder"):
        from sentence_transformers import SentenceTransformer

        from botkit.models.encoder import OnnxEncoder
        from botkit.models.vectors import common_columns, without_companions

        texts = ["How much is delivery?", "Can I bring my dog?" if "english" in role else "送货要多少钱？"]
        shipped = OnnxEncoder(BUILTIN_FOLDER / role)
        common = common_columns(shipped)
        for first, second in zip(SentenceTransformer(str(folder)).encode(texts), shipped.encode(texts), strict=True):
            assert first @ without_companions(second, common)[:common] > 0.97


def test_a_disk_that_fills_up_in_the_middle_is_told(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 0})())
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 162752 vs 162640")

    monkeypatch.setattr("torch.save", full)
    with pytest.raises(ModelError, match="the disk is full"):
        run("classifier", tones(tmp_path / "t.jsonl", 16), bert, tmp_path / "out")


def test_training_that_knows_of_the_rounding_loses_less_by_it(bert: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(bert, num_labels=2)
    linear = model.classifier
    x = torch.linspace(-1, 1, linear.in_features)[None]
    exact = linear(x)
    names = set(model.state_dict())
    assert quantisation_aware(model) == sum(isinstance(one, torch.nn.Linear) for one in model.modules())
    rounded = linear(x)
    assert 0 < (rounded - exact).abs().max() < 0.05
    rounded.sum().backward()
    assert linear.weight.grad is not None and linear.weight.grad.abs().sum() > 0
    assert set(model.state_dict()) == names, "checkpoints are those of the plain model"
    trained = run("classifier", tones(tmp_path / "t.jsonl", 16), bert, tmp_path / "out", quantisation_aware=True)
    assert trained.steps


def test_the_card_names_a_command_that_exists(bert: Path, tmp_path: Path) -> None:
    run("classifier", tones(tmp_path / "t.jsonl", 16), bert, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "botkit train classifier --recipe recipe.yaml --out FOLDER" in card


def test_a_base_of_another_kind_is_refused_before_training(bert: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "d.jsonl", [{"turns": ["hi", "hello"]}, {"turns": ["bye", "see you"]}] * 4)
    with pytest.raises(ModelError, match="reads in both directions and cannot generate"):
        run("generator", rows, bert, tmp_path / "out")
    sets = ["scratch.vocabulary=300", "scratch.width=32", "scratch.layers=1"]
    decoder = run("generator", rows, None, tmp_path / "decoder", *sets, base="scratch").folder
    with pytest.raises(ModelError, match=r"no \[CLS\] token"):
        run("reader", questions(tmp_path / "q.jsonl"), decoder, tmp_path / "reader")


def test_an_exported_classifier_can_learn_further(bert: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from botkit.cli.train import trainable
    from botkit.config import load_settings
    from botkit.models.sentiment import TextSentimentClassifier
    from botkit.training.export import export

    data = tones(tmp_path / "t.jsonl")
    trained = run("classifier", data, bert, tmp_path / "out", epochs=8, learning_rate=3e-3)
    export("classifier", str(trained.folder), tmp_path / "onnx")
    folder = trainable(str(tmp_path / "onnx"), "classifier", load_settings(None, tmp_path / "home"))
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    exported = TextSentimentClassifier.onnx(tmp_path / "onnx")
    for text in ("it is good", "it is bad", "so bad"):
        back = model(**tokenizer(text, return_tensors="pt")).logits.softmax(-1)[0].tolist()
        told = exported.classify([text])[0].probabilities
        assert [told[model.config.id2label[i]] for i in range(2)] == pytest.approx(back, abs=0.05)
    assert run("classifier", data, folder, tmp_path / "further", epochs=1).steps


def test_a_full_disk_anywhere_is_an_error_in_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from botkit.cli import main

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "notes.txt")

    monkeypatch.setattr("botkit.data.stats.describe", full)
    with pytest.raises(SystemExit) as ended:
        main(["data", "stats", str(tones(tmp_path / "t.jsonl", 16)), "--json"])
    assert ended.value.code == 1
    told = capsys.readouterr()
    assert told.err == "error: notes.txt: No space left on device.\n"
    assert json.loads(told.out)["error"]["message"] == "notes.txt: No space left on device."
