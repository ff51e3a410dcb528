"""Continuing a conversation, token by token.

The loop is the same for the shipped generator and for hub models: a `Decoder` gives the logits of the next token and
keeps the keys and values of what was read, `choose` picks the token, `Speech` turns tokens into text as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from botkit.errors import GeneratorError, ModelError
from botkit.language import unmistakable
from botkit.messages import Language, Turn
from botkit.models import Sampling
from botkit.models.endpoint import instruction
from botkit.models.manifest import GRAPH, read_manifest, read_model_config
from botkit.models.pretrained import identity, import_transformers
from botkit.models.runtime import OnnxForward, first_line, import_torch, load_tokenizer
from botkit.models.sampling import choose, softmax

if TYPE_CHECKING:
    from tokenizers import Tokenizer

EXCHANGES: Final = 3
"""Exchanges the shipped generator was trained to look back on, the present one included."""
_LONGEST_MESSAGE: Final = 96
"""Tokens of one side's words that the shipped generator reads."""
_BROKEN: Final = "\ufffd"
"""What bytes that are no character decode to: the rest of one that is on its way, or noise of a small model."""


class Decoder(Protocol):
    """One reading of a text by a causal language model."""

    def read(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Read further tokens; return the logits of the one that follows, of shape (vocabulary,)."""
        ...


class Speech:
    """Text from tokens as they come: whole characters only, nothing from a stop string on."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str], *, keep_lead: bool = False) -> None:
        self._tokenizer = tokenizer
        self._keep_lead = keep_lead
        self._stop = [text for text in stop if text]
        self._ids: list[int] = []
        self._told = 0
        self.stopped = False

    @property
    def ids(self) -> Sequence[int]:
        """The tokens so far."""
        return self._ids

    def add(self, token: int) -> str:
        """What can be told now that `token` was chosen; may be empty."""
        self._ids.append(token)
        return self._tell(last=False)

    def end(self) -> str:
        """What was held back."""
        return self._tell(last=True)

    def _tell(self, *, last: bool) -> str:
        text = self._tokenizer.decode(self._ids, skip_special_tokens=True).replace(_BROKEN, "")
        if not self._keep_lead:
            text = text.lstrip()
        for stop in self._stop:
            if (at := text.find(stop)) >= 0:
                text, self.stopped, last = text[:at], True, True
        until = len(text) if last else self._certain(text)
        piece = text[self._told : until]
        self._told = max(self._told, until)
        return piece

    def _certain(self, text: str) -> int:
        """How much of the text no later token can change or forbid."""
        until = len(text)
        for stop in self._stop:
            for size in range(min(len(stop) - 1, until), 0, -1):
                if text[:until].endswith(stop[:size]):
                    until -= size
                    break
        return until


def speak(
    decoder: Decoder,
    prompt: Sequence[int],
    tokenizer: Tokenizer,
    sampling: Sampling,
    *,
    ends: frozenset[int],
    never: Sequence[int] = (),
    keep_lead: bool = False,
) -> Iterator[str]:
    """Sample a reply and yield it piece by piece, up to a token of `ends`; those of `never` are not chosen.

    Blanks before the first word are left out, but for `keep_lead`.
    """
    random = np.random.default_rng(sampling.seed)
    speech = Speech(tokenizer, sampling.stop, keep_lead=keep_lead)
    logits = decoder.read(prompt)
    forbidden = np.asarray(never, dtype=np.int64)
    for _ in range(sampling.max_new_tokens):
        logits = logits.copy()
        logits[forbidden] = -np.inf
        token = choose(logits, speech.ids, sampling, random)
        if token in ends:
            break
        if piece := speech.add(token):
            yield piece
        if speech.stopped:
            return
        logits = decoder.read([token])
    if piece := speech.end():
        yield piece


def log_likelihood(decoder: Decoder, prompt: Sequence[int], reply: Sequence[int]) -> float:
    """The natural logarithm of the probability of `reply` after `prompt`."""
    total = 0.0
    logits = decoder.read(prompt)
    for number, token in enumerate(reply):
        total += float(np.log(max(softmax(logits.astype(np.float64))[token], 1e-30)))
        if number + 1 < len(reply):
            logits = decoder.read([token])
    return total


def text_log_likelihood(new: Callable[[], Decoder], ids: Sequence[int], longest: int) -> tuple[float, int]:
    """The natural log-probability of a text after its first token, and the number of tokens that it is of.

    A text longer than the model's context is read in stretches of `longest` tokens; the first of each is given.
    """
    total, count = 0.0, 0
    for begin in range(0, len(ids), longest):
        stretch = ids[begin : begin + longest]
        if len(stretch) > 1:
            total += log_likelihood(new(), stretch[:1], stretch[1:])
            count += len(stretch) - 1
    return total, count


class OnnxDecoder:
    """A decoder graph in botkit's form, one conversation at a time."""

    def __init__(self, forward: OnnxForward, layers: int, heads: int, head_width: int) -> None:
        empty = np.zeros((1, heads, 0, head_width), dtype=np.float32)
        self._forward = forward
        self._past: dict[str, NDArray[np.float32]] = {
            f"past_key_values.{layer}.{part}": empty for layer in range(layers) for part in ("key", "value")
        }
        self._length = 0

    def read(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Read further tokens; return the logits of the one that follows."""
        positions = np.arange(self._length, self._length + len(ids), dtype=np.int64)
        feeds: dict[str, NDArray[Any]] = {
            "input_ids": np.asarray([ids], dtype=np.int64),
            "position_ids": positions[None],
            **self._past,
        }
        outputs = dict(zip(self._forward.outputs, self._forward(feeds), strict=True))
        for name in self._past:
            self._past[name] = outputs[name.replace("past_key_values", "present")]
        self._length += len(ids)
        return np.asarray(outputs["logits"][0], dtype=np.float32)


class OnnxGenerator:
    """A small dialogue model in botkit's form: `<|persona|>`, then for each exchange user, words, bot, words, end."""

    def __init__(self, folder: Path, *, threads: int = 0) -> None:
        """Open the model of `folder`; raises `ModelError`."""
        manifest = read_manifest(folder, "generator")
        if manifest.tokens is None or not manifest.context_length:
            raise ModelError(f"{folder}: botkit.json lacks the generator's tokens. Export the model again.")
        self.name = manifest.identity
        self._shape = (manifest.layers, manifest.heads, manifest.head_width)
        self._context_length = manifest.context_length
        self._tokenizer = load_tokenizer(folder)
        self._forward = OnnxForward(folder / GRAPH, threads=threads, shared=manifest.shared_file(folder))
        self._user, self._bot, self._end = (
            self._id(token) for token in (manifest.tokens.user, manifest.tokens.bot, manifest.tokens.end)
        )
        self._personas = {name: self._id(token) for name, token in manifest.tokens.personas.items()}
        special = self._tokenizer.get_added_tokens_decoder()
        self._never = [number for number in special if number != self._end]
        both = {"en", "zh"} <= set(manifest.languages)
        self._chinese = _chinese_pieces(self._tokenizer) if both else []

    def stream(
        self,
        turns: Sequence[Turn],
        *,
        sampling: Sampling | None = None,
        language: Language = "en",
        persona: str = "friendly",
    ) -> Iterator[str]:
        """Yield the reply piece by piece; a model that knows both languages writes no Chinese in English.

        Both have words in common ("hi", "bye"). The reply ends where the model's context is full, if not before. Raises `GeneratorError`.
        """
        sampling = sampling or Sampling()
        prompt = self._prompt(turns, language, persona)
        room = self._context_length - len(prompt)
        sampling = replace(sampling, max_new_tokens=min(sampling.max_new_tokens, room))
        decoder = OnnxDecoder(self._forward, *self._shape)
        ends = frozenset((self._end,))
        try:
            never = [*self._never, *(self._chinese if language == "en" else ())]
            yield from speak(decoder, prompt, self._tokenizer, sampling, ends=ends, never=never)
        except ModelError as error:
            raise GeneratorError(str(error)) from error

    def continue_text(self, text: str, *, sampling: Sampling | None = None) -> Iterator[str]:
        """Yield what may follow a plain text, piece by piece. Raises `GeneratorError`."""
        sampling = sampling or Sampling()
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids or [self._end]
        room = max(1, min(sampling.max_new_tokens, self._context_length // 2))
        prompt = ids[-(self._context_length - room) :]
        decoder = OnnxDecoder(self._forward, *self._shape)
        sampling = replace(sampling, max_new_tokens=room)
        try:
            yield from speak(
                decoder,
                prompt,
                self._tokenizer,
                sampling,
                ends=frozenset((self._end,)),
                never=self._never,
                keep_lead=True,
            )
        except ModelError as error:
            raise GeneratorError(str(error)) from error

    def log_likelihood(
        self, turns: Sequence[Turn], *, language: Language = "en", persona: str = "friendly"
    ) -> tuple[float, int]:
        """Natural log-probability of the last turn (the bot's) after those before it, and its number of tokens."""
        prompt = self._prompt(turns[:-1], language, persona)
        reply = [*self._words(turns[-1].text), self._end][: self._context_length - len(prompt)]
        return log_likelihood(OnnxDecoder(self._forward, *self._shape), prompt, reply), len(reply)

    def text_log_likelihood(self, text: str) -> tuple[float, int]:
        """Natural log-probability of a plain text and its end, after its first token, and the number of tokens."""
        ids = [*self._tokenizer.encode(text, add_special_tokens=False).ids, self._end]
        return text_log_likelihood(lambda: OnnxDecoder(self._forward, *self._shape), ids, self._context_length)

    def _prompt(self, turns: Sequence[Turn], language: Language, persona: str) -> list[int]:
        """The latest exchanges that fit in half of the context; the present words are always in.

        An exchange in another language ends the look back, and so does one that was no small talk: no conversation that the
        model learnt from has such.
        """
        if persona not in self._personas:
            raise GeneratorError(f"The generator has no persona {persona!r}; it has {', '.join(self._personas)}.")
        asked = [number for number, turn in enumerate(turns) if turn.role == "user"][-EXCHANGES:]
        spoken = (unmistakable(turns[asked[-1]].text) if asked else None) or language
        parts: list[int] = []
        for first, following in zip(reversed(asked), [len(turns), *reversed(asked)], strict=False):
            part = [self._user, *self._words(turns[first].text), self._bot]
            for turn in turns[first + 1 : following]:
                part += [*self._words(turn.text), self._end] if turn.role == "bot" else []
            foreign = unmistakable(turns[first].text) not in (None, spoken)
            foreign = foreign or any(turn.route not in (None, "chat") for turn in turns[first:following])
            if parts and (foreign or len(parts) + len(part) > self._context_length // 2):
                break
            parts = part + parts
        return [self._personas[persona], *(parts or [self._user, self._bot])]

    def _words(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        # nobody may write the model's own marks into a message
        return [number for number in ids if number not in self._never and number != self._end][:_LONGEST_MESSAGE]

    def _id(self, token: str) -> int:
        number = self._tokenizer.token_to_id(token)
        if number is None:
            raise ModelError(f"The generator's tokenizer lacks {token}. Export the model again.")
        return int(number)


def _chinese_pieces(tokenizer: Tokenizer) -> list[int]:
    """The tokens of a byte-level vocabulary with a Chinese character in them, or the first byte of one (E4 to E9 in UTF-8)."""
    return [
        number for piece, number in tokenizer.get_vocab().items() if any("ä" <= character <= "é" for character in piece)
    ]


class TorchDecoder:
    """A transformers causal language model, one conversation at a time."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._past: Any = None

    def read(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Read further tokens; return the logits of the one that follows."""
        torch = import_torch("Running a hub model")
        with torch.inference_mode():
            output = self._model(
                input_ids=torch.tensor([list(ids)], device=self._model.device),
                past_key_values=self._past,
                use_cache=True,
            )
        self._past = output.past_key_values
        return np.asarray(output.logits[0, -1].float().cpu().numpy(), dtype=np.float32)


class TransformersGenerator:
    """Any causal language model of transformers, run by torch: by its chat template, else by plain lines."""

    def __init__(self, folder: Path, *, system_prompt: str = "", threads: int = 0) -> None:
        """Load `folder`; raises `MissingExtraError` or `ModelError`."""
        transformers = import_transformers(threads)
        if read_model_config(folder).get("model_type") == "botkit-recurrent":
            from botkit.models import recurrent

            assert recurrent.RecurrentConfig.model_type == "botkit-recurrent"  # importing it makes it known
        try:
            self._model = transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
            self._chat = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, use_fast=True)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(f"{folder}: transformers cannot load it as a generator ({first_line(error)}).") from error
        if not hasattr(self._chat, "backend_tokenizer"):
            raise ModelError(f"{folder}: the model has no fast tokenizer (tokenizer.json). Choose another model.")
        self.name = identity(folder)
        self._tokenizer: Tokenizer = self._chat.backend_tokenizer
        self._system_prompt = system_prompt
        declared = self._model.generation_config.eos_token_id
        ends = declared if isinstance(declared, list) else [declared, self._chat.eos_token_id]
        self._ends = frozenset(int(number) for number in ends if number is not None)
        config = self._model.config
        positions = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
        self._positions = int(positions or 2048)

    def stream(
        self,
        turns: Sequence[Turn],
        *,
        sampling: Sampling | None = None,
        language: Language = "en",
        persona: str = "friendly",
    ) -> Iterator[str]:
        """Yield the reply piece by piece. Raises `GeneratorError`."""
        sampling = sampling or Sampling()
        prompt = self._prompt(turns, language, persona)
        room = max(1, min(sampling.max_new_tokens, self._positions // 2))
        prompt = prompt[-(self._positions - room) :]
        sampling = replace(sampling, max_new_tokens=room)
        if not self._chat.chat_template:
            sampling = replace(sampling, stop=(*sampling.stop, "\nUser:", "\nBot:"))
        try:
            yield from speak(TorchDecoder(self._model), prompt, self._tokenizer, sampling, ends=self._ends)
        except (RuntimeError, IndexError, ValueError) as error:
            raise GeneratorError(f"{self.name}: the model failed ({first_line(error)}).") from error

    def continue_text(self, text: str, *, sampling: Sampling | None = None) -> Iterator[str]:
        """Yield what may follow a plain text, piece by piece. Raises `GeneratorError`."""
        sampling = sampling or Sampling()
        ids = list(self._chat.encode(text, add_special_tokens=False)) or [self._chat.eos_token_id or 0]
        room = max(1, min(sampling.max_new_tokens, self._positions // 2))
        prompt = ids[-(self._positions - room) :]
        sampling = replace(sampling, max_new_tokens=room)
        try:
            yield from speak(
                TorchDecoder(self._model), prompt, self._tokenizer, sampling, ends=self._ends, keep_lead=True
            )
        except (RuntimeError, IndexError, ValueError) as error:
            raise GeneratorError(f"{self.name}: the model failed ({first_line(error)}).") from error

    def log_likelihood(
        self, turns: Sequence[Turn], *, language: Language = "en", persona: str = "friendly"
    ) -> tuple[float, int]:
        """Natural log-probability of the last turn (the bot's) after those before it, and its number of tokens."""
        prompt = self._prompt(turns[:-1], language, persona)
        said = self._reply(turns, language, persona)
        reply = list(self._chat.encode(said, add_special_tokens=False))[: self._positions // 2]
        prompt = prompt[-(self._positions - len(reply)) :]
        return log_likelihood(TorchDecoder(self._model), prompt, reply), len(reply)

    def text_log_likelihood(self, text: str) -> tuple[float, int]:
        """Natural log-probability of a plain text and its end, after its first token, and the number of tokens."""
        end = [] if self._chat.eos_token_id is None else [int(self._chat.eos_token_id)]
        ids = [*self._chat.encode(text, add_special_tokens=False), *end]
        return text_log_likelihood(lambda: TorchDecoder(self._model), ids, self._positions)

    def _reply(self, turns: Sequence[Turn], language: Language, persona: str) -> str:
        """The last turn as the model writes it: with the mark that ends it, where its template has one."""
        if not self._chat.chat_template:
            return f" {turns[-1].text}"
        before, whole = (
            self._written(turns[:-1], language, persona),
            self._written(turns, language, persona, open_=False),
        )
        return whole.removeprefix(before) if whole.startswith(before) else turns[-1].text

    def _written(self, turns: Sequence[Turn], language: Language, persona: str, *, open_: bool = True) -> str:
        """A conversation in the model's chat template; `open_`: up to where the bot speaks next."""
        roles = {"user": "user", "bot": "assistant"}
        said = [{"role": roles[turn.role], "content": turn.text} for turn in turns]
        system = self._system_prompt or instruction(language, persona)
        write = partial(self._chat.apply_chat_template, add_generation_prompt=open_, tokenize=False, persona=persona)
        from jinja2.exceptions import TemplateError  # comes with transformers' chat templates

        try:
            return str(write([{"role": "system", "content": system}, *said]))
        except TemplateError:  # Gemma's and Mistral's know no system role
            first, *others = said or [{"role": "user", "content": ""}]
            try:
                return str(write([{**first, "content": f"{system}\n\n{first['content']}"}, *others]))
            except TemplateError as error:
                raise GeneratorError(f"{self.name}: its chat template refuses it ({first_line(error)}).") from error

    def _prompt(self, turns: Sequence[Turn], language: Language, persona: str) -> list[int]:
        if self._chat.chat_template:
            return list(self._chat.encode(self._written(turns, language, persona), add_special_tokens=False))
        system = self._system_prompt or instruction(language, persona)
        names = {"user": "User", "bot": "Bot"}
        lines = [f"{names[turn.role]}: {turn.text}" for turn in turns]
        return list(self._chat.encode("\n".join([system, "", *lines, "Bot:"])))
