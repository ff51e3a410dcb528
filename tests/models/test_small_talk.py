from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from botkit.errors import ModelError
from botkit.models.small_talk import BUCKETS, SmallTalkDetector, ngram_buckets


@pytest.fixture(scope="module")
def detector() -> SmallTalkDetector:
    return SmallTalkDetector.read()


@pytest.mark.parametrize(
    "text",
    [
        "hello there",
        "how are you doing today?",
        "tell me a joke",
        "thanks a lot!",
        "你好",
        "你叫什么名字呀",
        "讲个笑话吧",
    ],
)
def test_small_talk_is_noticed(detector: SmallTalkDetector, text: str) -> None:
    assert detector.probability(text) > 0.5


@pytest.mark.parametrize(
    "text",
    [
        "How long does standard delivery take?",
        "Which payment methods do you accept?",
        "What is the warranty period of the lamps?",
        "标准配送需要几个工作日？",
        "申请退货需要提供什么材料？",
        "发票丢了还能保修吗",
    ],
)
def test_a_question_about_documents_is_not_small_talk(detector: SmallTalkDetector, text: str) -> None:
    assert detector.probability(text) < 0.5


@given(st.text(max_size=400))
def test_any_text_has_a_probability(text: str) -> None:
    buckets = ngram_buckets(text)
    assert ((buckets >= 0) & (buckets < BUCKETS)).all()
    assert 0.0 <= SmallTalkDetector.read().probability(text) <= 1.0


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    weights = np.linspace(-1, 1, BUCKETS, dtype=np.float32)
    SmallTalkDetector(weights, 0.25).write(tmp_path)
    read = SmallTalkDetector.read(tmp_path)
    assert read.bias == 0.25
    np.testing.assert_allclose(read.weights, weights, atol=1 / 127)


def test_a_broken_file_is_a_model_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=str(tmp_path)):
        SmallTalkDetector.read(tmp_path)
