"""The models of one engine, each loaded once, when first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from botkit.decision import BUILTIN_CALIBRATION, Calibration
from botkit.models import Encoder, Generator, Reader, SentimentClassifier

if TYPE_CHECKING:
    from botkit.config import Settings
    from botkit.models.small_talk import SmallTalkDetector

Part = TypeVar("Part")


class Once(Generic[Part]):
    """A factory that makes its part at the first call and returns the same one ever after; thread-safe."""

    def __init__(self, make: Callable[[], Part]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: list[Part] = []

    def __call__(self) -> Part:
        """The part; the first caller waits for its making, the others for the first."""
        if not self._made:
            with self._lock:
                if not self._made:
                    self._made.append(self._make())
        return self._made[0]


@dataclass(frozen=True)
class Parts:
    """A factory for each model; a test or a program may give its own."""

    encoder: Callable[[], Encoder]
    reader: Callable[[], Reader]
    sentiment: Callable[[], SentimentClassifier]
    generator: Callable[[], Generator]
    small_talk: Callable[[], SmallTalkDetector]
    calibration: Callable[[], Calibration]

    @classmethod
    def of(cls, settings: Settings) -> Parts:
        """The models that the configuration names."""
        models, paths = settings.config.models, settings.paths

        def encoder() -> Encoder:
            from botkit.models.registry import load_encoder

            return load_encoder(models, paths)

        def reader() -> Reader:
            from botkit.models.registry import load_reader

            return load_reader(models, paths)

        def sentiment() -> SentimentClassifier:
            from botkit.models.registry import load_sentiment

            return load_sentiment(models, paths)

        def generator() -> Generator:
            from botkit.models.registry import load_generator

            return load_generator(models, paths)

        def small_talk() -> SmallTalkDetector:
            from botkit.models.small_talk import SmallTalkDetector

            return SmallTalkDetector.read()

        def calibration() -> Calibration:
            own = paths.home / "calibration.json"
            return Calibration.read(own if own.exists() else BUILTIN_CALIBRATION)

        return cls(Once(encoder), Once(reader), Once(sentiment), Once(generator), Once(small_talk), Once(calibration))
