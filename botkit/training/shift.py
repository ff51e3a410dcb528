"""Shift the logits of a sentiment classifier, by amounts chosen on validation data.

    python -m botkit.training.shift --model models/sentiment --data ../shared/data --out models/sentiment-shifted

How many of its training texts are neutral or negative decides how readily a classifier says so, and tells nothing of the texts
it will meet (prior shift; Saerens et al. 2002, "Adjusting the outputs of a classifier to new a priori probabilities"). So
the bias of the last layer is set anew: that of each label but the first is moved by what makes the mean over the
validation files largest, of the macro recall (the mean of the labels' recalls) among the labels of each. Reported is also what is
gained where a shift chosen on half of the examples is measured on the other half.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from botkit.evaluation.formats import read_labelled
from botkit.models.classifier import TextClassifier
from botkit.training.sentiment import LABELS

FILES: Final = ("en_sst2", "en_tweets", "zh_reviews")
STEPS: Final = np.arange(-2.0, 2.01, 0.25)
TOLERANCE: Final = 0.002
_BIAS: Final = "classifier.bias"


@dataclass(frozen=True)
class Outputs:
    """A file's logits, of shape (examples, labels), and the indices of the right labels."""

    logits: NDArray[np.float64]
    labels: NDArray[np.int64]

    def half(self, number: int) -> Outputs:
        """Every second example, from the first or from the second on."""
        return Outputs(self.logits[number::2], self.labels[number::2])


def macro_recall(outputs: Outputs, shift: Sequence[float]) -> float:
    """Mean recall of the labels that occur, chosen among these, with `shift` added to the logits."""
    from sklearn.metrics import balanced_accuracy_score

    present = np.unique(outputs.labels)
    chosen = present[(outputs.logits + np.asarray(shift))[:, present].argmax(axis=1)]
    return float(balanced_accuracy_score(outputs.labels, chosen))


def best_shift(files: Mapping[str, Outputs]) -> tuple[float, ...]:
    """The smallest shift of the labels whose mean macro recall over the files is within `TOLERANCE` of the best one's."""
    shifts = [(0.0, *map(float, others)) for others in product(STEPS, repeat=len(LABELS) - 1)]
    means = [float(np.mean([macro_recall(file, shift) for file in files.values()])) for shift in shifts]
    good = [shift for shift, mean in zip(shifts, means, strict=True) if mean >= max(means) - TOLERANCE]
    return min(good, key=lambda shift: sum(map(abs, shift)))


def report(files: Mapping[str, Outputs]) -> dict[str, Any]:
    """The best shift, and each file's macro recall before, with it, and with one chosen on the other half of the examples."""
    shift = best_shift(files)
    halves = [{name: file.half(number) for name, file in files.items()} for number in (0, 1)]
    chosen = [best_shift(half) for half in halves]
    return {
        "shift": dict(zip(LABELS, shift, strict=True)),
        "macro_recall": {
            name: {
                "before": round(macro_recall(file, [0.0] * len(LABELS)), 4),
                "shifted": round(macro_recall(file, shift), 4),
                "chosen_on_the_other_half": round(
                    float(np.mean([macro_recall(halves[n][name], chosen[1 - n]) for n in (0, 1)])), 4
                ),
            }
            for name, file in files.items()
        },
    }


def move_bias(folder: Path, shift: Sequence[float], out: Path) -> None:
    """Write the model in `folder` to `out` with `shift` added to the bias of its last layer, of shape (labels,)."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, out, dirs_exist_ok=True)
    weights = load_file(folder / "model.safetensors")
    weights[_BIAS] = weights[_BIAS] + torch.tensor(shift, dtype=weights[_BIAS].dtype)
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})


def main() -> None:
    """Measure, choose, report, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder that `botkit.training.sentiment` wrote")
    parser.add_argument("--data", type=Path, required=True, help="folder with sentiment/")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    classifier = TextClassifier.transformers(arguments.model)
    files = {}
    for name in FILES:
        examples = read_labelled(arguments.data / f"sentiment/{name}_valid.jsonl.gz")
        right = np.array([LABELS.index(example.label) for example in examples])
        probabilities = classifier.probabilities([example.text for example in examples])
        files[name] = Outputs(np.log(np.maximum(probabilities, np.finfo(np.float64).tiny)), right)
    found = report(files)
    print(json.dumps(found, indent=1))
    move_bias(arguments.model, list(found["shift"].values()), arguments.out)


if __name__ == "__main__":
    main()
