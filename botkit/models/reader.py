"""Marking the words of passages that answer a question.

The model is a pair classifier over tokens (Devlin et al. 2019): question, then passage, a start and an end logit for
each token; the sum at the first position ([CLS]) stands for "no answer here" (Rajpurkar et al. 2018). A passage that
does not fit is read in windows that overlap by a stride.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from botkit.language import detect
from botkit.models import Span
from botkit.models.manifest import GRAPH, read_manifest, read_model_config
from botkit.models.pretrained import load_pretrained
from botkit.models.runtime import Forward, Integers, OnnxForward, load_tokenizer, run_each

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

STRIDE: Final = 128
"""Tokens of a passage that two neighbouring windows share."""
LONGEST_ANSWER: Final = {"en": 30, "zh": 60}
"""Tokens of an answer, by the language of its passage. A Chinese token is a character."""

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
    ) -> None:
        """`forward` returns (start logits, end logits), each of shape (batch, tokens)."""
        self.name = name
        self.threshold = threshold
        self._forward = forward
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._pad_id = pad_id
        self._stride = stride
        self._special_tokens = tokenizer.num_special_tokens_to_add(True)

    @classmethod
    def onnx(cls, folder: Path, *, threads: int = 0) -> ExtractiveReader:
        """A reader in botkit's form; raises `ModelError`."""
        manifest = read_manifest(folder, "reader")
        pad_id = int(read_model_config(folder).get("pad_token_id") or 0)
        forward = OnnxForward(folder / GRAPH, threads=threads, one_each=True)
        return cls(
            manifest.identity,
            forward,
            load_tokenizer(folder),
            max_length=manifest.max_length,
            pad_id=pad_id,
            threshold=manifest.threshold,
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
        logits = run_each(self._forward, [window.encoding for window in windows], self._pad_id)
        grids: dict[int, list[Grid]] = {}
        for window, (start, end) in zip(windows, logits, strict=True):
            length = len(window.encoding)
            passage = passages[window.passage]
            grid = score_window(start[:length], end[:length], window, LONGEST_ANSWER[detect(passage)])
            grids.setdefault(window.passage, []).append(grid)
        spans = [span for i, of_passage in grids.items() for span in best_spans(i, passages[i], of_passage, top_k)]
        spans.sort(key=lambda span: span.no_answer_score - span.score)
        return spans

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
            inside = inside_words(passage)
            whole.truncate(room, stride=min(self._stride, room // 2))
            for part in (whole, *whole.overflowing):
                yield Window.of(number, self._tokenizer.post_process(asked, part), inside)


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
    def of(cls, passage: int, encoding: Encoding, inside: NDArray[np.bool_]) -> Window:
        """Describe one encoded pair; `inside` is `inside_words` of its passage."""
        offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
        of_passage = np.array([part == 1 for part in encoding.sequence_ids])
        # the question's tokens have offsets of their own, which mean nothing here
        starts, ends = np.where(of_passage, offsets.T, 0)
        readable = of_passage & (ends > starts)
        return cls(passage, encoding, starts, ends, readable & ~inside[starts], readable & ~inside[ends])


@dataclass(frozen=True, slots=True)
class Grid:
    """Every span of a window: `margins[i, j]` is the score above no answer of the span from token i to token i + j.

    A span that may not be is -inf. `starts` and `ends` are character offsets, of shapes (tokens, 1), (tokens, width).
    """

    margins: NDArray[np.float64]
    starts: Integers
    ends: Integers
    no_answer_score: float


def inside_words(passage: str) -> NDArray[np.bool_]:
    """Which offsets of a passage fall between two letters of one word; shape (len(passage) + 1,)."""
    inside = np.zeros(len(passage) + 1, dtype=np.bool_)
    for word in _WORD.finditer(passage):
        inside[word.start() + 1 : word.end()] = True
    return inside


def score_window(start: NDArray[np.float32], end: NDArray[np.float32], window: Window, longest: int) -> Grid:
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
