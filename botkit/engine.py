"""One turn, from message to reply.

`Engine.respond` reads top to bottom as a turn goes: sentiment, contextualise, retrieve, read, decide, then answer, chat,
clarify, hand off or "I don't know". Model calls run in worker threads; the turns of one conversation wait for each other,
those of different conversations do not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeVar
from weakref import WeakValueDictionary

from botkit.config import Settings, load_settings
from botkit.conversations.contextualise import Contextualiser
from botkit.conversations.erase import erase
from botkit.conversations.store import ConversationStore
from botkit.conversations.trend import wants_human
from botkit.conversations.window import window
from botkit.decision import (
    REPEATED,
    SMALL_TALK_SURE,
    Candidate,
    Decision,
    candidates,
    decide,
    heading_of,
    passage_for_reader,
    questions_of,
    small_talk_decision,
)
from botkit.errors import GeneratorError
from botkit.evidence import Evidence, Examiner
from botkit.hand_off import HandOffError, call_hook
from botkit.knowledge.base import Knowledge
from botkit.knowledge.types import Hit, SearchFilter
from botkit.language import detect, detect_in_conversation
from botkit.messages import (
    Delta,
    Event,
    Language,
    Message,
    Reply,
    Sentiment,
    Source,
    Status,
    Trace,
    TraceCandidate,
    Turn,
)
from botkit.models import Sampling
from botkit.parts import Parts
from botkit.phrases import phrase
from botkit.text import LONGEST_QUERY, clean, enclosing_sentence, has_words, table_row, terms

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

_TRACED_CANDIDATES: Final = 8
_ALTERNATIVES: Final = 2
"""Further readings of a follow-up question that are searched for."""
_YES: Final = re.compile(
    r"(?i)^\W*(y|yes|yeah|yep|sure|ok|okay|please|yes,? please|please do|是|是的|好|好的|要|需要|可以|行|嗯|对)\W*$"
)
_CHOICE: Final = re.compile(r"^\W*(\d)\W*$")


_UNHEARD: Final = Sentiment("neutral", 0.0)


@dataclass
class _State:
    """What a conversation remembers besides its words; stored as JSON with it."""

    negative_turns: int = 0
    unanswered_turns: int = 0
    offered: bool = False
    pending_question: str = ""
    pending_options: list[dict[str, str]] = field(default_factory=list)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> _State:
        return cls(**{name: stored[name] for name in cls.__dataclass_fields__ if name in stored})


@dataclass
class _Turn:
    """One turn under way: what is known of it so far, and the milliseconds of each stage."""

    message: Message
    text: str
    language: Language
    """Of the bot's own words."""
    spoken: Language
    """Of the person's words, by whose rules they are understood."""
    started: float = field(default_factory=time.perf_counter)
    timings_ms: dict[str, float] = field(default_factory=dict)
    sentiment: Sentiment = _UNHEARD
    history: list[Turn] = field(default_factory=list)
    asked: list[Turn] = field(default_factory=list)
    state: _State = field(default_factory=_State)
    query: str = ""
    rewritten: bool = False
    contrast: str = ""
    """What this message asks the question before of instead; `answered` is what was answered before."""
    answered: str = ""
    small_talk: float = 0.0
    hits: Sequence[Hit] = ()
    ranked: list[Candidate] = field(default_factory=list)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.timings_ms[name] = self.timings_ms.get(name, 0.0) + (time.perf_counter() - begun) * 1000


