"""The generator: how well it foresees what was said, and whether its small talk is to the point."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from botkit.errors import DataError, MissingExtraError
from botkit.evaluation.formats import Intent
from botkit.evaluation.metrics import answer_tokens, distinct, f1_score, mean
from botkit.evaluation.reader import Track
from botkit.evaluation.scored import Collect, ExampleIds, Scored, bucket
from botkit.language import detect
from botkit.messages import Language, Turn
from botkit.models import Generator, Sampling


@runtime_checkable
class Foreseeing(Protocol):
    """A generator that can tell how probable a reply is. Endpoints cannot."""

    def log_likelihood(self, turns: Sequence[Turn], *, language: Language, persona: str) -> tuple[float, int]:
        """Natural log-probability of the last turn after those before it, and its number of tokens."""
        ...


@runtime_checkable
class ForeseeingText(Protocol):
    """A generator that can tell how probable a plain text is."""

    def text_log_likelihood(self, text: str) -> tuple[float, int]:
        """Natural log-probability of the text after its first token, and the number of tokens that it is of."""
        ...


def evaluate_generator(
    generator: Generator,
    conversations: Sequence[Sequence[Turn]],
    intents: Sequence[Intent],
    *,
    texts: Sequence[str] = (),
    persona: str = "friendly",
    track: Track = iter,
    overlap: int = 0,
    collect: Collect | None = None,
) -> dict[str, Any]:
    """Perplexity over the replies and plain texts, and for intents the share of (greedy) replies of the right intent.

    A reply is of the intent to whose answers it is most similar (F1 over words or characters); one that shares no word
    with any answer is of none. Perplexity is the exponential of the mean negative log-probability of a token, so models
    with other tokenizers do not compare; of intents it is that of `persona`'s answer, or the first where there is none.
    `log_probability` is the mean over replies and texts of their mean natural log-probability of a token (higher is better): what
    two models with one tokenizer are compared by, example by example.
    `distinct_1` and `distinct_2` are of the replies in one language, averaged over the languages by their replies.

    With `overlap`, the replies to so many turns of the conversations are generated and compared with what was said: BLEU
    (Papineni et al. 2002, by sacrebleu) and ROUGE-L (Lin 2004, by rouge-score), Chinese by character.

    Raises `DataError` where there is nothing to measure.
    """
    jobs = [(intent, question) for intent in intents for question in intent.questions]
    report: dict[str, Any] = {}
    if isinstance(generator, Foreseeing):
        replies = [turns[: last + 1] for turns in conversations for last in range(1, len(turns), 2)]
        replies += [
            [Turn("user", question), Turn("bot", intent.answers.get(persona, next(iter(intent.answers.values()))))]
            for intent, question in jobs
        ]
        told: list[tuple[str, float, int]] = []
        for turns in track(replies):
            said = turns[-1].text
            told.append((said, *generator.log_likelihood(turns, language=detect(said), persona=persona)))
        if texts and isinstance(generator, ForeseeingText):
            told += [(text, *generator.text_log_likelihood(text)) for text in track(texts)]
        told = [one for one in told if one[2]]
        if not told:
            raise DataError("The file has no replies: a conversation needs two turns, the person's and the bot's.")
        tokens = sum(length for _, _, length in told)
        total = sum(log_probability for _, log_probability, _ in told)
        report |= {"perplexity": math.exp(min(-total / tokens, 700.0)), "tokens": tokens, "n": len(told)}
        if not jobs:
            report["log_probability"] = mean([one / length for _, one, length in told])
            ids = ExampleIds()
            for said, log_probability, length in told if collect else ():
                assert collect is not None
                collect(_foreseen(ids, said, log_probability / length))
    elif not jobs:
        raise DataError("This generator cannot tell probabilities, and the file has no intents: nothing to measure.")
    if jobs:
        report = {"n": len(jobs)} | report | _intents(generator, intents, jobs, persona, track, collect)
    if overlap and conversations:
        report = _overlap(generator, conversations, overlap, persona, track) | report
    return report


def _foreseen(ids: ExampleIds, text: str, log_probability: float) -> Scored:
    language = detect(text)
    facets = {"language": language, "length": bucket(len(answer_tokens(text, language)), (6, 12, 24, 48))}
    return Scored(ids.of(text), {"log_probability": log_probability}, facets, text=text)


def _intents(
    generator: Generator,
    intents: Sequence[Intent],
    jobs: Sequence[tuple[Intent, str]],
    persona: str,
    track: Track,
    collect: Collect | None,
) -> dict[str, Any]:
    greedy = Sampling(temperature=0.0, repetition_penalty=1.0)
    right: dict[Language, list[bool]] = {}
    said: dict[Language, list[str]] = {}
    ids = ExampleIds()
    for intent, question in track(jobs):
        turns = [Turn("user", question)]
        reply = "".join(generator.stream(turns, sampling=greedy, language=intent.language, persona=persona))
        said.setdefault(intent.language, []).append(reply)
        own = _similarity(reply, intent)
        nearest = max(_similarity(reply, other) for other in intents if other.language == intent.language)
        right.setdefault(intent.language, []).append(own > 0 and own == nearest)
        if collect:
            facets = {
                "language": intent.language,
                "length": bucket(len(answer_tokens(question, intent.language)), (4, 7, 12)),
            }
            scores = {"intent_accuracy": float(right[intent.language][-1])}
            collect(Scored(ids.of(intent.language, question), scores, facets, text=f"{question} → {reply}"))
    report: dict[str, Any] = {
        "intent_accuracy": mean([one for found in right.values() for one in found]),
        "distinct_1": _distinct(said, 1),
        "distinct_2": _distinct(said, 2),
        "intent_n": len(jobs),
    }
    if len(right) > 1:
        report["languages"] = {
            language: {"intent_accuracy": mean(found), "n": len(found)} for language, found in right.items()
        }
    return report


def _overlap(
    generator: Generator, conversations: Sequence[Sequence[Turn]], limit: int, persona: str, track: Track
) -> dict[str, Any]:
    try:
        import sacrebleu
        from rouge_score import rouge_scorer
    except ImportError as error:
        raise MissingExtraError("BLEU and ROUGE", "train") from error
    places = [(turns, last) for turns in conversations for last in range(1, len(turns), 2)]
    places = places[:: max(1, len(places) // limit)][:limit]
    greedy = Sampling(temperature=0.0, repetition_penalty=1.0)
    said: dict[Language, list[tuple[str, str]]] = {}
    for turns, last in track(places):
        language = detect(turns[last].text)
        reply = "".join(generator.stream(turns[:last], sampling=greedy, language=language, persona=persona))
        said.setdefault(language, []).append((reply, turns[last].text))

    class Pieces:
        def __init__(self, language: Language) -> None:
            self._language = language

        def tokenize(self, text: str) -> list[str]:
            return answer_tokens(text, self._language)

    report: dict[str, Any] = {"overlap_n": len(places)}
    count = len(places)
    bleu = rouge = 0.0
    for language, pairs in said.items():
        tokens = "zh" if language == "zh" else "13a"
        score = sacrebleu.corpus_bleu([a for a, _ in pairs], [[b for _, b in pairs]], tokenize=tokens).score / 100
        scorer = rouge_scorer.RougeScorer(["rougeL"], tokenizer=Pieces(language))
        bleu += score * len(pairs) / count
        rouge += sum(scorer.score(right, reply)["rougeL"].fmeasure for reply, right in pairs) / count
    replies = {language: [reply for reply, _ in pairs] for language, pairs in said.items()}
    return {
        **report,
        "bleu": bleu,
        "rouge_l": rouge,
        "distinct_1": _distinct(replies, 1),
        "distinct_2": _distinct(replies, 2),
    }


def _distinct(said: Mapping[Language, Sequence[str]], size: int) -> float:
    count = sum(len(replies) for replies in said.values())
    if not count:
        return 0.0
    return sum(len(replies) * distinct(replies, size, language) for language, replies in said.items()) / count


def _similarity(reply: str, intent: Intent) -> float:
    return max(f1_score(reply, answer, intent.language) for answer in intent.answers.values())
