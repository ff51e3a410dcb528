"""Small-talk questions in other words, labelled by a teacher that knows more words than the generator.

The generator is trained from nothing, on some hundred ways to say each thing: that "unfunny" is near "humorous" it cannot know. A
pre-trained sentence encoder does. So questions are varied at random, and a teacher tells which intent the result is of: logistic regression
on the encoder's embeddings together with one on character n-grams. Variants of which it is unsure are dropped. This is distillation
with augmented data as in TinyBERT (Jiao et al. 2020), with neighbours in the encoder's space for its masked words.

The encoder must not have learnt from the small talk: the one that ships has, held-out questions included, so the base of it is
used. A variant that is a held-out question, but for case and marks, is dropped.
"""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from botkit.messages import Language
from botkit.models import Encoder
from botkit.training.small_talk import rows

SURE: Final = 0.5
"""The least probability at which the teacher's word is taken."""
NEAREST: Final = 10
LEAST_COSINE: Final = 0.8
RAREST: Final = 5
"""A word counts as known if it is there so often."""
MOST_WORDS: Final = 12_000
DIALOGUES: Final[dict[Language, tuple[str, ...]]] = {
    "en": ("topical_train", "sgd_train", "taskmaster_train"),
    "zh": ("zh_dialogue_train",),
}
BEFORE: Final = """hey|so|ok|please|tell me|well|and|but|i want to know|can you tell me|i was wondering|oh|i think|honestly|
    you know|say|really|hi|listen|i wonder|do you know|man|i guess|actually|just""".replace("\n", "").split("|")
AFTER: Final = (
    "please|today|right now|bot|my friend|then|again|for me|lol|though|at all|or what|really|anyway|dude".split("|")
)
SHORTER: Final = (
    ("you are", "you're"), ("i am", "i'm"), ("what is", "what's"), ("do not", "don't"), ("it is", "it's"), ("is not", "isn't"),
    ("are not", "aren't"), ("i have", "i've"), ("who is", "who's"), ("you", "u"), ("are", "r"), ("want to", "wanna"),
    ("going to", "gonna"), ("let us", "let's"), ("i would", "i'd"), ("cannot", "can't"), ("because", "cause"),
)  # fmt: skip
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


@dataclass(frozen=True)
class Paraphrase:
    """A varied question and the number of the intent that the teacher took it for."""

    question: str
    intent: int


class Teacher:
    """Tells the intent of a question; the geometric mean of two logistic regressions, the second one weighing half."""

    def __init__(self, questions: Sequence[str], intents: Sequence[int], encoder: Encoder) -> None:
        """Fit on questions and the numbers of their intents."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        self._encoder = encoder
        self._letters: Any = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 5), sublinear_tf=True, min_df=2)
        self._by_letters: Any = LogisticRegression(C=30, max_iter=200)
        self._by_letters.fit(self._letters.fit_transform(questions), intents)
        self._by_meaning: Any = LogisticRegression(C=50, max_iter=600)
        self._by_meaning.fit(encoder.encode(questions), intents)
        self.intents: NDArray[np.int64] = self._by_meaning.classes_

    def probabilities(self, questions: Sequence[str]) -> NDArray[np.float64]:
        """float64 of shape (len(questions), intents), rows of sum one, in the order of `intents`."""
        logs = self._by_meaning.predict_log_proba(self._encoder.encode(questions))
        logs = logs + 0.5 * self._by_letters.predict_log_proba(self._letters.transform(questions))
        found = np.exp(logs - logs.max(axis=1, keepdims=True))
        return np.asarray(found / found.sum(axis=1, keepdims=True), dtype=np.float64)


def words(text: str, language: Language) -> list[str]:
    """The words of a text with all that stands between them, so that they join to the text again."""
    if language == "zh":
        import jieba

        return list(jieba.cut(text))
    cuts = [0, *(edge for match in _WORD.finditer(text) for edge in match.span()), len(text)]
    return [text[begin:end] for begin, end in itertools.pairwise(cuts) if end > begin]


def neighbours(data: Path, questions: Sequence[str], language: Language, encoder: Encoder) -> dict[str, list[str]]:
    """Words of dialogues and questions, lower-case, each with those nearest to it in the encoder's space."""
    counts: Counter[str] = Counter()
    for question in questions:
        counts.update(dict.fromkeys(words(question.lower(), language), RAREST))
    for name in DIALOGUES[language]:
        for row in rows(data / f"dialogue/{name}.jsonl.gz"):
            counts.update(word for turn in row["turns"] for word in words(turn.lower(), language))
    shortest = 2 if language == "zh" else 3
    known = [
        word for word, n in counts.most_common() if n >= RAREST and len(word) >= shortest and _WORD.fullmatch(word)
    ]
    known = known[:MOST_WORDS]
    vectors = encoder.encode(known)
    found = {}
    for begin in range(0, len(known), 1024):
        for word, cosines in zip(known[begin : begin + 1024], vectors[begin : begin + 1024] @ vectors.T, strict=True):
            nearest = [known[i] for i in np.argsort(-cosines)[: NEAREST + 1] if cosines[i] >= LEAST_COSINE]
            found[word] = [other for other in nearest if other != word][:NEAREST]
    return found


