"""Comparing the vectors of an encoder that may have companions (see `botkit.models.encoder`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from botkit.models import Encoder


def common_columns(encoder: Encoder) -> int:
    """How many columns every vector of the encoder has; those behind it are of companions, and 0 where these were not asked."""
    return int(getattr(encoder, "common", encoder.dimension))


def cosines(rows: NDArray[np.float32], query: NDArray[np.float32], common: int) -> NDArray[np.float32]:
    """Cosine similarity of each of `rows`, of shape (n, dimension), and the query, of shape (dimension,).

    A query that no companion knows is compared in the first `common` columns alone: "9:00-18:00" in a Chinese document is as near to a
    Chinese question as the encoder itself has it, though it is embedded as an English text.
    """
    if query[common:].any():
        return rows @ query
    lengths = np.linalg.norm(rows[:, :common], axis=1)
    near: NDArray[np.float32] = rows[:, :common] @ query[:common] / np.maximum(lengths, np.float32(1e-9))
    return near


def without_companions(vector: NDArray[np.float32], common: int) -> NDArray[np.float32]:
    """The vector that the encoder alone gives the text, its length one."""
    alone = np.zeros_like(vector)
    alone[:common] = vector[:common] / max(float(np.linalg.norm(vector[:common])), 1e-9)
    return alone
