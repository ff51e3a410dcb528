from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("sklearn", reason="needs the extra torch")

from botkit.messages import Language
from botkit.training.paraphrases import SURE, Teacher, neighbours, paraphrases, varied, words
from tests.training.data import write_rows

ROOT = Path(__file__).parent.parent.parent
SYNONYMS = ({"funny", "humorous", "amusing"}, {"hate", "loathe"}, {"joke", "gag"}, {"you", "me"}, {"tell", "say"})
QUESTIONS = {
    3: ("Tell me a joke", "Do you know a funny joke?", "Say a joke now", "Another joke, something amusing"),
    8: ("I hate you", "I loathe you so much", "You are what I hate", "How I hate you all"),
}


class Meanings:
    """An encoder that gives words of the same meaning the same direction."""

    name = "meanings"
    dimension = 40

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in words(text.lower(), "en"):
                of_meaning = next((i for i, group in enumerate(SYNONYMS) if word in group), None)
                if of_meaning is not None:
                    vectors[row, of_meaning] += 1
                elif word.strip():
                    vectors[row, 8 + sum(map(ord, word)) % 32] += 0.3
        lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
        return np.asarray(vectors / lengths, dtype=np.float32)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    turns = ["humorous gag", "loathe"] * 6
    for name in ("topical_train", "sgd_train", "taskmaster_train"):
        write_rows(tmp_path / f"dialogue/{name}.jsonl.gz", [{"turns": turns, "lang": "en"}])
    return tmp_path


@pytest.mark.parametrize(
    ("text", "language"),
    [("Don't  you, um, know?!", "en"), ("你今天过得怎么样？", "zh"), ("", "en"), ("?!", "en"), ("42 lamps", "en")],
)
def test_words_join_to_the_text_again(text: str, language: Language) -> None:
    assert "".join(words(text, language)) == text


def test_the_neighbours_of_a_word_are_words_of_its_meaning(data: Path) -> None:
    near = neighbours(data, QUESTIONS[3] + QUESTIONS[8], "en", Meanings())

    assert set(near["funny"]) == {"humorous", "amusing"}
    assert near["hate"] == ["loathe"]


def test_the_teacher_knows_a_word_it_never_saw_by_its_meaning() -> None:
    asked = [(question, number) for number, of_intent in QUESTIONS.items() for question in of_intent]
    teacher = Teacher([question for question, _ in asked], [number for _, number in asked], Meanings())

    probabilities = teacher.probabilities(["humorous gag", "loathe"])

    assert teacher.intents[probabilities.argmax(axis=1)].tolist() == [3, 8]
    assert np.allclose(probabilities.sum(axis=1), 1)


def test_a_varied_question_takes_words_from_its_neighbours_and_nowhere_else_than_told(data: Path) -> None:
    near = {"hate": ["loathe"]}
    generator = random.Random(1)

    found = {varied("I hate you", ["I hate you"], near, "en", generator) for _ in range(200)}

    assert "I loathe you" in found
    assert not any("humorous" in one for one in found)
    assert all(one == " ".join(one.split()) for one in found)


def test_paraphrases_are_new_sure_and_of_the_right_intent(data: Path) -> None:
    found = paraphrases(data, QUESTIONS, "en", Meanings(), 1_000, random.Random(1))

    asked = {question.lower() for of_intent in QUESTIONS.values() for question in of_intent}
    assert len({one.question for one in found}) == len(found) > 50
    assert not {one.question.lower() for one in found} & asked
    assert {one.intent for one in found} == {3, 8}
    jokes = [one.intent for one in found if "gag" in words(one.question.lower(), "en") and "hate" not in one.question]
    assert jokes and np.mean(np.array(jokes) == 3) > 0.8
    teacher = Teacher(
        [question for of_intent in QUESTIONS.values() for question in of_intent], [3] * 4 + [8] * 4, Meanings()
    )
    assert teacher.probabilities([one.question for one in found]).max(axis=1).min() >= SURE - 1e-6


def test_no_paraphrase_is_a_question_that_is_to_be_unseen(data: Path) -> None:
    first = paraphrases(data, QUESTIONS, "en", Meanings(), 1_000, random.Random(1))
    unseen = [one.question.upper() + "?!" for one in first[::3]]

    again = paraphrases(data, QUESTIONS, "en", Meanings(), 1_000, random.Random(1), unseen)

    told = {"".join(filter(str.isalnum, question.lower())) for question in unseen}
    assert not {"".join(filter(str.isalnum, one.question.lower())) for one in again} & told
    assert len(again) > len(first) / 3


SCRIPT = """
import random, sys
from pathlib import Path
from botkit.training.paraphrases import paraphrases
from tests.training.test_paraphrases import QUESTIONS, Meanings
for one in paraphrases(Path(sys.argv[1]), QUESTIONS, "en", Meanings(), 1_000, random.Random(5)):
    print(one.question, one.intent)
"""


def test_the_same_seed_gives_the_same_paraphrases_in_another_process(data: Path) -> None:
    told = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = [sys.executable, "-c", SCRIPT, str(data)]
        done = subprocess.run(run, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
        told.append([line for line in done.stdout.splitlines() if "paraphrases, en" not in line])

    assert told[0] == told[1]
    assert len(told[0]) > 50
