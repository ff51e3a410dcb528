"""Marking the words of passages that answer a question.

The model is a pair classifier over tokens (Devlin et al. 2019): question, then passage, a start and an end logit for
each token; the sum at the first position ([CLS]) stands for "no answer here" (Rajpurkar et al. 2018). A passage that
does not fit is read in windows that overlap by a stride.

The best spans are then looked at again, each with the sentences beside it only, and count with the mean of both looks: a
model sees more of a few sentences than of a long passage, and errs differently there.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from botkit.language import detect
from botkit.models import Span
from botkit.models.manifest import GRAPH, read_manifest, read_model_config
from botkit.models.pretrained import load_pretrained
from botkit.models.runtime import Forward, Integers, OnnxForward, load_tokenizer, run_each
from botkit.text import neighbourhood

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

STRIDE: Final = 128
"""Tokens of a passage that two neighbouring windows share."""
LONGEST_ANSWER: Final = {"en": 30, "zh": 60}
"""Tokens of an answer, by the language of its passage. A Chinese token is a character."""

Logits: TypeAlias = "NDArray[np.float32] | NDArray[np.float64]"

CLOSER_LOOKS: Final = 4
"""Spans, of all passages, that are looked at again."""

_FIRST_MARK: Final = "\u02ff"
_WORD: Final = re.compile(r"[^\W_㐀-鿿豈-﫿぀-ヿ가-힣]+")
"""A run of letters and digits of a script that puts blanks between words."""


class ExtractiveReader:
    """A reader of spans; `onnx` and `transformers` make one from a model folder."""

    def __init__(
        self,
        name: str,
        forward: Forward,
        tokenizer: Tokenizer,
        *,
        max_length: int,
        pad_id: int = 0,
        stride: int = STRIDE,
        threshold: float = 0.0,
        closer_looks: int = CLOSER_LOOKS,
    ) -> None:
        """`forward` returns (start logits, end logits), each of shape (batch, tokens)."""
        self.name = name
        self.threshold = threshold
        self._forward = forward
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._pad_id = pad_id
        self._stride = stride
        self._closer_looks = closer_looks
        self._special_tokens = tokenizer.num_special_tokens_to_add(True)

    @classmethod
    def onnx(cls, folder: Path, *, threads: int = 0, closer_looks: int = CLOSER_LOOKS) -> ExtractiveReader:
        """A reader in botkit's form; raises `ModelError`."""
        manifest = read_manifest(folder, "reader")
        pad_id = int(read_model_config(folder).get("pad_token_id") or 0)
        forward = OnnxForward(folder / GRAPH, threads=threads, one_each=True, shared=manifest.shared_file(folder))
        return cls(
            manifest.identity,
            forward,
            load_tokenizer(folder),
            max_length=manifest.max_length,
            pad_id=pad_id,
            threshold=manifest.threshold,
            closer_looks=closer_looks,
        )

    @classmethod
    def transformers(cls, folder: Path, *, threads: int = 0) -> ExtractiveReader:
        """Any `AutoModelForQuestionAnswering`, run by torch; raises `MissingExtraError` or `ModelError`."""
        loaded = load_pretrained(
            "AutoModelForQuestionAnswering", folder, ("start_logits", "end_logits"), threads=threads
        )
        return cls(
            loaded.identity, loaded.forward, loaded.tokenizer, max_length=loaded.max_length, pad_id=loaded.pad_id
        )

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Length of each text in the reader's tokens, without special tokens."""
        return [len(encoding) for encoding in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def read(self, question: str, passages: Sequence[str], *, top_k: int = 3) -> list[Span]:
        """Return up to `top_k` non-overlapping spans for each passage, best first over all passages.

        Best means the largest `score - no_answer_score`. A span neither begins nor ends inside a word or with a blank.
        A question of more than half the model's length counts with its first tokens; a blank one has no answers.
        """
        windows = list(self._windows(question, passages))
        grids: dict[int, list[Grid]] = defaultdict(list)
        first: dict[int, Scores] = {}
        for window, (start, end) in self._run(windows):
            passage = passages[window.passage]
            grids[window.passage].append(score_window(start, end, window, LONGEST_ANSWER[detect(passage)]))
            if self._closer_looks:
                first.setdefault(window.passage, Scores.of_nothing(len(passage))).add(start, end, window)
        spans = [span for i, of_passage in grids.items() for span in best_spans(i, passages[i], of_passage, top_k)]
        spans.sort(key=_by_margin)
        if self._closer_looks:
            spans = self._look_closer(question, passages, spans, first)
        return spans

    def _look_closer(
        self, question: str, passages: Sequence[str], spans: Sequence[Span], first: Mapping[int, Scores]
    ) -> list[Span]:
        """Replace the best spans by the best ones among the sentences around them, by the mean score of both looks."""
        near: dict[tuple[int, int, int], None] = {}
        wanted: dict[int, int] = defaultdict(int)
        kept = list(spans[self._closer_looks :])
        for span in spans[: self._closer_looks]:
            left, right = neighbourhood(passages[span.passage], span.start, span.end)
            if (left, right) == (0, len(passages[span.passage])):
                kept.append(span)
            else:
                near[span.passage, left, right] = None
                wanted[span.passage] += 1
        places = list(near)
        windows = list(self._windows(question, [passages[number][left:right] for number, left, right in places]))
        grids: dict[int, list[Grid]] = defaultdict(list)
        for window, logits in self._run(windows):
            number, left, _ = places[window.passage]
            moved = replace(window, passage=number, starts=window.starts + left, ends=window.ends + left)
            start, end = first[number].mean_with(*logits, moved)
            grids[number].append(score_window(start, end, moved, LONGEST_ANSWER[detect(passages[number])]))
        again = [span for i, found in grids.items() for span in best_spans(i, passages[i], found, wanted[i])]
        kept = [span for span in kept if not any(span.overlaps(other) for other in again)]
        return sorted([*again, *kept], key=_by_margin)

    def _run(
        self, windows: Sequence[Window]
    ) -> Iterator[tuple[Window, tuple[NDArray[np.float32], NDArray[np.float32]]]]:
        """Each window with its start and end logits, of shape (tokens,)."""
        logits = run_each(self._forward, [window.encoding for window in windows], self._pad_id)
        for window, (start, end) in zip(windows, logits, strict=True):
            length = len(window.encoding)
            yield window, (start[:length], end[:length])

    def _windows(self, question: str, passages: Sequence[str]) -> Iterator[Window]:
        """The pairs of question and part of a passage that the model sees, in the passages' order."""
        asked = self._tokenizer.encode(question.strip(), add_special_tokens=False)
        if not len(asked):
            return
        asked.truncate(self._max_length // 2)
        room = self._max_length - len(asked) - self._special_tokens
        wholes = self._tokenizer.encode_batch(list(passages), add_special_tokens=False)
        for number, (passage, whole) in enumerate(zip(passages, wholes, strict=True)):
            if not len(whole):
                continue
            letters = Letters.of(passage)
            whole.truncate(room, stride=min(self._stride, room // 2))
            for part in (whole, *whole.overflowing):
                yield Window.of(number, self._tokenizer.post_process(asked, part), part.offsets, letters)


@dataclass(frozen=True, slots=True)
class Window:
    """What the model sees at once, and where in its passage each token lies.

    `starts` and `ends` are character offsets, int64 of shape (tokens,); `may_start` and `may_end` tell at which tokens
    an answer may begin and end.
    """

    passage: int
    encoding: Encoding
    starts: Integers
    ends: Integers
    may_start: NDArray[np.bool_]
    may_end: NDArray[np.bool_]

    @classmethod
    def of(cls, passage: int, encoding: Encoding, offsets: Sequence[tuple[int, int]], letters: Letters) -> Window:
        """Describe one encoded pair, whose second part has these `offsets` in the passage.

        The pair has offsets of its own, from which a byte-level tokenizer (RoBERTa's) has taken each word's blank a second time.
        """
        of_passage = np.array([part == 1 for part in encoding.sequence_ids])
        places = np.zeros((len(encoding), 2), dtype=np.int64)
        places[of_passage] = offsets
        starts, ends = places[:, 0], letters.after_marks[places[:, 1]]
        readable = of_passage & (places[:, 1] > starts)
        inside = letters.inside
        return cls(passage, encoding, starts, ends, readable & ~inside[starts], readable & ~inside[ends])


@dataclass(slots=True)
class Scores:
    """How well an answer begins and ends at each offset of a passage, above no answer; -inf where none may.

    `start` and `end` are of shape (characters + 1,). Where windows overlap the better score counts, and of their scores of
    no answer the least.
    """

    start: NDArray[np.float64]
    end: NDArray[np.float64]
    no_answer: float = np.inf

    @classmethod
    def of_nothing(cls, characters: int) -> Scores:
        """Those of a passage of which no window was seen."""
        return cls(np.full(characters + 1, -np.inf), np.full(characters + 1, -np.inf))

    def add(self, start: NDArray[np.float32], end: NDArray[np.float32], window: Window) -> None:
        """Take in a window's logits, of shape (tokens,)."""
        np.maximum.at(self.start, window.starts[window.may_start], (start - start[0])[window.may_start])
        np.maximum.at(self.end, window.ends[window.may_end], (end - end[0])[window.may_end])
        self.no_answer = min(self.no_answer, float(start[0]) + float(end[0]))

    def mean_with(
        self, start: NDArray[np.float32], end: NDArray[np.float32], window: Window
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """A window's logits, each the mean with what was seen at its offset before."""
        no_answer = (self.no_answer + float(start[0]) + float(end[0])) / 2
        starts = (self.start[window.starts] + start - start[0] + no_answer) / 2
        ends = (self.end[window.ends] + end - end[0] + no_answer) / 2
        starts[0] = ends[0] = no_answer / 2
        return starts, ends


@dataclass(frozen=True, slots=True)
class Grid:
    """Every span of a window: `margins[i, j]` is the score above no answer of the span from token i to token i + j.

    A span that may not be is -inf. `starts` and `ends` are character offsets, of shapes (tokens, 1), (tokens, width).
    """

    margins: NDArray[np.float64]
    starts: Integers
    ends: Integers
    no_answer_score: float


@dataclass(frozen=True, slots=True)
class Letters:
    """Where the words of a passage may be cut: arrays of shape (len(passage) + 1,), by offset.

    `inside` tells which offsets fall between two letters of one word, or between a letter and its accents; `after_marks` where the
    accents end that begin at an offset, which is the offset itself mostly.
    """

    inside: NDArray[np.bool_]
    after_marks: Integers

    @classmethod
    def of(cls, passage: str) -> Letters:
        """Those of a passage."""
        inside = np.zeros(len(passage) + 1, dtype=np.bool_)
        for word in _WORD.finditer(passage):
            inside[word.start() + 1 : word.end()] = True
        after = np.arange(len(passage) + 1)
        if not passage.isascii():
            for at in range(len(passage) - 1, 0, -1):
                if passage[at] > _FIRST_MARK and unicodedata.category(passage[at])[0] == "M":
                    after[at] = after[at + 1]
                    inside[at] = True
                    inside[after[at]] |= _WORD.match(passage, int(after[at])) is not None
        return cls(inside, after)


def score_window(start: Logits, end: Logits, window: Window, longest: int) -> Grid:
    """Score all spans of at most `longest` tokens; `start` and `end` are the window's logits, of shape (tokens,)."""
    tokens = len(start)
    width = min(longest, tokens)
    no_answer = float(start[0]) + float(end[0])
    starts = np.where(window.may_start, start.astype(np.float64), -np.inf)
    ends = np.concatenate([np.where(window.may_end, end.astype(np.float64), -np.inf), np.full(width - 1, -np.inf)])
    offsets = np.concatenate([window.ends, np.zeros(width - 1, dtype=np.int64)])
    reach = np.lib.stride_tricks.sliding_window_view
    margins = starts[:, None] + reach(ends, width) - no_answer
    return Grid(margins, window.starts[:, None], reach(offsets, width), no_answer)


def best_spans(number: int, passage: str, grids: Sequence[Grid], top_k: int) -> list[Span]:
    """The `top_k` best spans of a passage that do not overlap, over all its windows; best first.

    Greedy: the best of all, then the best of those that share no character with it, and so on.
    """
    left = [grid.margins.copy() for grid in grids]
    found: list[Span] = []
    while len(found) < top_k:
        best = max(range(len(grids)), key=lambda i: float(left[i].max()))
        row, column = np.unravel_index(int(left[best].argmax()), left[best].shape)
        margin = float(left[best][row, column])
        if margin == -np.inf:
            break
        grid = grids[best]
        start, end = int(grid.starts[row, 0]), int(grid.ends[row, column])
        for i, other in enumerate(grids):
            left[i][(other.starts < end) & (other.ends > start)] = -np.inf
        text = passage[start:end]
        start += len(text) - len(text.lstrip())
        if text := text.strip():
            score = margin + grid.no_answer_score
            found.append(Span(number, start, start + len(text), text, score, grid.no_answer_score))
    return found


def _by_margin(span: Span) -> float:
    return span.no_answer_score - span.score
