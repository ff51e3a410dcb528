"""Average the weights of models fine-tuned from the same start (model soups, Wortsman et al. 2022).

    python -m botkit.training.average models/reader-a models/reader-b --out models/reader

On a machine of two cores, two runs with different seeds, averaged, use both cores where one run cannot.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from botkit.errors import ModelError

_WEIGHTS = "model.safetensors"


def average(folders: Sequence[Path], out: Path) -> None:
    """Write the first folder with the mean of all weights to `out`; raises `ModelError` where they do not match."""
    import torch
    from safetensors.torch import load_file, save_file

    models = [load_file(folder / _WEIGHTS) for folder in folders]
    shapes = [{name: tensor.shape for name, tensor in model.items()} for model in models]
    for folder, shape in zip(folders, shapes, strict=True):
        if shape != shapes[0]:
            raise ModelError(f"{folder}: its weights do not match those of {folders[0]}.")
    shutil.copytree(folders[0], out, dirs_exist_ok=True)
    mean = {name: torch.stack([model[name] for model in models]).mean(dim=0) for name in models[0]}
    save_file(mean, out / _WEIGHTS, metadata={"format": "pt"})


def main() -> None:
    """Average folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    average(arguments.models, arguments.out)


if __name__ == "__main__":
    main()
