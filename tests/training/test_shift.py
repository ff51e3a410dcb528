from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra torch")

from safetensors.numpy import load_file, save_file

from botkit.training.shift import Outputs, best_shift, macro_recall, move_bias, report


def outputs(counts: tuple[int, int, int], moved: tuple[float, float, float]) -> Outputs:
    """Logits whose right label leads by one, but for what all of them are moved by."""
    labels = np.repeat(np.arange(3), counts)
    return Outputs((np.eye(3)[labels] + np.array(moved)).astype(np.float64), labels)


def test_macro_recall_is_the_mean_of_the_recalls_among_the_labels_that_occur() -> None:
    three = outputs((2, 4, 2), (0.0, 5.0, 0.0))  # always says the second label

    assert macro_recall(three, (0, 0, 0)) == pytest.approx(1 / 3)
    assert macro_recall(three, (0, -5, 0)) == 1

    two = outputs((3, 0, 1), (0.0, 5.0, 0.0))  # the second does not occur, so it cannot be said

    assert macro_recall(two, (0, 0, 0)) == 1


def test_the_best_shift_undoes_what_moved_all_logits_and_does_no_more() -> None:
    moved = outputs((5, 5, 5), (0.0, 1.6, 0.0))

    assert best_shift({"one": moved}) == (0.0, -0.75, 0.0)
    assert best_shift({"one": outputs((5, 5, 5), (0.0, 0.0, 0.0))}) == (0.0, 0.0, 0.0)


def test_a_gain_on_the_examples_it_was_chosen_on_alone_is_told() -> None:
    generator = np.random.default_rng(1)
    noise = Outputs(generator.normal(size=(40, 3)), generator.integers(0, 3, 40))

    figures = report({"noise": noise})["macro_recall"]["noise"]

    assert figures["shifted"] > figures["before"]
    assert figures["chosen_on_the_other_half"] < figures["shifted"]


def test_the_bias_is_moved_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    weights = {"classifier.bias": np.ones(3, dtype=np.float32), "classifier.weight": np.ones((3, 2), dtype=np.float32)}
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text("{}", encoding="utf-8")

    move_bias(folder, (0.0, -0.5, 0.25), tmp_path / "out")

    moved = load_file(tmp_path / "out" / "model.safetensors")
    assert moved["classifier.bias"].tolist() == [1.0, 0.5, 1.25]
    assert moved["classifier.weight"].tolist() == weights["classifier.weight"].tolist()
    assert (tmp_path / "out" / "config.json").read_text(encoding="utf-8") == "{}"
    assert load_file(folder / "model.safetensors")["classifier.bias"].tolist() == [1.0, 1.0, 1.0]
