from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from botkit.models import Sampling
from botkit.models.sampling import choose, nucleus, softmax

LOGITS = np.log(np.array([0.5, 0.25, 0.15, 0.1], dtype=np.float32))


def drawn(sampling: Sampling, said: list[int] | None = None, times: int = 4_000) -> dict[int, float]:
    random = np.random.default_rng(7)
    counts = Counter(choose(LOGITS, said or [], sampling, random) for _ in range(times))
    return {token: count / times for token, count in counts.items()}


def plain(**changes: float) -> Sampling:
    return Sampling(**({"temperature": 1.0, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0} | changes))  # type: ignore[arg-type]


def test_plain_sampling_follows_the_models_probabilities() -> None:
    shares = drawn(plain())
    for token, probability in enumerate((0.5, 0.25, 0.15, 0.1)):
        assert shares[token] == pytest.approx(probability, abs=0.03)


def test_temperature_zero_takes_the_likeliest_token_every_time() -> None:
    assert drawn(plain(temperature=0.0), times=20) == {0: 1.0}


def test_a_low_temperature_sharpens_and_a_high_one_flattens() -> None:
    assert drawn(plain(temperature=0.5))[0] == pytest.approx(0.25 / (0.25 + 0.0625 + 0.0225 + 0.01), abs=0.03)
    assert drawn(plain(temperature=50.0))[3] == pytest.approx(0.25, abs=0.03)


def test_top_k_leaves_the_k_likeliest() -> None:
    assert set(drawn(plain(top_k=2))) == {0, 1}
    assert set(drawn(plain(top_k=1))) == {0}


def test_top_p_leaves_the_smallest_set_that_reaches_p() -> None:
    assert set(drawn(plain(top_p=0.7))) == {0, 1}
    assert set(drawn(plain(top_p=0.4))) == {0}


def test_a_repeated_token_becomes_less_likely() -> None:
    fresh, repeated = drawn(plain()), drawn(plain(repetition_penalty=1.8), said=[0])
    assert repeated[0] < fresh[0] - 0.1


def test_the_penalty_lowers_positive_and_negative_logits_alike() -> None:
    random = np.random.default_rng(0)
    greedy = Sampling(temperature=0.0, repetition_penalty=1.5)
    assert choose(np.array([2.0, 1.9], dtype=np.float32), [0], greedy, random) == 1
    assert choose(np.array([-1.0, -1.1], dtype=np.float32), [0], greedy, random) == 1


def test_a_seed_gives_the_same_tokens() -> None:
    runs = [
        [choose(LOGITS, [], plain(), random) for _ in range(30)]
        for random in (np.random.default_rng(3), np.random.default_rng(3))
    ]
    assert runs[0] == runs[1]


@given(
    st.lists(st.floats(-30, 30), min_size=2, max_size=40),
    st.floats(0, 2),
    st.integers(0, 50),
    st.floats(0.01, 1),
)
def test_any_setting_gives_a_token_of_the_vocabulary(
    values: list[float], temperature: float, top_k: int, top_p: float
) -> None:
    logits = np.array(values, dtype=np.float32)
    token = choose(logits, [0], Sampling(temperature, top_k, top_p), np.random.default_rng(0))
    assert 0 <= token < len(values)


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=30), st.floats(0.01, 1))
def test_the_nucleus_holds_p_and_no_token_too_many(values: list[float], top_p: float) -> None:
    probabilities = softmax(np.array(values))
    kept = nucleus(probabilities, top_p)
    least = kept[kept > 0].min()
    assert kept.sum() >= top_p - 1e-9
    assert kept.sum() - least < top_p + 1e-9


def test_forbidden_tokens_are_never_chosen() -> None:
    logits = np.array([-np.inf, 0.0, 0.0], dtype=np.float32)
    random = np.random.default_rng(0)
    assert {choose(logits, [], Sampling(), random) for _ in range(50)} == {1, 2}
