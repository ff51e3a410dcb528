from __future__ import annotations

import pytest

from botkit.answer_types import fits


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("How much is the floor lamp?", "152 centimetres tall", False),
        ("How much is the floor lamp?", "from 249 euros", True),
        ("How much does delivery cost?", "free of charge", True),
        ("How much does the table weigh?", "90 centimetres", False),
        ("How much does the table weigh?", "62 kg", True),
        ("How long is the warranty?", "two years", True),
        ("When was it founded?", "in 1999", True),
        ("When was it founded?", "by two sisters", False),
        ("How many rooms are there?", "forty-two", True),
        ("How many sacks does it grind?", "forty sacks", True),
        ("How many rooms are there?", "with a view", False),
        ("Who founded it?", "Ada Moss", True),
        ("Who founded it?", "in a small garage", False),
        ("What do you sell?", "anything", None),
        ("How many lamps did you sell last year?", "three years", False),
        ("How many lamps did you sell last year?", "12,000 euros", False),
        ("How many lamps did you sell last year?", "12,000", True),
        ("How many years does it hold?", "three years", True),
        ("How many people came?", "forty in two hours", True),
        ("How much by weight is used again?", "two thirds", None),
        ("What must I bring when I pick up my order?", "your order number", None),
        ("When I pick it up, what must I bring?", "your order number", None),
        ("Who signs when you deliver?", "the neighbour may sign", False),
        ("when you guys open", "in Galway", False),
        ("Do you know when the shop opens?", "in Galway", False),
        ("Since when?", "with two sisters", False),
        ("When at the earliest can I check in?", "in Galway", False),
        ("When on Sundays are you open?", "in Galway", False),
        ("any idea when you open?", "in Galway", False),
        ("Could you let me know by when I have to return it?", "in Galway", False),
        ("Which number do I call when I am late?", "the front desk", None),
        ("How often do I take the tip off?", "whenever you clean it", None),
    ],
)
def test_an_english_answer_fits_its_question_or_not(question: str, answer: str, expected: bool | None) -> None:
    assert fits(question, answer, "en") is expected


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("白鹭落地灯多少钱？", "高 148 厘米", False),
        ("白鹭落地灯多少钱？", "899 元", True),
        ("太湖橡木桌有多重？", "160 厘米", False),
        ("提灯有多重？", "580 克", True),
        ("年卡多少钱？", "年卡 1,980", True),
        ("年卡多少钱？", "12 个月", False),
        ("灯具保修多久？", "两年", True),
        ("几点开门？", "上午十点", True),
        ("几点开门？", "在平江路", False),
        ("有多少员工？", "二十六名", True),
        ("过几天再退可以吗？", "可以，请保留小票", None),
        ("几天后到？", "在平江路", False),
        ("退货不能超过几天？", "请联系客服", False),
        ("需要提前几天预订？", "提前三天", True),
        ("过几个月再退可以吗？", "可以，请保留小票", None),
        ("这几个月营业吗？", "营业", None),
        ("谁设计的？", "许知禾", None),
    ],
)
def test_a_chinese_answer_fits_its_question_or_not(question: str, answer: str, expected: bool | None) -> None:
    assert fits(question, answer, "zh") is expected
