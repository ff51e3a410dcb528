from __future__ import annotations

import json
from pathlib import Path

import pytest

from botkit.errors import ConfigError, DataError
from botkit.training.builtin_data import builtin_rows
from botkit.training.recipe import DataConfig, SourceConfig, as_yaml, fingerprint, load_recipe
from botkit.training.tasks.common import read_sources


def test_a_recipe_is_read_with_what_the_command_line_says(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(
        "task: reader\nbase: ./model\ndata:\n  train: [a.jsonl, {path: b.jsonl, limit: 5}]\nlora:\n  rank: 4\n",
        encoding="utf-8",
    )
    recipe = load_recipe(
        "reader", file, {"epochs": 2.0}, ["lora.alpha=32", "freeze=[embeddings]", "early_stopping=null"]
    )
    assert [source.path for source in recipe.data.train] == [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]
    assert recipe.data.train[1].limit == 5
    assert (recipe.base, recipe.epochs, recipe.freeze) == (str(tmp_path / "model"), 2.0, ("embeddings",))
    assert recipe.lora is not None
    assert (recipe.lora.rank, recipe.lora.alpha, recipe.early_stopping) == (4, 32, None)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    recipe = load_recipe("sentiment", None, {"data.train": ["/x/a.jsonl"], "seed": 5}, ["schedule=cosine"])
    file = tmp_path / "again.yaml"
    file.write_text(as_yaml(recipe), encoding="utf-8")
    assert load_recipe("sentiment", file, {}) == recipe


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("data: {train: a}\nlearning_rat: 1\n", "r.yaml:2: learning_rat: unknown key; did you mean `learning_rate`?"),
        ("data: {train: a}\nepochs: -1\n", "r.yaml:2: epochs: input should be greater than 0, found -1"),
        ("data: {train: a}\nschedule: cosin\n", "r.yaml:2: schedule: .*did you mean `cosine`"),
        ("data: {train: a}\nlora:\n  rang: 3\n", "r.yaml:3: lora.rang: unknown key"),
        ("epochs: 2\n", "no rows to learn from"),
        ("data: {train: []}\n", "data.train: tuple should have at least 1 item"),
        ("task: reader\ndata: {train: a}\n", "this recipe is for the task reader, not classifier"),
        ("data: {train: a}\nbase: scratch\n", "r.yaml:1: base: scratch is for the generator; .* pre-trained model$"),
    ],
)
def test_mistakes_are_named_with_file_line_and_key(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        load_recipe("classifier", file, {})


def test_mistakes_of_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="write KEY=VALUE"):
        load_recipe("reader", None, {}, ["epochs"])
    with pytest.raises(ConfigError, match="warmup: unknown key; did you mean `warm_up`"):
        load_recipe("reader", None, {"data.train": ["a"]}, ["warmup=0.1"])


def test_the_fingerprint_is_of_recipe_and_data(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("1", encoding="utf-8")
    recipe = load_recipe("reader", None, {"data.train": [str(file)]})
    first = fingerprint(recipe)
    assert fingerprint(load_recipe("reader", None, {"data.train": [str(file)]})) == first
    assert fingerprint(load_recipe("reader", None, {"data.train": [str(file)], "seed": 2})) != first
    file.write_text("2", encoding="utf-8")
    assert fingerprint(recipe) != first


def test_builtin_data_has_a_held_out_part() -> None:
    for name, kind in (
        ("help-centres/en", "reading"),
        ("help-centres/zh", "reading"),
        ("tones", "labelled"),
        ("films", "labelled"),
    ):
        learnt = builtin_rows(f"builtin:{name}", kind)  # type: ignore[arg-type]
        held_out = builtin_rows(f"builtin:{name}:held-out", kind)  # type: ignore[arg-type]
        assert len(learnt) > len(held_out) > 10
        key = "title" if kind == "reading" else "text"
        assert not {row.values[key] for row in learnt} & {row.values[key] for row in held_out}
    learnt = builtin_rows("builtin:films", "labelled")
    beginnings = {" ".join(row.values["text"].casefold().split()[:3]) for row in learnt}
    assert not [
        row
        for row in builtin_rows("builtin:films:held-out", "labelled")
        if " ".join(row.values["text"].casefold().split()[:3]) in beginnings
    ]
    assert len({row.values["text"].casefold() for row in learnt}) == len(learnt)
    with pytest.raises(DataError, match="there are builtin:help-centres/en"):
        builtin_rows("builtin:nothing", "reading")
    with pytest.raises(DataError, match="learns from reading rows"):
        builtin_rows("builtin:tones", "reading")


def test_broken_rows_stop_the_run_or_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [{"text": f"text {number}", "label": "ab"[number % 2]} for number in range(10)]
    lines = [json.dumps(row) for row in rows]
    lines[3] = json.dumps({"text": "", "label": "a"})
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match="rows.jsonl:4"):
        read_sources(DataConfig.model_validate({"train": str(file)}), "labelled", 1)
    source = {"path": str(file), "broken": "skip"}
    train, valid = read_sources(DataConfig.model_validate({"train": source}), "labelled", 1)
    assert len(train) + len(valid) == 9
    assert "1 broken rows are left out" in caplog.text
    assert "rows.jsonl:4" in caplog.text


@pytest.mark.parametrize("file", sorted((Path(__file__).parents[2] / "recipes").iterdir()), ids=lambda file: file.stem)
def test_the_recipes_of_the_repository_are_valid(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BOTKIT_DATA", str(tmp_path))
    monkeypatch.setenv("BOTKIT_BASE", "base-of-the-environment")
    task = file.stem.partition("-")[0]
    recipe = load_recipe(task, file, {}, [])  # type: ignore[arg-type]
    assert recipe.task == task
    assert recipe.base in ("builtin", "builtin:encoder", "scratch", "base-of-the-environment")
    for source in recipe.data.train:
        assert source.path.startswith((str(tmp_path), "builtin:"))


def test_what_is_missing_is_told_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^no rows to learn from are named\. Add --data FILE"):
        load_recipe("classifier", None, {"base": "x"})
    with pytest.raises(ConfigError, match=r"nothing\.yaml: there is no such file\. recipes/ and examples/"):
        load_recipe("classifier", tmp_path / "nothing.yaml", {})
    with pytest.raises(ConfigError, match=r"^base: scratch is for the generator; a classifier starts from"):
        load_recipe("classifier", None, {"base": "scratch", "data.train": ["a"]})


def test_the_share_that_validates_has_every_label(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    rows = [{"text": f"text {n}", "label": "rare" if n < 10 else "common"} for n in range(100)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for seed in range(5):
        train, valid = read_sources(DataConfig(train=(SourceConfig(path=str(file)),)), "labelled", seed)
        counts = [sum(row.values["label"] == "rare" for row in part) for part in (train, valid)]
        assert counts == [9, 1]


def test_only_a_reader_has_a_stride_and_only_labels_can_be_smoothed() -> None:
    data = {"data.train": ["a"], "max_length": 64}
    assert load_recipe("classifier", None, data).max_length == 64
    with pytest.raises(ConfigError, match="stride: must be less than half of max_length"):
        load_recipe("reader", None, data)
    with pytest.raises(ConfigError, match="label_smoothing: a encoder|label_smoothing: a reader"):
        load_recipe("reader", None, {"data.train": ["a"], "label_smoothing": 0.1})
