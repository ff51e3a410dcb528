"""Fit the small-talk detector: logistic regression of chit-chat against questions that documents answer.

    python -m botkit.training.small_talk --data ../shared/data

Positive: the questions of the chit-chat files. Negative: reading-comprehension questions, and what people ask task-oriented
assistants and help centres. Whole intents are held out, so the figures are about small talk of kinds never seen, which is harder than
paraphrases of known kinds; so are whole help centres. The shipped weights are then fitted on all but the latter.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from botkit.messages import LANGUAGES, Language
from botkit.models.small_talk import BUCKETS, BUILTIN, SmallTalkDetector, ngram_buckets
from botkit.training.help_centres import help_centres

NEGATIVE_QA = ("squad_train", "qamr_train", "qed_train", "policyqa_train", "zh_cmrc_train", "zh_drcd_train")
NEGATIVE_DIALOGUE = ("sgd_train", "zh_dialogue_train", "taskmaster_train")
PER_SOURCE = 6_000
FRAMED = 7_000
FRAMES = {
    "en": """Do you sell {}?|Do you have {}?|Can I buy {} from you?|Can I pay with {}?|Can I use {} without {}?|And {}?|
        What about {}?|And on {}?|Will you repair my {}?|Do I need {} for {}?|Where can I find {} near you?|Are your {} {}?|
        How do I get {}?|How much is {}?|Is {} included?|Do you deliver to {}?|Can I return {}?|May I bring {}?|
        My {} is broken, what now?|What do you do with my {}?|How do I make {}?|What does {} do?|Do you offer {}?|
        Do you support {}?|Can you explain {}?|Who made {}?|Is there a {}?|Can I change my {}?|I lost my {}.|
        What will {} be tomorrow?|When do you open on {}?|Are you open on {}?|How tall is {}?|How old is {}?|How big is {}?|How far is {}?|How hot is {}?|
        Who won {}?|Who is {}?|Where is {}?|Where is {} from?|When is {}?|What is {}?|What is the capital of {}?|What colour is {}?|
        Who is the president of {}?|Is {} bigger than {}?|Why is {} so {}?|Tell me about {}.|How does {} work?""",
    "zh": """你们卖{}吗？|你们有{}吗？|可以向你们租{}吗？|你们收{}吗？|能不能用{}付款？|可以寄到{}吗？|寄到{}要几天？|{}呢？|那{}呢？|
        {}怎么做？|{}怎么样？|我的{}坏了怎么办？|{}坏了能修吗？|{}一直没收到，怎么办？|你们寄来的{}不对，怎么办？|买{}能便宜点吗？|
        {}多少钱？|{}有多重？|{}有什么作用？|最多几个{}？|{}能退吗？|{}可以换什么？|我的{}会不会被传到{}？|{}会说{}吗？|
        能帮我包{}吗？|有多少人在用{}？|怎么让{}停下来？|为什么{}有时候不行？|只买一件{}可以吗？|你们的{}什么时候开门？|
        你们支持{}吗？|你们提供{}吗？|怎么联系{}？|怎么修改{}？|哪里可以买到{}？|我想取消{}|{}有多高？|{}多少岁？|{}有多大？|{}离这里多远？|{}是谁？|{}在哪里？|
        {}是什么？|{}的首都是哪里？|{}是什么颜色？|谁赢了{}？|{}为什么这么{}？|介绍一下{}|{}是怎么工作的？|{}比{}大吗？""",
}


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a gzipped JSON-lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def small_talk_intents(data: Path) -> list[list[str]]:
    """The questions of each chit-chat intent, both languages."""
    return [
        row["questions"] for name in ("chitchat_en", "chitchat_zh") for row in rows(data / f"dialogue/{name}.jsonl.gz")
    ]


def document_questions(data: Path, generator: random.Random) -> list[str]:
    """Questions that are not small talk; Traditional Chinese also in Simplified."""
    from opencc import OpenCC

    simplified = OpenCC("t2s")
    found: list[str] = []
    for name in NEGATIVE_QA:
        questions = [row["question"] for row in rows(data / f"qa/{name}.jsonl.gz")]
        generator.shuffle(questions)
        questions = questions[:PER_SOURCE]
        found += [simplified.convert(question) for question in questions] if name == "zh_drcd_train" else questions
    for name in NEGATIVE_DIALOGUE:
        asked = [
            turn
            for row in rows(data / f"dialogue/{name}.jsonl.gz")
            for turn in row["turns"][0::2]
            if turn.rstrip().endswith(("?", "？")) and len(turn) > (5 if row["lang"] == "zh" else 12)
        ]
        generator.shuffle(asked)
        found += asked[:PER_SOURCE]
    return found + framed_questions(data, generator)


def asked_of_help_centres(language: Language, *, held_out: bool = False) -> list[str]:
    """What people ask help centres, often in a chatty tone and with their own story, answered there or not."""
    return [
        question
        for passage in help_centres(language, held_out=held_out)
        for question in (*(asked.question for asked in passage.asked), *passage.unanswerable)
    ]


def framed_questions(data: Path, generator: random.Random) -> list[str]:
    """What customers ask, about all sorts of things: written frames filled with short answers of the QA files.

    Without them "you" and 你们 alone would make small talk of "Do you sell curtains?".
    """
    from opencc import OpenCC

    simplified = OpenCC("t2s")
    found = []
    for language, name in (("en", "squad_train"), ("zh", "zh_drcd_train")):
        longest = 24 if language == "en" else 6
        answers = [answer["text"] for row in rows(data / f"qa/{name}.jsonl.gz") for answer in row["answers"][:1]]
        things = sorted({answer for answer in answers if len(answer) <= longest and not answer[:1].isdigit()})
        frames = [frame.strip() for frame in FRAMES[language].split("|")]
        for _ in range(FRAMED):
            frame = generator.choice(frames)
            filled = frame.format(*(generator.choice(things) for _ in range(frame.count("{}"))))
            found.append(simplified.convert(filled) if language == "zh" else filled)
    return found


def fit(texts: Sequence[str], labels: Sequence[int], regularisation: float) -> SmallTalkDetector:
    """L2-regularised logistic regression, classes weighted to equal shares (scikit-learn's liblinear)."""
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    buckets = [ngram_buckets(text) for text in texts]
    lengths = np.array([max(1, len(found)) for found in buckets])
    pointers = np.concatenate([[0], np.cumsum([len(found) for found in buckets])])
    values = np.repeat(1 / np.sqrt(lengths), [len(found) for found in buckets])
    matrix = csr_matrix((values, np.concatenate(buckets), pointers), shape=(len(texts), BUCKETS))
    model = LogisticRegression(C=regularisation, class_weight="balanced", solver="liblinear", max_iter=200)
    model.fit(matrix, labels)
    return SmallTalkDetector(model.coef_[0].astype(np.float32), float(model.intercept_[0]))


def main() -> None:
    """Fit, report on held-out intents and questions, fit on everything, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with dialogue/ and qa/")
    parser.add_argument("--out", type=Path, default=BUILTIN)
    parser.add_argument("--regularisation", type=float, default=10.0, help="inverse strength of the L2 penalty")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    generator = random.Random(arguments.seed)
    intents = small_talk_intents(arguments.data)
    generator.shuffle(intents)
    negatives = document_questions(arguments.data, generator)
    generator.shuffle(negatives)
    held_intents, kept_intents = intents[: len(intents) // 5], intents[len(intents) // 5 :]
    held_negatives, kept_negatives = negatives[: len(negatives) // 5], negatives[len(negatives) // 5 :]

    customers = [text for language in LANGUAGES for text in asked_of_help_centres(language)]
    kept = [text for intent in kept_intents for text in intent]
    trial = _fit_both(kept, kept_negatives + customers, arguments.regularisation)
    caught = np.array([trial.probability(text) for intent in held_intents for text in intent])
    raised = np.array([trial.probability(text) for text in held_negatives])
    metrics = {
        "recall_at_0.5": float((caught >= 0.5).mean()),
        "recall_at_0.9": float((caught >= 0.9).mean()),
        "false_alarms_at_0.5": float((raised >= 0.5).mean()),
        "false_alarms_at_0.9": float((raised >= 0.9).mean()),
        "n_small_talk": len(caught),
        "n_questions": len(raised),
    }
    help_centres_metrics = {}
    for language in LANGUAGES:
        unseen = np.array([trial.probability(text) for text in asked_of_help_centres(language, held_out=True)])
        help_centres_metrics[language] = {
            "false_alarms_at_0.5": float((unseen >= 0.5).mean()),
            "false_alarms_at_0.9": float((unseen >= 0.9).mean()),
            "n": len(unseen),
        }
    card = {
        "command": "python -m botkit.training.small_talk --data DATA",
        "held_out_intents": metrics,
        "held_out_help_centres": help_centres_metrics,
    }
    print(json.dumps(card, indent=1))

    everything = [text for intent in intents for text in intent]
    _fit_both(everything, negatives + customers, arguments.regularisation).write(arguments.out)
    (arguments.out / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def _fit_both(positive: Sequence[str], negative: Sequence[str], regularisation: float) -> SmallTalkDetector:
    return fit([*positive, *negative], [1] * len(positive) + [0] * len(negative), regularisation)


if __name__ == "__main__":
    main()
