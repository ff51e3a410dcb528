from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from botkit.cli import main
from botkit.errors import ConfigError, DataError, DivergedError
from botkit.training.recipe import Recipe, load_recipe
from botkit.training.run import Trained
from botkit.training.tune import Method, Search, grid_of, is_whole, read_space, search
from tests.training.tiny_models import tiny_bert, tones


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("bert"))


def plan(tmp_path: Path, bert: Path, method: Method = "bayes", trials: int = 5, **space: object) -> Search:
    data = tmp_path / "t.jsonl"
    if not data.exists():
        tones(data, 24)
    recipe = load_recipe(
        "classifier",
        None,
        {
            "data.train": [str(data)],
            "epochs": 2,
            "batch_size": 8,
            "max_length": 32,
            "stride": 4,
            "precision": "float32",
        },
    )
    space = space or {"learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}, "schedule": ["linear", "cosine"]}
    values = recipe.model_dump(mode="json", exclude_defaults=True)
    return Search("classifier", values, dict(space), method, trials, bert, tmp_path / "out", 1)


@pytest.mark.parametrize("method", ["grid", "random", "bayes"])
def test_the_best_recipe_is_written_and_can_be_read(method: Method, tmp_path: Path, bert: Path) -> None:
    report = search(plan(tmp_path, bert, method))
    done = [trial for trial in report["trials"] if trial["state"] in ("complete", "pruned")]
    assert len(done) == 5
    assert report["best"]["value"] == max(trial["value"] for trial in done if trial["state"] == "complete")
    best = load_recipe("classifier", Path(report["recipe"]), {})
    assert best.learning_rate == pytest.approx(report["best"]["parameters"]["learning_rate"])
    assert (tmp_path / "out" / "search.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((tmp_path / "out" / "trials.json").read_text(encoding="utf-8")) == json.loads(
        json.dumps(report["trials"])
    )
    assert not list((tmp_path / "out").rglob("*.safetensors")), "weights of trials are not kept"


def test_a_search_goes_on(tmp_path: Path, bert: Path) -> None:
    first = search(plan(tmp_path, bert, "random", trials=2))
    second = search(plan(tmp_path, bert, "random", trials=4))
    assert [trial["parameters"] for trial in second["trials"][:2]] == [trial["parameters"] for trial in first["trials"]]
    assert len(second["trials"]) == 4
    with pytest.raises(ConfigError, match="another space"):
        search(plan(tmp_path, bert, "random", weight_decay=[0.0, 0.1]))


def test_workers_share_a_search(tmp_path: Path, bert: Path) -> None:
    report = search(plan(tmp_path, bert, "random", trials=4), workers=2)
    done = [trial for trial in report["trials"] if trial["state"] in ("complete", "pruned")]
    assert len(done) == 4


def test_a_grid_has_the_points_that_were_asked_for() -> None:
    space = {"a": [1, 2], "b": {"low": 1e-4, "high": 1e-2, "log": True}, "c": {"low": 2, "high": 8, "step": 3}}
    grid = grid_of(space)
    assert grid["a"] == [1, 2]
    assert grid["b"] == pytest.approx([1e-4, 1e-3, 1e-2])
    assert grid["c"] == [2, 5, 8]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("learning_rate: 3\n", "s.yaml:1: learning_rate: write a list of values, or low and high"),
        ("a: [1]\nlearning_rate: {low: 2, high: 1}\n", "s.yaml:2: learning_rate: low must be less than high"),
        ("learning_rate: {low: 0, high: 1, log: true}\n", "must begin above 0"),
        ("learning_rate: {low: x, high: 1}\n", "must be numbers"),
        ("learning_rate: {low: 1, high: 3, points: 0}\n", "points must be a whole number from 1, found 0"),
        ("learning_rate: {low: 1, high: 3, step: 0}\n", "step must be a number above 0, found 0"),
        ("learning_rate: {low: 1, high: 3, log: true, step: 1}\n", "a logarithmic range has no step"),
        ("batch_size: {low: 8, high: 16, step: 0.5}\n", "s.yaml:1: batch_size: takes whole numbers"),
        ("", "empty search space"),
    ],
)
def test_faulty_spaces(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        read_space(file)


def test_the_space_of_the_documentation_is_read(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs/training.md").read_text(encoding="utf-8")
    file = tmp_path / "s.yaml"
    shown = re.findall(r"`((?:learning_rate|schedule): [\[{].*?)`", text)
    file.write_text("\n".join(shown), encoding="utf-8")
    assert grid_of(read_space(file)) == {
        "learning_rate": pytest.approx([1e-5, 1e-4, 1e-3]),
        "schedule": ["linear", "cosine"],
    }


def test_a_wrong_key_is_told_before_anything_is_trained(tmp_path: Path, bert: Path) -> None:
    with pytest.raises(ConfigError, match="learning_rat: unknown key; did you mean `learning_rate`"):
        search(plan(tmp_path, bert, learning_rat=[0.1]))
    assert not (tmp_path / "out").exists()


def test_a_search_that_goes_on_draws_new_points(tmp_path: Path, bert: Path) -> None:
    search(plan(tmp_path, bert, "random", trials=2))
    second = search(plan(tmp_path, bert, "random", trials=4))
    rates = [trial["parameters"]["learning_rate"] for trial in second["trials"]]
    assert len(set(rates)) == 4


def test_a_grid_ends_with_its_last_point(tmp_path: Path, bert: Path) -> None:
    asked = plan(tmp_path, bert, "grid", trials=20, learning_rate=[1e-3, 1e-2])
    assert len(search(asked)["trials"]) == 2
    assert len(search(asked)["trials"]) == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_faulty_rows_stop_a_search_and_are_named(tmp_path: Path, bert: Path, workers: int) -> None:
    asked = plan(tmp_path, bert, "random", trials=3)
    data = tmp_path / "t.jsonl"
    data.write_text(data.read_text(encoding="utf-8") + "{broken\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"t\.jsonl:25: not a JSON object"):
        search(asked, workers=workers)


@pytest.mark.parametrize("killed", [1, 2])
def test_a_grid_comes_back_to_the_points_at_which_it_was_killed(killed: int, tmp_path: Path, bert: Path) -> None:
    from botkit.training import tune

    grid = plan(tmp_path, bert, "grid", 9, learning_rate=[0.001, 0.002, 0.003])
    search(plan(tmp_path, bert, "grid", 3 - killed, learning_rate=[0.001, 0.002, 0.003]))
    for _ in range(killed):
        begun = tune._study(grid).ask()
        begun.suggest_categorical("learning_rate", [0.001, 0.002, 0.003])
    report = search(grid)
    done = [one["parameters"]["learning_rate"] for one in report["trials"] if one["state"] == "complete"]
    assert sorted(done) == [0.001, 0.002, 0.003]


def played(monkeypatch: pytest.MonkeyPatch, curve: Callable[[Recipe], list[float]]) -> list[Recipe]:
    """Let the trials' figures at the ends of epochs be those of `curve`; the recipes that were tried."""
    from botkit.training import run

    tried: list[Recipe] = []

    def train(
        recipe: Recipe, base: Path, folder: Path, *, restart: bool, prune: Callable[[int, float], bool]
    ) -> Trained:
        tried.append(recipe)
        figure = 0.0
        for epoch, figure in enumerate(curve(recipe), 1):
            if prune(epoch * 64 // recipe.batch_size, figure):
                return Trained(folder, {"macro_f1": figure}, 0, 0.0, 0, True, {"metric": "macro_f1"})
        return Trained(folder, {"macro_f1": figure}, 0, 0.0, 0, False, {"metric": "macro_f1"})

    monkeypatch.setattr(run, "train", train)
    return tried


def test_trials_are_compared_after_as_many_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played(monkeypatch, lambda recipe: [0.3, 0.5, 0.7, 0.8])
    report = search(plan(tmp_path, tmp_path, "random", 12, batch_size=[8, 16, 32]))
    assert {trial["state"] for trial in report["trials"]} == {"complete"}, "all learn alike"
    played(monkeypatch, lambda recipe: [0.3, 0.5, 0.7, 0.8] if recipe.batch_size > 8 else [0.1, 0.2, 0.3, 0.4])
    (tmp_path / "other").mkdir()
    report = search(plan(tmp_path / "other", tmp_path, "random", 16, batch_size=[8, 16, 32]))
    assert {t["parameters"]["batch_size"] for t in report["trials"] if t["state"] == "pruned"} == {8}


def test_a_grid_comes_back_to_the_point_at_which_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[float] = []

    def curve(recipe: Recipe) -> list[float]:
        if recipe.learning_rate == 0.003 and not stopped:
            stopped.append(1)
            raise KeyboardInterrupt
        if recipe.learning_rate == 0.004:
            raise DivergedError("astray")
        return [recipe.learning_rate]

    tried = played(monkeypatch, curve)
    grid = plan(tmp_path, tmp_path, "grid", 9, learning_rate=[0.001, 0.002, 0.003, 0.004])
    with pytest.raises(KeyboardInterrupt):
        search(grid)
    report = search(grid)
    done = [one["parameters"]["learning_rate"] for one in report["trials"] if one["state"] == "complete"]
    assert sorted(done) == [0.001, 0.002, 0.003]
    assert report["best"]["value"] == 0.003
    before = len(tried)
    assert search(grid)["best"] == report["best"]
    assert len(tried) == before, "neither what came to its end nor what went astray is tried again"


def test_whole_numbers_are_those_of_keys_that_take_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = {
        "epochs": {"low": 1, "high": 3, "step": 0.5},
        "weight_decay": {"low": 0, "high": 1},
        "batch_size": {"low": 8, "high": 24, "step": 10},
    }
    assert grid_of(space) == {
        "epochs": [1, 1.5, 2, 2.5, 3],
        "weight_decay": [0, 0.5, 1],
        "batch_size": [8, 18],
    }
    tried = played(monkeypatch, lambda recipe: [0.5])
    search(plan(tmp_path, tmp_path, "random", 12, **space))
    assert {one.batch_size for one in tried} <= {8, 18}
    assert {one.epochs for one in tried} <= {1, 1.5, 2, 2.5, 3}
    assert len({one.weight_decay for one in tried}) == len(tried) == 12
    assert is_whole("scratch.layers")
    assert not is_whole("scratch.nothing")


def test_each_value_is_checked_before_anything_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = played(monkeypatch, lambda recipe: [0.5])
    with pytest.raises(ConfigError, match="cosinus"):
        search(plan(tmp_path, tmp_path, "grid", 3, schedule=["linear", "cosinus", "cosine"]))
    assert not tried


def test_workers_that_die_are_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from botkit.training import tune

    monkeypatch.setattr(tune, "_worker", os._exit)  # with the plan for an exit code, which is none: it dies of that
    with pytest.raises(DataError, match=r"2 of 2 workers died \(exit code 1; .* the same command goes on"):
        search(plan(tmp_path, tmp_path, "random", 2), workers=2)


def test_the_best_recipe_names_the_base_where_it_lies(
    tmp_path: Path, bert: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    played(monkeypatch, lambda recipe: [0.5])
    monkeypatch.chdir(bert.parent)
    arguments = ["--base", f"./{bert.name}", "--data", str(tones(tmp_path / "t.jsonl")), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        main(["tune", "classifier", *arguments, "--trials", "1", "--json", "--home", str(tmp_path / "home")])
    assert not ended.value.code, capsys.readouterr().out
    best = load_recipe("classifier", tmp_path / "out" / "best.yaml", {})
    assert Path(best.base) == bert.resolve()
