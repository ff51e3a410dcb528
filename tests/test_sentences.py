"""Sentence boundaries in both languages."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botkit.sentences import sentences


def split(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It rains. We stay in.", ["It rains.", "We stay in."]),
        ("Dr. Smith met Mr. J. R. Jones at 5 p.m. in Rome.", ["Dr. Smith met Mr. J. R. Jones at 5 p.m. in Rome."]),
        ("We close at 5 p.m. Come early.", ["We close at 5 p.m.", "Come early."]),
        ("Pi is 3.14 and e is 2.72. Both are irrational!", ["Pi is 3.14 and e is 2.72.", "Both are irrational!"]),
        ("Use fruit, e.g. apples. Or nuts, i.e. seeds.", ["Use fruit, e.g. apples.", "Or nuts, i.e. seeds."]),
        ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
        ("Is it? (Yes.) Good…  Fine.", ["Is it?", "(Yes.)", "Good…", "Fine."]),
        ("See Fig. 3 and No. 4 of vol. 2.", ["See Fig. 3 and No. 4 of vol. 2."]),
        ("Open? No. We sat. Fine.", ["Open?", "No.", "We sat.", "Fine."]),
        ("It cost $5. 20 people came.", ["It cost $5.", "20 people came."]),
        ("Wait... what happened?", ["Wait... what happened?"]),
        ("今天下雨。我们不出门！好吗？好；走吧", ["今天下雨。", "我们不出门！", "好吗？", "好；", "走吧"]),
        ("他说：“走吧。”然后他走了。", ["他说：“走吧。”", "然后他走了。"]),
        ("运费是3.5元。满99元包邮。", ["运费是3.5元。", "满99元包邮。"]),
        ("真的吗?真的!他走了。", ["真的吗?", "真的!", "他走了。"]),
        ("One paragraph\n\nAnother paragraph", ["One paragraph", "Another paragraph"]),
        ("Visit example.com or mail a.b@c.org today.", ["Visit example.com or mail a.b@c.org today."]),
        ("   ", []),
    ],
)
def test_sentences_end_where_a_reader_would_say(text: str, expected: list[str]) -> None:
    assert split(text) == expected


@given(st.text(alphabet=st.sampled_from("ab Z.!?。！？”\"') \n中文1…;；"), max_size=200))
def test_sentences_cover_all_visible_text_in_order(text: str) -> None:
    found = sentences(text)
    assert all(start < end for start, end in found)
    assert all(first[1] <= second[0] for first, second in pairwise(found))
    assert "".join("".join(text[start:end].split()) for start, end in found) == "".join(text.split())
