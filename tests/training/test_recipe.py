from __future__ import annotations

from pathlib import Path

import pytest

from botkit.errors import ConfigError
from botkit.training.recipe import as_yaml, fingerprint, load_recipe


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
        ("epochs: 2\n", "data: field required"),
        ("data: {train: []}\n", "data.train: tuple should have at least 1 item"),
        ("task: reader\ndata: {train: a}\n", "this recipe is for the task reader, not classifier"),
        ("data: {train: a}\nbase: scratch\n", "scratch is for the generator"),
        ("data: {train: a}\nmax_length: 64\nstride: 40\n", "less than half of max_length"),
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
