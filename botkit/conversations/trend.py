"""The tone of a conversation as it goes, and whether a person asks for a human."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from botkit.messages import Language, Sentiment

_MEMORY: Final = 0.6
_VALUE: Final = {"negative": -1.0, "neutral": 0.0, "positive": 1.0}

_HUMAN_EN: Final = r"(?:human(?:\s+being)?|real\s+person|live\s+(?:person|agent|chat)|person|someone\s+real|representative|operator|agent|member\s+of\s+(?:the\s+)?staff|human\s+(?:agent|support|help)|customer\s+service\s+(?:agent|rep\w*)|manager|supervisor)"
_ASKS_EN: Final = re.compile(
    rf"""(?ix)
    ^\W*(?:(?:a\s+)?(?:human|agent|operator|representative|real\s+person))(?:\s*,?\s*please)?\W*$
    | \b(?:talk|speak|chat|connect|transfer|put|pass|get|reach|escalate|hand)\b[^.?!]{{0,30}}?
      \b(?:to|with|through\s+to|on\s+to|me|over\s+to)\s+(?:an?\s+|the\s+|your\s+|some\s+)?(?:actual\s+|real\s+|live\s+|human\s+)?{_HUMAN_EN}\b
    | \b(?:want|need|like|give\s+me|get\s+me|prefer)\s+(?:to\s+(?:see|have)\s+)?(?:an?\s+|the\s+)?(?:actual\s+|real\s+|live\s+)?(?:human\b(?!\s+(?:resources|rights))|real\s+person|live\s+agent|representative|operator)
    | \b(?:is|are)\s+there\s+(?:an?\s+|any)\s*(?:actual\s+|real\s+|live\s+)?(?:human|person|people)\b[^.?!]{{0,20}}\b(?:talk|speak|chat)
    | \bnot\s+(?:a|to\s+a|with\s+a)\s+(?:bot|robot|machine)\b
    """
)
_ABOUT_EN: Final = re.compile(r"(?i)^\W*(?:how|when|where|what|who|why|which)\b(?!.*\b(?:can|could|do|may)\s+I\b)")
_ASKS_ZH: Final = re.compile(
    r"(?:转|接|找|换|要|叫|联系|请|求|呼叫|想跟|想和|和|跟|给我)(?:接|到|一下|一个|个|你们的?|你们|我)*(?:人工|真人|活人|客服人员|人工客服|客服专员|你们经理|负责人)"
    r"|^\W*(?:人工|真人|人工客服|人工服务|转人工)\W*$|不(?:想|要)(?:再)?(?:跟|和)(?:机器人|机器)"
)
_ABOUT_ZH: Final = re.compile(
    r"人工(?:智能|费|成本|湖|呼吸|合成|降雨|授粉)|人工客服.{0,6}(?:几点|时间|什么时候|上班|电话|多少)|真人(?:秀|版)"
)


def wants_human(text: str, language: Language) -> bool:
    """Whether the message asks to talk to a person, and is no question about people, opening hours or HR."""
    if language == "zh" or re.search(r"人工|真人|活人", text):
        return _ASKS_ZH.search(text) is not None and _ABOUT_ZH.search(text) is None
    return _ASKS_EN.search(text) is not None and _ABOUT_EN.match(text) is None


def trend(sentiments: Sequence[Sentiment]) -> float:
    """The tone so far, -1 (negative) to 1: an exponentially weighted mean, oldest message first; 0 for none."""
    mean = 0.0
    for number, sentiment in enumerate(sentiments):
        value = _VALUE[sentiment.label] * sentiment.score
        mean = value if number == 0 else _MEMORY * mean + (1 - _MEMORY) * value
    return mean


def negative_run(sentiments: Sequence[Sentiment]) -> int:
    """How many of the latest messages in a row are negative."""
    run = 0
    for sentiment in reversed(sentiments):
        if sentiment.label != "negative":
            break
        run += 1
    return run
