"""Optional packages: which extra brings what, and whether it is there."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

EXTRAS: Final[dict[str, tuple[str, ...]]] = {
    "terminal": ("textual",),
    "documents": ("mammoth", "openpyxl", "pypdfium2", "python-pptx"),
    "openai": ("openai",),
    "torch": ("torch", "transformers", "sentence-transformers", "onnx", "scikit-learn"),
    "train": (
        "accelerate",
        "datasketch",
        "jieba",
        "matplotlib",
        "optuna",
        "peft",
        "rouge-score",
        "sacrebleu",
        "tensorboard",
    ),
    "slack": ("slack-bolt", "aiohttp"),
    "telegram": ("python-telegram-bot",),
    "web": ("starlette", "uvicorn"),
}
CORE: Final = ("onnxruntime", "tokenizers", "faiss-cpu", "tantivy", "numpy", "pydantic")


def installed(package: str) -> str | None:
    """The version of a distribution, or None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def missing_extras() -> dict[str, list[str]]:
    """For each extra that is not whole, the packages that are missing."""
    found = {extra: [name for name in names if installed(name) is None] for extra, names in EXTRAS.items()}
    return {extra: names for extra, names in found.items() if names}


def install_line(extra: str) -> str:
    """What to type to install an extra."""
    return f"pip install 'botkit[{extra}]'"
