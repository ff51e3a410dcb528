from __future__ import annotations

import collections
import re
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from botkit.evaluation.metrics import (
    answer_tokens,
    best_over,
    calibration_error,
    class_figures,
    classification_figures,
    confusion,
    distinct,
    exact_match,
    f1_score,
    first_rank,
    percentiles,
    retrieval_figures,
)


def official_normalise(text: str) -> str:
    """The steps of the SQuAD 2.0 script, one by one."""
    text = "".join(character for character in text.lower() if character not in set(string.punctuation))
    return " ".join(re.sub(re.compile(r"\b(a|an|the)\b", re.UNICODE), " ", text).split())


def official_f1(gold: str, predicted: str) -> float:
    gold_tokens, predicted_tokens = official_normalise(gold).split(), official_normalise(predicted).split()
    same = sum((collections.Counter(gold_tokens) & collections.Counter(predicted_tokens)).values())
    if len(gold_tokens) == 0 or len(predicted_tokens) == 0:
        return int(gold_tokens == predicted_tokens)
    if same == 0:
        return 0
    precision, recall = same / len(predicted_tokens), same / len(gold_tokens)
    return 2 * precision * recall / (precision + recall)


answers = st.lists(
    st.sampled_from(["the", "a", "An", "cat", "Cat!", "1,000", "U.S.", "dogs", "-", "é"]), max_size=6
).map(" ".join)


@given(answers, answers)
def test_english_scores_are_those_of_the_official_script(prediction: str, gold: str) -> None:
    assert f1_score(prediction, gold) == pytest.approx(official_f1(gold, prediction))
    assert exact_match(prediction, gold) == float(official_normalise(prediction) == official_normalise(gold))


@given(st.lists(answers, max_size=3), answers)
def test_the_best_over_several_answers_is_that_of_the_official_script(golds: list[str], prediction: str) -> None:
    wanted = [gold for gold in golds if official_normalise(gold)] or [""]
    exact = max(float(official_normalise(prediction) == official_normalise(gold)) for gold in wanted)
    f1 = max(official_f1(gold, prediction) for gold in wanted)
    assert best_over(golds, prediction) == pytest.approx((exact, f1))


def test_scores_worked_by_hand() -> None:
    assert exact_match("The Eiffel Tower!", "eiffel tower") == 1
    assert f1_score("in the Eiffel Tower", "Eiffel Tower") == pytest.approx(0.8)
    assert f1_score("Paris", "London") == 0
    assert best_over(["Paris", "the city of Paris"], "city of Paris") == (1.0, 1.0)


def test_chinese_is_compared_by_character() -> None:
    assert answer_tokens("1999年，在GitHub上。", "zh") == ["1999", "年", "在", "github", "上"]
    assert exact_match("１９９９年", "1999 年。", "zh") == 1
    assert f1_score("北京大学", "北京", "zh") == pytest.approx(2 * 2 / 6)


def test_the_right_answer_to_an_unanswerable_question_is_none() -> None:
    assert best_over([], "") == (1.0, 1.0)
    assert best_over([], "something") == (0.0, 0.0)
    assert best_over(["the"], "") == (1.0, 1.0), "an answer that normalises to nothing, as in the official script"


def test_retrieval_figures_worked_by_hand() -> None:
    figures = retrieval_figures([1, 3, None, 7])
    assert figures["recall_at_1"] == 0.25
    assert figures["recall_at_5"] == 0.5
    assert figures["recall_at_10"] == 0.75
    assert figures["mrr"] == pytest.approx((1 + 1 / 3 + 1 / 7) / 4)
    assert figures["ndcg_at_10"] == pytest.approx((1 + 0.5 + 1 / 3) / 4)
    assert first_rank(["b", "a", "a"], "a") == 2


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=40))
def test_classification_figures_are_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    predicted, wanted = [one for one, _ in pairs], [right for _, right in pairs]
    figures = classification_figures(predicted, wanted, list("abc"))
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        wanted, predicted, labels=list("abc"), average="macro", zero_division=0
    )
    assert figures["accuracy"] == pytest.approx(metrics.accuracy_score(wanted, predicted))
    assert [figures[f"macro_{name}"] for name in ("precision", "recall", "f1")] == pytest.approx(
        [precision, recall, f1]
    )
    assert np.array_equal(
        confusion(predicted, wanted, list("abc")), metrics.confusion_matrix(wanted, predicted, labels=list("abc"))
    )


def test_a_class_that_never_occurs_has_figures_of_zero() -> None:
    assert class_figures(confusion(["a"], ["a"], ["a", "b"]))[1] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "n": 0}


def test_calibration_error_worked_by_hand() -> None:
    assert calibration_error([0.95, 0.95, 0.15, 0.15], [True, False, False, False]) == pytest.approx(
        0.45 / 2 + 0.15 / 2
    )
    assert calibration_error([], []) == 0


def test_percentiles_and_distinct() -> None:
    assert percentiles([float(i) for i in range(101)]) == {"p50_ms": 50, "p95_ms": 95, "p99_ms": 99}
    assert distinct(["go on", "go on"], 2) == 0.5
