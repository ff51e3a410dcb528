from __future__ import annotations

from pathlib import Path

from botkit.training.calibration import _support_cases
from tests.parts import MakeBot


def test_a_span_is_right_where_its_sentence_holds_the_answer_in_whole_words(make_bot: MakeBot, tmp_path: Path) -> None:
    document = tmp_path / "returns.md"
    document.write_text(
        "# Returns\n\nThe long refund takes 15 days. The short refund takes 5 days.\n", encoding="utf-8"
    )
    engine = make_bot(shop=False).engine
    engine.knowledge.ingest([document])
    [with_it, without] = _support_cases(
        engine.knowledge, [("How long is the refund?", ["5 days"])], "en", engine.parts, 4
    )
    passage = with_it.hits[0].chunk.text
    for span, right in zip(with_it.evidence.spans, with_it.right, strict=True):
        assert right == (span.start >= passage.index("The short")), span.text
    assert with_it.right.any() and not with_it.right.all()
    assert (with_it.answerable, without.answerable, list(without.hits)) == (True, False, [])
