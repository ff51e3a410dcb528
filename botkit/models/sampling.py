"""Choosing the next token from its logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from botkit.models import Sampling


def choose(logits: NDArray[np.float32], said: Sequence[int], sampling: Sampling, random: np.random.Generator) -> int:
    """The next token, from `logits` of shape (vocabulary,) and the tokens said so far.

    In this order: repetition penalty (Keskar et al. 2019) on the tokens of the reply, temperature, top-k, top-p
    (Holtzman et al. 2020). Temperature 0 takes the likeliest token.
    """
    scores = logits.astype(np.float64)
    if sampling.repetition_penalty != 1 and said:
        seen = np.unique(np.asarray(said, dtype=np.int64))
        scores[seen] = np.where(
            scores[seen] > 0, scores[seen] / sampling.repetition_penalty, scores[seen] * sampling.repetition_penalty
        )
    if sampling.temperature == 0:
        return int(scores.argmax())
    with np.errstate(over="ignore"):  # next to temperature 0 all but the likeliest go to minus infinity, rightly
        probabilities = softmax((scores - scores.max()) / sampling.temperature)
    if 0 < sampling.top_k < len(probabilities):
        least = np.partition(probabilities, -sampling.top_k)[-sampling.top_k]
        probabilities = np.where(probabilities >= least, probabilities, 0.0)
    if sampling.top_p < 1:
        probabilities = nucleus(probabilities / probabilities.sum(), sampling.top_p)
    return int(random.choice(len(probabilities), p=probabilities / probabilities.sum()))


def nucleus(probabilities: NDArray[np.float64], top_p: float) -> NDArray[np.float64]:
    """The smallest set of likeliest tokens whose probabilities reach `top_p`; the others become 0."""
    order = np.argsort(-probabilities, kind="stable")
    reached = np.cumsum(probabilities[order])
    kept = order[: int(np.searchsorted(reached, top_p)) + 1]
    cut = np.zeros_like(probabilities)
    cut[kept] = probabilities[kept]
    return cut


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of shape (vocabulary,)."""
    shifted = np.exp(scores - scores.max())
    return np.asarray(shifted / shifted.sum(), dtype=np.float64)
