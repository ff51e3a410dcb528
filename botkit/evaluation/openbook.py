"""A knowledge of paragraphs in a folder that is thrown away afterwards: what retrieval and question answering need.

Only the documents and conversations are apart: models and calibration are those of the home that is measured.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botkit.config import Settings
from botkit.evaluation.formats import ReadingExample

if TYPE_CHECKING:
    from botkit.knowledge.base import Knowledge
    from botkit.knowledge.ingest import Progress
    from botkit.parts import Parts


@contextmanager
def paragraphs_home(
    settings: Settings,
    parts: Parts,
    examples: Sequence[ReadingExample],
    progress: Callable[[Progress], None] | None = None,
) -> Iterator[tuple[Settings, dict[tuple[str, str], str]]]:
    """Settings whose home holds the examples' paragraphs and nothing else, and each paragraph's document id.

    Every paragraph becomes a text file with its title as a heading, and goes through the ordinary ingest.
    """
    paragraphs = dict.fromkeys((example.title, example.context) for example in examples)
    with tempfile.TemporaryDirectory(prefix="botkit-evaluation-") as name:
        documents = Path(name) / "paragraphs"
        documents.mkdir()
        names = {}
        for number, (title, context) in enumerate(paragraphs):
            file = documents / f"{number:06}.md"
            heading = f"# {title.replace('_', ' ')}\n\n" if title else ""
            file.write_text(f"{heading}{context}\n", encoding="utf-8")
            names[(title, context)] = file.name
        apart = with_home(settings, Path(name) / "home")
        knowledge = knowledge_of(apart, parts)
        knowledge.ingest([documents], progress=progress)
        ids = {Path(document.id).name: document.id for document in knowledge.documents()}
        knowledge.close()
        yield apart, {paragraph: ids[file] for paragraph, file in names.items() if file in ids}


def knowledge_of(settings: Settings, parts: Parts) -> Knowledge:
    """The knowledge in the home of `settings`, with these models."""
    from botkit.knowledge.base import Knowledge

    return Knowledge(
        settings.paths,
        encoder=parts.encoder,
        count_tokens=lambda texts: parts.reader().count_tokens(texts),
        config=settings.config.knowledge,
        retrieval=settings.config.retrieval,
    )


def with_home(settings: Settings, home: Path, **knowledge: Any) -> Settings:
    """The same settings in another home, without the built-in documents unless `knowledge` says so."""
    changes = {"include_builtin": False, "paths": []} | knowledge
    config = settings.config.model_copy(
        update={
            "knowledge": settings.config.knowledge.model_copy(update=changes),
            "conversation": settings.config.conversation.model_copy(update={"store": "sqlite"}),
            "hand_off": settings.config.hand_off.model_copy(update={"hook": ""}),
        }
    )
    return settings.model_copy(update={"config": config, "paths": settings.paths.model_copy(update={"home": home})})