def varied(
    question: str,
    others: Sequence[str],
    near: Mapping[str, Sequence[str]],
    language: Language,
    generator: random.Random,
) -> str:
    """The question with one to three changes; `others` are questions that a part can be taken from."""
    parts = words(question, language)
    for _ in range(generator.choice((1, 1, 2, 2, 3))):
        change = generator.random()
        places = [i for i, part in enumerate(parts) if near.get(part.lower())]
        if change < 0.55 and places:
            at = generator.choice(places)
            parts[at] = generator.choice(near[parts[at].lower()])
        elif change < 0.7 and len(parts) > 3:
            at = generator.randrange(len(parts))
            del parts[at : at + (2 if language == "en" else 1)]
        elif change < 0.85:
            other = words(generator.choice(others), language)
            mine, its = len(parts) // 2, len(other) // 2
            parts = parts[:mine] + other[its:] if generator.random() < 0.5 else other[:its] + parts[mine:]
        elif language == "en":
            text = "".join(parts)
            if generator.random() < 0.4:
                for long, short in generator.sample(SHORTER, len(SHORTER)):
                    if re.search(rf"\b{long}\b", text.lower()):
                        text = re.sub(rf"\b{long}\b", short, text, count=1, flags=re.IGNORECASE)
                        break
            elif generator.random() < 0.6:
                text = f"{generator.choice(BEFORE).strip()} {text[:1].lower()}{text[1:]}"
            else:
                text = f"{text.rstrip('?.! ')} {generator.choice(AFTER)}{'?' if text.rstrip().endswith('?') else ''}"
            parts = words(text, language)
    return " ".join("".join(parts).split()) if language == "en" else "".join(parts)


def bare(text: str) -> str:
    """Its letters and digits, in lower case."""
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def paraphrases(
    data: Path,
    questions: Mapping[int, Sequence[str]],
    language: Language,
    encoder: Encoder,
    count: int,
    generator: random.Random,
    unseen: Iterable[str] = (),
) -> list[Paraphrase]:
    """Variants of the questions of each intent, out of `count` tries in all (in thousands), all intents drawn equally often.

    None is one of `questions` or of `unseen`, and each is there once.
    """
    asked = [(question, number) for number, of_intent in questions.items() for question in of_intent]
    teacher = Teacher([question for question, _ in asked], [number for _, number in asked], encoder)
    near = neighbours(data, [question for question, _ in asked], language, encoder)
    everything = [question for question, _ in asked]
    known = {bare(question) for question in [*everything, *unseen]}
    found: dict[str, int] = {}
    numbers = list(questions)
    for _ in track(range(0, count, 1_000), description=f"paraphrases, {language}"):
        drawn = []
        for _ in range(1_000):
            own = questions[generator.choice(numbers)]
            others = own if generator.random() < 0.6 else everything
            drawn.append(varied(generator.choice(own), others, near, language, generator))
        drawn = sorted({one for one in drawn if bare(one) and bare(one) not in known})
        for one, probability in zip(drawn, teacher.probabilities(drawn), strict=True):
            if probability.max() >= SURE:
                found[one] = int(teacher.intents[probability.argmax()])
    return [Paraphrase(question, number) for question, number in found.items()]
