"""The tone of a conversation, and who asks for a human."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botkit.conversations.trend import negative_run, trend, wants_human
from botkit.messages import Sentiment

NEGATIVE, NEUTRAL, POSITIVE = (
    Sentiment("negative", 0.9),
    Sentiment("neutral", 0.8),
    Sentiment("positive", 0.9),
)

ASKS_EN = [
    "How can I reach a human?",
    "I want to talk to a human",
    "Can I speak with someone?",
    "human please",
    "Let me talk to a real person",
    "Get me a manager",
    "Connect me to an agent",
    "I need a human",
    "agent",
    "Could you put me through to customer service?",
    "Where can I talk to a person?",
    "How do I contact a real person?",
    "I'd like to speak to your supervisor.",
    "Stop. I don't want a bot, I want a person.",
    "transfer me to support",
    "Is there a human I can talk to?",
    "please call a human",
    "I'd rather talk to a person than a machine",
    "How can I get hold of an operator?",
    "talk to human",
    "Can a human help me?",
    "Is anyone real there?",
    "This is useless, give me a person",
    "can i get a live agent plz",
    "Escalate this to a human",
    "I would like to complain to a manager",
    "real human now!!",
]
DOES_NOT_ASK_EN = [
    "What is human resources' phone number?",
    "How do I contact human resources?",
    "How many people work here?",
    "What does the property manager do?",
    "Do I need a manager's approval to travel?",
    "Who is the operator of the railway?",
    "What is a user agent?",
    "How do I reset the agent?",
    "Is shipping done by humans?",
    "Human rights in Europe",
    "Are you a human?",
    "When can I reach customer service?",
    "What are the opening hours of customer service?",
    "How do I set the user agent string?",
    "Can I speak with an accent?",
    "How do I talk to my manager about parental leave?",
    "How do I connect an agent to the server?",
    "Does the agent need a token?",
    "What is the customer service agent's salary?",
    "I need a representative sample",
    "How can I get my manager's approval?",
    "Why do people like human stories?",
    "Who can reach the operator console?",
    "My manager wants the invoice",
    "How do I give a person access to a folder?",
    "I want a refund",
    "What do I do if an agent is offline?",
    "When can I talk to a person?",
    "I like people",
    "Do I need a person to sign for the parcel?",
    "Is the lamp not a robot?",
    "There is a real subject here.",
]
ASKS_ZH = [
    "怎么联系人工客服？",
    "转人工",
    "人工",
    "我要人工客服",
    "我想和真人说话",
    "找你们经理",
    "请帮我接人工",
    "能不能换个人来？",
    "我要投诉，叫你们经理来",
    "有人工服务吗？",
    "有没有真人可以聊？",
    "我不想跟机器人说话",
    "别给我机器人，我要人工",
    "接客服",
    "如何转接人工客服？",
    "客服在吗，要真人",
    "人工在吗？",
    "我要找客服",
    "让我跟真人谈",
    "能跟工作人员说话吗",
    "怎样才能找到人工？",
]
DOES_NOT_ASK_ZH = [
    "人工客服几点上班？",
    "人工智能是什么？",
    "人工费多少钱？",
    "真人秀什么时候播？",
    "这个湖是人工湖吗？",
    "客服电话是多少？",
    "人工降雨是怎么做的？",
    "怎么联系房东？",
    "需要经理批准吗？",
    "人工客服的工作时间是什么时候？",
    "人工安装要加钱吗？",
    "请问人工翻译怎么收费？",
    "项目负责人是谁？",
    "出差要找负责人签字吗？",
    "联系人怎么添加？",
    "人工饲养的动物",
    "需要人工审核多久？",
    "要人工输入验证码吗？",
    "怎么和负责人预约面谈？",
    "有人工翻译吗？",
    "交换个人信息安全吗？",
    "转账要多久？",
]


@pytest.mark.parametrize("text", ASKS_EN)
def test_a_request_for_a_human_is_noticed(text: str) -> None:
    assert wants_human(text)


@pytest.mark.parametrize("text", DOES_NOT_ASK_EN)
def test_a_question_about_people_is_no_request(text: str) -> None:
    assert not wants_human(text)


@pytest.mark.parametrize("text", ASKS_ZH)
def test_a_chinese_request_for_a_human_is_noticed(text: str) -> None:
    assert wants_human(text)


@pytest.mark.parametrize("text", DOES_NOT_ASK_ZH)
def test_a_chinese_question_about_people_is_no_request(text: str) -> None:
    assert not wants_human(text)


@pytest.mark.parametrize(
    "text",
    [
        "I don't want to talk to a human",
        "I do not want to speak to a manager.",
        "No need to get me an agent, thanks",
        "Please don't connect me to a person",
        "I'd rather not talk to anyone",
        "I would never call an operator",
        "不需要人工客服",
        "不用转人工",
        "不要转人工",
        "别转人工",
        "我不要人工客服",
        "我不想跟真人说话",
        "没必要找人工",
        "有工作人员帮忙安装吗？",
        "退货要联系工作人员吗？",
    ],
)
def test_no_human_is_called_for_one_who_declines_or_asks_about_the_staff(text: str) -> None:
    assert not wants_human(text)


@pytest.mark.parametrize(
    "text",
    [
        "Not again! I want to talk to a human",
        "I don't want an answer from a bot, get me an agent",
        "I do not know what to do. Connect me to an agent",
        "I am not able to reach a human",
        "怎么还不给我转人工",
        "可不可以转人工",
        "不行，转人工",
        "能不能找真人帮我",
        "我要联系工作人员",
    ],
)
def test_a_no_to_something_else_is_none_to_a_human(text: str) -> None:
    assert wants_human(text)


def test_chinese_is_noticed_in_a_conversation_held_in_english() -> None:
    assert wants_human("转人工")


@pytest.mark.parametrize("piece", ["talk to ", "not a ", "the real ", "I want a real ", " ", "要", "找个", "human "])
def test_a_long_message_takes_no_time_to_speak_of(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    started = time.process_time()
    wants_human(text)
    wants_human(text)
    assert time.process_time() - started < 2.0


def test_the_tone_of_no_messages_is_even() -> None:
    assert trend([]) == 0.0
    assert negative_run([]) == 0


def test_one_message_sets_the_tone() -> None:
    assert trend([NEGATIVE]) == pytest.approx(-0.9)
    assert trend([POSITIVE]) == pytest.approx(0.9)


def test_later_messages_weigh_more_than_earlier_ones() -> None:
    assert trend([POSITIVE, NEGATIVE, NEGATIVE]) < 0 < trend([NEGATIVE, POSITIVE, POSITIVE])


def test_the_tone_calms_down_with_neutral_messages() -> None:
    angry = trend([NEGATIVE, NEGATIVE])
    assert angry < trend([NEGATIVE, NEGATIVE, NEUTRAL]) < 0


@given(st.lists(st.builds(Sentiment, st.sampled_from(["negative", "neutral", "positive"]), st.floats(0, 1))))
def test_the_tone_stays_within_its_range(sentiments: list[Sentiment]) -> None:
    assert -1 <= trend(sentiments) <= 1
    assert 0 <= negative_run(sentiments) <= len(sentiments)


def test_only_the_latest_negative_messages_in_a_row_count() -> None:
    assert negative_run([NEGATIVE, NEGATIVE, NEUTRAL, NEGATIVE]) == 1
    assert negative_run([NEUTRAL, NEGATIVE, NEGATIVE, NEGATIVE]) == 3
    assert negative_run([NEGATIVE, POSITIVE]) == 0