class Engine:
    """Answers messages from the knowledge, in conversations. Make one with `load`."""

    def __init__(self, settings: Settings, *, knowledge: Knowledge, store: ConversationStore, parts: Parts) -> None:
        self.settings = settings
        self.knowledge = knowledge
        self.store = store
        self.parts = parts
        self._config = settings.config
        self._contextualiser = Contextualiser()
        self._examiner = Examiner(parts.reader, parts.encoder)
        self._workers = ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 2), thread_name_prefix="botkit")
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # ---- one turn -------------------------------------------------------------------------------------------------

    async def respond(self, message: Message) -> AsyncGenerator[Event, None]:
        """Answer one message: any number of `Status` and `Delta`, then exactly one `Reply`.

        The message is stored before it is answered. Messages of one conversation are answered in the order they come.
        """
        lock = self._locks.setdefault(message.conversation, asyncio.Lock())
        async with lock:
            turn = self._begin(message)
            yield Status("thinking")
            await self._listen(turn)

            if not has_words(turn.text):
                decided = Decision("clarify", "the message has no words", 1.0)
            elif self._asks_for_human(turn):
                decided = Decision("hand_off", "the person asked for a human", 1.0)
            elif chosen := self._choice(turn):
                turn.query = turn.state.pending_question
                yield Status("reading")
                decided = await self._read_choice(turn, chosen)
            else:
                yield Status("searching")
                decided = await self._search_and_decide(turn)
            turn.state.pending_question, turn.state.pending_options = "", []

            if decided.route == "chat":
                yield Status("writing")
                written: list[str] = []
                async for piece in self._chat(turn):
                    written.append(piece)
                    yield Delta(piece)
                reply = self._reply(turn, decided, "".join(written))
            else:
                reply = await self._say(turn, decided)
                yield Delta(reply.text)
            if offer := self._offer(turn, decided):
                yield Delta(offer)
                reply = replace(reply, text=reply.text + offer, hand_off_offered=True)

            reply = await self._end(turn, reply)
            yield reply

    async def answer(self, message: Message) -> Reply:
        """The reply to one message, without the events before it."""
        reply: Reply | None = None
        async for event in self.respond(message):
            if isinstance(event, Reply):
                reply = event
        assert reply is not None, "respond ends with a reply"
        return reply

    def _begin(self, message: Message) -> _Turn:
        text = clean(message.text[: 8 * LONGEST_QUERY])[:LONGEST_QUERY]
        spoken = detect(text, message.language or "en")
        return _Turn(message, text, self._own_words(message, spoken), spoken, query=text)

    def _own_words(self, message: Message, spoken: Language) -> Language:
        """The language of the bot's own words to someone who speaks `spoken`."""
        chosen = self._config.bot.language
        return message.language or (spoken if chosen == "auto" else chosen)

    async def _listen(self, turn: _Turn) -> None:
        """Notice the tone, store the message, and recall what was said before."""
        with turn.stage("sentiment"):
            if has_words(turn.text):
                [turn.sentiment] = await self._run(self.parts.sentiment().classify, [turn.text])
        with turn.stage("history"):
            conversation = turn.message.conversation
            spoken = await self._run(self.store.history, conversation, 2 * self._config.conversation.history_turns)
            spoken = [stored for stored in spoken if stored.id != turn.message.id]
            turn.history = [
                Turn(stored.role, stored.text, stored.route, (stored.reply or {}).get("question", ""))
                for stored in spoken
            ]
            turn.asked = _without_small_talk(turn.history) or turn.history
            earlier = [said.text for said in turn.history if said.role == "user"]
            turn.spoken = detect_in_conversation(turn.text, earlier, turn.spoken)
            turn.language = self._own_words(turn.message, turn.spoken)
            turn.state = _State.of(await self._run(self.store.state, conversation))
            await self._run(self.store.record_message, turn.message, turn.sentiment)
        negative = turn.sentiment.label == "negative"
        turn.state.negative_turns = turn.state.negative_turns + 1 if negative else 0

    def _asks_for_human(self, turn: _Turn) -> bool:
        if not self._config.hand_off.enabled:
            return False
        agreed = turn.state.offered and _YES.match(turn.text) is not None
        turn.state.offered = False
        return agreed or wants_human(turn.text)

    async def _search_and_decide(self, turn: _Turn) -> Decision:
        """Contextualise, retrieve, read, decide."""
        with turn.stage("contextualise"):
            resolution = self._contextualiser.resolve(turn.text, turn.asked, turn.spoken)
            turn.query, turn.rewritten = resolution.query[:LONGEST_QUERY], resolution.rewritten
            turn.contrast = resolution.contrast
            turn.answered = "\n".join(said.text for said in turn.history if said.route == "answer")
        with turn.stage("small_talk"):
            turn.small_talk = self.parts.small_talk().probability(turn.text)
        if self._config.answer.small_talk and turn.small_talk >= SMALL_TALK_SURE:
            return small_talk_decision(turn.small_talk)
        message = turn.message
        where = SearchFilter(documents=message.documents, tags=message.tags, language=message.source_language)
        turn.hits = await self._retrieve(turn, turn.query, where)
        await self._read(turn)
        for query in resolution.alternatives[:_ALTERNATIVES]:
            await self._try(turn, query[:LONGEST_QUERY], where)
        with turn.stage("decide"):
            return decide(
                turn.ranked,
                language=turn.spoken,
                small_talk=0.0 if resolution.rewritten else turn.small_talk,  # "And to Norway?" goes on with a question
                unresolved=resolution.unresolved,
                bare=resolution.bare,
                config=self._config.answer,
                calibration=self.parts.calibration(),
            )

    async def _retrieve(self, turn: _Turn, query: str, where: SearchFilter) -> list[Hit]:
        """The passages for a query, those in the question's language before others.

        The same thing is often told in both languages, and the reader is surer of itself in one of them.
        """
        k = self._config.retrieval.k
        with turn.stage("retrieve"):
            found = await self._run(partial(self.knowledge.search, query, 2 * k, where=where))
        own = [hit for hit in found if hit.chunk.language == turn.spoken]
        others = [hit for hit in found if hit.chunk.language != turn.spoken]
        kept = own[: max(k - len(others), k - k // 4)]
        return [*kept, *others][:k]

    async def _try(self, turn: _Turn, query: str, where: SearchFilter) -> None:
        """Search for another reading of the question; keep it where the documents answer it better."""
        other = replace(turn, query=query, hits=await self._retrieve(turn, query, where), ranked=[])
        await self._read(other)
        if other.ranked and (not turn.ranked or other.ranked[0].confidence > turn.ranked[0].confidence):
            turn.query, turn.hits, turn.ranked = other.query, other.hits, other.ranked
            turn.rewritten = query != turn.text

    async def _read(self, turn: _Turn) -> None:
        with turn.stage("read"):
            evidence = await self._run(self._examine, turn.query, turn.hits)
        with turn.stage("decide"):
            turn.ranked = candidates(turn.query, turn.spoken, turn.hits, evidence, self.parts.calibration())
            if turn.contrast and turn.answered:
                turn.ranked = _anew(turn.ranked, turn.answered, turn.contrast, turn.spoken)

    def _examine(self, query: str, hits: Sequence[Hit]) -> Evidence:
        passages = [passage_for_reader(hit)[0] for hit in hits]
        return self._examiner.examine(query, passages, questions_of(hits), known=self.knowledge.embeddings(hits))

    # ---- what to say ----------------------------------------------------------------------------------------------

    async def _say(self, turn: _Turn, decided: Decision) -> Reply:
        """The reply of every route but chat."""
        if decided.route == "answer":
            source = _source(decided.candidates[0])
            return self._reply(
                turn,
                decided,
                _shown(decided.candidates[0]),
                answer=source.span,
                sources=self._supporting(turn, decided),
            )
        if decided.route == "hand_off":
            return self._reply(turn, decided, await self._hand_off(turn, decided.rule))
        if decided.route == "clarify":
            if not decided.candidates:
                name = "clarify_reference" if has_words(turn.text) else "empty"
                return self._reply(turn, decided, phrase(name, turn.language))
            return self._ask_back(turn, decided)
        closest = self._closest(turn)
        name = "unknown_with_sources" if closest else "unknown"
        if not turn.hits and await self._run(lambda: not self.knowledge.documents()):
            name = "no_documents"
        return self._reply(turn, decided, phrase(name, turn.language), sources=closest)

    def _ask_back(self, turn: _Turn, decided: Decision) -> Reply:
        labels = [_label(candidate) for candidate in decided.candidates]
        turn.state.pending_question = turn.query
        turn.state.pending_options = [
            {"label": label, "document": candidate.hit.chunk.document, "heading": heading_of(candidate.hit)}
            for label, candidate in zip(labels, decided.candidates, strict=True)
        ]
        lines = [phrase("clarify_reading", turn.language)]
        lines += [f"{number}. {label}" for number, label in enumerate(labels, 1)]
        sources = tuple(_source(candidate) for candidate in decided.candidates)
        return self._reply(turn, decided, "\n".join(lines), sources=sources, options=tuple(labels))

    def _choice(self, turn: _Turn) -> dict[str, str] | None:
        """The reading that the person picked, by its number or its words, from those offered a turn ago."""
        options = turn.state.pending_options
        if match := _CHOICE.match(turn.text):
            number = int(match[1])
            return options[number - 1] if 1 <= number <= len(options) else None
        return next((option for option in options if clean(option["label"]).casefold() == turn.text.casefold()), None)

    async def _read_choice(self, turn: _Turn, chosen: Mapping[str, str]) -> Decision:
        """Answer the question asked before from the place the person picked."""
        with turn.stage("retrieve"):
            found = await self._run(
                partial(
                    self.knowledge.search,
                    f"{turn.query} {chosen['heading']}",
                    self._config.retrieval.k,
                    where=SearchFilter(documents=(chosen["document"],)),
                )
            )
            turn.hits = [hit for hit in found if heading_of(hit) == chosen["heading"]]
        await self._read(turn)
        if not turn.ranked:
            return Decision("unknown", "the chosen place is no longer in the documents", 0.0)
        best = turn.ranked[0]
        return Decision("answer", "the person chose this reading", best.confidence, (best,))

    async def _chat(self, turn: _Turn) -> AsyncIterator[str]:
        """The generator's words as they come; where it fails, an honest sentence instead."""
        generation = self._config.models.generator
        sampling = Sampling(
            generation.temperature,
            generation.top_k,
            generation.top_p,
            generation.repetition_penalty,
            generation.max_new_tokens,
            tuple(generation.stop),
            generation.seed,
        )
        limits = self._config.conversation
        turns = window([*turn.history, Turn("user", turn.text)], max(1, limits.history_turns), limits.history_tokens)
        said = False
        with turn.stage("generate"):
            try:
                generator = await self._run(self.parts.generator)
                pieces = partial(
                    generator.stream,
                    turns,
                    sampling=sampling,
                    language=turn.language,
                    persona=self._config.bot.persona,
                )
                async for piece in self._stream(pieces):
                    said = said or bool(piece.strip())
                    yield piece
            except GeneratorError as error:
                logger.warning("the generator failed: %s", error)
            if not said:
                yield phrase("generator_failed", turn.language)

    async def _hand_off(self, turn: _Turn, reason: str) -> str:
        hand_off = self._config.hand_off
        contact = phrase("hand_off_contact", turn.language, contact=hand_off.contact) if hand_off.contact else ""
        if hand_off.hook:
            try:
                await call_hook(
                    hand_off,
                    turn.message,
                    reason=reason,
                    sentiment=turn.sentiment,
                    transcript=[*turn.history, Turn("user", turn.text)],
                )
                said = phrase("hand_off", turn.language)
            except HandOffError as error:
                logger.error("%s", error)
                said = phrase("hand_off_failed", turn.language)
        else:
            said = "" if contact else phrase("hand_off_without_hook", turn.language)
        return f"{said} {contact}".strip()

    def _offer(self, turn: _Turn, decided: Decision) -> str:
        """Words that offer a human where the conversation goes badly, or nothing."""
        state, hand_off = turn.state, self._config.hand_off
        state.unanswered_turns = state.unanswered_turns + 1 if decided.route == "unknown" else 0
        badly = (
            state.negative_turns >= hand_off.negative_turns or state.unanswered_turns >= hand_off.low_confidence_turns
        )
        if not (hand_off.enabled and badly and decided.route != "hand_off"):
            return ""
        state.offered = True
        state.negative_turns = state.unanswered_turns = 0
        return "\n\n" + phrase("offer", turn.language)

    # ---- the reply ------------------------------------------------------------------------------------------------

    def _reply(
        self,
        turn: _Turn,
        decided: Decision,
        text: str,
        *,
        answer: str = "",
        sources: tuple[Source, ...] = (),
        options: tuple[str, ...] = (),
    ) -> Reply:
        return Reply(
            text=text,
            route=decided.route,
            confidence=decided.confidence,
            conversation=turn.message.conversation,
            answer=answer,
            question=turn.query if decided.route == "answer" else "",
            language=turn.language,
            sources=sources,
            sentiment=turn.sentiment,
            options=options,
            trace=_trace(turn, decided),
        )

    async def _end(self, turn: _Turn, reply: Reply) -> Reply:
        """Store the reply, and add how long everything took."""
        with turn.stage("history"):
            await self._run(self.store.record_reply, turn.message, reply)
            await self._run(self.store.set_state, turn.message.conversation, asdict(turn.state))
        turn.timings_ms["total"] = (time.perf_counter() - turn.started) * 1000
        return replace(reply, timings_ms=dict(turn.timings_ms))

    def _supporting(self, turn: _Turn, decided: Decision) -> tuple[Source, ...]:
        """The answer's own source, then other places that say something nearly as likely to be right."""
        [best] = decided.candidates
        least = 0.5 * best.confidence
        chosen = {_where(best.hit): best}
        for candidate in turn.ranked:
            if candidate.confidence >= least:
                chosen.setdefault(_where(candidate.hit), candidate)
        return tuple(_source(candidate) for candidate in chosen.values())[: max(1, self._config.answer.closest_sources)]

    def _closest(self, turn: _Turn) -> tuple[Source, ...]:
        """The places found first, whole, for a reader who wants to look for herself."""
        likely: dict[tuple[str, int, int], float] = {}
        for candidate in turn.ranked:
            likely.setdefault(_where(candidate.hit), candidate.confidence)
        places: dict[tuple[str, int, int], Hit] = {}
        for hit in turn.hits:
            places.setdefault(_where(hit), hit)
        closest = list(places.values())
        return tuple(
            Source(
                document=hit.chunk.document,
                title=hit.chunk.title,
                heading=heading_of(hit),
                page=hit.chunk.page,
                start=hit.chunk.start,
                end=hit.chunk.end,
                passage=hit.chunk.text,
                passage_start=hit.chunk.start,
                score=likely.get(_where(hit), 0.0),
            )
            for hit in closest[: self._config.answer.closest_sources]
        )

    # ---- around the turns -----------------------------------------------------------------------------------------

    async def warm_up(self, *, chat: bool = True, documents: bool = True) -> None:
        """Load the models and open the knowledge, all at once, so that the first answer does not wait.

        Without `chat` the generator is left for when it is needed; without `documents` the knowledge is left to whoever prepares it.
        """
        parts = self.parts
        loads: list[Callable[[], object]] = [parts.reader, parts.encoder, parts.sentiment]
        loads += [self.knowledge.prepare] if documents else []
        loads += [parts.small_talk, parts.calibration, self._expire, *([parts.generator] if chat else [])]
        await asyncio.gather(*(self._run(load) for load in loads))

    def _expire(self) -> None:
        """Delete conversations older than the configured retention."""
        days = self._config.conversation.retention_days
        if days is not None:
            before = datetime.now(timezone.utc) - timedelta(days=days)
            erase(lambda: self.store.expire(before), self.store, self.settings.paths.home)

    async def rate(self, reply_id: str, rating: Literal[1, -1], note: str = "") -> None:
        """Keep what a person thought of a reply."""
        await self._run(self.store.rate, reply_id, rating, note)

    async def close(self) -> None:
        """Close the stores; turns under way are finished by whoever runs them first."""
        await asyncio.to_thread(self._workers.shutdown)
        self.knowledge.close()
        self.store.close()

    async def _run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._workers, partial(function, *arguments))

    async def _stream(self, start: Callable[[], Iterator[str]]) -> AsyncIterator[str]:
        """The items of a blocking iterator, each fetched in a worker thread."""
        iterator = start()
        end = object()
        fetching: asyncio.Future[Any] | None = None
        try:
            while True:
                fetching = asyncio.ensure_future(self._run(next, iterator, end))
                if (piece := await asyncio.shield(fetching)) is end:
                    break
                yield piece
        finally:
            if close := getattr(iterator, "close", None):
                if fetching is None or fetching.done():
                    await self._run(close)
                else:  # cancelled while a worker is at it: nothing can close the iterator before that one is done
                    fetching.add_done_callback(partial(self._close_later, close))

    def _close_later(self, close: Callable[[], object], fetched: asyncio.Future[Any]) -> None:
        if not fetched.cancelled():
            fetched.exception()  # nobody waits for it any more
        with contextlib.suppress(RuntimeError):  # the workers are gone, and the iterator with them
            self._workers.submit(close)


def load(config: Path | None = None, *, home: Path | None = None) -> Engine:
    """Make an engine from a configuration file (see `load_settings`); models load when first needed.

    Raises `ConfigError` where the file is wrong.
    """
    return engine_from(load_settings(config, home))


def engine_from(settings: Settings) -> Engine:
    """Make an engine from loaded settings; raises `ConversationError` where the store cannot be opened."""
    from botkit.conversations.sqlite import open_store

    parts = Parts.of(settings)
    knowledge = Knowledge(
        settings.paths,
        encoder=parts.encoder,
        count_tokens=lambda texts: parts.reader().count_tokens(texts),
        config=settings.config.knowledge,
        retrieval=settings.config.retrieval,
    )
    return Engine(settings, knowledge=knowledge, store=open_store(settings), parts=parts)


def _place(candidate: Candidate) -> tuple[int, int]:
    """Where the span stands in its chunk's text; a stored answer stands there whole."""
    chunk = candidate.hit.chunk
    if candidate.is_faq:
        return 0, len(chunk.text)
    return candidate.span.start, candidate.span.end


def _without_small_talk(turns: Sequence[Turn]) -> list[Turn]:
    """What a question can refer to: not the small talk and the reply to it, such as thanks in between."""
    kept = []
    for number, turn in enumerate(turns):
        answering = turns[number + 1] if turn.role == "user" and number + 1 < len(turns) else turn
        if answering.role == "user" or answering.route != "chat":
            kept.append(turn)
    return kept


def _where(hit: Hit) -> tuple[str, int, int]:
    """The place of a passage: a stored answer with two wordings of its question is one place."""
    return hit.chunk.document, hit.chunk.start, hit.chunk.end


def _source(candidate: Candidate) -> Source:
    chunk = candidate.hit.chunk
    start, end = _place(candidate)
    return Source(
        document=chunk.document,
        title=chunk.title,
        heading=chunk.heading or chunk.question,
        page=chunk.page,
        start=chunk.start + start,
        end=chunk.start + end,
        passage=chunk.text,
        passage_start=chunk.start,
        score=candidate.confidence,
    )


def _shown(candidate: Candidate) -> str:
    """The span inside its sentence, or in its row of a table; a stored answer whole."""
    text = candidate.hit.chunk.text
    start, end = _place(candidate)
    first, last = enclosing_sentence(text, start, end)
    return table_row(text[first:last], start - first, end - first)


def _anew(ranked: Sequence[Candidate], said: str, contrast: str, language: Language) -> list[Candidate]:
    """The candidates, those that `said` tells already and that name nothing of `contrast` with less confidence, best first.

    "And furniture?" is not answered by the warranty of the lamps once more; "And to Norway?" may be, by a sentence about all of Scandinavia
    that names it. What holds for an amount ("And if I order for 80?") need not name it.
    """
    if any(character.isdigit() for character in contrast):
        return list(ranked)

    def again(candidate: Candidate) -> bool:
        shown = _shown(candidate)
        return shown in said and not _names(shown, contrast, language)

    weighed = [
        replace(candidate, confidence=REPEATED * candidate.confidence) if again(candidate) else candidate
        for candidate in ranked
    ]
    return sorted(weighed, key=lambda candidate: candidate.confidence, reverse=True)


def _names(text: str, thing: str, language: Language) -> bool:
    """Whether a text names a thing, or a part of it: Sundays name Sunday, and 猫和狗 name 狗."""
    lowered = text.casefold()
    return any(
        re.search(rf"\b{re.escape(term)}" if term.isascii() else re.escape(term), lowered)
        for term in terms(thing, language)
    )


def _label(candidate: Candidate) -> str:
    chunk = candidate.hit.chunk
    heading = heading_of(candidate.hit).removeprefix(chunk.title).removeprefix(" › ")
    place = " › ".join(part for part in (chunk.title, heading) if part)
    start, end = _place(candidate)
    return f"{place}: {clean(chunk.text[start:end])[:80]}"


def _trace(turn: _Turn, decided: Decision) -> Trace:
    return Trace(
        query=turn.query,
        rewritten=turn.rewritten,
        rule=decided.rule,
        candidates=tuple(
            TraceCandidate(
                document=candidate.hit.chunk.document,
                heading=candidate.hit.chunk.heading,
                text=candidate.span.text,
                lexical_score=candidate.hit.lexical_score,
                vector_score=candidate.hit.vector_score,
                fused_score=candidate.hit.score,
                span_score=candidate.span.score,
                no_answer_score=candidate.span.no_answer_score,
                confidence=candidate.confidence,
            )
            for candidate in turn.ranked[:_TRACED_CANDIDATES]
        ),
        details={
            "small_talk": turn.small_talk,
            "negative_turns": turn.state.negative_turns,
            "unanswered_turns": turn.state.unanswered_turns,
            "passages": len(turn.hits),
            "features": dict(turn.ranked[0].features) if turn.ranked else {},
        },
    )
